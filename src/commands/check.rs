//! `gapless check`: judges manifests as the webhook would.

use std::process::ExitCode;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::check_cluster::{Client, Cluster, NotAssessed};
use super::{output, progress};
use crate::admission::{self, Assessment, Judged, Skip};
use crate::audit::namespaces::because;
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
use crate::report::loss::Loss;
use crate::report::{
    self, Entry, Found, InputError, Judgement, Note, Problem, Reason, Report, Skipped, Subject, Written,
};
use crate::surroundings::Surroundings;
use crate::yaml::node::Outdone;

/// Where all workloads of Kubernetes are.
const API_VERSION: &str = Kind::Deployment.api_version();

/// Judges the files, writes the report, and says by its exit code how it went.
///
/// # Errors
/// If the configuration or the profile is of no use, or the report cannot be
/// written. What is wrong with a manifest is part of the report.
pub fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let client = arguments.cluster.then(|| Client::connect(arguments)).transpose()?;
    let policy = match (&client, &arguments.config) {
        (Some(client), None) => client.policy()?,
        (_, file) => config::load(file.as_deref())?,
    };
    let inputs: Vec<_> = inputs::expand(&arguments.files, &arguments.exclude)
        .into_iter()
        .map(|input| input.and_then(Source::read))
        .collect();
    // Read twice, so that only one file at a time is in memory as a tree.
    let files = inputs.iter().flatten().map(Parsed::of);
    let mut objects = surroundings::Objects::default();
    let against = match &client {
        None => {
            files.for_each(|file| objects.add(&file));
            let profile = choose_profile(&policy, arguments.profile.as_deref())?;
            Against::Input { profile, neighbours: objects.neighbours() }
        }
        Some(client) => {
            let objects: Vec<_> = files.flat_map(|file| whole_objects(&file, &client.namespace)).collect();
            Against::Cluster { cluster: client.read(&policy, &objects)?, namespace: &client.namespace }
        }
    };
    let default_profile = match against {
        Against::Input { profile, .. } => profile,
        Against::Cluster { .. } => policy.default_profile(),
    };
    let mut check = Check::new(against, default_profile, clock::today());
    check.foretells = arguments.preview;
    check.is_detailed = matches!(arguments.format, CheckFormat::Html);
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
        CheckFormat::Sarif => output::print_plain(&report::sarif::write(&checked.report, default_profile)?)?,
        CheckFormat::Html => output::print_plain(&checked.page(clock::today())?)?,
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

/// All whole objects of a file that the API server would be asked to store, each with its
/// namespace.
fn whole_objects(file: &Parsed, namespace: &str) -> Vec<Value> {
    let mut values = Vec::new();
    for root in file.documents.iter().filter_map(|(_, root)| root.as_ref().ok()) {
        for object in objects::objects(root) {
            let value = in_namespace(object.to_value(), namespace);
            let examined = object.workload_kind().map(|kind| whole::examine(&object, kind, &value));
            if !matches!(examined, Some(Err(_))) {
                values.push(value);
            }
        }
    }
    values
}

/// The object with this namespace, if it names none. A Namespace is in none.
fn in_namespace(mut object: Value, namespace: &str) -> Value {
    if object.get("kind").and_then(Value::as_str) == Some("Namespace") {
        return object;
    }
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let is_named = |it: &Map<String, Value>| {
        it.get("namespace").and_then(Value::as_str).is_some_and(|it| !it.is_empty())
    };
    if let Some(metadata) = metadata.filter(|metadata| !is_named(metadata)) {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
    object
}

/// By what is judged.
enum Against<'p> {
    /// By the input alone: one profile, `None` if it is off, and its own objects.
    Input { profile: Option<&'p Profile>, neighbours: surroundings::Neighbours<'p> },
    /// By what a cluster says too. What names no namespace is in this one.
    Cluster { cluster: Cluster<'p>, namespace: &'p str },
}

impl<'p> Against<'p> {
    fn namespace<'o>(&'o self, object: &Object<'o>) -> Option<&'o str> {
        match self {
            Against::Input { .. } => object.namespace(),
            Against::Cluster { namespace, .. } => {
                Some(object.namespace().filter(|it| !it.is_empty()).unwrap_or(namespace))
            }
        }
    }

    /// The object as the API server would get it.
    fn value(&self, object: &Object) -> Value {
        match self {
            Against::Input { .. } => object.node.to_value(),
            Against::Cluster { namespace, .. } => in_namespace(object.to_value(), namespace),
        }
    }

    /// The profile for an object, or why it is not judged.
    fn profile(&self, object: &Object) -> Result<&'p Profile, (Reason, String)> {
        match self {
            Against::Input { profile, .. } => profile.ok_or_else(|| {
                (Reason::Gate(Skip::ProfileOff), "is not judged: the profile is off".to_owned())
            }),
            Against::Cluster { cluster, .. } => cluster
                .profile(self.namespace(object).unwrap_or_default())
                .map_err(|reason| (reason, format!("is not judged: {}", because(reason)))),
        }
    }

    fn around(&self, kind: Kind, value: &Value, source: &Source) -> Surroundings {
        match self {
            Against::Input { neighbours, .. } => neighbours.around(kind, value, source),
            Against::Cluster { cluster, .. } => cluster.around(kind, value),
        }
    }
}

/// The work under way.
struct Check<'p> {
    against: Against<'p>,
    services: surroundings::Services,
    today: Date,
    /// Whether rollouts are foretold.
    foretells: bool,
    /// Whether it is for a page.
    is_detailed: bool,
    checked: Checked,
}

impl<'p> Check<'p> {
    fn new(against: Against<'p>, default_profile: Option<&Profile>, today: Date) -> Self {
        let name = default_profile.map_or(Policy::OFF, |profile| profile.name.as_str()).to_owned();
        let is_by_namespace = matches!(against, Against::Cluster { .. });
        let report = Report { profile: name, is_by_namespace, entries: Vec::new() };
        let checked = Checked { report, files: 0, other_objects: 0 };
        let services = surroundings::Services::default();
        Check { against, services, today, foretells: false, is_detailed: false, checked }
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
            (Some((version, kind)), _) => {
                Ok(Entry::Skipped(removed(self.subject(document, object, kind), version)))
            }
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
        let subject = self.subject(document, object, kind.name());
        let skipped = |subject, reason, message| Ok(Entry::Skipped(Skipped { subject, reason, message }));
        let profile = match self.against.profile(object) {
            Ok(profile) => profile,
            Err((reason, message)) => return skipped(subject, reason, message),
        };
        if let Against::Cluster { cluster, .. } = &self.against
            && !cluster.judges(kind)
        {
            let message =
                "is not judged: the configuration of this gapless has other kinds in workloads only";
            return skipped(subject, Reason::Gate(Skip::Kind), message.to_owned());
        }

        let value = self.against.value(object);
        match whole::examine(object, kind, &value) {
            Ok(()) => {}
            Err(Unusable::Part { because }) => return skipped(subject, Reason::Partial, part(&because)),
            Err(Unusable::Wrong(wrong)) => return Err(InputError::wrong(document, wrong)),
        }
        let around = self.against.around(kind, &value, document.source());
        let assessed = match &self.against {
            Against::Input { .. } => {
                admission::assess(kind, &value, &around, profile, self.today).map_err(NotAssessed::New)
            }
            Against::Cluster { cluster, .. } => cluster.assess(kind, &value, profile, self.today),
        };
        let Assessment { skip, injection, judged, as_it_is, waivers, problems } =
            assessed.map_err(|error| {
                let place = beginning(document, object);
                match error {
                    NotAssessed::New(error) => InputError::not_injected(document, object, &place, error),
                    NotAssessed::Update(error) => {
                        let message =
                            format!("cannot be judged as a change of what is in the cluster: {error}");
                        InputError { place, message, hint: None }
                    }
                }
            })?;
        if let Some(skip) = skip {
            return skipped(subject, Reason::Gate(skip), skipped_because(skip));
        }

        let loss = Loss::of(&as_it_is, &judged, profile.injection);
        Ok(Entry::Judged(Box::new(Judgement {
            findings: found(document, object, judged),
            problems: problems.iter().map(|it| problem(document, object, it)).collect(),
            notes: notes(document, object),
            forecast: self.foretells.then(|| preview::in_a_line(kind, &injection.object, &around)),
            details: self.is_detailed.then(|| preview::details(kind, &value, &injection.object, &around)),
            loss,
            waivers,
            injections: injection.announcements,
            injection: profile.injection,
            profile: profile.name.clone(),
            subject,
        })))
    }

    /// Judges a Service that the input holds once more, or that exists, with a selector that
    /// matches the pods of other workloads.
    fn switch(&mut self, document: &Document, object: &Object) -> Option<Result<Entry, InputError>> {
        if !object.is_service() {
            return None;
        }
        let value = self.against.value(object);
        let selector = self.services.switch(&value, document.source());
        let backends = match &self.against {
            Against::Input { neighbours, .. } => neighbours.behind(&selector?, object.namespace()),
            Against::Cluster { cluster, .. } => cluster.switch(&value)?,
        };
        let profile = self.against.profile(object).ok().filter(|_| !backends.is_empty())?;
        let subject = self.subject(document, object, "Service");
        let (judged, problems) = match admission::assess_switch(&value, &backends, profile, self.today) {
            Ok(assessed) => assessed,
            Err(error) => {
                let (message, place) = (format!("metadata: {error}"), beginning(document, object));
                return Some(Err(InputError { place, message, hint: None }));
            }
        };
        Some(Ok(Entry::Judged(Box::new(Judgement {
            findings: found(document, object, judged),
            problems: problems.iter().map(|it| problem(document, object, it)).collect(),
            notes: notes(document, object),
            injections: Vec::new(),
            injection: profile.injection,
            profile: profile.name.clone(),
            loss: Loss::None,
            waivers: Vec::new(),
            forecast: None,
            details: None,
            subject,
        }))))
    }

    fn subject(&self, document: &Document, object: &Object, kind: &'static str) -> Subject {
        Subject {
            kind,
            namespace: self.against.namespace(object).map(str::to_owned),
            name: object.name().unwrap_or("(without a name)").to_owned(),
            uid: None,
            written: Some(Written { document: document.index, place: beginning(document, object) }),
        }
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

/// Where its name stands.
fn beginning(document: &Document, object: &Object) -> Place {
    document.place(object.node.place_of(&FieldPath::new("metadata.name")))
}

fn removed(subject: Subject, version: &str) -> Skipped {
    let message = format!(
        "is not judged: no API server serves {version} any more, since Kubernetes 1.16; \
         write apiVersion: {API_VERSION}, and a spec.selector, which that requires"
    );
    Skipped { subject, reason: Reason::RemovedApiVersion, message }
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
