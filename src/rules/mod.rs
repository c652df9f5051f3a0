//! The rules: what a workload must not do to the requests it serves.
//!
//! One file and one page for each; [`RULES`] lists them.

mod blocking_disruption_budget;
pub mod cel;
mod daemon_gap;
mod dangling_target_port;
mod liveness_before_ready;
mod liveness_equals_readiness;
mod missing_pre_stop;
mod missing_readiness_probe;
mod missing_version_label;
mod mutable_image_tag;
mod no_rollback_history;
mod partition_holds_back;
mod pre_stop_exceeds_grace;
mod probe_timeout_exceeds_period;
mod recreate_strategy;
mod replicas_fall_to_default;
mod rollout_capacity_loss;
mod rollout_outage;
mod selector_overlap;
mod shell_sleep;
mod short_drain;
mod short_scale_down_delay;
mod sidecar_stops_first;
mod single_replica;
mod slow_readiness;
mod stop_before_drain;
mod surge_deadlock;
mod switch_to_unready;
#[cfg(test)]
pub(crate) mod testing;
mod tight_progress_deadline;
mod undeclared_probe_port;
mod unknown_probe_port;
mod unpullable_image;
mod unreachable_progress_deadline;
mod version_label_mismatch;
mod zero_grace_period;

use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::surroundings::Backend;
use crate::workload::Workload;
use cel::Cel;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, which says what is bad, in messages, configuration and
    /// waivers. It never changes.
    pub id: &'static str,
    /// What it finds, in one line of at most 80 characters.
    pub summary: &'static str,
    /// Its page, in Markdown.
    pub page: &'static str,
    /// The kinds of workloads that it judges; none if it judges Services.
    pub kinds: &'static [Kind],
    /// The action in the profile `production`.
    pub production: Action,
    /// The action in the profile `development`.
    pub development: Action,
    /// Whether it also judges workloads that are scaled to zero.
    pub judges_scaled_to_zero: bool,
    /// Whether what it finds loses requests at each rollout, or may, with nothing else amiss.
    pub loses_requests: bool,
    /// What it needs to know besides the object.
    pub needs: Needs,
    /// The check itself. It never blames the user for what gapless injected.
    pub check: Check,
    /// The form of the check that an API server can evaluate while gapless is away: each
    /// rule that denies in `production` has one.
    pub cel: Option<Cel>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// A workload.
    Workload(fn(&Workload, &Settings) -> Vec<Finding>),
    /// A Service whose selector changes, and to which workloads.
    Switch(fn(&[Backend]) -> Vec<Finding>),
}

impl Rule {
    /// What it finds in a workload.
    pub fn in_workload(&self, workload: &Workload, settings: &Settings) -> Vec<Finding> {
        match self.check {
            Check::Workload(check) => check(workload, settings),
            Check::Switch(_) => Vec::new(),
        }
    }
}

/// What a rule needs to know besides the object that it judges. Without it, it is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// What is around the object.
    Surroundings,
    /// The object as it was before.
    OldObject,
}

/// All rules, in the order in which they are documented.
pub static RULES: &[Rule] = &[
    recreate_strategy::RULE,
    rollout_outage::RULE,
    rollout_capacity_loss::RULE,
    single_replica::RULE,
    replicas_fall_to_default::RULE,
    surge_deadlock::RULE,
    partition_holds_back::RULE,
    daemon_gap::RULE,
    short_scale_down_delay::RULE,
    no_rollback_history::RULE,
    unreachable_progress_deadline::RULE,
    tight_progress_deadline::RULE,
    missing_readiness_probe::RULE,
    unknown_probe_port::RULE,
    undeclared_probe_port::RULE,
    slow_readiness::RULE,
    probe_timeout_exceeds_period::RULE,
    liveness_equals_readiness::RULE,
    liveness_before_ready::RULE,
    missing_pre_stop::RULE,
    stop_before_drain::RULE,
    pre_stop_exceeds_grace::RULE,
    short_drain::RULE,
    shell_sleep::RULE,
    sidecar_stops_first::RULE,
    zero_grace_period::RULE,
    mutable_image_tag::RULE,
    unpullable_image::RULE,
    version_label_mismatch::RULE,
    missing_version_label::RULE,
    selector_overlap::RULE,
    dangling_target_port::RULE,
    blocking_disruption_budget::RULE,
    switch_to_unready::RULE,
];

/// Whether what the rule of this id finds loses requests at each rollout.
pub fn loses_requests(id: &str) -> bool {
    RULES.iter().any(|rule| rule.id == id && rule.loses_requests)
}

/// The findings of all rules in one workload, with the rule that found each. None is
/// about what gapless injected itself.
pub fn findings(workload: &Workload, settings: &Settings) -> Vec<(&'static Rule, Finding)> {
    findings_of(RULES, workload, settings)
}

/// The same of some rules only.
pub fn findings_of(
    rules: impl IntoIterator<Item = &'static Rule>,
    workload: &Workload,
    settings: &Settings,
) -> Vec<(&'static Rule, Finding)> {
    let is_scaled_to_zero = workload.replicas() == 0;
    let applies = |rule: &&Rule| {
        rule.kinds.contains(&workload.kind()) && (rule.judges_scaled_to_zero || !is_scaled_to_zero)
    };
    let applicable = rules.into_iter().filter(applies);
    let found = applicable
        .flat_map(|rule| rule.in_workload(workload, settings).into_iter().map(move |it| (rule, it)));
    // Of a probe that is the user's, parts may be gapless' until the template changes.
    found.filter(|(_, finding)| !workload.is_injected_part(&finding.field)).collect()
}

/// The findings of all rules in a Service whose selector changes to the pods of these
/// workloads.
pub fn findings_in_switch(backends: &[Backend]) -> Vec<(&'static Rule, Finding)> {
    let found = RULES.iter().flat_map(|rule| {
        let findings = match rule.check {
            Check::Workload(_) => Vec::new(),
            Check::Switch(check) => check(backends),
        };
        findings.into_iter().map(move |finding| (rule, finding))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use serde_json::json;

    #[test]
    fn each_rule_that_denies_has_a_form_in_cel() {
        for rule in RULES.iter().filter(|rule| rule.production == Action::Deny) {
            assert!(rule.cel.is_some(), "{} has none", rule.id);
        }
    }

    #[test]
    fn a_good_deployment_has_no_findings() {
        let object = testing::web();
        assert_eq!(findings(&Workload::read(&object).unwrap(), &Settings::default()).len(), 0);
    }

    #[test]
    fn a_part_that_gapless_left_in_a_probe_of_the_user_is_not_complained_about() {
        let mut object = testing::web();
        object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
            json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "timeoutSeconds": 7});
        let ids = |object: &serde_json::Value| -> Vec<&str> {
            let workload = Workload::read(object).unwrap();
            findings(&workload, &Settings::default()).iter().map(|(rule, _)| rule.id).collect()
        };
        assert_eq!(ids(&object), ["probe-timeout-exceeds-period"]);
        for (seconds, expected) in [(7, vec![]), (8, vec!["probe-timeout-exceeds-period"])] {
            let record =
                json!({"spec.template.spec.containers[app].readinessProbe": {"timeoutSeconds": seconds}});
            let key = crate::ownership::record::ANNOTATION;
            object["metadata"]["annotations"] = json!({key: record.to_string()});
            assert_eq!(ids(&object), expected, "{seconds}");
        }
    }

    #[test]
    fn scaled_to_zero_only_what_matters_later_is_judged() {
        let mut object = testing::web();
        object["spec"]["replicas"] = json!(0);
        object["spec"]["revisionHistoryLimit"] = json!(0);
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!({});
        let workload = Workload::read(&object).unwrap();
        let ids: Vec<_> = findings(&workload, &Settings::default()).iter().map(|(rule, _)| rule.id).collect();
        assert_eq!(ids, ["no-rollback-history"]);
    }
}
