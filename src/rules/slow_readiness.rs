//! The rule `slow-readiness`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Probe;
use crate::workload::probes::WrittenProbes;

/// Longer delays are a fixed price that every new pod pays.
const LONGEST_DELAY_SECONDS: i64 = 60;

/// A pod that is not ready is probed whenever it is synced, which happens no later than
/// this after the last time (kubernetes, pkg/kubelet/pod_workers.go, `completeWork`).
const LONGEST_TIME_BETWEEN_SYNCS_SECONDS: i64 = 91;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "slow-readiness",
    summary: "readiness probes that may keep every new pod out for more than a minute",
    page: include_str!("slow_readiness.md"),
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
        let readiness = probes.readiness?;
        let seconds = first_probe_that_counts(readiness);
        if seconds <= LONGEST_DELAY_SECONDS {
            return None;
        }
        let why = match readiness.initial_delay_seconds() {
            delay if delay == seconds => format!("{delay} s"),
            delay => {
                format!("{seconds} s (a delay of {delay} s, then a period of {})", readiness.period_seconds())
            }
        };
        let message = format!(
            "every new pod, also after a crash, gets no requests for up to {why}, however soon the application is up"
        );
        let fix = "use a startupProbe, which passes as soon as the application is up, instead of the delay";
        let field = probes.path.field("readinessProbe.initialDelaySeconds");
        Some(Finding::invalid(RULE.id, field, message, fix))
    };
    workload.written_probes().filter_map(finding).collect()
}

/// How many seconds after the container's start the first readiness probe may come that
/// is not skipped. Probes come at the start and then with every period; those before the
/// delay is over are skipped (kubernetes, pkg/kubelet/prober/worker.go).
fn first_probe_that_counts(readiness: &Probe) -> i64 {
    let (delay, period) = (readiness.initial_delay_seconds(), readiness.period_seconds().max(1));
    let periods = delay / period + i64::from(delay % period != 0);
    (periods * period).min(delay + LONGEST_TIME_BETWEEN_SYNCS_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, messages, web};
    use serde_json::json;

    #[test]
    fn the_first_probe_that_counts_comes_after_more_than_a_minute() {
        #[rustfmt::skip]
        let table = [
            (json!(250), json!(null), "250 s,"),
            (json!(250), json!(20), "260 s (a delay of 250 s, then a period of 20),"),
            (json!(61), json!(10), "70 s (a delay of 61 s, then a period of 10),"),
            (json!(50), json!(35), "70 s (a delay of 50 s, then a period of 35),"),
            (json!(1), json!(61), "61 s (a delay of 1 s, then a period of 61),"),
            (json!(61), json!(1), "61 s,"),
            // A sync comes before the period is over.
            (json!(10), json!(600), "101 s (a delay of 10 s, then a period of 600),"),
        ];
        for (delay, period, seconds) in table {
            let mut object = web();
            let probe = &mut object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
            (probe["initialDelaySeconds"], probe["periodSeconds"]) = (delay.clone(), period.clone());
            let messages = messages(&RULE, &object);
            let part = format!("gets no requests for up to {seconds}");
            assert!(messages.len() == 1 && messages[0].contains(&part), "{delay} {period}: {messages:?}");
        }
    }

    #[test]
    fn a_minute_is_fine() {
        for (delay, period) in [
            (json!(60), json!(null)),
            (json!(60), json!(60)),
            (json!(50), json!(10)),
            (json!(51), json!(0)),
            (json!(0), json!(300)),
            (json!(null), json!(300)),
        ] {
            let mut object = web();
            let probe = &mut object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
            (probe["initialDelaySeconds"], probe["periodSeconds"]) = (delay.clone(), period.clone());
            assert_eq!(messages(&RULE, &object), [""; 0], "{delay} {period}");
        }
    }

    #[test]
    fn a_sidecar_holds_the_pod_back_too() {
        let mut object = web();
        let readiness = json!({"tcpSocket": {"port": 1}, "initialDelaySeconds": 90});
        object["spec"]["template"]["spec"]["initContainers"] =
            json!([{"name": "cache", "restartPolicy": "Always", "readinessProbe": readiness}]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(fields, ["spec.template.spec.initContainers[cache].readinessProbe.initialDelaySeconds"]);
    }

    #[test]
    fn other_probes_may_wait() {
        let mut object = web();
        let slow = json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": 250});
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["livenessProbe"] = slow.clone();
        container["startupProbe"] = slow;
        assert!(found(&RULE, &object).is_empty());
    }
}
