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
use crate::kubernetes::label_selector::StringMap;
use crate::kubernetes::object::View;
use crate::ownership::containers::Containers;
use crate::ownership::intent::Origin;
use crate::ownership::record::{InjectedField, Record};
use crate::surroundings::{self, Surroundings};
use object::{Container, Object, ObjectMeta, PodSpec, PodTemplate, Spec};

/// How a rollout replaces the old pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other.
    RollingUpdate,
    /// All of them before there are new ones.
    Recreate,
    /// One that the API server is going to reject.
    Unknown,
}

/// What is known of an object besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// The object as it is stored, for an update.
    pub old_object: Option<View<'a>>,
    /// What is around it.
    pub surroundings: &'a Surroundings,
}

impl Context<'_> {
    /// A new object, around which nothing is known.
    pub fn new(origin: Origin) -> Self {
        Context { origin, old_object: None, surroundings: &surroundings::NONE }
    }
}

/// A Deployment, as a view on its raw JSON.
#[derive(Debug)]
pub struct Workload<'a> {
    view: View<'a>,
    context: Context<'a>,
    object: Object<'a>,
    record: OnceCell<Record>,
    positions: OnceCell<Containers>,
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

impl<'a> Workload<'a> {
    /// A view on `raw`, a new object from a file of which nothing else is known.
    ///
    /// # Errors
    /// If a field that gapless reads has a type that the API does not allow.
    pub fn read(raw: &'a Value) -> Result<Self, WrongType> {
        Workload::read_view(View::of(raw), Context::new(Origin::of_document(raw)))
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

    /// An annotation of the Deployment itself.
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
        let positions = self.positions.get_or_init(|| Containers::of(self.raw()));
        positions.find(self.raw(), field)
    }

    /// `strategy.type`, RollingUpdate if absent.
    pub fn strategy(&self) -> Strategy {
        match self.spec().strategy.kind.unwrap_or(api_default::STRATEGY_TYPE) {
            api_default::STRATEGY_TYPE => Strategy::RollingUpdate,
            "Recreate" => Strategy::Recreate,
            _ => Strategy::Unknown,
        }
    }

    /// Whether the strategy is RollingUpdate.
    pub fn rolls(&self) -> bool {
        self.strategy() == Strategy::RollingUpdate
    }

    /// `maxUnavailable`, 25% if absent.
    pub fn max_unavailable(&self) -> IntOrString<'a> {
        self.spec().strategy.rolling_update.max_unavailable.unwrap_or(api_default::MAX_UNAVAILABLE)
    }

    /// `maxSurge`, 25% if absent.
    pub fn max_surge(&self) -> IntOrString<'a> {
        self.spec().strategy.rolling_update.max_surge.unwrap_or(api_default::MAX_SURGE)
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
