//! The program `gapless`.

use std::process::ExitCode;

use gapless::printable::printable_lines;
use gapless::{cli, commands};

/// The exit code for bad usage and for input that cannot be read; clap uses it
/// too.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match commands::run(cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", printable_lines(&format!("{error:#}")));
            ExitCode::from(UNUSABLE)
        }
    }
}
