//! ResourceQuotas of the input: how many pods of a workload they leave room for.
//!
//! A quota counts pods until their containers have ended, so that old pods which still
//! sleep take room from new ones (kubernetes, pkg/quota/v1/evaluator/core/pods.go).

use serde_json::Value;

use crate::kubernetes::quantity;
use crate::rollout::Quota;

/// Thousandths of a pod, a core, a byte.
type Milli = i128;

/// A ResourceQuota.
#[derive(Clone, Debug)]
pub struct ResourceQuota {
    name: String,
    namespace: Option<String>,
    hard: Vec<(String, Milli)>,
}

/// Pods of one workload, as a quota counts them.
#[derive(Clone, Copy, Debug)]
pub struct Pods<'v> {
    /// The workload.
    pub object: &'v Value,
    /// How many it has when nothing happens.
    pub replicas: i32,
}

impl ResourceQuota {
    /// The quota that `object` is, if it is one that counts all pods. One with scopes counts
    /// some, and which, not all of the manifest tells.
    pub fn read(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        if (text("/apiVersion"), text("/kind")) != (Some("v1"), Some("ResourceQuota")) {
            return None;
        }
        let is_scoped = ["/spec/scopes", "/spec/scopeSelector"].iter().any(|it| {
            let scope = object.pointer(it);
            scope.is_some_and(|it| !it.is_null() && it.as_array().is_none_or(|list| !list.is_empty()))
        });
        if is_scoped {
            return None;
        }
        let hard = object.pointer("/spec/hard")?.as_object()?;
        let hard = hard.iter().filter_map(|(name, value)| Some((name.clone(), quantity(value)?)));
        Some(ResourceQuota {
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            namespace: text("/metadata/namespace").map(str::to_owned),
            hard: hard.collect(),
        })
    }

    /// Whether it is in this namespace. Where neither says one, that is the same.
    pub fn is_in(&self, namespace: Option<&str>) -> bool {
        self.namespace.as_deref() == namespace
    }

    /// For how many pods of `own` it leaves room, beside the `others` in its namespace.
    pub fn room(&self, own: Pods, others: &[Pods]) -> Option<Quota> {
        let room = |(resource, hard): &(String, Milli)| {
            let each = usage(own.object, resource)?;
            let used = |pods: &Pods| usage(pods.object, resource).unwrap_or(0) * Milli::from(pods.replicas);
            let left = (hard - others.iter().map(used).sum::<Milli>()).max(0);
            // What asks for nothing always has room.
            let pods = left.checked_div(each)?;
            let name = format!("{} ({resource})", self.name);
            Some(Quota { name, pods: usize::try_from(pods).unwrap_or(usize::MAX) })
        };
        self.hard.iter().filter_map(room).min_by_key(|quota| quota.pods)
    }
}

/// How much of a resource one pod of the workload uses; `None` for what a quota does not
/// count by pods. What a container does not ask for, a LimitRange may fill in.
fn usage(object: &Value, resource: &str) -> Option<Milli> {
    let (list, name) = match resource {
        "pods" | "count/pods" => return Some(1_000),
        "cpu" | "memory" => ("requests", resource),
        _ => resource.split_once('.').filter(|(list, _)| ["requests", "limits"].contains(list))?,
    };
    let asks = |container: &Value| {
        let of = |list: &str| container.pointer("/resources")?.get(list)?.get(name).and_then(quantity);
        // A limit alone is a request too.
        of(list).or_else(|| of("limits").filter(|_| list == "requests")).unwrap_or(0)
    };
    let all = |field: &str| {
        let containers = object.pointer("/spec/template/spec").and_then(|pod| pod.get(field)?.as_array());
        containers.into_iter().flatten()
    };
    let stays = |container: &&Value| container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    let regular: Milli = all("containers").map(asks).sum();
    let sidecars: Milli = all("initContainers").filter(stays).map(asks).sum();
    let first: Milli = all("initContainers").filter(|it| !stays(it)).map(asks).max().unwrap_or(0);
    Some((regular + sidecars).max(first))
}

/// In thousandths, rounded up.
fn quantity(value: &Value) -> Option<Milli> {
    const THOUSANDTH: i128 = 1_000_000;
    Some((quantity::billionths(value)? + THOUSANDTH - 1) / THOUSANDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities() {
        #[rustfmt::skip]
        let table = [
            (json!("500m"), Some(500)),
            (json!("2"), Some(2_000)),
            (json!(2), Some(2_000)),
            (json!(0.5), Some(500)),
            (json!("1.5Gi"), Some(1_610_612_736_000)),
            (json!("1Mi"), Some(1_048_576_000)),
            (json!("1M"), Some(1_000_000_000)),
            (json!("1e3"), Some(1_000_000)),
            (json!("1E"), Some(1_000_000_000_000_000_000_000)),
            (json!("1u"), Some(1)),
            (json!("much"), None),
            (json!("-1"), None),
            (json!("inf"), None),
            (json!(null), None),
        ];
        for (value, expected) in table {
            assert_eq!(quantity(&value), expected, "{value}");
        }
    }

    fn quota(hard: Value) -> ResourceQuota {
        ResourceQuota::read(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
            "spec": {"hard": hard}}))
        .unwrap()
    }

    fn pod(containers: Value, init: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers, "initContainers": init}}}})
    }

    fn asks(list: &str, cpu: &str) -> Value {
        json!({"resources": {list: {"cpu": cpu}}})
    }

    #[test]
    fn room_for_pods() {
        let sidecar = json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}});
        let two = pod(json!([asks("requests", "300m"), asks("limits", "100m")]), json!([sidecar]));
        let first = pod(json!([asks("requests", "300m")]), json!([asks("requests", "2")]));
        let nothing = pod(json!([{}]), json!(null));
        #[rustfmt::skip]
        let table = [
            (json!({"pods": "12"}), &nothing, Some(12)),
            (json!({"count/pods": 12}), &nothing, Some(12)),
            (json!({"requests.cpu": "5"}), &two, Some(10)),
            (json!({"cpu": "4900m"}), &two, Some(9)),
            (json!({"limits.cpu": "1"}), &two, Some(10)),
            (json!({"requests.cpu": "4"}), &first, Some(2)),
            (json!({"pods": 12, "cpu": "5"}), &two, Some(10)),
            (json!({"requests.cpu": "5"}), &nothing, None),
            (json!({"services": 1, "configmaps": 0}), &two, None),
        ];
        for (hard, object, expected) in table {
            let room = quota(hard.clone()).room(Pods { object, replicas: 1 }, &[]);
            assert_eq!(room.map(|room| room.pods), expected, "{hard}");
        }
        let others = [Pods { object: &nothing, replicas: 5 }, Pods { object: &two, replicas: 4 }];
        let room = quota(json!({"pods": 12})).room(Pods { object: &nothing, replicas: 1 }, &others);
        assert_eq!(room.unwrap(), Quota { name: "q (pods)".to_owned(), pods: 3 });
    }

    #[test]
    fn what_is_no_quota_of_all_pods() {
        let read = |spec: Value| {
            ResourceQuota::read(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": spec})).is_some()
        };
        assert!(read(json!({"hard": {}})) && read(json!({"hard": {}, "scopes": []})));
        assert!(!read(json!({"hard": {}, "scopes": ["BestEffort"]})));
        assert!(!read(json!({"hard": {}, "scopeSelector": {"matchExpressions": []}})));
        assert!(ResourceQuota::read(&json!({"apiVersion": "v1", "kind": "LimitRange"})).is_none());
    }
}
