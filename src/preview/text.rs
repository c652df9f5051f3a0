//! The answers for people.

use std::fmt::Write as _;

use super::Rollout;
use crate::printable::printable;
use crate::rollout::{Forecast, Millis};

/// All answers, each with what it stands on.
pub fn write(rollouts: &[Rollout]) -> String {
    let blocks: Vec<String> = rollouts.iter().map(block).collect();
    blocks.join("\n")
}

fn block(rollout: &Rollout) -> String {
    let mut text = String::new();
    let line = format!("{} {}: {}\n", rollout.kind, printable(&rollout.name), answer(&rollout.forecast));
    text.push_str(&line);
    text
}

/// The line that answers the question.
pub fn answer(forecast: &Forecast) -> String {
    let Forecast { replicas, floor, peak, peak_of_active, waves, .. } = forecast;
    let mut line = match (&forecast.stalls, forecast.duration) {
        (None, Some(duration)) => {
            format!("rolls {} in {}, {}", number(*replicas, "pod"), number(*waves, "wave"), range(duration))
        }
        (stalls, _) => format!("never ends: {}", stalls.as_deref().unwrap_or_default()),
    };
    // Writing to memory does not fail.
    let _ = write!(line, ", never below {floor} of {replicas}, up to {}", number(*peak_of_active, "pod"));
    if peak > peak_of_active {
        let _ = write!(line, " ({peak} with those that are still leaving)");
    }
    line
}

fn number<N: ToString>(number: N, what: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Whole seconds, such as `22–30 s`.
fn range((least, most): (Millis, Millis)) -> String {
    let seconds = |millis: Millis| millis.saturating_add(500) / 1_000;
    match (seconds(least), seconds(most)) {
        (least, most) if least == most => format!("{least} s"),
        (least, most) => format!("{least}–{most} s"),
    }
}
