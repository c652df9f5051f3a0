//! Who owns which field: `managedFields`, as the API server keeps them
//! (structured-merge-diff, merge/update.go and typed/compare.go).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::dialect;

/// A set of fields in the format FieldsV1: `f:` and a name, `k:` and the keys
/// of a list item, `.` for a struct or an item itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSet {
    is_member: bool,
    children: BTreeMap<String, FieldSet>,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub struct Manager {
    pub name: &'static str,
    pub operation: &'static str,
    pub subresource: &'static str,
    /// Seconds; an apply that changes nothing leaves none.
    pub time: Option<u32>,
    pub fields: FieldSet,
}

impl Manager {
    pub fn is(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }
}

/// The `managedFields` of an object.
pub fn to_json(managers: &[Manager]) -> Value {
    let entry = |manager: &Manager| {
        let mut entry = json!({
            "manager": manager.name, "operation": manager.operation,
            "apiVersion": dialect::kind().api_version(),
            "fieldsType": "FieldsV1", "fieldsV1": manager.fields.to_json(),
        });
        if let Some(time) = manager.time {
            entry["time"] =
                json!(format!("2026-11-23T{:02}:{:02}:{:02}Z", 10 + time / 3600, time / 60 % 60, time % 60));
        }
        if !manager.subresource.is_empty() {
            entry["subresource"] = json!(manager.subresource);
        }
        entry
    };
    Value::Array(managers.iter().map(entry).collect())
}

/// How the API's schema has a value merged.
#[derive(Clone, Copy)]
enum Shape {
    /// As a whole.
    Atomic,
    /// Field by field.
    Granular,
    /// Item by item, by this key.
    List(fn(&Value) -> String),
}

fn shape(field: &str, value: &Value) -> Shape {
    match (field, value) {
        // A LabelSelector is atomic.
        ("selector", _) => Shape::Atomic,
        ("containers", Value::Array(_)) => Shape::List(|item| format!("k:{}", json!({"name": item["name"]}))),
        ("ports", Value::Array(_)) => Shape::List(|item| {
            let protocol = item.get("protocol").cloned().unwrap_or(json!("TCP"));
            format!("k:{}", json!({"containerPort": item["containerPort"], "protocol": protocol}))
        }),
        (_, Value::Object(_)) => Shape::Granular,
        _ => Shape::Atomic,
    }
}

/// The parts of a value by the keys that FieldsV1 has for them; none of a leaf.
fn parts<'v>(field: &str, value: &'v Value) -> Vec<(String, &'v str, &'v Value)> {
    match (shape(field, value), value) {
        (Shape::Granular, Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (format!("f:{name}"), name.as_str(), value)).collect()
        }
        (Shape::List(key), Value::Array(items)) => items.iter().map(|item| (key(item), "", item)).collect(),
        _ => Vec::new(),
    }
}

/// The part of an object that has owners.
fn owned_part(object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["annotations", "labels"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut part = json!({"metadata": metadata});
    if let Some(spec) = object.get("spec") {
        part["spec"] = spec.clone();
    }
    part
}

impl FieldSet {
    fn leaf() -> Self {
        FieldSet { is_member: true, children: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.is_member && self.children.is_empty()
    }

    /// The fields that a manifest names.
    pub fn of_manifest(object: &Value) -> Self {
        FieldSet::named("", &owned_part(object))
    }

    fn named(field: &str, value: &Value) -> Self {
        let parts = parts(field, value);
        if parts.is_empty() {
            return FieldSet::leaf();
        }
        let child = |(key, name, value): (String, &str, &Value)| {
            let mut child = FieldSet::named(name, value);
            child.is_member |= key.starts_with("k:");
            (key, child)
        };
        FieldSet { is_member: false, children: parts.into_iter().map(child).collect() }
    }

    /// The fields of a value that comes or goes: the structs themselves too.
    fn whole(field: &str, value: &Value) -> Self {
        let parts = parts(field, value).into_iter();
        let children = parts.map(|(key, name, value)| (key, FieldSet::whole(name, value)));
        FieldSet { is_member: true, children: children.collect() }
    }

    /// The set with one more field, for example `["spec", "replicas"]`.
    pub fn with(mut self, path: &[&str]) -> Self {
        let mut set = &mut self;
        for name in path {
            set = set.children.entry(format!("f:{name}")).or_default();
        }
        set.is_member = true;
        self
    }

    /// Whether the set contains the field at `path`, whose segments are
    /// written as in FieldsV1, or a part of it.
    pub fn names(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self, |set, segment| set.children.get(*segment)).is_some()
    }

    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut union = self.clone();
        union.is_member |= other.is_member;
        for (key, child) in &other.children {
            let merged = union.children.get(key).map(|own| own.union(child));
            union.children.insert(key.clone(), merged.unwrap_or_else(|| child.clone()));
        }
        union
    }

    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        let child = |(key, child): (&String, &FieldSet)| {
            let rest = match other.children.get(key) {
                Some(other) => child.difference(other),
                None => child.clone(),
            };
            (!rest.is_empty()).then(|| (key.clone(), rest))
        };
        FieldSet {
            is_member: self.is_member && !other.is_member,
            children: self.children.iter().filter_map(child).collect(),
        }
    }

    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.is_member && !self.children.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        fields.extend(self.children.iter().map(|(key, child)| (key.clone(), child.to_json())));
        Value::Object(fields)
    }
}

/// What is different in a new object.
#[derive(Default)]
struct Changes {
    /// Added and modified.
    set: FieldSet,
    removed: FieldSet,
}

fn compare(field: &str, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    let is_atomic = |value| matches!(shape(field, value), Shape::Atomic);
    if is_atomic(old) || is_atomic(new) {
        changes.set.is_member = old != new;
        return changes;
    }
    let (old_parts, new_parts) = (parts(field, old), parts(field, new));
    for (key, name, new) in &new_parts {
        let inner = match old_parts.iter().find(|(old_key, ..)| old_key == key) {
            Some((_, _, old)) if old == new => continue,
            Some((_, _, old)) => compare(name, old, new),
            None => Changes { set: FieldSet::whole(name, new), removed: FieldSet::default() },
        };
        for (set, inner) in [(&mut changes.set, inner.set), (&mut changes.removed, inner.removed)] {
            if !inner.is_empty() {
                set.children.insert(key.clone(), inner);
            }
        }
    }
    for (key, name, old) in old_parts {
        if !new_parts.iter().any(|(new_key, ..)| *new_key == key) {
            changes.removed.children.insert(key, FieldSet::whole(name, old));
        }
    }
    changes
}

/// A Deployment before anybody has written anything into it: structs that are
/// no pointers are always there.
fn nothing() -> Value {
    json!({"metadata": {}, "spec": {"strategy": {}, "template": {"metadata": {}, "spec": {"containers": []}}}})
}

/// The owners after `name` has written `new` by anything but an apply.
pub fn update(
    managers: &mut Vec<Manager>,
    old: Option<&Value>,
    new: &Value,
    name: &'static str,
    subresource: &'static str,
    time: u32,
) {
    let changes = compare("", &old.map_or_else(nothing, owned_part), &owned_part(new));
    disown(managers, &changes, None);
    if changes.set.is_empty() {
        return;
    }
    match managers.iter_mut().find(|manager| manager.is(name, "Update", subresource)) {
        Some(manager) => {
            manager.fields = manager.fields.union(&changes.set);
            manager.time = Some(time);
        }
        None => managers.push(Manager {
            name,
            operation: "Update",
            subresource,
            time: Some(time),
            fields: changes.set,
        }),
    }
}

/// Takes what changes from all managers but the applier.
fn disown(managers: &mut Vec<Manager>, changes: &Changes, applier: Option<&str>) {
    for manager in &mut *managers {
        if applier.is_none_or(|applier| !manager.is(applier, "Apply", "")) {
            manager.fields = manager.fields.difference(&changes.set).difference(&changes.removed);
        }
    }
    managers.retain(|manager| !manager.fields.is_empty());
}

/// The object after `name` has applied `manifest` by force, before the API
/// server's defaults, and its owners.
pub fn apply(
    managers: &mut Vec<Manager>,
    live: &Value,
    manifest: &Value,
    name: &'static str,
    time: u32,
) -> Value {
    let mut object = live.clone();
    merge("", &mut object, manifest);
    let fields = FieldSet::of_manifest(manifest);
    let last = managers.iter().position(|manager| manager.is(name, "Apply", ""));
    match last {
        Some(index) => {
            let last = std::mem::replace(&mut managers[index].fields, fields);
            let managed = managers.iter().fold(FieldSet::default(), |all, it| all.union(&it.fields));
            prune("", &mut object, &last, &managed);
        }
        None => {
            managers.push(Manager { name, operation: "Apply", subresource: "", time: None, fields });
        }
    }
    disown(managers, &compare("", &owned_part(live), &owned_part(&object)), Some(name));
    if object != *live
        && let Some(own) = managers.iter_mut().find(|manager| manager.is(name, "Apply", ""))
    {
        own.time = Some(time);
    }
    object
}

/// Merges a manifest into a live value. Lists get the manifest's order.
fn merge(field: &str, live: &mut Value, manifest: &Value) {
    match shape(field, manifest) {
        Shape::Granular if live.is_object() => {
            let fields = live.as_object_mut().unwrap();
            for (name, value) in manifest.as_object().unwrap() {
                match fields.get_mut(name) {
                    Some(live) => merge(name, live, value),
                    None => drop(fields.insert(name.clone(), value.clone())),
                }
            }
        }
        Shape::List(key) if live.is_array() => {
            let lived = std::mem::take(live.as_array_mut().unwrap());
            let manifest = manifest.as_array().unwrap();
            let is_in = |items: &[Value], item: &Value| items.iter().any(|other| key(other) == key(item));
            let mut items: Vec<Value> = Vec::new();
            let mut rest = lived.iter().peekable();
            for item in manifest {
                // What is live alone keeps its place before the others.
                while let Some(other) = rest.next_if(|other| !is_in(manifest, other) || is_in(&items, other))
                {
                    if !is_in(&items, other) {
                        items.push(other.clone());
                    }
                }
                let own = lived.iter().find(|other| key(other) == key(item));
                let mut merged = own.cloned().unwrap_or_else(|| json!({}));
                merge("", &mut merged, item);
                items.push(merged);
            }
            let left: Vec<Value> = rest.filter(|other| !is_in(&items, other)).cloned().collect();
            items.extend(left);
            *live = Value::Array(items);
        }
        _ => *live = manifest.clone(),
    }
}

/// Removes what the applier owned before, and nobody owns now, with all that
/// is below it.
fn prune(field: &str, value: &mut Value, last: &FieldSet, managed: &FieldSet) {
    let none = FieldSet::default();
    let is_gone = |key: &str| {
        let owned = last.children.get(key).is_some_and(|set| set.is_member || key.starts_with("f:"));
        owned && managed.children.get(key).is_none_or(FieldSet::is_empty)
    };
    match (shape(field, value), value) {
        (Shape::Granular, Value::Object(fields)) => {
            fields.retain(|name, _| !is_gone(&format!("f:{name}")));
            for (name, value) in fields {
                let key = format!("f:{name}");
                let (last, managed) = (last.children.get(&key), managed.children.get(&key));
                prune(name, value, last.unwrap_or(&none), managed.unwrap_or(&none));
            }
        }
        (Shape::List(key), Value::Array(items)) => {
            items.retain(|item| !is_gone(&key(item)));
            for item in items {
                let key = key(item);
                let (last, managed) = (last.children.get(&key), managed.children.get(&key));
                prune("", item, last.unwrap_or(&none), managed.unwrap_or(&none));
            }
        }
        _ => {}
    }
}

/// kubectl's move from client-side to server-side apply: the fields that
/// client-side applies own go to the `Apply` entry of `kubectl` (client-go,
/// util/csaupgrade). Whether there was anything to move.
pub fn move_to_apply(managers: &mut Vec<Manager>, last_applied: &[&str]) -> bool {
    let is_client_side = |manager: &Manager| {
        manager.operation == "Update" && manager.subresource.is_empty() && manager.fields.names(last_applied)
    };
    let Some(index) = managers.iter().position(is_client_side) else { return false };
    let moved = managers.remove(index);
    match managers.iter_mut().find(|manager| manager.is("kubectl", "Apply", "")) {
        Some(own) => own.fields = own.fields.union(&moved.fields),
        None => managers.push(Manager { name: "kubectl", operation: "Apply", ..moved }),
    }
    true
}
