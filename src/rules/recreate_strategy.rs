//! The rule `recreate-strategy`.

use super::Rule;
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::settings::Settings;
use crate::workload::{Strategy, Workload};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "recreate-strategy",
    summary: "strategy Recreate stops all pods before it starts new ones",
    page: include_str!("recreate_strategy.md"),
    production: Action::Deny,
    development: Action::Off,
    judges_scaled_to_zero: true,
    check,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    if workload.strategy() != Strategy::Recreate || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let finding = Finding::invalid(
        RULE.id,
        FieldPath::new("spec.strategy.type"),
        "Recreate stops every pod before a new one starts, so each rollout is an outage",
        "set strategy.type: RollingUpdate with maxUnavailable: 0 and maxSurge: 1",
    );
    // Two generations cannot run at once here, so Recreate is the honest choice.
    let needs_recreate = workload.volume_blocker().or_else(|| workload.host_port_blocker()).is_some();
    vec![if needs_recreate { finding.at_most(Action::Audit) } else { finding }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
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
        assert!(
            recreate(|object| object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]))
                .is_empty()
        );
    }

    #[test]
    fn where_two_generations_cannot_run_at_once_it_is_only_noted() {
        let audit = [("spec.strategy.type".to_owned(), Action::Audit)];
        let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        assert_eq!(recreate(|object| object["spec"]["template"]["spec"]["volumes"] = claim.clone()), audit);
        assert_eq!(recreate(|object| object["spec"]["template"]["spec"]["hostNetwork"] = json!(true)), audit);
    }
}
