//! Calls as the API server makes them, for all the Deployments of
//! `fixtures/scenarios` and for larger ones.

use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::program::Program;

/// A call, and the answer that it has to get.
pub struct Call {
    pub path: &'static str,
    pub body: Vec<u8>,
    pub answer: Vec<u8>,
}

/// Small and medium calls, some 3 KB and 60 KB: each Deployment of the scenarios as
/// it is and with much more in it, created and updated, to both webhooks. What the
/// answer is, this program says before anything else happens to it.
#[track_caller]
pub fn mixed(program: &Program) -> Vec<Call> {
    let mut calls = Vec::new();
    for deployment in scenarios() {
        for size in [2, 60] {
            let new = enlarged(&deployment, size * 1024 / 2);
            let mut old = new.clone();
            old["spec"]["template"]["metadata"]["labels"]["release"] = json!("before");
            for review in [review("CREATE", &new, &Value::Null), review("UPDATE", &new, &old)] {
                calls.extend(both_webhooks(program, &review));
            }
        }
    }
    calls
}

/// The calls for one review.
#[track_caller]
pub fn both_webhooks(program: &Program, review: &Value) -> Vec<Call> {
    let body = serde_json::to_vec(review).expect("JSON can be written");
    let mut connection = program.connect();
    let paths = ["/mutate/production?timeout=30s", "/validate/production?timeout=30s"];
    let call = |path: &'static str| {
        let answer = connection.post(path, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["response"]["uid"], review["request"]["uid"]);
        Call { path, body: body.clone(), answer: answer.body }
    };
    paths.map(call).into()
}

/// The update of a Deployment, of about this size in all, made of what is usual in
/// one: many variables in many containers.
pub fn update(size: usize) -> Value {
    let deployment = scenarios().swap_remove(0);
    let new = enlarged(&deployment, size / 2);
    let mut old = new.clone();
    old["spec"]["template"]["metadata"]["labels"]["release"] = json!("before");
    review("UPDATE", &new, &old)
}

fn scenarios() -> Vec<Value> {
    let objects = fixtures::scenarios().into_iter().flat_map(|(_, text)| {
        let documents = text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("YAML"));
        documents.collect::<Vec<Value>>()
    });
    let deployments: Vec<Value> = objects.filter(|object| object["kind"] == "Deployment").collect();
    assert!(deployments.len() >= 8, "that is not all");
    deployments
}

/// The Deployment with so many variables in its containers that it has about this
/// size, and with what the API server fills in by default.
fn enlarged(deployment: &Value, size: usize) -> Value {
    /// A container has so many variables at most.
    const VARIABLES: usize = 200;
    let mut deployment = deployment.clone();
    deployment["metadata"]["namespace"] = json!("shop");
    let spec = &mut deployment["spec"];
    if spec["strategy"]["type"].is_null() {
        spec["strategy"] = json!({
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}
        });
    }
    let containers = spec["template"]["spec"]["containers"].as_array_mut().expect("containers");
    let variable =
        |number: usize| json!({"name": format!("VARIABLE_{number}"), "value": format!("value of {number}")});
    let count = size / variable(1000).to_string().len();
    for first in (0..count).step_by(VARIABLES) {
        let variables: Vec<_> = (first..count.min(first + VARIABLES)).map(variable).collect();
        if first == 0 {
            containers[0]["env"] = json!(variables);
        } else {
            let name = format!("helper-{first}");
            containers
                .push(json!({"name": name, "image": "registry.example/helper:1.2.3", "env": variables}));
        }
    }
    deployment
}

fn review(operation: &str, object: &Value, old_object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "name": object["metadata"]["name"],
            "namespace": "shop",
            "operation": operation,
            "userInfo": {"username": "jane@example.com", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": format!("{operation}Options")}
        }
    })
}
