//! The rule `rollout-capacity-loss`.

use super::{Rule, rollout_outage};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::ownership::record::InjectedField;
use crate::policy::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "rollout-capacity-loss",
    summary: "a rolling update that may take many of the pods down at once",
    page: include_str!("rollout_capacity_loss.md"),
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    check,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let Some(fenceposts) = workload.fenceposts() else { return Vec::new() };
    let replicas = i64::from(workload.replicas());
    let is_outage = fenceposts.available == 0;
    let is_small = fenceposts.unavailable * 100 <= settings.max_capacity_loss_percent * replicas;
    let is_ours = || {
        let amounts = [InjectedField::MaxUnavailable, InjectedField::MaxSurge];
        amounts.iter().any(|amount| workload.is_injected(amount))
    };
    if is_outage || is_small || is_ours() || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let percent = fenceposts.unavailable * 100 / replicas;
    let message = format!(
        "{} -> {} of {replicas} ({percent} %) may be down during a rollout",
        rollout_outage::amounts(workload),
        fenceposts.unavailable,
    );
    let field = FieldPath::new("spec.strategy.rollingUpdate.maxUnavailable");
    vec![Finding::invalid(RULE.id, field, message, "set maxUnavailable: 0, or a smaller share")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{messages, rolling};
    use serde_json::json;

    #[test]
    fn more_than_a_quarter_is_down() {
        let table = [
            (
                2,
                json!(1),
                json!(1),
                "2 replicas, maxUnavailable 1 -> 1 of 2 (50 %) may be down during a rollout",
            ),
            (
                3,
                json!("34%"),
                json!(1),
                "3 replicas, maxUnavailable 34% -> 1 of 3 (33 %) may be down during a rollout",
            ),
            (
                3,
                json!("25%"),
                json!(0),
                "3 replicas, maxUnavailable 25%, maxSurge 0 -> 1 of 3 (33 %) may be down during a rollout",
            ),
        ];
        for (replicas, max_unavailable, max_surge, message) in table {
            assert_eq!(messages(&RULE, &rolling(replicas, max_unavailable, max_surge)), [message]);
        }
    }

    #[test]
    fn a_quarter_is_fine_and_an_outage_is_another_rule() {
        for (replicas, max_unavailable) in
            [(4, json!(1)), (8, json!("25%")), (2, json!("25%")), (1, json!(1)), (2, json!(2))]
        {
            assert!(messages(&RULE, &rolling(replicas, max_unavailable, json!(1))).is_empty());
        }
    }
}
