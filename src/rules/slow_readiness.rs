//! The rule `slow-readiness`.

use super::{Needs, Rule};
use crate::finding::{Action, Finding};
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::probes::WrittenProbes;

/// Longer delays are a fixed price that every new pod pays.
const LONGEST_DELAY_SECONDS: i64 = 60;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "slow-readiness",
    summary: "a readiness delay that keeps every new pod out for more than a minute",
    page: include_str!("slow_readiness.md"),
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    needs: Needs::Nothing,
    check,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let finding = |probes: WrittenProbes| {
        let delay = probes.readiness?.initial_delay_seconds();
        if delay <= LONGEST_DELAY_SECONDS {
            return None;
        }
        let message = format!(
            "every new pod, also after a crash, gets no requests for {delay} s, however soon the application is up"
        );
        let fix = "use a startupProbe, which passes as soon as the application is up, instead of the delay";
        let field = probes.path.field("readinessProbe.initialDelaySeconds");
        Some(Finding::invalid(RULE.id, field, message, fix))
    };
    workload.written_probes().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn more_than_a_minute_of_readiness_delay() {
        for (delay, count) in
            [(json!(250), 1), (json!(61), 1), (json!(60), 0), (json!(0), 0), (json!(null), 0)]
        {
            let mut object = web();
            object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["initialDelaySeconds"] =
                delay.clone();
            assert_eq!(found(&RULE, &object).len(), count, "{delay}");
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
