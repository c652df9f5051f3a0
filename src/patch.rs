//! Changes to an object, and the RFC 6902 operations that lead to it.
//!
//! Both work on raw JSON and on named fields only. A typed object is never
//! compared: a typed round trip drops every field that its types do not know.

use std::collections::HashSet;

use json_patch::jsonptr::{Pointer, PointerBuf, Token};
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use crate::field::FieldPath;

/// A change that cannot be written as a patch.
///
/// The API server answers a patch that does not apply with 500, whatever the
/// failurePolicy says (apiserver, mutating/dispatcher.go), so such a patch is
/// never sent.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The path leads through something that is no object.
    #[error("{0} cannot be set: a parent of it is missing or has the wrong type")]
    Unreachable(PointerBuf),
    /// The field's container does not exist.
    #[error("{0} cannot be set: there is no such container")]
    NoContainer(FieldPath),
    /// Applying the operations to the original failed.
    #[error("the patch does not apply: {0}")]
    DoesNotApply(#[from] json_patch::PatchError),
    /// Applying the operations to the original gave something else.
    #[error("the patch does not lead to the object it was made for")]
    Differs,
}

/// Gives the field at `pointer` this value. Missing parents are created.
///
/// # Errors
/// [`PatchError::Unreachable`] where a list item on the way does not exist, or
/// where a parent is no object.
pub fn set(object: &mut Value, pointer: &Pointer, value: Value) -> Result<(), PatchError> {
    let unreachable = || PatchError::Unreachable(pointer.to_buf());
    let mut place = object;
    for token in pointer.tokens() {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Object(fields) => fields.entry(token.decoded()).or_insert(Value::Null),
            Value::Array(items) => {
                let index: usize = token.encoded().parse().map_err(|_| unreachable())?;
                items.get_mut(index).ok_or_else(unreachable)?
            }
            _ => return Err(unreachable()),
        };
    }
    *place = value;
    Ok(())
}

/// Removes the field at `pointer`, and with it the parents that held nothing
/// else. Returns what was there; null counts as nothing.
pub fn take(object: &mut Value, pointer: &Pointer) -> Option<Value> {
    let (token, inner) = pointer.split_front()?;
    if let Value::Array(items) = object {
        return take(items.get_mut(token.encoded().parse::<usize>().ok()?)?, inner);
    }
    let fields = object.as_object_mut()?;
    let name = token.decoded();
    if inner.is_root() {
        fields.get(name.as_ref()).filter(|value| !value.is_null())?;
        return fields.remove(name.as_ref());
    }
    let child = fields.get_mut(name.as_ref())?;
    let taken = take(child, inner)?;
    if child.as_object().is_some_and(Map::is_empty) {
        fields.remove(name.as_ref());
    }
    Some(taken)
}

/// The operations that lead from `original` to `target`, which differ at no
/// other place than `pointers`. They have been tried on the original.
///
/// # Errors
/// If they do not lead there.
pub fn operations<'p>(
    original: &Value,
    target: &Value,
    pointers: impl IntoIterator<Item = &'p Pointer>,
) -> Result<Vec<PatchOperation>, PatchError> {
    let mut operations: Vec<PatchOperation> = Vec::new();
    // Two fields may need the same new parent.
    let mut made: HashSet<String> = HashSet::new();
    for pointer in pointers {
        let operation = difference(original, target, pointer);
        operations.extend(operation.filter(|operation| made.insert(operation.path().to_string())));
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

/// The operation for the outermost difference on the way to `pointer`. A parent
/// that is missing is added with all that `target` has in it.
fn difference(original: &Value, target: &Value, pointer: &Pointer) -> Option<PatchOperation> {
    let (mut original, mut target) = (original, target);
    let mut path = PointerBuf::new();
    for token in pointer.tokens() {
        let child = |value| child(value, &token);
        let (before, after) = (child(original), child(target));
        path.push_back(token);
        (original, target) = match (before, after) {
            (Some(original), Some(target)) => (original, target),
            (None, Some(target)) => {
                let value = target.clone();
                return Some(PatchOperation::Add(AddOperation { path, value }));
            }
            (Some(_), None) => return Some(PatchOperation::Remove(RemoveOperation { path })),
            (None, None) => return None,
        };
    }
    (original != target).then(|| PatchOperation::Replace(ReplaceOperation { path, value: target.clone() }))
}

/// The value one step down from `value`. Null counts as absent.
fn child<'v>(value: &'v Value, token: &Token) -> Option<&'v Value> {
    let child = match value {
        Value::Array(items) => items.get(token.encoded().parse::<usize>().ok()?),
        value => value.get(token.decoded().as_ref()),
    };
    child.filter(|child| !child.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(pointer: &str) -> &Pointer {
        Pointer::parse(pointer).unwrap()
    }

    const APP: &str = "/spec/template/spec/containers/1";

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
    fn changes(fields: &[(&str, Option<Value>)]) -> Value {
        let original = deployment();
        let mut target = original.clone();
        for (pointer, value) in fields {
            match value {
                Some(value) => set(&mut target, at(pointer), value.clone()).unwrap(),
                None => drop(take(&mut target, at(pointer))),
            }
        }
        json!(operations(&original, &target, fields.iter().map(|(pointer, _)| at(pointer))).unwrap())
    }

    #[test]
    fn missing_parents_are_created_in_one_operation_and_keys_are_escaped() {
        let a = "/spec/template/metadata/labels/app.kubernetes.io~1ver~0sion";
        let b = "/spec/template/metadata/labels/version";
        assert_eq!(
            changes(&[(a, Some(json!("v1"))), (b, Some(json!("v2")))]),
            json!([{"op": "add", "path": "/spec/template/metadata", "value":
                {"labels": {"app.kubernetes.io/ver~sion": "v1", "version": "v2"}}}]),
        );
        let annotation = "/metadata/annotations/gapless.dev~1in~0jected";
        assert_eq!(
            changes(&[(annotation, Some(json!("a")))]),
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"gapless.dev/in~jected": "a"}}]),
        );
        assert_eq!(
            changes(&[("/metadata/a~1b~0c", Some(json!(1)))]),
            json!([{"op": "add", "path": "/metadata/a~1b~0c", "value": 1}]),
        );
    }

    #[test]
    fn taking_takes_empty_parents_along() {
        assert_eq!(
            changes(&[(&format!("{APP}/lifecycle/preStop"), None)]),
            json!([{"op": "remove", "path": "/spec/template/spec/containers/1/lifecycle"}]),
        );
        assert_eq!(changes(&[(&format!("{APP}/readinessProbe"), None)]), json!([]));
    }

    #[test]
    fn what_is_equal_is_no_operation() {
        let sleep = format!("{APP}/lifecycle/preStop/sleep/seconds");
        assert_eq!(changes(&[(&sleep, Some(json!(10)))]), json!([]));
        assert_eq!(
            changes(&[(&sleep, Some(json!(5)))]),
            json!([{"op": "replace", "path": "/spec/template/spec/containers/1/lifecycle/preStop/sleep/seconds", "value": 5}]),
        );
    }

    #[test]
    fn an_unreachable_field_is_an_error() {
        let mut object = deployment();
        for gone in ["/spec/template/spec/containers/2/readinessProbe", "/metadata/name/inner"] {
            assert!(
                matches!(set(&mut object, at(gone), json!({})), Err(PatchError::Unreachable(_))),
                "{gone}"
            );
            assert_eq!(take(&mut object, at(gone)), None, "{gone}");
        }
    }

    #[test]
    fn a_change_that_no_path_names_is_refused() {
        let original = deployment();
        let mut target = original.clone();
        set(&mut target, at("/spec/replicas"), json!(2)).unwrap();
        set(&mut target, at("/spec/minReadySeconds"), json!(1)).unwrap();
        assert!(matches!(operations(&original, &target, [at("/spec/replicas")]), Err(PatchError::Differs)));
    }
}
