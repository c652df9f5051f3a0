//! The workloads of the input, each as its profile completes it.

use std::path::PathBuf;

use jiff::civil::Date;
use serde_json::Value;

use super::quota::{Pods, ResourceQuota};
use crate::admission::{self, Skip};
use crate::field::FieldPath;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::View;
use crate::offline::documents::{Document, Parsed};
use crate::offline::inputs;
use crate::offline::objects::{self, Object};
use crate::offline::source::{Name, Place, Source, Unreadable};
use crate::offline::surroundings::{Neighbours, Objects};
use crate::offline::whole::{self, Unusable};
use crate::ownership::intent::Origin;
use crate::policy::Profile;
use crate::report::InputError;
use crate::rollout::Quota;
use crate::surroundings::Surroundings;
use crate::workload::{Context, Workload, WrongType};

/// What was read.
#[derive(Debug, Default)]
pub struct Input {
    /// The workloads, in their order.
    pub workloads: Vec<Completed>,
    /// The ResourceQuotas beside them.
    pub quotas: Vec<ResourceQuota>,
    /// Workloads of which nothing is said, and why.
    pub skipped: Vec<(Place, String)>,
    /// What could not be read.
    pub errors: Vec<InputError>,
}

/// A workload as it would be stored.
#[derive(Debug)]
pub struct Completed {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// Where it is.
    pub place: Place,
    object: Value,
    origin: Origin,
    surroundings: Surroundings,
}

impl Completed {
    /// What it means.
    ///
    /// # Errors
    /// If a field has a wrong type.
    pub fn workload(&self) -> Result<Workload<'_>, WrongType> {
        let context = Context { surroundings: &self.surroundings, ..Context::new(self.kind, self.origin) };
        Workload::read_view(View::of(&self.object), context)
    }

    /// Its pods, those of a DaemonSet on one node.
    fn pods(&self) -> Pods<'_> {
        let replicas = self.workload().map_or(0, |workload| workload.replicas());
        Pods { object: &self.object, replicas }
    }

    /// Whether `other` is another version of it. A namespace that one of both leaves open is
    /// the other's.
    pub fn is_version_of(&self, other: &Completed) -> bool {
        let may_be_same = match (&self.namespace, &other.namespace) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        (self.kind, &self.name) == (other.kind, &other.name) && may_be_same
    }
}

impl Input {
    /// The quota that leaves the least room for pods of `own`, one of the workloads.
    pub fn quota(&self, own: &Completed) -> Option<Quota> {
        let is_beside = |it: &&Completed| !std::ptr::eq(*it, own) && it.namespace == own.namespace;
        let others: Vec<Pods> = self.workloads.iter().filter(is_beside).map(Completed::pods).collect();
        let quotas = self.quotas.iter().filter(|quota| quota.is_in(own.namespace.as_deref()));
        quotas.filter_map(|quota| quota.room(own.pods(), &others)).min_by_key(|quota| quota.pods)
    }
}

/// The texts of these files.
pub fn sources(files: &[PathBuf]) -> Vec<Result<Source, Unreadable>> {
    inputs::expand(files, &[]).into_iter().map(|found| found.and_then(Source::read)).collect()
}

/// Reads these texts. Without a profile the workloads stay as they are.
pub fn read(texts: Vec<Result<Source, Unreadable>>, profile: Option<&Profile>, today: Date) -> Input {
    let mut input = Input::default();
    let mut sources = Vec::new();
    for text in texts {
        match text {
            Ok(source) => sources.push(source),
            Err(unreadable) => input.errors.push(unreadable.into()),
        }
    }
    let files: Vec<Parsed> = sources.iter().map(Parsed::of).collect();
    let mut around = Objects::default();
    files.iter().for_each(|file| around.add(file));
    let mut reading = Reading { neighbours: around.neighbours(), profile, today, input };
    files.iter().for_each(|file| reading.file(file));
    reading.input
}

struct Reading<'r> {
    neighbours: Neighbours<'r>,
    profile: Option<&'r Profile>,
    today: Date,
    input: Input,
}

impl Reading<'_> {
    fn file(&mut self, file: &Parsed) {
        if file.documents.is_empty() && file.broken.is_empty() && file.source.name == Name::Stdin {
            self.input.errors.push(Unreadable::empty_stdin().into());
        }
        for (document, root) in &file.documents {
            match root {
                Ok(root) => objects::objects(root).iter().for_each(|object| self.object(document, object)),
                Err(unparsable) => self.input.errors.push(unparsable.clone().into()),
            }
        }
        self.input.errors.extend(file.broken.iter().cloned().map(InputError::from));
    }

    fn object(&mut self, document: &Document, object: &Object) {
        let place = document.place(object.node.place_of(&FieldPath::new("metadata.name")));
        if let Some((version, _)) = object.removed() {
            let because = format!("no API server serves {version} any more");
            self.input.skipped.push((place, because));
            return;
        }
        let Some(kind) = object.workload_kind() else {
            self.input.quotas.extend(ResourceQuota::read(&object.node.to_value()));
            return;
        };
        match self.complete(document, object, kind, place.clone()) {
            Ok(Ok(completed)) => self.input.workloads.push(completed),
            Ok(Err(because)) => self.input.skipped.push((place, because)),
            Err(error) => self.input.errors.push(error),
        }
    }

    /// The workload, or why nothing is said of it.
    fn complete(
        &self,
        document: &Document,
        object: &Object,
        kind: Kind,
        place: Place,
    ) -> Result<Result<Completed, String>, InputError> {
        let value = object.node.to_value();
        match whole::examine(object, kind, &value) {
            Ok(()) => {}
            Err(Unusable::Part { because }) => {
                return Ok(Err(format!("it is only a part of an object, since {because}")));
            }
            Err(Unusable::Wrong(mistake)) => return Err(InputError::wrong(document, mistake)),
        }
        let surroundings = self.neighbours.around(kind, &value, document.source());
        let origin = Origin::of_document(&value);
        let completed = match self.profile {
            None => value,
            Some(profile) => {
                let assessed = admission::assess(kind, &value, &surroundings, profile, self.today);
                let assessed =
                    assessed.map_err(|error| InputError::not_injected(document, object, &place, error))?;
                match assessed.skip {
                    Some(Skip::Owned) => return Ok(Err("another object controls it".to_owned())),
                    Some(Skip::Deleting) => return Ok(Err("it is being deleted".to_owned())),
                    _ => assessed.injection.object,
                }
            }
        };
        Ok(Ok(Completed {
            kind,
            namespace: object.namespace().map(str::to_owned),
            name: object.name().unwrap_or("(without a name)").to_owned(),
            place,
            object: completed,
            origin,
            surroundings,
        }))
    }
}
