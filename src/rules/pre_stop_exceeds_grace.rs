//! The rule `pre-stop-exceeds-grace`.

use std::time::Duration;

use super::cel::{Cel, of_containers};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "pre-stop-exceeds-grace",
    summary: "a preStop sleep as long as the grace period, so that SIGTERM comes too late",
    page: include_str!("pre_stop_exceeds_grace.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    finds: || {
        let is_users = "!variables.record.contains('\"spec.template.spec.containers[' + c.name + '].lifecycle.preStop\"')";
        let sleeps = sleeps_for("variables.longestGraceSeconds");
        of_containers(
            "lifecycle.preStop",
            &format!("has(c.lifecycle) && has(c.lifecycle.preStop)\n  && {sleeps}\n  && {is_users}"),
        )
    },
    // What else a script may do is not read.
    found_before: Some(|| {
        let text = "c.lifecycle.preStop.?exec.?command.orValue([]).join('\\n')";
        let other = format!("({text}.contains('sleep') && !{text}.matches({PLAIN_SLEEP}))");
        let sleeps = sleeps_for("{graceSeconds}");
        of_containers(
            "lifecycle.preStop",
            &format!("has(c.lifecycle) && has(c.lifecycle.preStop)\n  && ({sleeps} || {other})"),
        )
    }),
    message: "preStop sleeps for the whole grace period: the application is killed without time to finish",
    fix: "set terminationGracePeriodSeconds to the sleep and the time of the longest request, or sleep less",
};

/// `sleep 30`, by a shell or not, by a shell also before `nginx -s quit`: the words of the
/// command, with a line for each.
const PLAIN_SLEEP: &str = "r'^((/[a-z/]*/)?sleep\\n[0-9]{1,9}s?|(/[a-z/]*/)?(sh|bash|ash|dash|zsh|ksh|mksh)\\n-c\\nsleep [0-9]{1,9}s?( *(;|&&) *(/[a-z/]*/)?nginx -s quit)?)$'";

/// Whether the hook of container `c` certainly sleeps so many seconds, which are not 0.
fn sleeps_for(seconds: &str) -> String {
    let text = "c.lifecycle.preStop.?exec.?command.orValue([]).join('\\n')";
    format!(
        "{seconds} > 0 && (c.lifecycle.preStop.?sleep.?seconds.orValue(0) >= {seconds}\n    \
         || {text}.matches({PLAIN_SLEEP})\n      \
         && int({text}.find(r'sleep[ \\n][0-9]+').find(r'[0-9]+')) >= {seconds})"
    )
}

/// Nobody means a day, so that no such grace period is advised.
const LONGEST_SECONDS: u64 = 86_400;

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let grace = workload.grace_period_seconds();
    // At 0 the hook does not run at all; zero-grace-period says so.
    let Some(grace) = u64::try_from(grace).ok().filter(|grace| *grace > 0) else { return Vec::new() };
    let finding = |container: &crate::workload::object::Container| {
        // A process that the hook has told to stop does not wait for SIGTERM.
        let sleep = container.lifecycle.pre_stop.as_ref()?.told().after;
        let is_ours = workload.is_injected(&InjectedField::PreStop(container.name.to_owned()));
        if sleep < Duration::from_secs(grace) || is_ours {
            return None;
        }
        let seconds = sleep.as_secs();
        let message = format!(
            "preStop sleeps {seconds} s of a grace period of {grace} s: the application is killed without time to finish"
        );
        let enough = seconds.saturating_add(settings.min_drain_seconds.max(1).unsigned_abs());
        let fix = if seconds > LONGEST_SECONDS {
            format!("sleep less, such as 10 s of the grace period of {grace} s")
        } else {
            format!("set terminationGracePeriodSeconds to {enough} or more, or sleep less")
        };
        let field = FieldPath::container(container.name).field("lifecycle.preStop");
        Some(Finding::invalid(RULE.id, field, message, fix))
    };
    workload.containers().iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn count(pre_stop: Value, grace: Value) -> usize {
        let mut object = web();
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace;
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!({"preStop": pre_stop});
        found(&RULE, &object).len()
    }

    #[test]
    fn as_long_as_the_grace_period_is_too_long() {
        let native = |seconds: i64| json!({"sleep": {"seconds": seconds}});
        let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
        let table = [
            (native(30), json!(null), 1),
            (native(29), json!(null), 0),
            (native(60), json!(60), 1),
            (native(59), json!(60), 0),
            (exec("sleep 30"), json!(30), 1),
            (exec("sleep 1m; nginx -s quit"), json!(45), 1),
            (exec("sleep 20; sleep 10"), json!(30), 1),
            (exec("sleep 29.5"), json!(30), 0),
            (exec("nginx -s quit"), json!(30), 0),
            (exec("env A=B sleep 20 # 'tis\nexec busybox sleep 10"), json!(30), 1),
            (exec("sleep 30; kill -QUIT 1; sleep 10"), json!(30), 1),
            // The process is told, or may be, before the grace period is over.
            (exec("kill -QUIT 1; sleep 40"), json!(40), 0),
            (exec("sleep 10; nginx -s quit; sleep 30"), json!(40), 0),
            (exec("/opt/drain; sleep 40"), json!(40), 0),
            (exec("if x; then kill 1; fi; sleep 40"), json!(40), 0),
            // Nobody knows whether it sleeps.
            (exec("[ -e /x ] && sleep 40"), json!(30), 0),
            (exec("if x\nthen sleep 40\nfi"), json!(30), 0),
            (native(5), json!(-1), 1),
            (native(5), json!(0), 0),
        ];
        for (pre_stop, grace, expected) in table {
            assert_eq!(count(pre_stop.clone(), grace.clone()), expected, "{pre_stop}, grace period {grace}");
        }
    }

    #[test]
    fn the_fix_leaves_time_to_drain() {
        let fix = |command: Value| {
            let mut object = web();
            object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
                json!({"preStop": {"exec": {"command": command}}});
            found(&RULE, &object)[0].fix.clone()
        };
        let expected = "set terminationGracePeriodSeconds to 45 or more, or sleep less";
        assert_eq!(fix(json!(["sleep", "40"])), expected);
        assert_eq!(fix(json!(["sleep", "infinity"])), "sleep less, such as 10 s of the grace period of 30 s");
    }
}
