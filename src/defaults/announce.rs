//! One line for each default that changed something, for the user to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::DEFAULTS;
use super::inject::Claims;
use super::injected::{InjectedField, Record, same_value};

/// What each default changed between `before` and `after`, in the words of
/// [`phrase`].
pub(super) fn announce(
    before: &Value,
    after: &Value,
    claims: &Claims,
    record: &Record,
) -> Vec<(&'static str, String)> {
    let fields: BTreeSet<&InjectedField> = claims.fields().into_iter().chain(record.fields()).collect();
    let mut phrases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for field in fields.into_iter().rev() {
        let (from, to) = (field.find(before), field.find(after));
        let is_same = match (from, to) {
            (Some(from), Some(to)) => same_value(field, from, to),
            (from, to) => from == to,
        };
        if !is_same {
            let phrases = phrases.entry(field.default_id()).or_default();
            let phrase = phrase(field, from, to);
            // The same label on the Deployment and on its template.
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    let in_order = DEFAULTS.iter().filter_map(|default| Some((default.id, phrases.remove(default.id)?.join(", "))));
    in_order.collect()
}

fn phrase(field: &InjectedField, from: Option<&Value>, to: Option<&Value>) -> String {
    match field {
        InjectedField::MaxUnavailable => arrow("maxUnavailable", from, to, "25%"),
        InjectedField::MaxSurge => arrow("maxSurge", from, to, "25%"),
        InjectedField::MinReadySeconds => arrow("minReadySeconds", from, to, "0"),
        InjectedField::GracePeriod => {
            let seconds = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or(30);
            format!("grace period {}s -> {}s", seconds(from), seconds(to))
        }
        InjectedField::Label(key) | InjectedField::TemplateLabel(key) => match to {
            Some(to) => format!("label {key}={}", plain(to)),
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

fn arrow(name: &str, from: Option<&Value>, to: Option<&Value>, api_default: &str) -> String {
    let text = |value: Option<&Value>| value.map_or_else(|| api_default.to_owned(), plain);
    format!("{name} {} -> {}", text(from), text(to))
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
