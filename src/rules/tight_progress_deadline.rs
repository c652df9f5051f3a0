//! The rule `tight-progress-deadline`.

use super::{Check, Needs, Rule, unreachable_progress_deadline};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Probe;
use crate::workload::probes::WrittenProbes;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "tight-progress-deadline",
    summary: "probes that allow a slower start than the progress deadline",
    page: include_str!("tight_progress_deadline.md"),
    kinds: &[Kind::Deployment, Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let budgets = workload.written_probes().map(|probes| (last_ready_second(&probes), probes.container.name));
    let (budget, name) = budgets.max_by_key(|(budget, _)| *budget).unwrap_or_default();
    let min_ready = match workload.is_injected(&InjectedField::MinReadySeconds) {
        true => 0,
        false => i64::from(workload.min_ready_seconds()),
    };
    let deadline = i64::from(workload.progress_deadline_seconds());
    // Without a probe there is nothing that this rule could add: the API
    // server itself wants minReadySeconds below the deadline.
    if budget == 0 || budget + min_ready <= deadline {
        return Vec::new();
    }
    if !unreachable_progress_deadline::RULE.in_workload(workload, settings).is_empty() {
        return Vec::new();
    }
    let wait = if min_ready > 0 { format!(" + minReadySeconds {min_ready} s") } else { String::new() };
    let message = format!(
        "the probes give container {name} up to {budget} s to start{wait}, the deadline is {deadline} s: a slow start fails the rollout"
    );
    let fix = format!(
        "set progressDeadlineSeconds above {}, or lower failureThreshold or periodSeconds of the probes",
        budget + min_ready
    );
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.progressDeadlineSeconds"), message, fix)]
}

/// Seconds after its start at which a container is ready at the latest, if it
/// uses up what its probes allow. The kubelet counts both delays from the
/// container's start, and asks for readiness only after the startup probe has
/// passed (kubernetes, pkg/kubelet/prober/worker.go).
fn last_ready_second(probes: &WrittenProbes) -> i64 {
    let delay = |probe: Option<&Probe>| probe.map_or(0, Probe::initial_delay_seconds);
    let patience = |probe: Option<&Probe>| probe.map_or(0, Probe::patience_seconds);
    let started = delay(probes.startup) + patience(probes.startup);
    started.max(delay(probes.readiness)) + patience(probes.readiness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{messages, web};
    use serde_json::{Value, json};

    fn probe(delay: i32, period: i32, failures: i32) -> Value {
        json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": delay, "periodSeconds": period,
            "failureThreshold": failures})
    }

    fn deployment(startup: Value, readiness: Value, min_ready: i32, deadline: Value) -> Value {
        let mut object = web();
        object["spec"]["minReadySeconds"] = json!(min_ready);
        object["spec"]["progressDeadlineSeconds"] = deadline;
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["startupProbe"] = startup;
        container["readinessProbe"] = readiness;
        object
    }

    #[test]
    fn what_the_probes_allow_exceeds_the_deadline() {
        let none = json!(null);
        let table = [
            (
                deployment(probe(0, 10, 60), probe(0, 10, 1), 0, json!(null)),
                "610 s to start, the deadline is 600 s",
            ),
            (
                deployment(probe(1, 10, 60), none.clone(), 0, json!(null)),
                "601 s to start, the deadline is 600 s",
            ),
            (
                deployment(none.clone(), probe(590, 10, 3), 0, json!(null)),
                "620 s to start, the deadline is 600 s",
            ),
            // Defaults: a period of 10 s, 3 failures.
            (
                deployment(none, json!({"initialDelaySeconds": 50}), 0, json!(70)),
                "80 s to start, the deadline is 70 s",
            ),
            // The delays do not add up.
            (
                deployment(probe(10, 10, 3), probe(50, 5, 2), 45, json!(100)),
                "60 s to start + minReadySeconds 45 s, the deadline is 100 s",
            ),
        ];
        for (object, part) in table {
            let expected =
                format!("the probes give container app up to {part}: a slow start fails the rollout");
            assert_eq!(messages(&RULE, &object), [expected]);
        }
    }

    #[test]
    fn as_long_as_the_deadline_is_fine() {
        let none = json!(null);
        for object in [
            deployment(probe(0, 10, 59), probe(0, 10, 1), 0, json!(600)),
            deployment(probe(10, 10, 3), probe(50, 5, 2), 40, json!(100)),
            deployment(none.clone(), none.clone(), 0, json!(1)),
            deployment(none, json!({"tcpSocket": {"port": 80}}), 0, json!(30)),
        ] {
            assert!(messages(&RULE, &object).is_empty(), "{object}");
        }
        // A liveness probe does not decide when a pod is ready.
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = probe(300, 60, 60);
        assert!(messages(&RULE, &object).is_empty());
    }

    #[test]
    fn where_no_start_is_fast_enough_another_rule_speaks() {
        let object = deployment(json!(null), probe(600, 10, 3), 0, json!(600));
        assert_eq!(messages(&unreachable_progress_deadline::RULE, &object).len(), 1);
        assert!(messages(&RULE, &object).is_empty());
    }

    #[test]
    fn what_gapless_injected_does_not_count() {
        let injected = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 3});
        let mut object = deployment(probe(0, 10, 60), injected.clone(), 10, json!(600));
        assert_eq!(messages(&RULE, &object).len(), 1);
        let record = json!({
            "spec.minReadySeconds": 10,
            "spec.template.spec.containers[app].readinessProbe": injected,
        });
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(messages(&RULE, &object).is_empty());
    }
}
