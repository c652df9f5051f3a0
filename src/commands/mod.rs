//! The subcommands, one file for each.

mod check;
mod output;
mod rules;
mod serve;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Runs the subcommand that was asked for.
///
/// # Errors
/// If the input cannot be used. The program ends with exit code 2 then.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
    }
}
