//! The rule `unreachable-progress-deadline`.

use super::Rule;
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::policy::Settings;
use crate::workload::Workload;
use crate::workload::object::{Container, Probe};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "unreachable-progress-deadline",
    summary: "no pod can become available before the progress deadline",
    page: include_str!("unreachable_progress_deadline.md"),
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    check,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let slowest = workload.long_running().max_by_key(|container| first_ready_second(container));
    let delay = slowest.map_or(0, first_ready_second);
    let min_ready = i64::from(workload.min_ready_seconds());
    let deadline = i64::from(workload.progress_deadline_seconds());
    // Without a delay there is nothing that this rule could add: the API
    // server itself wants minReadySeconds below the deadline.
    if delay == 0 || delay + min_ready < deadline {
        return Vec::new();
    }
    let name = slowest.map_or("", |container| container.name);
    let wait = if min_ready > 0 { format!(" + minReadySeconds {min_ready} s") } else { String::new() };
    let message = format!(
        "container {name} is ready after {delay} s at the earliest{wait}, the deadline is {deadline} s: every rollout fails"
    );
    let fix = "shorten initialDelaySeconds (a startupProbe waits as long as needed and no longer), or raise progressDeadlineSeconds";
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.progressDeadlineSeconds"), message, fix)]
}

/// Seconds after its start at which a container can be ready at the earliest.
/// The kubelet counts the delays of both probes from the container's start
/// (kubernetes, pkg/kubelet/prober/worker.go).
fn first_ready_second(container: &Container) -> i64 {
    let delay = |probe: &Option<Probe>| {
        i64::from(probe.as_ref().and_then(|probe| probe.initial_delay_seconds).unwrap_or(0))
    };
    delay(&container.startup_probe).max(delay(&container.readiness_probe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{messages, web};
    use serde_json::{Value, json};

    fn deployment(readiness: Value, startup: Value, min_ready: i32, deadline: Value) -> Value {
        let mut object = web();
        object["spec"]["minReadySeconds"] = json!(min_ready);
        object["spec"]["progressDeadlineSeconds"] = deadline;
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["readinessProbe"]["initialDelaySeconds"] = readiness;
        container["startupProbe"] = json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": startup});
        object
    }

    #[test]
    fn the_larger_delay_and_min_ready_seconds_reach_the_deadline() {
        let table = [
            (deployment(json!(600), json!(0), 0, json!(null)), "600 s at the earliest, the deadline is 600 s"),
            (deployment(json!(100), json!(200), 100, json!(300)), "200 s at the earliest + minReadySeconds 100 s, the deadline is 300 s"),
        ];
        for (object, part) in table {
            let expected = format!("container app is ready after {part}: every rollout fails");
            assert_eq!(messages(&RULE, &object), [expected]);
        }
    }

    #[test]
    fn a_second_less_is_enough_and_delays_do_not_add_up() {
        for object in [
            deployment(json!(599), json!(0), 0, json!(600)),
            deployment(json!(150), json!(150), 0, json!(300)),
            deployment(json!(100), json!(200), 99, json!(300)),
            deployment(json!(null), json!(null), 0, json!(1)),
        ] {
            assert!(messages(&RULE, &object).is_empty(), "{object}");
        }
    }
}
