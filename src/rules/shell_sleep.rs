//! The rule `shell-sleep`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "shell-sleep",
    summary: "a preStop hook that is only a sleep, and needs a program in the image for it",
    page: include_str!("shell_sleep.md"),
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
    let grace = workload.grace_period_seconds();
    let finding = |container: &Container| {
        // One that does more could not be replaced.
        let hook = container.lifecycle.pre_stop.as_ref().filter(|hook| hook.is_sleep_by_exec())?;
        let field = FieldPath::container(container.name).field("lifecycle.preStop.exec");
        let message = "runs sleep in the container: where the image has none, the hook fails and the container stops at once";
        let seconds = hook.sleeps().as_secs_f64().ceil();
        let fix = if seconds < grace as f64 {
            format!("use preStop.sleep.seconds: {seconds}, which the kubelet does by itself")
        } else {
            // The API server refuses a native sleep that is longer.
            format!(
                "use preStop.sleep, which the kubelet does by itself, with fewer seconds than the grace period of {grace}"
            )
        };
        Some(Finding::invalid(RULE.id, field, message, fix))
    };
    workload.containers().iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn fixes(pre_stop: Value) -> Vec<String> {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!({"preStop": pre_stop});
        found(&RULE, &object).into_iter().map(|finding| finding.fix).collect()
    }

    #[test]
    fn a_sleep_by_exec() {
        for (command, seconds) in [
            (json!(["sleep", "10"]), 10),
            (json!(["/bin/sh", "-c", "sleep 10"]), 10),
            (json!(["/bin/sh", "-c", "sleep 5; sleep 6 # and no more"]), 11),
            (json!(["env", "busybox", "sleep", "29"]), 29),
            (json!(["sleep", "0.5"]), 1),
        ] {
            let expected = format!("use preStop.sleep.seconds: {seconds}, which the kubelet does by itself");
            assert_eq!(fixes(json!({"exec": {"command": command}})), [expected]);
        }
    }

    #[test]
    fn a_native_sleep_has_to_be_shorter_than_the_grace_period() {
        let fixes = fixes(json!({"exec": {"command": ["sleep", "30"]}}));
        assert!(fixes[0].ends_with("with fewer seconds than the grace period of 30"), "{fixes:?}");
    }

    #[test]
    fn the_native_action_and_other_commands_are_fine() {
        for pre_stop in [
            json!({"sleep": {"seconds": 10}}),
            json!({"httpGet": {"path": "/sleep", "port": 80}}),
            json!({"exec": {"command": ["nginx", "-s", "quit"]}}),
            json!({"exec": {"command": ["sh", "-c", "echo sleep 10"]}}),
            // What else it does would be lost.
            json!({"exec": {"command": ["sh", "-c", "sleep 10; nginx -s quit"]}}),
            json!({"exec": {"command": ["sh", "-c", "echo bye; sleep 10"]}}),
            json!({"exec": {"command": ["sh", "-c", "kill -QUIT 1; sleep 10"]}}),
            json!({"exec": {"command": ["sh", "-c", "sleep 10 && /opt/drain"]}}),
            json!({"exec": {"command": ["sleep"]}}),
            // No fixed time could take the place of this one.
            json!({"exec": {"command": ["sh", "-c", "while busy; do sleep 1; done"]}}),
            json!(null),
        ] {
            assert!(fixes(pre_stop.clone()).is_empty(), "{pre_stop}");
        }
    }
}
