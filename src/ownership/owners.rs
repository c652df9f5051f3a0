//! What is known of each field of one request, to ask the table of [`owner`].

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::containers::{Containers, Parents};
use super::intent::{Intent, Origin, Proof};
use super::owner::{Evidence, Owner, Presence, Recorded, owner};
use super::parts::{self, PartPath, parts, same_value};
use super::record::{self, InjectedField, Record};
use super::template::same_template;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::managed_fields::Entry;
use crate::kubernetes::object::{View, at};

/// An object on its way into the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The kind of the object.
    pub kind: Kind,
    /// The object as the request wants it.
    pub object: View<'a>,
    /// The object as it is stored, for an update.
    pub old_object: Option<View<'a>>,
    /// Whether the templates of both differ in what is in neither tree.
    pub differs_unread: bool,
    /// Whether the request is a `kubectl rollout undo`, which replaces template
    /// and annotations, but for last-applied, by those of an older revision.
    pub is_undo: bool,
    /// Whether the request may be a `kubectl argo rollouts undo`, which replaces the
    /// template alone.
    pub may_be_undo_by_argo: bool,
    /// The name under which the client writes, if it gave one.
    pub field_manager: Option<&'a str>,
    /// Where the object comes from.
    pub origin: Origin,
}

impl<'a> Change<'a> {
    /// Whether `object`, made of the request's, has the template that is stored.
    pub fn is_stored_template(&self, object: &Value) -> bool {
        !self.differs_unread && self.old_object.is_some_and(|old| same_template(self.kind, object, old.tree))
    }

    /// Whether a server-side apply let go of the last annotation that it owned. With it goes
    /// the whole map, and in it all that nobody owns, such as what a webhook wrote
    /// (structured-merge-diff, merge/update.go, `prune`; seen on 1.37).
    fn is_emptied_by_apply(&self) -> bool {
        let applies_annotations = |object: View| {
            let is_of_sender = |it: &Entry| {
                it.is_apply() && it.manager.is_some() && it.manager.as_deref() == self.field_manager
            };
            let entry = object.managed_fields.entries().into_iter().find(is_of_sender)?;
            Some(at(&*entry.fields()?, &["f:metadata", "f:annotations"]).is_some())
        };
        self.old_object.and_then(applies_annotations) == Some(true)
            && applies_annotations(self.object) == Some(false)
    }

    /// A new object.
    pub fn create(kind: Kind, object: View<'a>, origin: Origin) -> Self {
        Change {
            kind,
            object,
            old_object: None,
            differs_unread: false,
            is_undo: false,
            may_be_undo_by_argo: false,
            field_manager: None,
            origin,
        }
    }
}

/// Some of the fields that gapless may inject.
pub type FieldSet = fn(&InjectedField) -> bool;

/// Who owns the fields of one request.
pub struct Owners<'a> {
    new: Side<'a>,
    old: Option<Side<'a>>,
    /// The fields that either record names.
    recorded: BTreeSet<InjectedField>,
    /// Whether an entry of either record is a [`record::pair`], as hardly any is.
    has_pairs: bool,
    change: Change<'a>,
    changes_template: bool,
    replaces_api_defaults: bool,
    waived: Vec<FieldSet>,
    second_call: BTreeSet<InjectedField>,
}

/// One of the two objects of a request.
struct Side<'a> {
    object: &'a Value,
    parents: Parents<'a>,
    containers: Rc<Containers>,
    /// `None` where the annotation is missing.
    record: Option<Record>,
    intent: Intent<'a>,
}

impl<'a> Side<'a> {
    fn of(object: View<'a>, record: Option<Record>, origin: Origin) -> Self {
        let containers = Rc::new(Containers::of(object.tree));
        let (parents, intent) = (Parents::of(object.tree), Intent::new(object, origin));
        Side { object: object.tree, parents, containers, record, intent }
    }

    fn find(&self, field: &InjectedField) -> Option<&'a Value> {
        self.containers.find_below(&self.parents, field)
    }

    fn entry(&self, field: &InjectedField) -> Option<&Value> {
        self.record.as_ref()?.get(field)
    }

    /// Whether the value is the one that was injected.
    fn holds(&self, field: &InjectedField) -> bool {
        self.record.as_ref().is_some_and(|record| record.holds(field, self.find(field)))
    }
}

impl<'a> Owners<'a> {
    /// The owners in a request that leaves the template as it is stored, unless
    /// [`Owners::set_changes_template`] says otherwise. `waived` are the fields of
    /// the defaults that the object waives.
    pub fn read(change: Change<'a>, replaces_api_defaults: bool, waived: Vec<FieldSet>) -> Self {
        let read =
            |object: View<'a>| Side::of(object, Record::read(object.tree).unwrap_or_default(), change.origin);
        let old = change.old_object.map(read);
        let stored_record = old.as_ref().and_then(|old: &Side| old.record.as_ref());
        let record = match Record::read(change.object.tree) {
            Ok(None) if stored_record.is_some() && change.is_emptied_by_apply() => stored_record.cloned(),
            Ok(record) => record,
            // That somebody broke it is no reason to forget the stored one.
            Err(record::Unreadable) => stored_record.cloned(),
        };
        let new = Side::of(change.object, record, change.origin);
        let records = || [&new].into_iter().chain(&old).filter_map(|side| side.record.as_ref());
        let recorded = records().flat_map(Record::fields).cloned().collect();
        let has_pairs = records().flat_map(Record::entries).any(|(_, entry)| record::is_pair(entry));
        let (changes_template, second_call) = (old.is_none(), BTreeSet::new());
        Owners {
            new,
            old,
            recorded,
            has_pairs,
            change,
            changes_template,
            replaces_api_defaults,
            waived,
            second_call,
        }
    }

    /// Says that the value that `field` has in the request is gapless' own, where the record
    /// is of another time than the template.
    pub fn set_recorded(&mut self, field: InjectedField) {
        if let (Some(live), Some(record)) = (self.find(&field).cloned(), &mut self.new.record) {
            record.insert(field.clone(), live);
            self.recorded.insert(field);
        }
    }

    /// Says that the request changes the template, whatever is put back.
    pub fn set_changes_template(&mut self) {
        self.changes_template = true;
    }

    /// Whether the request changes the template.
    pub fn changes_template(&self) -> bool {
        self.changes_template
    }

    /// The object as the request wants it.
    pub fn object(&self) -> &'a Value {
        self.new.object
    }

    /// The object as it is stored, for an update.
    pub fn old_object(&self) -> Option<&'a Value> {
        Some(self.old.as_ref()?.object)
    }

    /// The containers of the object.
    pub fn containers(&self) -> Rc<Containers> {
        Rc::clone(&self.new.containers)
    }

    /// Whether `object`, made of the request's, has the template that is stored.
    pub fn is_stored_template(&self, object: &Value) -> bool {
        self.change.is_stored_template(object)
    }

    /// Whether the request is a `kubectl rollout undo`.
    pub fn is_undo(&self) -> bool {
        self.change.is_undo
    }

    /// The kind of the object.
    pub fn kind(&self) -> Kind {
        self.change.kind
    }

    /// The value that the API server fills in where `field` is absent.
    pub fn api_default(&self, field: &InjectedField) -> Option<Value> {
        field.api_default().filter(|_| self.change.kind.is_defaulted_by_api_server())
    }

    /// Where the object comes from.
    pub fn origin(&self) -> Origin {
        self.change.origin
    }

    /// Whether the API server has filled in its defaults, and will do so again.
    pub fn is_from_api_server(&self) -> bool {
        self.new.intent.origin() == Origin::ApiServer
    }

    /// The fields that either record names.
    pub fn recorded_fields(&self) -> &BTreeSet<InjectedField> {
        &self.recorded
    }

    fn sides(&self) -> impl Iterator<Item = &Side<'a>> {
        [&self.new].into_iter().chain(&self.old)
    }

    /// The record of the request.
    pub fn record(&self) -> Option<&Record> {
        self.new.record.as_ref()
    }

    /// Whether the request's own record names `field`.
    pub fn is_in_record(&self, field: &InjectedField) -> bool {
        self.new.entry(field).is_some()
    }

    /// The value of `field` in the request.
    pub fn find(&self, field: &InjectedField) -> Option<&'a Value> {
        self.new.find(field)
    }

    /// The value of `field` in the stored object.
    pub fn stored(&self, field: &InjectedField) -> Option<&'a Value> {
        self.old.as_ref()?.find(field)
    }

    /// Whose `field` is.
    pub fn owner(&self, field: &InjectedField) -> Owner {
        self.owner_with(field, self.find(field))
    }

    /// Whose `field` would be if its value were `live`.
    pub fn owner_with(&self, field: &InjectedField, live: Option<&Value>) -> Owner {
        if self.is_claimed_by_pair(field, live) {
            return Owner::User;
        }
        owner(self.evidence(field, live))
    }

    /// Whether the value is the API server's own and nobody provably wrote it.
    pub fn is_unproven_api_default(&self, field: &InjectedField) -> bool {
        let evidence = self.evidence(field, self.find(field));
        evidence.presence == Presence::ApiDefault && !evidence.is_proven
    }

    fn evidence(&self, field: &InjectedField, live: Option<&Value>) -> Evidence {
        let recorded = match (self.entry(field, live), live) {
            (Some(entry), Some(live)) if same_value(record::ours(entry), live) => Recorded::Same,
            (Some(_), Some(_)) => Recorded::Other,
            _ => Recorded::Nothing,
        };
        Evidence {
            presence: self.presence(field, live),
            recorded,
            is_stored_as_ours: self.is_stored_as_ours(field),
            is_proven: self.is_proven(field, live),
            replaces_api_defaults: self.replaces_api_defaults,
        }
    }

    fn presence(&self, field: &InjectedField, live: Option<&Value>) -> Presence {
        match live {
            // The API server fills it in, if it has not yet done so.
            None if self.api_default(field).is_some() => Presence::ApiDefault,
            None => Presence::Absent,
            Some(live) if self.is_remainder(field, live) => Presence::Absent,
            Some(live) if self.api_default(field).as_ref() == Some(live) => Presence::ApiDefault,
            Some(_) => Presence::Present,
        }
    }

    /// Whether only parts that nobody wrote are left of a recorded probe or hook:
    /// server-side apply takes its own parts away and leaves gapless' behind.
    pub fn is_remainder(&self, field: &InjectedField, live: &Value) -> bool {
        let is_of_entry = |side: &Side| {
            side.entry(field).is_some_and(|entry| {
                let recorded = parts(entry);
                parts(live).iter().all(|(path, part)| recorded.get(path) == Some(part))
            })
        };
        field.has_parts()
            && parts::handlers(live).next().is_none()
            && self.sides().any(is_of_entry)
            && !self.is_proven(field, Some(live))
    }

    /// Whether the stored object holds a value of gapless that comes back where it was
    /// dropped.
    pub fn is_stored_as_ours(&self, field: &InjectedField) -> bool {
        !self.is_waived(field) && self.may_come_back(field)
    }

    /// Whether the stored object holds a value of gapless that the request dropped, and
    /// that does not come back for a waiver.
    pub fn is_withdrawn(&self, field: &InjectedField) -> bool {
        let is_dropped = || self.find(field).is_none() || self.is_unproven_api_default(field);
        self.is_waived(field) && self.may_come_back(field) && is_dropped()
    }

    fn is_waived(&self, field: &InjectedField) -> bool {
        self.waived.iter().any(|contains| contains(field))
    }

    fn may_come_back(&self, field: &InjectedField) -> bool {
        // Amounts are never dropped: the API server fills them in.
        let can_be_dropped = field.is_in_template() || matches!(field, InjectedField::Label(_));
        can_be_dropped
            && self.old.as_ref().is_some_and(|old| old.holds(field))
            && field.container().is_none_or(|container| self.new.containers.contain(container))
    }

    /// The entry of the record that speaks for `field`.
    pub fn entry(&self, field: &InjectedField, live: Option<&Value>) -> Option<&Value> {
        let Some(old) = &self.old else { return self.new.entry(field) };
        let (new_entry, old_entry) = (self.new.entry(field), old.entry(field));
        let is_as_stored = match (live, old.find(field)) {
            (Some(live), Some(stored)) => same_value(live, stored),
            // The API server leaves 0 seconds out of the JSON.
            (Some(value), None) | (None, Some(value)) => self.api_default(field).as_ref() == Some(value),
            (None, None) => true,
        };
        if field.is_in_template() {
            return match (new_entry, old_entry) {
                (new_entry, _) if self.changes_template => new_entry,
                // The second call of a request finds the record of the first one.
                (Some(new_entry), _) if is_as_stored => Some(new_entry),
                (Some(_), old_entry) => old_entry,
                (None, old_entry) => old_entry.filter(|_| self.change.is_undo),
            };
        }
        match (new_entry, old_entry) {
            // The first call of the request wrote both.
            (Some(new_entry), _) if !is_as_stored => Some(new_entry),
            (Some(_), Some(old_entry)) => Some(old_entry),
            (Some(new_entry), None) => self.second_call.contains(field).then_some(new_entry),
            // An undo brings the annotations of an older revision, which speak of
            // another time.
            (None, old_entry) => old_entry.filter(|_| self.change.is_undo),
        }
    }

    /// The fields outside the template that only the request's record names, and
    /// whose value is the stored one. Either the first call of this request filled
    /// what nobody had written, or somebody wrote the entry by hand.
    pub fn maybe_of_first_call(&self) -> BTreeSet<InjectedField> {
        let (Some(old), Some(record)) = (&self.old, &self.new.record) else { return BTreeSet::new() };
        let is_candidate = |field: &&InjectedField| {
            !self.change.is_undo
                && !field.is_in_template()
                && old.entry(field).is_none()
                && self.new.find(field).is_some()
                && self.new.find(field) == old.find(field)
        };
        record.fields().filter(is_candidate).cloned().collect()
    }

    /// Says that the first call of this request filled these fields.
    pub fn set_second_call(&mut self, fields: BTreeSet<InjectedField>) {
        self.second_call = fields;
    }

    /// Whether somebody provably wrote the value; of a probe or hook, a part of its
    /// handler: an `Apply` entry may still name the seconds that a later request, an
    /// undo for example, left beside another handler.
    fn is_proven(&self, field: &InjectedField, live: Option<&Value>) -> bool {
        // The API server leaves 0 seconds out of the JSON.
        let api_default = self.api_default(field).filter(|_| self.new.intent.origin() == Origin::ApiServer);
        let Some(live) = live.or(api_default.as_ref()) else { return false };
        if field.has_parts() {
            let is_of_handler = |path: &&PartPath| parts::handler_of(path).is_some();
            return parts(live)
                .keys()
                .filter(is_of_handler)
                .any(|path| self.is_part_proven(field, path, live));
        }
        let proofs = self.proofs(field, &PartPath::new(), live);
        let is_api_default = self.api_default(field).as_ref() == Some(live);
        if self.has_pair(field, live) {
            // An `Apply` entry holds no value: it speaks of the default, which
            // counts once the template changes. Last-applied says what it means.
            let is_ours = self.old.as_ref().is_some_and(|old| old.find(field) == Some(live));
            return match is_api_default {
                true => self.changes_template && !proofs.is_empty(),
                false if is_ours => proofs.contains(&Proof::LastApplied),
                false => !proofs.is_empty(),
            };
        }
        let waits = is_api_default && !self.changes_template && self.waits(field, &proofs);
        !proofs.is_empty() && !waits
    }

    /// What the manifest of the last `kubectl apply` says of `value`, which is not in
    /// the object by now: an edit took it away, or what is gapless' own becomes what
    /// the manifest says. An undo takes away what its revision does not have.
    pub fn manifest_of(&self, field: &InjectedField, value: &Value) -> Option<Value> {
        let has_manifest = || self.new.intent.carries(Proof::LastApplied);
        if self.change.is_undo || self.old.is_none() || !has_manifest() {
            return None;
        }
        let is_written =
            |path: &PartPath| self.new.intent.proofs(field, path, value, true).contains(&Proof::LastApplied);
        if !field.has_parts() {
            return is_written(&PartPath::new()).then(|| value.clone());
        }
        let mut written = value.clone();
        for path in parts(value).into_keys().filter(|path| !is_written(path)) {
            parts::remove(&mut written, &path);
        }
        let is_complete = parts::handlers(&written).next().is_some();
        is_complete.then_some(written)
    }

    /// The stored value of `field`, if it is what the manifest says and parts of
    /// gapless' beside it, with the entry of these.
    pub fn stored_beside_manifest(
        &self,
        field: &InjectedField,
        written: &Value,
    ) -> Option<(&'a Value, Value)> {
        let (stored, entry) = (self.stored(field)?, self.old.as_ref()?.entry(field)?);
        let (mut whole, mut beside) = (written.clone(), Value::Null);
        for (path, part) in parts(entry).into_iter().filter(|(path, _)| parts::find(written, path).is_none())
        {
            parts::set(&mut whole, &path, part.clone());
            parts::set(&mut beside, &path, part.clone());
        }
        (field.has_parts() && !beside.is_null() && same_value(&whole, stored)).then_some((stored, beside))
    }

    fn is_part_proven(&self, field: &InjectedField, path: &PartPath, live: &Value) -> bool {
        !self.proofs(field, path, live).is_empty()
    }

    fn proofs(&self, field: &InjectedField, path: &PartPath, live: &Value) -> Vec<Proof<'_>> {
        let stored_entry = self.old.as_ref().and_then(|old| old.entry(field));
        let entry = self.entry(field, Some(live));
        // An undo brings no proof. Its template comes with the record of its time, and
        // the first of its two calls may have written the entry of a value that the
        // stored object's proofs speak of by chance.
        if self.change.is_undo && entry.is_some() && (field.is_in_template() || stored_entry.is_none()) {
            return Vec::new();
        }
        let is_recorded = stored_entry.is_some() || entry.is_some();
        self.new.intent.proofs(field, path, live, is_recorded)
    }

    /// Whether proofs of the API server's grace period do not count yet, because
    /// they are of a new kind: a change of tools restarts nothing.
    fn waits(&self, field: &InjectedField, proofs: &[Proof]) -> bool {
        let is_new = |old: &Side| proofs.iter().all(|proof| !old.intent.carries(*proof));
        *field == InjectedField::GracePeriod
            && self.old.as_ref().is_some_and(|old| old.holds(field) && is_new(old))
    }

    /// Whether a proof of the API server's grace period has been waiting.
    fn has_pair(&self, field: &InjectedField, live: &Value) -> bool {
        if !self.has_pairs {
            return false;
        }
        let entry = self.entry(field, Some(live)).or_else(|| self.old.as_ref()?.entry(field));
        entry.is_some_and(record::is_pair)
    }

    /// Whether the API server's grace period, whose proof has been waiting, counts
    /// from this request on although gapless' value is still there.
    pub fn is_claimed_by_pair(&self, field: &InjectedField, live: Option<&Value>) -> bool {
        let Some(live) = live.filter(|_| self.changes_template && self.has_pairs) else { return false };
        let entry = self.entry(field, Some(live));
        let is_ours = entry.is_some_and(|entry| record::ours(entry) == live);
        // The record that an undo brings back is older than the proof.
        let stored = self.old.as_ref().filter(|_| self.change.is_undo).and_then(|old| old.entry(field));
        let is_pair = entry.into_iter().chain(stored).any(record::is_pair);
        let is_claimed = || {
            let proofs = self.new.intent.proofs(field, &PartPath::new(), live, true);
            let speaks_of_ours = proofs.contains(&Proof::LastApplied);
            let speaks_of_default = self.new.intent.in_manifest(field) == self.api_default(field).as_ref();
            !speaks_of_ours && (speaks_of_default || !proofs.is_empty())
        };
        is_ours && is_pair && is_claimed()
    }

    /// The entry of a field that is put back: as it was stored, or a pair if
    /// somebody's proof has to wait.
    pub fn entry_put_back(&self, field: &InjectedField) -> Option<Value> {
        let stored = self.old.as_ref()?.entry(field)?;
        let waits =
            self.find(field).is_some_and(|live| !self.proofs(field, &PartPath::new(), live).is_empty());
        let becomes_pair = *field == InjectedField::GracePeriod && waits && !record::is_pair(stored);
        Some(if becomes_pair { record::pair(stored) } else { stored.clone() })
    }

    /// The parts of gapless' beside the user's own that are absent, or the API
    /// server's default and unproven, in a value that is otherwise complete.
    pub fn dropped_parts(&self, field: &InjectedField) -> BTreeSet<PartPath> {
        let entry = self.old.as_ref().and_then(|old| old.entry(field));
        let (Some(entry), Some(live), Some(stored)) = (entry, self.find(field), self.stored(field)) else {
            return BTreeSet::new();
        };
        if live == stored || !field.has_parts() || self.owner(field) != Owner::User || self.is_waived(field) {
            return BTreeSet::new();
        }
        let (live_parts, stored_parts) = (parts(live), parts(stored));
        let recorded = parts(entry).into_iter().filter(|(path, part)| stored_parts.get(path) == Some(part));
        let is_dropped = |path: &PartPath| {
            let is_written = parts::find(live, path).is_some() && self.is_part_proven(field, path, live);
            !live_parts.contains_key(path) && !is_written
        };
        recorded.map(|(path, _)| path).filter(is_dropped).collect()
    }

    /// Whether the stored record speaks of parts of gapless' beside values of the user, or
    /// the request dropped some.
    pub fn has_left_overs(&self) -> bool {
        let record = self.old.as_ref().and_then(|old| old.record.as_ref());
        let mut entries = record.into_iter().flat_map(Record::entries);
        entries.any(|(field, entry)| {
            field.has_parts()
                && (parts::handlers(entry).next().is_none() || !self.dropped_parts(field).is_empty())
        })
    }

    /// The parts of gapless' value that merging left in the user's value `live`.
    ///
    /// They are known where the proof covers the user's parts but not these, where
    /// an entry holds nothing but such parts, and where a handler of gapless' stands
    /// beside another one, which the API server would reject.
    pub fn left_overs(&self, field: &InjectedField, live: &Value) -> BTreeSet<PartPath> {
        let Some(entry) = self.entry(field, Some(live)).filter(|_| field.has_parts()) else {
            return BTreeSet::new();
        };
        let (recorded, live_parts) = (parts(entry), parts(live));
        let is_proven = |path: &PartPath| self.is_part_proven(field, path, live);
        let is_ours = |path: &PartPath| recorded.get(path) == live_parts.get(path);
        let our_handlers: Vec<&str> = parts::handlers(entry).collect();
        let has_second_handler = parts::handlers(live).any(|handler| !our_handlers.contains(&handler));
        // A manifest of another revision may say what gapless' own handler says.
        let is_second = |path: &PartPath| {
            has_second_handler && parts::handler_of(path).is_some_and(|it| our_handlers.contains(&it))
        };
        let is_left = |path: &&PartPath| is_ours(path) && (!is_proven(path) || is_second(path));
        let mut left: BTreeSet<PartPath> = live_parts.keys().filter(is_left).cloned().collect();

        let is_any_proven = live_parts.keys().any(is_proven);
        let is_covered = live_parts.keys().all(|path| is_ours(path) || is_proven(path));
        let holds_left_overs = parts::handlers(entry).next().is_none();
        let has_second_handler = has_second_handler && parts::handlers(live).count() > 1;
        let is_known = holds_left_overs || has_second_handler || (is_any_proven && is_covered);
        let users = parts::without(live, &left);
        let stays_complete = parts::handlers(&users).next().is_some();
        left.retain(|path| is_known && (stays_complete || parts::handler_of(path).is_none()));
        left
    }
}
