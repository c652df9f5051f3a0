//! The rule `single-replica`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::printable::printable;
use crate::settings::Settings;
use crate::workload::{Strategy, Workload};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "single-replica",
    summary: "one pod serves all requests, so that losing it is an outage",
    page: include_str!("single_replica.md"),
    kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

/// It only warns in `production`, and is the first rule that others make stricter.
const CEL: Cel = Cel {
    finds: || field_if("spec.replicas", "has({spec}.replicas) && {replicas} == 1 && {serves}"),
    found_before: None,
    message: "1 replica: a node drain, eviction or crash stops all requests until a new pod is ready",
    fix: "set replicas: 2 or more",
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    if workload.replicas() != 1 || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let autoscaler = workload.surroundings().autoscaler.as_ref();
    let rolling = match (workload.strategy(), workload.kind()) {
        (Strategy::Recreate, Kind::StatefulSet) => "updateStrategy.type: RollingUpdate and ",
        (Strategy::Recreate, _) => "strategy.type: RollingUpdate and ",
        _ => "",
    };
    let fix = match workload.surge_blocker() {
        None => match autoscaler {
            Some(_) => "set minReplicas: 2 or more there".to_owned(),
            None => {
                "set replicas: 2 or more, or let a HorizontalPodAutoscaler keep minReplicas: 2".to_owned()
            }
        },
        Some(blocker) => {
            let replicas = if autoscaler.is_some() { "minReplicas" } else { "replicas" };
            let share = match blocker.allows_one_pod_per_node() {
                true => "",
                false => "share the data (a volume with access mode ReadWriteMany), and ",
            };
            format!(
                "{share}set {replicas}: 2 or more with {rolling}maxUnavailable: 1, so that one at a time is down \
                 during a rollout"
            )
        }
    };
    let who =
        autoscaler.map(|it| format!(" (minReplicas of HorizontalPodAutoscaler {})", printable(&it.name)));
    let message = format!(
        "1 replica{}: a node drain, eviction or crash stops all requests until a new pod is ready",
        who.unwrap_or_default()
    );
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.replicas"), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, found_in, serve_nobody, web};
    use crate::surroundings::{Autoscaler, Surroundings};
    use serde_json::json;

    #[test]
    fn one_pod_serves() {
        let mut one = web();
        one["spec"]["replicas"] = json!(1);
        assert_eq!(found(&RULE, &one).len(), 1);
        one["spec"]["replicas"] = json!(null);
        assert_eq!(found(&RULE, &one).len(), 1, "the API server fills in 1");
    }

    #[test]
    fn the_autoscaler_says_how_many() {
        let around = |min_replicas| Surroundings {
            autoscaler: Some(Autoscaler { name: "peak".into(), min_replicas }),
            ..Surroundings::default()
        };
        let finding = found_in(&RULE, &web(), &around(1)).remove(0);
        assert!(finding.message.starts_with("1 replica (minReplicas of HorizontalPodAutoscaler peak): "));
        assert_eq!(finding.fix, "set minReplicas: 2 or more there");
        assert!(found_in(&RULE, &web(), &around(2)).is_empty());
    }

    #[test]
    fn two_pods_and_a_lone_worker_are_fine() {
        let mut object = web();
        assert!(found(&RULE, &object).is_empty());
        object["spec"]["replicas"] = json!(1);
        serve_nobody(&mut object);
        assert!(found(&RULE, &object).is_empty());
    }
}
