//! What holds for every request, whatever was before it.

use gapless::kubernetes::kind::Kind;
use serde_json::{Map, Value, json};

use crate::support::simulated::cluster::{Exchange, Outcome, field_of};
use crate::support::simulated::dialect::{self, ROLLING_UPDATE};
use crate::support::simulated::kubectl::LAST_APPLIED;
use crate::support::simulated::managed_fields::Manager;
use crate::support::simulated::path;
use crate::support::simulated::step::{ADVISORY, KEEPS_API_DEFAULTS, OFF};
use crate::support::simulated::validity::invalid;

pub const RECORD: &str = "gapless.dev/injected";
pub const GRACE_PERIOD: &str = "spec.template.spec.terminationGracePeriodSeconds";
pub const MIN_READY_SECONDS: &str = "spec.minReadySeconds";
const MAX_UNAVAILABLE: &str = "spec.strategy.rollingUpdate.maxUnavailable";
const MAX_SURGE: &str = "spec.strategy.rollingUpdate.maxSurge";

/// The fields that gapless may write.
pub const FIELDS: [&str; 12] = [
    MAX_UNAVAILABLE,
    MAX_SURGE,
    MIN_READY_SECONDS,
    GRACE_PERIOD,
    "metadata.labels[version]",
    "metadata.labels[app.kubernetes.io/version]",
    "spec.template.metadata.labels[version]",
    "spec.template.metadata.labels[app.kubernetes.io/version]",
    "spec.template.spec.containers[app].readinessProbe",
    "spec.template.spec.containers[app].lifecycle.preStop",
    "spec.template.spec.containers[side].readinessProbe",
    "spec.template.spec.containers[side].lifecycle.preStop",
];

/// The record in an object.
pub fn record(object: &Value) -> Map<String, Value> {
    let text = object["metadata"]["annotations"].get(RECORD).and_then(Value::as_str);
    let entries: Map<String, Value> = text.map_or_else(Map::new, |text| serde_json::from_str(text).unwrap());
    entries.into_iter().map(|(path, entry)| (dialect::canonical(&path).into_owned(), entry)).collect()
}

/// The values that an entry of the record names: of the pair that waits for
/// the template's next change, ours and theirs.
fn recorded_values(entry: &Value) -> Vec<&Value> {
    match entry {
        Value::Array(pair) => pair.iter().collect(),
        value => vec![value],
    }
}

/// Whether the API server would fill this value in by itself.
pub fn is_api_default(path: &str, value: &Value) -> bool {
    match path {
        // It fills nothing into a custom resource.
        _ if dialect::kind() == Kind::Rollout => false,
        MAX_UNAVAILABLE => *value == Value::from(dialect::kind().rolling_block().max_unavailable()),
        MAX_SURGE => *value == Value::from(dialect::kind().rolling_block().max_surge()),
        GRACE_PERIOD => *value == 30,
        MIN_READY_SECONDS => *value == 0,
        _ => false,
    }
}

/// Whether an `Apply` entry owns the field, by one of these managers.
pub fn is_applied<'m>(managers: impl IntoIterator<Item = &'m Manager>, path: &str) -> bool {
    let mut segments = Vec::new();
    let path = dialect::path(path);
    let mut rest = &*path;
    while !rest.is_empty() {
        if let Some((key, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let is_item = segments.last().is_some_and(|last| last == "f:containers");
            segments.push(if is_item { format!("k:{}", json!({"name": key})) } else { format!("f:{key}") });
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            segments.push(format!("f:{}", &rest[..end]));
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    managers.into_iter().any(|manager| manager.operation == "Apply" && manager.fields.names(&segments))
}

/// The manifest of the last client-side apply.
pub fn last_applied(object: &Value) -> Option<Value> {
    let text = object["metadata"]["annotations"].get(LAST_APPLIED)?.as_str()?;
    serde_json::from_str(text).ok()
}

/// Whether the user provably wrote the value that is at `path`.
fn is_proven(exchange: &Exchange, path: &str, value: &Value) -> bool {
    let manifest = last_applied(&exchange.sent.object);
    is_applied(&exchange.sent.managers, path)
        || manifest.is_some_and(|manifest| path::get(&manifest, path) == Some(value))
}

/// All that holds for one request by itself.
pub fn check(exchange: &Exchange, profile: &str) -> Result<(), String> {
    if !exchange.second_patch.is_empty() {
        return Err(format!(
            "rules.md, Consequences: a second call in the same request patches {}",
            json!(exchange.second_patch)
        ));
    }
    let old = exchange.old.as_ref().map(|old| &old.object);
    if let Outcome::Invalid(why) = &exchange.outcome
        && invalid(&exchange.sent.object, old).is_none()
    {
        return Err(format!("gapless makes a valid object invalid: {why}"));
    }
    keeps_what_is_not_ours(exchange, profile)?;
    lets_go_of_rolling_parameters(exchange, profile)?;
    says_nothing_about_its_own(exchange)
}

/// *Whose field it is*, the table: a value that no record speaks of is the
/// user's, and so is one that differs from the record.
fn keeps_what_is_not_ours(exchange: &Exchange, profile: &str) -> Result<(), String> {
    let (sent, mutated) = (&exchange.sent.object, &exchange.mutated);
    let elsewhere = (without_our_fields(sent), without_our_fields(mutated));
    if elsewhere.0 != elsewhere.1 {
        return Err(format!(
            "gapless changes what is no field of its own:\n{}\n{}",
            elsewhere.0, elsewhere.1
        ));
    }
    let recreates = sent["spec"]["strategy"]["type"] == "Recreate";
    let (old_record, sent_record) =
        (exchange.old.as_ref().map(|old| record(&old.object)).unwrap_or_default(), record(sent));
    for path in FIELDS {
        let (value, result) = (path::get(sent, path), path::get(mutated, path));
        // What an undo brings back says nothing about fields that it does not
        // bring back.
        let speaks = !exchange.is_undo || path.starts_with("spec.template");
        let entries = [old_record.get(path), sent_record.get(path).filter(|_| speaks)];
        let recorded: Vec<&Value> = entries.into_iter().flatten().flat_map(recorded_values).collect();
        let Some(value) = value else {
            // What is absent in a custom resource nobody fills in.
            if profile == KEEPS_API_DEFAULTS
                && dialect::kind() != Kind::Rollout
                && path == MIN_READY_SECONDS
                && recorded.is_empty()
                && result.is_some()
            {
                return Err(format!("{path}: filled, although API defaults are not to be replaced"));
            }
            continue;
        };
        let is_nobodys = is_api_default(path, value) && !is_proven(exchange, path, value) && {
            profile != KEEPS_API_DEFAULTS
                || !recorded.is_empty()
                || (recreates && path.starts_with(ROLLING_UPDATE))
        };
        if !recorded.is_empty() && is_label_of_revision(exchange, path, value) {
            continue;
        }
        // A proof of 30 over our grace period may wait.
        let may_wait = path == GRACE_PERIOD && *value == 30 && !recorded.is_empty();
        if is_nobodys || may_wait {
            continue;
        }
        if recorded.is_empty() || !value.is_object() {
            if !recorded.contains(&value) && result != Some(value) {
                return Err(format!(
                    "{path}: {value} is the user's, gapless makes it {result:?} (record: {recorded:?})"
                ));
            }
            continue;
        }
        for (leaf, value) in leaves(value) {
            let is_ours = |recorded: &Value| leaves(recorded).contains(&(leaf.clone(), value));
            if recorded.iter().any(|recorded| is_ours(recorded)) || is_default_of_a_handler(&leaf, value) {
                continue;
            }
            if result.is_none_or(|result| !leaves(result).contains(&(leaf.clone(), value))) {
                return Err(format!("{path}: {leaf} {value} is the user's, gapless makes it {result:?}"));
            }
        }
    }
    Ok(())
}

/// Whether an undo that brings the template alone brings a version label back that says what
/// the image says: then it is gapless', whatever newer value the record has.
fn is_label_of_revision(exchange: &Exchange, path: &str, value: &Value) -> bool {
    let brings_template_alone = matches!(dialect::kind(), Kind::StatefulSet | Kind::DaemonSet);
    let image = path::get(&exchange.sent.object, "spec.template.spec.containers[app].image");
    let tag = image.and_then(Value::as_str).and_then(|image| image.rsplit(':').next());
    exchange.is_undo
        && brings_template_alone
        && path.starts_with("spec.template.metadata.labels")
        && value.as_str() == tag
}

fn without_our_fields(object: &Value) -> Value {
    let mut object = object.clone();
    for path in FIELDS {
        path::put(&mut object, path, None);
    }
    path::put(&mut object, &format!("metadata.annotations[{RECORD}]"), None);
    let is_left_empty = || {
        let block = path::get(&object, ROLLING_UPDATE).and_then(Value::as_object);
        dialect::kind() == Kind::DaemonSet && block.is_none_or(Map::is_empty)
    };
    if object["spec"]["strategy"]["type"] == "Recreate" || is_left_empty() {
        path::put(&mut object, ROLLING_UPDATE, None);
    }
    let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut();
    for container in containers.into_iter().flatten() {
        if container["lifecycle"].as_object().is_none_or(Map::is_empty) {
            container.as_object_mut().unwrap().remove("lifecycle");
        }
    }
    for metadata in ["/metadata", "/spec/template/metadata"] {
        let metadata = object.pointer_mut(metadata).and_then(Value::as_object_mut).unwrap();
        metadata
            .retain(|_, value| value.as_object().is_none_or(|fields| !fields.is_empty()) && !value.is_null());
    }
    object
}

/// The values in a probe or a hook, by where they are.
pub fn leaves(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                leaves(value).into_iter().map(move |(path, value)| (format!("{name}.{path}"), value))
            })
            .collect(),
        value => vec![(String::new(), value)],
    }
}

pub fn is_default_of_a_handler(leaf: &str, value: &Value) -> bool {
    match leaf {
        "timeoutSeconds." | "successThreshold." => *value == 1,
        "periodSeconds." => *value == 10,
        "failureThreshold." => *value == 3,
        "httpGet.path." => *value == "/",
        "httpGet.scheme." => *value == "HTTP",
        _ => false,
    }
}

/// A switch to Recreate goes through if nobody wrote the rolling parameters.
fn lets_go_of_rolling_parameters(exchange: &Exchange, profile: &str) -> Result<(), String> {
    let sent = &exchange.sent.object;
    let Some(old) = &exchange.old else { return Ok(()) };
    let recreates = sent["spec"]["strategy"]["type"] == "Recreate";
    let is_left = path::get(&exchange.mutated, ROLLING_UPDATE).is_some();
    if !recreates || !is_left || profile == ADVISORY || profile == OFF {
        return Ok(());
    }
    // An entry that the request takes away hands the field over.
    let (stored, sent_record) = (record(&old.object), record(sent));
    let manifest = last_applied(sent).unwrap_or_default();
    let is_nobodys = |path: &&str| {
        // Over what no record speaks of, a manifest proves whatever it says.
        let is_in_manifest = path::get(&manifest, path).is_some() && !stored.contains_key(*path);
        path::get(sent, path).is_none_or(|value| {
            let is_recorded =
                stored.get(*path) == Some(value) && (exchange.is_undo || sent_record.contains_key(*path));
            !is_in_manifest
                && !is_proven(exchange, path, value)
                && (is_recorded || is_api_default(path, value))
        })
    };
    match [MAX_UNAVAILABLE, MAX_SURGE].iter().all(is_nobodys) {
        true => Err("rollingUpdate stays beside Recreate, although nobody wrote it".to_owned()),
        false => Ok(()),
    }
}

/// Promise 5: no denial and no warning about what gapless wrote.
fn says_nothing_about_its_own(exchange: &Exchange) -> Result<(), String> {
    let record = record(&exchange.mutated);
    let denied = match &exchange.outcome {
        Outcome::Denied(fields, _) => fields.clone(),
        _ => Vec::new(),
    };
    let warned = exchange.warnings.iter().filter_map(|line| field_of(line));
    for field in denied.into_iter().chain(warned) {
        let is_about_ours = |(path, entry): &(&String, &Value)| {
            let Some(rest) = field.strip_prefix(path.as_str()) else {
                return field == ROLLING_UPDATE && *path == MAX_UNAVAILABLE;
            };
            // An entry may be left for some parts of a value alone.
            let is_covered = |(leaf, value): &(String, &Value)| {
                leaves(entry).contains(&(leaf.clone(), value)) || is_default_of_a_handler(leaf, value)
            };
            let value = path::get(&exchange.mutated, path).unwrap_or(&Value::Null);
            match rest.strip_prefix('.') {
                Some(part) => path::get(entry, part).is_some(),
                None => rest.is_empty() && (entry.is_array() || leaves(value).iter().all(is_covered)),
            }
        };
        if let Some((path, _)) = record.iter().find(is_about_ours) {
            return Err(format!(
                "gapless complains about {field}, where {path} is its own: {:?} {:?}",
                exchange.outcome, exchange.warnings
            ));
        }
    }
    Ok(())
}
