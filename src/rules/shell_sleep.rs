//! The rule `shell-sleep`.

use super::{Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "shell-sleep",
    summary: "a preStop sleep that runs in the container and needs its shell",
    page: include_str!("shell_sleep.md"),
    production: Action::Audit,
    development: Action::Off,
    judges_scaled_to_zero: false,
    needs: Needs::Nothing,
    check,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let finding = |container: &Container| {
        let hook = container.lifecycle.pre_stop.as_ref().filter(|hook| hook.sleeps_by_exec())?;
        let field = FieldPath::container(container.name).field("lifecycle.preStop.exec");
        let message = "runs sleep in the container: where the image has none, the hook fails and the container stops at once";
        let seconds = hook.sleeps().as_secs_f64().ceil();
        let fix = format!("use preStop.sleep.seconds: {seconds}, which the kubelet does by itself");
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
            (json!(["/bin/sh", "-c", "sleep 1m; nginx -s quit"]), 60),
            (json!(["sleep", "0.5"]), 1),
        ] {
            let expected = format!("use preStop.sleep.seconds: {seconds}, which the kubelet does by itself");
            assert_eq!(fixes(json!({"exec": {"command": command}})), [expected]);
        }
    }

    #[test]
    fn the_native_action_and_other_commands_are_fine() {
        for pre_stop in [
            json!({"sleep": {"seconds": 10}}),
            json!({"httpGet": {"path": "/sleep", "port": 80}}),
            json!({"exec": {"command": ["nginx", "-s", "quit"]}}),
            json!({"exec": {"command": ["sh", "-c", "echo sleep 10"]}}),
            // No fixed time could take the place of this one.
            json!({"exec": {"command": ["sh", "-c", "while busy; do sleep 1; done"]}}),
            json!(null),
        ] {
            assert!(fixes(pre_stop.clone()).is_empty(), "{pre_stop}");
        }
    }
}
