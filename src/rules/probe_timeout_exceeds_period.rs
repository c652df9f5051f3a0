//! The rule `probe-timeout-exceeds-period`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::probes::WrittenProbes;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "probe-timeout-exceeds-period",
    summary: "a probe may take longer than the time between two probes",
    page: include_str!("probe_timeout_exceeds_period.md"),
    kinds: &Kind::ALL,
    production: Action::Audit,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    workload.written_probes().flat_map(check_container).collect()
}

/// The kubelet waits for one probe to end before it starts the next
/// (kubernetes, pkg/kubelet/prober/worker.go), so a container that hangs is
/// noticed after so many timeouts.
fn check_container(probes: WrittenProbes) -> Vec<Finding> {
    let finding = |(field, probe): (&'static str, &crate::workload::object::Probe)| {
        let (timeout, period) = (probe.timeout_seconds(), probe.period_seconds());
        if timeout <= period {
            return None;
        }
        let message = format!(
            "timeoutSeconds {timeout} exceeds periodSeconds {period}: a hanging container is noticed after {} s, not {} s",
            timeout * probe.failure_threshold(),
            probe.patience_seconds(),
        );
        let fix = format!("set timeoutSeconds to {period} or less, or periodSeconds to {timeout} or more");
        let field = probes.path.clone().field(field).field("timeoutSeconds");
        Some(Finding::invalid(RULE.id, field, message, fix))
    };
    probes.each().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, messages, web};
    use serde_json::{Value, json};

    fn with(field: &str, probe: Value) -> Value {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0][field] = probe;
        object
    }

    #[test]
    fn a_timeout_longer_than_the_period() {
        for field in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = json!({"tcpSocket": {"port": 80}, "timeoutSeconds": 10, "periodSeconds": 5});
            let findings = found(&RULE, &with(field, probe));
            let path = format!("spec.template.spec.containers[app].{field}.timeoutSeconds");
            assert_eq!(findings.iter().map(|it| it.field.to_string()).collect::<Vec<_>>(), [path]);
        }
        // The default period is 10 s, the default threshold 3.
        let probe = json!({"tcpSocket": {"port": 80}, "timeoutSeconds": 15});
        assert_eq!(
            messages(&RULE, &with("livenessProbe", probe)),
            [
                "timeoutSeconds 15 exceeds periodSeconds 10: a hanging container is noticed after 45 s, not 30 s"
            ]
        );
    }

    #[test]
    fn as_long_as_the_period_is_fine() {
        for (timeout, period) in [(json!(5), json!(5)), (json!(10), json!(null)), (json!(null), json!(1))] {
            let probe =
                json!({"tcpSocket": {"port": 80}, "timeoutSeconds": timeout, "periodSeconds": period});
            let object = with("readinessProbe", probe);
            assert!(found(&RULE, &object).is_empty(), "{object}");
        }
    }

    #[test]
    fn a_timeout_that_gapless_copied_is_not_blamed_on_the_user() {
        let probe = json!({"tcpSocket": {"port": 80}, "timeoutSeconds": 8, "periodSeconds": 5});
        let mut object = with("readinessProbe", probe.clone());
        let record = json!({"spec.template.spec.containers[app].readinessProbe": probe});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(found(&RULE, &object).is_empty());
    }
}
