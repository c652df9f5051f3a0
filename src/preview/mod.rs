//! The answers of `gapless preview`, in all their forms.

pub mod input;
pub mod json;
pub mod quota;
pub mod svg;
pub mod text;

use crate::kubernetes::kind::Kind;
use crate::rollout::Forecast;

/// What is foretold of one workload.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// What its rollout is going to do.
    pub forecast: Forecast,
    /// How many running pods have shown how long a container takes until it listens; 0 where
    /// that was given or is assumed.
    pub learned_from: usize,
}

/// Which of what no manifest tells somebody has told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// How long a container takes until it listens.
    pub starts_in: bool,
    /// How long a process takes until it ends.
    pub stops_in: bool,
}
