//! The rule `switch-to-unready`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::printable::printable;
use crate::surroundings::Backend;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "switch-to-unready",
    summary: "a Service switches to pods of which none is available",
    page: include_str!("switch_to_unready.md"),
    kinds: &[],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Surroundings,
    check: Check::Switch(check),
    cel: None,
};

fn check(backends: &[Backend]) -> Vec<Finding> {
    // Pods of no known workload may be somebody else's, and there.
    let Some((first, others)) = backends.split_first() else { return Vec::new() };
    if backends.iter().any(|backend| backend.has_pods) {
        return Vec::new();
    }
    let others = match others.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let message =
        format!("switches to pods of {}{others}, and none is available", printable(&first.workload));
    let fix = "bring its pods up first, and change the selector once they are available";
    vec![Finding::invalid(RULE.id, FieldPath::new("spec.selector"), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_too_early_while_no_pod_of_anybody_is_there() {
        let backend = |workload: &str, has_pods| Backend { workload: workload.to_owned(), has_pods };
        let [down, up] = [false, true].map(|has_pods| backend("Deployment green", has_pods));
        let other = backend("StatefulSet green", false);
        let message = "switches to pods of Deployment green, and none is available";
        let both = "switches to pods of Deployment green and 1 more, and none is available";
        for (backends, expected) in [
            (vec![], None),
            (vec![down.clone()], Some(message)),
            (vec![up.clone()], None),
            (vec![down, other.clone()], Some(both)),
            (vec![other, up], None),
        ] {
            let found = check(&backends);
            let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
            assert_eq!(messages, Vec::from_iter(expected), "{backends:?}");
        }
    }
}
