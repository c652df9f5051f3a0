//! For programs: one JSON object, whose fields keep their names and meaning.

use serde::{Serialize, Serializer};

use super::files::{Checked, Summary};
use super::{Judgement, Report, Subject};
use crate::admission::Judged;
use crate::finding::Action;
use crate::offline::source::Place;
use crate::policy::InjectionMode;
use crate::printable;

/// What the fields are, for the help of the command line.
pub const SHAPE: &str = "\
The form json is one object:
  profile      by which it was judged; with --cluster the default one, and each
               item but errors and skipped has its own
  findings     rule, action (of the rule: Deny, Warn, Audit), outcome (deny,
               warn, audit, waived, old: warns, for it was there before), field, message, fix, waivedBecause
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
    findings: Vec<Item<'r, FindingJson<'r>>>,
    problems: Vec<Item<'r, ProblemJson<'r>>>,
    notes: Vec<Item<'r, NoteJson<'r>>>,
    injections: Vec<Item<'r, InjectionJson<'r>>>,
    skipped: Vec<Item<'r, SkippedJson<'r>>>,
    errors: Vec<ErrorJson<'r>>,
    summary: Summary,
}

/// Something about one workload. Of a file it has its place, of a cluster the profile.
#[derive(Serialize)]
pub(crate) struct Item<'r, T> {
    #[serde(flatten)]
    place: Option<PlaceJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<usize>,
    kind: &'static str,
    namespace: Option<&'r str>,
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'r str>,
    #[serde(flatten)]
    what: T,
}

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

#[derive(Serialize)]
pub(crate) struct ProblemJson<'r> {
    id: &'r str,
    message: &'r str,
}

#[derive(Serialize)]
struct NoteJson<'r> {
    message: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InjectionJson<'r> {
    default: &'r str,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced_only: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct SkippedJson<'r> {
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

/// What was said of files, as JSON.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(checked: &Checked) -> serde_json::Result<String> {
    let report = &checked.report;
    let errors = report.errors().map(|error| ErrorJson {
        place: (&error.place).into(),
        message: &error.message,
        hint: error.hint.as_deref(),
    });
    let json = ReportJson {
        profile: &report.profile,
        findings: findings(report),
        problems: problems(report),
        notes: of_each(report, |it| {
            it.notes.iter().map(|note| (note.place.as_ref(), NoteJson { message: &note.message }))
        }),
        injections: injections(report),
        skipped: skipped(report),
        errors: errors.collect(),
        summary: checked.summary(),
    };
    printable::to_json(&json).map(|text| text + "\n")
}

/// What `list` finds in all workloads, one after the other, with its place.
pub(crate) fn of_each<'r, T, I>(report: &'r Report, list: impl Fn(&'r Judgement) -> I) -> Vec<Item<'r, T>>
where
    I: IntoIterator<Item = (Option<&'r Place>, T)>,
{
    let mut items = Vec::new();
    for judgement in report.judgements() {
        let Judgement { subject, profile, .. } = judgement;
        let profile = report.is_by_namespace.then_some(profile.as_str());
        let found = list(judgement).into_iter();
        items.extend(found.map(|(place, what)| Item { profile, ..item(subject, place, what) }));
    }
    items
}

/// Something about one object, whether it was judged or not.
pub(crate) fn item<'r, T>(subject: &'r Subject, place: Option<&Place>, what: T) -> Item<'r, T> {
    Item {
        place: place.map(PlaceJson::from),
        document: subject.written.as_ref().map(|written| written.document),
        kind: subject.kind,
        namespace: subject.namespace.as_deref(),
        name: &subject.name,
        profile: None,
        what,
    }
}

/// The findings in all workloads.
pub(crate) fn findings(report: &Report) -> Vec<Item<'_, FindingJson<'_>>> {
    of_each(report, |it| it.findings.iter().map(|found| (found.place.as_ref(), (&found.judged).into())))
}

/// The annotations without effect in all workloads.
pub(crate) fn problems(report: &Report) -> Vec<Item<'_, ProblemJson<'_>>> {
    of_each(report, |it| {
        let problems = it.problems.iter();
        problems.map(|it| (it.place.as_ref(), ProblemJson { id: &it.id, message: &it.message }))
    })
}

/// What would be injected into all workloads.
pub(crate) fn injections(report: &Report) -> Vec<Item<'_, InjectionJson<'_>>> {
    of_each(report, |it| {
        let announced_only = it.subject.written.is_none().then_some(it.injection == InjectionMode::Announce);
        it.injections.iter().map(move |(default, message)| {
            (it.subject.place(), InjectionJson { default, message, announced_only })
        })
    })
}

/// The workloads that were not judged.
pub(crate) fn skipped(report: &Report) -> Vec<Item<'_, SkippedJson<'_>>> {
    let all = report.skipped();
    all.map(|it| {
        let json = SkippedJson { reason: it.reason.as_str(), message: &it.message };
        item(&it.subject, it.subject.place(), json)
    })
    .collect()
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

impl From<&Place> for PlaceJson {
    fn from(place: &Place) -> Self {
        PlaceJson {
            file: place.name.to_string(),
            line: place.position.map(|position| position.line),
            column: place.position.map(|position| position.column),
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
