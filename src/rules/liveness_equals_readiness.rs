//! The rule `liveness-equals-readiness`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::probes::WrittenProbes;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "liveness-equals-readiness",
    summary: "a slow pod is restarted where it should only get no requests for a while",
    page: include_str!("liveness_equals_readiness.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let finding = |probes: WrittenProbes| {
        let (liveness, readiness) = (probes.liveness?, probes.readiness?);
        let (lives, is_ready) = (liveness.patience_seconds(), readiness.patience_seconds());
        // With a longer timeout a slow answer only costs the pod its requests.
        let is_more_patient = lives > is_ready || liveness.timeout_seconds() > readiness.timeout_seconds();
        if is_more_patient || !probes.ask_the_same(workload.raw()) {
            return None;
        }
        let message = format!(
            "asks the same as readinessProbe and fails no later ({lives} s and {is_ready} s): a slow pod is killed instead of drained"
        );
        let fix = "raise failureThreshold well above that of the readinessProbe, or remove the livenessProbe";
        Some(Finding::invalid(RULE.id, probes.path.field("livenessProbe"), message, fix))
    };
    workload.written_probes().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn with(readiness: Value, liveness: Value) -> Value {
        let mut object = web();
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["readinessProbe"] = readiness;
        container["livenessProbe"] = liveness;
        object
    }

    /// A probe of `/health` with these fields besides.
    fn health(mut fields: Value) -> Value {
        fields["httpGet"] = json!({"path": "/health", "port": "http"});
        fields
    }

    #[test]
    fn the_same_question_and_no_more_patience() {
        let table = [
            (json!({}), json!({})),
            (json!({}), json!({"failureThreshold": 2})),
            (json!({"periodSeconds": 5, "failureThreshold": 6}), json!({})),
            (json!({"timeoutSeconds": 2}), json!({"initialDelaySeconds": 30})),
        ];
        for (readiness, liveness) in table {
            let object = with(health(readiness), health(liveness));
            let fields: Vec<_> =
                found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
            assert_eq!(fields, ["spec.template.spec.containers[app].livenessProbe"], "{object}");
        }
        // Another spelling of the same port.
        let by_number = json!({"httpGet": {"path": "/health", "port": 80, "scheme": "HTTP"}});
        assert_eq!(found(&RULE, &with(health(json!({})), by_number)).len(), 1);
    }

    #[test]
    fn a_more_patient_liveness_probe_is_fine() {
        let table = [
            (json!({}), json!({"failureThreshold": 4})),
            (json!({"periodSeconds": 5}), json!({})),
            (json!({}), json!({"timeoutSeconds": 5})),
        ];
        for (readiness, liveness) in table {
            let object = with(health(readiness), health(liveness));
            assert!(found(&RULE, &object).is_empty(), "{object}");
        }
    }

    #[test]
    fn another_question_or_no_second_one_is_fine() {
        let live = json!({"httpGet": {"path": "/live", "port": "http"}});
        assert!(found(&RULE, &with(health(json!({})), live)).is_empty());
        assert!(found(&RULE, &with(health(json!({})), json!(null))).is_empty());
        assert!(found(&RULE, &with(json!(null), health(json!({})))).is_empty());
        assert!(found(&RULE, &with(json!(null), json!(null))).is_empty());
    }

    #[test]
    fn a_readiness_probe_that_gapless_copied_from_liveness_is_fine() {
        let mut object = with(health(json!({})), health(json!({})));
        let record = json!({"spec.template.spec.containers[app].readinessProbe": health(json!({}))});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(found(&RULE, &object).is_empty());
    }
}
