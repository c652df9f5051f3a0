//! What is said of workloads, in files or in a cluster, and the forms in which it is
//! written.
//!
//! [`Report`] is what both have in common; [`files::Checked`] adds what is known of files
//! only, and `crate::audit` what is known of a cluster only. One file for each form, which is
//! a function to a text.

pub mod count;
pub mod details;
pub mod diff;
pub mod files;
pub mod github;
pub mod html;
pub mod json;
pub mod loss;
pub mod sarif;
pub mod text;

use std::cmp::Reverse;

use crate::admission::{Judged, Outcome, Skip};
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::offline::documents::{Document, Unparsable};
use crate::offline::objects::Object;
use crate::offline::source::{Place, Unreadable};
use crate::offline::whole::Wrong;
use crate::policy::InjectionMode;
use crate::waiver::Waiver;
use details::Details;
use loss::Loss;

/// Everything that was said of the workloads.
#[derive(Debug)]
pub struct Report {
    /// The profile by which is judged where nothing names another.
    pub profile: String,
    /// Whether namespaces name others.
    pub is_by_namespace: bool,
    /// The workloads and the errors.
    pub entries: Vec<Entry>,
}

/// A workload or an error.
#[derive(Debug)]
pub enum Entry {
    /// A workload was judged.
    Judged(Box<Judgement>),
    /// A workload was not judged.
    Skipped(Skipped),
    /// Something could not be read.
    Error(InputError),
}

/// A workload, or another object that is judged.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `kind`
    pub kind: &'static str,
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`, if it is in a cluster.
    pub uid: Option<String>,
    /// Where it is written, if in a file.
    pub written: Option<Written>,
}

/// Where an object stands in a file.
#[derive(Clone, Debug)]
pub struct Written {
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
    /// The profile by which it was judged.
    pub profile: String,
    /// The findings, those that deny first.
    pub findings: Vec<Found>,
    /// Waivers and other annotations that have no effect.
    pub problems: Vec<Problem>,
    /// What else is worth knowing of how it is written.
    pub notes: Vec<Note>,
    /// The ids of the defaults that would be injected, and what they do.
    pub injections: Vec<(&'static str, String)>,
    /// Whether the profile injects them, or only says that it would.
    pub injection: InjectionMode,
    /// Whether its rollouts lose requests.
    pub loss: Loss,
    /// The waivers that hold.
    pub waivers: Vec<Waiver>,
    /// What its rollout is going to do, in a line, if that was asked for.
    pub forecast: Option<String>,
    /// What only a page shows of it, if that was asked for.
    pub details: Option<Details>,
}

/// A finding, and where it is if in a file.
#[derive(Debug)]
pub struct Found {
    /// Where the field stands, or the nearest of its parents.
    pub place: Option<Place>,
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
    /// Where it stands, if in a file.
    pub place: Option<Place>,
}

/// Something that one may read otherwise than kubectl does.
#[derive(Debug)]
pub struct Note {
    /// What.
    pub message: String,
    /// Where it stands, if in a file.
    pub place: Option<Place>,
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
    /// It is in a namespace of Kubernetes itself.
    SystemNamespace,
    /// The API server does not ask the installed webhooks about its namespace.
    ExcludedNamespace,
}

impl Reason {
    /// As programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Gate(skip) => skip.as_str(),
            Reason::Partial => "partial",
            Reason::RemovedApiVersion => "removed-api-version",
            Reason::SystemNamespace => "system-namespace",
            Reason::ExcludedNamespace => "excluded-namespace",
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

/// Something in a file that could not be read.
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

impl Report {
    /// The workloads that were judged.
    pub fn judgements(&self) -> impl Iterator<Item = &Judgement> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Judged(judgement) => Some(&**judgement),
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

    /// The workloads that were judged, the worst first: by the number of findings that deny,
    /// then by the number of warnings. The others come after them.
    pub fn sort(&mut self) {
        self.entries.sort_by_cached_key(|entry| match entry {
            Entry::Judged(it) => {
                let Subject { kind, namespace, name, .. } = &it.subject;
                let kind = Kind::ALL.iter().position(|known| known.name() == *kind);
                let worst_first = (Reverse(it.denials().count()), Reverse(it.warnings().count()));
                (0, Some((worst_first, kind, namespace.clone(), name.clone())))
            }
            _ => (1, None),
        });
    }
}

impl Judgement {
    /// The ids of the rules that would deny it, one for each finding.
    pub fn denials(&self) -> impl Iterator<Item = &str> {
        self.outcome(Outcome::Deny)
    }

    /// The ids of the rules that warn, one for each finding, also of what was there before,
    /// and those of the annotations that have no effect.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let findings = self.outcome(Outcome::Warn).chain(self.outcome(Outcome::Old));
        findings.chain(self.problems.iter().map(|problem| problem.id.as_str()))
    }

    /// Whether there is nothing at all to say about it.
    pub fn is_fine(&self) -> bool {
        self.denials().chain(self.warnings()).next().is_none() && self.injections.is_empty()
    }

    /// Whether gapless adds something to it at its next rollout.
    pub fn is_completed(&self) -> bool {
        !self.injections.is_empty() && self.injection == InjectionMode::Inject
    }

    fn outcome(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        let of_outcome = self.findings.iter().filter(move |found| found.judged.outcome == outcome);
        of_outcome.map(|found| found.judged.finding.rule)
    }
}

impl Subject {
    /// A workload of a cluster.
    pub fn live(kind: Kind, namespace: &str, name: &str) -> Self {
        Subject {
            kind: kind.name(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            uid: None,
            written: None,
        }
    }

    /// Where it begins, if in a file.
    pub fn place(&self) -> Option<&Place> {
        self.written.as_ref().map(|written| &written.place)
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
