//! What keeps a second generation of pods from being scheduled beside the
//! first one, so that a rolling update that wants to surge hangs.

use std::fmt;

use super::Workload;
use super::object::{LabelSelector, StringMap};

const HOSTNAME_TOPOLOGY: &str = "kubernetes.io/hostname";

/// A reason why old and new pods may not be able to run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurgeBlocker {
    /// A container binds a port of the node.
    HostPort(i32),
    /// The pod shares the node's network, and a container has ports.
    HostNetwork,
    /// A volume that perhaps only one node, or one pod, can mount.
    Volume(String),
    /// The pod refuses to share a node with pods that carry its own labels.
    AntiAffinity,
}

impl fmt::Display for SurgeBlocker {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SurgeBlocker::HostPort(port) => write!(f, "hostPort {port}"),
            SurgeBlocker::HostNetwork => f.write_str("hostNetwork with ports"),
            SurgeBlocker::Volume(name) => write!(f, "the persistent volume {name}"),
            SurgeBlocker::AntiAffinity => f.write_str("required anti-affinity against its own labels"),
        }
    }
}

impl Workload<'_> {
    /// Why two generations of pods can perhaps not run at once; the surest
    /// reason first.
    ///
    /// Whether a claim can be mounted by several nodes is not in the
    /// Deployment, so every claim counts.
    pub fn surge_blocker(&self) -> Option<SurgeBlocker> {
        self.host_port_blocker().or_else(|| self.volume_blocker()).or_else(|| self.anti_affinity_blocker())
    }

    /// A port of the node that only one pod can have. With `hostNetwork` the
    /// API server does not fill in `hostPort` in a pod template.
    pub fn host_port_blocker(&self) -> Option<SurgeBlocker> {
        let mut ports = self.long_running().flat_map(|container| &container.ports);
        if self.pod().host_network == Some(true) {
            return ports.next().map(|_| SurgeBlocker::HostNetwork);
        }
        ports.find_map(|port| port.host_port.filter(|port| *port > 0)).map(SurgeBlocker::HostPort)
    }

    /// A volume by claim.
    pub fn volume_blocker(&self) -> Option<SurgeBlocker> {
        let by_claim = |volume: &&super::object::Volume| {
            volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
        };
        let volume = self.pod().volumes.iter().find(by_claim)?;
        Some(SurgeBlocker::Volume(volume.name.unwrap_or_default().to_owned()))
    }

    /// Required anti-affinity that keeps the pod off every node where another
    /// pod of its own kind runs, of whichever generation.
    pub fn anti_affinity_blocker(&self) -> Option<SurgeBlocker> {
        let repels_itself = self.pod().affinity.pod_anti_affinity.required.iter().any(|term| {
            term.topology_key == HOSTNAME_TOPOLOGY
                // With this key a term only speaks of pods of the same generation.
                && !term.match_label_keys.contains(&"pod-template-hash")
                && term.label_selector.as_ref().is_some_and(|selector| selector.matches(self.pod_labels()))
        });
        repels_itself.then_some(SurgeBlocker::AntiAffinity)
    }
}

impl LabelSelector<'_> {
    /// Whether `labels` are selected. An empty selector selects everything.
    pub fn matches(&self, labels: &StringMap) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(requirement.key);
                let is_listed = value.is_some_and(|value| requirement.values.contains(value));
                match requirement.operator {
                    "In" => is_listed,
                    "NotIn" => !is_listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn blocker(pod: Value) -> Option<SurgeBlocker> {
        let raw = json!({"spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}});
        Workload::read(&raw).unwrap().surge_blocker()
    }

    fn anti_affinity(term: Value) -> Value {
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    }

    #[test]
    fn what_blocks_a_surge_pod() {
        let container = |port: Value| json!({"containers": [{"name": "app", "ports": [port]}]});
        assert_eq!(blocker(container(json!({"containerPort": 80}))), None);
        assert_eq!(blocker(container(json!({"containerPort": 80, "hostPort": 0}))), None);
        let host_port = container(json!({"containerPort": 80, "hostPort": 8080}));
        assert_eq!(blocker(host_port), Some(SurgeBlocker::HostPort(8080)));

        let mut host_network = container(json!({"containerPort": 80}));
        host_network["hostNetwork"] = json!(true);
        assert_eq!(blocker(host_network), Some(SurgeBlocker::HostNetwork));
        assert_eq!(blocker(json!({"hostNetwork": true, "containers": [{"name": "app"}]})), None);

        let claim = json!({"volumes": [{"name": "cache", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
        assert_eq!(blocker(claim), Some(SurgeBlocker::Volume("data".into())));
        let ephemeral = json!({"volumes": [{"name": "scratch", "ephemeral": {}}]});
        assert_eq!(blocker(ephemeral), Some(SurgeBlocker::Volume("scratch".into())));
        assert_eq!(blocker(json!({"volumes": [{"name": "cache", "emptyDir": {}}]})), None);
    }

    #[test]
    fn anti_affinity_blocks_only_if_it_is_against_the_pod_itself_on_one_node() {
        let selector = |app: &str| json!({"matchLabels": {"app": app}});
        let on = |key: &str, selector: Value| json!({"topologyKey": key, "labelSelector": selector});
        let itself = Some(SurgeBlocker::AntiAffinity);
        assert_eq!(blocker(anti_affinity(on("kubernetes.io/hostname", selector("web")))), itself);
        assert_eq!(blocker(anti_affinity(on("kubernetes.io/hostname", json!({})))), itself);
        assert_eq!(blocker(anti_affinity(on("kubernetes.io/hostname", selector("db")))), None);
        assert_eq!(blocker(anti_affinity(on("topology.kubernetes.io/zone", selector("web")))), None);
        assert_eq!(blocker(anti_affinity(json!({"topologyKey": "kubernetes.io/hostname"}))), None);
        let mut same_generation = on("kubernetes.io/hostname", selector("web"));
        same_generation["matchLabelKeys"] = json!(["pod-template-hash"]);
        assert_eq!(blocker(anti_affinity(same_generation)), None);
    }

    #[test]
    fn selectors_match_as_the_api_says() {
        let labels = StringMap::from([("app", "web"), ("tier", "front")]);
        let matches = |expression: Value| {
            let raw = json!({"matchExpressions": [expression]});
            let selector: LabelSelector = serde::Deserialize::deserialize(&raw).unwrap();
            selector.matches(&labels)
        };
        assert!(matches(json!({"key": "app", "operator": "In", "values": ["web", "api"]})));
        assert!(!matches(json!({"key": "app", "operator": "NotIn", "values": ["web"]})));
        assert!(matches(json!({"key": "gone", "operator": "NotIn", "values": ["web"]})));
        assert!(matches(json!({"key": "tier", "operator": "Exists"})));
        assert!(!matches(json!({"key": "tier", "operator": "DoesNotExist"})));
    }
}
