//! The rule `rollout-capacity-loss`.

use super::{Check, Needs, Rule, rollout_outage};
use crate::finding::{Action, Finding};
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "rollout-capacity-loss",
    summary: "a rolling update that may take many of the pods down at once",
    page: include_str!("rollout_capacity_loss.md"),
    kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let Some(fenceposts) = workload.fenceposts() else { return Vec::new() };
    let replicas = i64::from(workload.replicas());
    let is_outage = fenceposts.available == 0;
    // Of a StatefulSet one pod always may be down.
    let is_small = fenceposts.unavailable * 100 <= settings.max_capacity_loss_percent * replicas
        || (!workload.kind().has_surge() && fenceposts.unavailable <= 1);
    // Without a surge at least one pod goes, whatever the user's maxUnavailable says.
    let would_be_fewer = || {
        let by_default = Amount::parse(workload.kind().rolling_block().max_surge());
        let amounts = Amount::parse(workload.max_unavailable()).zip(by_default);
        amounts.is_some_and(|(max_unavailable, max_surge)| {
            let alone = workload.fenceposts_with(workload.replicas(), max_unavailable, max_surge);
            alone.unavailable < fenceposts.unavailable
        })
    };
    let is_ours = || {
        workload.is_injected(&workload.max_unavailable_field())
            || (workload.is_injected(&workload.max_surge_field()) && would_be_fewer())
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
    let field = workload.rolling_block().field("maxUnavailable");
    let fix = match workload.surge_blocker() {
        _ if !workload.kind().has_surge() => "set maxUnavailable: 1, or a smaller share".to_owned(),
        // The API server rejects 0 for both.
        None if fenceposts.surge == 0 => "set maxUnavailable: 0 and maxSurge: 1".to_owned(),
        None => "set maxUnavailable: 0, or a smaller share".to_owned(),
        // With 0 the rollout would wait for a pod that finds no room.
        Some(blocker) => {
            // So many that one of them is no more than may be down.
            let share = settings.max_capacity_loss_percent;
            let enough = (99 + share).checked_div(share).unwrap_or(0);
            let one_is_little = "maxUnavailable: 1 and maxSurge: 0";
            let go_first = match replicas < enough {
                true => format!("run {enough} replicas or more with {one_is_little}"),
                false => format!("set {one_is_little}"),
            };
            let remedy =
                blocker.remedy().map(|it| format!("; or {it}, and set maxUnavailable: 0 and maxSurge: 1"));
            go_first + &remedy.unwrap_or_default()
        }
    };
    vec![Finding::invalid(RULE.id, field, message, fix)]
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
    fn what_gapless_wrote_is_no_finding_but_what_the_user_wrote_beside_it_is() {
        let injected = |object: serde_json::Value, field: &str, value: serde_json::Value| {
            let mut object = object;
            let record = json!({format!("spec.strategy.rollingUpdate.{field}"): value}).to_string();
            object["metadata"]["annotations"] = json!({crate::ownership::record::ANNOTATION: record});
            messages(&RULE, &object).len()
        };
        assert_eq!(injected(rolling(2, json!(1), json!(1)), "maxUnavailable", json!(1)), 0);
        assert_eq!(injected(rolling(3, json!("25%"), json!(0)), "maxSurge", json!(0)), 0);
        assert_eq!(injected(rolling(4, json!("50%"), json!(1)), "maxSurge", json!(1)), 1);
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
