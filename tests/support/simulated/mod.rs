//! The little of an API server that a webhook's answer depends on: it fills in
//! defaults before it asks, and applies the patch that comes back. The real
//! one is in `support::control_plane`; this one is for tests of many small steps.

pub mod cluster;
pub mod deployments;
pub mod dialect;
pub mod kubectl;
pub mod managed_fields;
pub mod manifests;
pub mod merge;
pub mod path;
pub mod step;
pub mod validity;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gapless::admission::{Outcome, Phase, Review, ReviewError, Terms, review};
use gapless::kubernetes::kind::Kind;
use gapless::policy::Policy;
use gapless::surroundings::{Around, NONE};
use std::sync::Arc;

use serde_json::{Map, Value, json};

/// The day on which all tests take place.
pub const TODAY: jiff::civil::Date = jiff::civil::date(2026, 11, 23);

/// An API server with gapless in front of it.
pub struct ApiServer {
    pub policy: Policy,
    pub profile: &'static str,
    pub surroundings: Arc<dyn Around>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// The object as it would be stored.
    pub object: Value,
    /// The operations that gapless sent.
    pub operations: Vec<Value>,
    /// The warnings of both webhooks.
    pub warnings: Vec<String>,
    /// The message of the denial, if there was one.
    pub denial: Option<String>,
    /// The rules that found something, and what came of it.
    pub findings: Vec<(&'static str, Outcome)>,
}

impl ApiServer {
    pub fn new(profile: &'static str) -> Self {
        let policy = Policy::new("production").unwrap().with_workloads(Kind::ALL);
        ApiServer { policy, profile, surroundings: Arc::new(NONE.clone()) }
    }

    pub fn create(&self, object: &Value) -> Answer {
        self.request(
            json!({"operation": "CREATE", "options": {"fieldManager": "kubectl-create"}}),
            object,
            None,
        )
    }

    pub fn update(&self, old_object: &Value, object: &Value) -> Answer {
        let manager = json!({"operation": "UPDATE", "options": {"fieldManager": "kubectl-edit"}});
        self.request(manager, object, Some(old_object))
    }

    /// Replaces template and annotations by those of `revision`, as `kubectl
    /// rollout undo` does, without a field manager.
    pub fn undo(&self, old_object: &Value, revision: &Value) -> Answer {
        let mut object = old_object.clone();
        object["spec"]["template"] = revision["spec"]["template"].clone();
        object["metadata"]["annotations"] = revision["metadata"]["annotations"].clone();
        object["metadata"]["managedFields"] =
            json!([{"manager": "kubectl", "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
        self.request(json!({"operation": "UPDATE", "options": {}}), &object, Some(old_object))
    }

    /// Sends a request through both webhooks. Checks on the way that a second
    /// call of the mutating webhook for the same request changes nothing.
    pub fn request(&self, envelope: Value, object: &Value, old_object: Option<&Value>) -> Answer {
        let object = with_api_defaults(object);
        let first = self.call(Phase::Mutate, &envelope, &object, old_object);
        let operations = patch_of(&first);
        let patched = with_api_defaults(&apply(&object, &operations));
        let second = patch_of(&self.call(Phase::Mutate, &envelope, &patched, old_object));
        assert_eq!(second, Vec::<Value>::new(), "the second call changes something in {patched:#}");
        let judged = self.call(Phase::Validate, &envelope, &patched, old_object);
        let response = &judged.response.response;
        let warnings = first.response.response.warnings.iter().chain(&response.warnings).cloned().collect();
        let denial = response.status.as_ref().map(|status| status.message.clone());
        Answer { object: patched, operations, warnings, denial, findings: judged.findings }
    }

    fn call(&self, phase: Phase, envelope: &Value, object: &Value, old_object: Option<&Value>) -> Review {
        let mut request = envelope.clone();
        request["uid"] = json!("1");
        let kind = Kind::of_document(object);
        request["kind"] = json!({"group": kind.group(), "version": kind.version(), "kind": kind.name()});
        request["namespace"] = json!("shop");
        request["name"] = object["metadata"]["name"].clone();
        request["object"] = object.clone();
        request["oldObject"] = old_object.cloned().unwrap_or_default();
        let body =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        self.post(phase, body.to_string().as_bytes()).unwrap()
    }

    pub fn post(&self, phase: Phase, body: &[u8]) -> Result<Review, ReviewError> {
        review(
            Terms {
                policy: &self.policy,
                profile: Some(self.profile),
                today: TODAY,
                surroundings: &*self.surroundings,
            },
            phase,
            body,
        )
    }
}

/// The operations that gapless sent.
pub fn patch_of(review: &Review) -> Vec<Value> {
    let patch = review.response.response.patch.as_ref();
    patch.map(|patch| serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap()).unwrap_or_default()
}

/// The object after these operations.
pub fn apply(object: &Value, operations: &[Value]) -> Value {
    let mut patched = object.clone();
    let patch: json_patch::Patch = serde_json::from_value(json!(operations)).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

/// The object with the defaults that the API server fills in (kubernetes,
/// pkg/apis/apps/v1/defaults.go and pkg/apis/core/v1/defaults.go).
pub fn with_api_defaults(object: &Value) -> Value {
    let mut object = object.clone();
    let kind = Kind::of_document(&object);
    let (defaults, strategy, amounts) = match kind {
        Kind::Deployment => (
            json!({"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}),
            "strategy",
            json!({"maxUnavailable": "25%", "maxSurge": "25%"}),
        ),
        Kind::StatefulSet => (
            json!({"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"}),
            "updateStrategy",
            json!({"maxUnavailable": 1, "partition": 0}),
        ),
        Kind::DaemonSet => (
            json!({"revisionHistoryLimit": 10}),
            "updateStrategy",
            json!({"maxUnavailable": 1, "maxSurge": 0}),
        ),
        // It knows nothing of a custom resource.
        Kind::Rollout => return object,
    };
    let spec = object["spec"].as_object_mut().unwrap();
    fill(spec, defaults);
    fill(spec, json!({strategy: {}}));
    let strategy = spec[strategy].as_object_mut().unwrap();
    // A type by itself keeps no block in a StatefulSet.
    let keeps_none = kind == Kind::StatefulSet && strategy.contains_key("type");
    fill(strategy, json!({"type": "RollingUpdate"}));
    let has_block = !keeps_none || strategy.contains_key("rollingUpdate");
    if strategy["type"] == "RollingUpdate" && has_block {
        fill(strategy, json!({"rollingUpdate": {}}));
        fill(strategy["rollingUpdate"].as_object_mut().unwrap(), amounts);
    }
    let pod = spec["template"]["spec"].as_object_mut().unwrap();
    fill(
        pod,
        json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler"}),
    );
    for list in ["containers", "initContainers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let container = container.as_object_mut().unwrap();
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let pull_policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
            fill(
                container,
                json!({"imagePullPolicy": pull_policy, "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}),
            );
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                fill(port.as_object_mut().unwrap(), json!({"protocol": "TCP"}));
            }
            for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
                let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
                fill(
                    probe,
                    json!({"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}),
                );
                if let Some(http_get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                    fill(http_get, json!({"path": "/", "scheme": "HTTP"}));
                }
            }
        }
    }
    object
}

/// Whether an image has the tag `latest`, or none that says more.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn fill(object: &mut Map<String, Value>, defaults: Value) {
    for (field, value) in defaults.as_object().unwrap() {
        if object.get(field).is_none_or(Value::is_null) {
            object.insert(field.clone(), value.clone());
        }
    }
}
