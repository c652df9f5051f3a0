//! Which objects are not looked at, and why.

use super::envelope::{GroupVersionKind, Operation, Request};
use crate::kubernetes::kind::Kind;
use crate::policy::{Exemptions, Policy};
use crate::workload::Workload;
use crate::workload::object::ObjectMeta;

/// Why an object was let through without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The profile is `off`.
    ProfileOff,
    /// The object is of no kind that the configuration lists.
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

/// The kind of the object, or why the request is none of gapless' business, as far as its
/// envelope tells.
pub fn judged_kind(request: &Request, policy: &Policy) -> Result<Kind, Skip> {
    let GroupVersionKind { group, version, kind } = &request.kind;
    let kind = Kind::find(group, version, kind).filter(|kind| policy.judges(*kind)).ok_or(Skip::Kind)?;
    if request.sub_resource.as_deref().is_some_and(|sub_resource| !sub_resource.is_empty()) {
        return Err(Skip::SubResource);
    }
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Err(Skip::Operation);
    }
    match skip_exempt(request, policy.exemptions()) {
        Some(skip) => Err(skip),
        None => Ok(kind),
    }
}

/// Whether a Service is updated: whether its selector changes, and to which pods, is judged.
pub fn is_service_update(request: &Request) -> bool {
    let GroupVersionKind { group, version, kind } = &request.kind;
    let is_service = (group.as_str(), version.as_str(), kind.as_str()) == ("", "v1", "Service");
    is_service
        && request.operation == Operation::Update
        && request.sub_resource.as_deref().unwrap_or_default().is_empty()
}

/// Why a Service is none of gapless' business.
pub fn skip_service(request: &Request, metadata: &ObjectMeta, policy: &Policy) -> Option<Skip> {
    skip_exempt(request, policy.exemptions()).or_else(|| skip_metadata(metadata))
}

/// Why the operator does not want the request to be looked at.
fn skip_exempt(request: &Request, exemptions: &Exemptions) -> Option<Skip> {
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
    skip_metadata(workload.metadata()).or_else(|| workload.is_invalid().then_some(Skip::Invalid))
}

fn skip_metadata(metadata: &ObjectMeta) -> Option<Skip> {
    if metadata.deletion_timestamp.is_some() {
        return Some(Skip::Deleting);
    }
    metadata.owner_references.iter().any(|owner| owner.controller == Some(true)).then_some(Skip::Owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::envelope::parse;
    use super::*;
    use crate::policy::Profile;

    fn request(changes: &Value) -> Request<'static> {
        let mut request = json!({
            "uid": "1",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "jane", "groups": ["system:authenticated", "operators"]},
        });
        for (key, value) in changes.as_object().unwrap() {
            request[key] = value.clone();
        }
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        parse(review.to_string().leak().as_bytes()).unwrap()
    }

    #[test]
    fn only_the_creation_and_the_update_of_a_deployment_are_looked_at() {
        for (changes, expected) in [
            (json!({}), None),
            (json!({"operation": "UPDATE"}), None),
            (json!({"subResource": ""}), None),
            (json!({"operation": "DELETE"}), Some(Skip::Operation)),
            (json!({"operation": "CONNECT"}), Some(Skip::Operation)),
            (json!({"operation": "UPDATE", "subResource": "scale"}), Some(Skip::SubResource)),
            (json!({"operation": "UPDATE", "subResource": "status"}), Some(Skip::SubResource)),
            (json!({"kind": {"group": "apps", "version": "v1", "kind": "StatefulSet"}}), Some(Skip::Kind)),
            (
                json!({"kind": {"group": "apps", "version": "v1beta1", "kind": "Deployment"}}),
                Some(Skip::Kind),
            ),
            (
                json!({"kind": {"group": "extensions", "version": "v1", "kind": "Deployment"}}),
                Some(Skip::Kind),
            ),
        ] {
            let policy = Policy::with_profile(Profile::production());
            assert_eq!(judged_kind(&request(&changes), &policy).err(), expected, "{changes}");
        }
    }

    #[test]
    fn the_kinds_that_are_listed_are_looked_at() {
        let kinds = [Kind::DaemonSet, Kind::Rollout];
        let policy = Policy::with_profile(Profile::production()).with_workloads(kinds);
        for kind in Kind::ALL {
            let gvk = json!({"group": kind.group(), "version": kind.version(), "kind": kind.name()});
            let expected = if kinds.contains(&kind) { Ok(kind) } else { Err(Skip::Kind) };
            assert_eq!(judged_kind(&request(&json!({"kind": gvk})), &policy), expected, "{kind}");
        }
    }

    #[test]
    fn exempt_is_who_is_named_and_nobody_else() {
        let of = |name: &str| BTreeSet::from([name.to_owned()]);
        let nobody = Exemptions::default();
        let namespaces = |name: &str| Exemptions { namespaces: of(name), ..Exemptions::default() };
        let usernames = |name: &str| Exemptions { usernames: of(name), ..Exemptions::default() };
        let groups = |name: &str| Exemptions { groups: of(name), ..Exemptions::default() };
        for (exemptions, expected) in [
            (nobody, None),
            (namespaces("shop"), Some(Skip::ExemptNamespace)),
            (namespaces("sho"), None),
            (namespaces("jane"), None),
            (usernames("jane"), Some(Skip::ExemptUser)),
            (usernames("Jane"), None),
            (usernames("operators"), None),
            (groups("operators"), Some(Skip::ExemptUser)),
            (groups("jane"), None),
        ] {
            assert_eq!(skip_exempt(&request(&json!({})), &exemptions), expected, "{exemptions:?}");
        }
        // Who is nobody is not exempt either.
        let anonymous = request(&json!({"namespace": null, "userInfo": {}}));
        assert_eq!(skip_exempt(&anonymous, &usernames("jane")), None);
    }

    #[test]
    fn an_object_that_goes_or_belongs_to_a_controller_is_let_be() {
        let owner =
            |is_controller: Value| json!([{"kind": "Canary", "name": "web", "controller": is_controller}]);
        for (metadata, expected) in [
            (json!({}), None),
            (json!({"deletionTimestamp": "2026-11-23T00:00:00Z"}), Some(Skip::Deleting)),
            (json!({"ownerReferences": owner(json!(true))}), Some(Skip::Owned)),
            (json!({"ownerReferences": owner(json!(false))}), None),
            (json!({"ownerReferences": owner(Value::Null)}), None),
        ] {
            let object = json!({
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": {"app": "app"}},
                    "template": {
                        "metadata": {"labels": {"app": "app"}},
                        "spec": {"containers": [{"name": "app", "image": "app"}]},
                    },
                },
            });
            assert_eq!(skip_object(&Workload::read(&object).unwrap()), expected, "{object}");
        }
    }

    #[test]
    fn what_the_api_server_rejects_is_left_to_it() {
        let object = json!({"spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        }});
        let changes = [
            ("/spec/replicas", json!(2), None),
            ("/spec/replicas", json!(-1), Some(Skip::Invalid)),
            ("/spec/selector", json!({}), Some(Skip::Invalid)),
            ("/spec/template/metadata/labels", json!({"app": "web"}), Some(Skip::Invalid)),
            ("/spec/template/spec/containers", json!([]), Some(Skip::Invalid)),
            ("/spec/template/spec/containers", json!([{"name": "app"}]), Some(Skip::Invalid)),
        ];
        for (pointer, value, expected) in changes {
            let mut object = object.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(skip_object(&Workload::read(&object).unwrap()), expected, "{object}");
        }
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Skip::ALL.map(Skip::as_str).into();
        assert_eq!(words.len(), Skip::ALL.len());
    }
}
