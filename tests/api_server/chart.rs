//! The Helm chart: what it renders, what it refuses, and whom the API server asks
//! once it is installed.

mod backstop;
mod config;
mod reach;
mod release;
pub mod rendered;
mod values;

use crate::support::client::Invocation;
use crate::support::fixtures::repository_file;

/// Helm with this chart and these values, which are YAML.
fn with_chart<'c>(helm: Invocation<'c>, values: &str) -> Invocation<'c> {
    helm.args([repository_file("charts/gapless")]).args(["--values", "-"]).stdin(values)
}
