//! The rule `short-drain`.

use std::time::Duration;

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "short-drain",
    summary: "too few seconds between SIGTERM and SIGKILL to finish requests",
    page: include_str!("short_drain.md"),
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
    let grace = seconds(workload.grace_period_seconds());
    let needed = seconds(settings.min_drain_seconds);
    let finding = |container: &Container| {
        let told = container.lifecycle.pre_stop.as_ref().map(|hook| hook.told());
        // A hook that sleeps only when it has told the process leaves time itself.
        if told.is_some_and(|told| told.after.is_zero() && told.sleeps_on) {
            return None;
        }
        let sleep = told.map(|told| told.after).unwrap_or_default();
        let is_ours = workload.is_injected(&InjectedField::PreStop(container.name.to_owned()));
        // Where nothing is left, zero-grace-period or pre-stop-exceeds-grace
        // says so.
        if sleep >= grace || grace - sleep >= needed || is_ours {
            return None;
        }
        let enough = (sleep + needed).as_secs_f64().ceil();
        let fix = format!("set terminationGracePeriodSeconds to {enough} or more");
        let (total, left) = (grace.as_secs(), (grace - sleep).as_secs_f64());
        Some(if sleep.is_zero() {
            let message = format!(
                "{left} s after SIGTERM the container is killed, with the requests that it still serves"
            );
            Finding::invalid(RULE.id, InjectedField::GracePeriod.path(), message, fix)
        } else {
            let slept = sleep.as_secs_f64();
            let message = format!(
                "preStop sleeps {slept} s of a grace period of {total} s: {left} s are left to finish requests"
            );
            let field = FieldPath::container(container.name).field("lifecycle.preStop");
            Finding::invalid(RULE.id, field, message, format!("{fix}, or sleep less"))
        })
    };
    let mut findings: Vec<Finding> = Vec::new();
    for finding in workload.serving(&settings.operational_port_names).filter_map(finding) {
        // A grace period that is too short by itself is the pod's: one finding.
        if findings.iter().all(|known| known.field != finding.field) {
            findings.push(finding);
        }
    }
    findings
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, messages, web};
    use serde_json::{Value, json};

    fn with(pre_stop: Value, grace: Value) -> Value {
        let mut object = web();
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace;
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!({"preStop": pre_stop});
        object
    }

    fn sleep(seconds: i64) -> Value {
        json!({"sleep": {"seconds": seconds}})
    }

    fn exec(script: &str) -> Value {
        json!({"exec": {"command": ["sh", "-c", script]}})
    }

    #[test]
    fn less_than_five_seconds_are_left() {
        let pre_stop = "spec.template.spec.containers[app].lifecycle.preStop";
        let grace_period = "spec.template.spec.terminationGracePeriodSeconds";
        let table = [
            (sleep(26), json!(null), pre_stop, "preStop sleeps 26 s of a grace period of 30 s: 4 s are left"),
            (
                exec("sleep 25.5"),
                json!(30),
                pre_stop,
                "preStop sleeps 25.5 s of a grace period of 30 s: 4.5 s are left",
            ),
            (
                exec("sleep 50; sleep 8"),
                json!(60),
                pre_stop,
                "preStop sleeps 58 s of a grace period of 60 s: 2 s are left",
            ),
            (exec("nginx -s quit"), json!(4), grace_period, "4 s after SIGTERM"),
            (sleep(0), json!(3), grace_period, "3 s after SIGTERM"),
            (json!(null), json!(2), grace_period, "2 s after SIGTERM"),
            // The API server takes a negative value for 1.
            (json!(null), json!(-1), grace_period, "1 s after SIGTERM"),
        ];
        for (pre_stop, grace, field, start) in table {
            let findings = found(&RULE, &with(pre_stop, grace));
            assert_eq!(findings.len(), 1, "{start}");
            assert_eq!(findings[0].field.to_string(), field);
            assert!(findings[0].message.starts_with(start), "{findings:?}");
        }
    }

    #[test]
    fn a_hook_that_tells_the_process_before_it_sleeps_leaves_time_itself() {
        for (script, grace) in [
            ("kill -QUIT 1; sleep 28", 30),
            ("kill -QUIT 1; sleep 3", 4),
            ("/opt/drain; sleep 28", 30),
            ("sleep 3; nginx -s quit; sleep 25", 30),
        ] {
            assert!(messages(&RULE, &with(exec(script), json!(grace))).is_empty(), "{script}");
        }
        let late = messages(&RULE, &with(exec("sleep 27; nginx -s quit; sleep 5"), json!(30)));
        assert!(
            late[0].starts_with("preStop sleeps 27 s of a grace period of 30 s: 3 s are left"),
            "{late:?}"
        );
    }

    #[test]
    fn five_seconds_are_enough() {
        for (pre_stop, grace) in [
            (sleep(25), json!(30)),
            (sleep(25), json!(null)),
            (exec("sleep 25"), json!(30)),
            (exec("nginx -s quit"), json!(5)),
            (json!(null), json!(5)),
        ] {
            assert!(messages(&RULE, &with(pre_stop.clone(), grace.clone())).is_empty(), "{pre_stop} {grace}");
        }
    }

    #[test]
    fn the_profile_says_how_much_is_enough() {
        let object = with(sleep(10), json!(30));
        let workload = Workload::read(&object).unwrap();
        let count = |min_drain_seconds| {
            check(&workload, &Settings { min_drain_seconds, ..Settings::default() }).len()
        };
        assert_eq!((count(20), count(21)), (0, 1));
    }

    #[test]
    fn where_nothing_is_left_another_rule_speaks() {
        for (pre_stop, grace) in [(sleep(30), json!(30)), (exec("sleep 40"), json!(30)), (sleep(0), json!(0))]
        {
            assert!(messages(&RULE, &with(pre_stop.clone(), grace.clone())).is_empty(), "{pre_stop} {grace}");
        }
    }

    #[test]
    fn a_short_grace_period_is_one_finding_and_a_worker_has_no_requests() {
        let mut object = with(json!(null), json!(2));
        let serving = |name: &str| json!({"name": name, "ports": [{"containerPort": 80}]});
        let mut sleeping = serving("b");
        sleeping["lifecycle"] = json!({"preStop": sleep(1)});
        object["spec"]["template"]["spec"]["containers"] = json!([serving("a"), sleeping, serving("c")]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(
            fields,
            [
                "spec.template.spec.terminationGracePeriodSeconds",
                "spec.template.spec.containers[b].lifecycle.preStop",
            ]
        );
        object["spec"]["template"]["spec"]["containers"] = json!([{"name": "worker"}]);
        assert!(found(&RULE, &object).is_empty());
    }

    #[test]
    fn an_injected_sleep_is_not_blamed_on_the_user() {
        let mut object = with(sleep(26), json!(30));
        let record = json!({"spec.template.spec.containers[app].lifecycle.preStop": sleep(26)});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(found(&RULE, &object).is_empty());
    }
}
