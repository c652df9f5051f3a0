//! The kinds of workloads.

/// A kind, as the API names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Such as `Deployment`.
    pub name: &'static str,
    /// Such as `apps`.
    pub group: &'static str,
    /// Such as `v1`.
    pub version: &'static str,
    /// Group and version, as objects write them.
    pub api_version: &'static str,
    /// The name in URLs, such as `deployments`.
    pub resource: &'static str,
    /// Resource and group, as kubectl and RBAC rules name it.
    pub qualified_resource: &'static str,
    /// Where the API serves it.
    pub root: &'static str,
}

/// `apps/v1` Deployment.
pub const DEPLOYMENT: Kind = Kind {
    name: "Deployment",
    group: "apps",
    version: "v1",
    api_version: "apps/v1",
    resource: "deployments",
    qualified_resource: "deployments.apps",
    root: "/apis/apps/v1",
};
