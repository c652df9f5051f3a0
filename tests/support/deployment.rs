//! The Deployment of most tests.

use serde_json::{Value, json};

/// As people write it: two replicas, an image and a port, nothing else. It breaks no
/// rule, and everything can be injected into it.
pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [
                    {"name": "app", "image": "registry.example/app:1.2.3", "ports": [{"containerPort": 8080}]},
                ]},
            },
        },
    })
}

/// The same with these fields of `spec` on top.
pub fn deployment_with(name: &str, spec: &Value) -> Value {
    let mut deployment = deployment(name);
    for (field, value) in spec.as_object().expect("fields") {
        deployment["spec"][field] = value.clone();
    }
    deployment
}

/// The object with what `kubectl apply` leaves in it.
pub fn applied(object: &Value) -> Value {
    let mut applied = object.clone();
    let manifest = object.to_string();
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    match &mut applied["metadata"]["annotations"] {
        Value::Object(annotations) => drop(annotations.insert(key.to_owned(), json!(manifest))),
        annotations => *annotations = json!({ key: manifest }),
    }
    applied
}
