//! Did the user write this value, or did the API server fill it in?
//!
//! By the time a webhook sees an object, the API server's defaults are in it
//! and look like anybody's. There are two proofs that somebody wrote a field:
//! a server-side apply that owns it, and the annotation that `kubectl apply`
//! leaves. Without either nothing can be told: a `managedFields` entry of
//! operation Update lists fields that were defaulted as its own.

use std::cell::OnceCell;

use serde_json::Value;

use crate::field::{FieldPath, Segment};

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
        match object.pointer("/metadata/uid") {
            Some(_) => Origin::ApiServer,
            None => Origin::File,
        }
    }
}

/// The proofs in one object.
pub struct Intent<'a> {
    object: &'a Value,
    origin: Origin,
    last_applied: OnceCell<Option<Value>>,
}

impl<'a> Intent<'a> {
    /// The proofs in `object`.
    pub fn new(object: &'a Value, origin: Origin) -> Self {
        Intent { object, origin, last_applied: OnceCell::new() }
    }

    /// Whether somebody provably wrote the field at `path`.
    pub fn is_proven(&self, path: &FieldPath) -> bool {
        if self.origin == Origin::File {
            return path.find(self.object).is_some();
        }
        self.is_applied(path) || self.last_applied().is_some_and(|manifest| path.find(manifest).is_some())
    }

    /// Whether a server-side apply owns the field.
    fn is_applied(&self, path: &FieldPath) -> bool {
        let entries = self.object.pointer("/metadata/managedFields").and_then(Value::as_array);
        let mut applied = entries
            .into_iter()
            .flatten()
            .filter(|entry| entry.get("operation").and_then(Value::as_str) == Some("Apply"))
            .filter_map(|entry| entry.get("fieldsV1"));
        applied.any(|fields| owns(fields, path))
    }

    /// The manifest of the last `kubectl apply`. It is a second copy of the
    /// object, so it is only read when something hangs on it.
    fn last_applied(&self) -> Option<&Value> {
        let read = || {
            let annotations = self.object.pointer("/metadata/annotations")?;
            serde_json::from_str(annotations.get(LAST_APPLIED)?.as_str()?).ok()
        };
        self.last_applied.get_or_init(read).as_ref()
    }
}

/// Whether a set of fields in the format FieldsV1 contains the field at `path`
/// (structured-merge-diff, fieldpath/serialize-pe.go): `f:` and a name, or
/// `k:` and the keys of a list item.
fn owns(fields: &Value, path: &FieldPath) -> bool {
    let mut set = fields;
    for segment in path.segments() {
        let key = match segment {
            Segment::Field(_) | Segment::Key(_) => format!("f:{}", segment.as_str()),
            Segment::Item(name) => format!("k:{}", serde_json::json!({ "name": name })),
        };
        let Some(inner) = set.get(key) else { return false };
        set = inner;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn max_unavailable() -> FieldPath {
        FieldPath::new("spec.strategy.rollingUpdate.maxUnavailable")
    }

    fn managed(operation: &str) -> Value {
        json!({"metadata": {"managedFields": [
            {"operation": operation, "fieldsV1": {"f:spec": {
                "f:strategy": {"f:rollingUpdate": {"f:maxUnavailable": {}}},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}},
            }}},
        ]}})
    }

    #[test]
    fn only_an_apply_entry_is_a_proof() {
        let object = managed("Apply");
        let intent = Intent::new(&object, Origin::ApiServer);
        assert!(intent.is_proven(&max_unavailable()));
        assert!(intent.is_proven(&FieldPath::container("app").field("image")));
        assert!(!intent.is_proven(&FieldPath::container("app").field("readinessProbe")));
        assert!(!intent.is_proven(&FieldPath::new("spec.minReadySeconds")));
        assert!(!Intent::new(&managed("Update"), Origin::ApiServer).is_proven(&max_unavailable()));
    }

    #[test]
    fn the_manifest_of_kubectl_apply_is_a_proof() {
        let manifest =
            json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}}).to_string();
        let object = json!({"metadata": {"annotations": {LAST_APPLIED: manifest}}});
        let intent = Intent::new(&object, Origin::ApiServer);
        assert!(intent.is_proven(&max_unavailable()));
        assert!(!intent.is_proven(&FieldPath::new("spec.minReadySeconds")));
    }

    #[test]
    fn in_a_file_every_value_was_written() {
        let object = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}});
        let intent = Intent::new(&object, Origin::of_document(&object));
        assert!(intent.is_proven(&max_unavailable()));
        assert!(!intent.is_proven(&FieldPath::new("spec.minReadySeconds")));
        assert_eq!(Origin::of_document(&json!({"metadata": {"uid": "1"}})), Origin::ApiServer);
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        let object = json!({"metadata": {"annotations": {LAST_APPLIED: "{"}, "managedFields": null}});
        assert!(!Intent::new(&object, Origin::ApiServer).is_proven(&max_unavailable()));
    }
}
