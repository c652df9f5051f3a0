//! For people: each finding with the line that it is about.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::files::Checked;
use super::{Entry, Found, InputError, Judgement, Note, Problem, Reason, Skipped, Subject};
use crate::admission::{Outcome, Skip};
use crate::offline::source::Place;
use crate::printable::printable;

/// The report, with terminal styles in it.
pub fn write(checked: &Checked) -> String {
    let mut text = String::new();
    for entry in &checked.report.entries {
        match entry {
            Entry::Judged(judgement) => judged(judgement, &mut text),
            // Where nothing is judged, the last line says so once.
            Entry::Skipped(Skipped { reason: Reason::Gate(Skip::ProfileOff), .. })
                if !checked.report.is_by_namespace => {}
            Entry::Skipped(skipped) => self::skipped(skipped, &mut text),
            Entry::Error(error) => self::error(error, &mut text),
        }
    }
    text.push_str(&clean(&checked.line()));
    text.push('\n');
    text
}

fn judged(judgement: &Judgement, text: &mut String) {
    for found in &judgement.findings {
        finding(judgement, found, text);
    }
    for problem in &judgement.problems {
        self::problem(judgement, problem, text);
    }
    for note in &judgement.notes {
        self::note(judgement, note, text);
    }
    if !judgement.injections.is_empty() {
        let title = format!("gapless would inject into {}", judgement.subject);
        let lines = judgement.injections.iter().map(|(id, injection)| (*id, injection.clone()));
        message(Level::NOTE, None, &title, beginning(&judgement.subject).as_ref(), lines, text);
    }
    if let Some(forecast) = &judgement.forecast {
        let title = format!("{} {forecast}", judgement.subject);
        let place = beginning(&judgement.subject);
        message(Level::NOTE.with_name("rollout"), None, &title, place.as_ref(), [], text);
    }
}

fn finding(judgement: &Judgement, found: &Found, text: &mut String) {
    let finding = &found.judged.finding;
    let level = match found.judged.outcome {
        Outcome::Deny => Level::ERROR,
        Outcome::Warn | Outcome::Old => Level::WARNING,
        Outcome::Audit => Level::NOTE.with_name("audit"),
        Outcome::Waived => Level::NOTE.with_name("waived"),
    };
    let field = format!("{} of {}", finding.field, judgement.subject);
    let mut lines = vec![("field", field)];
    match &found.judged.waived_because {
        Some(reason) => lines.push(("waived", reason.clone())),
        None => lines.push(("fix", finding.fix.clone())),
    }
    lines.push(("why", format!("gapless rules {}", finding.rule)));
    message(level, Some(finding.rule), &finding.message, found.place.as_ref(), lines, text);
}

fn problem(judgement: &Judgement, problem: &Problem, text: &mut String) {
    let lines = [("of", judgement.subject.to_string())];
    message(Level::WARNING, Some(&problem.id), &problem.message, problem.place.as_ref(), lines, text);
}

fn note(judgement: &Judgement, note: &Note, text: &mut String) {
    let lines = [("of", judgement.subject.to_string())];
    message(Level::NOTE, None, &note.message, note.place.as_ref(), lines, text);
}

fn skipped(skipped: &Skipped, text: &mut String) {
    let title = format!("{} {}", skipped.subject, skipped.message);
    let place = beginning(&skipped.subject);
    message(Level::NOTE.with_name("skipped"), None, &title, place.as_ref(), [], text);
}

/// Where it stands, without the line itself.
fn beginning(subject: &Subject) -> Option<Place> {
    subject.place().map(|place| Place { excerpt: None, ..place.clone() })
}

/// Writes that something cannot be read or worked with.
pub fn error(error: &InputError, text: &mut String) {
    let hint = error.hint.iter().map(|hint| ("help", hint.clone()));
    message(Level::ERROR, None, &error.message, Some(&error.place), hint, text);
}

/// One message: what is wrong, where, and what else there is to say.
fn message(
    level: Level,
    id: Option<&str>,
    title: &str,
    place: Option<&Place>,
    lines: impl IntoIterator<Item = (&'static str, String)>,
    text: &mut String,
) {
    let title = match place {
        Some(place) if place.excerpt.is_none() => format!("{place}: {title}"),
        _ => title.to_owned(),
    };
    let title = level.primary_title(clean(&title));
    let mut group = Group::with_title(match id {
        Some(id) => title.id(clean(id)),
        None => title,
    });
    if let Some(place @ Place { position: Some(position), excerpt: Some(excerpt), .. }) = place {
        let path = clean(&place.name.to_string());
        let annotation = AnnotationKind::Primary.span(excerpt.start..excerpt.end);
        let snippet = Snippet::source(excerpt.line.as_str()).line_start(position.line).annotation(annotation);
        group = match excerpt.is_cut {
            false => group.element(snippet.path(path)),
            // The column in the excerpt is not that in the file.
            true => {
                let origin = Origin::path(path).line(position.line).char_column(position.column);
                group.element(origin).element(snippet)
            }
        };
    }
    let lines = lines.into_iter().map(|(name, line)| Level::NOTE.with_name(name).message(clean(&line)));
    text.push_str(&Renderer::styled().render(&[group.elements(lines)]));
    text.push_str("\n\n");
}

fn clean(text: &str) -> String {
    printable(text.trim()).into_owned()
}
