//! What `gapless check` found, and the forms in which it is written.
//!
//! One file for each form. Each is a function from a [`Report`] to a text.

pub mod github;
pub mod json;
pub mod sarif;
pub mod text;

use crate::admission::{Judged, Outcome, Skip};
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::offline::documents::{Document, Unparsable};
use crate::offline::objects::Object;
use crate::offline::source::{Place, Unreadable};
use crate::offline::whole::Wrong;

/// Everything that was found in all files.
#[derive(Debug)]
pub struct Report {
    /// The profile by which it was judged.
    pub profile: String,
    /// The files that were read.
    pub files: usize,
    /// The workloads and the errors, in the order of the files.
    pub entries: Vec<Entry>,
    /// Objects of other kinds, and documents that are no Kubernetes objects.
    pub other_objects: usize,
}

/// A workload or an error.
#[derive(Debug)]
pub enum Entry {
    /// A workload was judged.
    Judged(Judgement),
    /// A workload was not judged.
    Skipped(Skipped),
    /// Something could not be read.
    Error(InputError),
}

/// A workload in a file.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `kind`
    pub kind: &'static str,
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// The number of the document in its file, from 0 on.
    pub document: usize,
    /// Where it begins.
    pub place: Place,
}

/// What is said of one workload.
#[derive(Debug)]
pub struct Judgement {
    /// The workload.
    pub subject: Subject,
    /// The findings, those that deny first.
    pub findings: Vec<Found>,
    /// Waivers and other annotations that have no effect.
    pub problems: Vec<Problem>,
    /// What else is worth knowing of how it is written.
    pub notes: Vec<Note>,
    /// The ids of the defaults that would be injected, and what they do.
    pub injections: Vec<(&'static str, String)>,
    /// What its rollout is going to do, in a line, if that was asked for.
    pub forecast: Option<String>,
}

/// A finding, and where it is in the file.
#[derive(Debug)]
pub struct Found {
    /// Where the field stands, or the nearest of its parents.
    pub place: Place,
    /// The finding, and what comes of it.
    pub judged: Judged,
}

/// An annotation that has no effect.
#[derive(Debug)]
pub struct Problem {
    /// The id in its key, or the id of the default that it should steer.
    pub id: String,
    /// What is wrong with it.
    pub message: String,
    /// Where it stands.
    pub place: Place,
}

/// Something that one may read otherwise than kubectl does.
#[derive(Debug)]
pub struct Note {
    /// What.
    pub message: String,
    /// Where it stands.
    pub place: Place,
}

/// Why an object of a kind that gapless knows is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The webhook would not look at it.
    Gate(Skip),
    /// It is only a part of an object, such as a patch for Kustomize.
    Partial,
    /// No API server serves its API version any more.
    RemovedApiVersion,
}

impl Reason {
    /// As programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Gate(skip) => skip.as_str(),
            Reason::Partial => "partial",
            Reason::RemovedApiVersion => "removed-api-version",
        }
    }
}

/// An object that is not judged, although gapless knows its kind.
#[derive(Debug)]
pub struct Skipped {
    /// The object.
    pub subject: Subject,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, and what can be done about it.
    pub message: String,
}

/// Something that could not be read.
#[derive(Debug)]
pub struct InputError {
    /// Where.
    pub place: Place,
    /// What is wrong with it.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
}

impl InputError {
    /// A value of an object that the API server rejects.
    pub fn wrong(document: &Document, wrong: Wrong) -> Self {
        InputError { place: document.place(wrong.span), message: wrong.message, hint: wrong.hint }
    }

    /// An object, which begins at this place, that cannot be completed.
    pub fn not_injected(document: &Document, object: &Object, place: &Place, error: InjectError) -> Self {
        match error {
            InjectError::WrongType(error) => InputError::wrong(document, Wrong::of_type(object, &error)),
            InjectError::Patch(error) => {
                let message = format!("gapless failed, please report this: {error}");
                InputError { place: place.clone(), message, hint: None }
            }
        }
    }
}

impl From<Unreadable> for InputError {
    fn from(unreadable: Unreadable) -> Self {
        InputError { place: unreadable.place(), message: unreadable.message, hint: None }
    }
}

impl From<Unparsable> for InputError {
    fn from(unparsable: Unparsable) -> Self {
        let Unparsable { place, message, hint } = unparsable;
        InputError { place, message, hint }
    }
}

/// How much of everything there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files that were read.
    pub files: usize,
    /// Objects that were judged, of any kind.
    pub judged: usize,
    /// Deployments that were judged.
    pub deployments: usize,
    /// How many of each kind were judged; those of which there is none are left out.
    #[serde(skip)]
    pub kinds: Vec<(Kind, usize)>,
    /// Workloads that would be denied.
    pub denied: usize,
    /// Warnings, those about annotations without effect included.
    pub warnings: usize,
    /// Findings that go to the audit log only.
    pub audited: usize,
    /// Findings that an annotation waives.
    pub waived: usize,
    /// Objects and documents that were not judged.
    pub skipped: usize,
    /// Things that could not be read.
    pub errors: usize,
    /// In how many workloads each default would inject something.
    #[serde(serialize_with = "json::as_map")]
    pub injections: Vec<(&'static str, usize)>,
}

impl Report {
    /// The workloads that were judged.
    pub fn judgements(&self) -> impl Iterator<Item = &Judgement> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Judged(judgement) => Some(judgement),
            _ => None,
        })
    }

    /// The findings in all workloads.
    pub fn findings(&self) -> impl Iterator<Item = (&Subject, &Found)> {
        self.judgements().flat_map(|it| it.findings.iter().map(|found| (&it.subject, found)))
    }

    /// The annotations without effect in all workloads.
    pub fn problems(&self) -> impl Iterator<Item = (&Subject, &Problem)> {
        self.judgements().flat_map(|it| it.problems.iter().map(|problem| (&it.subject, problem)))
    }

    /// The notes on all workloads.
    pub fn notes(&self) -> impl Iterator<Item = (&Subject, &Note)> {
        self.judgements().flat_map(|it| it.notes.iter().map(|note| (&it.subject, note)))
    }

    /// The workloads that were not judged.
    pub fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Skipped(skipped) => Some(skipped),
            _ => None,
        })
    }

    /// What could not be read.
    pub fn errors(&self) -> impl Iterator<Item = &InputError> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Error(error) => Some(error),
            _ => None,
        })
    }

    /// The numbers.
    pub fn summary(&self) -> Summary {
        let count = |outcome| self.findings().filter(|(_, found)| found.judged.outcome == outcome).count();
        let is_denied =
            |it: &&Judgement| it.findings.iter().any(|found| found.judged.outcome == Outcome::Deny);
        let injected = |id| {
            let injects = |it: &&Judgement| it.injections.iter().any(|(default, _)| *default == id);
            self.judgements().filter(injects).count()
        };
        let kinds = by_kind(self.judgements().map(|it| it.subject.kind));
        let injections = crate::defaults::DEFAULTS.iter().map(|default| (default.id, injected(default.id)));
        Summary {
            files: self.files,
            judged: self.judgements().count(),
            deployments: kinds
                .iter()
                .find(|(kind, _)| *kind == Kind::Deployment)
                .map_or(0, |(_, count)| *count),
            kinds,
            denied: self.judgements().filter(is_denied).count(),
            warnings: count(Outcome::Warn) + self.problems().count(),
            audited: count(Outcome::Audit),
            waived: count(Outcome::Waived),
            skipped: self.other_objects + self.skipped().count(),
            errors: self.errors().count(),
            injections: injections.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// As in `Deployment shop/web`.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl Summary {
    /// The numbers in one line, as in `3 files, 2 Deployments (profile
    /// production): 1 denied, 2 warnings, would inject 2 readiness-probe`.
    pub fn line(&self, profile: &str) -> String {
        let mut parts = vec![format!("{} denied", self.denied), plural(self.warnings, "warning")];
        let optional = [
            (self.audited, plural(self.audited, "audit note")),
            (self.waived, format!("{} waived", self.waived)),
            (self.skipped, format!("{} skipped", plural(self.skipped, "object"))),
            (self.errors, plural(self.errors, "error")),
        ];
        parts.extend(optional.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text));
        if !self.injections.is_empty() {
            let injections: Vec<_> =
                self.injections.iter().map(|(id, count)| format!("{count} {id}")).collect();
            parts.push(format!("would inject {}", injections.join(", ")));
        }
        format!(
            "{}, {} (profile {profile}): {}",
            plural(self.files, "file"),
            counted(&self.kinds),
            parts.join(", ")
        )
    }
}

/// How many of these, named by their kinds, there are of each; those of which there is
/// none are left out.
pub fn by_kind(names: impl Iterator<Item = &'static str>) -> Vec<(Kind, usize)> {
    let names: Vec<&str> = names.collect();
    let of = |kind: Kind| names.iter().filter(|name| **name == kind.name()).count();
    Kind::ALL.map(|kind| (kind, of(kind))).into_iter().filter(|(_, count)| *count > 0).collect()
}

/// As in `2 Deployments, 1 StatefulSet`.
pub fn counted(kinds: &[(Kind, usize)]) -> String {
    if kinds.is_empty() {
        return plural(0, Kind::Deployment.name());
    }
    kinds.iter().map(|(kind, count)| plural(*count, kind.name())).collect::<Vec<_>>().join(", ")
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
