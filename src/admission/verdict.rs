//! From findings to a verdict.

use std::collections::HashSet;

use crate::defaults;
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::policy::Profile;
use crate::rules::{self, RULES, Rule};
use crate::surroundings::Backend;
use crate::waiver::ActiveWaivers;
use crate::workload::Workload;

/// What came of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It denies the request.
    Deny,
    /// It is shown as a warning.
    Warn,
    /// It goes to the audit log.
    Audit,
    /// An annotation waives it.
    Waived,
    /// It was there before the request, and does not deny it.
    Old,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 5] =
        [Outcome::Deny, Outcome::Warn, Outcome::Audit, Outcome::Waived, Outcome::Old];

    /// The outcome as metrics and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Deny => "deny",
            Outcome::Warn => "warn",
            Outcome::Audit => "audit",
            Outcome::Waived => "waived",
            Outcome::Old => "old",
        }
    }
}

/// A finding, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// What the profile does about it, were it new and nothing waived.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// The reason for which it is waived.
    pub waived_because: Option<String>,
}

impl Judged {
    /// Whether the user sees it.
    pub fn is_shown(&self) -> bool {
        matches!(self.outcome, Outcome::Deny | Outcome::Warn | Outcome::Old)
    }
}

/// What is known about a request besides its object.
#[derive(Clone, Copy)]
pub struct Circumstances<'w, 'a> {
    /// The stored object, for an update.
    pub old: Option<&'w Workload<'a>>,
    /// Whether the request repairs something, as an undo or a scale does, and must
    /// not be denied for this finding. Asked where it would be.
    pub is_excused: &'w dyn Fn(&Finding) -> bool,
}

/// All findings in a workload, with what comes of each: those that deny first,
/// each part sorted by field and rule.
pub fn judge(
    workload: &Workload,
    circumstances: Circumstances,
    profile: &Profile,
    waivers: &ActiveWaivers,
) -> Vec<Judged> {
    let found = rules::findings(workload, &profile.settings);
    // As a set: each container may have a finding.
    let old: HashSet<(&str, FieldPath)> = match circumstances.old {
        Some(old) => {
            // Other rules have nothing to compare.
            let ids: HashSet<&str> = found.iter().map(|(rule, _)| rule.id).collect();
            let rules = RULES.iter().filter(|rule| ids.contains(rule.id));
            let old = rules::findings_of(rules, old, &profile.settings).into_iter();
            old.map(|(_, finding)| (finding.rule, finding.field)).collect()
        }
        None => HashSet::new(),
    };
    let is_old = |finding: &Finding| old.contains(&(finding.rule, finding.field.clone()));
    weigh(found, &is_old, circumstances.is_excused, profile, waivers)
}

/// The same for a Service whose selector changes to the pods of these workloads.
pub fn judge_switch(backends: &[Backend], profile: &Profile, waivers: &ActiveWaivers) -> Vec<Judged> {
    weigh(rules::findings_in_switch(backends), &|_| false, &|_| false, profile, waivers)
}

fn weigh(
    found: Vec<(&'static Rule, Finding)>,
    is_old: &dyn Fn(&Finding) -> bool,
    is_excused: &dyn Fn(&Finding) -> bool,
    profile: &Profile,
    waivers: &ActiveWaivers,
) -> Vec<Judged> {
    let mut judged: Vec<Judged> = found
        .into_iter()
        .filter_map(|(rule, finding)| {
            let action = profile.action(rule).min(finding.at_most);
            let reason = waived_because(rule.id, waivers);
            let outcome = match action {
                Action::Off => return None,
                _ if reason.is_some() => Outcome::Waived,
                Action::Audit => Outcome::Audit,
                _ if is_old(&finding) => Outcome::Old,
                Action::Deny if !is_excused(&finding) => Outcome::Deny,
                Action::Deny | Action::Warn => Outcome::Warn,
            };
            Some(Judged { finding, action, outcome, waived_because: reason.map(str::to_owned) })
        })
        .collect();
    judged.sort_by_cached_key(|it| {
        (it.outcome != Outcome::Deny, it.finding.field.to_string(), it.finding.rule)
    });
    judged
}

/// Why `rule` is waived: by its own id, or by that of a default which would
/// have left it nothing to say.
fn waived_because<'a>(rule: &str, waivers: &ActiveWaivers<'a>) -> Option<&'a str> {
    let by_default = || defaults::satisfying(rule).find_map(|default| waivers.reason(default.id));
    waivers.reason(rule).or_else(by_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Waivers;
    use crate::rules::testing::web;
    use serde_json::{Value, json};

    fn bad() -> Value {
        let mut object = web();
        object["spec"]["revisionHistoryLimit"] = json!(0);
        object["spec"]["replicas"] = json!(1);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app");
        object
    }

    fn outcomes(
        object: &Value,
        old: Option<&Value>,
        is_excused: bool,
        profile: &Profile,
    ) -> Vec<(&'static str, Outcome)> {
        let workload = Workload::read(object).unwrap();
        let old = old.map(|old| Workload::read(old).unwrap());
        let today = jiff::civil::date(2026, 11, 23);
        let waivers = ActiveWaivers::read(&workload, Waivers::Allowed, today, |_| true);
        let circumstances = Circumstances { old: old.as_ref(), is_excused: &|_| is_excused };
        let judged = judge(&workload, circumstances, profile, &waivers);
        judged.into_iter().map(|it| (it.finding.rule, it.outcome)).collect()
    }

    #[test]
    fn denials_come_first_and_each_part_is_sorted_by_field() {
        assert_eq!(
            outcomes(&bad(), None, false, &Profile::production()),
            [
                ("no-rollback-history", Outcome::Deny),
                ("mutable-image-tag", Outcome::Deny),
                ("single-replica", Outcome::Warn),
            ]
        );
    }

    #[test]
    fn only_what_the_request_introduces_denies() {
        let mut old = bad();
        old["spec"]["revisionHistoryLimit"] = json!(1);
        assert_eq!(
            outcomes(&bad(), Some(&old), false, &Profile::production()),
            [
                ("no-rollback-history", Outcome::Deny),
                ("single-replica", Outcome::Old),
                ("mutable-image-tag", Outcome::Old),
            ]
        );
    }

    #[test]
    fn another_order_of_containers_makes_nothing_new() {
        let container = |name: &str| json!({"name": name, "image": "app"});
        let with = |containers: Value| {
            let mut object = web();
            object["spec"]["template"]["spec"]["containers"] = containers;
            object
        };
        let old = with(json!([container("a"), container("b")]));
        let new = with(json!([container("b"), container("a"), container("c")]));
        let found = outcomes(&new, Some(&old), false, &Profile::production());
        let denied: Vec<_> = found.iter().filter(|(_, outcome)| *outcome == Outcome::Deny).collect();
        assert_eq!(denied.len(), 1, "only c is new: {found:?}");
    }

    #[test]
    fn a_repair_is_never_denied() {
        let found = outcomes(&bad(), Some(&web()), true, &Profile::production());
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(_, outcome)| *outcome == Outcome::Warn), "{found:?}");
    }

    #[test]
    fn waivers_of_the_rule_or_of_its_default() {
        let mut object = bad();
        object["metadata"]["annotations"] = json!({"gapless.dev/waive.no-rollback-history": "kept in Git"});
        object["spec"]["template"]["metadata"]["annotations"] =
            json!({"gapless.dev/waive.pre-stop-sleep": "drains itself"});
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!({});
        assert_eq!(
            outcomes(&object, None, false, &Profile::production()),
            [
                ("mutable-image-tag", Outcome::Deny),
                ("single-replica", Outcome::Warn),
                ("no-rollback-history", Outcome::Waived),
                ("missing-pre-stop", Outcome::Waived),
            ]
        );
    }

    #[test]
    fn the_profile_decides() {
        assert_eq!(
            outcomes(&bad(), None, false, &Profile::development()),
            [("no-rollback-history", Outcome::Warn)]
        );
        let advisory = outcomes(&bad(), None, false, &Profile::advisory());
        assert_eq!(advisory.len(), 3);
        assert!(advisory.iter().all(|(_, outcome)| *outcome == Outcome::Warn), "{advisory:?}");
    }
}
