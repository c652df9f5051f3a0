//! OpenReports, whose CustomResourceDefinition is in its Go module.

use serde_json::Value;

use super::control_plane::Cluster;
use super::crds::{Module, serve};
use super::namespace::Namespace;

const MODULE: Module = Module {
    path: "github.com/openreports/reports-api",
    version: "v0.2.1",
    sum: "h1:g9KS3yle9Y1elmww4TK9EkD1rl6inIaiIJPX6e+u680=",
};

/// The resource, as RBAC and kubectl name it.
pub const RESOURCE: &str = "reports.openreports.io";

/// Makes the API server serve Reports.
#[track_caller]
pub fn serve_reports(cluster: &Cluster) {
    serve(cluster, &MODULE.text("config/crd/openreports.io_reports.yaml"));
}

/// The Reports of a namespace, by name.
#[track_caller]
pub fn reports(namespace: &Namespace) -> Vec<Value> {
    let get = ["get", RESOURCE, "--show-managed-fields", "-o", "json"];
    let list = namespace.kubectl(get).ok().json();
    list["items"].as_array().expect("a list").clone()
}

/// A field of the metadata of each.
pub fn metadata(reports: &[Value], field: &str) -> Vec<String> {
    let text = |report: &Value| report["metadata"][field].as_str().expect("text").to_owned();
    reports.iter().map(text).collect()
}
