//! Changes to an object, and the RFC 6902 operations that lead to it.
//!
//! Both work on raw JSON and on named fields only. A typed object is never
//! compared: a typed round trip drops every field that its types do not know.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use crate::field::{FieldPath, Segment};

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

/// Gives the field at `path` this value. Missing parents are created.
///
/// # Errors
/// [`PatchError::Unreachable`] where a list item on the way does not exist, or
/// where a parent is no object.
pub fn set(object: &mut Value, path: &FieldPath, value: Value) -> Result<(), PatchError> {
    let unreachable = || PatchError::Unreachable(path.clone());
    let mut place = object;
    for segment in path.segments() {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match segment {
            Segment::Item(_) => {
                let index = segment.index(place).ok_or_else(unreachable)?;
                place.get_mut(index).ok_or_else(unreachable)?
            }
            Segment::Field(_) | Segment::Key(_) => {
                let fields = place.as_object_mut().ok_or_else(unreachable)?;
                fields.entry(segment.as_str()).or_insert(Value::Null)
            }
        };
    }
    *place = value;
    Ok(())
}

/// Removes the field at `path`, and with it the parents that held nothing else.
/// Returns what was there; null counts as nothing.
pub fn take(object: &mut Value, path: &FieldPath) -> Option<Value> {
    take_within(object, path.segments())
}

fn take_within(value: &mut Value, segments: &[Segment]) -> Option<Value> {
    let (segment, inner) = segments.split_first()?;
    if let Segment::Item(_) = segment {
        let index = segment.index(value)?;
        return take_within(value.get_mut(index)?, inner);
    }
    let fields = value.as_object_mut()?;
    let name = segment.as_str();
    if inner.is_empty() {
        fields.get(name).filter(|value| !value.is_null())?;
        return fields.remove(name);
    }
    let child = fields.get_mut(name)?;
    let taken = take_within(child, inner)?;
    if child.as_object().is_some_and(Map::is_empty) {
        fields.remove(name);
    }
    Some(taken)
}

/// The operations that lead from `original` to `target`, which differ at no
/// other place than `paths`. They have been tried on the original.
///
/// # Errors
/// If they do not lead there.
pub fn operations<'p>(
    original: &Value,
    target: &Value,
    paths: impl IntoIterator<Item = &'p FieldPath>,
) -> Result<Vec<PatchOperation>, PatchError> {
    let mut operations: Vec<PatchOperation> = Vec::new();
    for path in paths {
        let operation = difference(original, target, path);
        // Two fields may need the same new parent.
        let is_new =
            |operation: &PatchOperation| operations.iter().all(|made| made.path() != operation.path());
        operations.extend(operation.filter(is_new));
    }
    if !operations.is_empty() {
        let mut patched = original.clone();
        json_patch::patch(&mut patched, &operations)?;
        if patched != *target {
            return Err(PatchError::Differs);
        }
    }
    Ok(operations)
}

/// The operation for the outermost difference on the way to `path`. A parent
/// that is missing is added with all that `target` has in it.
fn difference(original: &Value, target: &Value, path: &FieldPath) -> Option<PatchOperation> {
    let (mut original, mut target) = (original, target);
    let mut place = PointerBuf::new();
    for segment in path.segments() {
        match segment.index(original) {
            Some(index) => place.push_back(index),
            None => place.push_back(segment.as_str()),
        }
        let child = |value| segment.find(value).filter(|child: &&Value| !child.is_null());
        (original, target) = match (child(original), child(target)) {
            (Some(original), Some(target)) => (original, target),
            (None, Some(target)) => {
                let value = target.clone();
                return Some(PatchOperation::Add(AddOperation { path: place, value }));
            }
            (Some(_), None) => return Some(PatchOperation::Remove(RemoveOperation { path: place })),
            (None, None) => return None,
        };
    }
    let value = target.clone();
    (original != target).then_some(PatchOperation::Replace(ReplaceOperation { path: place, value }))
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

    /// The operations after these fields were set, or taken where there is no
    /// value.
    fn changes(fields: &[(&FieldPath, Option<Value>)]) -> Value {
        let original = deployment();
        let mut target = original.clone();
        for (path, value) in fields {
            match value {
                Some(value) => set(&mut target, path, value.clone()).unwrap(),
                None => drop(take(&mut target, path)),
            }
        }
        json!(operations(&original, &target, fields.iter().map(|(path, _)| *path)).unwrap())
    }

    #[test]
    fn missing_parents_are_created_in_one_operation_and_keys_are_escaped() {
        let labels = || FieldPath::new("spec.template.metadata.labels");
        let (a, b) = (labels().key("app.kubernetes.io/ver~sion"), labels().key("version"));
        assert_eq!(
            changes(&[(&a, Some(json!("v1"))), (&b, Some(json!("v2")))]),
            json!([{"op": "add", "path": "/spec/template/metadata", "value":
                {"labels": {"app.kubernetes.io/ver~sion": "v1", "version": "v2"}}}]),
        );
        let annotation = FieldPath::new("metadata.annotations").key("gapless.dev/in~jected");
        assert_eq!(
            changes(&[(&annotation, Some(json!("a")))]),
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"gapless.dev/in~jected": "a"}}]),
        );
        let slash = FieldPath::new("metadata").key("a/b~c");
        assert_eq!(
            changes(&[(&slash, Some(json!(1)))]),
            json!([{"op": "add", "path": "/metadata/a~1b~0c", "value": 1}]),
        );
    }

    #[test]
    fn taking_takes_empty_parents_along() {
        let app = FieldPath::container("app");
        assert_eq!(
            changes(&[(&app.clone().field("lifecycle.preStop"), None)]),
            json!([{"op": "remove", "path": "/spec/template/spec/containers/1/lifecycle"}]),
        );
        assert_eq!(changes(&[(&app.clone().field("readinessProbe"), None)]), json!([]));
    }

    #[test]
    fn what_is_equal_is_no_operation() {
        let sleep = FieldPath::container("app").field("lifecycle.preStop.sleep.seconds");
        assert_eq!(changes(&[(&sleep, Some(json!(10)))]), json!([]));
        assert_eq!(
            changes(&[(&sleep, Some(json!(5)))]),
            json!([{"op": "replace", "path": "/spec/template/spec/containers/1/lifecycle/preStop/sleep/seconds", "value": 5}]),
        );
    }

    #[test]
    fn an_unreachable_field_is_an_error() {
        let mut object = deployment();
        let gone = FieldPath::container("gone").field("readinessProbe");
        assert!(matches!(set(&mut object, &gone, json!({})), Err(PatchError::Unreachable(_))));
        let inside_a_name = FieldPath::new("metadata.name.inner");
        assert!(matches!(set(&mut object, &inside_a_name, json!(1)), Err(PatchError::Unreachable(_))));
        assert_eq!(take(&mut object, &inside_a_name), None);
    }

    #[test]
    fn a_change_that_no_path_names_is_refused() {
        let original = deployment();
        let mut target = original.clone();
        let replicas = FieldPath::new("spec.replicas");
        set(&mut target, &replicas, json!(2)).unwrap();
        set(&mut target, &FieldPath::new("spec.minReadySeconds"), json!(1)).unwrap();
        assert!(matches!(operations(&original, &target, [&replicas]), Err(PatchError::Differs)));
    }
}
