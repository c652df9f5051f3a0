//! `gapless schema`.

use std::process::ExitCode;

use super::output;
use crate::config::schema;

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// If it cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    output::print_plain(&(serde_json::to_string_pretty(&schema::schema())? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
