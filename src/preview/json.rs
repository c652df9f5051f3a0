//! The answers for programs.

use serde::Serialize;

use super::Rollout;
use crate::rollout::{Millis, Step};

#[derive(Serialize)]
struct Answers<'r> {
    rollouts: Vec<Answer<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'r> {
    kind: &'static str,
    namespace: Option<&'r str>,
    name: &'r str,
    replicas: i32,
    max_unavailable: Option<i64>,
    max_surge: Option<i64>,
    floor: i64,
    peak: i64,
    waves: usize,
    stalls: Option<&'r str>,
    seconds: Option<Seconds>,
    assumed: Assumed,
    steps: Vec<Moment>,
}

#[derive(Serialize)]
struct Seconds {
    least: f64,
    most: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Assumed {
    starts_in: f64,
    stops_in: f64,
    pull: f64,
}

#[derive(Serialize)]
struct Moment {
    at: f64,
    old: i64,
    new: i64,
    available: i64,
    terminating: i64,
}

fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1_000.0
}

impl<'r> Answer<'r> {
    fn of(rollout: &'r Rollout) -> Self {
        let forecast = &rollout.forecast;
        let moment = |step: &Step| {
            let Step { at, old, new, available, terminating } = *step;
            Moment { at: seconds(at), old, new, available, terminating }
        };
        Answer {
            kind: rollout.kind.name(),
            namespace: rollout.namespace.as_deref(),
            name: &rollout.name,
            replicas: forecast.replicas,
            max_unavailable: forecast.max_unavailable,
            max_surge: forecast.max_surge,
            floor: forecast.floor,
            peak: forecast.peak,
            waves: forecast.waves,
            stalls: forecast.stalls.as_deref(),
            seconds: forecast
                .duration
                .map(|(least, most)| Seconds { least: seconds(least), most: seconds(most) }),
            assumed: Assumed {
                starts_in: seconds(forecast.assumed.starts_in),
                stops_in: seconds(forecast.assumed.stops_in),
                pull: seconds(forecast.assumed.pull),
            },
            steps: forecast.steps.iter().map(moment).collect(),
        }
    }
}

/// The answers as one JSON object, with a line break at its end.
///
/// # Errors
/// If they cannot be written as JSON.
pub fn write(rollouts: &[Rollout]) -> serde_json::Result<String> {
    let answers = Answers { rollouts: rollouts.iter().map(Answer::of).collect() };
    serde_json::to_string_pretty(&answers).map(|text| text + "\n")
}
