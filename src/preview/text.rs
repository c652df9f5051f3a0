//! The answers for people.

use std::fmt::Write as _;

use super::{Given, Rollout};
use crate::printable::printable;
use crate::rollout::{Forecast, Millis, Step};

/// So many columns the picture has.
const WIDTH: i64 = 40;
/// And so many lines.
pub const LINES: usize = 16;

/// All answers, each with a picture and with what it stands on.
pub fn write(rollouts: &[Rollout], given: Given) -> String {
    let blocks: Vec<String> = rollouts.iter().map(|rollout| block(rollout, given)).collect();
    blocks.join("\n")
}

fn block(rollout: &Rollout, given: Given) -> String {
    let forecast = &rollout.forecast;
    let mut text = String::new();
    let title = format!("{} {}", rollout.kind, printable(&rollout.name));
    line(&mut text, &format!("{title}: {}", answer(forecast)));
    if let Some(waits_for) = forecast.waits_for.as_ref().filter(|_| forecast.stalls.is_none()) {
        line(&mut text, &format!("  then it waits: {waits_for}"));
    }
    line(&mut text, "");
    picture(forecast, &mut text);
    line(&mut text, "");
    let (told, untold) = speed(rollout, given);
    let printable_all = |sentences: &[String]| sentences.iter().map(|it| printable(it).into()).collect();
    let certain: Vec<String> = printable_all(&forecast.grounds.certain);
    let certain = [vec![bounds(forecast)], certain].concat();
    let assumed: Vec<String> = printable_all(&forecast.grounds.assumed);
    list("certain", &certain, &mut text);
    list("given", &told, &mut text);
    list("assumed", &[untold, assumed].concat(), &mut text);
    text
}

fn list(title: &str, sentences: &[String], text: &mut String) {
    if !sentences.is_empty() {
        line(text, &format!("  {title}:"));
    }
    sentences.iter().for_each(|sentence| line(text, &format!("  - {sentence}")));
}

/// The line that answers the question.
pub fn answer(forecast: &Forecast) -> String {
    let Forecast { replicas, floor, peak, peak_of_active, waves, .. } = forecast;
    let (mut line, separator) = match (&forecast.stalls, forecast.duration) {
        (Some(stalls), _) => (format!("stalls: {}", printable(stalls)), "; "),
        (None, Some(duration)) if *waves > 0 => {
            let (waves, time) = (number(*waves, "wave"), range(duration));
            match (&forecast.waits_for, forecast.steps.last()) {
                _ if forecast.is_per_node => (format!("rolls each node's pod in {time}"), ", "),
                (Some(_), Some(last)) => {
                    let pods = number(*replicas, "pod");
                    (format!("rolls {} of {pods} in {waves}, {time}, and waits", last.new), ", ")
                }
                _ => (format!("rolls {} in {waves}, {time}", number(*replicas, "pod")), ", "),
            }
        }
        (None, _) if forecast.waits_for.is_some() => ("waits before its first step".to_owned(), ", "),
        _ => ("makes no new pod".to_owned(), ", "),
    };
    // Writing to memory does not fail.
    let _ = write!(
        line,
        "{separator}never below {floor} of {replicas}, up to {}",
        number(*peak_of_active, "pod")
    );
    if peak > peak_of_active {
        let _ = write!(line, " ({peak} with those that are still leaving)");
    }
    line
}

/// What holds however fast the application is.
fn bounds(forecast: &Forecast) -> String {
    let Forecast { replicas, floor, peak_of_active, .. } = forecast;
    format!(
        "never fewer than {floor} of {replicas} available, and never more than {} besides those that are leaving",
        number(*peak_of_active, "pod")
    )
}

/// What was said, and what is assumed, of how fast the application is.
fn speed(rollout: &Rollout, given: Given) -> (Vec<String>, Vec<String>) {
    let forecast = &rollout.forecast;
    let mut starts_in =
        format!("a container listens {} after its start", seconds(forecast.assumed.starts_in));
    if rollout.learned_from > 0 {
        let _ = write!(starts_in, ", as the quickest of {} did", number(rollout.learned_from, "running pod"));
    }
    let stops_in = format!("a process ends {} after SIGTERM", seconds(forecast.assumed.stops_in));
    let all = [(starts_in, given.starts_in, "--starts-in"), (stops_in, given.stops_in, "--stops-in")];
    let (told, untold): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, is_given, _)| *is_given);
    let told = told.into_iter().map(|(text, ..)| text).collect();
    (told, untold.into_iter().map(|(text, _, option)| format!("{text} (else: {option})")).collect())
}

/// Pods over time, in the slowest case.
fn picture(forecast: &Forecast, text: &mut String) {
    let most = forecast.steps.iter().map(|step| step.old + step.new + step.terminating).max().unwrap_or(0);
    let unit = (most + WIDTH - 1).div_euclid(WIDTH).max(1);
    let chosen = chosen(&forecast.steps, LINES);
    let bars: Vec<String> = chosen.iter().map(|step| bar(step, unit)).collect();
    let width = bars.iter().map(|bar| bar.chars().count()).max().unwrap_or(0);
    for (place, (step, bar)) in chosen.iter().zip(bars).enumerate() {
        let when = if place == 0 { "before".to_owned() } else { seconds(step.at) };
        line(text, &format!("  {when:>8}  {bar:<width$}  {}", counts(step)));
    }
    let left_out = forecast.steps.len() - chosen.len();
    if left_out > 0 {
        line(text, &format!("  (the slowest case; {} in between left out)", number(left_out, "moment")));
    }
    let scale = if unit > 1 { format!("; a mark is up to {unit} pods") } else { String::new() };
    line(text, &format!("  █ old, ▓ new, ░ not available, · leaving{scale}"));
}

/// No more than so many moments, of them the first and the last.
pub fn chosen(steps: &[Step], most: usize) -> Vec<Step> {
    let last = steps.len().saturating_sub(1);
    if last < most {
        return steps.to_vec();
    }
    (0..most).filter_map(|line| steps.get(line * last / (most - 1))).copied().collect()
}

/// One moment in words.
pub fn moment(step: &Step) -> String {
    format!("at {} {}", seconds(step.at), counts(step))
}

fn bar(step: &Step, unit: i64) -> String {
    let old = step.old.min(step.available);
    let new = step.available - old;
    let waiting = step.old + step.new - step.available;
    let marks =
        |pods: i64, mark: &str| mark.repeat(usize::try_from((pods + unit - 1).div_euclid(unit)).unwrap_or(0));
    [marks(old, "█"), marks(new, "▓"), marks(waiting, "░"), marks(step.terminating, "·")].concat()
}

fn counts(step: &Step) -> String {
    let Step { old, new, available, terminating, .. } = step;
    let leaving = if *terminating > 0 { format!(", {terminating} leaving") } else { String::new() };
    format!("{old} old, {new} new: {available} available{leaving}")
}

fn number<N: ToString>(number: N, what: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Such as `7.6 s`.
pub fn seconds(millis: Millis) -> String {
    format!("{} s", millis as f64 / 1_000.0)
}

/// Whole seconds, such as `22–30 s`; long ones in minutes too.
fn range((least, most): (Millis, Millis)) -> String {
    let whole = |millis: Millis| millis.saturating_add(500) / 1_000;
    match (whole(least), whole(most)) {
        (least, most) if least == most => clock(least),
        (least, most) if most < 120 => format!("{least}–{most} s"),
        (least, most) => format!("{}–{}", clock(least), clock(most)),
    }
}

fn clock(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0 | 1, _) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_time() {
        #[rustfmt::skip]
        let table = [
            (22_400, 30_400, "22–30 s"),
            (600, 600, "1 s"),
            (0, 0, "0 s"),
            (90_000, 119_000, "90–119 s"),
            (100_000, 150_400, "100 s–2 min 30 s"),
            (622_400, 630_400, "10 min 22 s–10 min 30 s"),
            (120_000, 120_000, "2 min"),
        ];
        for (least, most, expected) in table {
            assert_eq!(range((least, most)), expected);
        }
    }

    #[test]
    fn a_bar_is_not_longer_than_the_line() {
        let step = Step { at: 0, old: 7, new: 6, available: 10, terminating: 3 };
        assert_eq!(bar(&step, 1), "███████▓▓▓░░░···");
        assert_eq!(bar(&step, 3), "███▓░·");
        let most = Step { old: 4_000, new: 0, available: 4_000, terminating: 0, ..step };
        assert_eq!(bar(&most, 100).chars().count(), 40);
    }

    #[test]
    fn long_rollouts_are_shortened() {
        let step = |at| Step { at, old: 0, new: 0, available: 0, terminating: 0 };
        let steps: Vec<Step> = (0..100).map(step).collect();
        let chosen = chosen(&steps, LINES);
        assert_eq!((chosen.len(), chosen[0].at, chosen[15].at), (16, 0, 99));
        assert_eq!(super::chosen(&steps[..16], LINES).len(), 16);
        assert_eq!(super::chosen(&[], LINES).len(), 0);
    }
}
