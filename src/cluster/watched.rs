//! The kinds that are watched.

use kube::core::{ApiResource, GroupVersionKind};

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
    Watched { group: "apps", ..core("Deployment", "deployments", Role::Workload) },
    Watched { group: "apps", ..core("StatefulSet", "statefulsets", Role::Workload) },
    Watched { group: "apps", ..core("DaemonSet", "daemonsets", Role::Workload) },
    Watched {
        group: "argoproj.io",
        version: "v1alpha1",
        is_optional: true,
        ..core("Rollout", "rollouts", Role::Workload)
    },
];

const fn core(kind: &'static str, plural: &'static str, role: Role) -> Watched {
    Watched { kind, group: "", version: "v1", plural, role, is_optional: false }
}

impl Watched {
    /// Group and version, as objects write them.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The same for kube.
    pub fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}
