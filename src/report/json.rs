//! For programs: one JSON object, whose fields keep their names and meaning.

use serde::{Serialize, Serializer};

use super::{Report, Subject, Summary};
use crate::admission::Judged;
use crate::finding::Action;
use crate::offline::source::Place;
use crate::printable;

/// What the fields are, for the help of the command line.
pub const SHAPE: &str = "\
The form json is one object:
  profile      by which it was judged
  findings     rule, action (of the rule: Deny, Warn, Audit), outcome (deny,
               warn, audit, waived), field, message, fix, waivedBecause
  problems     annotations that have no effect: id, message
  notes        what may be read otherwise than kubectl does: message
  injections   what would be injected: default, message
  skipped      workloads that are not judged: reason, message; the reason partial
               is that of a part of an object, such as a patch for Kustomize
  errors       what cannot be read: message, hint
  summary      files, judged (objects), deployments, denied (Deployments), warnings,
               audited, waived, skipped, errors, injections (Deployments, by default)
All between profile and summary are lists. Their items have file, line and
column (from 1), and all but errors have document (its number in the file,
from 0), kind, namespace and name. What is not known is null.";

#[derive(Serialize)]
struct ReportJson<'r> {
    profile: &'r str,
    findings: Vec<FoundJson<'r>>,
    problems: Vec<ProblemJson<'r>>,
    notes: Vec<NoteJson<'r>>,
    injections: Vec<InjectionJson<'r>>,
    skipped: Vec<SkippedJson<'r>>,
    errors: Vec<ErrorJson<'r>>,
    summary: Summary,
}

#[derive(Serialize)]
struct FoundJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    #[serde(flatten)]
    subject: SubjectJson<'r>,
    #[serde(flatten)]
    finding: FindingJson<'r>,
}

/// A finding, as `check` and `audit` write it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FindingJson<'r> {
    rule: &'r str,
    action: Action,
    outcome: &'r str,
    field: String,
    message: &'r str,
    fix: &'r str,
    waived_because: Option<&'r str>,
}

impl<'r> From<&'r Judged> for FindingJson<'r> {
    fn from(judged: &'r Judged) -> Self {
        FindingJson {
            rule: judged.finding.rule,
            action: judged.action,
            outcome: judged.outcome.as_str(),
            field: judged.finding.field.to_string(),
            message: &judged.finding.message,
            fix: &judged.finding.fix,
            waived_because: judged.waived_because.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ProblemJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    #[serde(flatten)]
    subject: SubjectJson<'r>,
    id: &'r str,
    message: &'r str,
}

#[derive(Serialize)]
struct NoteJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    #[serde(flatten)]
    subject: SubjectJson<'r>,
    message: &'r str,
}

#[derive(Serialize)]
struct InjectionJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    #[serde(flatten)]
    subject: SubjectJson<'r>,
    default: &'r str,
    message: &'r str,
}

#[derive(Serialize)]
struct SkippedJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    #[serde(flatten)]
    subject: SubjectJson<'r>,
    reason: &'r str,
    message: &'r str,
}

#[derive(Serialize)]
struct ErrorJson<'r> {
    #[serde(flatten)]
    place: PlaceJson,
    message: &'r str,
    hint: Option<&'r str>,
}

#[derive(Serialize)]
struct PlaceJson {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
}

#[derive(Serialize)]
struct SubjectJson<'r> {
    document: usize,
    kind: &'static str,
    namespace: Option<&'r str>,
    name: &'r str,
}

/// The report as JSON.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(report: &Report) -> serde_json::Result<String> {
    let findings = report.findings().map(|(subject, found)| FoundJson {
        place: (&found.place).into(),
        subject: subject.into(),
        finding: (&found.judged).into(),
    });
    let problems = report.problems().map(|(subject, problem)| ProblemJson {
        place: (&problem.place).into(),
        subject: subject.into(),
        id: &problem.id,
        message: &problem.message,
    });
    let notes = report.notes().map(|(subject, note)| NoteJson {
        place: (&note.place).into(),
        subject: subject.into(),
        message: &note.message,
    });
    let injections = report.judgements().flat_map(|judgement| {
        judgement.injections.iter().map(|(default, message)| InjectionJson {
            place: (&judgement.subject.place).into(),
            subject: (&judgement.subject).into(),
            default,
            message,
        })
    });
    let skipped = report.skipped().map(|skipped| SkippedJson {
        place: (&skipped.subject.place).into(),
        subject: (&skipped.subject).into(),
        reason: skipped.reason.as_str(),
        message: &skipped.message,
    });
    let errors = report.errors().map(|error| ErrorJson {
        place: (&error.place).into(),
        message: &error.message,
        hint: error.hint.as_deref(),
    });
    let json = ReportJson {
        profile: &report.profile,
        findings: findings.collect(),
        problems: problems.collect(),
        notes: notes.collect(),
        injections: injections.collect(),
        skipped: skipped.collect(),
        errors: errors.collect(),
        summary: report.summary(),
    };
    printable::to_json(&json).map(|text| text + "\n")
}

impl From<&Place> for PlaceJson {
    fn from(place: &Place) -> Self {
        PlaceJson {
            file: place.name.to_string(),
            line: place.position.map(|position| position.line),
            column: place.position.map(|position| position.column),
        }
    }
}

impl<'r> From<&'r Subject> for SubjectJson<'r> {
    fn from(subject: &'r Subject) -> Self {
        SubjectJson {
            document: subject.document,
            kind: subject.kind,
            namespace: subject.namespace.as_deref(),
            name: &subject.name,
        }
    }
}

/// The numbers of the defaults as a map.
pub(super) fn as_map<S: Serializer>(
    injections: &[(&'static str, usize)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(injections.iter().copied())
}
