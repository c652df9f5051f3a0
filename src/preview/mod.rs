//! The answers of `gapless preview`, in all their forms.

pub mod input;
pub mod json;
mod plot;
pub mod quota;
pub mod small;
pub mod svg;
pub mod text;

use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::View;
use crate::ownership::intent::Origin;
use crate::report::details::{Details, Picture};
use crate::report::diff;
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

/// What the rollout of a workload, as it is written here, is going to do.
///
/// # Errors
/// Why nothing can be said of it.
fn foretell(kind: Kind, object: &Value, surroundings: &Surroundings) -> Result<Forecast, String> {
    let context = Context { surroundings, ..Context::new(kind, Origin::of_document(object)) };
    let workload = Workload::read_view(View::of(object), context).map_err(|error| error.to_string())?;
    let plan = Plan { workload: &workload, from: None, assumed: Assumed::default(), quota: None };
    rollout::foretell(&plan).map_err(|error| error.to_string())
}

/// What the rollout of a workload, as its profile has completed it, is going to do.
pub fn in_a_line(kind: Kind, completed: &Value, surroundings: &Surroundings) -> String {
    line(&foretell(kind, completed, surroundings))
}

fn line(foretold: &Result<Forecast, String>) -> String {
    match foretold {
        Ok(forecast) => text::answer(forecast),
        Err(error) => format!("cannot be foretold: {error}"),
    }
}

/// What a page shows of a workload: what gapless makes of it, and its rollout as it is and
/// after that.
pub fn details(kind: Kind, object: &Value, completed: &Value, surroundings: &Surroundings) -> Details {
    let (now, then) = (foretell(kind, object, surroundings), foretell(kind, completed, surroundings));
    let picture = |one, other| Picture { answer: line(one), svg: drawn(one, other) };
    let (now, completed_rollout) = (picture(&now, &then), picture(&then, &now));
    Details {
        diff: diff::lines(object, completed),
        completed: (completed_rollout != now).then_some(completed_rollout),
        now,
    }
}

fn drawn(one: &Result<Forecast, String>, beside: &Result<Forecast, String>) -> Option<String> {
    one.as_ref().ok().map(|forecast| small::picture(forecast, beside.as_ref().ok()))
}
