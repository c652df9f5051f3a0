//! Which defaults reach an object, and which of its fields are gapless' own.
//!
//! Read [`inject`] from top to bottom. Two rules govern it: no rollout that
//! the user's own change did not start, and nothing overwritten that the user
//! wrote.

use std::collections::{BTreeMap, BTreeSet};

use json_patch::PatchOperation;
use serde_json::Value;

use super::injected::{self, InjectedField, Record, same_value};
use super::intent::{Intent, Origin};
use super::{DEFAULTS, DefaultRule, announce, rolling_update};
use crate::field::FieldPath;
use crate::finding::Problem;
use crate::patch::{self, PatchError};
use crate::policy::Settings;
use crate::waiver::ActiveWaivers;
use crate::workload::{Workload, WrongType};

/// An object on its way into the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The object as the request wants it.
    pub object: &'a Value,
    /// The object as it is stored, for an update.
    pub old_object: Option<&'a Value>,
    /// Whether the request is a `kubectl rollout undo`, which replaces all
    /// annotations by those of an older revision.
    pub is_rollback: bool,
    /// Where the object comes from.
    pub origin: Origin,
}

/// What is injected into one object.
#[derive(Debug)]
pub struct Injection {
    /// The patch.
    pub operations: Vec<PatchOperation>,
    /// The object with the patch applied.
    pub object: Value,
    /// The defaults that changed something, and what they did in one line.
    pub announcements: Vec<(&'static str, String)>,
    /// Annotations that should have steered a default.
    pub problems: Vec<Problem>,
}

impl Injection {
    /// Nothing is injected.
    pub fn none(object: &Value) -> Self {
        let object = object.clone();
        Injection { operations: Vec::new(), object, announcements: Vec::new(), problems: Vec::new() }
    }
}

/// Why nothing can be injected. Either is a defect of the request or of
/// gapless, never a verdict.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// A field has the wrong type.
    #[error(transparent)]
    WrongType(#[from] WrongType),
    /// The patch could not be made.
    #[error(transparent)]
    Patch(#[from] PatchError),
}

/// Injects the defaults into an object.
///
/// # Errors
/// See [`InjectError`].
pub fn inject(
    change: Change,
    settings: &Settings,
    waivers: &ActiveWaivers,
) -> Result<Injection, InjectError> {
    let intent = Intent::new(change.object, change.origin);
    let claims = Claims::read(change);

    // A PUT of the bare manifest drops what was injected. Putting it back as
    // it was makes the template equal to the stored one again. If it does not,
    // the user is changing the template, and all is computed anew.
    let (mut object, mut restored) = restore(change, &claims, &intent, waivers)?;
    let changes_template = change.old_object.is_none_or(|old| !same_template(&object, old));
    if changes_template {
        if !restored.is_empty() {
            object = change.object.clone();
            restored = Record::default();
        }
        drop_second_handlers(&mut object, change.object, &claims, &intent);
    }

    // With the template unchanged, what is gapless' own in it stays as it is,
    // whatever the defaults say today.
    let ours = claims.ours(change, &restored, changes_template);
    let is_recomputed = |field: &InjectedField| changes_template || field.default_id() == rolling_update::ID;
    let recomputed = ours.filter(|field, _| is_recomputed(field));
    let mut record = ours.filter(|field, _| !is_recomputed(field));

    // The rest is computed on what the user alone wrote.
    let mut taken = BTreeMap::new();
    for field in recomputed.fields() {
        taken.insert(field.clone(), patch::take(&mut object, &field.path()));
    }
    let applies = |default: &&DefaultRule| {
        let may_apply = changes_template || !default.in_template;
        may_apply && (default.is_enabled)(settings) && waivers.reason(default.id).is_none()
    };
    let mut injected = Record::default();
    let mut problems = Vec::new();
    let users = Workload::read(&object)?;
    for default in DEFAULTS.iter().filter(applies) {
        let filled = (default.fill)(&users, &intent, settings, &injected);
        problems.extend(filled.problem);
        injected.extend(filled.fields);
    }
    for (field, value) in injected.entries() {
        let live = taken.remove(field).flatten();
        // As the API server completed it, if that is all the difference.
        let value = live.filter(|live| same_value(field, value, live)).unwrap_or_else(|| value.clone());
        patch::set(&mut object, &field.path(), value)?;
    }
    for field in taken.into_keys() {
        // What is no longer wanted goes, except where the API server would
        // fill the same value in again.
        let api_default = field.api_default();
        if api_default.is_some() && field.find(change.object) == api_default.as_ref() {
            patch::set(&mut object, &field.path(), api_default.unwrap_or_default())?;
        }
    }
    record.extend(injected.into_entries());

    let touched: BTreeSet<&InjectedField> = claims.fields().into_iter().chain(record.fields()).collect();
    let announcements = announce::announce(change, &object, &touched, claims.own.is_none());
    let annotation = FieldPath::new("metadata.annotations").key(injected::ANNOTATION);
    match record.is_empty() {
        true => drop(patch::take(&mut object, &annotation)),
        false => patch::set(&mut object, &annotation, Value::String(record.to_annotation()))?,
    }
    let paths: Vec<FieldPath> = touched.into_iter().map(InjectedField::path).chain([annotation]).collect();
    let operations = patch::operations(change.object, &object, &paths)?;
    Ok(Injection { operations, object, announcements, problems })
}

/// The new object with what the stored object's record names put back, where it
/// is still gapless' own there and absent in the new object.
fn restore(
    change: Change,
    claims: &Claims,
    intent: &Intent,
    waivers: &ActiveWaivers,
) -> Result<(Value, Record), PatchError> {
    let mut object = change.object.clone();
    let mut restored = Record::default();
    let Some(old_object) = change.old_object else { return Ok((object, restored)) };
    for field in claims.old.fields() {
        let is_absent = match field {
            // Never absent: the API server fills it in.
            InjectedField::GracePeriod => {
                let live = field.find(change.object);
                (live.is_none() || live == field.api_default().as_ref()) && !intent.is_proven(&field.path())
            }
            // Outside the template, and computed anew for every request.
            InjectedField::MaxUnavailable | InjectedField::MaxSurge | InjectedField::MinReadySeconds => false,
            InjectedField::ReadinessProbe(container) | InjectedField::PreStop(container) => {
                let has_container = FieldPath::container(container).find(change.object).is_some();
                has_container && field.find(change.object).is_none()
            }
            InjectedField::Label(_) | InjectedField::TemplateLabel(_) => field.find(change.object).is_none(),
        };
        if !is_absent || waivers.reason(field.default_id()).is_some() {
            continue;
        }
        if let (Some(value), Some(recorded)) = (field.find(old_object), claims.old.get(field)) {
            patch::set(&mut object, &field.path(), value.clone())?;
            restored.insert(field.clone(), recorded.clone());
        }
    }
    Ok((object, restored))
}

/// Whether both objects have the same pod template. The Deployment controller
/// starts a rollout if and only if they have not (kubernetes,
/// pkg/controller/deployment/util, `EqualIgnoreHash`).
pub fn same_template(object: &Value, old_object: &Value) -> bool {
    match (object.pointer("/spec/template"), old_object.pointer("/spec/template")) {
        (Some(template), Some(old_template)) => same_to_the_api(template, old_template),
        (template, old_template) => template == old_template,
    }
}

/// Whether two values are the same if null counts as absent.
fn same_to_the_api(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            // Both are sorted by key.
            let mut left = left.iter().filter(|(_, value)| !value.is_null());
            let mut right = right.iter().filter(|(_, value)| !value.is_null());
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some((key, left)), Some((other_key, right)))
                        if key == other_key && same_to_the_api(left, right) => {}
                    _ => return false,
                }
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_to_the_api(left, right))
        }
        _ => left == right,
    }
}

/// Drops an injected handler beside which the user put one of another type.
///
/// Every kind of apply merges the user's handler into what is there, and the
/// API server rejects two ("may not specify more than 1 handler type").
fn drop_second_handlers(object: &mut Value, sent: &Value, claims: &Claims, intent: &Intent) {
    const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    const TIMES: [&str; 3] = ["periodSeconds", "failureThreshold", "timeoutSeconds"];
    let Some(own) = &claims.own else { return };
    for field in own.fields() {
        if !matches!(field, InjectedField::ReadinessProbe(_) | InjectedField::PreStop(_)) {
            continue;
        }
        let (Some(recorded), Some(live)) = (own.get(field), field.find(sent)) else { continue };
        let is_ours = |name: &&str| recorded.get(name).is_some() && recorded.get(name) == live.get(name);
        let is_users =
            |name: &&str| recorded.get(name).is_none() && live.get(name).is_some_and(|it| !it.is_null());
        let Some(ours) = HANDLERS.into_iter().find(is_ours) else { continue };
        if !HANDLERS.iter().any(is_users) {
            continue;
        }
        patch::take(object, &field.path().field(ours));
        for time in TIMES.into_iter().filter(is_ours) {
            let path = field.path().field(time);
            if !intent.is_proven(&path) {
                patch::take(object, &path);
            }
        }
    }
}

/// What the records of the new and the stored object claim for gapless.
struct Claims {
    /// The record of the new object; `None` if the annotation is missing.
    own: Option<Record>,
    /// The record of the stored object, as far as it holds there.
    old: Record,
}

impl Claims {
    fn read(change: Change) -> Self {
        let mut old = Record::default();
        if let Some(old_object) = change.old_object {
            let recorded = Record::read(old_object).ok().flatten().unwrap_or_default();
            old = recorded.filter(|field, recorded| recorded.holds(field, old_object));
        }
        // A record that somebody broke is no reason to forget the stored one.
        let own = Record::read(change.object).unwrap_or_else(|_| Some(old.clone()));
        Claims { own, old }
    }

    /// The fields that either record names.
    fn fields(&self) -> BTreeSet<&InjectedField> {
        self.own.iter().flat_map(Record::fields).chain(self.old.fields()).collect()
    }

    /// The fields of the new object that are gapless' own. A value that
    /// differs from the record is the user's.
    ///
    /// The template's fields go by the record of the object they are in: an
    /// undo brings both back together. Fields outside the template stay where
    /// they are when annotations go back, so for them the stored record counts
    /// first. Whoever removes an entry, or the whole annotation, takes the field
    /// over.
    fn ours(&self, change: Change, restored: &Record, changes_template: bool) -> Record {
        let empty = Record::default();
        let own = self.own.as_ref().unwrap_or(&empty);
        let by_own = |field: &InjectedField| own.holds(field, change.object).then_some(own);
        let by_old = |field: &InjectedField| self.old.holds(field, change.object).then_some(&self.old);
        let is_claimed = |field: &InjectedField| own.get(field).is_some();
        let has_changed = |field: &InjectedField| {
            change.old_object.is_none_or(|old| field.find(old) != field.find(change.object))
        };
        let mut ours = restored.clone();
        for field in self.fields() {
            let record = match (field.is_in_template(), changes_template) {
                (true, true) => by_own(field),
                (true, false) => by_old(field).filter(|_| is_claimed(field)),
                (false, _) => match by_old(field) {
                    Some(old) => (is_claimed(field) || change.is_rollback).then_some(old),
                    // An undo brings back a record that says nothing about
                    // fields which did not go back with it.
                    None => by_own(field).filter(|_| !change.is_rollback || has_changed(field)),
                },
            };
            if restored.get(field).is_none()
                && let Some(value) = record.and_then(|record| record.get(field))
            {
                ours.insert(field.clone(), value.clone());
            }
        }
        ours
    }
}
