//! Changes to an object as RFC 6902 operations on its raw JSON.
//!
//! Operations are written by hand, never derived from a typed object: a typed
//! round trip drops every field that its types do not know.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use crate::field::{FieldPath, Segment};

/// An object under change: the working copy, and the operations that lead to
/// it from the original.
#[derive(Clone, Debug)]
pub struct Draft {
    object: Value,
    operations: Vec<PatchOperation>,
}

/// A change that cannot be written as a patch.
///
/// The API server answers a patch that does not apply with 500, whatever the
/// failurePolicy says (apiserver, mutating/dispatcher.go), so such a patch is
/// never sent.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The path leads through something that is no object.
    #[error("{0} cannot be set: a parent of it is missing or has the wrong type")]
    Unreachable(FieldPath),
    /// Applying the operations to the original failed.
    #[error("the patch does not apply: {0}")]
    DoesNotApply(#[from] json_patch::PatchError),
    /// Applying the operations to the original gave something else.
    #[error("the patch does not lead to the object it was made for")]
    Differs,
}

impl Draft {
    /// A draft that changes nothing yet.
    pub fn new(original: &Value) -> Self {
        Draft { object: original.clone(), operations: Vec::new() }
    }

    /// The working copy, with all changes so far.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// Gives the field at `path` this value. Missing parents are created.
    ///
    /// # Errors
    /// [`PatchError::Unreachable`] where a list item on the way does not
    /// exist, or where a parent is no object.
    pub fn set(&mut self, path: &FieldPath, value: Value) -> Result<(), PatchError> {
        let (mut place, parent, missing) = deepest(&self.object, path.segments());
        let Some((first, inner)) = missing.split_first() else {
            if parent == &value {
                return Ok(());
            }
            return self.apply(PatchOperation::Replace(ReplaceOperation { path: place, value }));
        };
        let is_item = |segment: &Segment| matches!(segment, Segment::Item(_));
        if !parent.is_object() || missing.iter().any(is_item) {
            return Err(PatchError::Unreachable(path.clone()));
        }
        place.push_back(first.as_str());
        let value = inner.iter().rev().fold(value, |value, segment| {
            Value::Object(Map::from_iter([(segment.as_str().to_owned(), value)]))
        });
        self.apply(PatchOperation::Add(AddOperation { path: place, value }))
    }

    /// Removes the field at `path`, and with it the parents that held nothing
    /// else. Does nothing if it is not there.
    ///
    /// # Errors
    /// None in practice: what is removed has just been found.
    pub fn remove(&mut self, path: &FieldPath) -> Result<(), PatchError> {
        let mut segments = path.segments();
        if path.find(&self.object).is_none() {
            return Ok(());
        }
        while let Some((_, parent)) = segments.split_last() {
            let (_, value, _) = deepest(&self.object, parent);
            let holds_more = value.as_object().is_none_or(|object| object.len() > 1);
            if holds_more || !matches!(parent.last(), Some(Segment::Field(_))) {
                break;
            }
            segments = parent;
        }
        let (place, _, _) = deepest(&self.object, segments);
        self.apply(PatchOperation::Remove(RemoveOperation { path: place }))
    }

    /// The operations, after a trial on the original.
    ///
    /// # Errors
    /// If they do not lead from `original` to the working copy.
    pub fn into_operations(self, original: &Value) -> Result<Vec<PatchOperation>, PatchError> {
        if self.operations.is_empty() {
            return Ok(self.operations);
        }
        let mut patched = original.clone();
        json_patch::patch(&mut patched, &self.operations)?;
        if patched != self.object {
            return Err(PatchError::Differs);
        }
        Ok(self.operations)
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), PatchError> {
        json_patch::patch(&mut self.object, std::slice::from_ref(&operation))?;
        self.operations.push(operation);
        Ok(())
    }
}

/// Follows `segments` as far as they lead: where that is, the value there, and
/// the segments that are missing. Null counts as missing.
fn deepest<'v, 's>(object: &'v Value, segments: &'s [Segment]) -> (PointerBuf, &'v Value, &'s [Segment]) {
    let mut place = PointerBuf::new();
    let mut value = object;
    let mut rest = segments;
    while let Some((segment, inner)) = rest.split_first() {
        let Some(found) = segment.find(value).filter(|found| !found.is_null()) else { break };
        match segment.index(value) {
            Some(index) => place.push_back(index),
            None => place.push_back(segment.as_str()),
        }
        value = found;
        rest = inner;
    }
    (place, value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "web", "annotations": null},
            "spec": {"template": {"spec": {"containers": [
                {"name": "proxy"},
                {"name": "app", "lifecycle": {"preStop": {"sleep": {"seconds": 10}}}},
            ]}}},
        })
    }

    fn operations(change: impl Fn(&mut Draft)) -> Value {
        let original = deployment();
        let mut draft = Draft::new(&original);
        change(&mut draft);
        json!(draft.into_operations(&original).unwrap())
    }

    #[test]
    fn missing_parents_are_created_in_one_operation_and_keys_are_escaped() {
        let label = FieldPath::new("spec.template.metadata.labels").key("app.kubernetes.io/ver~sion");
        assert_eq!(
            operations(|draft| draft.set(&label, json!("v1")).unwrap()),
            json!([{"op": "add", "path": "/spec/template/metadata", "value":
                {"labels": {"app.kubernetes.io/ver~sion": "v1"}}}]),
        );
        let annotation = FieldPath::new("metadata.annotations").key("gapless.dev/in~jected");
        assert_eq!(
            operations(|draft| {
                draft.set(&annotation, json!("a")).unwrap();
                draft.set(&annotation, json!("b")).unwrap();
            }),
            json!([
                {"op": "add", "path": "/metadata/annotations", "value": {"gapless.dev/in~jected": "a"}},
                {"op": "replace", "path": "/metadata/annotations/gapless.dev~1in~0jected", "value": "b"},
            ]),
        );
    }

    #[test]
    fn removing_takes_empty_parents_along_but_never_a_list_item() {
        let app = FieldPath::container("app");
        assert_eq!(
            operations(|draft| draft.remove(&app.clone().field("lifecycle.preStop")).unwrap()),
            json!([{"op": "remove", "path": "/spec/template/spec/containers/1/lifecycle"}]),
        );
        assert_eq!(operations(|draft| draft.remove(&app.clone().field("readinessProbe")).unwrap()), json!([]));
    }

    #[test]
    fn what_is_equal_is_no_operation() {
        let sleep = FieldPath::container("app").field("lifecycle.preStop.sleep.seconds");
        assert_eq!(operations(|draft| draft.set(&sleep, json!(10)).unwrap()), json!([]));
    }

    #[test]
    fn an_unreachable_field_is_an_error() {
        let mut draft = Draft::new(&deployment());
        let gone = FieldPath::container("gone").field("readinessProbe");
        assert!(matches!(draft.set(&gone, json!({})), Err(PatchError::Unreachable(_))));
        let inside_a_name = FieldPath::new("metadata.name.inner");
        assert!(matches!(draft.set(&inside_a_name, json!(1)), Err(PatchError::Unreachable(_))));
    }

    #[test]
    fn a_patch_made_for_another_object_is_refused() {
        let mut draft = Draft::new(&deployment());
        draft.set(&FieldPath::new("spec.replicas"), json!(2)).unwrap();
        let mut other = deployment();
        other["spec"]["minReadySeconds"] = json!(1);
        assert!(matches!(draft.clone().into_operations(&other), Err(PatchError::Differs)));
        assert!(matches!(draft.into_operations(&json!({})), Err(PatchError::DoesNotApply(_))));
    }
}
