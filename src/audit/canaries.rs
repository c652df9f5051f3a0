//! Flagger's Canaries, and the workloads that they copy.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::at;
use crate::report::Subject;

/// What is to be known of a workload that is copied. Kubernetes types older than 0.29 do not
/// know `sleep` and leave it out of what they write (flagger 1.36.1, go.mod: 0.27.11).
pub const WARNING: &str = "a Canary points at it, and Flagger 1.36 makes an empty preStop hook of its sleep, so that \
    the API server refuses the copy; write the annotation gapless.dev/waive.pre-stop-sleep: REASON before its next \
    rollout, or use a Flagger that is built with k8s.io/api 0.29 or newer";

/// The Canaries by the workload that they copy.
#[derive(Clone, Debug, Default)]
pub struct Canaries(BTreeMap<Key, String>);

/// Kind, namespace and name.
type Key = (&'static str, String, String);

impl Canaries {
    /// Adds a Canary, as the API server lists it. Flagger looks for kind and name only, and
    /// copies Deployments and DaemonSets (flagger, pkg/canary/factory.go).
    pub fn add(&mut self, canary: &Value) {
        let text = |path: &[&str]| at(canary, path).and_then(Value::as_str).map(str::to_owned);
        let kind = match at(canary, &["spec", "targetRef", "kind"]).and_then(Value::as_str) {
            Some("Deployment") => Kind::Deployment,
            Some("DaemonSet") => Kind::DaemonSet,
            _ => return,
        };
        let (namespace, target) = (text(&["metadata", "namespace"]), text(&["spec", "targetRef", "name"]));
        if let (Some(namespace), Some(target)) = (namespace, target) {
            let name = text(&["metadata", "name"]).unwrap_or_default();
            self.0.insert((kind.name(), namespace, target), name);
        }
    }

    /// Adds those of `other` that point at this workload.
    pub fn take(&mut self, other: &Canaries, subject: &Subject) {
        let found = key(subject).and_then(|key| other.0.get_key_value(&key));
        self.0.extend(found.map(|(key, name)| (key.clone(), name.clone())));
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Canaries) {
        self.0.extend(other.0);
    }

    /// The name of the Canary that points at this workload.
    pub fn of(&self, subject: &Subject) -> Option<&str> {
        self.0.get(&key(subject)?).map(String::as_str)
    }
}

fn key(subject: &Subject) -> Option<Key> {
    Some((subject.kind, subject.namespace.clone()?, subject.name.clone()))
}

/// Whether a container of the workload sleeps before it stops.
pub fn sleeps(object: &Value) -> bool {
    let sleep = ["lifecycle", "preStop", "sleep"];
    ["containers", "initContainers"].iter().any(|list| {
        let containers = at(object, &["spec", "template", "spec", list]).and_then(Value::as_array);
        containers.into_iter().flatten().any(|container| at(container, &sleep).is_some_and(Value::is_object))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_canary_is_found_by_its_target() {
        let mut canaries = Canaries::default();
        let canary = |name: &str, target: Value| json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"targetRef": target}});
        for canary in [
            canary("web", json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})),
            canary("short", json!({"kind": "Deployment", "name": "api"})),
            canary("agent", json!({"kind": "DaemonSet", "name": "agent"})),
            canary("service", json!({"apiVersion": "v1", "kind": "Service", "name": "web"})),
            canary("odd", json!("web")),
            json!({"spec": null}),
        ] {
            canaries.add(&canary);
        }
        let of = |kind: Kind, namespace: &str, name: &str| {
            canaries.of(&Subject::live(kind, namespace, name)).map(str::to_owned)
        };
        assert_eq!(of(Kind::Deployment, "shop", "web").as_deref(), Some("web"));
        assert_eq!(of(Kind::Deployment, "shop", "api").as_deref(), Some("short"));
        assert_eq!(of(Kind::DaemonSet, "shop", "agent").as_deref(), Some("agent"));
        assert_eq!(of(Kind::Deployment, "bank", "web"), None);
        assert_eq!(of(Kind::StatefulSet, "shop", "web"), None);
    }
}
