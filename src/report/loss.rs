//! Whether the rollouts of a workload lose requests.

use crate::admission::{Judged, Outcome};
use crate::policy::InjectionMode;
use crate::rules;

/// What the rollouts of a workload do to requests, as it is, and who can end that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No rule of those that are about this finds anything.
    None,
    /// They lose requests, for a reason that its waivers state.
    Waived,
    /// They lose requests; what gapless adds at the next rollout ends that.
    Completed,
    /// The same, but the profile only says what gapless would add.
    Announced,
    /// They lose requests, and only its owner can end that.
    Open,
}

impl Loss {
    /// From what is found in the workload as it is, and after gapless has completed it.
    pub fn of(as_it_is: &[Judged], completed: &[Judged], injection: InjectionMode) -> Self {
        let loses = |judged: &&Judged| rules::loses_requests(judged.finding.rule);
        let is_open = |judged: &Judged| judged.outcome != Outcome::Waived;
        if as_it_is.iter().find(loses).is_none() {
            return Loss::None;
        }
        if completed.iter().filter(loses).any(is_open) {
            return Loss::Open;
        }
        match injection {
            _ if !as_it_is.iter().filter(loses).any(is_open) => Loss::Waived,
            InjectionMode::Inject => Loss::Completed,
            InjectionMode::Announce => Loss::Announced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldPath;
    use crate::finding::{Action, Finding};

    fn judged(rule: &'static str, outcome: Outcome) -> Judged {
        let finding = Finding::invalid(rule, FieldPath::new("spec"), "", "");
        Judged { finding, action: Action::Warn, outcome, waived_because: None }
    }

    #[test]
    fn who_can_end_it() {
        let probe = || judged("missing-readiness-probe", Outcome::Warn);
        let waived = || judged("recreate-strategy", Outcome::Waived);
        let other = || judged("single-replica", Outcome::Warn);
        let table = [
            (vec![], vec![], Loss::None, Loss::None),
            (vec![other()], vec![other()], Loss::None, Loss::None),
            (vec![probe(), other()], vec![other()], Loss::Completed, Loss::Announced),
            (vec![probe()], vec![probe()], Loss::Open, Loss::Open),
            (vec![waived()], vec![waived()], Loss::Waived, Loss::Waived),
            (vec![waived(), probe()], vec![waived()], Loss::Completed, Loss::Announced),
            (vec![waived(), probe()], vec![waived(), probe()], Loss::Open, Loss::Open),
        ];
        for (as_it_is, completed, injected, announced) in table {
            let of = |mode| Loss::of(&as_it_is, &completed, mode);
            assert_eq!((of(InjectionMode::Inject), of(InjectionMode::Announce)), (injected, announced));
        }
    }

    #[test]
    fn some_rules_are_about_it() {
        let about: Vec<&str> =
            rules::RULES.iter().map(|it| it.id).filter(|id| rules::loses_requests(id)).collect();
        assert!(about.contains(&"recreate-strategy") && about.contains(&"missing-pre-stop"), "{about:?}");
        assert!(!about.contains(&"mutable-image-tag") && !about.contains(&"surge-deadlock"), "{about:?}");
    }
}
