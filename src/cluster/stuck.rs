//! How many rollouts may never complete because of what gapless injected.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rows::Rows;
use crate::kubernetes::object::at;
use crate::ownership::stuck::{DEFAULTS, MissedDeadline};
use crate::surroundings::Revision;

/// Where a row says that its Deployment has missed its deadline. It is the first field of
/// the row's text, in alphabetical order.
pub const FIELD: &str = "deadline";

/// What a row says of a Deployment that has missed its deadline, perhaps because of gapless.
pub fn missed_deadline(object: &Value) -> Option<Value> {
    let missed = MissedDeadline::of(object)?;
    Some(json!({
        "namespace": at(object, &["metadata", "namespace"]),
        "revision": missed.revision,
        "defaults": missed.defaults(),
    }))
}

/// How many Deployments have missed their deadline and have no ready pod of the new revision,
/// by the default that may be why.
pub fn count(deployments: &Rows, replica_sets: &Rows) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::from(DEFAULTS.map(|default| (default, 0)));
    for deployment in deployments.with_first_field(FIELD) {
        let Some(missed) = deployment.get(FIELD) else { continue };
        let namespace = missed.get("namespace").and_then(Value::as_str);
        let name = at(&deployment, &["metadata", "name"]).and_then(Value::as_str).unwrap_or_default();
        let revision = missed.get("revision").and_then(Value::as_u64);
        let is_new = |it: &Revision| it.unready.is_some() && it.unready == revision;
        if !replica_sets.revisions(namespace, ("Deployment", name)).any(|it| is_new(&it)) {
            continue;
        }
        for default in missed.get("defaults").and_then(Value::as_array).into_iter().flatten() {
            if let Some(count) = default.as_str().and_then(|default| counts.get_mut(default)) {
                *count += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{listed, watched::WATCHED};
    use crate::ownership::record::ANNOTATION;

    /// As the Deployment controller numbers revisions.
    const REVISION: &str = "deployment.kubernetes.io/revision";

    fn rows(kind: &str, objects: &[Value]) -> Rows {
        let watched = WATCHED.iter().find(|watched| watched.kind == kind).unwrap();
        let mut rows = Rows::default();
        for object in objects {
            rows.put(watched, &listed::trimmed(object));
        }
        rows
    }

    fn deployment(record: &Value, reason: &str) -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "shop",
                "annotations": {ANNOTATION: record.to_string(), REVISION: "2"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {"conditions": [{"type": "Progressing", "status": "False", "reason": reason}]},
        })
    }

    fn replica_set(number: &str, replicas: u64, ready: Option<u64>) -> Value {
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": true});
        json!({
            "metadata": {"name": format!("web-{number}"), "namespace": "shop",
                "annotations": {REVISION: number}, "ownerReferences": [owner]},
            "spec": {"replicas": replicas, "template": {}}, "status": {"readyReplicas": ready},
        })
    }

    fn counts(deployment: &Value, replica_sets: &[Value]) -> [usize; 2] {
        let counts =
            count(&rows("Deployment", std::slice::from_ref(deployment)), &rows("ReplicaSet", replica_sets));
        DEFAULTS.map(|default| counts[default])
    }

    #[test]
    fn what_gapless_injected_may_be_why_a_deadline_is_missed() {
        let probe = json!({"spec.template.spec.containers[app].readinessProbe": {"tcpSocket": {"port": 80}}});
        let amounts =
            |max_unavailable: u64| json!({"spec.strategy.rollingUpdate.maxUnavailable": max_unavailable});
        let missed = "ProgressDeadlineExceeded";
        let stuck = [replica_set("1", 2, Some(2)), replica_set("2", 1, None)];
        let table = [
            (deployment(&probe, missed), &stuck, [1, 0]),
            (deployment(&amounts(0), missed), &stuck, [0, 1]),
            (deployment(&amounts(1), missed), &stuck, [0, 0]),
            (deployment(&json!({}), missed), &stuck, [0, 0]),
            (deployment(&probe, "ReplicaSetUpdated"), &stuck, [0, 0]),
            (deployment(&probe, missed), &[replica_set("1", 2, None), replica_set("2", 1, Some(1))], [0, 0]),
            (deployment(&probe, missed), &[replica_set("1", 2, None), replica_set("2", 0, None)], [0, 0]),
        ];
        for (deployment, replica_sets, expected) in table {
            assert_eq!(counts(&deployment, replica_sets), expected, "{deployment} {replica_sets:?}");
        }
        assert_eq!(counts(&deployment(&probe, missed), &[]), [0, 0], "elsewhere, or not known yet");
    }
}
