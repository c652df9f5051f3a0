//! The rule `missing-pre-stop`.

use super::{Check, Needs, Rule};
use crate::defaults::pre_stop_sleep;
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::ownership::owner::Owner;
use crate::ownership::owners::{Change, Owners};
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "missing-pre-stop",
    summary: "no preStop hook, so that a pod stops while it still gets requests",
    page: include_str!("missing_pre_stop.md"),
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
    if !workload.hands_over() {
        return Vec::new();
    }
    let unhooked: Vec<_> = workload
        .serving(&settings.operational_port_names)
        .filter(|container| container.lifecycle.pre_stop.is_none())
        .collect();
    if unhooked.is_empty() {
        return Vec::new();
    }
    let why = why_none(workload, settings).map(|why| format!(" ({why})")).unwrap_or_default();
    let message = format!("no preStop hook: the container stops while requests are still sent to it{why}");
    let fix = "add lifecycle.preStop.sleep.seconds: 10, with a terminationGracePeriodSeconds that leaves time to drain";
    let finding = |container: &crate::workload::object::Container| {
        let field = FieldPath::container(container.name).field("lifecycle.preStop");
        Finding::required(RULE.id, field, message.as_str(), fix)
    };
    unhooked.into_iter().map(finding).collect()
}

/// Why no sleep could be injected, if that is the reason.
fn why_none(workload: &Workload, settings: &Settings) -> Option<String> {
    let grace = workload.grace_period_seconds();
    let change = Change::create(workload.kind(), workload.view(), workload.context().origin);
    let owners = Owners::read(change, settings.rolling_update.replace_api_defaults, Vec::new());
    let is_grace_period_unset = owners.owner(&InjectedField::GracePeriod) != Owner::User;
    match pre_stop_sleep::choose(workload, is_grace_period_unset, settings) {
        Err(problem) => Some(problem.message()),
        Ok(sleep) if sleep.seconds > 0 => None,
        Ok(_) if grace <= settings.min_drain_seconds => Some(format!(
            "none fits into the grace period of {grace} s, of which {} s are left to drain",
            settings.min_drain_seconds
        )),
        Ok(_) => Some(format!("{} is 0", pre_stop_sleep::SECONDS_ANNOTATION)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn every_serving_container_without_a_hook() {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"] = json!([
            {"name": "a", "ports": [{"containerPort": 1}]},
            {"name": "b", "ports": [{"containerPort": 2}], "lifecycle": {"postStart": {"exec": {}}}},
            {"name": "c", "ports": [{"containerPort": 3}], "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}},
            {"name": "worker"},
        ]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        let path = |name: &str| format!("spec.template.spec.containers[{name}].lifecycle.preStop");
        assert_eq!(fields, [path("a"), path("b")]);
    }

    #[test]
    fn says_why_none_could_be_injected() {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!(null);
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(5);
        let findings = found(&RULE, &object);
        assert!(findings[0].message.contains("grace period of 5 s"), "{findings:?}");
        object["metadata"]["annotations"] = json!({pre_stop_sleep::SECONDS_ANNOTATION: "ten"});
        let findings = found(&RULE, &object);
        assert!(findings[0].message.contains(pre_stop_sleep::SECONDS_ANNOTATION), "{findings:?}");
    }
}
