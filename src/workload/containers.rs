//! Which containers serve requests, on which ports, and which one is the main
//! one.

use super::Workload;
use super::object::{Container, ContainerPort};
use crate::field::FieldPath;
use crate::kubernetes::int_or_string::IntOrString;

/// Proxies that a service mesh puts beside the application. Their ports are
/// not the application's.
const MESH_PROXIES: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// The annotation of a pod that names its main container (kubernetes docs,
/// reference/labels-annotations-taints).
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Names of ports on which the application itself is first looked for, where
/// a container has several.
const APPLICATION_PORT_NAMES: [&str; 5] = ["http", "https", "web", "api", "grpc"];

impl<'a> Container<'a> {
    /// The ports that speak TCP, which is what a port without a protocol does.
    pub fn tcp_ports(&self) -> impl Iterator<Item = &ContainerPort<'a>> {
        self.ports.iter().filter(|port| port.protocol.unwrap_or("TCP") == "TCP")
    }

    /// The TCP ports that are not there for operations only.
    pub fn application_ports(
        &self,
        operational_port_names: &[String],
    ) -> impl Iterator<Item = &ContainerPort<'a>> {
        self.tcp_ports().filter(move |port| {
            let name = port.name.unwrap_or_default();
            !operational_port_names.iter().any(|operational| operational == name)
        })
    }

    /// The one port on which the application can be told to serve: the only
    /// one that is not operational, else the first with a usual name.
    pub fn unambiguous_port(&self, operational_port_names: &[String]) -> Option<i32> {
        let numbers: Vec<(i32, &str)> = self
            .application_ports(operational_port_names)
            .map(|port| (port.container_port, port.name.unwrap_or_default()))
            .collect();
        let (first, _) = *numbers.first()?;
        if numbers.iter().all(|(number, _)| *number == first) {
            return Some(first);
        }
        APPLICATION_PORT_NAMES
            .iter()
            .find_map(|usual| numbers.iter().find(|(_, name)| name == usual).map(|(number, _)| *number))
    }

    /// The number of a port given by number or name. A name has to be one of
    /// this container's.
    pub fn port_number(&self, port: IntOrString) -> Option<i32> {
        match port {
            IntOrString::Int(number) => Some(number),
            IntOrString::String(name) => {
                self.ports.iter().find(|port| port.name == Some(name)).map(|port| port.container_port)
            }
        }
    }

    /// Whether this is a service mesh's proxy.
    pub fn is_mesh_proxy(&self) -> bool {
        MESH_PROXIES.contains(&self.name)
    }

    /// Whether this is an init container that keeps running beside the regular
    /// ones (KEP-753).
    pub fn is_native_sidecar(&self) -> bool {
        self.restart_policy == Some("Always")
    }
}

impl<'a> Workload<'a> {
    /// The regular containers that serve requests: they declare a TCP port
    /// that is not for operations only.
    pub fn serving<'w>(
        &'w self,
        operational_port_names: &'w [String],
    ) -> impl Iterator<Item = &'w Container<'a>> {
        self.containers().iter().filter(move |container| {
            !container.is_mesh_proxy() && container.application_ports(operational_port_names).next().is_some()
        })
    }

    /// Whether any container serves requests.
    pub fn serves(&self, operational_port_names: &[String]) -> bool {
        self.serving(operational_port_names).next().is_some()
    }

    /// The container that the pod's `default-container` annotation names.
    pub fn default_container(&self) -> Option<&'a str> {
        self.template().metadata.annotations.get(DEFAULT_CONTAINER).copied()
    }

    /// The container whose image is the application's: the only one, else the
    /// one annotated as default, else the one named like the workload or its
    /// `app` label, else the only serving one.
    pub fn main_container<'w>(&'w self, operational_port_names: &'w [String]) -> Option<&'w Container<'a>> {
        if let [only] = self.containers() {
            return Some(only);
        }
        let labels = &self.metadata().labels;
        let names = [
            self.default_container(),
            self.metadata().name,
            labels.get("app.kubernetes.io/name").copied(),
            labels.get("app").copied(),
        ];
        let named = |name: &str| self.containers().iter().find(|container| container.name == name);
        if let Some(container) = names.into_iter().flatten().find_map(named) {
            return Some(container);
        }
        let mut serving = self.serving(operational_port_names);
        let first = serving.next();
        first.filter(|_| serving.next().is_none())
    }

    /// Containers that run for the pod's whole life: the regular ones and the
    /// native sidecars.
    pub fn long_running(&self) -> impl Iterator<Item = &Container<'a>> {
        let sidecars = self.pod().init_containers.iter().filter(|container| container.is_native_sidecar());
        self.containers().iter().chain(sidecars)
    }

    /// The same, each with its path. No other container may have probes.
    pub fn long_running_with_path(&self) -> impl Iterator<Item = (&Container<'a>, FieldPath)> {
        // A regular container may have a restartPolicy too, so that the policy
        // does not tell which list a container is in.
        let regular = self.containers().len();
        self.long_running().enumerate().map(move |(index, container)| {
            let list = if index < regular { "containers" } else { "initContainers" };
            (container, FieldPath::new("spec.template.spec").field(list).item(container.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(containers: Value) -> Value {
        json!({
            "metadata": {"name": "web", "labels": {"app": "shop"}},
            "spec": {"template": {"spec": {"containers": containers}}},
        })
    }

    fn operational() -> Vec<String> {
        ["metrics", "health"].map(String::from).to_vec()
    }

    #[test]
    fn serving_needs_a_tcp_port_that_is_not_operational() {
        let raw = pod(json!([
            {"name": "app", "ports": [{"containerPort": 80}]},
            {"name": "udp", "ports": [{"containerPort": 53, "protocol": "UDP"}]},
            {"name": "exporter", "ports": [{"containerPort": 9090, "name": "metrics"}]},
            {"name": "worker"},
            {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
        ]));
        let workload = Workload::read(&raw).unwrap();
        let names: Vec<_> = workload.serving(&operational()).map(|container| container.name).collect();
        assert_eq!(names, ["app"]);
    }

    #[test]
    fn native_sidecars_run_as_long_as_regular_containers() {
        let raw = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "app", "restartPolicy": "Always"}],
            "initContainers": [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}],
        }}}});
        let workload = Workload::read(&raw).unwrap();
        let paths: Vec<_> = workload.long_running_with_path().map(|(_, path)| path.to_string()).collect();
        assert_eq!(paths, ["spec.template.spec.containers[app]", "spec.template.spec.initContainers[proxy]"]);
    }

    #[test]
    fn the_unambiguous_port() {
        let table = [
            (json!([{"containerPort": 5000}]), Some(5000)),
            (json!([{"containerPort": 5000}, {"containerPort": 9090, "name": "metrics"}]), Some(5000)),
            (json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8080}]), Some(8080)),
            (json!([{"containerPort": 1, "name": "grpc"}, {"containerPort": 2, "name": "http"}]), Some(2)),
            (json!([{"containerPort": 1}, {"containerPort": 2}]), None),
            (json!([{"containerPort": 8080, "name": "a"}, {"containerPort": 8080, "name": "b"}]), Some(8080)),
            (json!([]), None),
        ];
        for (ports, expected) in table {
            let raw = pod(json!([{"name": "app", "ports": ports}]));
            let workload = Workload::read(&raw).unwrap();
            let port = workload.containers()[0].unambiguous_port(&operational());
            assert_eq!(port, expected, "{raw}");
        }
    }

    #[test]
    fn the_main_container() {
        let port = json!([{"containerPort": 80}]);
        let table = [
            (json!([{"name": "any"}]), Some("any")),
            (json!([{"name": "other"}, {"name": "web"}]), Some("web")),
            (json!([{"name": "other"}, {"name": "shop"}]), Some("shop")),
            (json!([{"name": "other"}, {"name": "server", "ports": port}]), Some("server")),
            (json!([{"name": "a", "ports": port}, {"name": "b", "ports": port}]), None),
            (json!([{"name": "a"}, {"name": "b"}]), None),
        ];
        for (containers, expected) in table {
            let raw = pod(containers);
            let workload = Workload::read(&raw).unwrap();
            let main = workload.main_container(&operational()).map(|container| container.name);
            assert_eq!(main, expected, "{raw}");
        }
    }
}
