//! `gapless check`: judges manifests as the webhook would.

use std::process::ExitCode;

use jiff::civil::Date;

use super::output;
use crate::admission::{self, Assessment, Judged, Skip};
use crate::cli::{CheckArguments, CheckFormat};
use crate::clock;
use crate::config;
use crate::exit;
use crate::field::FieldPath;
use crate::finding;
use crate::injection::InjectError;
use crate::offline::documents::{self, Document, Unparsable};
use crate::offline::inputs;
use crate::offline::objects::{self, Object};
use crate::offline::source::{Name, Source, Unreadable};
use crate::offline::surroundings;
use crate::policy::{Policy, Profile};
use crate::report::{self, Entry, Found, InputError, Judgement, Problem, Report, Skipped, Subject};
use crate::workload::{Workload, WrongType};

/// Judges the files, writes the report, and says by its exit code how it went.
///
/// # Errors
/// If the configuration or the profile is of no use, or the report cannot be
/// written. What is wrong with a manifest is part of the report.
pub fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let policy = config::load(arguments.config.as_deref())?;
    let profile = choose_profile(&policy, arguments.profile.as_deref())?;
    let inputs: Vec<_> =
        inputs::expand(&arguments.files).into_iter().map(|input| input.and_then(Source::read)).collect();
    let mut objects = surroundings::Objects::default();
    inputs.iter().flatten().for_each(|source| objects.add(source));
    let mut check = Check::new(profile, objects.neighbours(), clock::today());
    for input in inputs {
        match input {
            Ok(source) => check.source(&source),
            Err(unreadable) => check.report.entries.push(Entry::Error(unreadable.into())),
        }
    }

    let report = check.report;
    match arguments.format {
        CheckFormat::Text => output::print(&report::text::write(&report))?,
        CheckFormat::Json => output::print_plain(&report::json::write(&report)?)?,
        CheckFormat::Sarif => output::print_plain(&report::sarif::write(&report, profile)?)?,
        CheckFormat::Github => output::print_plain(&report::github::write(&report))?,
    }
    let summary = report.summary();
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
    today: Date,
    report: Report,
}

impl<'p> Check<'p> {
    fn new(profile: Option<&'p Profile>, neighbours: surroundings::Neighbours<'p>, today: Date) -> Self {
        let name = profile.map_or(Policy::OFF, |profile| profile.name.as_str()).to_owned();
        let report = Report { profile: name, files: 0, entries: Vec::new(), other_objects: 0 };
        Check { profile, neighbours, today, report }
    }

    /// Judges all Deployments of one file.
    fn source(&mut self, source: &Source) {
        self.report.files += 1;
        let (documents, rest) = documents::split(source);
        if documents.is_empty() && rest.is_none() && source.name == Name::Stdin {
            // Most likely what should have written it failed, which a pipe hides.
            let message = "there is nothing on standard input".to_owned();
            self.error(Unreadable::new(Name::Stdin, message).into());
        }
        for document in documents {
            match document.parse() {
                Ok(root) => objects::objects(&root).iter().for_each(|object| self.object(&document, object)),
                Err(unparsable) => self.error(unparsable.into()),
            }
        }
        if let Some(unparsable) = rest {
            self.error(unparsable.into());
        }
    }

    fn object(&mut self, document: &Document, object: &Object) {
        if !object.is_deployment() {
            self.report.other_objects += 1;
            return;
        }
        let entry = self.deployment(document, object).unwrap_or_else(Entry::Error);
        self.report.entries.push(entry);
    }

    /// Judges one Deployment, or says why not.
    fn deployment(&self, document: &Document, object: &Object) -> Result<Entry, InputError> {
        let subject = Subject {
            namespace: object.namespace().map(str::to_owned),
            name: object.name().unwrap_or("(without a name)").to_owned(),
            document: document.index,
            place: document.place(object.node.place_of(&FieldPath::new("metadata.name"))),
        };
        let Some(profile) = self.profile else {
            let message = "is not judged: the profile is off".to_owned();
            return Ok(Entry::Skipped(Skipped { subject, skip: Skip::ProfileOff, message }));
        };

        let value = object.to_value();
        let around = self.neighbours.around(&value, document.source());
        let assessment = match admission::assess(&value, &around, profile, self.today) {
            Ok(assessment) => assessment,
            Err(InjectError::WrongType(error)) => return Err(wrong_type(document, object, &error)),
            Err(InjectError::Patch(error)) => {
                let message = format!("gapless failed, please report this: {error}");
                return Err(InputError { place: subject.place, message, hint: None });
            }
        };
        let workload = Workload::read(&value).map_err(|error| wrong_type(document, object, &error))?;
        let Assessment { skip, injection, judged, problems } = assessment;
        if let Some(skip) = skip {
            let message = skipped_because(skip, &workload);
            return Ok(Entry::Skipped(Skipped { subject, skip, message }));
        }

        let found = |judged: Judged| Found {
            place: document.place(object.node.place_of(&judged.finding.field)),
            judged,
        };
        Ok(Entry::Judged(Judgement {
            findings: judged.into_iter().map(found).collect(),
            problems: problems.iter().map(|it| problem(document, object, it)).collect(),
            injections: injection.announcements,
            subject,
        }))
    }

    fn error(&mut self, error: InputError) {
        self.report.entries.push(Entry::Error(error));
    }
}

fn skipped_because(skip: Skip, workload: &Workload) -> String {
    match (skip, workload.invalid_because()) {
        (Skip::Invalid, Some(why)) => format!(
            "is not judged, since the API server rejects it: {why} \
             (a patch for kustomize? run kubectl kustomize DIR | gapless check -)"
        ),
        (Skip::Owned, _) => "is not judged: another object controls it, see its ownerReferences".to_owned(),
        (Skip::Deleting, _) => "is not judged: it is being deleted".to_owned(),
        _ => format!("is not judged: {}", skip.as_str()),
    }
}

/// An annotation that has no effect, where it is written.
fn problem(document: &Document, object: &Object, problem: &finding::Problem) -> Problem {
    let annotations = ["metadata.annotations", "spec.template.metadata.annotations"];
    let paths = annotations.map(|path| FieldPath::new(path).key(&problem.annotation));
    let written = paths.iter().find(|path| object.node.has(path));
    let place = document.place(object.node.place_of(written.unwrap_or(&FieldPath::new("metadata"))));
    Problem { id: problem.id.clone(), message: problem.message(), place }
}

fn wrong_type(document: &Document, object: &Object, error: &WrongType) -> InputError {
    InputError {
        place: document.place(object.node.place_of_text(&error.path)),
        message: format!("{}: {}", error.path, in_plain_words(&error.message)),
        hint: document.hint().map(str::to_owned),
    }
}

/// What serde says of a wrong type, in the words of YAML and JSON instead of
/// Rust's.
pub(super) fn in_plain_words(message: &str) -> String {
    let plain = || {
        let what =
            message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
        let (found, expected) = what.rsplit_once(", expected ")?;
        let found = match found {
            "map" => "an object",
            "sequence" => "a list",
            // Such as: floating point `1.5`.
            scalar => ["boolean ", "integer ", "floating point ", "string "]
                .iter()
                .find_map(|kind| scalar.strip_prefix(kind))
                .map_or(scalar, |value| value.trim_matches('`')),
        };
        let expected = match expected {
            "i32" => "a whole number of at most 32 bits",
            "i64" => "a whole number",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "a map" => "an object",
            "a borrowed string" if found == "an object" || found == "a list" => "text",
            "a borrowed string" => "text: write it in quotes",
            other => other,
        };
        Some(format!("found {found}, expected {expected}"))
    };
    plain().unwrap_or_else(|| message.to_owned())
}

impl From<Unreadable> for InputError {
    fn from(unreadable: Unreadable) -> Self {
        InputError { place: unreadable.place(), message: unreadable.message, hint: None }
    }
}

impl From<Unparsable> for InputError {
    fn from(unparsable: Unparsable) -> Self {
        let Unparsable { place, message, hint } = unparsable;
        InputError { place, message, hint: hint.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_types_are_told_in_plain_words() {
        let table = [
            (json!({"replicas": "three"}), "found \"three\", expected a whole number of at most 32 bits"),
            (json!({"replicas": 1.5}), "found 1.5, expected a whole number of at most 32 bits"),
            (
                json!({"replicas": 9_999_999_999_i64}),
                "found 9999999999, expected a whole number of at most 32 bits",
            ),
            (json!({"strategy": {"type": 5}}), "found 5, expected text: write it in quotes"),
            (json!({"strategy": {"type": [5]}}), "found a list, expected text"),
            (json!({"strategy": "Recreate"}), "found \"Recreate\", expected an object"),
            (json!({"template": {"spec": {"containers": {}}}}), "found an object, expected a list"),
            (
                json!({"template": {"spec": {"terminationGracePeriodSeconds": "1m"}}}),
                "found \"1m\", expected a whole number",
            ),
            (json!({"template": {"spec": {"hostNetwork": "yes"}}}), "found \"yes\", expected true or false"),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": true}}}),
                "found true, expected a number or a string",
            ),
        ];
        for (spec, expected) in table {
            let object = json!({ "spec": spec });
            let error = Workload::read(&object).unwrap_err();
            assert_eq!(in_plain_words(&error.message), expected);
        }
    }
}
