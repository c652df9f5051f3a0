//! The rule `no-rollback-history`.

use super::{Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "no-rollback-history",
    summary: "revisionHistoryLimit 0 leaves nothing to roll back to",
    page: include_str!("no_rollback_history.md"),
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    needs: Needs::Nothing,
    check,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    if workload.revision_history_limit() != 0 {
        return Vec::new();
    }
    vec![Finding::invalid(
        RULE.id,
        FieldPath::new("spec.revisionHistoryLimit"),
        "0 keeps no old ReplicaSet, so kubectl rollout undo has nothing to return to",
        "remove revisionHistoryLimit (10 are kept), or set it to 1 or more",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn only_zero_is_found() {
        for (limit, count) in [(json!(0), 1), (json!(1), 0), (json!(10), 0), (json!(null), 0)] {
            let mut object = web();
            object["spec"]["revisionHistoryLimit"] = limit.clone();
            assert_eq!(found(&RULE, &object).len(), count, "{limit}");
        }
    }
}
