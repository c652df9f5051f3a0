//! Changes to an object, and the RFC 6902 operations that lead to it.
//!
//! Both work on raw JSON and on named fields only. A typed object is never
//! compared: a typed round trip drops every field that its types do not know.

use std::collections::HashSet;
use std::ptr;

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
    /// The operations do not lead from the original to the target.
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
            Value::Object(fields) => {
                let name = token.decoded();
                // Most of a way is there already; an entry needs a copy of the name.
                if !fields.contains_key(name.as_ref()) {
                    fields.insert(name.to_string(), Value::Null);
                }
                fields.get_mut(name.as_ref()).ok_or_else(unreachable)?
            }
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
/// other place than `pointers`.
///
/// # Errors
/// If they do not lead there.
pub fn operations<'p>(
    original: &Value,
    target: &Value,
    pointers: impl IntoIterator<Item = &'p Pointer>,
) -> Result<Vec<PatchOperation>, PatchError> {
    let mut differences: Vec<Difference> = Vec::new();
    // Two fields may need the same new parent.
    let mut found: HashSet<&Pointer> = HashSet::new();
    for pointer in pointers {
        let difference = difference(original, target, pointer);
        differences.extend(difference.filter(|difference| found.insert(difference.path)));
    }
    if !differences.is_empty() && !Places::of(&differences).are_all_between(original, target) {
        return Err(PatchError::Differs);
    }
    Ok(differences.iter().map(Difference::operation).collect())
}

/// A place where two objects differ. Null counts as absent.
struct Difference<'p, 'v> {
    path: &'p Pointer,
    change: Change<'v>,
}

/// What becomes of a value.
enum Change<'v> {
    Added(&'v Value),
    Removed(&'v Value),
    Replaced(&'v Value),
}

impl Difference<'_, '_> {
    fn operation(&self) -> PatchOperation {
        let path = self.path.to_buf();
        match self.change {
            Change::Added(value) => PatchOperation::Add(AddOperation { path, value: value.clone() }),
            Change::Removed(_) => PatchOperation::Remove(RemoveOperation { path }),
            Change::Replaced(value) => {
                PatchOperation::Replace(ReplaceOperation { path, value: value.clone() })
            }
        }
    }
}

/// The outermost difference on the way to `pointer`. A parent that is missing is added
/// with all that `target` has in it.
fn difference<'p, 'v>(
    original: &'v Value,
    target: &'v Value,
    pointer: &'p Pointer,
) -> Option<Difference<'p, 'v>> {
    let (mut original, mut target, mut rest) = (original, target, pointer);
    while let Some((token, inner)) = rest.split_front() {
        rest = inner;
        let change = match (child(original, &token), child(target, &token)) {
            (Some(before), Some(after)) => {
                (original, target) = (before, after);
                continue;
            }
            (None, Some(after)) => Change::Added(after),
            (Some(before), None) => Change::Removed(before),
            (None, None) => return None,
        };
        return Some(Difference { path: pointer.strip_suffix(rest)?, change });
    }
    (original != target).then_some(Difference { path: pointer, change: Change::Replaced(target) })
}

/// Members of objects, by where they are in memory: what an operation writes is one of
/// the target, what it removes is one of the original.
struct Places {
    written: HashSet<*const Value>,
    removed: HashSet<*const Value>,
}

impl Places {
    fn of(differences: &[Difference]) -> Self {
        let mut places = Places { written: HashSet::new(), removed: HashSet::new() };
        for difference in differences {
            match difference.change {
                Change::Added(value) | Change::Replaced(value) => places.written.insert(value),
                Change::Removed(value) => places.removed.insert(value),
            };
        }
        places
    }

    /// Whether these are the places where both differ, none within another. Then the
    /// operations apply to the original and lead to the target: the way to each place
    /// leads through objects and list items that both have.
    fn are_all_between(mut self, original: &Value, target: &Value) -> bool {
        self.lead(original, target) && self.written.is_empty() && self.removed.is_empty()
    }

    /// Walks through both, and takes out each place that it comes to.
    fn lead(&mut self, original: &Value, target: &Value) -> bool {
        match (original, target) {
            (Value::Object(original), Value::Object(target)) => self.lead_members(original, target),
            (Value::Array(original), Value::Array(target)) => {
                original.len() == target.len()
                    && original.iter().zip(target).all(|(before, after)| self.lead(before, after))
            }
            _ => original == target,
        }
    }

    fn lead_members(&mut self, original: &Map<String, Value>, target: &Map<String, Value>) -> bool {
        // Both are sorted by key.
        let mut original = original.iter().peekable();
        for (key, after) in target {
            while let Some((_, before)) = original.next_if(|(it, _)| *it < key) {
                if !self.removed.remove(&ptr::from_ref(before)) {
                    return false;
                }
            }
            let before = original.next_if(|(it, _)| *it == key).map(|(_, before)| before);
            let is_same_text = || matches!(after, Value::String(_)) && before == Some(after);
            let is_led_to = is_same_text()
                || self.written.remove(&ptr::from_ref(after))
                || before.is_some_and(|before| self.lead(before, after));
            if !is_led_to {
                return false;
            }
        }
        original.all(|(_, before)| self.removed.remove(&ptr::from_ref(before)))
    }
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
        let operations =
            operations(&original, &target, fields.iter().map(|(pointer, _)| at(pointer))).unwrap();
        let mut patched = original;
        json_patch::patch(&mut patched, &operations).unwrap();
        assert_eq!(patched, target);
        json!(operations)
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
        let change = |fields: &[(&str, Value)]| {
            let mut target = original.clone();
            for (pointer, value) in fields {
                set(&mut target, at(pointer), value.clone()).unwrap();
            }
            target
        };
        let (a, b) = ("/spec/replicas", "/spec/minReadySeconds");
        let name = format!("{APP}/name");
        for (target, named) in [
            (change(&[(a, json!(2)), (b, json!(1))]), vec![a]),
            (change(&[(a, json!(2)), (b, json!(1))]), vec![b]),
            (change(&[(a, json!(2)), (&name, json!("web"))]), vec![a]),
            (change(&[("/spec/template/spec/containers", json!([]))]), vec![&name]),
            (change(&[(a, json!(2)), ("/spec/template/spec/containers", json!([]))]), vec![a]),
            // Added to a list, it would move the others.
            (change(&[(APP, json!({}))]), vec![APP]),
            // What json-patch leaves is no null.
            (change(&[("/metadata/name", json!(null))]), vec!["/metadata/name"]),
            // The second would have nothing left to work on.
            (change(&[("/metadata", json!({}))]), vec!["/metadata", "/metadata/name"]),
        ] {
            let operations = operations(&original, &target, named.iter().map(|pointer| at(pointer)));
            assert!(matches!(operations, Err(PatchError::Differs)), "{target} {named:?}: {operations:?}");
        }
        let mut target = change(&[(a, json!(2))]);
        take(&mut target, at("/metadata/name")).unwrap();
        assert!(matches!(operations(&original, &target, [at(a)]), Err(PatchError::Differs)));
    }
}
