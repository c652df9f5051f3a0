//! Rollouts that may never complete because of what gapless injected.

use serde_json::Value;

use super::record::{InjectedField, Record};
use crate::kubernetes::object::at;

/// The defaults that can keep a rollout from completing.
pub const DEFAULTS: [&str; 2] = ["readiness-probe", "rolling-update"];

/// The number of a revision, as the Deployment controller writes it (kubernetes,
/// pkg/controller/deployment/util/deployment_util.go).
const REVISION: &str = "deployment.kubernetes.io/revision";

/// A rollout of a Deployment that has made no progress within its deadline, while something of
/// gapless may be why: a probe of ours may never pass, and with our `maxUnavailable: 0` no old
/// pod goes before a surge pod is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedDeadline {
    /// The number of the revision that is rolled out.
    pub revision: u64,
    /// The container that has a probe of ours.
    pub probed: Option<String>,
    /// Whether `maxUnavailable: 0` is ours.
    pub is_surge_first: bool,
}

impl MissedDeadline {
    /// Reads the conditions and the record of a Deployment.
    pub fn of(deployment: &Value) -> Option<Self> {
        let conditions = at(deployment, &["status", "conditions"])?.as_array()?;
        let is_missed = |it: &Value| {
            let text = |field| it.get(field).and_then(Value::as_str);
            text("type") == Some("Progressing") && text("reason") == Some("ProgressDeadlineExceeded")
        };
        if !conditions.iter().any(is_missed) {
            return None;
        }
        let record = Record::read(deployment).ok().flatten()?;
        let probed = record.fields().find_map(|field| match field {
            InjectedField::ReadinessProbe(container) => Some(container.clone()),
            _ => None,
        });
        let is_surge_first = |(field, value): (&InjectedField, &Value)| {
            matches!(field, InjectedField::MaxUnavailable(_)) && value == 0
        };
        let is_surge_first = record.entries().any(is_surge_first);
        let revision = revision_number(deployment)?;
        Some(MissedDeadline { revision, probed, is_surge_first })
    }

    /// The ids of the defaults that may be why.
    pub fn defaults(&self) -> Vec<&'static str> {
        let may_be_why = [self.probed.is_some(), self.is_surge_first];
        DEFAULTS.iter().zip(may_be_why).filter(|(_, may_be)| *may_be).map(|(default, _)| *default).collect()
    }
}

/// The number of the revision that a ReplicaSet is, if it is to have pods, and none is ready.
pub fn unready_revision(replica_set: &Value) -> Option<u64> {
    let wants_pods = at(replica_set, &["spec", "replicas"]).and_then(Value::as_u64) != Some(0);
    let ready = at(replica_set, &["status", "readyReplicas"]).and_then(Value::as_u64).unwrap_or_default();
    revision_number(replica_set).filter(|_| wants_pods && ready == 0)
}

fn revision_number(object: &Value) -> Option<u64> {
    at(object, &["metadata", "annotations", REVISION])?.as_str()?.parse().ok()
}
