//! What a forecast stands on: what is certain from the manifest alone, and what is assumed.

use super::kubelet::{LEAST_GRACE, Life};
use super::{Plan, Quota, argo, stall};
use crate::kubernetes::kind::Kind;
use crate::workload::object::{Container, LifecycleHandler};
use crate::workload::{Strategy, Workload};

/// What a forecast stands on, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Certain from the manifest alone.
    pub certain: Vec<String>,
    /// Assumed, besides how fast the application is.
    pub assumed: Vec<String>,
}

impl Grounds {
    /// Those of a rollout whose new pods live so.
    pub fn of(plan: &Plan, life: &Life) -> Self {
        let workload = plan.workload;
        let old = plan.from.unwrap_or(workload);
        let certain = [
            figures(workload),
            names(workload),
            Some(end(old)),
            delay(workload),
            min_ready(workload),
            without_probe(workload),
            deadline(workload),
            plan.quota.map(|Quota { name, pods }| {
                format!("ResourceQuota {name} leaves room for {pods} pods of it")
            }),
        ];
        let assumed = [
            Some(
                "the image is on the node (a pull takes 0 s), and the nodes have room for each pod"
                    .to_owned(),
            ),
            newer_cluster(workload),
            init_containers(workload),
            (!workload.pod().readiness_gates.is_empty())
                .then(|| "its readiness gates are met at once".to_owned()),
            hooks(old),
            autoscaler(workload),
            plan.quota.map(|_| QUOTA.to_owned()),
            stall::maybe_surge_deadlock(workload),
            stall::maybe_deadline(workload, life),
            argo::has_analyses(workload).then(|| "its analyses and experiments succeed at once".to_owned()),
            Some("nobody scales it meanwhile, and no pod fails by itself".to_owned()),
        ];
        Grounds {
            certain: certain.into_iter().flatten().collect(),
            assumed: assumed.into_iter().flatten().collect(),
        }
    }
}

/// A refused pod is tried again after ever longer waits (client-go, util/workqueue,
/// `DefaultTypedControllerRateLimiter`).
const QUOTA: &str = "a pod that the quota refused is made as soon as there is room; the controller may wait up to as long again";

fn figures(workload: &Workload) -> Option<String> {
    (workload.kind() == Kind::DaemonSet).then(|| "all figures are those of one node".to_owned())
}

fn names(workload: &Workload) -> Option<String> {
    let is_named = workload.kind() == Kind::StatefulSet && workload.strategy() == Strategy::RollingUpdate;
    is_named.then(|| "a pod is made again only when the one that had its name is gone".to_owned())
}

fn end(old: &Workload) -> String {
    let grace = old.grace_period_seconds();
    if grace == 0 {
        return "with a grace period of 0 an old pod counts as gone before its containers have ended"
            .to_owned();
    }
    let most = grace.saturating_add(i64::try_from(LEAST_GRACE / 1_000).unwrap_or(0));
    let asleep =
        old.long_running().filter_map(pre_stop).map(|hook| hook.sleeps().as_secs()).max().unwrap_or(0);
    let asleep = match asleep.min(grace.unsigned_abs()) {
        0 => String::new(),
        seconds => format!(", {seconds} s of them asleep in its preStop hook"),
    };
    format!(
        "an old pod ends within {most} s of its deletion (its grace period of {grace} s, and 2 s){asleep}"
    )
}

fn delay(workload: &Workload) -> Option<String> {
    let seconds = stall::longest_delay(workload) / 1_000;
    (seconds > 1)
        .then(|| format!("no new pod is ready before {} s, by the delays of its probes", seconds - 1))
}

fn min_ready(workload: &Workload) -> Option<String> {
    let seconds = workload.min_ready_seconds();
    (seconds > 0).then(|| {
        format!("a new pod counts as available when it has been ready for {seconds} s (minReadySeconds)")
    })
}

fn without_probe(workload: &Workload) -> Option<String> {
    let container = workload.containers().iter().find(|it| it.readiness_probe.is_none())?;
    let when = if container.startup_probe.is_some() { "has started" } else { "runs" };
    let name = container.name;
    Some(format!(
        "container {name} has no readiness probe: it counts as ready when it {when}, listening or not"
    ))
}

fn deadline(workload: &Workload) -> Option<String> {
    let seconds = workload.progress_deadline_seconds();
    let has_one = workload.kind().has_progress_deadline();
    has_one.then(|| format!("progressDeadlineSeconds, {seconds}, is for each step and not for the whole"))
}

/// Before, `maxUnavailable` of a StatefulSet had to be switched on.
fn newer_cluster(workload: &Workload) -> Option<String> {
    let several = workload.kind() == Kind::StatefulSet
        && workload.fenceposts().is_some_and(|limits| limits.unavailable > 1);
    several.then(|| {
        "the cluster is Kubernetes 1.37 or newer: an older one replaces one pod at a time".to_owned()
    })
}

fn init_containers(workload: &Workload) -> Option<String> {
    let mut plain = workload.pod().init_containers.iter().filter(|it| !it.is_native_sidecar());
    plain.next().map(|_| "its init containers take no time".to_owned())
}

/// Hooks of which nobody knows how long they take.
fn hooks(old: &Workload) -> Option<String> {
    let is_open = |container: &&Container| pre_stop(container).is_some_and(|hook| hook.sleep.is_none());
    let name = old.long_running().find(is_open)?.name;
    Some(format!("the preStop hook of container {name} takes no longer than the sleeps in it"))
}

fn pre_stop<'w, 'a>(container: &'w Container<'a>) -> Option<&'w LifecycleHandler<'a>> {
    container.lifecycle.pre_stop.as_ref()
}

fn autoscaler(workload: &Workload) -> Option<String> {
    let autoscaler = workload.surroundings().autoscaler.as_ref()?;
    let (name, least) = (&autoscaler.name, autoscaler.min_replicas);
    Some(format!("its HorizontalPodAutoscaler {name} asks for no more than its minimum of {least}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Assumed;
    use serde_json::{Value, json};

    fn grounds(kind: &str, change: impl Fn(&mut Value)) -> Grounds {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"template": {"spec": {
            "containers": [{"name": "app", "readinessProbe": {}}],
        }}}});
        change(&mut object["spec"]);
        let workload = Workload::read(&object).unwrap();
        let assumed = Assumed::default();
        let quota = object.pointer("/spec/quota").map(|_| Quota { name: "q (pods)".to_owned(), pods: 3 });
        let plan = Plan { workload: &workload, from: None, assumed, quota: quota.as_ref() };
        Grounds::of(&plan, &Life::of(&workload, &assumed))
    }

    fn pod(spec: &mut Value) -> &mut Value {
        &mut spec["template"]["spec"]
    }

    #[test]
    fn what_is_always_said() {
        let found = grounds("Deployment", |_| {});
        let certain = [
            "an old pod ends within 32 s of its deletion (its grace period of 30 s, and 2 s)",
            "progressDeadlineSeconds, 600, is for each step and not for the whole",
        ];
        assert_eq!(found.certain, certain);
        let assumed = [
            "the image is on the node (a pull takes 0 s), and the nodes have room for each pod",
            "nobody scales it meanwhile, and no pod fails by itself",
        ];
        assert_eq!(found.assumed, assumed);
    }

    #[test]
    fn what_is_said_where_it_matters() {
        type Change = fn(&mut Value);
        let table: [(&str, Change, &str); 13] = [
            (
                "StatefulSet",
                |spec| {
                    spec["replicas"] = json!(4);
                    spec["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": 2}});
                },
                "1.37 or newer",
            ),
            ("Deployment", |spec| spec["quota"] = json!(true), "q (pods) leaves room for 3 pods"),
            ("Deployment", |spec| spec["quota"] = json!(true), "that the quota refused"),
            ("DaemonSet", |_| {}, "of one node"),
            ("StatefulSet", |_| {}, "only when the one that had its name is gone"),
            (
                "Deployment",
                |spec| pod(spec)["terminationGracePeriodSeconds"] = json!(0),
                "counts as gone before",
            ),
            (
                "Deployment",
                |spec| {
                    pod(spec)["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 10}}})
                },
                "10 s of them asleep",
            ),
            (
                "Deployment",
                |spec| pod(spec)["containers"][0]["readinessProbe"]["initialDelaySeconds"] = json!(20),
                "no new pod is ready before 19 s",
            ),
            ("Deployment", |spec| spec["minReadySeconds"] = json!(7), "ready for 7 s"),
            (
                "Deployment",
                |spec| pod(spec)["containers"][0] = json!({"name": "web"}),
                "container web has no readiness probe",
            ),
            ("Deployment", |spec| pod(spec)["initContainers"] = json!([{"name": "a"}]), "init containers"),
            ("Deployment", |spec| pod(spec)["readinessGates"] = json!([{}]), "readiness gates"),
            (
                "Deployment",
                |spec| {
                    pod(spec)["containers"][0]["lifecycle"] =
                        json!({"preStop": {"exec": {"command": ["/drain"]}}})
                },
                "the preStop hook of container app",
            ),
        ];
        for (kind, change, part) in table {
            let found = grounds(kind, change);
            let all = [found.certain, found.assumed].concat();
            assert!(all.iter().any(|it| it.contains(part)), "{part}: {all:?}");
        }
    }
}
