//! The rule `surge-deadlock`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;
use crate::workload::scheduling::SurgeBlocker;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "surge-deadlock",
    summary: "a rolling update that waits for a pod which finds no node beside the old ones",
    page: include_str!("surge_deadlock.md"),
    kinds: &[Kind::Deployment, Kind::DaemonSet, Kind::Rollout],
    production: Action::Warn,
    development: Action::Warn,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let needs_surge = workload.fenceposts().is_some_and(|fenceposts| fenceposts.unavailable == 0);
    if !needs_surge || workload.is_injected(&workload.max_unavailable_field()) {
        return Vec::new();
    }
    // On its own node the new pod of a DaemonSet mounts what the old one mounts.
    let is_in_the_way = |blocker: &SurgeBlocker| {
        let is_volume = matches!(blocker, SurgeBlocker::Volume { .. });
        blocker.keeps_from_starting() && !(is_volume && workload.kind() == Kind::DaemonSet)
    };
    let blockers = workload.surge_blockers().filter(is_in_the_way);
    blockers.map(|blocker| describe(&blocker, workload)).collect()
}

fn describe(blocker: &SurgeBlocker, workload: &Workload) -> Finding {
    let field = field(blocker, workload);
    let message = match blocker {
        SurgeBlocker::Volume { name, is_certain } => {
            let whether = if *is_certain { "one node mounts" } else { "if only one node can mount" };
            let then = if *is_certain { ": a new pod" } else { ", a new pod" };
            format!("{whether} {name}{then} waits for the old one, and that one for the new")
        }
        SurgeBlocker::Device(_) | SurgeBlocker::ResourceClaims => format!(
            "{blocker} is one pod's own, and no old pod may go first: with no spare device the rollout hangs"
        ),
        blocker if workload.kind() == Kind::DaemonSet => format!(
            "{blocker} allows one pod per node, and the old one may not go first: the new one never starts"
        ),
        blocker => format!(
            "{blocker} allows one pod per node, and no old pod may go first: with no free node the rollout hangs"
        ),
    };
    // One pod that goes first is an outage whatever the strategy is called.
    let go_first = match (workload.kind(), workload.replicas()) {
        (Kind::DaemonSet, _) => "set maxSurge: 0 and maxUnavailable: 1, with a gap on each node",
        (Kind::Deployment, 1) => "set strategy.type: Recreate, with an outage at each rollout",
        (_, 1) => "set maxSurge: 0 and maxUnavailable: 1, with an outage at each rollout",
        _ => "set maxSurge: 0 and maxUnavailable: 1, with one pod less during a rollout",
    };
    let fix = match (blocker, blocker.remedy()) {
        // It costs nothing.
        (SurgeBlocker::AntiAffinity, Some(remedy)) => remedy.to_owned(),
        (_, Some(remedy)) => format!("{remedy}, or {go_first}"),
        (_, None) => format!("keep a device free for the rollout, or {go_first}"),
    };
    let finding = Finding::invalid(RULE.id, field, message, fix);
    // How many nodes can mount a claim is not in the Deployment.
    match blocker {
        SurgeBlocker::Volume { is_certain: false, .. } => finding.at_most(Action::Audit),
        _ => finding,
    }
}

/// The field that keeps the pods apart.
fn field(blocker: &SurgeBlocker, workload: &Workload) -> FieldPath {
    let pod = FieldPath::new("spec.template.spec");
    match blocker {
        SurgeBlocker::HostPort(number) => host_port_field(*number, workload).unwrap_or(pod),
        SurgeBlocker::HostNetwork => pod.field("hostNetwork"),
        SurgeBlocker::Device(resource) => device_field(resource, workload).unwrap_or(pod),
        SurgeBlocker::ResourceClaims => pod.field("resourceClaims"),
        SurgeBlocker::Volume { name, .. } => pod.field("volumes").item(name),
        SurgeBlocker::NodeAgent(_) => pod,
        SurgeBlocker::AntiAffinity => {
            pod.field("affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution")
        }
    }
}

fn device_field(resource: &str, workload: &Workload) -> Option<FieldPath> {
    let asks = |container: &&Container| {
        let resources = &container.resources;
        resources.limits.contains_key(resource) || resources.requests.contains_key(resource)
    };
    let container = workload.containers().iter().find(asks)?;
    Some(FieldPath::container(container.name).field("resources.limits"))
}

fn host_port_field(number: i32, workload: &Workload) -> Option<FieldPath> {
    workload.long_running_with_path().find_map(|(container, path)| {
        let port = container.ports.iter().find(|port| port.host_port == Some(number))?;
        let ports = path.field("ports");
        Some(match port.name {
            Some(name) => ports.item(name).field("hostPort"),
            None => ports,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, rolling};
    use serde_json::{Value, json};

    type Change = fn(&mut Value);

    /// What is found, with `change` made to the pod.
    fn with(mut object: Value, change: impl Fn(&mut Value)) -> Vec<(String, Action)> {
        change(&mut object["spec"]["template"]["spec"]);
        let findings = found(&RULE, &object);
        findings.into_iter().map(|finding| (finding.field.to_string(), finding.at_most)).collect()
    }

    fn host_port(pod: &mut Value) {
        pod["containers"][0]["ports"][0]["hostPort"] = json!(8080);
    }

    fn host_network(pod: &mut Value) {
        pod["hostNetwork"] = json!(true);
    }

    fn claim(pod: &mut Value) {
        pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    }

    fn anti_affinity(pod: &mut Value) {
        let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}});
        pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([term]);
    }

    #[test]
    fn a_surge_pod_that_finds_no_node() {
        let path = |field: &str| format!("spec.template.spec.{field}");
        let table: [(Change, String, Action); 4] = [
            (host_port, path("containers[app].ports[http].hostPort"), Action::Deny),
            (host_network, path("hostNetwork"), Action::Deny),
            (
                anti_affinity,
                path("affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"),
                Action::Deny,
            ),
            (claim, path("volumes[data]"), Action::Audit),
        ];
        for (change, field, at_most) in table {
            for (replicas, max_unavailable) in [(1, json!(0)), (2, json!(0)), (3, json!("25%"))] {
                let object = rolling(replicas, max_unavailable, json!(1));
                assert_eq!(with(object, change), [(field.clone(), at_most)]);
            }
        }
    }

    #[test]
    fn a_claim_does_not_hide_what_is_surer() {
        let both = with(rolling(2, json!(0), json!(1)), |pod| {
            claim(pod);
            anti_affinity(pod);
        });
        assert_eq!(
            both.iter().map(|(_, at_most)| *at_most).collect::<Vec<_>>(),
            [Action::Deny, Action::Audit]
        );
    }

    #[test]
    fn an_old_pod_that_may_go_first_makes_room() {
        for (replicas, max_unavailable, max_surge) in [
            (2, json!(1), json!(1)),
            (4, json!("25%"), json!("25%")),
            // The controller takes one down if both come to 0.
            (3, json!("25%"), json!(0)),
        ] {
            let object = rolling(replicas, max_unavailable, max_surge);
            assert_eq!(with(object, host_port), [], "{replicas}");
        }
        let mut recreate = rolling(2, json!(0), json!(1));
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        assert_eq!(with(recreate, host_port), []);
    }

    #[test]
    fn what_looks_alike_and_blocks_nothing() {
        let web = || rolling(2, json!(0), json!(1));
        assert_eq!(with(web(), |_| {}), []);
        assert_eq!(with(web(), |pod| pod["volumes"] = json!([{"name": "cache", "emptyDir": {}}])), []);
        assert_eq!(with(web(), |pod| pod["containers"][0]["ports"][0]["hostPort"] = json!(0)), []);
        let worker_on_the_host = |pod: &mut Value| {
            host_network(pod);
            pod["containers"][0]["ports"] = json!([]);
        };
        assert_eq!(with(web(), worker_on_the_host), []);
        let per_generation = |pod: &mut Value| {
            anti_affinity(pod);
            pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["matchLabelKeys"] =
                json!(["pod-template-hash"]);
        };
        assert_eq!(with(web(), per_generation), []);
    }

    #[test]
    fn an_injected_max_unavailable_is_not_blamed_on_the_user() {
        let mut object = rolling(2, json!(0), json!(1));
        let record = json!({"spec.strategy.rollingUpdate.maxUnavailable": 0});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert_eq!(with(object, host_port), []);
    }

    #[test]
    fn the_fix_does_not_lead_into_an_outage() {
        for (replicas, part) in [(1, "Recreate"), (2, "maxUnavailable: 1")] {
            let mut object = rolling(replicas, json!(0), json!(1));
            host_port(&mut object["spec"]["template"]["spec"]);
            let findings = found(&RULE, &object);
            assert!(findings[0].fix.contains(part), "{findings:?}");
        }
    }
}
