//! Did the user write this value, or did the API server fill it in?
//!
//! By the time a webhook sees an object, the API server's defaults are in it
//! and look like anybody's. There are two proofs that somebody wrote a field:
//! a server-side apply that owns it, and the annotation that `kubectl apply`
//! leaves. Without either nothing can be told: a `managedFields` entry of
//! operation Update lists fields that were defaulted as its own.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::containers::Containers;
use super::parts::{self, PartPath};
use super::record::InjectedField;
use crate::field::Segment;
use crate::kubernetes::managed_fields::Entry;
use crate::kubernetes::object::{View, at};

/// The annotation in which `kubectl apply` keeps the manifest it was given.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where an object comes from, on which hangs what its values prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The API server, which has filled in its defaults.
    ApiServer,
    /// A file, in which every value was written by somebody.
    File,
}

impl Origin {
    /// Where `object` comes from, if it was read from a file: `kubectl get -o
    /// yaml` writes files of objects that the API server has filled in.
    pub fn of_document(object: &Value) -> Self {
        match at(object, &["metadata", "uid"]) {
            Some(_) => Origin::ApiServer,
            None => Origin::File,
        }
    }
}

/// A kind of proof, by who left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// The object came from a file.
    File,
    /// The manifest of the last `kubectl apply`.
    LastApplied,
    /// The `Apply` entry of this manager.
    Apply(&'a str),
}

/// The proofs in one object.
pub struct Intent<'a> {
    object: View<'a>,
    origin: Origin,
    applied: OnceCell<Vec<Applied<'a>>>,
    last_applied: OnceCell<Option<LastApplied>>,
}

/// What a manager wrote by server-side apply.
struct Applied<'a> {
    manager: Cow<'a, str>,
    fields: Cow<'a, Value>,
}

/// The manifest of the last `kubectl apply`.
struct LastApplied {
    manifest: Value,
    containers: Containers,
}

impl<'a> Intent<'a> {
    /// The proofs in `object`.
    pub fn new(object: View<'a>, origin: Origin) -> Self {
        Intent { object, origin, applied: OnceCell::new(), last_applied: OnceCell::new() }
    }

    /// Where the object comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Who proves that somebody wrote the part at `path` of `field`, whose value
    /// in the object is `live`.
    ///
    /// `kubectl rollout undo` leaves last-applied as it is, so that the manifest
    /// may speak of another revision. Over a value that is `recorded` it only
    /// proves what is as it says, and of a probe or hook nothing if its handler
    /// is another one. A file that holds a record was written by gapless, too.
    pub fn proofs(
        &self,
        field: &InjectedField,
        path: &PartPath,
        live: &Value,
        recorded: bool,
    ) -> Vec<Proof<'_>> {
        if self.origin == Origin::File {
            return if recorded { Vec::new() } else { vec![Proof::File] };
        }
        let mut proofs: Vec<Proof> = self
            .applied()
            .filter(|applied| owns(&applied.fields, field, path))
            .map(|applied| Proof::Apply(&applied.manager))
            .collect();
        if self.is_in_manifest(field, path, live, recorded) {
            proofs.push(Proof::LastApplied);
        }
        proofs
    }

    /// Whether somebody wrote `spec.replicas`.
    pub fn proves_replicas(&self) -> bool {
        const REPLICAS: &[&str] = &["spec", "replicas"];
        let is_applied = |applied: &Applied| at(&applied.fields, &["f:spec", "f:replicas"]).is_some();
        self.origin == Origin::File
            || self.applied().any(is_applied)
            || self
                .last_applied()
                .is_some_and(|it| at(&it.manifest, REPLICAS).is_some_and(|it| !it.is_null()))
    }

    /// Whether the object carries proofs of this kind at all.
    pub fn carries(&self, proof: Proof) -> bool {
        match proof {
            Proof::File => self.origin == Origin::File,
            Proof::LastApplied => self.last_applied().is_some(),
            Proof::Apply(manager) => self.applied().any(|applied| applied.manager == manager),
        }
    }

    /// What the manifest of the last `kubectl apply` says of `field`.
    pub fn in_manifest(&self, field: &InjectedField) -> Option<&Value> {
        let last_applied = self.last_applied()?;
        last_applied.containers.find(&last_applied.manifest, field)
    }

    fn is_in_manifest(&self, field: &InjectedField, path: &PartPath, live: &Value, recorded: bool) -> bool {
        let Some(written) = self.in_manifest(field) else { return false };
        if !recorded {
            return parts::find(written, path).is_some();
        }
        let has_same_handler = parts::parts(written)
            .iter()
            .filter(|(path, _)| parts::handler_of(path).is_some())
            .all(|(path, part)| parts::find(live, path) == Some(part));
        has_same_handler && parts::find(written, path) == parts::find(live, path)
    }

    /// The `Apply` entries of `managedFields`.
    fn applied(&self) -> impl Iterator<Item = &Applied<'a>> {
        let read = || {
            let entries = self.object.managed_fields.entries();
            let applied = entries.into_iter().filter(Entry::is_apply);
            applied.filter_map(|it| Some(Applied { fields: it.fields()?, manager: it.manager? })).collect()
        };
        self.applied.get_or_init(read).iter()
    }

    /// It is a second copy of the object, so it is only read when something
    /// hangs on it.
    fn last_applied(&self) -> Option<&LastApplied> {
        let read = || {
            let annotations = at(self.object.tree, &["metadata", "annotations"])?;
            let manifest: Value = serde_json::from_str(annotations.get(LAST_APPLIED)?.as_str()?).ok()?;
            let containers = Containers::of(&manifest);
            Some(LastApplied { manifest, containers })
        };
        self.last_applied.get_or_init(read).as_ref()
    }
}

/// Whether a set of fields in the format FieldsV1 contains the part at `path` of
/// `field` (structured-merge-diff, fieldpath/serialize-pe.go): `f:` and a name,
/// or `k:` and the keys of a list item.
fn owns(fields: &Value, field: &InjectedField, path: &PartPath) -> bool {
    let mut set = fields;
    for segment in field.path().segments() {
        let key = match segment {
            Segment::Field(_) | Segment::Key(_) => format!("f:{}", segment.as_str()),
            Segment::Item(name) => format!("k:{}", serde_json::json!({ "name": name })),
        };
        let Some(inner) = set.get(key) else { return false };
        set = inner;
    }
    path.iter().try_fold(set, |set, name| set.get(format!("f:{name}"))).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::RollingBlock;
    use serde_json::json;

    const AMOUNT: InjectedField = InjectedField::MaxUnavailable(RollingBlock::Strategy);

    fn probe() -> InjectedField {
        InjectedField::ReadinessProbe("app".into())
    }

    fn path(text: &str) -> PartPath {
        text.split('.').map(str::to_owned).collect()
    }

    fn managed(operation: &str) -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "ci", "operation": operation, "fieldsV1": {"f:spec": {
                "f:strategy": {"f:rollingUpdate": {"f:maxUnavailable": {}}},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {
                    ".": {}, "f:image": {}, "f:readinessProbe": {"f:tcpSocket": {"f:port": {}}},
                }}}},
            }}},
        ]}})
    }

    fn applied(manifest: Value) -> Value {
        json!({"metadata": {"annotations": {LAST_APPLIED: manifest.to_string()}}})
    }

    /// The proofs of a value without parts.
    fn proofs(object: &Value, field: &InjectedField, live: Value, recorded: bool) -> usize {
        Intent::new(View::of(object), Origin::ApiServer).proofs(field, &Vec::new(), &live, recorded).len()
    }

    #[test]
    fn only_an_apply_entry_is_a_proof() {
        let object = managed("Apply");
        let intent = Intent::new(View::of(&object), Origin::ApiServer);
        let live = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5});
        assert_eq!(intent.proofs(&AMOUNT, &Vec::new(), &json!(0), true), [Proof::Apply("ci")]);
        assert_eq!(intent.proofs(&probe(), &path("tcpSocket.port"), &live, true), [Proof::Apply("ci")]);
        assert_eq!(intent.proofs(&probe(), &path("periodSeconds"), &live, true), []);
        assert_eq!(intent.proofs(&InjectedField::MinReadySeconds, &Vec::new(), &json!(10), true), []);
        assert!(intent.carries(Proof::Apply("ci")) && !intent.carries(Proof::Apply("cd")));
        assert_eq!(proofs(&managed("Update"), &AMOUNT, json!(0), true), 0);
    }

    /// As those of custom resources: the containers of a Rollout before Argo 1.9.
    #[test]
    fn a_list_that_is_owned_whole_proves_nothing_about_its_items() {
        let mut object = managed("Apply");
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"] =
            json!({"f:spec": {"f:containers": {}}});
        let intent = Intent::new(View::of(&object), Origin::ApiServer);
        let live = json!({"tcpSocket": {"port": 80}});
        assert_eq!(intent.proofs(&probe(), &path("tcpSocket.port"), &live, true), []);
    }

    #[test]
    fn the_manifest_of_kubectl_apply_is_a_proof_of_what_it_holds() {
        let object = applied(json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}}));
        assert_eq!(proofs(&object, &AMOUNT, json!("25%"), false), 1);
        assert_eq!(proofs(&object, &AMOUNT, json!("25%"), true), 1);
        assert_eq!(proofs(&object, &AMOUNT, json!(0), true), 0, "it speaks of another revision");
        assert_eq!(proofs(&object, &InjectedField::MinReadySeconds, json!(10), false), 0);
    }

    #[test]
    fn over_a_recorded_probe_the_manifest_only_speaks_with_the_same_handler() {
        let container =
            json!({"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5}});
        let object = applied(json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
        let intent = Intent::new(View::of(&object), Origin::ApiServer);
        let proves = |part: &str, live: Value| !intent.proofs(&probe(), &path(part), &live, true).is_empty();
        let same = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 3});
        assert!(proves("periodSeconds", same.clone()));
        assert!(proves("tcpSocket.port", same.clone()));
        assert!(!proves("failureThreshold", same));
        let other = json!({"tcpSocket": {"port": 81}, "periodSeconds": 5});
        assert!(!proves("periodSeconds", other));
    }

    #[test]
    fn in_a_file_every_value_was_written() {
        let object = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}});
        let intent = Intent::new(View::of(&object), Origin::of_document(&object));
        assert_eq!(intent.proofs(&AMOUNT, &Vec::new(), &json!("25%"), false), [Proof::File]);
        assert_eq!(intent.proofs(&AMOUNT, &Vec::new(), &json!("25%"), true), [], "but for what is recorded");
        assert_eq!(Origin::of_document(&json!({"metadata": {"uid": "1"}})), Origin::ApiServer);
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        let object = json!({"metadata": {"annotations": {LAST_APPLIED: "{"}, "managedFields": null}});
        assert_eq!(proofs(&object, &AMOUNT, json!(0), false), 0);
        assert!(!Intent::new(View::of(&object), Origin::ApiServer).carries(Proof::LastApplied));
    }
}
