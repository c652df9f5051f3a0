//! `gapless serve --cluster-context`: what stands around a workload in its cluster counts.

use serde_json::{Value, json};

use crate::support::client::Output;
use crate::support::deployment::deployment;
use crate::support::gapless::install;
use crate::support::namespace::Namespace;
use crate::support::{self, Gapless, eventually};

/// Whether a warning of this rule was shown.
fn warns(output: &Output, rule: &str) -> bool {
    let end = format!("({rule})");
    output.stderr.lines().any(|line| line.ends_with(&end))
}

/// Applies `manifest`, changed a little each time, until the rule speaks, or is silent.
#[track_caller]
fn comes_to(namespace: &Namespace, manifest: &Value, rule: &str, is_found: bool) {
    let mut number = 0;
    eventually(rule, || {
        number += 1;
        let mut manifest = manifest.clone();
        manifest["metadata"]["annotations"]["number"] = json!(number.to_string());
        let output = namespace.apply(&manifest.to_string()).ok();
        if warns(&output, rule) == is_found { Ok(()) } else { Err(output.to_string()) }
    });
}

/// A control plane of its own: whoever else is in it would be told more than before.
#[test]
fn what_is_around_a_workload_counts() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let gapless = Gapless::start(&cluster, ["--cluster-context"]);
    install(&cluster, &gapless, "");
    let metrics = || gapless.ops_get("/metrics").1;
    eventually("all kinds", || {
        let metrics = metrics();
        let kinds = [
            "Service",
            "PersistentVolumeClaim",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "Deployment",
            "StatefulSet",
            "DaemonSet",
        ];
        let is_synced = |kind: &&str| metrics.contains(&format!("context_synced{{kind=\"{kind}\"}} 1\n"));
        if kinds.iter().all(is_synced) { Ok(()) } else { Err(gapless.log()) }
    });
    eventually("no series of what is not served", || {
        if metrics().contains("kind=\"Rollout\"") { Err(metrics()) } else { Ok(()) }
    });

    let namespace = cluster.namespace();
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(1);
    let labels = web["spec"]["selector"]["matchLabels"].clone();
    assert!(warns(&namespace.apply(&web.to_string()).ok(), "single-replica"));

    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        ]},
    });
    namespace.apply(&autoscaler.to_string()).ok();
    comes_to(&namespace, &web, "single-replica", false);
    namespace.kubectl(["delete", "hpa", "web"]).ok();
    comes_to(&namespace, &web, "single-replica", true);

    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "nowhere"}]},
    });
    namespace.apply(&service.to_string()).ok();
    comes_to(&namespace, &web, "dangling-target-port", true);
    namespace.kubectl(["delete", "service", "web"]).ok();
    comes_to(&namespace, &web, "dangling-target-port", false);

    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
    });
    namespace.apply(&budget.to_string()).ok();
    comes_to(&namespace, &web, "blocking-disruption-budget", true);

    let mut canary = web.clone();
    canary["metadata"]["name"] = json!("canary");
    comes_to(&namespace, &canary, "selector-overlap", true);
}
