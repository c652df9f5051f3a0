//! The answers of `gapless preview`, in all their forms.

pub mod input;
pub mod json;
pub mod quota;
pub mod svg;
pub mod text;

use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::View;
use crate::ownership::intent::Origin;
use crate::rollout::{self, Assumed, Forecast, Plan};
use crate::surroundings::Surroundings;
use crate::workload::{Context, Workload};

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

/// What the rollout of a workload, as its profile has completed it, is going to do.
pub fn in_a_line(kind: Kind, completed: &Value, surroundings: &Surroundings) -> String {
    let context = Context { surroundings, ..Context::new(kind, Origin::of_document(completed)) };
    let foretold = Workload::read_view(View::of(completed), context).map(|workload| {
        let plan = Plan { workload: &workload, from: None, assumed: Assumed::default(), quota: None };
        match rollout::foretell(&plan) {
            Ok(forecast) => text::answer(&forecast),
            Err(error) => format!("cannot be foretold: {error}"),
        }
    });
    foretold.unwrap_or_else(|error| format!("cannot be foretold: {error}"))
}
