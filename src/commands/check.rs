//! `gapless check`: judges manifests as the webhook would.

use std::process::ExitCode;

use jiff::civil::Date;

use super::{output, progress};
use crate::admission::{self, Assessment, Judged, Skip};
use crate::cli::{CheckArguments, CheckFormat};
use crate::clock;
use crate::config;
use crate::exit;
use crate::field::FieldPath;
use crate::finding;
use crate::kubernetes::kind::Kind;
use crate::offline::documents::{self, Document, Parsed};
use crate::offline::inputs;
use crate::offline::objects::{self, Object};
use crate::offline::source::{Name, Place, Source, Unreadable};
use crate::offline::surroundings;
use crate::offline::whole::{self, Unusable};
use crate::policy::{Policy, Profile};
use crate::preview;
use crate::report::files::Checked;
use crate::report::{
    self, Entry, Found, InputError, Judgement, Note, Problem, Reason, Report, Skipped, Subject, Written,
};
use crate::yaml::node::Outdone;

/// Where all workloads of Kubernetes are.
const API_VERSION: &str = Kind::Deployment.api_version();

/// Judges the files, writes the report, and says by its exit code how it went.
///
/// # Errors
/// If the configuration or the profile is of no use, or the report cannot be
/// written. What is wrong with a manifest is part of the report.
pub fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let policy = config::load(arguments.config.as_deref())?;
    let profile = choose_profile(&policy, arguments.profile.as_deref())?;
    let inputs: Vec<_> = inputs::expand(&arguments.files, &arguments.exclude)
        .into_iter()
        .map(|input| input.and_then(Source::read))
        .collect();
    let mut objects = surroundings::Objects::default();
    // Read twice, so that only one file at a time is in memory as a tree.
    inputs.iter().flatten().for_each(|source| objects.add(&Parsed::of(source)));
    let check = Check::new(profile, objects.neighbours(), clock::today());
    let mut check = Check { foretells: arguments.preview, ..check };
    for input in progress::counted("files", inputs) {
        match input {
            Ok(source) => check.source(&source),
            Err(unreadable) => check.error(unreadable.into()),
        }
    }

    let checked = check.checked;
    match arguments.format {
        CheckFormat::Text => output::print(&report::text::write(&checked))?,
        CheckFormat::Json => output::print_plain(&report::json::write(&checked)?)?,
        CheckFormat::Sarif => output::print_plain(&report::sarif::write(&checked.report, profile)?)?,
        CheckFormat::Github => output::print_plain(&report::github::write(&checked))?,
    }
    let summary = checked.summary();
    Ok(match (summary.errors, summary.denied) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(exit::FOUND),
        _ => ExitCode::from(exit::UNUSABLE),
    })
}

/// The profile to judge by; `None` for `off`.
pub(super) fn choose_profile<'p>(
    policy: &'p Policy,
    name: Option<&str>,
) -> anyhow::Result<Option<&'p Profile>> {
    let resolved = policy.resolve(name);
    if resolved.is_unknown {
        let known: Vec<_> = policy.profile_names().chain([Policy::OFF]).collect();
        anyhow::bail!(
            "there is no profile {:?}; write one of: {}",
            name.unwrap_or_default(),
            known.join(", ")
        );
    }
    Ok(resolved.profile)
}

/// The work under way.
struct Check<'p> {
    profile: Option<&'p Profile>,
    neighbours: surroundings::Neighbours<'p>,
    services: surroundings::Services,
    today: Date,
    /// Whether rollouts are foretold.
    foretells: bool,
    checked: Checked,
}

impl<'p> Check<'p> {
    fn new(profile: Option<&'p Profile>, neighbours: surroundings::Neighbours<'p>, today: Date) -> Self {
        let name = profile.map_or(Policy::OFF, |profile| profile.name.as_str()).to_owned();
        let report = Report { profile: name, entries: Vec::new() };
        let checked = Checked { report, files: 0, other_objects: 0 };
        let services = surroundings::Services::default();
        Check { profile, neighbours, services, today, foretells: false, checked }
    }

    /// Judges all workloads of one file.
    fn source(&mut self, source: &Source) {
        self.checked.files += 1;
        let (documents, rest) = documents::split(source);
        if documents.is_empty() && rest.is_empty() && source.name == Name::Stdin {
            self.error(Unreadable::empty_stdin().into());
        }
        for document in documents {
            match document.parse() {
                Ok(root) => objects::objects(&root).iter().for_each(|object| self.object(&document, object)),
                Err(unparsable) => self.error(unparsable.into()),
            }
        }
        rest.into_iter().for_each(|unparsable| self.error(unparsable.into()));
    }

    fn object(&mut self, document: &Document, object: &Object) {
        let entry = match (object.removed(), object.workload_kind()) {
            (Some((version, kind)), _) => Ok(Entry::Skipped(removed(document, object, version, kind))),
            (None, Some(kind)) => self.workload(document, object, kind),
            (None, None) => match self.switch(document, object) {
                Some(entry) => entry,
                None => {
                    self.checked.other_objects += 1;
                    return;
                }
            },
        };
        self.checked.report.entries.push(entry.unwrap_or_else(Entry::Error));
    }

    /// Judges one workload, or says why not.
    fn workload(&self, document: &Document, object: &Object, kind: Kind) -> Result<Entry, InputError> {
        let subject = subject(document, object, kind.name());
        let skipped = |subject, reason, message| Ok(Entry::Skipped(Skipped { subject, reason, message }));
        let Some(profile) = self.profile else {
            let message = "is not judged: the profile is off".to_owned();
            return skipped(subject, Reason::Gate(Skip::ProfileOff), message);
        };

        let value = object.node.to_value();
        match whole::examine(object, kind, &value) {
            Ok(()) => {}
            Err(Unusable::Part { because }) => return skipped(subject, Reason::Partial, part(&because)),
            Err(Unusable::Wrong(wrong)) => return Err(InputError::wrong(document, wrong)),
        }
        let around = self.neighbours.around(kind, &value, document.source());
        let Assessment { skip, injection, judged, problems } =
            admission::assess(kind, &value, &around, profile, self.today).map_err(|error| {
                InputError::not_injected(document, object, &beginning(document, object), error)
            })?;
        if let Some(skip) = skip {
            return skipped(subject, Reason::Gate(skip), skipped_because(skip));
        }

        Ok(Entry::Judged(Judgement {
            findings: found(document, object, judged),
            problems: problems.iter().map(|it| problem(document, object, it)).collect(),
            notes: notes(document, object),
            forecast: self.foretells.then(|| preview::in_a_line(kind, &injection.object, &around)),
            injections: injection.announcements,
            injection: profile.injection,
            profile: profile.name.clone(),
            subject,
        }))
    }

    /// Judges a Service that the input holds once more, with a selector that matches the
    /// pods of other workloads.
    fn switch(&mut self, document: &Document, object: &Object) -> Option<Result<Entry, InputError>> {
        if !object.is_service() {
            return None;
        }
        let value = object.node.to_value();
        let selector = self.services.switch(&value, document.source())?;
        let backends = self.neighbours.behind(&selector, object.namespace());
        let profile = self.profile.filter(|_| !backends.is_empty())?;
        let subject = subject(document, object, "Service");
        let (judged, problems) = match admission::assess_switch(&value, &backends, profile, self.today) {
            Ok(assessed) => assessed,
            Err(error) => {
                let (message, place) = (format!("metadata: {error}"), beginning(document, object));
                return Some(Err(InputError { place, message, hint: None }));
            }
        };
        Some(Ok(Entry::Judged(Judgement {
            findings: found(document, object, judged),
            problems: problems.iter().map(|it| problem(document, object, it)).collect(),
            notes: notes(document, object),
            injections: Vec::new(),
            injection: profile.injection,
            profile: profile.name.clone(),
            forecast: None,
            subject,
        })))
    }

    fn error(&mut self, error: InputError) {
        self.checked.report.entries.push(Entry::Error(error));
    }
}

/// Each finding with its place in the file.
fn found(document: &Document, object: &Object, judged: Vec<Judged>) -> Vec<Found> {
    let place = |it: &Judged| Some(document.place(object.node.place_of(&it.finding.field)));
    judged.into_iter().map(|judged| Found { place: place(&judged), judged }).collect()
}

fn subject(document: &Document, object: &Object, kind: &'static str) -> Subject {
    Subject {
        kind,
        namespace: object.namespace().map(str::to_owned),
        name: object.name().unwrap_or("(without a name)").to_owned(),
        written: Some(Written { document: document.index, place: beginning(document, object) }),
    }
}

/// Where its name stands.
fn beginning(document: &Document, object: &Object) -> Place {
    document.place(object.node.place_of(&FieldPath::new("metadata.name")))
}

fn removed(document: &Document, object: &Object, version: &str, kind: &'static str) -> Skipped {
    let message = format!(
        "is not judged: no API server serves {version} any more, since Kubernetes 1.16; \
         write apiVersion: {API_VERSION}, and a spec.selector, which that requires"
    );
    Skipped { subject: subject(document, object, kind), reason: Reason::RemovedApiVersion, message }
}

fn part(because: &str) -> String {
    format!(
        "is not judged: it is only a part of an object, since {because} \
         (a patch for Kustomize? run kubectl kustomize DIR | gapless check -)"
    )
}

fn skipped_because(skip: Skip) -> String {
    match skip {
        Skip::Owned => "is not judged: another object controls it, see its ownerReferences".to_owned(),
        Skip::Deleting => "is not judged: it is being deleted".to_owned(),
        _ => format!("is not judged: {}", skip.as_str()),
    }
}

/// The keys of an object that are written more than once.
pub(super) fn notes(document: &Document, object: &Object) -> Vec<Note> {
    let note = |outdone: &Outdone| {
        let Outdone { key, written, counts, is_merged } = outdone;
        let line = document.place(*counts).position.map_or(0, |position| position.line);
        let message = match is_merged {
            false => format!("{key} is written again in line {line}: the last one counts, as for kubectl"),
            true => format!(
                "{key} is written again by the merge key in line {line}: for kubectl the last one counts"
            ),
        };
        Note { message, place: Some(document.place(*written)) }
    };
    object.node.all_outdone().into_iter().map(note).collect()
}

/// An annotation that has no effect, where it is written.
fn problem(document: &Document, object: &Object, problem: &finding::Problem) -> Problem {
    let annotations = ["metadata.annotations", "spec.template.metadata.annotations"];
    let paths = annotations.map(|path| FieldPath::new(path).key(&problem.annotation));
    let written = paths.iter().find(|path| object.node.has(path));
    let place = document.place(object.node.place_of(written.unwrap_or(&FieldPath::new("metadata"))));
    Problem { id: problem.id.clone(), message: problem.message(), place: Some(place) }
}
