//! An API server that stores one Deployment, with its owners and revisions.
//! Each request goes the way of the real one: defaults, owners, both webhooks,
//! validity, storage.

use std::sync::Arc;

use gapless::admission::{Phase, Review, Terms, review};
use gapless::kubernetes::kind::Kind;
use gapless::policy::Policy;
use gapless::surroundings::NONE;
use serde_json::{Map, Value, json};

use super::dialect;
use super::managed_fields::{self, FieldSet, Manager};
use super::validity::invalid;
use super::{TODAY, apply, patch_of, with_api_defaults};

const CONTROLLER: &str = "kube-controller-manager";
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// gapless, as it is installed.
#[derive(Clone)]
pub struct Gapless {
    pub policy: Arc<Policy>,
    pub profile: &'static str,
}

/// A Deployment as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Without `managedFields`.
    pub object: Value,
    pub managers: Vec<Manager>,
}

/// A ReplicaSet.
#[derive(Clone, Debug)]
pub struct Revision {
    pub template: Value,
    pub annotations: Map<String, Value>,
    number: usize,
}

/// The API server with one Deployment.
#[derive(Clone, Default)]
pub struct Cluster {
    pub gapless: Option<Gapless>,
    pub stored: Option<Stored>,
    pub revisions: Vec<Revision>,
    /// Seconds since the beginning.
    pub clock: u32,
}

/// Who sends a request.
#[derive(Clone, Copy)]
pub struct Sender {
    /// `options.fieldManager`, which not every client sends.
    pub field_manager: Option<&'static str>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub old: Option<Stored>,
    /// As it arrived, with the API server's defaults.
    pub sent: Stored,
    /// As it would be stored: with all that gapless injects.
    pub mutated: Value,
    pub outcome: Outcome,
    /// The lines of the validating webhook that are about a finding.
    pub warnings: Vec<String>,
    /// What the second call of the mutating webhook would change.
    pub second_patch: Vec<Value>,
    pub is_undo: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Stored,
    /// By the validating webhook: the fields that it names and the message.
    Denied(Vec<String>, String),
    /// By the API server's own validation.
    Invalid(String),
}

impl Exchange {
    pub fn is_stored(&self) -> bool {
        self.outcome == Outcome::Stored
    }

    /// Whether nothing but `managedFields` is different from what is stored.
    pub fn changes_only_owners(&self) -> bool {
        self.old.as_ref().is_some_and(|old| old.object == self.sent.object)
    }
}

impl Cluster {
    /// The stored object.
    pub fn object(&self) -> Option<&Value> {
        self.stored.as_ref().map(|stored| &stored.object)
    }

    /// Sends an object by POST, PUT or a patch that is no apply. `managers`
    /// are the owners before it.
    pub fn write(&mut self, sender: Sender, object: Value, managers: Vec<Manager>) -> Exchange {
        self.clock += 1;
        let object = complete(&object);
        let mut managers = managers;
        let name = sender.field_manager.unwrap_or("kubectl");
        managed_fields::update(&mut managers, self.object(), &object, name, "", self.clock);
        self.admit(sender, Stored { object, managers })
    }

    /// Sends a manifest by server-side apply.
    pub fn apply(&mut self, manager: &'static str, manifest: &Value) -> Exchange {
        self.clock += 1;
        let sender = Sender { field_manager: Some(manager) };
        let kind = dialect::kind();
        let empty =
            json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {}, "spec": {}});
        let live = self.object().unwrap_or(&empty);
        let mut managers = self.stored.as_ref().map_or_else(Vec::new, |stored| stored.managers.clone());
        let mut object = managed_fields::apply(&mut managers, live, manifest, manager, self.clock);
        // The API server keeps the annotation up to date for kubectl alone
        // (apimachinery, managedfields/internal/lastappliedupdater.go).
        let last_applied = &mut object["metadata"]["annotations"][super::kubectl::LAST_APPLIED];
        if manager == "kubectl" && last_applied.is_string() {
            *last_applied = json!(format!("{manifest}\n"));
        }
        self.admit(sender, Stored { object: complete(&object), managers })
    }

    /// Sets `spec.replicas` by the subresource, of which gapless hears nothing.
    pub fn scale(&mut self, replicas: i64) {
        self.clock += 1;
        let Some(stored) = &mut self.stored else { return };
        let old = stored.object.clone();
        stored.object["spec"]["replicas"] = json!(replicas);
        managed_fields::update(
            &mut stored.managers,
            Some(&old),
            &stored.object,
            "kubectl",
            "scale",
            self.clock,
        );
    }

    fn admit(&mut self, sender: Sender, sent: Stored) -> Exchange {
        let old = self.stored.clone();
        let mut exchange = Exchange {
            mutated: sent.object.clone(),
            old,
            sent,
            outcome: Outcome::Stored,
            warnings: Vec::new(),
            second_patch: Vec::new(),
            is_undo: sender.field_manager.is_none(),
        };
        if let Some(gapless) = &self.gapless {
            gapless.mutate(sender, &mut exchange);
        }
        if let Some(why) = invalid(&exchange.mutated, self.object()) {
            exchange.outcome = Outcome::Invalid(why);
            return exchange;
        }
        if let Some(gapless) = &self.gapless {
            gapless.validate(sender, &mut exchange);
        }
        if exchange.is_stored() {
            self.store(Stored { object: exchange.mutated.clone(), managers: exchange.sent.managers.clone() });
        }
        exchange
    }

    fn store(&mut self, mut stored: Stored) {
        let metadata = &mut stored.object["metadata"];
        let fixed = json!({"uid": "1", "creationTimestamp": "2026-11-23T10:00:00Z"});
        metadata.as_object_mut().unwrap().extend(fixed.as_object().unwrap().clone());
        self.stored = Some(stored);
        self.roll_out();
    }

    /// The Deployment controller: a ReplicaSet for each template, with the
    /// annotations of the Deployment (kubernetes, pkg/controller/deployment). Those of
    /// the other kinds do the same with ControllerRevisions, and annotate nothing.
    /// It removes none, and leaves those alone that are about itself.
    pub fn roll_out(&mut self) {
        let Some(stored) = &mut self.stored else { return };
        let template = &stored.object["spec"]["template"];
        let is_paused = stored.object["spec"]["paused"] == true;
        let newest = self.revisions.iter().map(|revision| revision.number).max().unwrap_or(0);
        let index = match self.revisions.iter().position(|revision| revision.template == *template) {
            Some(index) => index,
            None if is_paused => return,
            None => {
                let template = template.clone();
                self.revisions.push(Revision { template, annotations: Map::new(), number: 0 });
                self.revisions.len() - 1
            }
        };
        let revision = &mut self.revisions[index];
        if revision.number < newest || newest == 0 {
            revision.number = newest + 1;
        }
        let annotations = stored.object["metadata"].get("annotations").and_then(Value::as_object);
        for (key, value) in annotations.into_iter().flatten() {
            if key != super::kubectl::LAST_APPLIED && key != REVISION {
                revision.annotations.insert(key.clone(), value.clone());
            }
        }
        if dialect::kind() != Kind::Deployment {
            return;
        }
        stored.object["metadata"]["annotations"][REVISION] = json!(revision.number.to_string());
        let is_controller = |manager: &Manager| manager.is(CONTROLLER, "Update", "status");
        if !stored.managers.iter().any(is_controller) {
            stored.managers.push(Manager {
                name: CONTROLLER,
                operation: "Update",
                subresource: "status",
                time: Some(self.clock),
                fields: FieldSet::default().with(&["metadata", "annotations", REVISION]),
            });
        }
    }

    /// The ReplicaSets but the current one, oldest first.
    pub fn older_revisions(&self) -> Vec<usize> {
        let current = self.object().map(|object| &object["spec"]["template"]);
        let mut older: Vec<usize> = (0..self.revisions.len())
            .filter(|index| Some(&self.revisions[*index].template) != current)
            .collect();
        older.sort_by_key(|index| self.revisions[*index].number);
        older
    }
}

impl Gapless {
    fn mutate(&self, sender: Sender, exchange: &mut Exchange) {
        let body = body(sender, exchange);
        let operations = patch_of(&self.call(Phase::Mutate, &body));
        if !operations.is_empty() {
            let before = &exchange.sent.with_managers();
            let mut patched = complete(&apply(before, &operations));
            let managers = patched["metadata"].as_object_mut().unwrap().remove("managedFields");
            assert_eq!(managers.unwrap_or_default(), before["metadata"]["managedFields"], "managedFields");
            exchange.mutated = patched;
        }
        let again = self::body(sender, exchange);
        exchange.second_patch =
            if again == body { Vec::new() } else { patch_of(&self.call(Phase::Mutate, &again)) };
    }

    fn validate(&self, sender: Sender, exchange: &mut Exchange) {
        let (outcome, warnings) = self.judge(&body(sender, exchange));
        exchange.outcome = outcome;
        exchange.warnings = warnings;
    }

    fn judge(&self, body: &str) -> (Outcome, Vec<String>) {
        let review = self.call(Phase::Validate, body);
        let response = review.response.response;
        let Some(status) = response.status else { return (Outcome::Stored, response.warnings) };
        let canonical = |field: &str| dialect::canonical(field).into_owned();
        let fields = status.details.causes.iter().map(|cause| canonical(&cause.field)).collect();
        (Outcome::Denied(fields, status.message.clone()), response.warnings)
    }

    /// The fields that gapless would complain about in this request, if
    /// nothing had been injected.
    pub fn complaints(&self, exchange: &Exchange) -> Vec<String> {
        let sender = Sender { field_manager: (!exchange.is_undo).then_some("kubectl-edit") };
        let (outcome, warnings) = self.judge(&body(sender, exchange));
        // The message of a denial also has the warnings that came with it.
        let fields = match outcome {
            Outcome::Denied(_, message) => message.lines().filter_map(field_of_finding).collect(),
            _ => Vec::new(),
        };
        fields.into_iter().chain(warnings.iter().filter_map(|line| field_of(line))).collect()
    }

    fn call(&self, phase: Phase, body: &str) -> Review {
        let terms =
            Terms { policy: &self.policy, profile: Some(self.profile), today: TODAY, surroundings: &NONE };
        review(terms, phase, body.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{body}"))
    }
}

impl Stored {
    fn with_managers(&self) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["managedFields"] = managed_fields::to_json(&self.managers);
        object
    }
}

/// The field that a warning is about.
pub fn field_of(warning: &str) -> Option<String> {
    let (field, _) = warning.strip_prefix("gapless: ")?.split_once(": ")?;
    Some(dialect::canonical(field).into_owned())
}

/// The field that the first line of a finding is about.
fn field_of_finding(line: &str) -> Option<String> {
    let (field, _) = line.split_once(": ")?;
    (field.starts_with("spec.") || field.starts_with("metadata."))
        .then(|| dialect::canonical(field).into_owned())
}

/// The review of a request, with the object as it is by now.
fn body(sender: Sender, exchange: &Exchange) -> String {
    let object = Stored { object: exchange.mutated.clone(), managers: exchange.sent.managers.clone() };
    let kind = dialect::kind();
    let operation = if exchange.old.is_some() { "UPDATE" } else { "CREATE" };
    let mut options = json!({});
    if let Some(manager) = sender.field_manager {
        options["fieldManager"] = json!(manager);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": {"group": kind.group(), "version": kind.version(), "kind": kind.name()},
        "namespace": "shop", "name": "web", "operation": operation, "options": options,
        "object": object.with_managers(), "oldObject": exchange.old.as_ref().map(Stored::with_managers),
    }})
    .to_string()
}

/// The object as the API server's types hold it: without empty values that
/// they leave out, and with the defaults.
pub fn complete(object: &Value) -> Value {
    let mut object = object.clone();
    if dialect::kind() == Kind::Rollout {
        leave_out_nulls(&mut object);
        return object;
    }
    let spec = &mut object["spec"];
    leave_out_empty(spec, &["minReadySeconds", "paused"]);
    for container in spec["template"]["spec"]["containers"].as_array_mut().into_iter().flatten() {
        leave_out_empty(container, &["ports"]);
        for probe in ["readinessProbe", "livenessProbe"] {
            if container.get(probe).is_some() {
                leave_out_empty(&mut container[probe], &["initialDelaySeconds", "timeoutSeconds"]);
            }
        }
    }
    leave_out_empty(&mut object["metadata"], &["annotations", "labels"]);
    leave_out_empty(&mut object["spec"]["template"]["metadata"], &["annotations", "labels"]);
    leave_out_nulls(&mut object);
    with_api_defaults(&object)
}

fn leave_out_empty(value: &mut Value, fields: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    for field in fields {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Bool(is_set) => !is_set,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.values().all(Value::is_null),
            Value::String(text) => text.is_empty(),
        };
        if object.get(*field).is_some_and(is_empty) {
            object.remove(*field);
        }
    }
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}
