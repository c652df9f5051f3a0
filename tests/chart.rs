//! The Helm chart: what it renders, what it refuses, and whom the API server asks
//! once it is installed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of tests fails the test by panicking"
)]

mod support;

#[path = "chart/reach.rs"]
mod reach;
#[path = "chart/rendered.rs"]
mod rendered;
#[path = "chart/values.rs"]
mod values;

use support::client::Invocation;
use support::control_plane::repository_file;

/// Helm with this chart and these values, which are YAML.
fn with_chart<'c>(helm: Invocation<'c>, values: &str) -> Invocation<'c> {
    helm.args([repository_file("charts/gapless")]).args(["--values", "-"]).stdin(values)
}
