//! The kinds that are watched.

use kube::core::{ApiResource, GroupVersionKind};

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
    pub role: Role,
    /// Whether clusters need not have it.
    pub is_optional: bool,
}

/// All of them. The chart lets gapless list and watch exactly these.
pub const WATCHED: [Watched; 8] = [
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
];

const fn core(kind: &'static str, plural: &'static str, role: Role) -> Watched {
    Watched { kind, group: "", version: "v1", plural, role, is_optional: false }
}

const fn workload(kind: Kind) -> Watched {
    let (group, version) = (kind.group(), kind.version());
    Watched { group, version, ..core(kind.name(), kind.resource(), Role::Workload) }
}

impl Watched {
    /// The same for kube.
    pub fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}
