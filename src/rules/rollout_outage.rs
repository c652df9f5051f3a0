//! The rule `rollout-outage`.

use super::Rule;
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "rollout-outage",
    summary: "a rolling update that may take all pods down at once",
    page: include_str!("rollout_outage.md"),
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: false,
    check,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let Some(fenceposts) = workload.fenceposts() else { return Vec::new() };
    let is_ours = workload.is_injected(&InjectedField::MaxUnavailable);
    if fenceposts.available > 0 || is_ours || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let message = format!(
        "{} -> 0 of {} pods may be available during a rollout",
        amounts(workload),
        workload.replicas()
    );
    let field = FieldPath::new("spec.strategy.rollingUpdate");
    vec![Finding::invalid(RULE.id, field, message, "set maxUnavailable: 0 and maxSurge: 1")]
}

/// The numbers that the arithmetic starts from. `maxSurge` is only named where
/// it matters: at zero it makes the controller take a pod down.
pub(super) fn amounts(workload: &Workload) -> String {
    let replicas = workload.replicas();
    let plural = if replicas == 1 { "" } else { "s" };
    let surge = match workload.fenceposts() {
        Some(fenceposts) if fenceposts.surge == 0 => format!(", maxSurge {}", workload.max_surge()),
        _ => String::new(),
    };
    format!("{replicas} replica{plural}, maxUnavailable {}{surge}", workload.max_unavailable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{messages, rolling, web};
    use serde_json::json;

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
        worker["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]);
        assert!(messages(&RULE, &worker).is_empty());
        let mut recreate = web();
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        assert!(messages(&RULE, &recreate).is_empty());
    }
}
