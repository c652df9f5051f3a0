//! The kinds that are watched.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::surroundings::neighbour::{Neighbour, Role};

/// One kind, as the API serves it.
#[derive(Debug)]
pub struct Watched {
    /// Such as `Service`.
    pub kind: &'static str,
    group: &'static str,
    version: &'static str,
    /// Where the API serves it, such as `/api/v1`.
    pub root: &'static str,
    /// The name in URLs, such as `services`.
    pub plural: &'static str,
    /// Resource and group, as kubectl names it.
    pub resource: &'static str,
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

/// All of them, workloads first: who may not list those is told so before all else. The chart
/// lets gapless list and watch exactly these.
pub const WATCHED: [Watched; 11] = [
    workload(Kind::Deployment),
    workload(Kind::StatefulSet),
    workload(Kind::DaemonSet),
    Watched { is_optional: true, ..workload(Kind::Rollout) },
    core("Namespace", "namespaces", Role::Namespace),
    core("Service", "services", Role::Service),
    core("PersistentVolumeClaim", "persistentvolumeclaims", Role::Claim),
    Watched {
        group: "autoscaling",
        version: "v2",
        root: "/apis/autoscaling/v2",
        resource: "horizontalpodautoscalers.autoscaling",
        ..core("HorizontalPodAutoscaler", "horizontalpodautoscalers", Role::Autoscaler)
    },
    Watched {
        group: "policy",
        root: "/apis/policy/v1",
        resource: "poddisruptionbudgets.policy",
        ..core("PodDisruptionBudget", "poddisruptionbudgets", Role::DisruptionBudget)
    },
    Watched {
        resource: "replicasets.apps",
        ..revision("ReplicaSet", "replicasets", [Kind::Deployment, Kind::Rollout])
    },
    Watched {
        resource: "controllerrevisions.apps",
        ..revision("ControllerRevision", "controllerrevisions", [Kind::StatefulSet, Kind::DaemonSet])
    },
];

const fn core(kind: &'static str, plural: &'static str, role: Role) -> Watched {
    Watched {
        kind,
        group: "",
        version: "v1",
        root: "/api/v1",
        plural,
        resource: plural,
        part: Part::Neighbour(role),
        is_optional: false,
    }
}

const fn workload(kind: Kind) -> Watched {
    Watched {
        group: kind.group(),
        version: kind.version(),
        root: kind.root(),
        resource: kind.qualified_resource(),
        ..core(kind.name(), kind.resource(), Role::Workload)
    }
}

const fn revision(kind: &'static str, plural: &'static str, of: [Kind; 2]) -> Watched {
    Watched {
        group: "apps",
        root: "/apis/apps/v1",
        part: Part::Revision(of),
        ..core(kind, plural, Role::Workload)
    }
}

impl Watched {
    /// The same for kube.
    pub fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// Whether its objects are workloads.
    pub fn is_workload(&self) -> bool {
        self.part == Part::Neighbour(Role::Workload)
    }

    /// The neighbour that an object of this kind is, or one of which only this is left.
    pub fn neighbour<'o>(&self, namespace: Option<&'o str>, object: &'o Value) -> Option<Neighbour<'o>> {
        match self.part {
            Part::Neighbour(role) => Neighbour::read_as(role, self.kind, namespace, object),
            Part::Revision(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_the_same_everywhere() {
        for watched in &WATCHED {
            let (resource, group) = (watched.api_resource(), watched.group);
            let root = if group.is_empty() { "/api" } else { "/apis" };
            assert_eq!(watched.root, format!("{root}/{}", resource.api_version));
            let dot = if group.is_empty() { "" } else { "." };
            assert_eq!(watched.resource, format!("{}{dot}{group}", resource.plural));
        }
    }
}
