//! AdmissionReviews as the API server sends them.

use serde_json::{Value, json};

/// The creation of a Deployment that breaks no rule, but lacks everything that
/// can be injected.
pub fn sound() -> Value {
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}
            },
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{
                        "name": "app",
                        "image": "registry.example/web:1.2.3",
                        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                        "env": [{"name": "PASSWORD", "value": "hunter2"}]
                    }]
                }
            }
        }
    });
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "name": "web",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "jane@example.com", "groups": ["system:authenticated"]},
            "object": deployment,
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"}
        }
    })
}

/// The creation of a Deployment whose rollouts are outages.
pub fn harmful() -> Value {
    let mut review = sound();
    review["request"]["object"]["spec"]["strategy"] = json!({"type": "Recreate"});
    review
}

/// The body of a request.
pub fn body(review: &Value) -> Vec<u8> {
    serde_json::to_vec(review).expect("JSON can be written")
}
