//! The answers as a picture for a page: light or dark as the page's reader likes it, with
//! text for screen readers.

use std::fmt::Write as _;

use super::plot::{Frame, Plot};
use super::{Rollout, text};
use crate::markup::escaped;
use crate::printable::printable;
use crate::report::details::LAYERS;
use crate::rollout::Millis;

/// In the units of the picture, which are pixels unless the page says otherwise.
const WIDTH: f64 = 760.0;
const PANEL: f64 = 290.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 92.0;
const PLOT_WIDTH: f64 = 690.0;
const PLOT_HEIGHT: f64 = 140.0;

/// A line of text holds so many characters.
const LINE: usize = 105;

const FRAME: Frame =
    Frame { left: LEFT, top: TOP, width: PLOT_WIDTH, height: PLOT_HEIGHT, digits: 1, moments: 500 };

/// Colours that can be told from one another in both schemes, also by who does not see
/// them all.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.name{font-weight:600}.small{font-size:11px;fill:#59636e}
.old{fill:#8c959f}.new{fill:#1a7f37}.waiting{fill:#d4a72c}.leaving{fill:#eac5c3}
.axis{stroke:#59636e;fill:none}.asked{stroke:#1f2328;stroke-dasharray:5 4;fill:none}.page{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.old{fill:#656c76}.new{fill:#3fb950}
.waiting{fill:#d29922}.leaving{fill:#5d3a3a}.axis{stroke:#9198a1}.asked{stroke:#e6edf3}.page{fill:#0d1117}}";

/// All answers in one picture, one below the other.
pub fn write(rollouts: &[Rollout]) -> String {
    let height = PANEL * rollouts.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    );
    for (place, rollout) in rollouts.iter().enumerate() {
        panel(place, rollout, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(place: usize, rollout: &Rollout, svg: &mut String) {
    let forecast = &rollout.forecast;
    let title = format!("{} {}", rollout.kind, printable(&rollout.name));
    let answer = text::answer(forecast);
    let moments: Vec<String> = text::chosen(&forecast.steps, text::LINES).iter().map(text::moment).collect();
    let y = PANEL * place as f64;
    add(
        svg,
        &format!("<g transform=\"translate(0 {y})\" role=\"img\" aria-labelledby=\"t{place} d{place}\">"),
    );
    add(svg, &format!("<title id=\"t{place}\">{}</title>", escaped(&title)));
    let description = format!("{answer}. Pods over time: {}.", moments.join("; "));
    add(svg, &format!("<desc id=\"d{place}\">{}</desc>", escaped(&description)));
    add(svg, &format!("<text class=\"name\" x=\"12\" y=\"24\">{}</text>", escaped(&title)));
    for (number, line) in wrapped(&answer).iter().take(3).enumerate() {
        let y = 44.0 + 17.0 * number as f64;
        add(svg, &format!("<text x=\"12\" y=\"{y}\">{}</text>", escaped(line)));
    }
    draw(&Plot::of(forecast, FRAME), svg);
    legend(svg);
    add(svg, "</g>");
}

fn draw(plot: &Plot, svg: &mut String) {
    for layer in 0..LAYERS.len() {
        add(svg, &plot.layer(layer));
    }
    let (bottom, right) = (TOP + PLOT_HEIGHT, LEFT + PLOT_WIDTH);
    add(svg, &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>"));
    add(svg, &plot.asked());
    for pods in plot.marks() {
        let (x, y) = (LEFT - 6.0, plot.y(pods) + 4.0);
        add(svg, &format!("<text class=\"small\" text-anchor=\"end\" x=\"{x}\" y=\"{y:.1}\">{pods}</text>"));
    }
    for at in ticks(plot.end) {
        let (x, y) = (plot.x(at), bottom + 16.0);
        let label = text::seconds(at);
        add(
            svg,
            &format!("<text class=\"small\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y}\">{label}</text>"),
        );
    }
}

fn legend(svg: &mut String) {
    let y = TOP + PLOT_HEIGHT + 36.0;
    let mut x = LEFT;
    for (class, words) in LAYERS {
        let (box_y, text_x) = (y - 9.0, x + 15.0);
        add(svg, &format!("<rect class=\"{class}\" x=\"{x}\" y=\"{box_y}\" width=\"10\" height=\"10\"/>"));
        add(svg, &format!("<text class=\"small\" x=\"{text_x}\" y=\"{y}\">{words}</text>"));
        x += 115.0;
    }
    let words = "dashed: the pods asked for; the slowest case";
    add(svg, &format!("<text class=\"small\" x=\"{x}\" y=\"{y}\">{words}</text>"));
}

/// Round moments, no more than ten.
fn ticks(end: Millis) -> Vec<Millis> {
    let round = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600];
    let fits = |seconds: &Millis| end / (seconds * 1_000) <= 9;
    let step = round.into_iter().find(fits).unwrap_or(end / 10_000).max(1) * 1_000;
    (0..=end / step).map(|number| number * step).collect()
}

/// The words in lines.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full = |line: &String| line.chars().count() + word.chars().count() >= LINE;
        if lines.last().is_some_and(is_full) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let space = if line.is_empty() { "" } else { " " };
            // Writing to memory does not fail.
            let _ = write!(line, "{space}{word}");
        }
    }
    lines
}

fn add(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_moments() {
        for (end, step, count) in
            [(1_000, 1_000, 2), (9_900, 1_000, 10), (42_400, 5_000, 9), (642_400, 120_000, 6)]
        {
            let ticks = ticks(end);
            assert_eq!((ticks.len(), ticks[1]), (count, step), "{end}");
        }
        assert!(ticks(Millis::MAX).len() <= 11);
    }

    #[test]
    fn words_in_lines() {
        assert_eq!(wrapped("a b"), ["a b"]);
        let long = "word ".repeat(60);
        let lines = wrapped(long.trim_end());
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() < LINE), "{lines:?}");
        assert_eq!(lines.join(" "), long.trim_end());
    }
}
