//! The defaults that the API server fills in before any webhook sees a workload
//! (kubernetes, pkg/apis/apps/v1/defaults.go and pkg/apis/core/v1/defaults.go). The
//! controller of Rollouts counts what is absent as a Deployment has it (argo-rollouts,
//! utils/defaults/defaults.go).

use serde_json::{Map, Value, json};

use super::int_or_string::IntOrString;

/// `spec.replicas`
pub const REPLICAS: i32 = 1;
/// `type` of a strategy
pub const STRATEGY_TYPE: &str = "RollingUpdate";
/// `maxUnavailable` of a Deployment
pub const MAX_UNAVAILABLE: IntOrString = IntOrString::String("25%");
/// `maxSurge` of a Deployment
pub const MAX_SURGE: IntOrString = IntOrString::String("25%");
/// `maxUnavailable` of a StatefulSet and a DaemonSet
pub const ONE_UNAVAILABLE: IntOrString = IntOrString::Int(1);
/// `maxSurge` of a DaemonSet; a StatefulSet has none
pub const NO_SURGE: IntOrString = IntOrString::Int(0);
/// `partition` of a StatefulSet
pub const PARTITION: i32 = 0;
/// `spec.minReadySeconds`
pub const MIN_READY_SECONDS: i32 = 0;
/// `spec.progressDeadlineSeconds`
pub const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// `spec.revisionHistoryLimit`
pub const REVISION_HISTORY_LIMIT: i32 = 10;
/// `spec.template.spec.terminationGracePeriodSeconds`
pub const GRACE_PERIOD_SECONDS: i64 = 30;
/// `periodSeconds` of a probe
pub const PERIOD_SECONDS: i32 = 10;
/// `timeoutSeconds` of a probe
pub const TIMEOUT_SECONDS: i32 = 1;
/// `successThreshold` of a probe
pub const SUCCESS_THRESHOLD: i32 = 1;
/// `failureThreshold` of a probe
pub const FAILURE_THRESHOLD: i32 = 3;

/// Gives each field that is absent its default. Null counts as absent.
pub fn fill(fields: &mut Map<String, Value>, defaults: &[(&str, Value)]) {
    for (name, default) in defaults {
        if fields.get(*name).is_none_or(Value::is_null) {
            fields.insert((*name).to_owned(), default.clone());
        }
    }
}

/// Fills in the times of a probe, and the scheme of its request.
pub fn fill_probe(probe: &mut Map<String, Value>) {
    let times = [
        ("periodSeconds", json!(PERIOD_SECONDS)),
        ("timeoutSeconds", json!(TIMEOUT_SECONDS)),
        ("successThreshold", json!(SUCCESS_THRESHOLD)),
        ("failureThreshold", json!(FAILURE_THRESHOLD)),
    ];
    fill(probe, &times);
    if let Some(Value::Object(http_get)) = probe.get_mut("httpGet") {
        fill(http_get, &[("scheme", json!("HTTP"))]);
    }
}
