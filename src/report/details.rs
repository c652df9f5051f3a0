//! What only a page shows of a workload.

use super::diff::Line;

/// How large a picture is, in its own units.
pub const VIEW_BOX: (u32, u32) = (340, 100);

/// What is drawn of a rollout, from the bottom to the top: its class, and in words.
pub const LAYERS: [(&str, &str); 4] = [
    ("new", "new, available"),
    ("old", "old, available"),
    ("waiting", "not available"),
    ("leaving", "leaving"),
];

/// What gapless makes of a workload, and what its rollouts do.
#[derive(Debug)]
pub struct Details {
    /// The fields that it would change.
    pub diff: Vec<Line>,
    /// The rollout of the workload as it is.
    pub now: Picture,
    /// The rollout of the completed workload, if that is another one.
    pub completed: Option<Picture>,
}

/// A rollout.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// What it does, in a line.
    pub answer: String,
    /// The pods over time, as the inside of an SVG; `None` if they cannot be foretold.
    pub svg: Option<String>,
}
