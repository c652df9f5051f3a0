//! The rule `rollout-outage`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::availability::ReplicasFrom;
use crate::workload::scheduling::SurgeBlocker;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "rollout-outage",
    summary: "a rolling update that may take all pods down at once",
    page: include_str!("rollout_outage.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: false,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

/// Of the other kinds of Kubernetes this rule only warns.
const CEL: Cel = Cel {
    finds: || {
        let denies = "!variables.maxUnavailableIsRecorded\n  \
                      && !({replicas} == 1 && (variables.surgeIsBlocked\n    \
                      || !variables.isUpdate && !variables.replicasAreProven))";
        field_if("spec.strategy.rollingUpdate", &format!("{TAKES_ALL_DOWN}\n  && {denies}"))
    },
    found_before: Some(|| field_if("spec.strategy.rollingUpdate", TAKES_ALL_DOWN)),
    message: "no pod may be available during a rollout: maxUnavailable reaches the number of replicas, or 1 if maxSurge is 0",
    fix: "set maxUnavailable: 0 and maxSurge: 1; where no second pod can run beside the first: maxUnavailable: 1, with 2 replicas or more",
};

/// The API server takes a percentage up to 100 as maxUnavailable. maxSurge is rounded up,
/// so that it comes to no pod only if it is 0.
const TAKES_ALL_DOWN: &str = "\
{spec}.?strategy.?type.orValue('') == 'RollingUpdate' && {replicas} > 0
  && ({unavailable} >= {replicas}
    || {replicas} == 1 && {unavailable} == 0 && {surgeIsZero})
  && {serves}";

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let Some(fenceposts) = workload.fenceposts() else { return Vec::new() };
    let is_ours = workload.is_injected(&workload.max_unavailable_field());
    // One node after the other is daemon-gap's.
    let is_partial = workload.kind() == Kind::DaemonSet && !workload.takes_all_down();
    let serves = || workload.serves(&settings.operational_port_names);
    if fenceposts.available > 0 || is_partial || is_ours || !serves() {
        return Vec::new();
    }
    if let Kind::StatefulSet | Kind::DaemonSet = workload.kind() {
        return vec![in_order(workload).at_most(Action::Warn)];
    }
    let arithmetic = format!(
        "{} -> 0 of {} pods may be available during a rollout",
        amounts(workload),
        workload.replicas()
    );
    let field = workload.rolling_block();
    let finding = |message: String, fix: String| Finding::invalid(RULE.id, field, message, fix);
    let is_one = workload.replicas() == 1;
    let finding = match workload.surge_blocker() {
        // No pod may go, and none can come.
        Some(blocker) if is_one => {
            let message = format!("{arithmetic}, and {blocker} lets no second pod run beside the first");
            return vec![finding(message, ways_out(&blocker, workload.kind())).at_most(Action::Warn)];
        }
        Some(_) => finding(arithmetic, "set maxUnavailable: 1, so that one pod goes at a time".to_owned()),
        None => finding(arithmetic, "set maxUnavailable: 0 and maxSurge: 1".to_owned()),
    };
    // The one replica may be another number in a moment; all pods are all pods.
    let may_be_scaled =
        workload.surroundings().awaits_autoscaler || workload.replicas_from() == ReplicasFrom::Autoscaler;
    let is_nobodys = workload.replicas_from() == ReplicasFrom::Nobody;
    let is_filled_in = is_nobodys && is_one && workload.context().old_object.is_none();
    let may_be_more = is_filled_in || (may_be_scaled && !workload.takes_all_down());
    vec![if may_be_more { finding.at_most(Action::Warn) } else { finding }]
}

/// Of a kind whose pods go before new ones come.
fn in_order(workload: &Workload) -> Finding {
    let replicas = workload.replicas();
    let (message, fix) = match workload.kind() {
        Kind::DaemonSet => (
            format!(
                "maxUnavailable {} -> all nodes may be without a pod at once",
                workload.max_unavailable()
            ),
            match workload.surge_blocker() {
                Some(_) => "set maxUnavailable: 1, so that one node after the other is without it",
                None => "set maxUnavailable: 0 and maxSurge: 1",
            },
        ),
        _ => (
            format!(
                "{} -> 0 of {replicas} pods may be available during a rollout: of a StatefulSet a pod goes before \
                 its new one comes",
                amounts(workload)
            ),
            match replicas {
                1 => "run 2 replicas or more",
                _ => "set maxUnavailable: 1, so that one pod goes at a time",
            },
        ),
    };
    Finding::invalid(RULE.id, workload.rolling_block(), message, fix)
}

/// What is left to do where no second pod can run beside the only one.
fn ways_out(blocker: &SurgeBlocker, kind: Kind) -> String {
    let recreate = "set strategy.type: Recreate, which says openly that each rollout is an outage";
    let more = match blocker.allows_one_pod_per_node() {
        true => {
            "run 2 replicas or more with maxUnavailable: 1, so that one at a time is down during a rollout"
        }
        false => {
            "share the data (access mode ReadWriteMany) between 2 replicas or more with maxUnavailable: 1, \
             so that one at a time is down during a rollout"
        }
    };
    match kind {
        Kind::Deployment => format!("{more}; or {recreate}"),
        _ => more.to_owned(),
    }
}

/// The numbers that the arithmetic starts from. `maxSurge` is only named where
/// it matters: at zero it makes the controller take a pod down.
pub(super) fn amounts(workload: &Workload) -> String {
    let replicas = workload.replicas();
    let plural = if replicas == 1 { "" } else { "s" };
    let surge = match workload.fenceposts() {
        Some(fenceposts) if fenceposts.surge == 0 && workload.kind().has_surge() => {
            format!(", maxSurge {}", workload.max_surge())
        }
        _ => String::new(),
    };
    format!("{replicas} replica{plural}, maxUnavailable {}{surge}", workload.max_unavailable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, found_in, messages, rolling, serve_nobody, web};
    use crate::surroundings::{Autoscaler, Surroundings};
    use serde_json::json;

    #[test]
    fn while_an_autoscaler_may_be_there_the_number_is_not_certain() {
        let around = Surroundings { awaits_autoscaler: true, ..Surroundings::default() };
        for (max_unavailable, expected) in [(json!(1), Action::Warn), (json!("100%"), Action::Deny)] {
            let mut object = rolling(1, max_unavailable, json!(0));
            object["apiVersion"] = json!("apps/v1");
            assert_eq!(found_in(&RULE, &object, &around)[0].at_most, expected);
            // What is milder without that stays so.
            object["spec"]["replicas"] = json!(null);
            assert_eq!(found_in(&RULE, &object, &around)[0].at_most, Action::Warn);
        }
    }

    #[test]
    fn no_pod_is_left() {
        let table = [
            (1, json!(1), json!(1), "1 replica, maxUnavailable 1 -> 0 of 1"),
            (1, json!("25%"), json!(0), "1 replica, maxUnavailable 25%, maxSurge 0 -> 0 of 1"),
            (3, json!("100%"), json!(1), "3 replicas, maxUnavailable 100% -> 0 of 3"),
            (2, json!(5), json!(1), "2 replicas, maxUnavailable 5 -> 0 of 2"),
        ];
        for (replicas, max_unavailable, max_surge, message) in table {
            let expected = format!("{message} pods may be available during a rollout");
            assert_eq!(messages(&RULE, &rolling(replicas, max_unavailable, max_surge)), [expected]);
        }
    }

    #[test]
    fn where_no_second_pod_fits_the_ways_out_are_named() {
        let with = |replicas: i32, pod: serde_json::Value| {
            let mut object = rolling(replicas, json!("100%"), json!(1));
            object["spec"]["template"]["spec"]
                .as_object_mut()
                .unwrap()
                .extend(pod.as_object().unwrap().clone());
            found(&RULE, &object).remove(0)
        };
        let one = with(1, json!({"hostNetwork": true}));
        assert_eq!(one.at_most, Action::Warn);
        assert!(one.message.contains("hostNetwork with ports lets no second pod run"), "{one:?}");
        assert!(one.fix.contains("run 2 replicas or more") && one.fix.contains("Recreate"), "{one:?}");
        let disk = with(1, json!({"volumes": [{"name": "data", "fc": {}}]}));
        assert!(disk.fix.contains("ReadWriteMany") && disk.fix.contains("Recreate"), "{disk:?}");
        let two = with(2, json!({"hostNetwork": true}));
        assert_eq!(
            (two.at_most, two.fix.as_str()),
            (Action::Deny, "set maxUnavailable: 1, so that one pod goes at a time")
        );
    }

    #[test]
    fn a_number_that_may_be_another_one_in_a_moment_is_not_denied() {
        let at_most = |replicas: serde_json::Value, amount: serde_json::Value, min_replicas: Option<i32>| {
            let mut object = rolling(1, amount, json!(0));
            object["spec"]["replicas"] = replicas;
            let autoscaler = min_replicas.map(|min_replicas| Autoscaler { name: "web".into(), min_replicas });
            let surroundings = Surroundings { autoscaler, ..Surroundings::default() };
            found_in(&RULE, &object, &surroundings).first().map(|finding| finding.at_most)
        };
        assert_eq!(at_most(json!(1), json!(1), None), Some(Action::Deny));
        assert_eq!(at_most(json!(null), json!(1), None), Some(Action::Warn), "nobody says how many");
        assert_eq!(at_most(json!(1), json!(1), Some(1)), Some(Action::Warn));
        assert_eq!(at_most(json!(1), json!(1), Some(5)), None);
        assert_eq!(at_most(json!(3), json!(2), Some(2)), Some(Action::Warn));
        assert_eq!(at_most(json!(null), json!("100%"), Some(3)), Some(Action::Deny), "however many");
    }

    #[test]
    fn what_gapless_wrote_is_no_finding() {
        let mut object = rolling(1, json!(1), json!(1));
        let record = json!({"spec.strategy.rollingUpdate.maxUnavailable": 1}).to_string();
        object["metadata"]["annotations"] = json!({crate::ownership::record::ANNOTATION: record});
        assert!(messages(&RULE, &object).is_empty());
    }

    #[test]
    fn one_pod_is_left_or_nobody_asks() {
        for (replicas, max_unavailable, max_surge) in [
            (1, json!("25%"), json!("25%")),
            (1, json!(0), json!(1)),
            (2, json!(1), json!(1)),
            (3, json!("99%"), json!(1)),
        ] {
            assert!(messages(&RULE, &rolling(replicas, max_unavailable, max_surge)).is_empty());
        }
        let mut worker = rolling(1, json!(1), json!(1));
        serve_nobody(&mut worker);
        assert!(messages(&RULE, &worker).is_empty());
        let mut recreate = web();
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        assert!(messages(&RULE, &recreate).is_empty());
    }
}
