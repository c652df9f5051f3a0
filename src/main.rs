//! The program `gapless`.

use std::process::ExitCode;

use gapless::printable::printable_lines;
use gapless::{cli, commands, exit};

fn main() -> ExitCode {
    match commands::run(cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", printable_lines(&format!("{error:#}")));
            ExitCode::from(exit::UNUSABLE)
        }
    }
}
