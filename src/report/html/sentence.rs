//! The first sentence: how many workloads lose requests at each rollout, and who can end that.

use crate::report::Report;
use crate::report::count::{counted, plural};
use crate::report::loss::Loss;

/// The sentence in two parts, what there is and what becomes of it; nothing becomes of nothing.
pub fn sentence(report: &Report) -> (String, String) {
    let kinds = report.kinds();
    let all: usize = kinds.iter().map(|(_, count)| count).sum();
    let named = match kinds[..] {
        [] | [_] => counted(&kinds),
        _ => plural(all, "workload"),
    };
    if all == 0 {
        return ("There is no workload that is judged".to_owned(), String::new());
    }
    let of = |loss| report.judgements().filter(|it| it.loss == loss).count();
    let parts = [Loss::Completed, Loss::Announced, Loss::Open, Loss::Waived].map(|loss| (loss, of(loss)));
    let losing: usize = parts.iter().map(|(_, count)| count).sum();
    if losing == 0 {
        return (format!("None of {named} loses requests at its rollouts"), String::new());
    }
    let verb = if losing == 1 { "loses" } else { "lose" };
    let parts = parts.iter().filter(|(_, count)| *count > 0).map(|(loss, count)| part(*loss, *count));
    (format!("{losing} of {named} {verb} requests at each rollout"), parts.collect::<Vec<_>>().join(", "))
}

/// How many of them there is this to be said of.
fn part(loss: Loss, count: usize) -> String {
    let is_one = count == 1;
    let words = match loss {
        Loss::None => "",
        Loss::Completed if is_one => "is completed by gapless at its next one",
        Loss::Completed => "are completed by gapless at their next one",
        Loss::Announced if is_one => "would be completed, but its profile only announces it",
        Loss::Announced => "would be completed, but their profiles only announce it",
        Loss::Open if is_one => "needs a change of yours",
        Loss::Open => "need a change of yours",
        Loss::Waived if is_one => "does so by a waiver",
        Loss::Waived => "do so by waivers",
    };
    format!("{count} {words}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judgement, report};
    use super::*;
    use crate::kubernetes::kind::Kind;

    fn said(losses: &[(Kind, Loss, usize)]) -> String {
        let of = |(kind, loss, count): &(Kind, Loss, usize)| {
            let judgement = |_| crate::report::Judgement { loss: *loss, ..judgement(*kind, "shop", "web") };
            (0..*count).map(judgement).collect::<Vec<_>>()
        };
        let (what, becomes) = sentence(&report(losses.iter().flat_map(of).collect()));
        if becomes.is_empty() { what } else { format!("{what}; {becomes}") }
    }

    #[test]
    fn numbers_and_who_can_end_it() {
        use Kind::{Deployment, StatefulSet};
        assert_eq!(
            said(&[
                (Deployment, Loss::None, 128),
                (Deployment, Loss::Completed, 9),
                (Deployment, Loss::Open, 3)
            ]),
            "12 of 140 Deployments lose requests at each rollout; 9 are completed by gapless at their next one, 3 \
             need a change of yours"
        );
        assert_eq!(
            said(&[(Deployment, Loss::None, 1), (StatefulSet, Loss::Waived, 1)]),
            "1 of 2 workloads loses requests at each rollout; 1 does so by a waiver"
        );
        assert_eq!(
            said(&[(Deployment, Loss::Announced, 2)]),
            "2 of 2 Deployments lose requests at each rollout; 2 would be completed, but their profiles only \
             announce it"
        );
        assert_eq!(
            said(&[(Deployment, Loss::None, 7)]),
            "None of 7 Deployments loses requests at its rollouts"
        );
        assert_eq!(said(&[]), "There is no workload that is judged");
    }
}
