//! The kinds of workloads, and what differs between them for the API.

use std::fmt;

use serde_json::Value;

use super::api_default;
use super::int_or_string::IntOrString;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `argoproj.io/v1alpha1` Rollout, of Argo Rollouts.
    Rollout,
}

/// Where a kind keeps the amounts of its rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollingBlock {
    /// `spec.strategy.rollingUpdate`, of a Deployment.
    Strategy,
    /// `spec.updateStrategy.rollingUpdate`, of a StatefulSet and a DaemonSet.
    UpdateStrategy,
    /// `spec.strategy.canary`, of a Rollout.
    Canary,
}

/// How the API names a kind.
struct Names {
    kind: &'static str,
    group: &'static str,
    version: &'static str,
    api_version: &'static str,
    resource: &'static str,
    qualified_resource: &'static str,
    root: &'static str,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Rollout];

    /// The kind of this group, version and name, if it is one of these.
    pub fn find(group: &str, version: &str, kind: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|it| {
            let names = it.names();
            (names.group, names.version, names.kind) == (group, version, kind)
        })
    }

    /// The kind that an object says it is, if it is one of these.
    pub fn of(api_version: Option<&str>, kind: Option<&str>) -> Option<Self> {
        Kind::ALL.into_iter().find(|it| (api_version, kind) == (Some(it.api_version()), Some(it.name())))
    }

    /// The kind that `object` says it is; without a word it is taken for a Deployment.
    pub fn of_document(object: &Value) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        Kind::of(text("apiVersion"), text("kind")).unwrap_or(Kind::Deployment)
    }

    /// Such as `Deployment`.
    pub const fn name(self) -> &'static str {
        self.names().kind
    }

    /// Such as `apps`.
    pub const fn group(self) -> &'static str {
        self.names().group
    }

    /// Such as `v1`.
    pub const fn version(self) -> &'static str {
        self.names().version
    }

    /// Group and version, as objects write them.
    pub const fn api_version(self) -> &'static str {
        self.names().api_version
    }

    /// The name in URLs, such as `deployments`.
    pub const fn resource(self) -> &'static str {
        self.names().resource
    }

    /// Resource and group, as kubectl and RBAC rules name it.
    pub const fn qualified_resource(self) -> &'static str {
        self.names().qualified_resource
    }

    /// Where the API serves it.
    pub const fn root(self) -> &'static str {
        self.names().root
    }

    /// Where the amounts of its rolling update are.
    pub fn rolling_block(self) -> RollingBlock {
        match self {
            Kind::Deployment => RollingBlock::Strategy,
            Kind::StatefulSet | Kind::DaemonSet => RollingBlock::UpdateStrategy,
            Kind::Rollout => RollingBlock::Canary,
        }
    }

    /// The field that says how pods are replaced.
    pub fn strategy_field(self) -> &'static str {
        match self {
            Kind::Deployment | Kind::Rollout => "spec.strategy",
            Kind::StatefulSet | Kind::DaemonSet => "spec.updateStrategy",
        }
    }

    /// Whether the API server fills its defaults in, into the template too. Of a custom
    /// resource it knows no types.
    pub fn is_defaulted_by_api_server(self) -> bool {
        self != Kind::Rollout
    }

    /// Whether it says how many pods there are.
    pub fn has_replicas(self) -> bool {
        self != Kind::DaemonSet
    }

    /// Whether it can have a pod more than it says, beside the old ones.
    pub fn has_surge(self) -> bool {
        self != Kind::StatefulSet
    }

    /// Whether an undo brings back the annotations of the older revision too. Those of the
    /// others bring the template alone (kubectl, pkg/polymorphichelpers, rollback.go;
    /// argo-rollouts, pkg/kubectl-argo-rollouts/cmd/undo).
    pub fn undo_brings_annotations(self) -> bool {
        self == Kind::Deployment
    }

    /// Whether a rollout of it has a deadline.
    pub fn has_progress_deadline(self) -> bool {
        matches!(self, Kind::Deployment | Kind::Rollout)
    }

    const fn names(self) -> &'static Names {
        match self {
            Kind::Deployment => &Names {
                kind: "Deployment",
                group: "apps",
                version: "v1",
                api_version: "apps/v1",
                resource: "deployments",
                qualified_resource: "deployments.apps",
                root: "/apis/apps/v1",
            },
            Kind::StatefulSet => &Names {
                kind: "StatefulSet",
                group: "apps",
                version: "v1",
                api_version: "apps/v1",
                resource: "statefulsets",
                qualified_resource: "statefulsets.apps",
                root: "/apis/apps/v1",
            },
            Kind::DaemonSet => &Names {
                kind: "DaemonSet",
                group: "apps",
                version: "v1",
                api_version: "apps/v1",
                resource: "daemonsets",
                qualified_resource: "daemonsets.apps",
                root: "/apis/apps/v1",
            },
            Kind::Rollout => &Names {
                kind: "Rollout",
                group: "argoproj.io",
                version: "v1alpha1",
                api_version: "argoproj.io/v1alpha1",
                resource: "rollouts",
                qualified_resource: "rollouts.argoproj.io",
                root: "/apis/argoproj.io/v1alpha1",
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RollingBlock {
    /// All of them.
    pub const ALL: [RollingBlock; 3] =
        [RollingBlock::Strategy, RollingBlock::UpdateStrategy, RollingBlock::Canary];

    /// Its path, as messages write it.
    pub fn path(self) -> &'static str {
        match self {
            RollingBlock::Strategy => "spec.strategy.rollingUpdate",
            RollingBlock::UpdateStrategy => "spec.updateStrategy.rollingUpdate",
            RollingBlock::Canary => "spec.strategy.canary",
        }
    }

    /// What absent `maxUnavailable` counts.
    pub fn max_unavailable(self) -> IntOrString<'static> {
        match self {
            RollingBlock::Strategy | RollingBlock::Canary => api_default::MAX_UNAVAILABLE,
            RollingBlock::UpdateStrategy => api_default::ONE_UNAVAILABLE,
        }
    }

    /// What absent `maxSurge` counts.
    pub fn max_surge(self) -> IntOrString<'static> {
        match self {
            RollingBlock::Strategy | RollingBlock::Canary => api_default::MAX_SURGE,
            RollingBlock::UpdateStrategy => api_default::NO_SURGE,
        }
    }

    /// The names on its path.
    pub fn names(self) -> [&'static str; 3] {
        match self {
            RollingBlock::Strategy => ["spec", "strategy", "rollingUpdate"],
            RollingBlock::UpdateStrategy => ["spec", "updateStrategy", "rollingUpdate"],
            RollingBlock::Canary => ["spec", "strategy", "canary"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_is_known_by_group_version_and_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.group(), kind.version(), kind.name()), Some(kind));
            assert_eq!(Kind::of(Some(kind.api_version()), Some(kind.name())), Some(kind));
            assert_eq!(kind.api_version(), format!("{}/{}", kind.group(), kind.version()));
            assert_eq!(kind.root(), format!("/apis/{}", kind.api_version()));
            assert_eq!(kind.qualified_resource(), format!("{}.{}", kind.resource(), kind.group()));
        }
        assert_eq!(Kind::find("extensions", "v1beta1", "Deployment"), None);
        assert_eq!(Kind::of(Some("apps/v1"), Some("Rollout")), None);
        assert_eq!(Kind::of(Some("apps/v1"), None), None);
        assert_eq!(Kind::of_document(&json!({"spec": {}})), Kind::Deployment);
        assert_eq!(
            Kind::of_document(&json!({"apiVersion": "apps/v1", "kind": "DaemonSet"})),
            Kind::DaemonSet
        );
    }

    #[test]
    fn a_block_is_where_its_path_leads() {
        for block in RollingBlock::ALL {
            assert_eq!(block.path(), block.names().join("."));
        }
    }
}
