//! A value taken apart: a probe or a hook is made of parts, and each may be
//! somebody else's.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The handlers of probes and hooks, each with the field without which the API
/// server rejects it (kubernetes, pkg/apis/core/validation/validation.go).
const HANDLERS: [(&str, &str); 5] =
    [("exec", "command"), ("httpGet", "port"), ("tcpSocket", "port"), ("grpc", "port"), ("sleep", "seconds")];

/// Where a part is below its field; empty for a value without parts.
pub type PartPath = Vec<String>;

/// The parts of `value`, but for those that the API server fills in by itself.
pub fn parts(value: &Value) -> BTreeMap<PartPath, &Value> {
    let mut parts = BTreeMap::new();
    collect(value, &mut Vec::new(), &mut parts);
    parts
}

fn collect<'v>(value: &'v Value, path: &mut PartPath, parts: &mut BTreeMap<PartPath, &'v Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                path.push(field.clone());
                collect(value, path, parts);
                path.pop();
            }
        }
        _ if is_api_default(path, value) => {}
        _ => {
            parts.insert(path.clone(), value);
        }
    }
}

/// Whether the API server fills in this part of a probe or hook where it is
/// absent (kubernetes, pkg/apis/core/v1/defaults.go, `SetDefaults_Probe` and
/// `SetDefaults_HTTPGetAction`).
fn is_api_default(path: &[impl AsRef<str>], value: &Value) -> bool {
    match path {
        [field] => match field.as_ref() {
            "initialDelaySeconds" => value == 0,
            "periodSeconds" => value == 10,
            "timeoutSeconds" | "successThreshold" => value == 1,
            "failureThreshold" => value == 3,
            _ => false,
        },
        [handler, field] => match (handler.as_ref(), field.as_ref()) {
            ("httpGet", "path") => value == "/",
            ("httpGet", "scheme") => value == "HTTP",
            ("grpc", "service") => value == "",
            _ => false,
        },
        _ => false,
    }
}

/// Whether two values are the same once what the API server fills in by itself
/// is left out on both sides.
pub fn same_value(left: &Value, right: &Value) -> bool {
    left == right || same_parts(Some(left), Some(right), &mut Vec::new())
}

/// Whether both have the same [`parts`] below `path`, of which no list is made: each
/// field of each container is compared so.
fn same_parts<'v>(left: Option<&'v Value>, right: Option<&'v Value>, path: &mut Vec<&'v str>) -> bool {
    let fields = |value: Option<&'v Value>| value?.as_object().filter(|fields| !fields.is_empty());
    let part = |value: Option<&'v Value>, path: &[&str]| {
        value
            .filter(|value| fields(Some(value)).is_none() && !value.is_null() && !is_api_default(path, value))
    };
    if part(left, path) != part(right, path) {
        return false;
    }
    let (left, right) = (fields(left), fields(right));
    let only_right =
        right.into_iter().flatten().filter(|(name, _)| !left.is_some_and(|it| it.contains_key(*name)));
    left.into_iter().flatten().chain(only_right).all(|(name, _)| {
        path.push(name);
        let is_same = same_parts(left.and_then(|it| it.get(name)), right.and_then(|it| it.get(name)), path);
        path.pop();
        is_same
    })
}

/// The handlers of a probe or hook that are complete.
pub fn handlers(value: &Value) -> impl Iterator<Item = &'static str> {
    let is_set = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    let is_complete = move |(handler, required): &(&str, &str)| {
        is_set(value.get(handler).and_then(|handler| handler.get(required)))
    };
    HANDLERS.into_iter().filter(is_complete).map(|(handler, _)| handler)
}

/// Whether the part at `path` is one of a handler, and of which.
pub fn handler_of(path: &[String]) -> Option<&'static str> {
    let first = path.first()?;
    HANDLERS.into_iter().map(|(handler, _)| handler).find(|handler| handler == first)
}

/// The value of the part at `path`.
pub fn find<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, field| value.get(field)).filter(|value| !value.is_null())
}

/// Gives the part at `path` this value.
pub fn set(value: &mut Value, path: &[String], part: Value) {
    let Some((field, inner)) = path.split_first() else {
        *value = part;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Some(fields) = value.as_object_mut() {
        set(fields.entry(field).or_insert(Value::Null), inner, part);
    }
}

/// Removes the part at `path`, and with it the parents that held nothing else.
pub fn remove(value: &mut Value, path: &[String]) {
    let (Some((field, inner)), Some(fields)) = (path.split_first(), value.as_object_mut()) else { return };
    match fields.get_mut(field) {
        Some(child) if !inner.is_empty() => {
            remove(child, inner);
            if child.as_object().is_some_and(Map::is_empty) {
                fields.remove(field);
            }
        }
        _ => drop(fields.remove(field)),
    }
}

/// The value without the parts at these paths.
pub fn without<'p>(value: &Value, paths: impl IntoIterator<Item = &'p PartPath>) -> Value {
    let mut rest = value.clone();
    paths.into_iter().for_each(|path| remove(&mut rest, path));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> PartPath {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn values_are_the_same_after_the_api_server_filled_them_in() {
        let recorded = json!({"tcpSocket": {"port": 5000}, "periodSeconds": 5, "failureThreshold": 3});
        let filled = json!({"tcpSocket": {"port": 5000}, "periodSeconds": 5, "failureThreshold": 3,
            "timeoutSeconds": 1, "successThreshold": 1, "initialDelaySeconds": 0, "exec": null});
        assert!(same_value(&recorded, &filled));
        for (field, value) in
            [("timeoutSeconds", json!(2)), ("periodSeconds", json!(10)), ("tcpSocket", json!({"port": 1}))]
        {
            let mut changed = filled.clone();
            changed[field] = value;
            assert!(!same_value(&recorded, &changed), "{field}");
        }
        let http = json!({"httpGet": {"port": 80}, "grpc": {"port": 1}});
        let http_filled = json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "grpc": {"port": 1, "service": ""}});
        assert!(same_value(&http, &http_filled));
        assert!(!same_value(&json!(10), &json!(3)), "a value without parts has no such defaults");
    }

    #[test]
    fn a_handler_is_complete_with_what_the_api_server_requires() {
        let of = |value: Value| handlers(&value).collect::<Vec<_>>();
        assert_eq!(of(json!({"httpGet": {"path": "/"}, "periodSeconds": 5})), [""; 0]);
        assert_eq!(of(json!({"tcpSocket": {"port": 80}, "httpGet": {"port": 80}})), ["httpGet", "tcpSocket"]);
        assert_eq!(of(json!({"sleep": {"seconds": 0}})), ["sleep"]);
        assert_eq!(of(json!([])), [""; 0]);
        assert_eq!(handler_of(&path("httpGet.host")), Some("httpGet"));
        assert_eq!(handler_of(&path("periodSeconds")), None);
    }

    #[test]
    fn a_part_is_found_set_and_removed() {
        let mut probe = json!({"httpGet": {"host": "a"}, "periodSeconds": 5});
        assert_eq!(find(&probe, &path("httpGet.host")), Some(&json!("a")));
        assert_eq!(find(&probe, &path("httpGet.port")), None);
        remove(&mut probe, &path("httpGet.host"));
        assert_eq!(probe, json!({"periodSeconds": 5}));
        remove(&mut probe, &path("grpc.port"));
        set(&mut probe, &path("tcpSocket.port"), json!(80));
        assert_eq!(probe, json!({"periodSeconds": 5, "tcpSocket": {"port": 80}}));
    }
}
