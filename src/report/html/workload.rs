//! One workload: what is found, what gapless adds, and its rollouts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::admission::Outcome;
use crate::markup::escaped;
use crate::offline::source::Place;
use crate::policy::InjectionMode;
use crate::report::details::{LAYERS, Picture, VIEW_BOX};
use crate::report::diff::{Line, Sign};
use crate::report::{Found, Judgement, Report};

/// What a workload may be marked with, the worst first: in markup, and in words.
pub const MARKS: [(&str, &str); 6] = [
    ("d", "denied"),
    ("w", "warned"),
    ("n", "completed next time"),
    ("a", "only announced"),
    ("x", "waived"),
    ("k", "clean"),
];

/// The marks of a workload with their places in [`MARKS`], the worst first.
pub fn marks(judgement: &Judgement) -> Vec<(usize, &'static str)> {
    let has_injections = !judgement.injections.is_empty();
    let holds = [
        judgement.denials().next().is_some(),
        judgement.warnings().next().is_some(),
        judgement.is_completed(),
        has_injections && !judgement.is_completed(),
        !judgement.waivers.is_empty(),
        judgement.is_fine(),
    ];
    let all = MARKS.iter().zip(holds).enumerate();
    all.filter(|(_, (_, holds))| *holds).map(|(place, ((mark, _), _))| (place, *mark)).collect()
}

/// All pictures, each once.
pub struct Pictures<'r>(BTreeMap<&'r str, usize>);

impl<'r> Pictures<'r> {
    /// Those of all workloads.
    pub fn of(report: &'r Report) -> Self {
        let details = report.judgements().filter(|it| is_told(it)).filter_map(|it| it.details.as_ref());
        let all = details.flat_map(|it| [Some(&it.now), it.completed.as_ref()]).flatten();
        let mut pictures = BTreeMap::new();
        for svg in all.filter_map(|picture| picture.svg.as_deref()) {
            let next = pictures.len();
            pictures.entry(svg).or_insert(next);
        }
        Pictures(pictures)
    }

    /// The pictures, to be referred to.
    pub fn symbols(&self) -> String {
        let (width, height) = VIEW_BOX;
        let mut html = "<svg class=\"symbols\" aria-hidden=\"true\">".to_owned();
        html += "<symbol id=\"key\" viewBox=\"0 0 340 14\">";
        for (place, (class, words)) in LAYERS.iter().enumerate() {
            let x = 26 + 84 * place;
            let _ = write!(
                html,
                "<rect class=\"{class}\" x=\"{x}\" y=\"3\" width=\"8\" height=\"8\"/><text x=\"{}\" y=\"10\">{words}</text>",
                x + 12
            );
        }
        html += "</symbol>\n";
        for (svg, number) in &self.0 {
            let _ =
                writeln!(html, "<symbol id=\"p{number}\" viewBox=\"0 0 {width} {height}\">{svg}</symbol>");
        }
        html + "</svg>\n"
    }

    fn figure(&self, title: &str, picture: &Picture) -> String {
        let (width, height) = VIEW_BOX;
        let number = picture.svg.as_deref().and_then(|svg| self.0.get(svg));
        let drawn = number.map(|number| {
            format!(
                "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Pods over time\"><use href=\"#p{number}\"/></svg>"
            )
        });
        let answer = escaped(&picture.answer);
        format!(
            "<figure><figcaption><b>{title}</b>: {answer}</figcaption>{}</figure>",
            drawn.unwrap_or_default()
        )
    }
}

/// Whether there is anything to say of it besides its name.
fn is_told(judgement: &Judgement) -> bool {
    !judgement.is_fine()
        || !judgement.findings.is_empty()
        || !judgement.waivers.is_empty()
        || !judgement.notes.is_empty()
}

/// All that is said of one workload.
pub fn one(judgement: &Judgement, pictures: &Pictures) -> String {
    let subject = &judgement.subject;
    let classes: String = marks(judgement).iter().map(|(_, mark)| format!(" {mark}")).collect();
    let name =
        format!("<b>{}</b> <span class=\"faint\">{}</span>", escaped(&subject.name), escaped(subject.kind));
    if !is_told(judgement) {
        return format!("<p class=\"one{classes}\">{name}</p>\n");
    }
    let mut html =
        format!("<details class=\"one{classes}\"><summary>{name}{}</summary><div>\n", tags(judgement));
    if let Some(place) = subject.place() {
        let _ = writeln!(html, "<p class=\"faint\">{}</p>", escaped(&place.to_string()));
    }
    judgement.findings.iter().for_each(|it| html += &finding(it));
    for problem in &judgement.problems {
        let (id, message, place) =
            (escaped(&problem.id), escaped(&problem.message), place(problem.place.as_ref()));
        let _ = writeln!(html, "<div class=\"f w\"><p>{}</p><p>{message}{place}</p></div>", tag("w", &id));
    }
    for note in &judgement.notes {
        let _ = writeln!(html, "<p>{}{}</p>", escaped(&note.message), place(note.place.as_ref()));
    }
    html += &injections(judgement);
    if let Some(details) = &judgement.details {
        html += "<div class=\"pair\">";
        html += &match &details.completed {
            None => pictures.figure("Its rollout", &details.now),
            Some(completed) => {
                pictures.figure("Rollout as it is", &details.now)
                    + &pictures.figure("Completed by gapless", completed)
            }
        };
        html += "</div>\n<div class=\"key\"><svg viewBox=\"0 0 340 14\" aria-hidden=\"true\"><use href=\"#key\"/></svg></div>\n";
    }
    html + "</div></details>\n"
}

/// What is found, and what is added, each id once.
fn tags(judgement: &Judgement) -> String {
    let findings = judgement.findings.iter().map(|it| (class(it.judged.outcome), it.judged.finding.rule));
    let problems = judgement.problems.iter().map(|it| ("w", it.id.as_str()));
    let mut tags: Vec<String> = Vec::new();
    for (class, id) in findings.chain(problems) {
        let tag = tag(class, &escaped(id));
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let added = judgement
        .injections
        .iter()
        .map(|(id, _)| tag(injection_class(judgement), &format!("+ {}", escaped(id))));
    tags.extend(added);
    tags.concat()
}

fn tag(class: &str, markup: &str) -> String {
    format!(" <span class=\"tag {class}\">{markup}</span>")
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Deny => "d",
        Outcome::Warn | Outcome::Old => "w",
        Outcome::Audit => "i",
        Outcome::Waived => "x",
    }
}

fn injection_class(judgement: &Judgement) -> &'static str {
    if judgement.is_completed() { "n" } else { "a" }
}

fn finding(found: &Found) -> String {
    let judged = &found.judged;
    let class = class(judged.outcome);
    let word = match judged.outcome {
        Outcome::Deny => "denied",
        Outcome::Warn | Outcome::Old => "warning",
        Outcome::Audit => "for the audit log",
        Outcome::Waived => "waived",
    };
    let last = match &judged.waived_because {
        Some(reason) => format!("Waived: {}", escaped(reason)),
        None => format!("Fix: {}", escaped(&judged.finding.fix)),
    };
    format!(
        "<div class=\"f {class}\"><p>{} {word}</p><p>{}</p><p><code>{}</code>{}</p><p>{last}</p></div>\n",
        tag(class, &escaped(judged.finding.rule)).trim_start(),
        escaped(&judged.finding.message),
        escaped(&judged.finding.field.to_string()),
        place(found.place.as_ref()),
    )
}

/// Where it stands in a file.
pub fn place(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| {
        format!(" <span class=\"faint\">{}</span>", escaped(&place.to_string()))
    })
}

fn injections(judgement: &Judgement) -> String {
    if judgement.injections.is_empty() {
        return String::new();
    }
    let is_written = judgement.subject.written.is_some();
    let title = match judgement.injection {
        InjectionMode::Inject if is_written => "gapless adds when it is applied",
        InjectionMode::Inject => "gapless adds at its next rollout",
        InjectionMode::Announce => "gapless would add, but its profile only announces it",
    };
    let class = injection_class(judgement);
    let mut html = format!("<div class=\"f {class}\"><p>{title}:</p>");
    for (_, message) in &judgement.injections {
        let _ = write!(html, "<p>{}</p>", escaped(message));
    }
    if let Some(details) = judgement.details.as_ref().filter(|details| !details.diff.is_empty()) {
        html += &format!("<pre>{}</pre>", diff(&details.diff));
    }
    html + "</div>\n"
}

/// The lines, those of the same sign in one element: of a large cluster there are many.
fn diff(lines: &[Line]) -> String {
    let mut html = String::new();
    for same in lines.chunk_by(|(one, _), (other, _)| one == other) {
        let (start, mark, end) = match same.first() {
            Some((Sign::Added, _)) => ("<ins>", '+', "</ins>"),
            Some((Sign::Removed, _)) => ("<del>", '-', "</del>"),
            _ => ("", ' ', "\n"),
        };
        let lines: Vec<String> = same.iter().map(|(_, line)| format!("{mark} {}", escaped(line))).collect();
        html += &format!("{start}{}{end}", lines.join("\n"));
    }
    html
}
