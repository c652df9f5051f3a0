//! Which objects are not looked at, and why.

use super::envelope::{GroupVersionKind, Operation, Request};
use crate::kubernetes::kind::DEPLOYMENT;
use crate::policy::Exemptions;
use crate::workload::Workload;

/// Why an object was let through without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The profile is `off`.
    ProfileOff,
    /// The object is no Deployment of `apps/v1`.
    Kind,
    /// The request is about a part of the object, such as `scale`.
    SubResource,
    /// The object is neither created nor updated.
    Operation,
    /// The configuration exempts the namespace.
    ExemptNamespace,
    /// The configuration exempts the user, or one of the user's groups.
    ExemptUser,
    /// The object is being deleted, and only its finalizers matter now.
    Deleting,
    /// Another controller wrote the object and would write it again.
    Owned,
    /// The API server is going to reject the object with a message of its own.
    Invalid,
}

impl Skip {
    /// All reasons.
    pub const ALL: [Skip; 9] = [
        Skip::ProfileOff,
        Skip::Kind,
        Skip::SubResource,
        Skip::Operation,
        Skip::ExemptNamespace,
        Skip::ExemptUser,
        Skip::Deleting,
        Skip::Owned,
        Skip::Invalid,
    ];

    /// The reason as metrics and audit annotations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Skip::ProfileOff => "profile-off",
            Skip::Kind => "kind",
            Skip::SubResource => "subresource",
            Skip::Operation => "operation",
            Skip::ExemptNamespace => "exempt-namespace",
            Skip::ExemptUser => "exempt-user",
            Skip::Deleting => "deleting",
            Skip::Owned => "owned",
            Skip::Invalid => "invalid",
        }
    }
}

/// Why the request is none of gapless' business, as far as its envelope tells.
pub fn skip_request(request: &Request) -> Option<Skip> {
    let GroupVersionKind { group, version, kind } = &request.kind;
    if (&**group, &**version, &**kind) != (DEPLOYMENT.group, DEPLOYMENT.version, DEPLOYMENT.name) {
        return Some(Skip::Kind);
    }
    if request.sub_resource.as_deref().is_some_and(|sub_resource| !sub_resource.is_empty()) {
        return Some(Skip::SubResource);
    }
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Some(Skip::Operation);
    }
    None
}

/// Why the operator does not want the request to be looked at.
pub fn skip_exempt(request: &Request, exemptions: &Exemptions) -> Option<Skip> {
    let namespace = request.namespace.as_deref().unwrap_or_default();
    if exemptions.is_namespace_exempt(namespace) {
        return Some(Skip::ExemptNamespace);
    }
    let user = &request.user_info;
    let groups = user.groups.as_deref().unwrap_or_default();
    exemptions
        .is_user_exempt(user.username.as_deref().unwrap_or_default(), groups)
        .then_some(Skip::ExemptUser)
}

/// Why the object is none of gapless' business.
pub fn skip_object(workload: &Workload) -> Option<Skip> {
    let metadata = workload.metadata();
    if metadata.deletion_timestamp.is_some() {
        return Some(Skip::Deleting);
    }
    if metadata.owner_references.iter().any(|owner| owner.controller == Some(true)) {
        return Some(Skip::Owned);
    }
    workload.invalid_because().map(|_| Skip::Invalid)
}
