//! The monitoring part of the Helm chart. Its alerts and its dashboard are held
//! against what a gapless and an API server really expose, by Prometheus' own parser
//! and engine (`tests/promql`).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of tests fails the test by panicking"
)]

mod support;

#[path = "monitoring/alerts.rs"]
mod alerts;
#[path = "monitoring/objects.rs"]
mod objects;
#[path = "monitoring/promql.rs"]
mod promql;
#[path = "monitoring/recording.rs"]
mod recording;
#[allow(dead_code, reason = "shared with tests/chart.rs, which uses the rest")]
#[path = "chart/rendered.rs"]
mod rendered;

use rendered::Rendered;
use serde_json::Value;
use support::Cluster;
use support::client::Output;
use support::control_plane::repository_file;

/// The namespace of the release.
const NAMESPACE: &str = "gapless-system";

/// The whole of it, for a gapless in the cluster.
const EVERYTHING: &str =
    "{serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}";

/// What Helm says to the chart with these values, which are YAML.
fn template(cluster: &Cluster, namespace: &str, values: &str) -> Output {
    let arguments = ["template", "gapless", "--namespace", namespace, "--values", "-"];
    cluster.helm(arguments).args([repository_file("charts/gapless")]).stdin(values).run()
}

/// The objects of the chart with these values.
#[track_caller]
fn render(cluster: &Cluster, values: &str) -> Rendered {
    let output = template(cluster, NAMESPACE, values);
    assert!(output.status.success(), "{output}");
    Rendered::new(&output)
}

/// The alerts of a PrometheusRule.
fn alerts_of(rule: &Value) -> Vec<&Value> {
    let groups = rule["spec"]["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

/// The dashboard's JSON file.
fn dashboard() -> Value {
    let text = std::fs::read_to_string(repository_file("charts/gapless/dashboards/gapless.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The panels of a dashboard that ask something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}
