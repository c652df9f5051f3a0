//! The rule `stop-before-drain`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;
use crate::workload::shutdown::StopsFirst;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "stop-before-drain",
    summary: "a preStop hook that stops the process while it still gets requests",
    page: include_str!("stop_before_drain.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    // As long as the sleep that is injected where there is no hook.
    let wait = i64::from(settings.pre_stop_sleep.seconds.max(1));
    let enough = wait + settings.min_drain_seconds.max(1);
    let grace_period = match workload.grace_period_seconds() < enough {
        true => format!(", and set terminationGracePeriodSeconds to {enough} or more"),
        false => String::new(),
    };
    let finding = |container: &Container| {
        let (message, fix) = match container.lifecycle.pre_stop.as_ref()?.stops_first()? {
            StopsFirst::By(command) => (
                format!("begins with {command}: requests that are still sent to the pod are refused"),
                format!(
                    "wait before it, as in sh -c \"sleep {wait}; {command}\", and leave the rest of the hook as it is"
                ),
            ),
            StopsFirst::SleepFails { is_all } => (
                "calls sleep so that it fails at once: the container stops while requests are still sent to it"
                    .to_owned(),
                match is_all {
                    true => format!("use preStop.sleep.seconds: {wait}, which the kubelet does by itself"),
                    false => format!(
                        "give sleep its seconds, as in sleep {wait}; behind sh -c the whole script is one argument"
                    ),
                },
            ),
        };
        let field = FieldPath::container(container.name).field("lifecycle.preStop");
        Some(Finding::invalid(RULE.id, field, message, fix + &grace_period))
    };
    workload.serving(&settings.operational_port_names).filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn with(command: Value, grace: Value) -> Value {
        let mut object = web();
        let pod = &mut object["spec"]["template"]["spec"];
        pod["terminationGracePeriodSeconds"] = grace;
        pod["containers"][0]["lifecycle"] = json!({"preStop": {"exec": {"command": command}}});
        object
    }

    fn told(command: Value, grace: Value) -> Vec<(String, String)> {
        let findings = found(&RULE, &with(command, grace));
        findings.into_iter().map(|finding| (finding.message, finding.fix)).collect()
    }

    #[test]
    fn the_process_is_told_to_stop_first() {
        let [(message, fix)] = &told(json!(["sh", "-c", "kill -QUIT 1; sleep 40"]), json!(40))[..] else {
            panic!("one finding")
        };
        assert_eq!(message, "begins with kill -QUIT 1: requests that are still sent to the pod are refused");
        assert_eq!(
            fix,
            "wait before it, as in sh -c \"sleep 10; kill -QUIT 1\", and leave the rest of the hook as it is"
        );
        for command in [
            json!(["nginx", "-s", "quit"]),
            json!(["/bin/sh", "-c", "pkill -TERM java"]),
            json!(["sh", "-c", "service nginx stop; sleep 5"]),
        ] {
            assert_eq!(told(command.clone(), json!(null)).len(), 1, "{command}");
        }
    }

    #[test]
    fn the_fix_fits_into_the_grace_period() {
        for (grace, more) in [(json!(null), false), (json!(15), false), (json!(14), true), (json!(0), true)] {
            let told = told(json!(["nginx", "-s", "quit"]), grace.clone());
            let end = ", and set terminationGracePeriodSeconds to 15 or more";
            assert_eq!(told[0].1.ends_with(end), more, "{grace}: {told:?}");
        }
    }

    #[test]
    fn a_sleep_that_fails() {
        for (command, fix) in [
            (json!(["sleep"]), "use preStop.sleep.seconds: 10, which the kubelet does by itself"),
            (
                json!(["sh", "-c", "sleep", "12"]),
                "use preStop.sleep.seconds: 10, which the kubelet does by itself",
            ),
            (
                json!(["sh", "-c", "echo bye; sleep"]),
                "give sleep its seconds, as in sleep 10; behind sh -c the whole script is one argument",
            ),
        ] {
            assert_eq!(told(command.clone(), json!(null))[0].1, fix, "{command}");
        }
    }

    #[test]
    fn opt_outs_waits_and_what_is_not_known_are_fine() {
        for command in [
            json!(["true"]),
            json!(["sleep", "0"]),
            json!(["sh", "-c", "sleep 5; nginx -s quit"]),
            json!(["sh", "-c", "[ -e /x ] && kill 1"]),
            json!(["/opt/drain"]),
        ] {
            assert_eq!(told(command.clone(), json!(null)), [], "{command}");
        }
        let mut native = web();
        native["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] =
            json!(0);
        assert_eq!(found(&RULE, &native), []);
    }

    #[test]
    fn what_serves_nobody_may_stop_at_once() {
        let mut object = with(json!(["kill", "1"]), json!(null));
        object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]);
        object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = json!(null);
        assert_eq!(found(&RULE, &object), []);
    }
}
