//! The object on its way from what the request wants to what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use json_patch::PatchOperation;
use json_patch::jsonptr::PointerBuf;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::defaults::rolling_update;
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::{Amount, IntOrString};
use crate::kubernetes::kind::{Kind, RollingBlock};
use crate::kubernetes::object::at;
use crate::ownership::containers::{Containers, Parents};
use crate::ownership::owner::Owner;
use crate::ownership::owners::Owners;
use crate::ownership::parts::{self, PartPath, same_value};
use crate::ownership::record::{ANNOTATION, InjectedField, Record};
use crate::patch::{self, PatchError};
use crate::workload::Workload;
use crate::workload::object::LifecycleHandler;

/// An object under change.
#[derive(Clone)]
pub struct Draft {
    /// The object as it is by now.
    pub object: Value,
    containers: Rc<Containers>,
    /// What is gapless' own and computed anew, with the value that was there.
    released: BTreeMap<InjectedField, Option<Value>>,
    /// Parts of gapless' that were put back beside the user's.
    parts_put_back: BTreeMap<InjectedField, BTreeSet<PartPath>>,
    /// Values that the user's manifest says.
    handed_back: BTreeSet<InjectedField>,
}

impl Draft {
    /// The object as the request wants it.
    pub fn of(owners: &Owners) -> Self {
        Draft {
            object: owners.object().clone(),
            containers: owners.containers(),
            released: BTreeMap::new(),
            parts_put_back: BTreeMap::new(),
            handed_back: BTreeSet::new(),
        }
    }

    /// The value of `field`.
    pub fn find(&self, field: &InjectedField) -> Option<&Value> {
        self.containers.find(&self.object, field)
    }

    /// What its fields stand in, for who looks for many.
    pub fn parents(&self) -> Parents<'_> {
        Parents::of(&self.object)
    }

    /// The value of `field`, which stands in one of these.
    pub fn find_below<'d>(&'d self, parents: &Parents<'d>, field: &InjectedField) -> Option<&'d Value> {
        self.containers.find_below(parents, field)
    }

    /// Removes `field`, and returns what was there.
    pub fn take(&mut self, field: &InjectedField) -> Option<Value> {
        take(&mut self.object, &self.containers, field)
    }

    /// Gives the user a value of their manifest back.
    ///
    /// # Errors
    /// If a parent of the field is no object.
    pub fn hand_back(
        &mut self,
        field: InjectedField,
        value: &Value,
        owners: &Owners,
    ) -> Result<(), PatchError> {
        self.set(&field, completed(&field, value, owners))?;
        self.handed_back.insert(field);
        Ok(())
    }

    /// Puts back parts of gapless' beside values that were handed back, if these are as
    /// stored with them. Returns the entries of these parts.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn put_back_beside_manifest(&mut self, owners: &Owners) -> Result<Record, PatchError> {
        let mut beside = Record::default();
        for field in self.handed_back.clone() {
            let stored = self.find(&field).and_then(|written| owners.stored_beside_manifest(&field, written));
            if let Some((stored, entry)) = stored {
                self.set(&field, stored.clone())?;
                beside.insert(field, entry);
            }
        }
        Ok(beside)
    }

    /// The fields whose values were handed back.
    pub fn handed_back(&self) -> impl Iterator<Item = &InjectedField> {
        self.handed_back.iter()
    }

    /// Whether the value of `field` was handed back.
    pub fn is_handed_back(&self, field: &InjectedField) -> bool {
        self.handed_back.contains(field)
    }

    fn set(&mut self, field: &InjectedField, value: Value) -> Result<(), PatchError> {
        match self.containers.pointer(field) {
            Some(pointer) => patch::set(&mut self.object, &pointer, value),
            None => Err(PatchError::NoContainer(field.path())),
        }
    }

    /// Puts back what the way of writing dropped, as it is stored.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn put_back(&mut self, owners: &Owners) -> Result<(), PatchError> {
        for field in owners.recorded_fields() {
            if let (Owner::Dropped, Some(stored)) = (owners.owner(field), owners.stored(field)) {
                self.set(field, stored.clone())?;
            }
        }
        Ok(())
    }

    /// Puts back the parts beside a user's own that the API server's defaults took
    /// the place of, if the probe is as stored with them. They stay there only if the
    /// template is as stored too.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn put_back_parts(&mut self, owners: &Owners) -> Result<(), PatchError> {
        let leads_to_stored = |field: &InjectedField, dropped: &BTreeSet<PartPath>| {
            let (Some(live), Some(stored)) = (owners.find(field), owners.stored(field)) else { return false };
            let mut value = live.clone();
            for path in dropped {
                parts::set(&mut value, path, parts::find(stored, path).cloned().unwrap_or_default());
            }
            !dropped.is_empty() && same_value(&value, stored)
        };
        let fields = owners.recorded_fields().iter().map(|field| (owners.dropped_parts(field), field));
        let found: BTreeMap<InjectedField, BTreeSet<PartPath>> = fields
            .filter(|(dropped, field)| leads_to_stored(field, dropped))
            .map(|(dropped, field)| (field.clone(), dropped))
            .collect();
        for field in found.keys() {
            self.set(field, owners.stored(field).cloned().unwrap_or_default())?;
        }
        self.parts_put_back = found;
        Ok(())
    }

    /// Takes away what is gapless' own and computed anew, and what merging left of
    /// it in values of the user. Returns the entries of what stays as it is.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn release(&mut self, owners: &Owners) -> Result<Record, PatchError> {
        let mut kept = Record::default();
        for field in owners.recorded_fields() {
            let is_recomputed = owners.changes_template() || (rolling_update::DEFAULT.fields)(field);
            let live = match self.parts_put_back.contains_key(field) {
                true => owners.stored(field),
                false => owners.find(field),
            };
            match owners.owner_with(field, live) {
                Owner::Gapless if is_recomputed => {
                    let taken = self.take(field);
                    self.released.insert(field.clone(), taken);
                }
                Owner::Gapless => {
                    let entry = owners.entry(field, live).cloned();
                    kept.extend(entry.map(|entry| (field.clone(), entry)));
                }
                Owner::Dropped if is_recomputed => {
                    if field.has_parts() {
                        self.take(field);
                    }
                    let stored = owners.stored(field).filter(|_| !owners.is_undo()).cloned();
                    self.released.insert(field.clone(), stored);
                }
                Owner::Dropped => {
                    let entry = owners.entry_put_back(field);
                    kept.extend(entry.map(|entry| (field.clone(), entry)));
                }
                Owner::User if self.is_needed_by_users_hooks(field, owners) => {
                    let entry = owners.entry(field, live).cloned();
                    kept.extend(entry.map(|entry| (field.clone(), entry)));
                }
                Owner::User if owners.changes_template() => self.hand_over(field, owners)?,
                Owner::User => {
                    let entry = self.entry_of_left_overs(field, live, owners);
                    kept.extend(entry.map(|entry| (field.clone(), entry)));
                }
                Owner::Nobody if owners.changes_template() => self.take_remainder(field, owners),
                Owner::Nobody => {}
            }
        }
        self.drop_rolling_update(owners);
        Ok(kept)
    }

    /// Whether the field is a grace period of gapless' that the user's would take the place
    /// of, and that would be too short for a hook of theirs.
    fn is_needed_by_users_hooks(&self, field: &InjectedField, owners: &Owners) -> bool {
        let longest = || longest_hook_seconds(&Workload::read(&self.object).ok()?);
        owners.is_claimed_by_pair(field, owners.find(field))
            && longest().is_some_and(|seconds| seconds >= api_default::GRACE_PERIOD_SECONDS.unsigned_abs())
    }

    /// Leaves a field to the user: without what merging left of gapless' value in
    /// it, and with a value of theirs that has been waiting for this rollout.
    fn hand_over(&mut self, field: &InjectedField, owners: &Owners) -> Result<(), PatchError> {
        let Some(live) = owners.find(field) else { return Ok(()) };
        if owners.is_claimed_by_pair(field, Some(live)) {
            return self.set(field, Value::from(api_default::GRACE_PERIOD_SECONDS));
        }
        let left_overs = owners.left_overs(field, live);
        if left_overs.is_empty() {
            return Ok(());
        }
        let mut users = parts::without(live, &left_overs);
        // With what the API server filled into a handler of gapless'.
        let complete: Vec<&str> = parts::handlers(&users).collect();
        let is_gone = |handler: &&str| !complete.contains(handler);
        for handler in parts::handlers(live).filter(is_gone) {
            parts::remove(&mut users, &[handler.to_owned()]);
        }
        self.set(field, completed(field, &users, owners))
    }

    /// The entry of the parts that are gapless' in a value of the user, which stay
    /// until the template changes.
    fn entry_of_left_overs(
        &self,
        field: &InjectedField,
        live: Option<&Value>,
        owners: &Owners,
    ) -> Option<Value> {
        let live = live?;
        let mut paths = owners.left_overs(field, live);
        paths.extend(self.parts_put_back.get(field).into_iter().flatten().cloned());
        let mut entry = Value::Object(Map::new());
        for path in &paths {
            parts::set(&mut entry, path, parts::find(live, path).cloned().unwrap_or_default());
        }
        (!paths.is_empty()).then_some(entry)
    }

    /// Removes what is left of gapless' probes and hooks whose handler is gone.
    pub fn take_remainders(&mut self, owners: &Owners) {
        for field in owners.recorded_fields() {
            if owners.owner(field) == Owner::Nobody {
                self.take_remainder(field, owners);
            }
        }
    }

    fn take_remainder(&mut self, field: &InjectedField, owners: &Owners) {
        if self.find(field).is_some_and(|live| owners.is_remainder(field, live)) {
            self.take(field);
        }
    }

    /// A live object that is switched to another strategy keeps its rolling parameters
    /// where nobody takes them away, as server-side apply does, and the API server, or the
    /// controller, rejects them beside it. They go if no user wrote any of them.
    fn drop_rolling_update(&mut self, owners: &Owners) {
        let block = owners.kind().rolling_block();
        let Some(fields) = at(owners.object(), &block.names()).and_then(Value::as_object) else { return };
        let amounts = InjectedField::amounts(block);
        let is_nobodys = |name: &String| {
            let field = match name.as_str() {
                "maxUnavailable" => &amounts[0],
                "maxSurge" => &amounts[1],
                _ => return false,
            };
            owners.owner(field) == Owner::Gapless || owners.is_unproven_api_default(field)
        };
        if self.excludes_rolling_update(owners.kind())
            && owners.old_object().is_some()
            && fields.keys().all(is_nobodys)
        {
            for amount in &amounts {
                self.take(amount);
            }
        }
    }

    /// Whether the strategy is one beside which rolling parameters are rejected, by the API
    /// server or by the kind's controller.
    fn excludes_rolling_update(&self, kind: Kind) -> bool {
        match kind {
            Kind::Deployment => self.strategy(kind, "type").is_some_and(|it| it == "Recreate"),
            Kind::StatefulSet | Kind::DaemonSet => false,
            Kind::Rollout => self.strategy(kind, "blueGreen").is_some(),
        }
    }

    /// Whether the strategy is one that has rolling parameters.
    pub fn rolls(&self, kind: Kind) -> bool {
        match kind {
            Kind::Rollout => self.strategy(kind, "blueGreen").is_none(),
            _ => self.strategy(kind, "type").is_none_or(|it| it == api_default::STRATEGY_TYPE),
        }
    }

    fn strategy(&self, kind: Kind, field: &str) -> Option<&Value> {
        let [spec, strategy, _] = kind.rolling_block().names();
        at(&self.object, &[spec, strategy, field]).filter(|value| !value.is_null())
    }

    /// The fields that are gapless' own and computed anew.
    pub fn released(&self) -> impl Iterator<Item = &InjectedField> {
        self.released.keys()
    }

    /// Whether `field` is gapless' own and computed anew.
    pub fn is_released(&self, field: &InjectedField) -> bool {
        self.released.contains_key(field)
    }

    /// The grace period of gapless', in seconds, if hooks of the user need more than
    /// `seconds`: it was on the screen when they were written.
    pub fn grace_period_for_users_hooks(
        &self,
        users: &Workload,
        seconds: i64,
        min_drain_seconds: i64,
    ) -> Option<i64> {
        let ours = self.released.get(&InjectedField::GracePeriod)?.as_ref()?.as_i64()?;
        let longest = longest_hook_seconds(users)?;
        let needed = i64::try_from(longest).unwrap_or(i64::MAX).saturating_add(min_drain_seconds);
        (longest > 0 && needed > seconds && ours > seconds).then_some(ours)
    }

    /// Lets the amounts of a DaemonSet go together, of which the API server wants exactly one
    /// not 0. Beside a user's own, gapless' go, or stay as they were where the API server's
    /// default does not fit either.
    pub fn agree_on_amounts(&self, filled: &mut Record, owners: &Owners) {
        let block = owners.kind().rolling_block();
        let amounts = InjectedField::amounts(block);
        let is_zero = |filled: &Record, field: &InjectedField| {
            let value = filled.get(field).or_else(|| self.find(field)).cloned();
            let value = value.or_else(|| field.api_default()).unwrap_or_default();
            let amount = IntOrString::deserialize(&value).ok().and_then(Amount::parse);
            amount.is_some_and(Amount::is_zero)
        };
        let agree = |filled: &Record| {
            let [unavailable, surge] = &amounts;
            is_zero(filled, unavailable) != is_zero(filled, surge)
        };
        if owners.kind() != Kind::DaemonSet || !self.rolls(owners.kind()) || agree(filled) {
            return;
        }
        let mut without = filled.clone();
        amounts.iter().for_each(|field| without.remove(field));
        if agree(&without) {
            *filled = without;
            return;
        }
        let as_before =
            amounts.iter().filter_map(|field| Some((field.clone(), self.released.get(field)?.clone()?)));
        filled.extend(as_before);
    }

    /// Writes what was filled.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn write(&mut self, filled: &Record, owners: &Owners) -> Result<(), PatchError> {
        for (field, value) in filled.entries() {
            self.set(field, completed(field, value, owners))?;
        }
        // What the API server fills in again, so that the object is as it will be.
        let is_gone = |field: &&InjectedField| filled.get(field).is_none() && !self.is_handed_back(field);
        for field in self.released.keys().filter(is_gone).cloned().collect::<Vec<_>>() {
            let is_filled_in = match field {
                InjectedField::GracePeriod => true,
                InjectedField::MaxUnavailable(_) | InjectedField::MaxSurge(_) => self.rolls(owners.kind()),
                // The API server leaves 0 out of the JSON.
                _ => false,
            };
            if let Some(api_default) = owners.api_default(&field).filter(|_| is_filled_in)
                && owners.is_from_api_server()
                && owners.find(&field).is_some()
            {
                self.set(&field, api_default)?;
            }
        }
        Ok(())
    }

    /// Puts back what was released and not filled again, if the template is as stored
    /// with it: where nothing but gapless' own differs, as in an undo between two
    /// revisions of gapless', no change of the user's starts a rollout. Returns the
    /// entries of what is put back.
    ///
    /// # Errors
    /// If a parent of a field is no object.
    pub fn keep_what_alone_differs(&mut self, owners: &Owners) -> Result<Record, PatchError> {
        if owners.old_object().is_none() || !owners.changes_template() {
            return Ok(Record::default());
        }
        let parents = self.parents();
        let is_gone = |field: &InjectedField| {
            let live = self.find_below(&parents, field);
            live.is_none() || live == owners.api_default(field).as_ref()
        };
        let was_ours = |field: &&InjectedField| field.is_in_template() && owners.is_stored_as_ours(field);
        let gone = self.released.keys().filter(|field| is_gone(field)).filter(was_ours);
        let mut kept = Record::default();
        kept.extend(gone.filter_map(|field| Some((field.clone(), owners.entry_put_back(field)?))));
        if kept.is_empty() {
            return Ok(kept);
        }
        let mut with_stored = self.clone();
        for field in kept.fields() {
            with_stored.set(field, owners.stored(field).cloned().unwrap_or_default())?;
        }
        if !owners.is_stored_template(&with_stored.object) {
            return Ok(Record::default());
        }
        *self = with_stored;
        Ok(kept)
    }

    /// Writes the record, unless the request's object has it already.
    ///
    /// # Errors
    /// If the annotations are no object.
    pub fn record(&mut self, owners: &Owners, record: &Record) -> Result<(), PatchError> {
        let is_written = Record::read(owners.object()).is_ok_and(|it| it.as_ref() == Some(record));
        if record.is_empty() {
            patch::take(&mut self.object, &annotation());
        } else if !is_written {
            patch::set(&mut self.object, &annotation(), Value::String(record.to_annotation()))?;
        }
        Ok(())
    }
}

/// Removes `field` from `object`, whose containers these are, with the parents that held
/// nothing else, and returns what was there.
pub fn take(object: &mut Value, containers: &Containers, field: &InjectedField) -> Option<Value> {
    let taken = patch::take(object, &containers.pointer(field)?);
    // An empty canary is a strategy too: a Rollout without it has none.
    if let InjectedField::MaxUnavailable(RollingBlock::Canary) | InjectedField::MaxSurge(RollingBlock::Canary) =
        field
        && taken.is_some()
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        let strategy = spec.entry("strategy").or_insert_with(|| Value::Object(Map::new()));
        if let Some(fields) = strategy.as_object_mut().filter(|it| !it.contains_key("blueGreen")) {
            fields.entry("canary").or_insert_with(|| Value::Object(Map::new()));
        }
    }
    taken
}

/// How many seconds the preStop hook sleeps that sleeps longest.
fn longest_hook_seconds(users: &Workload) -> Option<u64> {
    let hooks = users.long_running().filter_map(|container| container.lifecycle.pre_stop.as_ref());
    Some(hooks.map(LifecycleHandler::sleeps).max()?.as_secs())
}

/// A value as the API server completed it, if that is all the difference to what the
/// request holds or what is stored.
fn completed(field: &InjectedField, value: &Value, owners: &Owners) -> Value {
    let mut live = [owners.find(field), owners.stored(field)].into_iter().flatten();
    live.find(|live| same_value(live, value)).unwrap_or(value).clone()
}

fn annotation() -> PointerBuf {
    PointerBuf::from_tokens(["metadata", "annotations", ANNOTATION])
}

/// The operations that lead from `object` to `target`, which differ in fields of
/// `touched` and in the record.
///
/// # Errors
/// If the operations do not lead there.
pub fn operations(
    object: &Value,
    target: &Value,
    touched: &BTreeSet<InjectedField>,
) -> Result<Vec<PatchOperation>, PatchError> {
    let containers = Containers::of(object);
    let (before, after) = (Parents::of(object), Parents::of(target));
    // Most of what has a record stays as it is.
    let differs = |field: &&InjectedField| {
        containers.find_below(&before, field) != containers.find_below(&after, field)
    };
    let fields = touched.iter().filter(differs).filter_map(|field| containers.pointer(field));
    let pointers: Vec<PointerBuf> = fields.chain([annotation()]).collect();
    patch::operations(object, target, pointers.iter().map(PointerBuf::as_ptr))
}
