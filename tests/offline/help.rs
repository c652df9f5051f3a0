//! `--help` of each command, and its colours.

use std::process::{Command, Output};

use clap::CommandFactory;
use gapless::cli::Cli;

use crate::support::fixtures::path;

#[test]
fn the_help_of_each_command_has_an_example() {
    let cli = Cli::command();
    assert!(cli.get_subcommands().count() > 8);
    for command in cli.get_subcommands() {
        let help = command.clone().render_long_help().to_string();
        // An example is a line of its own, with the program in it.
        let has_example =
            |line: &str| line.starts_with("  ") && line.contains(&format!("gapless {}", command.get_name()));
        assert!(
            help.lines().take_while(|line| !line.starts_with("Usage:")).any(has_example),
            "gapless {} --help has no example:\n{help}",
            command.get_name()
        );
    }
}

fn check(arguments: &[&str], no_color: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
    command.arg("check").args(arguments).arg(path("scenarios/recreate.yaml"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.output().unwrap()
}

#[test]
fn colours_are_as_the_option_and_the_environment_say() {
    let is_coloured = |output: &Output| output.stdout.contains(&0x1b);
    // Standard output is a pipe here.
    assert!(!is_coloured(&check(&[], false)));
    assert!(is_coloured(&check(&["--color", "always"], false)));
    assert!(is_coloured(&check(&["--color", "always"], true)), "the option is nearer than the environment");
    assert!(!is_coloured(&check(&["--color", "never"], false)));
    let wrong = check(&["--color", "sometimes"], false);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
