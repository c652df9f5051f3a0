//! The subcommands, one file for each.

mod audit;
mod certs;
mod check;
mod check_cluster;
mod cluster;
mod completions;
mod export;
mod fix;
mod live;
mod output;
mod ping;
mod preview;
mod progress;
mod reports;
mod rules;
mod sample;
mod schema;
mod serve;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Runs the subcommand that was asked for.
///
/// # Errors
/// If the input cannot be used. The program ends with exit code 2 then.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    output::choose_colors(cli.color);
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Fix(arguments) => fix::run(&arguments),
        Command::Preview(arguments) => preview::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Certs(arguments) => certs::run(&arguments),
        Command::Ping(arguments) => ping::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Schema => schema::run(),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
