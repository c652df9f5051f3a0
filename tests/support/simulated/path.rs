//! Fields by their paths, as the record and messages write them:
//! `spec.template.spec.containers[app].readinessProbe`. They are those of a Deployment.

use serde_json::{Map, Value};

use super::dialect;

enum Segment<'p> {
    Field(&'p str),
    /// The item of a list of containers.
    Item(&'p str),
}

fn segments(path: &str) -> Vec<Segment<'_>> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((key, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let is_item = matches!(segments.last(), Some(Segment::Field("containers")));
            segments.push(if is_item { Segment::Item(key) } else { Segment::Field(key) });
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            segments.push(Segment::Field(&rest[..end]));
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    segments
}

/// The value at `path`; `None` if there is none.
pub fn get<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let step = |value: &'v Value, segment: Segment| match segment {
        Segment::Field(name) => value.get(name),
        Segment::Item(name) => value.as_array()?.iter().find(|item| item["name"] == name),
    };
    segments(&dialect::path(path)).into_iter().try_fold(object, step).filter(|value| !value.is_null())
}

/// Sets or removes the value at `path`. Parents are created; a container that
/// does not exist is none of ours, and nothing happens.
pub fn put(object: &mut Value, path: &str, value: Option<Value>) {
    let path = dialect::path(path);
    let mut segments = segments(&path);
    let Some(Segment::Field(last)) = segments.pop() else { panic!("{path} names no field") };
    let mut parent = object;
    for segment in segments {
        parent = match segment {
            Segment::Field(name) => {
                if parent.is_null() {
                    *parent = Value::Object(Map::new());
                }
                parent.as_object_mut().unwrap().entry(name).or_insert(Value::Null)
            }
            Segment::Item(name) => {
                let items = parent.as_array_mut().into_iter().flatten();
                match items.into_iter().find(|item| item["name"] == name) {
                    Some(item) => item,
                    None => return,
                }
            }
        };
    }
    match value {
        Some(value) => parent[last] = value,
        None => {
            if let Some(fields) = parent.as_object_mut() {
                fields.remove(last);
            }
        }
    }
}
