//! What else there is to list: waivers, what was not judged, and what could not be read.

use std::collections::BTreeMap;

use super::workload;
use crate::markup::escaped;
use crate::report::count::plural;
use crate::report::{Report, Skipped, Subject};
use crate::waiver::Waiver;

/// All workloads in one line, each in the part of the worst that is said of it.
pub fn bar(report: &Report) -> String {
    const WIDTH: f64 = 1000.0;
    let worst = |it| workload::marks(it).first().map_or("k", |(_, mark)| *mark);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    report.judgements().for_each(|it| *counts.entry(worst(it)).or_default() += 1);
    let all: usize = counts.values().sum();
    if all == 0 {
        return String::new();
    }
    let (mut parts, mut legend, mut x) = (String::new(), String::new(), 0.0);
    for (mark, words) in workload::MARKS {
        let Some(count) = counts.get(mark) else { continue };
        let width = WIDTH * *count as f64 / all as f64;
        parts += &format!("<rect class=\"{mark}\" x=\"{x:.1}\" width=\"{width:.1}\" height=\"14\"/>");
        legend += &format!(
            "<li><svg class=\"fill\" viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{mark}\" width=\"10\" \
             height=\"10\"/></svg><b>{count}</b> {words}</li>"
        );
        x += width;
    }
    format!(
        "<svg class=\"bar fill\" viewBox=\"0 0 {WIDTH} 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{parts}</svg>\n\
         <ul class=\"legend\" aria-label=\"Workloads by the worst that is said of each\">{legend}</ul>\n"
    )
}

/// The waivers, those that end first at the top.
pub fn waivers(report: &Report) -> String {
    let mut all: Vec<(&Waiver, &Subject)> =
        report.judgements().flat_map(|it| it.waivers.iter().map(|waiver| (waiver, &it.subject))).collect();
    if all.is_empty() {
        return String::new();
    }
    all.sort_by_cached_key(|(waiver, subject)| {
        (waiver.until.is_none(), waiver.until, subject.to_string(), waiver.id.clone())
    });
    let mut html =
        "<div class=\"wide\"><table>\n<caption>What owners took upon themselves, the soonest to end first.\
                    </caption>\n<thead><tr><th scope=\"col\">Last day</th><th scope=\"col\">Workload</th>\
                    <th scope=\"col\">Waived</th><th scope=\"col\">Reason</th></tr></thead>\n<tbody>\n"
            .to_owned();
    for (waiver, subject) in all {
        let until = waiver
            .until
            .map_or_else(|| "<span class=\"faint\">none</span>".to_owned(), |day| day.to_string());
        html += &format!(
            "<tr><td class=\"day\">{until}</td><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
            escaped(&subject.to_string()),
            escaped(&waiver.id),
            escaped(&waiver.reason)
        );
    }
    html + "</tbody>\n</table></div>\n"
}

/// What could not be read or listed.
pub fn unread(report: &Report, more: &[(String, String)]) -> String {
    let errors = report.errors().map(|error| {
        let hint = error.hint.iter().map(|hint| format!("; {hint}"));
        (error.place.to_string(), format!("{}{}", error.message, hint.collect::<String>()))
    });
    let rows: Vec<(String, String)> = errors.chain(more.iter().cloned()).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut html =
        "<div class=\"wide\"><table>\n<caption>Of these nothing is known, so that nothing is said of them.\
                    </caption>\n<tbody>\n"
            .to_owned();
    for (what, why) in rows {
        html += &format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escaped(&what), escaped(&why));
    }
    html + "</tbody>\n</table></div>\n"
}

/// What was not judged, by reason.
pub fn skipped(report: &Report) -> String {
    let mut by_reason: BTreeMap<&str, Vec<&Skipped>> = BTreeMap::new();
    report.skipped().for_each(|it| by_reason.entry(it.reason.as_str()).or_default().push(it));
    if by_reason.is_empty() {
        return String::new();
    }
    let mut html = "".to_owned();
    for (reason, skipped) in by_reason {
        let message = skipped.first().map_or("", |it| it.message.as_str());
        html += &format!(
            "<details class=\"rest\"><summary>{}: {} ({reason})</summary>\n<ul>\n",
            plural(skipped.len(), "object"),
            escaped(message.trim_start_matches("is not judged: "))
        );
        for it in skipped {
            let why = if it.message == message { String::new() } else { format!(" {}", it.message) };
            html += &format!(
                "<li>{}{}{}</li>\n",
                escaped(&it.subject.to_string()),
                escaped(&why),
                workload::place(it.subject.place())
            );
        }
        html += "</ul></details>\n";
    }
    html
}
