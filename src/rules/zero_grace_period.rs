//! The rule `zero-grace-period`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "zero-grace-period",
    summary: "a grace period of 0, which leaves no time to finish requests",
    page: include_str!("zero_grace_period.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    finds: || {
        let is_zero = "{pod}.?terminationGracePeriodSeconds.orValue(30) == 0 && {serves}";
        field_if("spec.template.spec.terminationGracePeriodSeconds", is_zero)
    },
    found_before: None,
    message: "0 leaves hook and SIGTERM a second or two at most: requests in flight are lost",
    fix: "remove terminationGracePeriodSeconds (30 applies), or give the application time to drain",
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    if workload.grace_period_seconds() != 0 || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    vec![Finding::invalid(
        RULE.id,
        FieldPath::new("spec.template.spec.terminationGracePeriodSeconds"),
        "0 leaves hook and SIGTERM a second or two at most: requests in flight are lost",
        "remove terminationGracePeriodSeconds (30 applies), or give the application time to drain",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn only_zero_is_found() {
        // The API server takes a negative value for 1.
        for (seconds, count) in [(json!(0), 1), (json!(1), 0), (json!(-1), 0), (json!(null), 0)] {
            let mut object = web();
            object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = seconds.clone();
            assert_eq!(found(&RULE, &object).len(), count, "{seconds}");
        }
    }

    #[test]
    fn what_serves_nobody_loses_no_requests() {
        let mut object = web();
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
        object["spec"]["template"]["spec"]["containers"] = json!([{"name": "worker", "image": "worker:v1"}]);
        assert_eq!(found(&RULE, &object).len(), 0);
    }
}
