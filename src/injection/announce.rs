//! What each default changed, in lines for the user to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Terms;
use super::draft::Draft;
use crate::defaults::DEFAULTS;
use crate::ownership::owner::Owner;
use crate::ownership::owners::Owners;
use crate::ownership::parts::same_value;
use crate::ownership::record::{ANNOTATION, InjectedField};
use crate::policy::Waivers;
use crate::waiver;

/// What one default did.
#[derive(Default)]
struct Did {
    /// What it filled, refreshed or removed.
    changed: Phrases,
    /// What is there again although somebody took it away.
    kept: Phrases,
    /// What a waiver took away.
    withdrawn: Phrases,
}

/// Phrases in their order, each once: a label of the Deployment is one of its
/// template too.
#[derive(Default)]
struct Phrases {
    list: Vec<String>,
    seen: BTreeSet<String>,
}

impl Phrases {
    fn add(&mut self, phrase: String) {
        if self.seen.insert(phrase.clone()) {
            self.list.push(phrase);
        }
    }
}

/// What each default changed in `fields` on the way from the request's object to
/// the draft.
///
/// With a PUT of the bare manifest, which drops the record too, it is no news
/// that everything is still as it is stored. Whoever takes one field away is told
/// that it is back, and how to be rid of it.
pub(super) fn announce(
    owners: &Owners,
    draft: &Draft,
    fields: &BTreeSet<InjectedField>,
    terms: Terms,
) -> Vec<(&'static str, String)> {
    let is_waived = |field: &InjectedField| terms.waivers.reason(field.default_id()).is_some();
    let mut by_default: BTreeMap<&str, Did> = BTreeMap::new();
    for field in fields {
        let (mut from, to) = (owners.find(field), draft.find(field));
        // A bare PUT that waives a default does not hold what it withdraws.
        if owners.is_withdrawn(field) && same(from, to) && owners.changes_template() {
            from = owners.stored(field);
        }
        let is_as_stored = owners.old_object().is_some() && same(owners.stored(field), to);
        if same(from, to) || (is_as_stored && owners.record().is_none()) {
            continue;
        }
        let did = by_default.entry(field.default_id()).or_default();
        match to {
            Some(to) if is_as_stored && (owners.is_in_record(field) || draft.is_handed_back(field)) => {
                did.kept.add(name(field, to));
            }
            _ if is_dropped_for_recreate(field, draft) => {
                let phrase = "removed rollingUpdate, which the API server rejects beside Recreate";
                did.changed.add(phrase.to_owned());
            }
            _ if owners.is_withdrawn(field) || (draft.is_released(field) && is_waived(field)) => {
                did.withdrawn.add(phrase(field, from, to));
            }
            Some(_) if field.has_parts() && owners.owner(field) == Owner::User => {
                did.changed.add(handed_over(field));
            }
            _ => did.changed.add(phrase(field, from, to)),
        }
    }
    let in_order = DEFAULTS.iter().filter_map(|default| Some((default.id, by_default.remove(default.id)?)));
    in_order.flat_map(|(id, did)| did.lines(id, terms).into_iter().map(move |line| (id, line))).collect()
}

impl Did {
    fn lines(self, id: &str, terms: Terms) -> Vec<String> {
        let waiver = format!("{}{id}", waiver::PREFIX);
        let mut lines = Vec::new();
        if !self.changed.list.is_empty() {
            lines.push(self.changed.list.join(", "));
        }
        if !self.kept.list.is_empty() {
            let way_out = match terms.profile.waivers {
                Waivers::Allowed => format!("waive it with {waiver}"),
                Waivers::Forbidden => "write a value of your own to replace it".to_owned(),
            };
            lines.push(format!("kept {}; {way_out}", self.kept.list.join(", ")));
        }
        if !self.withdrawn.list.is_empty() {
            let phrases = self.withdrawn.list.join(", ");
            lines
                .push(format!("{phrases} for {waiver}; to keep a value, remove its entry from {ANNOTATION}"));
        }
        lines
    }
}

fn is_dropped_for_recreate(field: &InjectedField, draft: &Draft) -> bool {
    let is_amount = matches!(field, InjectedField::MaxUnavailable | InjectedField::MaxSurge);
    is_amount && draft.is_recreate()
}

fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same_value(left, right),
        (left, right) => left == right,
    }
}

/// A field with its value.
fn name(field: &InjectedField, value: &Value) -> String {
    match field {
        InjectedField::MaxUnavailable => format!("maxUnavailable {}", plain(value)),
        InjectedField::MaxSurge => format!("maxSurge {}", plain(value)),
        InjectedField::MinReadySeconds => format!("minReadySeconds {}", plain(value)),
        InjectedField::GracePeriod => format!("grace period {}s", plain(value)),
        InjectedField::Label(key) | InjectedField::TemplateLabel(key) => {
            format!("label {key}={}", plain(value))
        }
        InjectedField::ReadinessProbe(container) => {
            format!("readiness probe {} of container {container}", handler(value))
        }
        InjectedField::PreStop(container) => {
            format!("preStop sleep{} of container {container}", seconds(value))
        }
    }
}

fn handed_over(field: &InjectedField) -> String {
    let (what, container) = match field {
        InjectedField::PreStop(container) => ("preStop hook", container.as_str()),
        field => ("readiness probe", field.container().unwrap_or_default()),
    };
    format!("left the {what} of container {container} to you, without what had been injected into it")
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
        InjectedField::PreStop(container) => part("preStop sleep", container, from, to, &seconds),
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

/// The seconds of a native sleep, such as ` 10s`.
fn seconds(hook: &Value) -> String {
    let seconds = hook.pointer("/sleep/seconds").and_then(Value::as_i64);
    seconds.map(|seconds| format!(" {seconds}s")).unwrap_or_default()
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
