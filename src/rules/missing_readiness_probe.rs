//! The rule `missing-readiness-probe`.

use super::{Check, Needs, Rule};
use crate::defaults::readiness_probe::{self, NoProbe};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "missing-readiness-probe",
    summary: "no readiness probe, so that pods get requests before they listen",
    page: include_str!("missing_readiness_probe.md"),
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
    let why = match readiness_probe::choose(workload, settings) {
        Err(NoProbe::Present | NoProbe::NothingServes) => return Vec::new(),
        Err(why) => format!(" ({why})"),
        // It could be injected; that it was not has another reason, such as a
        // profile without it or a template that does not change.
        Ok(_) => String::new(),
    };
    let serving: Vec<_> = workload.serving(&settings.operational_port_names).collect();
    let field = match serving[..] {
        [only] => FieldPath::container(only.name).field("readinessProbe"),
        _ => FieldPath::new("spec.template.spec.containers"),
    };
    let message = format!("no readiness probe: a new pod gets requests before it listens{why}");
    vec![Finding::required(
        RULE.id,
        field,
        message,
        "add a readinessProbe that asks what the application serves",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn says_why_none_could_be_injected() {
        let mut object = web();
        let pod = &mut object["spec"]["template"]["spec"];
        pod["containers"][0]["readinessProbe"] = json!(null);
        pod["hostNetwork"] = json!(true);
        let findings = found(&RULE, &object);
        assert_eq!(findings[0].field.to_string(), "spec.template.spec.containers[app].readinessProbe");
        assert!(findings[0].message.ends_with("(none is injected with hostNetwork)"), "{findings:?}");
    }

    #[test]
    fn several_serving_containers_are_one_finding() {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"] = json!([
            {"name": "a", "ports": [{"containerPort": 1}]}, {"name": "b", "ports": [{"containerPort": 2}]},
        ]);
        let findings = found(&RULE, &object);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("containers a, b serve"), "{findings:?}");
    }

    #[test]
    fn a_probe_anywhere_or_nothing_served_is_fine() {
        let mut object = web();
        assert!(found(&RULE, &object).is_empty());
        object["spec"]["template"]["spec"]["containers"] = json!([{"name": "worker"}]);
        assert!(found(&RULE, &object).is_empty());
    }
}
