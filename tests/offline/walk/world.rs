//! The cluster with gapless, the same cluster without it, and the promises
//! that need both, or more than one request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use gapless::kubernetes::kind::Kind;
use gapless::policy::Policy;
use serde_json::{Map, Value, json};

use super::promises::{
    self, FIELDS, GRACE_PERIOD, RECORD, is_api_default, is_applied, is_default_of_a_handler, last_applied,
    leaves, record,
};
use crate::support::simulated::cluster::{Cluster, Exchange, Gapless, Outcome, REVISION, Stored, complete};
use crate::support::simulated::dialect;
use crate::support::simulated::kubectl;
use crate::support::simulated::managed_fields::Manager;
use crate::support::simulated::manifests::{Change, Manifest};
use crate::support::simulated::step::{
    ADVISORY, KEEPS_API_DEFAULTS, OFF, STRICT, Step, Tool, merge_patch_of,
};
use crate::support::simulated::{merge, path, with_api_defaults};

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offline/walk/profiles.yaml");
    Arc::new(gapless::config::load(Some(path.as_ref())).unwrap())
});

/// A template and the annotations that were current with it.
type Generation = (Value, Map<String, Value>);

pub struct World {
    live: Cluster,
    /// The same without gapless.
    control: Cluster,
    /// What the control had when each revision of the live one was current.
    control_revisions: Vec<Generation>,
    manifest: Manifest,
    /// Whether the record ever lost an entry by hand: then an older revision
    /// may claim what has become the user's.
    is_record_edited: bool,
    /// The fields that the user ever wrote, or took over.
    written: BTreeSet<&'static str>,
    /// Those that the user took over by the record.
    taken_over: BTreeSet<&'static str>,
    pub requests: usize,
}

/// What a step did with both clusters.
struct Done {
    before: Option<Value>,
    exchanges: Vec<Exchange>,
    control_before: Option<Value>,
    control_exchanges: Vec<Exchange>,
    /// What the control would have done with what was denied.
    control_exchanges_of_denied: Vec<Exchange>,
}

impl Done {
    fn is_stored(&self) -> bool {
        self.exchanges.iter().all(Exchange::is_stored)
    }

    /// Whether the control went the same way to its end.
    fn is_comparable(&self) -> bool {
        self.is_stored() && self.control_exchanges.iter().all(Exchange::is_stored)
    }
}

impl World {
    pub fn new(profile: Option<&'static str>) -> Self {
        let gapless = profile.map(|profile| Gapless { policy: POLICY.clone(), profile });
        World {
            live: Cluster { gapless, ..Cluster::default() },
            control: Cluster::default(),
            control_revisions: Vec::new(),
            manifest: Manifest::default(),
            is_record_edited: false,
            written: BTreeSet::new(),
            taken_over: BTreeSet::new(),
            requests: 0,
        }
    }

    fn profile(&self) -> &'static str {
        self.live.gapless.as_ref().map_or(OFF, |gapless| gapless.profile)
    }

    /// Takes one step and checks all promises.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        let changes = match step {
            Step::Send(_, changes) | Step::Edit(changes) => changes.as_slice(),
            Step::Patch(change) => std::slice::from_ref(change),
            _ => &[],
        };
        self.written.extend(changes.iter().filter(|change| change.value().is_some()).map(Change::path));
        match step {
            Step::Profile(profile) => {
                self.live.gapless = Some(Gapless { policy: POLICY.clone(), profile });
                Ok(())
            }
            Step::Scale(replicas) => {
                self.live.scale(*replicas);
                self.control.scale(*replicas);
                Ok(())
            }
            Step::Send(tool, changes) => self.send(*tool, changes),
            Step::Forget(index) => self.forget(*index),
            Step::TakeAway(index) => self.take_away(*index),
            Step::Edit(changes) => {
                let edit = |object: &mut Value| changes.iter().for_each(|change| set(object, change));
                self.edit("kubectl-edit", edit, changes)
            }
            Step::Patch(change) => {
                let Some(patch) = merge_patch_of(change) else { return Ok(()) };
                let merge = |object: &mut Value| *object = merge::patch(object, &patch);
                self.edit("kubectl-patch", merge, std::slice::from_ref(change))
            }
            Step::Annotate(change) => {
                let annotate = |object: &mut Value| set(object, change);
                self.small_change("kubectl-annotate", annotate)
            }
            Step::Label(team) => self.small_change("kubectl-label", |object| {
                object["metadata"]["labels"]["team"] = json!(format!("team-{team}"));
            }),
            Step::ScaleByEdit(replicas) => {
                self.small_change("kubectl-edit", |object| object["spec"]["replicas"] = json!(replicas))
            }
            // Of the others nobody asks for that; those of Argo have a plugin of their own.
            Step::Pause(_) if dialect::kind() != Kind::Deployment => Ok(()),
            Step::Undo(_) if dialect::kind() == Kind::Rollout => Ok(()),
            Step::Undo(index) => self.undo(*index),
            Step::Pause(pause) => {
                self.small_change("kubectl-rollout", |object| object["spec"]["paused"] = json!(pause))
            }
            Step::Restart => {
                let at = json!(self.live.clock.to_string());
                self.small_change("kubectl-rollout", |object| {
                    let key = "kubectl.kubernetes.io/restartedAt";
                    object["spec"]["template"]["metadata"]["annotations"][key] = at.clone();
                })
            }
        }
    }

    /// A change of the live object that leaves no trace of where it is to the value
    /// that is there.
    fn edit(
        &mut self,
        manager: &'static str,
        edit: impl Fn(&mut Value),
        changes: &[Change],
    ) -> Result<(), String> {
        let done = self.both(|cluster, _| Vec::from_iter(kubectl::change(cluster, manager, &edit)));
        self.settle(done, &[Promise::StartsNoRollout, Promise::RollsOnlyWithTheRequest])?;
        let (Some(live), Some(control)) = (self.live.object(), self.control.object()) else { return Ok(()) };
        // Where gapless' own was there before, it stays gapless', or is gone by now.
        let record = record(live);
        let is_not_theirs = |change: &Change| {
            let is_gone = path::get(live, change.path()).is_none();
            path::get(control, change.path()).is_some() && (is_gone || record.contains_key(change.path()))
        };
        if changes.iter().any(is_not_theirs) {
            self.begin_control_again();
        }
        Ok(())
    }

    /// A change that is never denied, whatever is stored.
    fn small_change(&mut self, manager: &'static str, change: impl Fn(&mut Value)) -> Result<(), String> {
        let done = self.both(|cluster, _| Vec::from_iter(kubectl::change(cluster, manager, &change)));
        self.settle(done, &[Promise::StartsNoRollout, Promise::IsNotDenied])
    }

    /// Lets the same happen to both clusters.
    fn both(&mut self, act: impl Fn(&mut Cluster, bool) -> Vec<Exchange>) -> Done {
        let before = self.live.object().cloned();
        let control_before = self.control.clone();
        let exchanges = act(&mut self.live, true);
        self.requests += exchanges.len();
        // What was denied has not happened.
        let is_denied = matches!(exchanges.first(), Some(Exchange { outcome: Outcome::Denied(..), .. }));
        let (control_exchanges, control_exchanges_of_denied) = match is_denied {
            true => (Vec::new(), act(&mut control_before.clone(), false)),
            false => (act(&mut self.control, false), Vec::new()),
        };
        let control_before = control_before.object().cloned();
        Done { before, exchanges, control_before, control_exchanges, control_exchanges_of_denied }
    }

    /// Checks the promises of a step, and keeps the control beside the live
    /// cluster.
    fn settle(&mut self, done: Done, promised: &[Promise]) -> Result<(), String> {
        for exchange in &done.exchanges {
            promises::check(exchange, self.profile()).map_err(|why| describe(exchange, &why))?;
            self.introduces_no_denial(&done, exchange).map_err(|why| describe(exchange, &why))?;
            if promised.contains(&Promise::IsNotDenied)
                && let Outcome::Denied(_, message) = &exchange.outcome
            {
                return Err(describe(exchange, &format!("a surprise denial: {message}")));
            }
        }
        let is_control_stored = done.control_exchanges.iter().all(Exchange::is_stored);
        let is_dropped = done.exchanges.iter().any(|exchange| self.drops_what_the_control_keeps(exchange));
        if let Some(exchange) = done.exchanges.iter().find(|it| matches!(it.outcome, Outcome::Invalid(_)))
            && is_control_stored
            && !is_dropped
        {
            return Err(describe(exchange, "invalid with gapless, valid without"));
        }
        if promised.contains(&Promise::StartsNoRollout) && !is_dropped {
            self.starts_no_rollout(&done, promised)?;
        }
        let was_denied_half_way =
            done.exchanges.first().is_some_and(Exchange::is_stored) && !done.is_stored();
        if (done.is_stored() && !is_control_stored)
            || was_denied_half_way
            || is_dropped
            || self.differs_in_what_was_taken_over()
        {
            self.begin_control_again();
        }
        self.keep_revisions();
        Ok(())
    }

    /// What gapless injects leads to no denial that there was not without it.
    fn introduces_no_denial(&self, done: &Done, exchange: &Exchange) -> Result<(), String> {
        let (Outcome::Denied(fields, message), Some(gapless)) = (&exchange.outcome, &self.live.gapless)
        else {
            return Ok(());
        };
        if exchange.is_undo && fields.iter().any(|field| field.starts_with("spec.template")) {
            return Err(format!("an undo is denied for what it brings back: {message}"));
        }
        let without: Vec<String> =
            done.control_exchanges_of_denied.iter().flat_map(|control| gapless.complaints(control)).collect();
        match fields.iter().find(|field| !without.contains(field)) {
            Some(field) if !done.control_exchanges_of_denied.is_empty() => Err(format!(
                "gapless denies {field}, of which it would not complain without its own: {message}"
            )),
            _ => Ok(()),
        }
    }

    /// Promise 1: the template changes only if it would without gapless.
    fn starts_no_rollout(&self, done: &Done, promised: &[Promise]) -> Result<(), String> {
        let template = |object: Option<&Value>| object.map(template_for_its_controller);
        let is_unchanged = template(done.before.as_ref()) == template(self.live.object());
        if done.before.is_none() || is_unchanged || !done.is_comparable() || done.exchanges.is_empty() {
            return Ok(());
        }
        if template(done.control_before.as_ref()) != template(self.control.object()) {
            return Ok(());
        }
        if promised.contains(&Promise::RollsOnlyWithTheRequest) && done.exchanges.iter().any(changes_template)
        {
            return Ok(());
        }
        if done
            .exchanges
            .iter()
            .any(|exchange| self.withdraws_by_waiver(exchange) || counts_at_once(exchange))
        {
            return Ok(());
        }
        let exchange = &done.exchanges[done.exchanges.len() - 1];
        Err(describe(exchange, "a rollout that there is not without gapless"))
    }

    /// Whether a field of ours that the request drops is now waived.
    fn withdraws_by_waiver(&self, exchange: &Exchange) -> bool {
        let Some(old) = &exchange.old else { return false };
        let sent = &exchange.sent.object;
        let is_waived = |id: &str| {
            let key = format!("gapless.dev/waive.{id}");
            self.profile() != STRICT && sent["metadata"]["annotations"].get(&key).is_some()
        };
        record(&old.object).keys().any(|path| {
            let is_dropped = path::get(sent, path).is_none_or(|value| is_api_default(path, value));
            is_dropped && path.starts_with("spec.template") && default_of(path).is_some_and(is_waived)
        })
    }

    /// Whether a request of server-side apply drops a value of the user's that another
    /// manager owns in the control. In the live cluster gapless wrote it first, and what a
    /// webhook writes has no owner in `managedFields`.
    fn drops_what_the_control_keeps(&self, exchange: &Exchange) -> bool {
        let (Some(old), Some(control)) = (&exchange.old, self.control.object()) else { return false };
        let record = record(&old.object);
        let mut users =
            FIELDS.iter().filter(|path| path.starts_with("spec.template") && !record.contains_key(**path));
        users.any(|path| {
            let (sent, stored) = (path::get(&exchange.sent.object, path), path::get(&old.object, path));
            let is_without_handler = |value: &Value| {
                value.is_object() && leaves(value).iter().all(|(leaf, _)| leaf.matches('.').count() == 1)
            };
            let is_dropped =
                sent.is_none_or(|value| is_api_default(path, value) || is_without_handler(value));
            // Or it is gone there since its manager let go of it.
            let in_control = path::get(control, path);
            let is_gone = in_control.is_none_or(|value| is_api_default(path, value));
            let is_users = is_gone && self.written.contains(*path);
            // A patch of a custom resource names its containers whole, and takes away what
            // is the user's since an apply took the record away with their last annotation.
            let is_with_list = dialect::kind() == Kind::Rollout;
            (is_dropped && stored.is_some() && (stored == in_control || is_users || is_with_list))
                || drops_what_is_applied(exchange, old, path)
        })
    }

    /// Whether a value that the user took over is another one in the control, where it has
    /// no owner in `managedFields` either, but stands over another one that has.
    fn differs_in_what_was_taken_over(&self) -> bool {
        let (Some(live), Some(control)) = (self.live.object(), self.control.object()) else { return false };
        let record = record(live);
        let mut users = self.taken_over.iter().filter(|path| !record.contains_key(**path));
        users.any(|path| path::get(live, path) != path::get(control, path))
    }

    /// The control becomes what the live object is without what is recorded.
    fn begin_control_again(&mut self) {
        let Some(stored) = &self.live.stored else { return };
        let mut stored = stored.clone();
        let object = &mut stored.object;
        // What is proven of a revived value makes it the user's.
        let manifest = last_applied(object).unwrap_or_default();
        for path in record(object).keys() {
            let live = path::get(object, path).cloned().unwrap_or_default();
            let said = path::get(&manifest, path).filter(|said| has_same_handler(said, &live)).cloned();
            match said.or_else(|| applied_probe(&stored.managers, path, &live)) {
                Some(users) => path::put(object, path, Some(users)),
                None => remove(object, path),
            }
        }
        path::put(object, &format!("metadata.annotations[{RECORD}]"), None);
        *object = complete(object);
        self.control.stored = Some(stored);
        self.control.roll_out();
    }

    /// Notes what the control has while the live cluster is at a revision.
    fn keep_revisions(&mut self) {
        let (Some(live), Some(control)) = (self.live.object(), self.control.object()) else { return };
        let template = &live["spec"]["template"];
        let Some(index) = self.live.revisions.iter().position(|revision| revision.template == *template)
        else {
            return;
        };
        if self.control_revisions.len() <= index {
            self.control_revisions.resize(index + 1, (json!({}), Map::new()));
        }
        let (template, annotations) = &mut self.control_revisions[index];
        *template = control["spec"]["template"].clone();
        for (key, value) in control["metadata"]["annotations"].as_object().into_iter().flatten() {
            if key != kubectl::LAST_APPLIED && key != REVISION {
                annotations.insert(key.clone(), value.clone());
            }
        }
    }

    fn undo(&mut self, index: usize) -> Result<(), String> {
        let older = self.live.older_revisions();
        if older.is_empty() {
            return Ok(());
        }
        let index = older[index % older.len()];
        let revision = self.live.revisions[index].clone();
        let control = self.control_revisions[index].clone();
        let done = self.both(|cluster, is_live| {
            let (template, annotations) =
                if is_live { (&revision.template, &revision.annotations) } else { (&control.0, &control.1) };
            Vec::from_iter(kubectl::undo(cluster, template, annotations))
        });
        self.settle(done, &[])?;
        // The record of the older revision speaks in an undo, so that a value of gapless'
        // may stand where the control has one that the user has proven since.
        self.begin_control_again();
        Ok(())
    }

    /// What an edit takes away is put back, unless its default is waived.
    fn take_away(&mut self, index: usize) -> Result<(), String> {
        let Some(object) = self.live.object() else { return Ok(()) };
        let record = record(object);
        let present: Vec<&String> = record.keys().filter(|path| path::get(object, path).is_some()).collect();
        if present.is_empty() {
            return Ok(());
        }
        let path = present[index % present.len()].clone();
        let done = self.both(|cluster, _| {
            Vec::from_iter(kubectl::change(cluster, "kubectl-edit", |object| remove(object, &path)))
        });
        self.settle(done, &[Promise::StartsNoRollout, Promise::IsNotDenied])
    }

    /// Whoever removes an entry of the record takes its field over.
    fn forget(&mut self, index: Option<usize>) -> Result<(), String> {
        let Some(object) = self.live.object().cloned() else { return Ok(()) };
        let mut entries = record(&object);
        if entries.is_empty() {
            return Ok(());
        }
        let forgotten: Vec<String> = match index {
            None => entries.keys().cloned().collect(),
            Some(index) => entries.keys().nth(index % entries.len()).cloned().into_iter().collect(),
        };
        forgotten.iter().for_each(|path| drop(entries.remove(path)));
        self.taken_over.extend(FIELDS.iter().filter(|path| forgotten.iter().any(|it| it == *path)));
        self.written.extend(&self.taken_over);
        let kept = entries.iter().map(|(path, entry)| (dialect::path(path).into_owned(), entry.clone()));
        let left = (!entries.is_empty()).then(|| json!(Value::Object(kept.collect()).to_string()));
        let annotation = format!("metadata.annotations[{RECORD}]");
        let taken_over: Vec<(&String, Value)> =
            forgotten.iter().filter_map(|path| Some((path, path::get(&object, path)?.clone()))).collect();
        let done = self.both(|cluster, is_live| {
            if !is_live {
                // Without gapless, the user would have written these.
                if let Some(stored) = &mut cluster.stored {
                    taken_over.iter().for_each(|(path, value)| {
                        path::put(&mut stored.object, path, Some(value.clone()));
                    });
                    cluster.roll_out();
                }
                return Vec::new();
            }
            let forget = |object: &mut Value| path::put(object, &annotation, left.clone());
            Vec::from_iter(kubectl::change(cluster, "kubectl-annotate", forget))
        });
        let exchange = done.exchanges[0].clone();
        self.is_record_edited = true;
        self.settle(done, &[Promise::IsNotDenied])?;
        let now = &exchange.mutated;
        if now["spec"]["template"] != object["spec"]["template"] {
            return Err(describe(&exchange, "removing the record changes the template"));
        }
        for (path, value) in taken_over {
            if record(now).contains_key(path) || path::get(now, path) != Some(&value) {
                return Err(describe(&exchange, &format!("{path} was handed over, and is not left alone")));
            }
        }
        Ok(())
    }

    /// The user changes the manifest and sends it, and once again.
    fn send(&mut self, tool: Tool, changes: &[Change]) -> Result<(), String> {
        let previous = self.manifest.clone();
        changes.iter().for_each(|change| self.manifest.change(change));
        let manifest = self.manifest.to_json();
        let send = |cluster: &mut Cluster, _: bool| match tool {
            Tool::Apply => Vec::from_iter(kubectl::apply(cluster, &manifest)),
            Tool::ApplyServerSide => kubectl::apply_server_side(cluster, &manifest),
            Tool::Flux => vec![cluster.apply("kustomize-controller", &manifest)],
            Tool::Replace if cluster.stored.is_none() => vec![kubectl::create(cluster, &manifest)],
            Tool::Replace => vec![kubectl::replace(cluster, &manifest)],
        };
        let done = self.both(send);
        if !done.is_stored() {
            // The user takes the change back.
            self.manifest = previous;
            return self.settle(done, &[]);
        }
        if let Some(last) = done.exchanges.last() {
            let (first, last) = (done.exchanges[0].clone(), last.clone());
            self.contains_the_manifest(tool, &manifest, &first)
                .and_then(|()| self.hands_over(tool, &manifest, &done.exchanges))
                .map_err(|why| describe(&last, &why))?;
        }
        self.settle(done, &[Promise::StartsNoRollout])?;

        let before = self.live.object().cloned();
        let done = self.both(send);
        if let Some(exchange) =
            done.exchanges.iter().find(|exchange| Some(&exchange.mutated) != before.as_ref())
            && what_counts(&exchange.mutated) != before.as_ref().map(what_counts).unwrap_or_default()
        {
            return Err(describe(exchange, "the same manifest again changes something"));
        }
        if tool == Tool::Apply && !done.exchanges.is_empty() && self.has_nothing_to_say(&manifest) {
            return Err(describe(&done.exchanges[0], "the same apply again is no empty patch"));
        }
        self.settle(done, &[Promise::StartsNoRollout, Promise::IsNotDenied])
    }

    /// Whether `kubectl apply` finds nothing to patch in what is stored: it
    /// always does in a `strategy` that names some of its fields, in a zero
    /// that the API leaves out, and while a proof waits.
    fn has_nothing_to_say(&self, manifest: &Value) -> bool {
        // A custom resource is merged by JSON merge patches, which name lists whole.
        if dialect::kind() == Kind::Rollout {
            return false;
        }
        let is_waiting = self
            .live
            .object()
            .is_some_and(|object| record(object).get(GRACE_PERIOD).is_some_and(Value::is_array));
        let says_none = ["strategy", "updateStrategy"].iter().all(|it| manifest["spec"].get(it).is_none());
        says_none && manifest["spec"]["minReadySeconds"] != 0 && !is_waiting
    }

    /// Every value of the manifest is in the stored object.
    fn contains_the_manifest(&self, tool: Tool, manifest: &Value, first: &Exchange) -> Result<(), String> {
        let object = self.live.object().unwrap();
        let mut lost_paths = Vec::new();
        lost(manifest, object, String::new(), &mut lost_paths);
        for path in lost_paths {
            let path = dialect::canonical(&path).into_owned();
            let value = path::get(manifest, &path).cloned().unwrap_or_default();
            // Without a proof, a part at the API server's default counts as absent.
            let is_default_part = first.old.is_some()
                && path
                    .split_once("Probe.")
                    .is_some_and(|(_, leaf)| is_default_of_a_handler(&format!("{leaf}."), &value));
            // Neither is there a proof of amounts that a PUT holds beside Recreate.
            let is_block_of_defaults = path == "spec.strategy.rollingUpdate"
                && manifest["spec"]["strategy"]["type"] == "Recreate"
                && value.as_object().is_some_and(|block| {
                    block.iter().all(|(name, amount)| is_api_default(&format!("{path}.{name}"), amount))
                });
            if tool == Tool::Replace && (is_default_part || is_block_of_defaults) {
                continue;
            }
            if !is_api_default(&path, &value) {
                return Err(format!("{path}: {value} of the manifest is lost"));
            }
            if path == promises::MIN_READY_SECONDS && path::get(object, &path).is_none() {
                continue;
            }
            if tool == Tool::Replace {
                let is_kept = self.profile() == KEEPS_API_DEFAULTS && first.old.is_none();
                if is_kept || (path != GRACE_PERIOD && is_applied(&first.sent.managers, &path)) {
                    return Err(format!("{path}: {value} of the manifest is replaced"));
                }
            } else if path == GRACE_PERIOD {
                waits_for_good_reason(tool, first, object)?;
            } else {
                return Err(format!("{path}: {value} of the manifest is proven, and replaced"));
            }
        }
        Ok(())
    }

    /// What the user proves leaves the record.
    fn hands_over(&self, tool: Tool, manifest: &Value, exchanges: &[Exchange]) -> Result<(), String> {
        let proves_nothing = exchanges.iter().all(Exchange::changes_only_owners);
        if tool == Tool::Replace
            || proves_nothing
            || self.profile() == ADVISORY
            || self.live.gapless.is_none()
        {
            return Ok(());
        }
        let object = self.live.object().unwrap();
        let old = exchanges[0].old.as_ref().map(|old| &old.object["spec"]["template"]);
        let is_template_changed = old != Some(&object["spec"]["template"]);
        for (path, entry) in record(object) {
            let Some(value) = path::get(manifest, &path) else { continue };
            let is_waiting = path == GRACE_PERIOD && entry.is_array();
            let named: Vec<String> = leaves(value).into_iter().map(|(leaf, _)| leaf).collect();
            let is_left_over = entry.is_object()
                && !is_template_changed
                && leaves(&entry).iter().all(|(leaf, _)| !named.contains(leaf));
            if !is_waiting && !is_left_over {
                return Err(format!("{path} is proven, and recorded as {entry}"));
            }
        }
        Ok(())
    }
}

#[derive(PartialEq)]
enum Promise {
    /// The template changes only if it would without gapless.
    StartsNoRollout,
    /// But where the request changes the live template anyhow: what an edit
    /// finds there and what the control has may differ.
    RollsOnlyWithTheRequest,
    IsNotDenied,
}

/// Whether the request changes a part that an `Apply` entry names. After an undo one may
/// still name parts of a probe whose handler is of another revision, so that the probe is
/// not in the control.
fn drops_what_is_applied(exchange: &Exchange, old: &Stored, path: &str) -> bool {
    let Some(stored) = path::get(&old.object, path).filter(|stored| stored.is_object()) else { return false };
    let sent = path::get(&exchange.sent.object, path).unwrap_or(&Value::Null);
    leaves(stored).into_iter().any(|(leaf, value)| {
        let is_changed = !leaves(sent).contains(&(leaf.clone(), value));
        is_changed && is_applied(&old.managers, &format!("{path}.{}", leaf.trim_end_matches('.')))
    })
}

/// The controller of Rollouts fills in the defaults before it compares.
fn template_for_its_controller(object: &Value) -> Value {
    let mut filled = object.clone();
    filled["apiVersion"] = json!("apps/v1");
    filled["kind"] = json!("Deployment");
    with_api_defaults(&filled)["spec"]["template"].clone()
}

fn changes_template(exchange: &Exchange) -> bool {
    let template = |stored: &Stored| template_for_its_controller(&stored.object);
    exchange.old.as_ref().map(template) != Some(template(&exchange.sent))
}

/// A proof of the API server's default over our grace period counts at once
/// where the stored object carried a proof of the same kind: a rollout that the
/// manifest asks for.
fn counts_at_once(exchange: &Exchange) -> bool {
    let Some(old) = &exchange.old else { return false };
    let ours = record(&old.object);
    let is_ours = ours.get(GRACE_PERIOD).is_some_and(|entry| !entry.is_array());
    if is_ours && path::get(&exchange.mutated, GRACE_PERIOD) == Some(&json!(30)) {
        return true;
    }
    // The same for the parts of a probe.
    let hands_over_a_part = |(path, entry): (&String, &Value)| {
        let now = path::get(&exchange.mutated, path).unwrap_or(&Value::Null);
        leaves(now).iter().any(|(leaf, value)| {
            is_default_of_a_handler(leaf, value)
                && leaves(entry).iter().any(|(other, ours)| other == leaf && ours != value)
        })
    };
    // Into a Rollout nobody fills the default in.
    let lets_go_of_a_part = |(path, entry): (&String, &Value)| {
        let now = path::get(&exchange.mutated, path).unwrap_or(&Value::Null);
        let is_left = |leaf: &str| leaves(now).iter().any(|(other, _)| other == leaf);
        dialect::kind() == Kind::Rollout
            && now.is_object()
            && leaves(entry).iter().any(|(leaf, _)| !is_left(leaf))
    };
    ours.iter().any(hands_over_a_part) || ours.iter().any(lets_go_of_a_part)
}

/// *A change of tools restarts nothing.*
fn waits_for_good_reason(tool: Tool, first: &Exchange, now: &Value) -> Result<(), String> {
    let Some(old) = &first.old else { return Err("a new object has nothing to wait for".to_owned()) };
    let is_pair = |object: &Value| record(object).get(GRACE_PERIOD).is_some_and(Value::is_array);
    let carried_proof = match tool {
        Tool::Apply => last_applied(&old.object).is_some(),
        Tool::ApplyServerSide => old.managers.iter().any(|manager| manager.is("kubectl", "Apply", "")),
        _ => old.managers.iter().any(|manager| manager.is("kustomize-controller", "Apply", "")),
    };
    if !is_pair(now) {
        return Err("30 of the manifest is not written, and nothing says that it waits".to_owned());
    }
    if carried_proof && !is_pair(&old.object) {
        return Err("30 of the manifest waits, although the stored object carried a proof of the same kind"
            .to_owned());
    }
    // Nor does it come while a hook of the user's needs more.
    let sleeps_longer =
        now["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten().any(|it| {
            let hook = &it["lifecycle"]["preStop"];
            hook["sleep"]["seconds"].as_i64() >= Some(30) || hook["exec"].to_string().contains("sleep 35")
        });
    if now["spec"]["template"] != old.object["spec"]["template"] && !sleeps_longer {
        return Err("the template changes, and 30 of the manifest is not written".to_owned());
    }
    Ok(())
}

/// The part of an object that a user sees changed.
fn what_counts(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut annotations = metadata["annotations"].as_object().cloned().unwrap_or_default();
    annotations.remove(REVISION);
    json!({"labels": metadata["labels"], "annotations": annotations, "spec": object["spec"]})
}

/// The default that injects a field.
fn default_of(path: &str) -> Option<&'static str> {
    match path {
        GRACE_PERIOD => Some("pre-stop-sleep"),
        _ if path.ends_with("readinessProbe") => Some("readiness-probe"),
        _ if path.ends_with("preStop") => Some("pre-stop-sleep"),
        _ if path.contains("labels") => Some("version-label"),
        _ => Some("rolling-update").filter(|_| FIELDS.contains(&path)),
    }
}

/// Whether a value without parts is the same, or a probe or hook has the same handler.
fn has_same_handler(said: &Value, live: &Value) -> bool {
    let of_handler = |(leaf, _): &(String, &Value)| leaf.matches('.').count() != 1;
    let mut handler = leaves(said).into_iter().filter(of_handler);
    handler.all(|part| leaves(live).contains(&part))
}

/// The parts of a probe or hook that server-side apply owns, if a handler is among them.
fn applied_probe(managers: &[Manager], path: &str, live: &Value) -> Option<Value> {
    let mut users = json!({});
    let mut has_handler = false;
    for (leaf, value) in leaves(live).into_iter().filter(|(leaf, _)| !leaf.is_empty()) {
        let leaf = leaf.trim_end_matches('.');
        if is_applied(managers, &format!("{path}.{leaf}")) {
            path::put(&mut users, leaf, Some(value.clone()));
            has_handler |= leaf.contains('.');
        }
    }
    has_handler.then_some(users)
}

/// Removes a field, and a `lifecycle` that held nothing else.
fn remove(object: &mut Value, path: &str) {
    path::put(object, path, None);
    if let Some(lifecycle) = path.strip_suffix(".preStop")
        && path::get(object, lifecycle).and_then(Value::as_object).is_none_or(Map::is_empty)
    {
        path::put(object, lifecycle, None);
    }
}

fn set(object: &mut Value, change: &Change) {
    // An editor leaves an image where a container is.
    match change.value() {
        None if change.path().ends_with("image") => {}
        None => remove(object, change.path()),
        value => path::put(object, change.path(), value),
    }
}

/// The values in `written` that differ in `stored`.
fn lost(written: &Value, stored: &Value, path: String, lost_paths: &mut Vec<String>) {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => {
            for (key, value) in written {
                let is_key = path.ends_with("labels") || path.ends_with("annotations");
                let path = match (is_key, path.is_empty()) {
                    (true, _) => format!("{path}[{key}]"),
                    (false, true) => key.clone(),
                    (false, false) => format!("{path}.{key}"),
                };
                lost(value, stored.get(key).unwrap_or(&Value::Null), path, lost_paths);
            }
        }
        (Value::Array(written), Value::Array(stored))
            if written.iter().all(|item| item.get("name").is_some()) =>
        {
            for item in written {
                let name = item["name"].as_str().unwrap_or_default();
                let stored = stored.iter().find(|other| other["name"] == item["name"]);
                lost(item, stored.unwrap_or(&Value::Null), format!("{path}[{name}]"), lost_paths);
            }
        }
        (Value::Array(written), Value::Array(stored))
            if written.iter().all(|item| item.get("containerPort").is_some()) =>
        {
            for item in written {
                let stored = stored.iter().find(|other| other["containerPort"] == item["containerPort"]);
                lost(item, stored.unwrap_or(&Value::Null), path.clone(), lost_paths);
            }
        }
        _ if written == stored => {}
        _ => lost_paths.push(path),
    }
}

/// What is wrong, and what the request changed and gapless after it.
fn describe(exchange: &Exchange, why: &str) -> String {
    let values = |object: &Value| -> BTreeMap<String, Value> {
        let metadata = &object["metadata"];
        let shown = json!({
            "metadata": {"labels": metadata["labels"], "annotations": metadata["annotations"]},
            "spec": object["spec"],
        });
        all_values(&shown, "").into_iter().collect()
    };
    let stored = exchange.old.as_ref().map(|old| values(&old.object)).unwrap_or_default();
    let (sent, mutated) = (values(&exchange.sent.object), values(&exchange.mutated));
    let paths: BTreeSet<&String> = stored.keys().chain(sent.keys()).chain(mutated.keys()).collect();
    let mut lines = vec![why.to_owned()];
    for path in paths {
        let [stored, sent, mutated] = [&stored, &sent, &mutated].map(|values| values.get(path));
        if stored != sent || sent != mutated || path.contains(RECORD) {
            let show = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
            lines.push(format!("  {path}: {} | {} | {}", show(stored), show(sent), show(mutated)));
        }
    }
    for manager in &exchange.sent.managers {
        lines.push(format!("  owner {} {}", manager.name, manager.operation));
    }
    lines.push(format!("  (stored | sent | with gapless) {:?}", exchange.outcome));
    lines.join("\n")
}

fn all_values(value: &Value, path: &str) -> Vec<(String, Value)> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| all_values(value, &format!("{path}/{name}"))).collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, value)| all_values(value, &format!("{path}/{index}")))
            .collect(),
        value => vec![(path.to_owned(), value.clone())],
    }
}
