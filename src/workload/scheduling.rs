//! What keeps a second generation of pods from being scheduled beside the
//! first one, so that a rolling update that wants to surge hangs.

use std::fmt;

use super::Workload;
use super::object::{Volume, VolumeMount};
use crate::kubernetes::kind::Kind;

const HOSTNAME_TOPOLOGY: &str = "kubernetes.io/hostname";

/// A reason why old and new pods may not be able to run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurgeBlocker {
    /// A container binds a port of the node.
    HostPort(i32),
    /// The pod shares the node's network, and a container has ports.
    HostNetwork,
    /// A container has a device for itself: this resource.
    Device(String),
    /// The pod has devices for itself, by `resourceClaims`.
    ResourceClaims,
    /// A volume that one node, or one pod, mounts.
    Volume {
        /// Its name in the pod.
        name: String,
        /// Whether that is known, and not only possible.
        is_certain: bool,
    },
    /// The pod refuses to share a node with pods that carry its own labels.
    AntiAffinity,
    /// The pod is an agent of its node, of which two at once would be in each other's
    /// way: this shows it. It could be scheduled.
    NodeAgent(&'static str),
}

impl SurgeBlocker {
    /// What a user can do about it, if anything.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            SurgeBlocker::HostPort(_) => Some("serve through a Service instead of the hostPort"),
            SurgeBlocker::HostNetwork => Some("remove hostNetwork"),
            SurgeBlocker::Device(_) | SurgeBlocker::ResourceClaims => None,
            SurgeBlocker::Volume { .. } => Some("use a volume with access mode ReadWriteMany"),
            SurgeBlocker::AntiAffinity => Some("add matchLabelKeys: [pod-template-hash] to the term"),
            SurgeBlocker::NodeAgent(_) => None,
        }
    }

    /// Whether it keeps a second pod from being scheduled, or from starting.
    pub fn keeps_from_starting(&self) -> bool {
        !matches!(self, SurgeBlocker::NodeAgent(_))
    }

    /// Whether more than one pod can run if each has a node of its own.
    pub fn allows_one_pod_per_node(&self) -> bool {
        !matches!(self, SurgeBlocker::Volume { .. })
    }
}

impl fmt::Display for SurgeBlocker {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SurgeBlocker::HostPort(port) => write!(f, "hostPort {port}"),
            SurgeBlocker::HostNetwork => f.write_str("hostNetwork with ports"),
            SurgeBlocker::Device(resource) => write!(f, "the device {resource}"),
            SurgeBlocker::ResourceClaims => f.write_str("the devices of resourceClaims"),
            SurgeBlocker::Volume { name, .. } => write!(f, "the volume {name}"),
            SurgeBlocker::AntiAffinity => f.write_str("required anti-affinity against its own labels"),
            SurgeBlocker::NodeAgent(what) => f.write_str(what),
        }
    }
}

/// Whether a resource is handed out in whole devices, as those of device plugins are. What
/// is divided, such as pages of memory (`hugepages-2Mi`), has no domain before its name
/// (kubernetes, pkg/apis/core/v1/helper, `IsExtendedResourceName`).
fn is_device(resource: &str) -> bool {
    resource.contains('/')
}

impl Workload<'_> {
    /// Why two generations of pods can perhaps not run at once; the surest
    /// reason first. This one answer is asked for by all that hangs on it.
    pub fn surge_blocker(&self) -> Option<SurgeBlocker> {
        self.surge_blockers().next()
    }

    /// All of these reasons, one of a kind, the surest first.
    pub fn surge_blockers(&self) -> impl Iterator<Item = SurgeBlocker> {
        let blockers = [
            self.host_port_blocker(),
            self.device_blocker(),
            self.anti_affinity_blocker(),
            self.volume_blocker(),
            self.node_agent_blocker(),
        ];
        blockers.into_iter().flatten()
    }

    /// What makes a pod of a DaemonSet an agent of its node, with sockets, locks or devices
    /// there: storage and network plugins and log shippers cannot run twice on it.
    fn node_agent_blocker(&self) -> Option<SurgeBlocker> {
        if self.kind() != Kind::DaemonSet {
            return None;
        }
        let pod = self.pod();
        let containers = || self.all_containers().map(|it| it.container);
        let is_written = |volume: &Volume| {
            let is_mounted_to_write =
                |mount: &VolumeMount| Some(mount.name) == volume.name && mount.read_only != Some(true);
            volume.host_path.is_some()
                && containers().any(|container| container.volume_mounts.iter().any(is_mounted_to_write))
        };
        let what = if pod.host_pid == Some(true) {
            "hostPID"
        } else if pod.host_ipc == Some(true) {
            "hostIPC"
        } else if containers().any(|container| container.security_context.privileged == Some(true)) {
            "a privileged container"
        } else if pod.volumes.iter().any(is_written) {
            "a hostPath that is not mounted read-only"
        } else {
            return None;
        };
        Some(SurgeBlocker::NodeAgent(what))
    }

    /// A port of the node that only one pod can have. With `hostNetwork` the
    /// API server does not fill in `hostPort` in a pod template.
    fn host_port_blocker(&self) -> Option<SurgeBlocker> {
        let mut ports = self.long_running().flat_map(|container| &container.ports);
        if self.pod().host_network == Some(true) {
            return ports.next().map(|_| SurgeBlocker::HostNetwork);
        }
        ports.find_map(|port| port.host_port.filter(|port| *port > 0)).map(SurgeBlocker::HostPort)
    }

    /// A device that only one pod can have, be it for its initialization only.
    fn device_blocker(&self) -> Option<SurgeBlocker> {
        let lists =
            self.all_containers().map(|it| &it.container.resources).flat_map(|it| [&it.limits, &it.requests]);
        let mut resources = lists.flatten();
        let device = resources.find(|(name, quantity)| is_device(name) && !quantity.is_zero);
        let claims = || (!self.pod().resource_claims.is_empty()).then_some(SurgeBlocker::ResourceClaims);
        device.map(|(name, _)| SurgeBlocker::Device((*name).to_owned())).or_else(claims)
    }

    /// A volume that one node mounts: a disk of the kinds that Kubernetes itself knows, or
    /// a claim that is not shared. Whether a claim is, its access modes say, which are not
    /// in the workload; where they are not known, it may be one.
    fn volume_blocker(&self) -> Option<SurgeBlocker> {
        let claims = &self.surroundings().claims;
        let blocks = |volume: &Volume| match &volume.persistent_volume_claim {
            Some(claim) => match claims.get(claim.claim_name) {
                Some(true) => None,
                Some(false) => Some(true),
                None => Some(false),
            },
            None if volume.is_disk() => Some(true),
            None => volume.ephemeral.as_ref().map(|_| false),
        };
        let found = self.pod().volumes.iter().filter_map(|volume| Some((volume, blocks(volume)?)));
        // Of several the surest.
        let (volume, is_certain) =
            found.reduce(|first, next| if next.1 && !first.1 { next } else { first })?;
        Some(SurgeBlocker::Volume { name: volume.name.unwrap_or_default().to_owned(), is_certain })
    }

    /// Required anti-affinity that keeps the pod off every node where another
    /// pod of its own kind runs, of whichever generation.
    fn anti_affinity_blocker(&self) -> Option<SurgeBlocker> {
        let repels_itself = self.pod().affinity.pod_anti_affinity.required.iter().any(|term| {
            term.topology_key == HOSTNAME_TOPOLOGY
                // With this key a term only speaks of pods of the same generation.
                && !term.match_label_keys.contains(&"pod-template-hash")
                && term.label_selector.as_ref().is_some_and(|selector| selector.matches(self.pod_labels()))
        });
        repels_itself.then_some(SurgeBlocker::AntiAffinity)
    }
}

impl Volume<'_> {
    /// Whether it is a disk that one node mounts, without a claim.
    fn is_disk(&self) -> bool {
        let disks = [
            &self.aws_elastic_block_store,
            &self.azure_disk,
            &self.cinder,
            &self.fc,
            &self.gce_persistent_disk,
            &self.iscsi,
            &self.rbd,
            &self.vsphere_volume,
        ];
        disks.iter().any(|disk| disk.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::Origin;
    use crate::surroundings::Surroundings;
    use crate::workload::Context;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

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
        let volume = |name: &str, is_certain| Some(SurgeBlocker::Volume { name: name.into(), is_certain });
        assert_eq!(blocker(claim), volume("data", false));
        let ephemeral = json!({"volumes": [{"name": "scratch", "ephemeral": {}}]});
        assert_eq!(blocker(ephemeral), volume("scratch", false));
        for disk in [
            "awsElasticBlockStore",
            "azureDisk",
            "cinder",
            "fc",
            "gcePersistentDisk",
            "iscsi",
            "rbd",
            "vsphereVolume",
        ] {
            assert_eq!(
                blocker(json!({"volumes": [{"name": "disk", disk: {}}]})),
                volume("disk", true),
                "{disk}"
            );
        }
        let both =
            json!({"volumes": [{"name": "claim", "persistentVolumeClaim": {}}, {"name": "disk", "fc": {}}]});
        assert_eq!(blocker(both), volume("disk", true), "the surer one");
        assert_eq!(blocker(json!({"volumes": [{"name": "cache", "emptyDir": {}}]})), None);
    }

    #[test]
    fn a_claim_blocks_unless_it_is_known_to_be_shared() {
        let raw = json!({"spec": {"template": {"spec": {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "pictures"}}],
        }}}});
        let blocker = |claim: &str, is_shared| {
            let claims = BTreeMap::from([(claim.to_owned(), is_shared)]);
            let surroundings = Surroundings { claims, ..Surroundings::default() };
            let context =
                Context { surroundings: &surroundings, ..Context::new(Kind::Deployment, Origin::File) };
            Workload::read_view(View::of(&raw), context).unwrap().surge_blocker()
        };
        let volume = |is_certain| Some(SurgeBlocker::Volume { name: "data".into(), is_certain });
        assert_eq!(blocker("pictures", true), None);
        assert_eq!(blocker("pictures", false), volume(true));
        assert_eq!(blocker("other", true), volume(false));
    }

    #[test]
    fn two_agents_of_a_node_are_in_each_others_way() {
        let blocker = |kind: &str, pod: Value| {
            let raw = json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"template": {"spec": pod}}});
            Workload::read(&raw).unwrap().surge_blocker()
        };
        let mounts = |mount: Value| {
            json!({"volumes": [{"name": "host", "hostPath": {"path": "/var/log"}}],
                "containers": [{"name": "app", "volumeMounts": [mount]}]})
        };
        let agent = |what| Some(SurgeBlocker::NodeAgent(what));
        let written = mounts(json!({"name": "host", "mountPath": "/logs"}));
        assert_eq!(blocker("DaemonSet", written.clone()), agent("a hostPath that is not mounted read-only"));
        assert_eq!(blocker("Deployment", written), None);
        assert_eq!(blocker("DaemonSet", mounts(json!({"name": "host", "readOnly": true}))), None);
        assert_eq!(blocker("DaemonSet", mounts(json!({"name": "other"}))), None);
        assert_eq!(blocker("DaemonSet", json!({"hostPID": true})), agent("hostPID"));
        assert_eq!(blocker("DaemonSet", json!({"hostIPC": true})), agent("hostIPC"));
        assert_eq!(blocker("DaemonSet", json!({"hostPID": false})), None);
        let privileged =
            json!({"initContainers": [{"name": "app", "securityContext": {"privileged": true}}]});
        assert_eq!(blocker("DaemonSet", privileged), agent("a privileged container"));
    }

    #[test]
    fn whole_devices_block_and_what_is_divided_does_not() {
        let with = |limits: Value| {
            blocker(json!({"containers": [{"name": "app", "resources": {"limits": limits}}]}))
        };
        let gpu = Some(SurgeBlocker::Device("nvidia.com/gpu".into()));
        assert_eq!(with(json!({"cpu": 0.5, "nvidia.com/gpu": 1, "memory": 8_589_934_592_i64})), gpu);
        assert_eq!(with(json!({"nvidia.com/gpu": "2"})), gpu);
        assert_eq!(with(json!({"nvidia.com/gpu": 0})), None);
        assert_eq!(with(json!({"nvidia.com/gpu": "0"})), None);
        assert_eq!(with(json!({"hugepages-2Mi": "64Mi", "ephemeral-storage": "1Gi"})), None);
        let init =
            json!({"initContainers": [{"name": "warm-up", "resources": {"limits": {"nvidia.com/gpu": 1}}}]});
        assert_eq!(blocker(init), gpu);
        let claims = json!({"containers": [{"name": "app"}], "resourceClaims": [{"name": "gpu"}]});
        assert_eq!(blocker(claims), Some(SurgeBlocker::ResourceClaims));
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
}
