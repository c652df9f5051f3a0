//! Strategic merge patches, as kubectl makes them and the API server applies
//! them (apimachinery, pkg/util/strategicpatch).

use gapless::kubernetes::kind::Kind;
use serde_json::{Map, Value};

use super::dialect;

/// The key by which a list is merged; `None` if it is replaced as a whole.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        // Of a custom resource no list is merged.
        _ if dialect::kind() == Kind::Rollout => None,
        "containers" => Some("name"),
        "ports" => Some("containerPort"),
        _ => None,
    }
}

/// What `kubectl apply` makes of a live object: what `modified` says, without
/// what `original` said and `modified` no longer says, and with all that
/// neither names.
pub fn three_way(original: &Value, modified: &Value, live: &Value) -> Value {
    merge("", Merge { original: Some(original), retains_keys: true }, modified, Some(live))
}

/// A patch merged into an object.
pub fn patch(object: &Value, patch: &Value) -> Value {
    merge("", Merge { original: None, retains_keys: false }, patch, Some(object))
}

#[derive(Clone, Copy)]
struct Merge<'a> {
    /// What the same writer said before.
    original: Option<&'a Value>,
    /// Whether the patch names the keys of `strategy` that stay, as kubectl's
    /// do: its patch strategy is `retainKeys`.
    retains_keys: bool,
}

fn merge(field: &str, how: Merge, modified: &Value, live: Option<&Value>) -> Value {
    match (modified, live) {
        (Value::Object(modified), Some(Value::Object(live))) => {
            let said = |name: &str| how.original.and_then(|original| original.get(name));
            let mut merged = Map::new();
            let is_kept = !(how.retains_keys && field == "strategy" && dialect::kind() == Kind::Deployment);
            for (name, value) in live {
                if is_kept && !modified.contains_key(name) && said(name).is_none() {
                    merged.insert(name.clone(), value.clone());
                }
            }
            for (name, value) in modified {
                let how = Merge { original: said(name), ..how };
                merged.insert(name.clone(), merge(name, how, value, live.get(name)));
            }
            Value::Object(merged)
        }
        (Value::Array(modified), Some(Value::Array(live))) => {
            let Some(key) = merge_key(field) else { return Value::Array(modified.clone()) };
            let original = how.original.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let is_in = |items: &[Value], item: &Value| same_item(items, item, key).is_some();
            let mut merged: Vec<Value> = Vec::new();
            let mut rest = live.iter().peekable();
            for item in modified {
                // What is live alone keeps its place before the others.
                while let Some(other) = rest.next_if(|other| !is_in(modified, other) || is_in(&merged, other))
                {
                    if !is_in(&merged, other) && !is_in(original, other) {
                        merged.push(other.clone());
                    }
                }
                let how = Merge { original: same_item(original, item, key), ..how };
                merged.push(merge("", how, item, same_item(live, item, key)));
            }
            let left: Vec<Value> =
                rest.filter(|other| !is_in(&merged, other) && !is_in(original, other)).cloned().collect();
            merged.extend(left);
            Value::Array(merged)
        }
        _ => modified.clone(),
    }
}

fn same_item<'v>(list: &'v [Value], item: &Value, key: &str) -> Option<&'v Value> {
    list.iter().find(|other| other[key] == item[key])
}
