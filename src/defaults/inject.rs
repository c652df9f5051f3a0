//! Which defaults reach an object, and which of its fields are gapless' own.
//!
//! Read [`inject`] from top to bottom. Two rules govern it: no rollout that
//! the user's own change did not start, and nothing overwritten that the user
//! wrote.

use std::collections::BTreeSet;

use json_patch::PatchOperation;
use serde_json::Value;

use super::injected::{self, InjectedField, Record, same_value};
use super::intent::{Intent, Origin};
use super::{DEFAULTS, announce, rolling_update};
use crate::field::FieldPath;
use crate::patch::{Draft, PatchError};
use crate::policy::Settings;
use crate::waiver::ActiveWaivers;
use crate::workload::{Workload, WrongType, api_default};

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
    /// What is wrong with annotations that should have steered a default.
    pub problems: Vec<(&'static str, String)>,
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
pub fn inject(change: Change, settings: &Settings, waivers: &ActiveWaivers) -> Result<Injection, InjectError> {
    let mut draft = Draft::new(change.object);
    let intent = Intent::new(change.object, change.origin);
    let claims = Claims::read(change);

    // A PUT of the bare manifest drops what was injected. Putting it back as
    // it was makes the template equal to the stored one again.
    let restored = restore(&mut draft, change, &claims, &intent, waivers)?;
    let changes_template = change.old_object.is_none_or(|old| !same_template(draft.object(), old));
    if changes_template {
        drop_second_handlers(&mut draft, change.object, &claims, &intent)?;
    }

    // With the template unchanged, what is gapless' own in it stays as it is,
    // whatever the defaults say today.
    let ours = claims.ours(change, &restored, changes_template);
    let is_recomputed = |field: &InjectedField| changes_template || field.default_id() == rolling_update::ID;
    let mut recomputed: BTreeSet<_> = ours.fields().filter(|field| is_recomputed(field)).cloned().collect();
    let mut record = ours.filter(|field, _| !is_recomputed(field));

    // The rest is computed on what the user alone wrote.
    let mut user = Draft::new(draft.object());
    for field in &recomputed {
        user.remove(&field.path())?;
    }
    let mut problems = Vec::new();
    for default in DEFAULTS {
        let applies = changes_template || !default.in_template;
        if !applies || !(default.is_enabled)(settings) || waivers.reason(default.id).is_some() {
            continue;
        }
        let filled = (default.fill)(&Workload::read(user.object())?, &intent, settings);
        problems.extend(filled.problem.map(|problem| (default.id, problem)));
        for (field, value) in filled.fields {
            user.set(&field.path(), value.clone())?;
            recomputed.insert(field.clone());
            record.insert(field, value);
        }
    }
    for field in recomputed {
        let live = field.find(draft.object());
        match record.get(&field) {
            Some(value) if live.is_some_and(|live| same_value(&field, value, live)) => {}
            Some(value) => draft.set(&field.path(), value.clone())?,
            None => draft.remove(&field.path())?,
        }
    }

    let announcements = announce::announce(change.object, draft.object(), &claims, &record);
    let annotation = FieldPath::new("metadata.annotations").key(injected::ANNOTATION);
    if record.is_empty() {
        draft.remove(&annotation)?;
    } else {
        draft.set(&annotation, Value::String(record.to_annotation()))?;
    }
    let object = draft.object().clone();
    let operations = draft.into_operations(change.object)?;
    Ok(Injection { operations, object, announcements, problems })
}

/// Puts back what the stored object's record names, where it is still
/// gapless' own there and absent in the new object.
fn restore(
    draft: &mut Draft,
    change: Change,
    claims: &Claims,
    intent: &Intent,
    waivers: &ActiveWaivers,
) -> Result<Record, PatchError> {
    let mut restored = Record::default();
    let Some(old_object) = change.old_object else { return Ok(restored) };
    for field in claims.old.fields() {
        let is_absent = match field {
            // Never absent: the API server fills it in.
            InjectedField::GracePeriod => {
                let seconds = field.find(change.object).and_then(Value::as_i64);
                seconds.is_none_or(|seconds| seconds == api_default::GRACE_PERIOD_SECONDS)
                    && !intent.is_proven(&field.path())
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
            draft.set(&field.path(), value.clone())?;
            restored.insert(field.clone(), recorded.clone());
        }
    }
    Ok(restored)
}

/// Whether both objects have the same pod template. The Deployment controller
/// starts a rollout if and only if they have not (kubernetes,
/// pkg/controller/deployment/util, `EqualIgnoreHash`).
pub fn same_template(object: &Value, old_object: &Value) -> bool {
    same_to_the_api(&object["spec"]["template"], &old_object["spec"]["template"])
}

/// Whether two values are the same if null counts as absent.
fn same_to_the_api(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let missing = Value::Null;
            left.keys().chain(right.keys()).all(|key| {
                same_to_the_api(left.get(key).unwrap_or(&missing), right.get(key).unwrap_or(&missing))
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_to_the_api(left, right))
        }
        _ => left == right,
    }
}

/// Drops an injected handler beside which the user put one of another type.
///
/// Every kind of apply merges the user's handler into what is there, and the
/// API server rejects two ("may not specify more than 1 handler type").
fn drop_second_handlers(
    draft: &mut Draft,
    object: &Value,
    claims: &Claims,
    intent: &Intent,
) -> Result<(), PatchError> {
    const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    const TIMES: [&str; 3] = ["periodSeconds", "failureThreshold", "timeoutSeconds"];
    let Some(own) = &claims.own else { return Ok(()) };
    for field in own.fields() {
        if !matches!(field, InjectedField::ReadinessProbe(_) | InjectedField::PreStop(_)) {
            continue;
        }
        let (Some(recorded), Some(live)) = (own.get(field), field.find(object)) else { continue };
        let is_ours = |name: &&str| recorded.get(name).is_some() && recorded.get(name) == live.get(name);
        let is_users = |name: &&str| recorded.get(name).is_none() && live.get(name).is_some_and(|it| !it.is_null());
        let Some(ours) = HANDLERS.into_iter().find(is_ours) else { continue };
        if !HANDLERS.iter().any(is_users) {
            continue;
        }
        draft.remove(&field.path().field(ours))?;
        for time in TIMES.into_iter().filter(is_ours) {
            let path = field.path().field(time);
            if !intent.is_proven(&path) {
                draft.remove(&path)?;
            }
        }
    }
    Ok(())
}

/// What the records of the new and the stored object claim for gapless.
pub(super) struct Claims {
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
    pub(super) fn fields(&self) -> BTreeSet<&InjectedField> {
        self.own.iter().flat_map(Record::fields).chain(self.old.fields()).collect()
    }

    /// The fields of the new object that are gapless' own. A value that
    /// differs from the record is the user's.
    ///
    /// The template's fields go by the record of the object they are in: an
    /// undo brings both back together. Fields outside the template stay when
    /// annotations go back, so the stored record decides about them. Whoever
    /// removes the annotation takes the fields over.
    fn ours(&self, change: Change, restored: &Record, changes_template: bool) -> Record {
        let empty = Record::default();
        let own = self.own.as_ref().unwrap_or(&empty);
        let holds = |record: &Record, field| record.holds(field, change.object);
        let has_changed = |field: &InjectedField| {
            change.old_object.is_none_or(|old| field.find(old) != field.find(change.object))
        };
        let mut ours = restored.clone();
        for field in self.fields() {
            let record = if field.is_in_template() {
                let is_ours = match changes_template {
                    true => holds(own, field),
                    false => own.get(field).is_some() && holds(&self.old, field),
                };
                is_ours.then_some(if changes_template { own } else { &self.old })
            } else if holds(&self.old, field) {
                (self.own.is_some() || change.is_rollback).then_some(&self.old)
            } else {
                (holds(own, field) && has_changed(field)).then_some(own)
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
