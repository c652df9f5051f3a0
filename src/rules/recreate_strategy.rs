//! The rule `recreate-strategy`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::scheduling::SurgeBlocker;
use crate::workload::{Strategy, Workload};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "recreate-strategy",
    summary: "strategy Recreate stops all pods before it starts new ones",
    page: include_str!("recreate_strategy.md"),
    kinds: &[Kind::Deployment, Kind::StatefulSet],
    production: Action::Deny,
    development: Action::Off,
    judges_scaled_to_zero: true,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    // Only a Deployment can have a second generation of pods beside the first.
    finds: || {
        let deployment = "{spec}.?strategy.?type.orValue('') == 'Recreate' && {serves}\n  \
                          && !variables.surgeIsBlocked && !variables.asksForLeaderElection";
        let stateful_set = "{spec}.?updateStrategy.?type.orValue('') == 'Recreate' && {serves}\n  \
                            && !variables.asksForLeaderElection";
        in_both(deployment, stateful_set)
    },
    found_before: Some(|| {
        let deployment = "{spec}.?strategy.?type.orValue('') == 'Recreate' && {serves}";
        let stateful_set = "{spec}.?updateStrategy.?type.orValue('') == 'Recreate' && {serves}";
        in_both(deployment, stateful_set)
    }),
    message: "Recreate stops every pod before a new one starts, so each rollout is an outage",
    fix: "set type: RollingUpdate, and of a Deployment maxUnavailable: 0 and maxSurge: 1",
};

/// One after the other: a kind has but one of the two fields.
fn in_both(deployment: &str, stateful_set: &str) -> String {
    let [deployment, stateful_set] =
        [field_if("spec.strategy.type", deployment), field_if("spec.updateStrategy.type", stateful_set)];
    format!("({deployment})\n+ ({stateful_set})")
}

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    if workload.strategy() != Strategy::Recreate || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let field = FieldPath::new(workload.kind().strategy_field()).field("type");
    let message = "Recreate stops every pod before a new one starts, so each rollout is an outage";
    let finding = |fix: String| Finding::invalid(RULE.id, field, message, fix);
    // Where two generations cannot run at once, or are not meant to, it is the honest choice.
    if let Some(blocker) = workload.surge_blocker().filter(|_| workload.kind().has_surge()) {
        let fix = format!(
            "keep it as long as {blocker} lets no second pod run beside the first{}",
            remedy(&blocker)
        );
        return vec![finding(fix).at_most(Action::Audit)];
    }
    let to_roll = match workload.kind().has_surge() {
        true => "set strategy.type: RollingUpdate with maxUnavailable: 0 and maxSurge: 1",
        false => "set updateStrategy.type: RollingUpdate",
    };
    if workload.asks_for_leader_election() {
        let fix = format!("keep it if only one pod may work at a time; else {to_roll}");
        return vec![finding(fix).at_most(Action::Audit)];
    }
    vec![finding(to_roll.to_owned())]
}

/// What would let both run, if that is in the workload's hands.
fn remedy(blocker: &SurgeBlocker) -> String {
    blocker
        .remedy()
        .map(|remedy| format!("; or {remedy} and set strategy.type: RollingUpdate"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, serve_nobody, web};
    use serde_json::{Value, json};

    fn recreate(change: impl Fn(&mut Value)) -> Vec<(String, Action)> {
        let mut object = web();
        object["spec"]["strategy"] = json!({"type": "Recreate"});
        change(&mut object);
        let findings = found(&RULE, &object);
        findings.into_iter().map(|finding| (finding.field.to_string(), finding.at_most)).collect()
    }

    #[test]
    fn a_serving_deployment_that_recreates() {
        assert_eq!(recreate(|_| {}), [("spec.strategy.type".to_owned(), Action::Deny)]);
    }

    #[test]
    fn a_rolling_update_and_a_worker_are_fine() {
        assert!(found(&RULE, &web()).is_empty());
        assert!(recreate(serve_nobody).is_empty());
    }

    #[test]
    fn where_two_generations_cannot_run_at_once_it_is_only_noted() {
        let audit = [("spec.strategy.type".to_owned(), Action::Audit)];
        let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        assert_eq!(recreate(|object| object["spec"]["template"]["spec"]["volumes"] = claim.clone()), audit);
        assert_eq!(recreate(|object| object["spec"]["template"]["spec"]["hostNetwork"] = json!(true)), audit);
        let limits = json!({"limits": {"amd.com/gpu": 1}});
        let device = |object: &mut Value| {
            object["spec"]["template"]["spec"]["containers"][0]["resources"] = limits.clone();
        };
        assert_eq!(recreate(device), audit);
    }

    #[test]
    fn where_only_the_leader_works_it_is_only_noted() {
        for (arguments, action) in [
            (json!(["--leader-elect"]), Action::Audit),
            (json!(["--enable-leader-election=true"]), Action::Audit),
            (json!(["-leader-elect-lease-duration=15s"]), Action::Audit),
            (json!(["--leader-elect=false", "--leader-elect-lease-duration=15s"]), Action::Deny),
            (json!(["--enable-leader-election=False"]), Action::Deny),
            (json!(["--namespace=leaders"]), Action::Deny),
        ] {
            let found = recreate(|object| {
                object["spec"]["template"]["spec"]["containers"][0]["args"] = arguments.clone();
            });
            assert_eq!(found, [("spec.strategy.type".to_owned(), action)], "{arguments}");
        }
    }
}
