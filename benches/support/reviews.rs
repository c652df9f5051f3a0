//! Reviews as the API server sends them, in the sizes and with the baggage that
//! Deployments have in clusters.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gapless::admission::{Phase, Terms, review};
use gapless::policy::Policy;
use serde_json::{Map, Value, json};

/// The profile production for everything.
pub fn policy() -> Policy {
    Policy::new("production").expect("a built-in profile")
}

/// Both webhooks decide by this.
pub fn terms(policy: &Policy) -> Terms<'_> {
    Terms {
        policy,
        profile: None,
        today: jiff::civil::date(2026, 11, 23),
        surroundings: &gapless::surroundings::NONE,
    }
}

/// A body of a call.
pub struct Case {
    /// What it is about, and how large the object is.
    pub name: &'static str,
    /// CREATE or UPDATE.
    pub operation: &'static str,
    /// What the API server sends.
    pub body: Vec<u8>,
}

/// How a Deployment came to be as it is.
#[derive(Clone, Copy)]
enum Writer {
    /// `kubectl create`: little says who wrote what.
    Create,
    /// Client-side `kubectl apply`, which keeps the manifest in an annotation.
    Apply,
    /// Helm: labels and annotations of its own.
    Helm,
}

/// Each size, created and updated to another image. What is applied by kubectl or
/// Helm has a record of gapless before the update.
pub fn cases(policy: &Policy) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, writer, containers, variables) in [
        ("3 KB", Writer::Create, 1, 30),
        ("20 KB, kubectl apply", Writer::Apply, 3, 29),
        ("20 KB, Helm", Writer::Helm, 4, 35),
        ("60 KB", Writer::Create, 20, 55),
        ("300 KB", Writer::Create, 50, 116),
    ] {
        let written = |tag: &str| written_by(writer, &deployment(containers, variables, tag));
        let (old_object, object) = match writer {
            Writer::Create => (written("v1"), written("v2")),
            Writer::Apply | Writer::Helm => {
                let with_record =
                    |tag: &str| written_by(writer, &stored(policy, &deployment(containers, variables, tag)));
                (with_record("v1"), released(&with_record("v1"), &written("v2")))
            }
        };
        cases.push(Case { name, operation: "CREATE", body: create(&written("v1")) });
        cases.push(Case { name, operation: "UPDATE", body: update(&old_object, &object) });
    }
    cases
}

/// A Deployment with so many containers, with so many variables each, as the API
/// server has it after its own defaults.
pub fn deployment(containers: usize, variables: usize, tag: &str) -> Value {
    let container = |number: usize| {
        let environment: Vec<Value> = (0..variables)
            .map(|variable| json!({"name": format!("VARIABLE_{variable}"), "value": format!("value-{variable}-{number}")}))
            .collect();
        json!({
            "name": format!("app-{number}"),
            "image": format!("registry.example/team/app:{tag}"),
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": 8080 + number, "protocol": "TCP"}],
            "env": environment,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        })
    };
    let containers: Vec<Value> = (0..containers).map(container).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "app", "namespace": "shop", "uid": "6b640cd3-3620-46c4-8365-fc766f3e377a",
            "resourceVersion": "4711", "generation": 3, "creationTimestamp": "2026-11-23T08:52:19Z",
            "labels": {"app": "app"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1",
                "time": "2026-11-23T08:52:19Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {
                    "f:replicas": {}, "f:strategy": {"f:rollingUpdate": {"f:maxSurge": {}, "f:maxUnavailable": {}}},
                    "f:template": {"f:spec": {"f:containers": {}, "f:dnsPolicy": {}, "f:restartPolicy": {}}}}}}],
        },
        "spec": {
            "replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "app"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": containers, "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30},
            },
        },
        "status": {"observedGeneration": 3, "replicas": 3, "availableReplicas": 3},
    })
}

/// With the traces that this writer leaves.
fn written_by(writer: Writer, object: &Value) -> Value {
    let mut object = object.clone();
    let manager = match writer {
        Writer::Create => return object,
        Writer::Apply => {
            let mut manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": object["spec"]});
            manifest["metadata"] =
                json!({"name": "app", "namespace": "shop", "labels": object["metadata"]["labels"]});
            object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
                json!(manifest.to_string());
            "kubectl-client-side-apply"
        }
        Writer::Helm => {
            for (key, value) in [("app.kubernetes.io/managed-by", "Helm"), ("helm.sh/chart", "app-1.2.3")] {
                object["metadata"]["labels"][key] = json!(value);
            }
            object["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("app");
            object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = json!("shop");
            "helm"
        }
    };
    let fields = json!({
        "f:metadata": {"f:labels": fields_of("", &object["metadata"]["labels"])},
        "f:spec": fields_of("", &object["spec"]),
    });
    let entry = |manager: &str, fields: Value| {
        json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-23T08:52:19Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let mut status = entry("kube-controller-manager", json!({"f:status": fields_of("", &object["status"])}));
    status["subresource"] = json!("status");
    object["metadata"]["managedFields"] = json!([entry(manager, fields), status]);
    object
}

/// What `managedFields` says of a value, in the form FieldsV1.
fn fields_of(field: &str, value: &Value) -> Value {
    let key_of = |item: &Value| match field {
        "ports" => json!({"containerPort": item["containerPort"], "protocol": item["protocol"]}),
        _ => json!({"name": item["name"]}),
    };
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (format!("f:{key}"), fields_of(key, value))).collect()
        }
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => {
            let item = |item: &Value| {
                let mut fields = fields_of("", item);
                fields["."] = json!({});
                (format!("k:{}", key_of(item)), fields)
            };
            items.iter().map(item).collect::<Map<String, Value>>().into()
        }
        _ => json!({}),
    }
}

/// The stored object as the next release of its manifest leaves it: another image,
/// and what the client says about it.
fn released(stored: &Value, manifest: &Value) -> Value {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut object = stored.clone();
    if let Some(applied) = manifest["metadata"]["annotations"].get(LAST_APPLIED) {
        object["metadata"]["annotations"][LAST_APPLIED] = applied.clone();
    }
    with_image(&object, "registry.example/team/app:v2")
}

/// With another image in each container.
pub fn with_image(object: &Value, image: &str) -> Value {
    let mut object = object.clone();
    for container in object["spec"]["template"]["spec"]["containers"].as_array_mut().expect("containers") {
        container["image"] = json!(image);
    }
    object
}

/// The object as gapless stores it, with its record.
pub fn stored(policy: &Policy, object: &Value) -> Value {
    let answer = review(terms(policy), Phase::Mutate, &create(object)).expect("a decision").response.response;
    let patch = BASE64_STANDARD.decode(answer.patch.expect("something is injected")).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
    let mut stored = object.clone();
    json_patch::patch(&mut stored, &patch).expect("a patch that applies");
    stored
}

/// The call for an object that is created.
pub fn create(object: &Value) -> Vec<u8> {
    call("CREATE", object, &Value::Null)
}

/// The call for an object that is updated.
pub fn update(old_object: &Value, object: &Value) -> Vec<u8> {
    call("UPDATE", object, old_object)
}

fn call(operation: &str, object: &Value, old_object: &Value) -> Vec<u8> {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": operation, "name": "app", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "admin", "groups": ["system:authenticated"]},
        "object": object, "oldObject": old_object, "dryRun": false,
        "options": {"kind": format!("{operation}Options"), "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl"},
    }});
    review.to_string().into_bytes()
}
