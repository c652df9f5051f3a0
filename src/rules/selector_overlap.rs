//! The rule `selector-overlap`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::printable::printable;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "selector-overlap",
    summary: "another workload's selector matches these pods too",
    page: include_str!("selector_overlap.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Surroundings,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let others = &workload.surroundings().overlapping;
    if others.is_empty() {
        return Vec::new();
    }
    let others = others.iter().map(|other| printable(other)).collect::<Vec<_>>().join(", ");
    let message = format!(
        "the selector of {others} matches these pods too: autoscalers and disruption budgets count them as its own"
    );
    // Neither selector can be changed in place.
    let fix = "give each a label of its own, in its template and in the selector of a new object";
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.template.metadata.labels"), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found_in, web};
    use crate::surroundings::Surroundings;

    #[test]
    fn the_others_are_named() {
        let overlapping = vec!["Deployment canary".to_owned(), "StatefulSet web".to_owned()];
        let around = Surroundings { overlapping, ..Surroundings::default() };
        let finding = found_in(&RULE, &web(), &around).remove(0);
        assert!(finding.message.starts_with("the selector of Deployment canary, StatefulSet web matches"));
        assert!(found_in(&RULE, &web(), &Surroundings::default()).is_empty());
    }
}
