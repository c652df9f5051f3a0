//! What the tests of the rules share.

use serde_json::{Value, json};

use super::Rule;
use crate::finding::Finding;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::View;
use crate::settings::Settings;
use crate::surroundings::Surroundings;
use crate::workload::{Context, Workload};

/// A Deployment that no rule has anything to say about.
pub fn web() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"app": "web", "app.kubernetes.io/version": "v1"}},
                "spec": {"containers": [{
                    "name": "app",
                    "image": "app:v1",
                    "ports": [{"name": "http", "containerPort": 80}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                    "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                }]},
            },
        },
    })
}

/// The same of another kind, with its strategy by default.
pub fn of_kind(kind: Kind) -> Value {
    let mut object = web();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.name());
    object["spec"]["strategy"] = match kind {
        Kind::Rollout => json!({"canary": {}}),
        _ => json!(null),
    };
    object
}

/// The same with this image.
pub fn with_image(image: &str) -> Value {
    let mut object = web();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    object
}

/// The same of a worker, which nobody sends requests.
pub fn serve_nobody(object: &mut Value) {
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["ports"] = json!([]);
    container["readinessProbe"] = json!(null);
}

/// [`web`] with these replicas and rolling parameters.
pub fn rolling(replicas: i32, max_unavailable: Value, max_surge: Value) -> Value {
    let mut object = web();
    object["spec"]["replicas"] = json!(replicas);
    object["spec"]["strategy"]["rollingUpdate"] =
        json!({"maxUnavailable": max_unavailable, "maxSurge": max_surge});
    object
}

/// What `rule` finds in `object` with the settings of `production`.
pub fn found(rule: &Rule, object: &Value) -> Vec<Finding> {
    rule.in_workload(&Workload::read(object).unwrap(), &Settings::default())
}

/// The same where this is around the object.
pub fn found_in(rule: &Rule, object: &Value, surroundings: &Surroundings) -> Vec<Finding> {
    let context = Context { surroundings, ..Context::of_document(object) };
    let workload = Workload::read_view(View::of(object), context).unwrap();
    rule.in_workload(&workload, &Settings::default())
}

/// The messages of what `rule` finds.
pub fn messages(rule: &Rule, object: &Value) -> Vec<String> {
    found(rule, object).into_iter().map(|finding| finding.message).collect()
}
