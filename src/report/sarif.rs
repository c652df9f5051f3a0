//! For code scanning: SARIF 2.1.0
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use std::path::{Component, Path};

use serde_json::{Value, json};

use super::{Found, InputError, Problem, Report, Subject};
use crate::admission::Outcome;
use crate::finding::Action;
use crate::offline::source::{Name, Place};
use crate::policy::Profile;
use crate::printable;
use crate::rules::{RULES, Rule};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The base of relative paths: the directory where gapless ran, which for code
/// scanning is that of the repository.
const BASE: &str = "%SRCROOT%";

/// The id of results about annotations that have no effect, which come from no
/// rule.
const PROBLEM: &str = "annotation-without-effect";

/// The report as SARIF; `profile` is the one by which it was judged, unless
/// that is `off`.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(report: &Report, profile: Option<&Profile>) -> serde_json::Result<String> {
    let descriptors: Vec<Value> = RULES.iter().map(|it| rule(it, profile)).chain([problem_rule()]).collect();
    let findings = report.findings().map(|(subject, found)| finding(subject, found));
    let problems = report.problems().map(|(subject, problem)| self::problem(subject, problem));
    let results: Vec<Value> = findings.chain(problems).collect();
    let errors = report.errors().map(notification);
    let notes = report
        .notes()
        .map(|(subject, note)| notify("note", &format!("{subject}: {}", note.message), note.place.as_ref()));
    let notifications: Vec<Value> = errors.chain(notes).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "gapless",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.errors().next().is_none(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    printable::to_json(&log).map(|text| text + "\n")
}

fn rule(rule: &Rule, profile: Option<&Profile>) -> Value {
    let action = profile.map_or(Action::Off, |profile| profile.action(rule));
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "help": {"text": rule.page, "markdown": rule.page},
        "defaultConfiguration": {"enabled": action != Action::Off, "level": level(action)},
    })
}

fn problem_rule() -> Value {
    let summary = "an annotation for gapless that has no effect";
    json!({
        "id": PROBLEM,
        "shortDescription": {"text": summary},
        "help": {"text": "A waiver needs the id of a rule or default, and a reason. See: gapless rules"},
        "defaultConfiguration": {"level": level(Action::Warn)},
    })
}

fn level(action: Action) -> &'static str {
    match action {
        Action::Deny => "error",
        Action::Warn => "warning",
        Action::Audit => "note",
        Action::Off => "none",
    }
}

fn finding(subject: &Subject, found: &Found) -> Value {
    let finding = &found.judged.finding;
    let level = match found.judged.outcome {
        Outcome::Deny => level(Action::Deny),
        Outcome::Warn | Outcome::Old => level(Action::Warn),
        Outcome::Audit => level(Action::Audit),
        Outcome::Waived => level(found.judged.action),
    };
    let message = format!("{} of {subject}: {}\nFix: {}", finding.field, finding.message, finding.fix);
    let suppressions = (found.judged.outcome == Outcome::Waived)
        .then(|| json!([{"kind": "inSource", "justification": found.judged.waived_because}]));
    with(result(finding.rule, level, message, found.place.as_ref()), "suppressions", suppressions)
}

fn problem(subject: &Subject, problem: &Problem) -> Value {
    result(PROBLEM, level(Action::Warn), format!("{subject}: {}", problem.message), problem.place.as_ref())
}

fn result(id: &str, level: &str, message: String, place: Option<&Place>) -> Value {
    json!({
        "ruleId": id,
        // The rule without effect comes after all others.
        "ruleIndex": RULES.iter().position(|rule| rule.id == id).unwrap_or(RULES.len()),
        "level": level,
        "message": {"text": message},
        "locations": place.map(location).as_slice(),
    })
}

fn notification(error: &InputError) -> Value {
    let hint = error.hint.iter().map(|hint| format!("\n{hint}"));
    let message = format!("{}{}", error.message, hint.collect::<String>());
    notify("error", &message, Some(&error.place))
}

fn notify(level: &str, message: &str, place: Option<&Place>) -> Value {
    json!({"level": level, "message": {"text": message}, "locations": place.map(location).as_slice()})
}

fn location(place: &Place) -> Value {
    let region = place.position.map(|it| json!({"startLine": it.line, "startColumn": it.column}));
    json!({"physicalLocation": with(json!({"artifactLocation": artifact(&place.name)}), "region", region)})
}

/// The object with one more field, if that has a value: null is none in SARIF.
fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

/// A file as a URI, relative to the directory where gapless runs if it is in it.
fn artifact(name: &Name) -> Value {
    let Name::Path(path) = name else { return json!({"uri": "stdin"}) };
    let here = std::env::current_dir().unwrap_or_default();
    let relative = path.strip_prefix(&here).unwrap_or(path);
    if relative.is_absolute() {
        return json!({"uri": format!("file://{}", uri(relative))});
    }
    json!({"uri": uri(relative), "uriBaseId": BASE})
}

/// The path with everything escaped that a URI has another meaning for
/// (RFC 3986, 2.3).
fn uri(path: &Path) -> String {
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    let escaped =
        parts.map(|part| part.as_os_str().as_encoded_bytes().iter().map(escape).collect::<String>());
    let uri = escaped.collect::<Vec<_>>().join("/");
    if path.is_absolute() { format!("/{uri}") } else { uri }
}

fn escape(byte: &u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        let here = std::env::current_dir().unwrap();
        let table = [
            (Path::new("./k8s/a b.yaml"), json!({"uri": "k8s/a%20b.yaml", "uriBaseId": BASE})),
            (Path::new("ä#1.yaml"), json!({"uri": "%C3%A4%231.yaml", "uriBaseId": BASE})),
            (Path::new("../a.yaml"), json!({"uri": "../a.yaml", "uriBaseId": BASE})),
            (&here.join("k8s/a.yaml"), json!({"uri": "k8s/a.yaml", "uriBaseId": BASE})),
            (Path::new("/a:b/c.yaml"), json!({"uri": "file:///a%3Ab/c.yaml"})),
        ];
        for (path, expected) in table {
            assert_eq!(artifact(&Name::Path(path.to_owned())), expected);
        }
    }
}
