//! The rule `unreachable-progress-deadline`.

use super::cel::{Cel, field_if};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::{Container, Probe};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "unreachable-progress-deadline",
    summary: "no pod can become available before the progress deadline",
    page: include_str!("unreachable_progress_deadline.md"),
    kinds: &[Kind::Deployment, Kind::Rollout],
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    finds: || {
        field_if(
            "spec.progressDeadlineSeconds",
            "has({spec}.progressDeadlineSeconds) && {longRunning}.exists(c,\n  \
             c.?startupProbe.?initialDelaySeconds.orValue(0) >= {spec}.progressDeadlineSeconds\n  \
             || c.?readinessProbe.?initialDelaySeconds.orValue(0) >= {spec}.progressDeadlineSeconds)",
        )
    },
    found_before: Some(|| {
        field_if(
            "spec.progressDeadlineSeconds",
            "has({spec}.progressDeadlineSeconds) && {longRunning}.exists(c,\n  \
             [c.?startupProbe.?initialDelaySeconds.orValue(0), c.?readinessProbe.?initialDelaySeconds.orValue(0)]\n    \
             .exists(delay, delay > 0\n      \
             && delay + {spec}.?minReadySeconds.orValue(0) >= {spec}.progressDeadlineSeconds))",
        )
    }),
    message: "a container is ready later than the deadline at the earliest: every rollout is reported as failed",
    fix: "shorten initialDelaySeconds (a startupProbe waits as long as needed and no longer), or raise progressDeadlineSeconds",
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let slowest = workload.long_running().max_by_key(|container| first_ready_second(container));
    let delay = slowest.map_or(0, first_ready_second);
    let min_ready = match workload.is_injected(&InjectedField::MinReadySeconds) {
        true => 0,
        false => i64::from(workload.min_ready_seconds()),
    };
    let deadline = i64::from(workload.progress_deadline_seconds());
    // Without a delay there is nothing that this rule could add: the API
    // server itself wants minReadySeconds below the deadline.
    if delay == 0 || delay + min_ready < deadline {
        return Vec::new();
    }
    let name = slowest.map_or("", |container| container.name);
    let field = FieldPath::new("spec.progressDeadlineSeconds");
    let fix = "shorten initialDelaySeconds (a startupProbe waits as long as needed and no longer), or raise progressDeadlineSeconds";
    if delay >= deadline {
        let message = format!(
            "container {name} is ready after {delay} s at the earliest, the deadline is {deadline} s: every rollout is reported as failed"
        );
        return vec![Finding::invalid(RULE.id, field, message, fix)];
    }
    // A pod that gets ready is progress and starts the clock anew (kubernetes,
    // pkg/controller/deployment/util/deployment_util.go,
    // `DeploymentProgressing`), so this much is worth a warning only.
    let message = format!(
        "container {name} is available after {delay} s + minReadySeconds {min_ready} s at the earliest, later than the deadline of {deadline} s"
    );
    vec![Finding::invalid(RULE.id, field, message, fix).at_most(Action::Warn)]
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
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, web};
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
    fn a_delay_reaches_the_deadline() {
        for (object, delay, deadline) in [
            (deployment(json!(600), json!(0), 0, json!(null)), 600, 600),
            (deployment(json!(100), json!(300), 50, json!(299)), 300, 299),
        ] {
            let findings = found(&RULE, &object);
            let part = format!("ready after {delay} s at the earliest, the deadline is {deadline} s");
            assert!(findings[0].message.contains(&part), "{findings:?}");
            assert_eq!(findings[0].at_most, Action::Deny);
        }
    }

    #[test]
    fn with_min_ready_seconds_it_is_only_worth_a_warning() {
        let findings = found(&RULE, &deployment(json!(100), json!(200), 100, json!(300)));
        let part = "available after 200 s + minReadySeconds 100 s at the earliest";
        assert!(findings[0].message.contains(part), "{findings:?}");
        assert_eq!(findings[0].at_most, Action::Warn);
    }

    #[test]
    fn injected_min_ready_seconds_are_not_the_users_fault() {
        let mut object = deployment(json!(0), json!(595), 10, json!(600));
        assert_eq!(found(&RULE, &object).len(), 1);
        object["metadata"]["annotations"] = json!({ANNOTATION: r#"{"spec.minReadySeconds":10}"#});
        assert_eq!(found(&RULE, &object).len(), 0);
    }

    #[test]
    fn a_second_less_is_enough_and_delays_do_not_add_up() {
        for object in [
            deployment(json!(599), json!(0), 0, json!(600)),
            deployment(json!(150), json!(150), 0, json!(300)),
            deployment(json!(100), json!(200), 99, json!(300)),
            deployment(json!(null), json!(null), 0, json!(1)),
        ] {
            assert!(found(&RULE, &object).is_empty(), "{object}");
        }
    }
}
