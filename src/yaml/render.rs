//! New YAML, in the style of the text around it.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

/// Words that are no text for some reader of YAML (YAML 1.1, which kubectl
/// reads, has the most of them).
const NO_TEXT: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];

/// How far lines are indented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indents {
    /// A map in a map.
    pub map: usize,
    /// The dashes of a list in a map.
    pub list: usize,
}

/// How maps and lists are written on one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Whether all text is in double quotes, as in JSON.
    pub is_quoted: bool,
    /// Whether there are no blanks after colons and commas.
    pub is_compact: bool,
}

/// The lines of one entry of a map in block style, the first of which is
/// indented by `indent`.
pub fn block_entry(key: &str, value: &Value, indent: usize, indents: Indents) -> Vec<String> {
    let mut lines = Vec::new();
    let key = text(key, false);
    let start = format!("{:indent$}{key}:", "");
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            lines.push(start);
            for (key, value) in in_order(fields) {
                lines.extend(block_entry(key, value, indent + indents.map, indents));
            }
        }
        Value::Array(items) if !items.is_empty() => {
            lines.push(start);
            let dash = indent + indents.list;
            lines.extend(items.iter().map(|item| format!("{:dash$}- {}", "", flow(item, Flow::default()))));
        }
        other => lines.push(format!("{start} {}", flow(other, Flow::default()))),
    }
    lines
}

/// A whole document in block style. A text of several lines is a literal block, as long
/// as one can hold it.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) => fields_in_block(&mut text, fields, 0),
        other => {
            text.push_str(&flow(other, Flow::default()));
            text.push('\n');
        }
    }
    text
}

/// The fields of a map, each on lines of its own: its name, then what fits on one line,
/// then the rest.
fn fields_in_block(text: &mut String, fields: &serde_json::Map<String, Value>, indent: usize) {
    let place = |(key, value): &(&String, &Value)| match value {
        _ if *key == "name" => 0,
        Value::String(text) if is_block(text) => 2,
        Value::Object(fields) if !fields.is_empty() => 2,
        Value::Array(items) if items.iter().any(|item| item.is_object()) => 2,
        _ => 1,
    };
    let mut entries: Vec<_> = fields.iter().collect();
    entries.sort_by_key(place);
    for (key, value) in entries {
        text.push_str(&format!("{:indent$}{}:", "", self::text(key, false)));
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                text.push('\n');
                fields_in_block(text, fields, indent + 2);
            }
            Value::Array(items) if items.iter().any(|item| item.is_object()) => {
                text.push('\n');
                items.iter().for_each(|item| item_in_block(text, item, indent + 2));
            }
            Value::String(lines) if is_block(lines) => {
                text.push_str(" |-\n");
                let inner = indent + 2;
                lines.lines().for_each(|line| text.push_str(&format!("{:inner$}{line}\n", "")));
            }
            other => text.push_str(&format!(" {}\n", flow(other, Flow::default()))),
        }
    }
}

fn item_in_block(text: &mut String, item: &Value, indent: usize) {
    match item {
        Value::Object(fields) if !fields.is_empty() => {
            let mut inner = String::new();
            fields_in_block(&mut inner, fields, indent + 2);
            text.push_str(&format!("{:indent$}- {}", "", inner.trim_start()));
        }
        other => text.push_str(&format!("{:indent$}- {}\n", "", flow(other, Flow::default()))),
    }
}

/// Whether a text has several lines and survives a literal block unharmed.
fn is_block(text: &str) -> bool {
    let is_plain = |line: &str| !line.is_empty() && !line.ends_with(' ') && !line.contains(char::is_control);
    text.contains('\n') && !text.starts_with(' ') && !text.ends_with('\n') && text.split('\n').all(is_plain)
}

/// One entry of a map in flow style.
pub fn flow_entry(key: &str, value: &Value, style: Flow) -> String {
    let blank = if style.is_compact { "" } else { " " };
    format!("{}:{blank}{}", text(key, style.is_quoted), flow(value, style))
}

/// A value on one line.
pub fn flow(value: &Value, style: Flow) -> String {
    let comma = if style.is_compact { "," } else { ", " };
    match value {
        Value::Object(fields) => {
            let entries: Vec<_> =
                in_order(fields).map(|(key, value)| flow_entry(key, value, style)).collect();
            format!("{{{}}}", entries.join(comma))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| flow(item, style)).collect();
            format!("[{}]", items.join(comma))
        }
        Value::String(string) => text(string, style.is_quoted),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// One entry of a map in JSON, with a line for each field. Lines after the
/// first are indented by `indent`, and by `unit` for each level.
pub fn json_entry(key: &str, value: &Value, indent: &str, unit: &str) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(unit.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    let json = match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        // JSON is always written to memory without an error.
        Err(_) => value.to_string(),
    };
    format!("{}: {}", text(key, true), json.replace('\n', &format!("\n{indent}")))
}

/// The entries of a map, what holds other fields first: the handler of a probe
/// comes before its times.
fn in_order(fields: &serde_json::Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let is_nested = |(_, value): &(&String, &Value)| value.is_object() || value.is_array();
    fields.iter().filter(is_nested).chain(fields.iter().filter(move |entry| !is_nested(entry)))
}

/// A text. Only what every reader takes for text stands without quotes.
fn text(text: &str, is_quoted: bool) -> String {
    let starts_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_plain = |other: char| other.is_ascii_alphanumeric() || "-_./".contains(other);
    let is_no_text = || NO_TEXT.iter().any(|word| text.eq_ignore_ascii_case(word));
    if !is_quoted && starts_plain && text.chars().all(is_plain) && !is_no_text() {
        return text.to_owned();
    }
    // A string of JSON is one of YAML too.
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_as_it_was() {
        let value = json!({
            "kind": "Policy",
            "empty": [],
            "spec": {
                "rules": [{"expression": "a &&\n  b", "name": "first"}, {"name": "on", "expression": "1"}, 7],
                "texts": ["x: y", "", " lines\nwith a blank", "ends\n", "tab\tand\nline"],
                "none": null,
                "lines": {"blank": " a\nb", "end": "a\n", "trailing": "a \nb", "tab": "a\n\tb", "fine": "a\n b"},
            },
        });
        let written = document(&value);
        assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), value, "{written}");
        assert!(written.starts_with("empty: []\nkind: Policy\nspec:\n"), "{written}");
        assert!(
            written.contains("    - name: first\n      expression: |-\n        a &&\n          b\n"),
            "{written}"
        );
    }

    #[test]
    fn text_is_quoted_unless_every_reader_takes_it_for_text() {
        for plain in ["v1.2", "tcpSocket", "app.kubernetes.io/version", "/", "/ready", "a-b_c"] {
            assert_eq!(text(plain, false), plain);
        }
        let quoted = [
            "",
            "1",
            "1.0",
            "1e3",
            "0x1",
            "1_000",
            "12:30",
            "2024-01-01",
            "~",
            "null",
            "True",
            "NO",
            "y",
            "on",
            ".inf",
            "NaN",
            "25%",
            "a b",
            "a: b",
            "a #b",
            "- a",
            "*a",
            "&a",
            "!a",
            "<<",
            "=",
            "ä",
            "a\nb",
            "'",
            "\"",
            "-c",
        ];
        for string in quoted {
            let written = text(string, false);
            assert!(written.starts_with('"'), "{string:?}");
            assert_eq!(serde_saphyr::from_str::<String>(&written).unwrap(), string);
        }
        assert_eq!(text("v1", true), "\"v1\"");
    }

    #[test]
    fn a_block_has_the_indents_of_its_surroundings() {
        let probe = json!({"exec": {"command": ["sh", "-c", "a b"]}, "periodSeconds": 5, "x": {}});
        let lines = block_entry("readinessProbe", &probe, 2, Indents { map: 4, list: 0 });
        let expected = [
            "  readinessProbe:",
            "      exec:",
            "          command:",
            "          - sh",
            "          - \"-c\"",
            "          - \"a b\"",
            "      x: {}",
            "      periodSeconds: 5",
        ];
        assert_eq!(lines, expected);
        let lines = block_entry("a", &json!({"b": [{"c": 1}, []]}), 0, Indents { map: 2, list: 2 });
        assert_eq!(lines, ["a:", "  b:", "    - {c: 1}", "    - []"]);
    }

    #[test]
    fn flow_is_yaml_or_json() {
        let value = json!({"sleep": {"seconds": 10}, "a": ["b"]});
        assert_eq!(flow(&value, Flow::default()), "{a: [b], sleep: {seconds: 10}}");
        let json = Flow { is_quoted: true, is_compact: false };
        assert_eq!(flow(&value, json), r#"{"a": ["b"], "sleep": {"seconds": 10}}"#);
        let compact = Flow { is_quoted: true, is_compact: true };
        let pretty = json_entry("k", &json!({"a": {"b": 1}}), "\t", "  ");
        assert_eq!(pretty, "\"k\": {\n\t  \"a\": {\n\t    \"b\": 1\n\t  }\n\t}");
        assert_eq!(flow_entry("k", &value, compact), r#""k":{"a":["b"],"sleep":{"seconds":10}}"#);
    }
}
