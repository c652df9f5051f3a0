//! One line for each default that changed something, for the user to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::DEFAULTS;
use super::inject::Change;
use super::injected::{InjectedField, same_value};

/// What each default changed in `fields` on the way to `after`, in the words of
/// [`phrase`].
///
/// With a PUT of the bare manifest, which drops the record too, it is no news
/// that everything is still as it is stored. Whoever deletes one field is told
/// that it is back.
pub(super) fn announce(
    change: Change,
    after: &Value,
    fields: &BTreeSet<&InjectedField>,
    drops_record: bool,
) -> Vec<(&'static str, String)> {
    let mut phrases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for field in fields {
        let (from, to) = (field.find(change.object), field.find(after));
        let is_put_back =
            drops_record && change.old_object.is_some_and(|old| same(field, field.find(old), to));
        if !is_put_back && !same(field, from, to) {
            let phrases = phrases.entry(field.default_id()).or_default();
            let phrase = phrase(field, from, to);
            // The same label on the Deployment and on its template.
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    let in_order =
        DEFAULTS.iter().filter_map(|default| Some((default.id, phrases.remove(default.id)?.join(", "))));
    in_order.collect()
}

fn same(field: &InjectedField, left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same_value(field, left, right),
        (left, right) => left == right,
    }
}

fn phrase(field: &InjectedField, from: Option<&Value>, to: Option<&Value>) -> String {
    // Where a field is absent, the API server's default counts.
    let api_default = field.api_default();
    let plain_or_default =
        |value: Option<&Value>| value.or(api_default.as_ref()).map(plain).unwrap_or_default();
    let (from_text, to_text) = (plain_or_default(from), plain_or_default(to));
    match field {
        InjectedField::MaxUnavailable => format!("maxUnavailable {from_text} -> {to_text}"),
        InjectedField::MaxSurge => format!("maxSurge {from_text} -> {to_text}"),
        InjectedField::MinReadySeconds => format!("minReadySeconds {from_text} -> {to_text}"),
        InjectedField::GracePeriod => format!("grace period {from_text}s -> {to_text}s"),
        InjectedField::Label(key) | InjectedField::TemplateLabel(key) => match to {
            Some(_) => format!("label {key}={to_text}"),
            None => format!("label {key} removed"),
        },
        InjectedField::ReadinessProbe(container) => {
            part("readiness probe", container, from, to, &|probe| format!(" {}", handler(probe)))
        }
        InjectedField::PreStop(container) => part("preStop sleep", container, from, to, &|hook| {
            let seconds = hook.pointer("/sleep/seconds").and_then(Value::as_i64);
            seconds.map(|seconds| format!(" {seconds}s")).unwrap_or_default()
        }),
    }
}

fn part(
    what: &str,
    container: &str,
    from: Option<&Value>,
    to: Option<&Value>,
    detail: &dyn Fn(&Value) -> String,
) -> String {
    match (from, to) {
        (None, Some(to)) => format!("added {what}{} to container {container}", detail(to)),
        (_, Some(to)) => format!("changed {what}{} of container {container}", detail(to)),
        (_, None) => format!("removed {what} from container {container}"),
    }
}

/// A probe's handler in a few words, such as `tcpSocket 5000`.
fn handler(probe: &Value) -> String {
    let field = |handler: &Value, name: &str| handler.get(name).map(plain).unwrap_or_default();
    if let Some(http_get) = probe.get("httpGet") {
        return format!("httpGet {} on port {}", field(http_get, "path"), field(http_get, "port"));
    }
    for name in ["tcpSocket", "grpc"] {
        if let Some(handler) = probe.get(name) {
            return format!("{name} {}", field(handler, "port"));
        }
    }
    "exec".to_owned()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
