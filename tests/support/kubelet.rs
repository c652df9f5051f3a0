//! What a kubelet would report, where there is none.

use serde_json::{Value, json};

use super::namespace::Namespace;

/// Reports of each pod that it runs and is ready, but for those with these labels, as long
/// as their containers do not start. Pods that are told to go are gone at once: the API
/// server waits for nobody where no node has a pod.
pub fn run_pods(namespace: &Namespace, broken: impl Fn(&Value) -> bool) {
    let pods = namespace.kubectl(["get", "pods", "-o", "json"]).ok().json();
    let Some(pods) = pods["items"].as_array() else { return };
    for pod in pods.iter().filter(|pod| !is_ready(pod) && !broken(&pod["metadata"]["labels"])) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
            .collect();
        let status = json!({"status": {"phase": "Running", "conditions": conditions}}).to_string();
        // One that was deleted in the meantime is nothing to report of.
        namespace
            .kubectl(["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status])
            .run();
    }
}

/// The pods that are ready, and their labels.
pub fn ready_pods(namespace: &Namespace) -> Vec<Value> {
    let pods = namespace.kubectl(["get", "pods", "-o", "json"]).ok().json();
    let items = pods["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(is_ready).map(|pod| pod["metadata"]["labels"].clone()).collect()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_met = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(is_met))
}
