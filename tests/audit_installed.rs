//! `gapless audit` in a cluster where gapless runs.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Cluster, process};

fn manifest(image: &str) -> String {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "app", "image": image, "ports": [{"containerPort": 8080}]},
                ]},
            },
        },
    })
    .to_string()
}

fn audit(cluster: &Cluster, namespace: &str) -> Value {
    let mut command: Command = process::isolated(Path::new(env!("CARGO_BIN_EXE_gapless")), &cluster.home());
    command.args(["audit", "-f", "json", "--namespace", namespace]);
    let output = command.env("KUBECONFIG", cluster.kubeconfig("admin")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// However a Deployment came to be stored, what gapless completed is complete.
#[test]
fn what_gapless_completed_needs_nothing_more() {
    let Some(installed) = support::installed() else { return };
    let cluster = installed.cluster;
    let first = manifest("registry.example/app:1.0.0");
    let ways: [(&str, &[&str]); 3] = [
        ("create", &["create", "-f", "-"]),
        ("apply", &["apply", "-f", "-"]),
        ("apply --server-side", &["apply", "--server-side", "-f", "-"]),
    ];
    for profile in ["production", "development"] {
        for (way, arguments) in ways {
            let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
            namespace.kubectl(arguments).stdin(first.as_str()).ok();
            let nothing = |report: Value, when: &str| {
                assert_eq!(report["summary"]["deployments"], 1);
                assert_eq!(report["injections"], json!([]), "{profile}, {way}, {when}");
                assert_eq!(report["findings"], json!([]), "{profile}, {way}, {when}");
            };
            nothing(audit(cluster, &namespace.name), "new");
            namespace.kubectl(["set", "image", "deployment/web", "app=registry.example/app:2.0.0"]).ok();
            nothing(audit(cluster, &namespace.name), "with another image");
            namespace.kubectl(["rollout", "undo", "deployment/web"]).ok();
            nothing(audit(cluster, &namespace.name), "after an undo");
        }
    }
}

/// With the profile advisory nothing is injected, and the audit still says what
/// production would do.
#[test]
fn advisory_injects_nothing_and_says_so() {
    let Some(installed) = support::installed() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "advisory")]);
    namespace.create(&manifest("registry.example/app:1.0.0")).ok();
    let report = audit(cluster, &namespace.name);
    assert_eq!(report["summary"]["injections"], json!({}));
    assert_eq!(report["summary"]["announcements"]["pre-stop-sleep"], 1);
}
