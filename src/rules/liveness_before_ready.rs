//! The rule `liveness-before-ready`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::probes::WrittenProbes;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "liveness-before-ready",
    summary: "liveness may kill a container before readiness first asks for it",
    page: include_str!("liveness_before_ready.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Warn,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let finding = |probes: WrittenProbes| {
        let (liveness, readiness) = (probes.liveness?, probes.readiness?);
        let killed_after = liveness.initial_delay_seconds() + liveness.patience_seconds();
        let asked_after = readiness.initial_delay_seconds();
        // The kubelet holds liveness back until a startup probe has passed.
        if probes.startup.is_some() || killed_after >= asked_after {
            return None;
        }
        let message = format!(
            "a container that is not up after {killed_after} s is killed, before readinessProbe first asks at {asked_after} s"
        );
        let fix = "add a startupProbe, which holds the livenessProbe back until the application is up";
        Some(Finding::invalid(RULE.id, probes.path.field("livenessProbe"), message, fix))
    };
    workload.written_probes().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn probe(delay: i32, period: i32, failures: i32) -> Value {
        json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": delay, "periodSeconds": period,
            "failureThreshold": failures})
    }

    fn with(readiness: Value, liveness: Value, startup: Value) -> Value {
        let mut object = web();
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["readinessProbe"] = readiness;
        container["livenessProbe"] = liveness;
        container["startupProbe"] = startup;
        object
    }

    #[test]
    fn killed_before_it_is_asked() {
        for (readiness, liveness) in [
            (probe(31, 10, 3), probe(0, 10, 3)),
            (probe(31, 10, 3), json!({"tcpSocket": {"port": 80}})),
            (probe(120, 10, 3), probe(60, 5, 3)),
        ] {
            let object = with(readiness, liveness, json!(null));
            let fields: Vec<_> =
                found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
            assert_eq!(fields, ["spec.template.spec.containers[app].livenessProbe"], "{object}");
        }
    }

    #[test]
    fn a_second_more_patience_or_a_startup_probe_is_fine() {
        for object in [
            with(probe(30, 10, 3), probe(0, 10, 3), json!(null)),
            with(probe(120, 10, 3), probe(90, 10, 3), json!(null)),
            with(probe(120, 10, 3), probe(0, 10, 3), probe(0, 10, 30)),
            with(probe(120, 10, 3), json!(null), json!(null)),
            with(json!(null), probe(0, 10, 3), json!(null)),
        ] {
            assert!(found(&RULE, &object).is_empty(), "{object}");
        }
    }
}
