//! How many replicas somebody wrote, and what the API server made of it.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::deployment::deployment_with;

/// With so many replicas, and one of them allowed to go.
fn web(replicas: &Value) -> String {
    let strategy = json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}});
    let mut deployment = deployment_with("web", &json!({"replicas": replicas, "strategy": strategy}));
    if replicas.is_null() {
        deployment["spec"].as_object_mut().unwrap().remove("replicas");
    }
    deployment.to_string()
}

#[test]
fn a_manifest_that_no_longer_says_how_many_is_warned_about() {
    let Some(installed) = installed() else { return };
    for is_server_side in [true, false] {
        let namespace = installed.cluster.namespace();
        let apply = |replicas: Value| match is_server_side {
            true => namespace.apply_server_side(&web(&replicas)).ok(),
            false => namespace.apply(&web(&replicas)).ok(),
        };
        apply(json!(8));
        let output = apply(json!(null));
        assert_eq!(namespace.get_json("deployment", "web")["spec"]["replicas"], 1, "{output}");
        assert!(
            output.stderr.contains("8 replicas fall to 1")
                && output.stderr.contains("(replicas-fall-to-default)"),
            "server-side {is_server_side}: {output}"
        );
        // It says so once, and an autoscaler that had the field meanwhile keeps it.
        namespace.kubectl(["scale", "deployment/web", "--replicas=5"]).ok();
        let output = apply(json!(null));
        assert_eq!(namespace.get_json("deployment", "web")["spec"]["replicas"], 5, "{output}");
        assert!(!output.stderr.contains("replicas-fall-to-default"), "{output}");
    }
}

#[test]
fn one_replica_that_nobody_wrote_is_warned_about_and_one_that_is_written_denied() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let output = namespace.apply(&web(&json!(null))).ok();
    assert!(output.stderr.contains("(rollout-outage)"), "{output}");

    let output = namespace.apply(&web(&json!(1)).replace("web", "written")).fails();
    output.assert_denied("production", "rollout-outage");
}
