//! What changes in an object, as lines of YAML: only the fields that differ, with the way
//! to them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::ownership::record::ANNOTATION;
use crate::yaml::render::{Flow, Indents, block_entry, flow_entry};

/// How YAML is written here.
const INDENTS: Indents = Indents { map: 2, list: 0 };

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It leads to a change.
    Kept,
    /// It is new.
    Added,
    /// It goes.
    Removed,
}

/// A line, and what becomes of it.
pub type Line = (Sign, String);

/// What leads from `before` to `after`, but for the record that gapless keeps of it.
pub fn lines(before: &Value, after: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        fields(before, after, &["metadata", "annotations", ANNOTATION], 0, &mut lines);
    }
    lines
}

/// What differs between two maps, each line indented by `indent`. Nothing is said of the
/// field at the end of the path `without`.
fn fields(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    without: &[&str],
    indent: usize,
    lines: &mut Vec<Line>,
) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let [old, new] = [before, after].map(|fields| fields.get(key).filter(|value| !value.is_null()));
        let within = match without {
            [first, rest @ ..] if key == first => rest,
            _ => &[],
        };
        let is_left_out = without == [key.as_str()];
        if old == new || is_left_out {
            continue;
        }
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                nested(Sign::Kept, key, indent, lines, |lines| {
                    fields(old, new, within, indent + INDENTS.map, lines);
                });
            }
            // All of it is new, but something in it is left out.
            (None, Some(Value::Object(new))) if !within.is_empty() => {
                nested(Sign::Added, key, indent, lines, |lines| {
                    fields(&Map::new(), new, within, indent + INDENTS.map, lines);
                });
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) if are_alike(old, new) => {
                nested(Sign::Kept, key, indent, lines, |lines| items(old, new, indent + INDENTS.list, lines));
            }
            _ => {
                lines.extend(old.into_iter().flat_map(|value| entry(Sign::Removed, key, value, indent)));
                lines.extend(new.into_iter().flat_map(|value| entry(Sign::Added, key, value, indent)));
            }
        }
    }
}

/// The lines below a key, and the key if there are any.
fn nested(sign: Sign, key: &str, indent: usize, lines: &mut Vec<Line>, below: impl FnOnce(&mut Vec<Line>)) {
    let start = lines.len();
    below(lines);
    if lines.len() > start {
        lines.insert(start, (sign, format!("{:indent$}{key}:", "")));
    }
}

/// Whether both are maps with the same names, one by one.
fn are_alike(before: &[Value], after: &[Value]) -> bool {
    let is_alike = |(old, new): (&Value, &Value)| {
        old.is_object() && new.is_object() && old.get("name").is_some() && old.get("name") == new.get("name")
    };
    before.len() == after.len() && before.iter().zip(after).all(is_alike)
}

/// What differs between items of the same names.
fn items(before: &[Value], after: &[Value], indent: usize, lines: &mut Vec<Line>) {
    for (old, new) in before.iter().zip(after) {
        let (Value::Object(old), Value::Object(new)) = (old, new) else { continue };
        let start = lines.len();
        fields(old, new, &[], indent + INDENTS.map, lines);
        if lines.len() > start {
            let name = old.get("name").map(|name| flow_entry("name", name, Flow::default()));
            lines.insert(start, (Sign::Kept, format!("{:indent$}- {}", "", name.unwrap_or_default())));
        }
    }
}

fn entry(sign: Sign, key: &str, value: &Value, indent: usize) -> impl Iterator<Item = Line> {
    block_entry(key, value, indent, INDENTS).into_iter().map(move |line| (sign, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(before: &Value, after: &Value) -> String {
        let sign = |sign| match sign {
            Sign::Kept => ' ',
            Sign::Added => '+',
            Sign::Removed => '-',
        };
        lines(before, after).iter().map(|(it, line)| format!("{}{line}\n", sign(*it))).collect()
    }

    #[test]
    fn only_what_differs_is_shown_with_the_way_to_it() {
        let before = json!({
            "metadata": {"name": "web", "annotations": null},
            "spec": {
                "replicas": 2,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
                "template": {"spec": {"containers": [{"name": "app", "image": "app"}, {"name": "side"}]}},
            },
        });
        let mut after = before.clone();
        after["metadata"]["annotations"] = json!({ANNOTATION: "{}"});
        after["metadata"]["labels"] = json!({"app.kubernetes.io/version": "1.2.3"});
        after["spec"]["strategy"]["rollingUpdate"] = json!({"maxUnavailable": 0});
        after["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
            json!({"preStop": {"sleep": {"seconds": 10}}});
        assert_eq!(
            text(&before, &after),
            r#" metadata:
+  labels:
+    app.kubernetes.io/version: "1.2.3"
 spec:
   strategy:
     rollingUpdate:
-      maxUnavailable: "25%"
+      maxUnavailable: 0
   template:
     spec:
       containers:
       - name: app
+        lifecycle:
+          preStop:
+            sleep:
+              seconds: 10
"#
        );
        assert_eq!(lines(&before, &before), []);
    }

    #[test]
    fn the_record_is_left_out_and_what_is_beside_it_is_not() {
        let after = json!({"metadata": {"annotations": {ANNOTATION: "{}", "a": "b"}}});
        assert_eq!(text(&json!({"metadata": {}}), &after), " metadata:\n+  annotations:\n+    a: b\n");
        let after = json!({"metadata": {"annotations": {ANNOTATION: "{}"}}});
        assert_eq!(text(&json!({"metadata": {}}), &after), "");
    }

    #[test]
    fn lists_that_are_not_alike_are_shown_whole() {
        let [before, after] = [json!({"args": ["a"]}), json!({"args": ["a", "b"]})];
        assert_eq!(text(&before, &after), "-args:\n-- a\n+args:\n+- a\n+- b\n");
    }
}
