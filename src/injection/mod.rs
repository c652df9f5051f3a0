//! Which defaults reach an object.
//!
//! [`inject`] reads from top to bottom: owners, put back what was dropped, stop
//! where the template is as stored, release what is gapless' own, fill, record.
//! Whose a field is, [`crate::ownership::owner`] says. Two rules govern it all:
//! no rollout that the user's own change did not start, and nothing overwritten
//! that the user wrote.

mod announce;
mod draft;

use std::collections::BTreeSet;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::defaults::{DEFAULTS, DefaultRule, version_label};
use crate::finding::Problem;
use crate::kubernetes::object::{View, at, same_to_the_api};
use crate::ownership::intent::LAST_APPLIED;
use crate::ownership::owner::Owner;
use crate::ownership::owners::{Change, Owners};
use crate::ownership::record::{ANNOTATION, InjectedField, Record};
use crate::patch::PatchError;
use crate::policy::{InjectionMode, Profile};
use crate::surroundings::Surroundings;
use crate::waiver::ActiveWaivers;
use crate::workload::{Context, Workload, WrongType};
use draft::Draft;

pub use draft::take;

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

/// Under which terms defaults reach an object.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// The profile.
    pub profile: &'t Profile,
    /// The waivers of the object.
    pub waivers: &'t ActiveWaivers<'t>,
    /// What is around the object.
    pub surroundings: &'t Surroundings,
    /// The record of the revision that an undo brings back, where the undo leaves it behind
    /// and somebody knows it.
    pub record_of_revision: Option<&'t Record>,
    /// Whether what nobody wrote is filled. Where it is only announced, what was
    /// dropped is put back all the same, and what is gapless' own follows the
    /// template.
    pub mode: InjectionMode,
}

/// Injects the defaults into an object.
///
/// # Errors
/// See [`InjectError`].
pub fn inject(change: Change, terms: Terms) -> Result<Injection, InjectError> {
    let Some(mut pass) = run_once(change, terms)? else { return Ok(Injection::none(change.object.tree)) };
    // An undo mixes the records and proofs of two times; a template that is as stored
    // once all of it is recomputed was not known to be so before; and parts that waited
    // for this rollout may be all that is left of it. What a second call in the same
    // request would still change is changed at once.
    let may_change_again = |pass: &Pass| {
        let becomes_stored =
            || change.is_stored_template(&pass.object) && !change.is_stored_template(change.object.tree);
        change.is_undo || change.may_be_undo_by_argo || pass.has_left_overs || becomes_stored()
    };
    for _ in 0..MAX_PASSES {
        if !may_change_again(&pass) || pass.object == *change.object.tree {
            break;
        }
        let object = View { tree: &pass.object, ..change.object };
        match run_once(Change { object, ..change }, terms)? {
            Some(again) if again.object != pass.object => pass = pass.then(again),
            _ => break,
        }
    }
    let operations = draft::operations(change.object.tree, &pass.object, &pass.touched)?;
    Ok(Injection {
        operations,
        object: pass.object,
        announcements: pass.announcements,
        problems: pass.problems,
    })
}

/// After so many passes, the last one counts.
const MAX_PASSES: usize = 3;

/// What one call makes of an object.
struct Pass {
    object: Value,
    touched: BTreeSet<InjectedField>,
    announcements: Vec<(&'static str, String)>,
    problems: Vec<Problem>,
    /// Whether parts of gapless' stood beside the user's.
    has_left_overs: bool,
}

impl Pass {
    fn then(mut self, next: Pass) -> Self {
        self.touched.extend(next.touched);
        let is_news = |it: &(&str, String)| !self.announcements.contains(it);
        let news: Vec<_> = next.announcements.into_iter().filter(is_news).collect();
        self.announcements.extend(news);
        Pass { object: next.object, ..self }
    }
}

/// One call; `None` if it is about nothing that matters here.
fn run_once(change: Change, terms: Terms) -> Result<Option<Pass>, InjectError> {
    if changes_nothing(change) {
        return Ok(None);
    }
    // With its template as stored it is an update like any other.
    let changes_template = || !change.is_stored_template(change.object.tree);
    let is_undo = change.is_undo && changes_template();
    let may_be_undo_by_argo = change.may_be_undo_by_argo && changes_template();
    let change = Change { is_undo, may_be_undo_by_argo, ..change };
    let waived = DEFAULTS.iter().filter(|default| terms.waivers.reason(default.id).is_some());
    let waived = waived.map(|default| default.fields);
    let replaces_api_defaults = terms.profile.settings.rolling_update.replace_api_defaults;
    let mut owners = Owners::read(change, replaces_api_defaults, waived.collect());

    if may_be_undo_by_argo || (is_undo && !change.kind.undo_brings_annotations()) {
        match terms.record_of_revision {
            Some(record) => recognize_record_of_revision(&mut owners, record),
            None => recognize_labels_of_revision(&mut owners, terms)?,
        }
    }

    // A PUT of the bare manifest drops what was injected. With that put back the
    // template may be as stored. If so, nothing else in it is touched, whatever
    // the defaults say today. If not, a rollout is on its way anyhow.
    let (mut draft, mut record) = match keep_template(&owners, terms)? {
        Some((draft, filled)) => (draft, filled),
        None => {
            owners.set_changes_template();
            (Draft::of(&owners), Record::default())
        }
    };

    recognize_second_call(&mut owners, terms)?;
    let kept = draft.release(&owners)?;
    record.extend(kept.into_entries());
    let (filled, problems) = fill(&mut draft, &owners, terms)?;
    draft.write(&filled, &owners)?;
    record.extend(filled.into_entries());
    record.extend(draft.keep_what_alone_differs(&owners)?.into_entries());

    let mut touched = owners.recorded_fields().clone();
    touched.extend(record.fields().chain(draft.handed_back()).cloned());
    touched.extend(InjectedField::amounts(change.kind.rolling_block()));
    let announcements = announce::announce(&owners, &draft, &touched, terms);
    draft.record(&owners, &record)?;
    let has_left_overs = owners.has_left_overs();
    Ok(Some(Pass { object: draft.object, touched, announcements, problems, has_left_overs }))
}

/// Whether an update is about neither spec nor labels, annotations or owners, as
/// a storage migration and a server-side apply without a change are. It fills
/// nothing, proves nothing and changes no record: with the first request of its
/// move to server-side apply kubectl claims every field there is.
///
/// Where there is a record, annotations of others do not count: another webhook may
/// have stamped one between two calls for one request.
fn changes_nothing(change: Change) -> bool {
    const FIELDS: [&[&str]; 3] = [&["spec"], &["metadata", "labels"], &["metadata", "ownerReferences"]];
    const ANNOTATIONS: &[&str] = &["metadata", "annotations"];
    let (object, Some(old)) = (change.object.tree, change.old_object) else { return false };
    if change.differs_unread {
        return false;
    }
    let of_interest = |object: &Value| -> Vec<(String, Value)> {
        let annotations = at(object, ANNOTATIONS).and_then(Value::as_object);
        let counts = |key: &String| key == LAST_APPLIED || key.starts_with("gapless.dev/");
        let annotations = annotations.into_iter().flatten().filter(|(key, _)| counts(key));
        annotations.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let has_same_record = || {
        let annotations = of_interest(object);
        annotations.iter().any(|(key, _)| key == ANNOTATION) && annotations == of_interest(old.tree)
    };
    FIELDS.iter().all(|field| same_at(object, old.tree, field))
        && (same_at(object, old.tree, ANNOTATIONS) || has_same_record())
}

/// An undo that brings the template alone leaves a record that is too new for it: that of
/// the revision speaks for the template.
fn recognize_record_of_revision(owners: &mut Owners, record: &Record) {
    let in_template = record.fields().filter(|field| field.is_in_template());
    for field in
        in_template.filter(|field| record.holds(field, owners.find(field))).cloned().collect::<Vec<_>>()
    {
        owners.set_recorded(field);
    }
}

/// Where that record is not known, a recorded version label that says what its image says is
/// gapless' own all the same: it would be stale for ever after.
fn recognize_labels_of_revision(owners: &mut Owners, terms: Terms) -> Result<(), InjectError> {
    let version =
        version_label::version_of_image(&users(owners.object(), owners, terms)?, &terms.profile.settings);
    let fields = owners.recorded_fields().iter().cloned();
    let labels = fields.filter(|field| matches!(field, InjectedField::TemplateLabel(_)));
    let is_of_image = |field: &InjectedField| {
        version.is_some() && owners.find(field).and_then(Value::as_str) == version.as_deref()
    };
    for label in labels.filter(is_of_image).collect::<Vec<_>>() {
        owners.set_recorded(label);
    }
    Ok(())
}

/// Tells the fields that the first call of this request filled from those whose
/// entries somebody wrote by hand: gapless would fill them now if nobody had.
fn recognize_second_call(owners: &mut Owners, terms: Terms) -> Result<(), InjectError> {
    let mut fields = owners.maybe_of_first_call();
    if fields.is_empty() {
        return Ok(());
    }
    owners.set_second_call(fields.clone());
    let mut draft = Draft::of(owners);
    for field in owners.recorded_fields() {
        if owners.owner(field) == Owner::Gapless {
            draft.take(field);
        }
    }
    let users = users(&draft.object, owners, terms)?;
    // With a template that stays as it is, or was filled up to the stored one.
    let of_this_call = |default: &&DefaultRule| owners.changes_template() || !default.in_template;
    let defaults = || DEFAULTS.iter().filter(|default| applies(default, terms));
    let now = run(defaults().filter(of_this_call), &users, owners, terms, |_| true).0;
    let all = run(defaults(), &users, owners, terms, |_| true).0;
    fields.retain(|field| [&now, &all].iter().any(|filled| filled.get(field) == owners.find(field)));
    owners.set_second_call(fields);
    Ok(())
}

/// The object with the stored template, if it has that once what was dropped is put back
/// and what is nobody's is filled in: with the entries of what was filled.
fn keep_template(owners: &Owners, terms: Terms) -> Result<Option<(Draft, Record)>, InjectError> {
    let Some(old_object) = owners.old_object() else { return Ok(None) };
    // Most rollouts change an image.
    const WRITTEN: [&str; 4] = ["labels", "readinessProbe", "lifecycle", GRACE_PERIOD];
    if !only_lacks(owners.object(), old_object, &WRITTEN) {
        return Ok(None);
    }
    let mut draft = Draft::of(owners);
    draft.put_back(owners)?;
    draft.put_back_parts(owners)?;
    if owners.is_stored_template(&draft.object) {
        return Ok(Some((draft, Record::default())));
    }
    // The API server fills in a grace period.
    if terms.mode == InjectionMode::Announce || !only_lacks(&draft.object, old_object, &[GRACE_PERIOD]) {
        return Ok(None);
    }
    let mut filled_up = draft;
    filled_up.take_remainders(owners);
    let is_in_template = |default: &DefaultRule| default.in_template;
    let is_nobodys = |field: &InjectedField| owners.owner(field) == Owner::Nobody;
    let (mut filled, _) = fill_in(&mut filled_up, owners, terms, is_in_template, is_nobodys)?;
    filled_up.write(&filled, owners)?;
    filled.extend(filled_up.put_back_beside_manifest(owners)?.into_entries());
    if !owners.is_stored_template(&filled_up.object) {
        return Ok(None);
    }
    Ok(Some((filled_up, filled)))
}

const GRACE_PERIOD: &str = "terminationGracePeriodSeconds";

/// Whether nothing in the template, but for these fields, is another one than in the
/// stored template, so that filling in what is missing may lead there.
fn only_lacks(object: &Value, old_object: &Value, but: &[&str]) -> bool {
    fn lacks(value: &Value, stored: &Value, but: &[&str]) -> bool {
        match (value, stored) {
            (Value::Object(fields), Value::Object(stored)) => {
                let mut written = fields.iter().filter(|(_, value)| !value.is_null());
                written.all(|(name, value)| {
                    but.contains(&name.as_str())
                        || stored.get(name).is_some_and(|stored| lacks(value, stored, but))
                })
            }
            (Value::Array(items), Value::Array(stored)) => {
                items.len() == stored.len()
                    && items.iter().zip(stored).all(|(item, stored)| lacks(item, stored, but))
            }
            _ => value == stored,
        }
    }
    match (at(object, TEMPLATE), at(old_object, TEMPLATE)) {
        (Some(template), Some(stored)) => lacks(template, stored, but),
        _ => false,
    }
}

/// What the defaults fill into a draft that holds nothing of gapless' own but
/// what stays as it is.
fn fill(draft: &mut Draft, owners: &Owners, terms: Terms) -> Result<(Record, Vec<Problem>), InjectError> {
    let released: BTreeSet<InjectedField> = draft.released().cloned().collect();
    let may_run = |default: &DefaultRule| owners.changes_template() || !default.in_template;
    let may_fill = |field: &InjectedField| {
        // The grace period goes with the sleep that it is for.
        let goes_with_ours = *field == InjectedField::GracePeriod
            && released.iter().any(|field| matches!(field, InjectedField::PreStop(_)));
        terms.mode == InjectionMode::Inject || released.contains(field) || goes_with_ours
    };
    let (mut filled, problems) = fill_in(draft, owners, terms, may_run, may_fill)?;
    draft.agree_on_amounts(&mut filled, owners);
    if !draft.is_released(&InjectedField::GracePeriod) {
        return Ok((filled, problems));
    }
    let users = users(&draft.object, owners, terms)?;
    let grace_period = filled.get(&InjectedField::GracePeriod).and_then(Value::as_i64);
    let seconds = grace_period.unwrap_or_else(|| users.grace_period_seconds());
    let min_drain_seconds = terms.profile.settings.min_drain_seconds;
    if let Some(ours) = draft.grace_period_for_users_hooks(&users, seconds, min_drain_seconds)
        && !draft.is_handed_back(&InjectedField::GracePeriod)
    {
        filled.insert(InjectedField::GracePeriod, Value::from(ours));
    }
    Ok((filled, problems))
}

/// Runs the defaults. What they would fill and the user's manifest says too is the
/// user's, and they run again.
fn fill_in(
    draft: &mut Draft,
    owners: &Owners,
    terms: Terms,
    may_run: impl Fn(&DefaultRule) -> bool,
    may_fill: impl Fn(&InjectedField) -> bool,
) -> Result<(Record, Vec<Problem>), InjectError> {
    loop {
        let defaults = DEFAULTS.iter().filter(|default| applies(default, terms) && may_run(default));
        let users = users(&draft.object, owners, terms)?;
        let may_fill = |field: &InjectedField| may_fill(field) && !draft.is_handed_back(field);
        let (filled, problems) = run(defaults, &users, owners, terms, may_fill);
        let parents = draft.parents();
        let of_manifest: Vec<(InjectedField, Value)> = filled
            .entries()
            .filter(|(field, _)| draft.find_below(&parents, field).is_none())
            .filter_map(|(field, value)| Some((field.clone(), owners.manifest_of(field, value)?)))
            .collect();
        if of_manifest.is_empty() {
            return Ok((filled, problems));
        }
        for (field, value) in of_manifest {
            draft.hand_back(field, &value, owners)?;
        }
    }
}

/// The workload without what is gapless' own, for the defaults to look at.
fn users<'d>(object: &'d Value, owners: &Owners, terms: Terms<'d>) -> Result<Workload<'d>, WrongType> {
    let context =
        Context { surroundings: terms.surroundings, ..Context::new(owners.kind(), owners.origin()) };
    Workload::read_view(View::of(object), context)
}

/// Runs defaults one after the other; each sees what the earlier ones filled.
fn run(
    defaults: impl Iterator<Item = &'static DefaultRule>,
    users: &Workload,
    owners: &Owners,
    terms: Terms,
    may_fill: impl Fn(&InjectedField) -> bool,
) -> (Record, Vec<Problem>) {
    let mut record = Record::default();
    let mut problems = Vec::new();
    for default in defaults {
        let filled = (default.fill)(users, owners, &terms.profile.settings, &record);
        problems.extend(filled.problem);
        record.extend(filled.fields.into_iter().filter(|(field, _)| may_fill(field)));
    }
    (record, problems)
}

fn applies(default: &DefaultRule, terms: Terms) -> bool {
    (default.is_enabled)(&terms.profile.settings) && terms.waivers.reason(default.id).is_none()
}

const TEMPLATE: &[&str] = &["spec", "template"];

fn same_at(object: &Value, old_object: &Value, path: &[&str]) -> bool {
    let absent = Value::Null;
    let value = at(object, path).unwrap_or(&absent);
    same_to_the_api(value, at(old_object, path).unwrap_or(&absent))
}

#[cfg(test)]
mod tests;
