//! The rule `blocking-disruption-budget`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::printable::printable;
use crate::settings::Settings;
use crate::surroundings::Budget;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "blocking-disruption-budget",
    summary: "a PodDisruptionBudget lets no pod be evicted, so that node drains hang",
    page: include_str!("blocking_disruption_budget.md"),
    kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Surroundings,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let replicas = workload.replicas();
    let budgets = &workload.surroundings().disruption_budgets;
    let field = FieldPath::new("spec.replicas");
    let one_too_many = match &budgets[..] {
        // The eviction API answers 500 (kubernetes, pkg/registry/core/pod/storage/eviction.go).
        [first, second, ..] if first.name != second.name => Some(Finding::invalid(
            RULE.id,
            field.clone(),
            format!(
                "PodDisruptionBudgets {} and {} are over the same pods, which the eviction API refuses: a node drain hangs",
                printable(&first.name),
                printable(&second.name),
            ),
            "keep one of them",
        )),
        _ => None,
    };
    let blocks = |budget: &&crate::surroundings::DisruptionBudget| budget.wants.allowed(replicas) <= 0;
    let blocking = budgets.iter().filter(blocks).map(|budget| {
        let (wants, amount) = match budget.wants {
            Budget::MinAvailable(amount) => ("minAvailable", amount),
            Budget::MaxUnavailable(amount) => ("maxUnavailable", amount),
        };
        let amount = match amount {
            Amount::Count(count) => count.to_string(),
            Amount::Percent(percent) => format!("{percent}%"),
        };
        let pods = if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") };
        let message = format!(
            "{pods}, PodDisruptionBudget {} with {wants} {amount} -> no pod may be evicted: a node drain hangs",
            printable(&budget.name),
        );
        let fix = match replicas {
            1 => "set replicas: 2 or more and maxUnavailable: 1 in the budget, or remove the budget",
            _ => "set maxUnavailable: 1 in the budget",
        };
        Finding::invalid(RULE.id, field.clone(), message, fix)
    });
    one_too_many.into_iter().chain(blocking).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found_in, web};
    use crate::surroundings::{Autoscaler, DisruptionBudget, Surroundings};

    fn budget(name: &str, wants: Budget) -> DisruptionBudget {
        DisruptionBudget { name: name.into(), wants }
    }

    fn messages(budgets: Vec<DisruptionBudget>, min_replicas: Option<i32>) -> Vec<String> {
        let autoscaler = min_replicas.map(|min_replicas| Autoscaler { name: "web".into(), min_replicas });
        let around = Surroundings { disruption_budgets: budgets, autoscaler, ..Surroundings::default() };
        found_in(&RULE, &web(), &around).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_budget_that_lets_nobody_go() {
        let two = || vec![budget("web", Budget::MinAvailable(Amount::Count(2)))];
        assert_eq!(
            messages(two(), None),
            [
                "2 replicas, PodDisruptionBudget web with minAvailable 2 -> no pod may be evicted: a node drain hangs"
            ]
        );
        assert!(messages(two(), Some(3)).is_empty(), "the autoscaler keeps three");
        assert!(messages(vec![budget("web", Budget::MaxUnavailable(Amount::Count(1)))], None).is_empty());
        assert!(messages(Vec::new(), None).is_empty());
    }

    #[test]
    fn two_budgets_over_one_pod_refuse_every_eviction() {
        let one = |name: &str| budget(name, Budget::MaxUnavailable(Amount::Count(1)));
        let found = messages(vec![one("a"), one("b")], None);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("PodDisruptionBudgets a and b are over the same pods"), "{found:?}");
    }
}
