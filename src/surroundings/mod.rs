//! What is known of other objects, as far as it concerns one workload.
//!
//! Who fills it in, and from where, is no business of those who ask: the rules and
//! defaults find the same type in a file's check and in a cluster. It is empty where
//! nothing is known, and whoever asks is then silent or milder.

pub mod neighbour;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::StringMap;

/// What is known around one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// The Services that select its pods. Copies of one Service, such as those of
    /// several environments, are all in it.
    pub services: Vec<Service>,
    /// The HorizontalPodAutoscaler that scales it.
    pub autoscaler: Option<Autoscaler>,
    /// The PodDisruptionBudgets over its pods.
    pub disruption_budgets: Vec<DisruptionBudget>,
    /// The PersistentVolumeClaims that its pods mount, by name: whether several nodes
    /// can mount it at once.
    pub claims: BTreeMap<String, bool>,
    /// Other workloads whose selector matches its pods, as in `Deployment web-canary`.
    pub overlapping: Vec<String>,
    /// Whether an autoscaler may be there that is not known yet.
    pub awaits_autoscaler: bool,
    /// The labels and annotations of its namespace that a service mesh reads.
    pub mesh: BTreeMap<String, String>,
}

/// Somebody who knows what is around workloads, at the moment of asking.
pub trait Around: fmt::Debug + Send + Sync {
    /// What is around `object`, which is of this kind and in this namespace.
    fn around(&self, kind: Kind, object: &Value, namespace: Option<&str>) -> Surroundings;

    /// The revisions of the workload of this kind and name.
    fn revisions(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Revisions;

    /// The workloads in this namespace whose pods `selector`, of a Service, selects. None,
    /// as long as there may be others.
    fn behind(&self, _selector: &StringMap, _namespace: Option<&str>) -> Vec<Backend> {
        Vec::new()
    }
}

/// The same around each.
impl Around for Surroundings {
    fn around(&self, _: Kind, _: &Value, _: Option<&str>) -> Surroundings {
        self.clone()
    }

    fn revisions(&self, _: Kind, _: Option<&str>, _: &str) -> Revisions {
        Revisions::Unknown
    }
}

/// The pod templates that a workload has had, of which its controller keeps copies: as
/// ReplicaSets or as ControllerRevisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revisions {
    /// Nobody knows them.
    Unknown,
    /// They are being read.
    Awaited,
    /// These.
    Known(Vec<Revision>),
}

/// A pod template that a workload has had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number among all templates, which those share that equal one another.
    pub template: u64,
    /// The annotation with the record of what gapless had injected, where an undo brings the
    /// template back without it.
    pub record: Option<String>,
    /// Its number, where pods of it are wanted and none is ready.
    pub unready: Option<u64>,
}

/// Nothing is known.
pub static NONE: Surroundings = Surroundings {
    services: Vec::new(),
    autoscaler: None,
    disruption_budgets: Vec::new(),
    claims: BTreeMap::new(),
    overlapping: Vec::new(),
    awaits_autoscaler: false,
    mesh: BTreeMap::new(),
};

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata.name`
    pub name: String,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`, empty if it has none.
    pub name: String,
    /// `targetPort`, which is `port` where it is absent.
    pub target: Target,
}

/// The port of the pods to which a Service sends what comes to one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Number(i32),
    /// The one that a container calls so.
    Name(String),
}

/// A workload to whose pods a Service sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// As in `Deployment web`.
    pub workload: String,
    /// Whether it has pods that take requests: available ones in a cluster, any in files.
    pub has_pods: bool,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// `metadata.name`
    pub name: String,
    /// `minReplicas`, 1 if absent.
    pub min_replicas: i32,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq)]
pub struct DisruptionBudget {
    /// `metadata.name`
    pub name: String,
    /// What it asks for.
    pub wants: Budget,
}

/// What a PodDisruptionBudget asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// `minAvailable`
    MinAvailable(Amount),
    /// `maxUnavailable`
    MaxUnavailable(Amount),
}

impl Budget {
    /// How many of `replicas` healthy pods may be evicted at once. Percentages are
    /// rounded up, those of `maxUnavailable` too (kubernetes, pkg/controller/disruption,
    /// `getExpectedPodCount`).
    pub fn allowed(self, replicas: i32) -> i64 {
        let all = i64::from(replicas);
        match self {
            Budget::MinAvailable(amount) => (all - amount.of(replicas, f64::ceil)).max(0),
            Budget::MaxUnavailable(amount) => amount.of(replicas, f64::ceil).min(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_pods_a_budget_lets_go() {
        use Amount::{Count, Percent};
        #[rustfmt::skip]
        let table = [
            (Budget::MinAvailable(Count(2)), 2, 0),
            (Budget::MinAvailable(Count(2)), 3, 1),
            (Budget::MinAvailable(Count(5)), 3, 0),
            (Budget::MinAvailable(Percent(100)), 4, 0),
            // 50 % of 3 are 2 that have to stay.
            (Budget::MinAvailable(Percent(50)), 3, 1),
            (Budget::MinAvailable(Percent(90)), 5, 0),
            (Budget::MaxUnavailable(Count(0)), 3, 0),
            (Budget::MaxUnavailable(Count(1)), 1, 1),
            (Budget::MaxUnavailable(Percent(0)), 9, 0),
            (Budget::MaxUnavailable(Percent(1)), 2, 1),
        ];
        for (budget, replicas, allowed) in table {
            assert_eq!(budget.allowed(replicas), allowed, "{budget:?} of {replicas}");
        }
    }
}
