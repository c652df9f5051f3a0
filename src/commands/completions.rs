//! `gapless completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::output;
use crate::cli::{Cli, CompletionsArguments};

/// Prints the script with which a shell completes commands and options.
///
/// # Errors
/// If it cannot be written.
pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "gapless", &mut script);
    output::print_plain(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
