//! What once came out differently, as short as it could be made.

use gapless::kubernetes::int_or_string::Amount::{Count, Percent};
use gapless::kubernetes::kind::Kind;

use super::case::Case;
use super::case::Move::{Amounts, End, Fail, Scale, Template};
use super::case::Says;

pub fn all() -> Vec<Case> {
    let daemon_set = Says::of_one(Kind::DaemonSet);
    let stateful_set = Says::of_one(Kind::StatefulSet);
    vec![
        // With surge one old pod stays beside the new one. That of the template between is too
        // many, on the node where the new one comes and on others.
        Case {
            says: Says { replicas: 2, unavailable: Count(0), surge: Count(1), ..daemon_set.clone() },
            moves: vec![Template(1), Template(3)],
        },
        Case {
            says: daemon_set.clone(),
            moves: vec![Template(1), End(0), Amounts(Count(0), Percent(1)), Template(3), Template(2)],
        },
        // With surge a node without a pod gets one while the former one still ends.
        Case { says: daemon_set, moves: vec![Template(1), Amounts(Count(0), Count(2))] },
        // OrderedReady: of pods that are too many, one that is not available waits until those
        // below it are.
        Case { says: Says { replicas: 4, ..stateful_set }, moves: vec![Fail(3), Fail(2), Scale(1)] },
    ]
}
