//! The kinds that are watched.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::surroundings::neighbour::Role;

/// One kind, as the API serves it.
#[derive(Debug)]
pub struct Watched {
    /// Such as `Service`.
    pub kind: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    /// What its objects are to a workload.
    pub part: Part,
    /// Whether clusters need not have it.
    pub is_optional: bool,
}

/// What objects are to a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// They stand around it.
    Neighbour(Role),
    /// They keep its revisions, if it is of one of these kinds.
    Revision([Kind; 2]),
}

/// All of them. The chart lets gapless list and watch exactly these.
pub const WATCHED: [Watched; 10] = [
    core("Service", "services", Role::Service),
    core("PersistentVolumeClaim", "persistentvolumeclaims", Role::Claim),
    Watched {
        group: "autoscaling",
        version: "v2",
        ..core("HorizontalPodAutoscaler", "horizontalpodautoscalers", Role::Autoscaler)
    },
    Watched {
        group: "policy",
        ..core("PodDisruptionBudget", "poddisruptionbudgets", Role::DisruptionBudget)
    },
    workload(Kind::Deployment),
    workload(Kind::StatefulSet),
    workload(Kind::DaemonSet),
    Watched { is_optional: true, ..workload(Kind::Rollout) },
    revision("ReplicaSet", "replicasets", [Kind::Deployment, Kind::Rollout]),
    revision("ControllerRevision", "controllerrevisions", [Kind::StatefulSet, Kind::DaemonSet]),
];

const fn core(kind: &'static str, plural: &'static str, role: Role) -> Watched {
    let part = Part::Neighbour(role);
    Watched { kind, group: "", version: "v1", plural, part, is_optional: false }
}

const fn workload(kind: Kind) -> Watched {
    let (group, version) = (kind.group(), kind.version());
    Watched { group, version, ..core(kind.name(), kind.resource(), Role::Workload) }
}

const fn revision(kind: &'static str, plural: &'static str, of: [Kind; 2]) -> Watched {
    Watched { kind, group: "apps", version: "v1", plural, part: Part::Revision(of), is_optional: false }
}

impl Watched {
    /// The same for kube.
    pub fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The object with its kind, of which those in lists and rows say nothing.
    pub fn typed(&self, mut object: Value) -> Value {
        if let Some(object) = object.as_object_mut() {
            let group = if self.group.is_empty() { String::new() } else { format!("{}/", self.group) };
            object.insert("apiVersion".to_owned(), format!("{group}{}", self.version).into());
            object.insert("kind".to_owned(), self.kind.into());
        }
        object
    }
}
