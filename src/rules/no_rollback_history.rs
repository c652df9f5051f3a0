//! The rule `no-rollback-history`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "no-rollback-history",
    summary: "revisionHistoryLimit 0 leaves nothing to roll back to",
    page: include_str!("no_rollback_history.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    finds: || field_if("spec.revisionHistoryLimit", "{spec}.?revisionHistoryLimit.orValue(10) == 0"),
    found_before: None,
    message: "0 keeps no old revision, so kubectl rollout undo has nothing to return to",
    fix: "remove revisionHistoryLimit (10 are kept), or set it to 1 or more",
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    if workload.revision_history_limit() != 0 {
        return Vec::new();
    }
    let revision = match workload.kind() {
        Kind::Deployment | Kind::Rollout => "ReplicaSet",
        Kind::StatefulSet | Kind::DaemonSet => "ControllerRevision",
    };
    let undo = match workload.kind() {
        Kind::Rollout => "kubectl argo rollouts undo",
        _ => "kubectl rollout undo",
    };
    let message = format!("0 keeps no old {revision}, so {undo} has nothing to return to");
    let fix = "remove revisionHistoryLimit (10 are kept), or set it to 1 or more";
    let fix = match workload.kind() {
        Kind::StatefulSet => format!(
            "{fix}; of a StatefulSet that exists, the API server changes it from Kubernetes 1.33 on only"
        ),
        _ => fix.to_owned(),
    };
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.revisionHistoryLimit"), message, fix)]
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
