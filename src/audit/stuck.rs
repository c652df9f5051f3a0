//! Deployments whose rollout does not complete because of what gapless injected.
//!
//! Their own conditions say only that a deadline has passed; why, their pods say.

use serde_json::Value;

use crate::kubernetes::label_selector::LabelSelector;
use crate::kubernetes::object::{at, controller};
use crate::ownership::stuck::{MissedDeadline, unready_revision};
use crate::report::Subject;

/// A Deployment that has missed its deadline, perhaps because of gapless.
#[derive(Clone, Debug)]
pub struct Suspect {
    subject: Subject,
    uid: String,
    /// Labels that all of its pods have, as a query writes them.
    pub labels: String,
    missed: MissedDeadline,
}

/// A rollout that does not complete, and why.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The Deployment.
    pub subject: Subject,
    /// The ids of the defaults that are why; several where nobody may look.
    pub defaults: Vec<&'static str>,
    /// What was seen.
    pub message: String,
    /// The way out.
    pub fix: &'static str,
}

const FIX_PROBE: &str = "write a readinessProbe that the application answers into the manifest; or annotate the \
    Deployment with gapless.dev/waive.readiness-probe and a reason, and run kubectl rollout restart";

const FIX_SURGE: &str = "make room for one more pod; or write maxUnavailable: 1 and maxSurge: 0 into the manifest, \
    at the price of one pod less during a rollout";

const FIX_UNKNOWN: &str = "see what its newest pods wait for (kubectl describe pod), or let the audit list pods \
    and replicasets.apps";

impl Suspect {
    /// The Deployment, if it is one.
    pub fn of(subject: &Subject, deployment: &Value) -> Option<Self> {
        let missed = MissedDeadline::of(deployment).filter(|missed| !missed.defaults().is_empty())?;
        let selector = LabelSelector::deserialize(at(deployment, &["spec", "selector"])?).ok()?;
        Some(Suspect {
            subject: subject.clone(),
            uid: at(deployment, &["metadata", "uid"])?.as_str()?.to_owned(),
            labels: selector.equalities(),
            missed,
        })
    }

    /// Where it is.
    pub fn namespace(&self) -> &str {
        self.subject.namespace.as_deref().unwrap_or_default()
    }

    /// Why it is stuck, if that is certain and because of gapless. `replica_sets` and `pods` may
    /// be those of others too.
    pub fn diagnose(&self, replica_sets: &[Value], pods: &[Value]) -> Option<Stuck> {
        let is_new =
            |it: &&Value| is_controlled(it, &self.uid) && unready_revision(it) == Some(self.missed.revision);
        let replica_set = replica_sets.iter().find(is_new)?;
        let uid = at(replica_set, &["metadata", "uid"])?.as_str()?;
        let pods: Vec<&Value> = pods.iter().filter(|pod| is_controlled(pod, uid)).collect();
        let no_room = || {
            let (what, why) = match pods.first() {
                Some(pod) => ("no node has room for", condition(pod, "PodScheduled", "False")?),
                None => ("nobody may create", condition(replica_set, "ReplicaFailure", "True")?),
            };
            let message = format!(
                "{what} the pod that has to come before an old one may go, for gapless injected \
                 maxUnavailable: 0: {why}"
            );
            self.missed.is_surge_first.then(|| self.stuck("rolling-update", message, FIX_SURGE))
        };
        let never_ready = || {
            let container = self.missed.probed.as_deref()?;
            let pod = pods.iter().find(|pod| runs_and_is_not_ready(pod, container))?;
            let message = format!(
                "container {container} of pod {} runs and never gets ready, and gapless injected its readiness probe",
                at(pod, &["metadata", "name"])?.as_str()?
            );
            Some(self.stuck("readiness-probe", message, FIX_PROBE))
        };
        never_ready().or_else(no_room)
    }

    /// What can be said where nobody may look at its pods.
    pub fn unseen(&self) -> Stuck {
        let defaults = self.missed.defaults();
        let message = format!(
            "its rollout has missed its deadline, perhaps for what gapless injected ({})",
            defaults.join(", ")
        );
        Stuck { subject: self.subject.clone(), defaults, message, fix: FIX_UNKNOWN }
    }

    fn stuck(&self, default: &'static str, message: String, fix: &'static str) -> Stuck {
        Stuck { subject: self.subject.clone(), defaults: vec![default], message, fix }
    }
}

fn is_controlled(object: &Value, uid: &str) -> bool {
    controller(object).and_then(|owner| owner.get("uid")?.as_str()) == Some(uid)
}

/// The message of a condition that has this status.
fn condition<'v>(object: &'v Value, kind: &str, status: &str) -> Option<&'v str> {
    let conditions = at(object, &["status", "conditions"])?.as_array()?;
    let is_it = |it: &&Value| {
        let text = |field| it.get(field).and_then(Value::as_str);
        (text("type"), text("status")) == (Some(kind), Some(status))
    };
    conditions.iter().find(is_it)?.get("message")?.as_str()
}

/// Whether every container runs since it was started, and of them only this one is not ready:
/// one that crashes is not ready either, but not because of a probe.
fn runs_and_is_not_ready(pod: &Value, container: &str) -> bool {
    let statuses = at(pod, &["status", "containerStatuses"]).and_then(Value::as_array);
    let Some(statuses) = statuses.filter(|statuses| !statuses.is_empty()) else { return false };
    let runs = |it: &Value| {
        at(it, &["state", "running"]).is_some() && it.get("restartCount").and_then(Value::as_u64) == Some(0)
    };
    let is_probed = |it: &Value| it.get("name").and_then(Value::as_str) == Some(container);
    let is_ready = |it: &Value| it.get("ready") == Some(&Value::Bool(true));
    statuses.iter().all(|it| runs(it) && is_ready(it) != is_probed(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::ownership::record::ANNOTATION;
    use serde_json::json;

    fn suspect(record: &Value) -> Option<Suspect> {
        let deployment = json!({
            "metadata": {"uid": "d", "annotations": {
                ANNOTATION: record.to_string(), "deployment.kubernetes.io/revision": "2"}},
            "spec": {"selector": {"matchLabels": {"app": "web", "tier": "front"}}},
            "status": {"conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]},
        });
        let subject = Subject::live(Kind::Deployment, "shop", "web");
        Suspect::of(&subject, &deployment)
    }

    fn both() -> Suspect {
        suspect(&json!({
            "spec.strategy.rollingUpdate.maxUnavailable": 0,
            "spec.template.spec.containers[app].readinessProbe": {"tcpSocket": {"port": 80}},
        }))
        .unwrap()
    }

    fn owned(uid: &str, by: &str) -> Value {
        json!({"name": uid, "uid": uid, "annotations": {"deployment.kubernetes.io/revision": uid},
            "ownerReferences": [{"uid": by, "controller": true}]})
    }

    fn replica_sets(conditions: &Value) -> [Value; 2] {
        ["1", "2"].map(|number| {
            json!({"metadata": owned(number, "d"), "spec": {"replicas": 1}, "status": {"conditions": conditions}})
        })
    }

    fn pod(status: &Value) -> Value {
        json!({"metadata": owned("pod", "2"), "status": status})
    }

    fn container(name: &str, state: &str, is_ready: bool, restarts: u32) -> Value {
        json!({"name": name, "state": {state: {}}, "ready": is_ready, "restartCount": restarts})
    }

    #[test]
    fn what_the_pods_say_decides() {
        let unschedulable =
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]});
        let containers = |containers: &[Value]| json!({"containerStatuses": containers});
        let table = [
            (unschedulable, Some("rolling-update")),
            (containers(&[container("app", "running", false, 0)]), Some("readiness-probe")),
            (
                containers(&[container("app", "running", false, 0), container("b", "running", true, 0)]),
                Some("readiness-probe"),
            ),
            // What waits or crashes, or somebody else's probe, is none of ours.
            (containers(&[container("app", "waiting", false, 0)]), None),
            (containers(&[container("app", "running", false, 3)]), None),
            (containers(&[container("app", "running", true, 0), container("b", "running", false, 0)]), None),
            (containers(&[container("app", "running", false, 0), container("b", "waiting", false, 0)]), None),
            (json!({}), None),
        ];
        for (status, expected) in table {
            let stuck = both().diagnose(&replica_sets(&json!([])), &[pod(&status)]);
            assert_eq!(stuck.map(|it| it.defaults), expected.map(|id| vec![id]), "{status}");
        }
    }

    #[test]
    fn a_quota_keeps_the_surge_pod_from_being_made() {
        let failure =
            json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}]);
        let stuck = both().diagnose(&replica_sets(&failure), &[]).unwrap();
        assert_eq!(stuck.defaults, ["rolling-update"]);
        assert!(stuck.message.ends_with("exceeded quota: pods"), "{}", stuck.message);
        let probe = json!({"spec.template.spec.containers[app].readinessProbe": {"tcpSocket": {"port": 80}}});
        assert!(suspect(&probe).unwrap().diagnose(&replica_sets(&failure), &[]).is_none());
    }

    #[test]
    fn only_pods_of_the_new_revision_count() {
        let mut other = pod(&json!({"containerStatuses": [container("app", "running", false, 0)]}));
        assert!(both().diagnose(&replica_sets(&json!([])), std::slice::from_ref(&other)).is_some());
        other["metadata"]["ownerReferences"][0]["uid"] = json!("1");
        assert!(both().diagnose(&replica_sets(&json!([])), &[other]).is_none());
    }

    #[test]
    fn without_anything_of_gapless_nobody_is_suspect() {
        assert!(suspect(&json!({"spec.strategy.rollingUpdate.maxUnavailable": 1})).is_none());
        assert_eq!(both().labels, "app=web,tier=front");
        assert_eq!(both().unseen().defaults, ["readiness-probe", "rolling-update"]);
    }
}
