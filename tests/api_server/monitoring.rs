//! The monitoring part of the Helm chart. Its alerts and its dashboard are held
//! against what a gapless and an API server really expose, by Prometheus' own parser
//! and engine (`tests/promql`).

mod alerts;
mod objects;
pub(super) mod promql;
mod recording;

use serde_json::Value;

use super::chart::rendered::Rendered;
use crate::support::Cluster;
use crate::support::client::Output;
use crate::support::fixtures::repository_file;

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
