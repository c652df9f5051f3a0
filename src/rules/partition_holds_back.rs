//! The rule `partition-holds-back`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "partition-holds-back",
    summary: "a partition that keeps a StatefulSet from ever updating a pod",
    page: include_str!("partition_holds_back.md"),
    kinds: &[Kind::StatefulSet],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let (partition, replicas) = (workload.partition(), workload.replicas());
    if !workload.rolls() || partition < replicas {
        return Vec::new();
    }
    let plural = if replicas == 1 { "" } else { "s" };
    let message = format!(
        "partition {partition} of {replicas} replica{plural} -> no pod is ever updated: only those numbered \
         {partition} and above are"
    );
    let fix = match replicas {
        1 => "set partition: 0".to_owned(),
        _ => format!("set partition: 0, or {} to try a release on the last pod", replicas - 1),
    };
    vec![Finding::invalid(RULE.id, workload.rolling_block().field("partition"), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, of_kind};
    use serde_json::json;

    #[test]
    fn no_pod_has_a_number_that_is_updated() {
        for (replicas, partition, fix) in [
            (3, json!(3), Some("set partition: 0, or 2 to try a release on the last pod")),
            (3, json!(100), Some("set partition: 0, or 2 to try a release on the last pod")),
            (1, json!(1), Some("set partition: 0")),
            (3, json!(2), None),
            (3, json!(0), None),
            (3, json!(null), None),
        ] {
            let mut object = of_kind(Kind::StatefulSet);
            object["spec"]["replicas"] = json!(replicas);
            object["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": partition}});
            let fixes: Vec<_> = found(&RULE, &object).into_iter().map(|it| it.fix).collect();
            assert_eq!(fixes.first().map(String::as_str), fix, "{partition} of {replicas}");
        }
        let mut by_hand = of_kind(Kind::StatefulSet);
        by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": {"partition": 3}});
        assert!(found(&RULE, &by_hand).is_empty());
    }
}
