//! What a workload means for the requests it serves.
//!
//! [`Workload`] is a view for reading; changes go to the raw JSON through
//! [`crate::patch`]. Its methods fill in the API server's defaults, so that an
//! object means the same offline as it does in a cluster.

pub mod availability;
pub mod containers;
pub mod images;
pub mod mesh;
pub mod object;
pub mod ports;
pub mod probes;
pub mod scheduling;
pub mod shutdown;
pub mod validity;

use std::cell::OnceCell;

use serde_json::Value;

use crate::field::FieldPath;
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::IntOrString;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::StringMap;
use crate::kubernetes::object::View;
use crate::ownership::containers::{Containers, Parents};
use crate::ownership::intent::Origin;
use crate::ownership::record::{InjectedField, Record};
use crate::surroundings::{self, Surroundings};
use object::{Container, Object, ObjectMeta, PodSpec, PodTemplate, RollingUpdate, Spec};

/// How a rollout replaces the old pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other; of a Rollout a canary whose traffic goes to whatever pods
    /// there are.
    RollingUpdate,
    /// All of them before there are new ones.
    Recreate,
    /// Whenever somebody deletes one.
    OnDelete,
    /// All new ones beside the old ones, then all requests at once.
    BlueGreen,
    /// A canary whose requests a router divides.
    Routed,
    /// One that the API server, or the kind's controller, is going to reject.
    Unknown,
}

/// What is known of an object besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Where it comes from.
    pub origin: Origin,
    /// The object as it is stored, for an update.
    pub old_object: Option<View<'a>>,
    /// What is around it.
    pub surroundings: &'a Surroundings,
}

impl Context<'_> {
    /// A new object, around which nothing is known.
    pub fn new(kind: Kind, origin: Origin) -> Self {
        Context { kind, origin, old_object: None, surroundings: &surroundings::NONE }
    }

    /// The same of one that says itself what it is.
    pub fn of_document(object: &Value) -> Self {
        Context::new(Kind::of_document(object), Origin::of_document(object))
    }
}

/// A workload, as a view on its raw JSON.
#[derive(Debug)]
pub struct Workload<'a> {
    view: View<'a>,
    context: Context<'a>,
    object: Object<'a>,
    record: OnceCell<Record>,
    positions: OnceCell<(Containers, Parents<'a>)>,
}

/// A field that has the wrong type for the Kubernetes API.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct WrongType {
    /// The field, such as `spec.replicas`.
    pub path: String,
    /// What is there and what the API wants.
    pub message: String,
}

/// A Rollout says how by which block is there (argo-rollouts, pkg/apis/rollouts/v1alpha1,
/// `RolloutStrategy`). Its controller rejects both, and none.
fn rollout_strategy(strategy: &object::Strategy) -> Strategy {
    match (&strategy.canary, &strategy.blue_green) {
        (Some(canary), None) if canary.traffic_routing.is_some() => Strategy::Routed,
        (Some(_), None) => Strategy::RollingUpdate,
        (None, Some(_)) => Strategy::BlueGreen,
        _ => Strategy::Unknown,
    }
}

impl<'a> Workload<'a> {
    /// A view on `raw`, a new object from a file of which nothing else is known.
    ///
    /// # Errors
    /// If a field that gapless reads has a type that the API does not allow.
    pub fn read(raw: &'a Value) -> Result<Self, WrongType> {
        Workload::read_view(View::of(raw), Context::of_document(raw))
    }

    /// A view on an object that was perhaps not read whole.
    ///
    /// # Errors
    /// As [`Workload::read`].
    pub fn read_view(view: View<'a>, context: Context<'a>) -> Result<Self, WrongType> {
        // The second, slower pass only runs to find out where the mistake is.
        let object: Object = serde::Deserialize::deserialize(view.tree).or_else(|_| {
            serde_path_to_error::deserialize(view.tree).map_err(|error| WrongType {
                path: error.path().to_string(),
                message: error.inner().to_string(),
            })
        })?;
        Ok(Workload { view, context, object, record: OnceCell::new(), positions: OnceCell::new() })
    }

    /// The same, as if users had written all of it.
    pub fn without_record(self) -> Self {
        Workload { record: OnceCell::from(Record::default()), ..self }
    }

    /// The raw JSON.
    pub fn raw(&self) -> &'a Value {
        self.view.tree
    }

    /// The raw JSON, and who wrote what of it.
    pub fn view(&self) -> View<'a> {
        self.view
    }

    /// What is known besides.
    pub fn context(&self) -> Context<'a> {
        self.context
    }

    /// What is around it.
    pub fn surroundings(&self) -> &'a Surroundings {
        self.context.surroundings
    }

    /// `metadata`
    pub fn metadata(&self) -> &ObjectMeta<'a> {
        &self.object.metadata
    }

    /// `spec`
    pub fn spec(&self) -> &Spec<'a> {
        &self.object.spec
    }

    /// `spec.template`
    pub fn template(&self) -> &PodTemplate<'a> {
        &self.object.spec.template
    }

    /// `spec.template.spec`
    pub fn pod(&self) -> &PodSpec<'a> {
        &self.object.spec.template.spec
    }

    /// `spec.template.metadata.labels`
    pub fn pod_labels(&self) -> &StringMap<'a> {
        &self.object.spec.template.metadata.labels
    }

    /// The regular containers, without init containers and native sidecars.
    pub fn containers(&self) -> &[Container<'a>] {
        &self.object.spec.template.spec.containers
    }

    /// An annotation of the workload itself.
    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.metadata().annotations.get(key).copied()
    }

    /// Whether gapless wrote the value that `field` has now.
    pub fn is_injected(&self, field: &InjectedField) -> bool {
        let record = self.record();
        record.get(field).is_some() && record.holds(field, self.live(field))
    }

    /// Whether gapless wrote the part of a probe to which `path` leads.
    pub fn is_injected_part(&self, path: &FieldPath) -> bool {
        self.record().holds_part(path, self.raw())
    }

    /// Few rules ask, and it is JSON within JSON.
    fn record(&self) -> &Record {
        self.record.get_or_init(|| Record::read(self.raw()).ok().flatten().unwrap_or_default())
    }

    fn live(&self, field: &InjectedField) -> Option<&'a Value> {
        let read = || (Containers::of(self.raw()), Parents::of(self.raw()));
        let (containers, parents) = self.positions.get_or_init(read);
        containers.find_below(parents, field)
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.context.kind
    }

    /// How a rollout replaces the old pods, RollingUpdate if nothing says so.
    pub fn strategy(&self) -> Strategy {
        let (strategy, update_strategy) = (&self.spec().strategy, &self.spec().update_strategy);
        let by_type = match self.kind() {
            Kind::Rollout => return rollout_strategy(strategy),
            Kind::Deployment => strategy.kind,
            Kind::StatefulSet | Kind::DaemonSet => update_strategy.kind,
        };
        match (by_type.unwrap_or(api_default::STRATEGY_TYPE), self.kind()) {
            (api_default::STRATEGY_TYPE, _) => Strategy::RollingUpdate,
            ("Recreate", Kind::Deployment | Kind::StatefulSet) => Strategy::Recreate,
            ("OnDelete", Kind::StatefulSet | Kind::DaemonSet) => Strategy::OnDelete,
            _ => Strategy::Unknown,
        }
    }

    /// The type of the strategy, as it is written.
    pub fn strategy_type(&self) -> Option<&'a str> {
        match self.kind() {
            Kind::Deployment | Kind::Rollout => self.spec().strategy.kind,
            Kind::StatefulSet | Kind::DaemonSet => self.spec().update_strategy.kind,
        }
    }

    /// Whether the strategy is RollingUpdate.
    pub fn rolls(&self) -> bool {
        self.strategy() == Strategy::RollingUpdate
    }

    /// Whether new pods take over from old ones. If not, because they come after them or
    /// whenever somebody deletes one, a wrong probe is an outage, and a sleep only moves it.
    pub fn hands_over(&self) -> bool {
        !matches!(self.strategy(), Strategy::Recreate | Strategy::OnDelete)
    }

    /// Whether its pods are described by another object (a Rollout's `workloadRef`).
    pub fn refers_to_template(&self) -> bool {
        self.spec().workload_ref.is_some()
    }

    /// Where the amounts of its rolling update are.
    pub fn rolling_block(&self) -> FieldPath {
        FieldPath::new(self.kind().rolling_block().path())
    }

    /// The block with the amounts, as it is written.
    pub fn rolling_update(&self) -> &RollingUpdate<'a> {
        const NOTHING: &RollingUpdate = &RollingUpdate {
            max_unavailable: None,
            max_surge: None,
            partition: None,
            traffic_routing: None,
            steps: Vec::new(),
            scale_down_delay_seconds: None,
            dynamic_stable_scale: None,
            analysis: None,
        };
        match self.kind() {
            Kind::Deployment => &self.spec().strategy.rolling_update,
            Kind::StatefulSet | Kind::DaemonSet => &self.spec().update_strategy.rolling_update,
            Kind::Rollout => self.spec().strategy.canary.as_ref().unwrap_or(NOTHING),
        }
    }

    /// `maxUnavailable`; if absent, what its kind makes of that.
    pub fn max_unavailable(&self) -> IntOrString<'a> {
        let absent = self.kind().rolling_block().max_unavailable();
        self.rolling_update().max_unavailable.unwrap_or(absent)
    }

    /// `maxSurge`; if absent, what its kind makes of that.
    pub fn max_surge(&self) -> IntOrString<'a> {
        let absent = self.kind().rolling_block().max_surge();
        self.rolling_update().max_surge.unwrap_or(absent)
    }

    /// `partition` of a StatefulSet: pods below it are not updated.
    pub fn partition(&self) -> i32 {
        self.rolling_update().partition.unwrap_or(api_default::PARTITION)
    }

    /// `maxUnavailable`, as gapless may write it.
    pub fn max_unavailable_field(&self) -> InjectedField {
        InjectedField::MaxUnavailable(self.kind().rolling_block())
    }

    /// `maxSurge`, as gapless may write it.
    pub fn max_surge_field(&self) -> InjectedField {
        InjectedField::MaxSurge(self.kind().rolling_block())
    }

    /// Whether a rollout of it waits until somebody lets it go on.
    pub fn is_paused(&self) -> bool {
        self.spec().paused.unwrap_or(false)
    }

    /// Whether the pods of a StatefulSet come and go together, and not one after the other.
    pub fn is_parallel(&self) -> bool {
        self.spec().pod_management_policy == Some("Parallel")
    }

    /// `minReadySeconds`, 0 if absent.
    pub fn min_ready_seconds(&self) -> i32 {
        self.spec().min_ready_seconds.unwrap_or(api_default::MIN_READY_SECONDS)
    }

    /// `progressDeadlineSeconds`, 600 if absent.
    pub fn progress_deadline_seconds(&self) -> i32 {
        self.spec().progress_deadline_seconds.unwrap_or(api_default::PROGRESS_DEADLINE_SECONDS)
    }

    /// `revisionHistoryLimit`, 10 if absent.
    pub fn revision_history_limit(&self) -> i32 {
        self.spec().revision_history_limit.unwrap_or(api_default::REVISION_HISTORY_LIMIT)
    }

    /// `terminationGracePeriodSeconds`, 30 if absent. The API server takes a
    /// negative value for 1, and warns.
    pub fn grace_period_seconds(&self) -> i64 {
        match self.pod().termination_grace_period_seconds {
            None => api_default::GRACE_PERIOD_SECONDS,
            Some(seconds) if seconds < 0 => 1,
            Some(seconds) => seconds,
        }
    }

    /// Whether `key` takes part in `spec.selector`, which is immutable.
    pub fn selects_by(&self, key: &str) -> bool {
        let selector = &self.spec().selector;
        selector.match_labels.contains_key(key)
            || selector.match_expressions.iter().any(|requirement| requirement.key == key)
    }
}
