//! Whether an object of a file is whole, and whether its values can be.

use serde_json::Value;

use super::objects::Object;
use super::placeholder;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::View;
use crate::workload::validity::{self, Mistake};
use crate::workload::{Context, Workload, WrongType};
use crate::yaml::node::{Node, Span};

/// How keys begin that tell Kustomize and kubectl how to merge (strategic merge patches).
const DIRECTIVES: [&str; 4] = ["$patch", "$retainKeys", "$deleteFromPrimitiveList/", "$setElementOrder/"];

/// Why an object is not looked at any further.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is only a part of an object, for others to merge.
    Part {
        /// What shows that, such as `it has no spec.selector`.
        because: String,
    },
    /// It holds a value that the API server rejects.
    Wrong(Wrong),
}

/// A value that the API server rejects.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where it stands in the document.
    pub span: Span,
    /// The field, and what is wrong with it.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
}

/// Looks at an object of this kind, whose value is `value`.
///
/// # Errors
/// If it is only a part of one, or a mistake.
pub fn examine(object: &Object, kind: Kind, value: &Value) -> Result<(), Unusable> {
    if let Some(because) = part_because(object.node, value) {
        return Err(Unusable::Part { because });
    }
    let context = Context { kind, ..Context::of_document(value) };
    let workload = Workload::read_view(View::of(value), context)
        .map_err(|error| Unusable::Wrong(Wrong::of_type(object, &error)))?;
    match workload.mistake().or_else(|| workload.contradiction()) {
        Some(mistake) => Err(Unusable::Wrong(Wrong::of_value(object, &mistake))),
        None => Ok(()),
    }
}

fn part_because(node: &Node, value: &Value) -> Option<String> {
    if let Some(directive) = directive(node) {
        return Some(format!("it has the key {directive}"));
    }
    let missing = validity::missing(value);
    (!missing.is_empty()).then(|| format!("it lacks {}", missing.join(", ")))
}

/// The first key of a strategic merge patch in it.
fn directive(node: &Node) -> Option<&str> {
    let is_directive = |key: &&str| DIRECTIVES.iter().any(|directive| key.starts_with(directive));
    let mut parts = vec![node];
    while let Some(part) = parts.pop() {
        if let Some(key) = part.entries().map(|(key, _)| key).find(is_directive) {
            return Some(key);
        }
        parts.extend(part.entries().map(|(_, value)| value).chain(part.items().into_iter().flatten()));
    }
    None
}

impl Wrong {
    /// A value of the wrong type.
    pub fn of_type(object: &Object, error: &WrongType) -> Self {
        let message = format!("{}: {}", error.path, in_plain_words(&error.message));
        Wrong::with_hint(object.node.place_of_text(&error.path), message)
    }

    fn of_value(object: &Object, mistake: &Mistake) -> Self {
        let message = format!("{}: {}", mistake.field, mistake.message);
        Wrong::with_hint(object.node.place_of(&mistake.field), message)
    }

    fn with_hint(span: Span, message: String) -> Self {
        let hint = placeholder::find(&message).map(|found| found.hint());
        Wrong { span, message, hint }
    }
}

/// What serde says of a wrong type, in the words of YAML and JSON instead of
/// Rust's.
fn in_plain_words(message: &str) -> String {
    let plain = || {
        let what =
            message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
        let (found, expected) = what.rsplit_once(", expected ")?;
        let is_number = found.starts_with("integer ") || found.starts_with("floating point ");
        let found = match found {
            // 1.0 is 1 by now, and who writes that in quotes writes something else.
            _ if is_number && expected == "a borrowed string" => "a number",
            "map" => "an object",
            "sequence" => "a list",
            // Such as: floating point `1.5`.
            scalar => ["boolean ", "integer ", "floating point ", "string "]
                .iter()
                .find_map(|kind| scalar.strip_prefix(kind))
                .map_or(scalar, |value| value.trim_matches('`')),
        };
        let expected = match expected {
            "i32" => "a whole number of at most 32 bits",
            "i64" => "a whole number",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "a map" => "an object",
            "a borrowed string" if found == "an object" || found == "a list" => "text",
            "a borrowed string" => "text: write it in quotes",
            other => other,
        };
        Some(format!("found {found}, expected {expected}"))
    };
    plain().unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::objects;
    use super::*;

    #[test]
    fn wrong_types_are_told_in_plain_words() {
        let table = [
            (json!({"replicas": "three"}), "found \"three\", expected a whole number of at most 32 bits"),
            (json!({"replicas": 1.5}), "found 1.5, expected a whole number of at most 32 bits"),
            (
                json!({"replicas": 9_999_999_999_i64}),
                "found 9999999999, expected a whole number of at most 32 bits",
            ),
            (json!({"strategy": {"type": 5}}), "found a number, expected text: write it in quotes"),
            (json!({"strategy": {"type": [5]}}), "found a list, expected text"),
            (json!({"strategy": "Recreate"}), "found \"Recreate\", expected an object"),
            (json!({"template": {"spec": {"containers": {}}}}), "found an object, expected a list"),
            (
                json!({"template": {"spec": {"terminationGracePeriodSeconds": "1m"}}}),
                "found \"1m\", expected a whole number",
            ),
            (json!({"template": {"spec": {"hostNetwork": "yes"}}}), "found \"yes\", expected true or false"),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": true}}}),
                "found true, expected a number or a string",
            ),
        ];
        for (spec, expected) in table {
            let object = json!({ "spec": spec });
            let error = Workload::read(&object).unwrap_err();
            assert_eq!(in_plain_words(&error.message), expected);
        }
    }

    /// What is said of the one object in `text`.
    fn said(text: &str) -> String {
        let node: Node = serde_saphyr::from_str(text).unwrap();
        let object = objects::objects(&node).remove(0);
        match examine(&object, Kind::Deployment, &node.to_value()) {
            Ok(()) => "whole".to_owned(),
            Err(Unusable::Part { because }) => because,
            Err(Unusable::Wrong(Wrong { span, message, hint })) => {
                format!("{}: {message}{}", span.line, if hint.is_some() { " (hint)" } else { "" })
            }
        }
    }

    const WHOLE: &str = "\
metadata: {name: a}
spec:
  replicas: 2
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - name: a
        image: a:1
";

    #[test]
    fn a_part_is_told_from_a_mistake() {
        let table = [
            ("", "", "whole"),
            ("{matchLabels: {app: a}}", "{}", "it lacks spec.selector"),
            ("        image: a:1\n", "", "it lacks the image of container a"),
            ("        image: a:1\n", "        $patch: delete\n", "it has the key $patch"),
            (
                "      containers:",
                "      $setElementOrder/containers: []\n      containers:",
                "it has the key $setElementOrder/containers",
            ),
            ("{name: a}", "{name: a, labels: {$patch: replace}}", "it has the key $patch"),
            (
                "replicas: 2",
                "replicas: two",
                "3: spec.replicas: found \"two\", expected a whole number of at most 32 bits",
            ),
            (
                "replicas: 2",
                "replicas: $(N)",
                "3: spec.replicas: found \"$(N)\", expected a whole number of at most 32 bits (hint)",
            ),
            ("replicas: 2", "replicas: -2", "3: spec.replicas: -2 is negative"),
            (
                "labels: {app: a}",
                "labels: {app: b}",
                "4: spec.selector: it asks for app=a, which is no label in spec.template.metadata.labels",
            ),
            // The rest of a part is somewhere else, and so may be what fills it in.
            ("replicas: 2\n  selector: {matchLabels: {app: a}}", "replicas: $(N)", "it lacks spec.selector"),
        ];
        for (from, to, expected) in table {
            assert_eq!(said(&WHOLE.replace(from, to)), expected, "{from:?} {to:?}");
        }
    }
}
