//! Which containers serve requests, where Services send them, and which one is the main
//! one.

use super::Workload;
use super::object::{Container, ContainerPort};
use super::ports::{is_operational, usual_port};
use crate::field::FieldPath;
use crate::kubernetes::int_or_string::IntOrString;
use crate::surroundings::{Service, ServicePort, Target};

/// Proxies that a service mesh puts beside the application. Their ports are
/// not the application's.
const MESH_PROXIES: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// It stands before the metrics of a controller and asks who wants them; behind it
/// nobody is served (kubebuilder, plugins of go/v3 and go/v4).
const METRICS_PROXY: &str = "kube-rbac-proxy";

/// The annotation of a pod that names its main container (kubernetes docs,
/// reference/labels-annotations-taints).
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Flags of controllers of which one only works at a time (controller-runtime, client-go).
const LEADER_ELECTION: [&str; 2] = ["leader-elect", "enable-leader-election"];

/// The lists of containers that a manifest may have.
const REGULAR: &str = "spec.template.spec.containers";
const INIT: &str = "spec.template.spec.initContainers";

/// A port of a container to which a Service sends requests.
#[derive(Clone, Copy, Debug)]
pub struct Targeted<'w, 'a> {
    /// The container.
    pub container: &'w Container<'a>,
    /// The number of its port.
    pub port: i32,
    /// What the container and what the Service calls it.
    names: [&'w str; 2],
}

/// A container and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'w, 'a> {
    /// The container.
    pub container: &'w Container<'a>,
    /// A regular container may have a restartPolicy too, so that the policy does not tell
    /// which list it is in.
    list: &'static str,
}

impl Listed<'_, '_> {
    /// The path of the container.
    pub fn path(&self) -> FieldPath {
        FieldPath::new(self.list).item(self.container.name)
    }

    fn is_long_running(&self) -> bool {
        self.list == REGULAR || self.container.is_native_sidecar()
    }
}

impl<'a> Container<'a> {
    /// Whether this container is known to carry the traffic of another one.
    pub fn carries_traffic(&self, proxy_images: &[String]) -> bool {
        let name = self.image_name();
        proxy_images.iter().any(|proxy| proxy == name)
    }

    /// The last part of its image's name, such as `pgbouncer`.
    pub fn image_name(&self) -> &'a str {
        let image = self.image.unwrap_or_default();
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        let last = name.rsplit('/').next().unwrap_or_default();
        last.split_once(':').map_or(last, |(last, _)| last)
    }

    /// Whether it is told to take part in the election of a leader, so that perhaps one
    /// pod works and the others wait.
    pub fn asks_for_leader_election(&self) -> bool {
        let words = || self.command.iter().chain(&self.args).flat_map(|text| text.split_whitespace());
        let flags =
            || words().filter_map(|word| word.strip_prefix('-').map(|flag| flag.trim_start_matches('-')));
        let value_of = |flag: &str| -> Option<bool> {
            let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
            let is_switch = LEADER_ELECTION.contains(&name) || name == "leader-election";
            is_switch.then(|| !["false", "f", "0"].contains(&value.to_ascii_lowercase().as_str()))
        };
        // As with any flag, the last one counts.
        match flags().filter_map(value_of).reduce(|_, last| last) {
            Some(is_on) => is_on,
            None => flags().any(|flag| LEADER_ELECTION.iter().any(|known| flag.starts_with(known))),
        }
    }

    /// Whether this is a service mesh's proxy.
    pub fn is_mesh_proxy(&self) -> bool {
        MESH_PROXIES.contains(&self.name)
    }

    /// Whether what asks it asks for something behind it or nobody's requests: a service
    /// mesh's proxy, or one before metrics.
    pub fn is_infrastructure(&self) -> bool {
        self.is_mesh_proxy() || self.image_name().contains(METRICS_PROXY)
    }

    /// Whether its readiness is asked for over the network, on a port that is not there
    /// for operations.
    fn is_probed_by_network(&self, operational_port_names: &[String]) -> bool {
        let Some(probe) = &self.readiness_probe else { return false };
        let Some((_, port)) = probe.port() else { return false };
        let names = match port {
            IntOrString::String(name) => vec![name],
            IntOrString::Int(number) => {
                let declared = self.ports.iter().filter(|port| port.container_port == number);
                declared.filter_map(|port| port.name).collect()
            }
        };
        !probe.asks_another_host() && !names.iter().any(|name| is_operational(name, operational_port_names))
    }

    /// Whether this is an init container that keeps running beside the regular
    /// ones (KEP-753).
    pub fn is_native_sidecar(&self) -> bool {
        self.restart_policy == Some("Always")
    }
}

impl<'a> Workload<'a> {
    /// The regular containers that serve requests: a Service sends them some, their
    /// readiness is asked for over the network, or they declare a TCP port; each on a
    /// port that is not there for operations only.
    pub fn serving<'w>(
        &'w self,
        operational_port_names: &'w [String],
    ) -> impl Iterator<Item = &'w Container<'a>> {
        let targeted = self.targeted(operational_port_names);
        self.containers().iter().filter(move |container| {
            let is_targeted = || targeted.iter().any(|it| it.container.name == container.name);
            let declares = || container.application_ports(operational_port_names).next().is_some();
            !container.is_infrastructure()
                && (declares() || container.is_probed_by_network(operational_port_names) || is_targeted())
        })
    }

    /// Whether any container serves requests.
    pub fn serves(&self, operational_port_names: &[String]) -> bool {
        self.serving(operational_port_names).next().is_some()
    }

    /// The ports of regular containers to which Services send requests, but those that
    /// are there for operations. One that nobody declares is the only container's; of
    /// several it is nobody's.
    pub fn targeted<'w>(&'w self, operational_port_names: &[String]) -> Vec<Targeted<'w, 'a>> {
        let ports = self.surroundings().services.iter().flat_map(|service| &service.ports);
        let found = ports.flat_map(|port| self.targets_of(port));
        found.filter(|it| !it.names.iter().any(|name| is_operational(name, operational_port_names))).collect()
    }

    fn targets_of<'w>(&'w self, port: &'w ServicePort) -> Vec<Targeted<'w, 'a>> {
        let is_meant = |declared: &ContainerPort| match &port.target {
            Target::Number(number) => declared.container_port == *number,
            Target::Name(name) => declared.name == Some(name.as_str()),
        };
        let declared: Vec<_> = self
            .long_running()
            .flat_map(|container| container.tcp_ports().map(move |declared| (container, declared)))
            .filter(|(_, declared)| is_meant(declared))
            .collect();
        let is_regular = |container: &Container| self.containers().iter().any(|it| it.name == container.name);
        match (&port.target, self.containers()) {
            (Target::Number(number), [only]) if declared.is_empty() => {
                vec![Targeted { container: only, port: *number, names: [&port.name, ""] }]
            }
            _ => declared
                .into_iter()
                .filter(|(container, _)| is_regular(container) && !container.is_infrastructure())
                .map(|(container, declared)| Targeted {
                    container,
                    port: declared.container_port,
                    names: [&port.name, declared.name.unwrap_or_default()],
                })
                .collect(),
        }
    }

    /// The names of ports to which Services send requests and that no container has,
    /// each with the Service's name.
    pub fn dangling_targets(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = &self.surroundings().services;
        let dangles = |port: &ServicePort| match &port.target {
            Target::Name(name) => !self.long_running().any(|it| it.has_port_named(name)),
            Target::Number(_) => false,
        };
        // Of copies, one that fits is the one that is meant.
        let fits = move |service: &Service| !service.ports.iter().any(dangles);
        let has_fitting_copy =
            move |service: &Service| services.iter().any(|it| it.name == service.name && fits(it));
        let ports = services
            .iter()
            .filter(move |service| !has_fitting_copy(service))
            .flat_map(|service| service.ports.iter().map(move |port| (service.name.as_str(), port)));
        ports.filter(move |(_, port)| dangles(port)).filter_map(|(service, port)| match &port.target {
            Target::Name(name) => Some((service, name.as_str())),
            Target::Number(_) => None,
        })
    }

    /// The one container to which Services send requests.
    fn targeted_container<'w>(&'w self, operational_port_names: &[String]) -> Option<&'w Container<'a>> {
        let targeted = self.targeted(operational_port_names);
        let first = targeted.first()?.container;
        targeted.iter().all(|it| it.container.name == first.name).then_some(first)
    }

    /// The port of `container` that may be asked whether it listens: the one to which
    /// Services send requests, of several the first with a usual name; where no Service
    /// is known, [`Container::certain_port`].
    pub fn probe_port(&self, container: &Container, operational_port_names: &[String]) -> Option<i32> {
        let services = &self.surroundings().services;
        if services.is_empty() {
            return container.certain_port(operational_port_names);
        }
        let disagree = |one: &Service, other: &Service| one.name == other.name && one.ports != other.ports;
        if services.iter().any(|one| services.iter().any(|other| disagree(one, other))) {
            return None;
        }
        let targeted = self.targeted(operational_port_names).into_iter();
        let of_container = targeted.filter(|it| it.container.name == container.name);
        let ports: Vec<_> = of_container.map(|it| (it.port, it.names)).collect();
        let (first, _) = *ports.first()?;
        if ports.iter().all(|(number, _)| *number == first) { Some(first) } else { usual_port(&ports) }
    }

    /// Whether a container asks for leader election.
    pub fn asks_for_leader_election(&self) -> bool {
        self.containers().iter().any(Container::asks_for_leader_election)
    }

    /// The container that a readiness probe should ask: the only regular one, else the one
    /// that Services send requests to, else the one annotated as default, else the only
    /// one that serves.
    ///
    /// # Errors
    /// The names of those that serve, if none of them can be told from the others.
    pub fn probed_container<'w>(
        &'w self,
        operational_port_names: &'w [String],
    ) -> Result<&'w Container<'a>, Vec<&'a str>> {
        let serving: Vec<_> = self.serving(operational_port_names).collect();
        if let [only] = serving[..] {
            return Ok(only);
        }
        let default = self.default_container();
        let annotated = || serving.iter().find(|container| Some(container.name) == default).copied();
        let chosen = self.targeted_container(operational_port_names).or_else(annotated);
        chosen.ok_or_else(|| serving.iter().map(|container| container.name).collect())
    }

    /// The container that the pod's `default-container` annotation names.
    pub fn default_container(&self) -> Option<&'a str> {
        self.template().metadata.annotations.get(DEFAULT_CONTAINER).copied()
    }

    /// The container whose image is the application's: the only one, else the one that
    /// Services send requests to, else the one annotated as default, else the one named
    /// like the workload or its `app` label, else the only one that serves, unless one
    /// without any port stands beside it, which may be meant as well.
    pub fn main_container<'w>(&'w self, operational_port_names: &'w [String]) -> Option<&'w Container<'a>> {
        if let [only] = self.containers() {
            return Some(only);
        }
        if let Some(container) = self.targeted_container(operational_port_names) {
            return Some(container);
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
        let first = serving.next()?;
        let may_be_meant = |it: &Container| it.ports.is_empty() && !it.is_infrastructure();
        let mut others = self.containers().iter().filter(|it| it.name != first.name);
        (serving.next().is_none() && !others.any(may_be_meant)).then_some(first)
    }

    /// The regular containers, then the init containers.
    pub fn all_containers(&self) -> impl Iterator<Item = Listed<'_, 'a>> {
        let regular = self.containers().iter().map(|container| Listed { container, list: REGULAR });
        let init = self.pod().init_containers.iter().map(|container| Listed { container, list: INIT });
        regular.chain(init)
    }

    /// Containers that run for the pod's whole life: the regular ones and the
    /// native sidecars.
    pub fn long_running(&self) -> impl Iterator<Item = &Container<'a>> {
        self.all_containers().filter(Listed::is_long_running).map(|it| it.container)
    }

    /// The same, each with its path. No other container may have probes.
    pub fn long_running_with_path(&self) -> impl Iterator<Item = (&Container<'a>, FieldPath)> {
        self.all_containers().filter(Listed::is_long_running).map(|it| (it.container, it.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::Origin;
    use crate::surroundings::Surroundings;
    use crate::workload::Context;
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
        let all: Vec<_> = workload.all_containers().map(|it| it.path().to_string()).collect();
        let path = "spec.template.spec";
        let [app, migrate, proxy] = ["containers[app]", "initContainers[migrate]", "initContainers[proxy]"]
            .map(|it| format!("{path}.{it}"));
        assert_eq!(all, [app.clone(), migrate, proxy.clone()]);
        let long: Vec<_> = workload.long_running_with_path().map(|(_, path)| path.to_string()).collect();
        assert_eq!(long, [app, proxy]);
    }

    fn around(ports: &[(&str, Target)]) -> Surroundings {
        let port =
            |(name, target): &(&str, Target)| ServicePort { name: (*name).into(), target: target.clone() };
        let service = Service { name: "web".into(), ports: ports.iter().map(port).collect() };
        Surroundings { services: vec![service], ..Surroundings::default() }
    }

    /// Which containers serve, and the port of the probed one that may be asked.
    fn asked(containers: Value, surroundings: &Surroundings) -> (Vec<String>, Option<i32>) {
        let raw = pod(containers);
        let context = Context { surroundings, ..Context::new(Kind::Deployment, Origin::File) };
        let workload = Workload::read_view(View::of(&raw), context).unwrap();
        let operational = operational();
        let serving = workload.serving(&operational).map(|it| it.name.to_owned()).collect();
        let probed = workload.probed_container(&operational).ok();
        (serving, probed.and_then(|it| workload.probe_port(it, &operational)))
    }

    #[test]
    fn a_service_knows_better_than_declared_ports() {
        let http = || json!([{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]);
        let undeclared = || json!([{"name": "app"}]);
        let (number, name) =
            (|port| ("", Target::Number(port)), |name: &str| ("", Target::Name(name.into())));
        let app = || vec!["app".to_owned()];
        assert_eq!(asked(undeclared(), &around(&[number(7070)])), (app(), Some(7070)));
        assert_eq!(asked(undeclared(), &around(&[("metrics", Target::Number(7070))])), (vec![], None));
        assert_eq!(asked(http(), &around(&[number(9000)])), (app(), Some(9000)), "not the declared one");
        assert_eq!(asked(http(), &around(&[name("http")])), (app(), Some(8080)));
        assert_eq!(asked(http(), &around(&[name("web")])), (app(), None), "a name that nobody has");
        assert_eq!(asked(http(), &around(&[])), (app(), None), "no port that is sent requests");
        assert_eq!(
            asked(http(), &around(&[number(9000), name("http")])),
            (app(), Some(8080)),
            "a usual name"
        );
        assert_eq!(asked(http(), &around(&[number(9000), number(9001)])), (app(), None));
        assert_eq!(
            asked(http(), &around(&[number(9000), ("grpc", Target::Number(9001))])),
            (app(), Some(9001))
        );
        let mut copies = around(&[number(9000)]);
        copies.services.extend(around(&[number(9001)]).services);
        assert_eq!(asked(http(), &copies), (app(), None), "copies that disagree");
    }

    #[test]
    fn an_undeclared_target_is_nobodys_in_a_pod_of_several() {
        let several = || json!([{"name": "app"}, {"name": "side"}]);
        assert_eq!(asked(several(), &around(&[("", Target::Number(7070))])), (vec![], None));
        let declared = json!([{"name": "app"}, {"name": "side", "ports": [{"containerPort": 7070}]}]);
        assert_eq!(
            asked(declared, &around(&[("", Target::Number(7070))])),
            (vec!["side".to_owned()], Some(7070))
        );
    }

    #[test]
    fn a_port_of_a_native_sidecar_is_its_own() {
        let raw = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "app"}],
            "initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 443}]}],
        }}}});
        let surroundings = around(&[("", Target::Number(443))]);
        let context = Context { surroundings: &surroundings, ..Context::new(Kind::Deployment, Origin::File) };
        let workload = Workload::read_view(View::of(&raw), context).unwrap();
        assert!(!workload.serves(&operational()));
    }

    #[test]
    fn a_network_probe_shows_that_a_container_serves() {
        let serves = |probe: Value, ports: Value| {
            let containers = json!([{"name": "app", "ports": ports, "readinessProbe": probe}]);
            !asked(containers, &Surroundings::default()).0.is_empty()
        };
        assert!(serves(json!({"grpc": {"port": 50051}}), json!([])));
        assert!(serves(json!({"httpGet": {"port": 80, "path": "/"}}), json!([])));
        assert!(serves(json!({"tcpSocket": {"port": 80}}), json!([])));
        assert!(!serves(json!({"exec": {"command": ["true"]}}), json!([])));
        assert!(!serves(json!({"httpGet": {"port": "health"}}), json!([])));
        let health = json!([{"name": "http-health", "containerPort": 8081}]);
        assert!(!serves(json!({"httpGet": {"port": 8081}}), health));
        assert!(!serves(json!({"httpGet": {"port": 80, "host": "example.com"}}), json!([])));
    }

    #[test]
    fn what_stands_before_metrics_serves_nobody() {
        for image in
            ["gcr.io/kubebuilder/kube-rbac-proxy:v0.15.0", "r.example/ose-kube-rbac-proxy-rhel9@sha256:0"]
        {
            let containers = json!([{"name": "proxy", "image": image, "ports": [{"containerPort": 8443, "name": "https"}]}]);
            assert_eq!(asked(containers, &Surroundings::default()).0, Vec::<String>::new());
        }
    }

    #[test]
    fn the_main_container() {
        let port = json!([{"containerPort": 80}]);
        let table = [
            (json!([{"name": "any"}]), Some("any")),
            (json!([{"name": "other"}, {"name": "web"}]), Some("web")),
            (json!([{"name": "other"}, {"name": "shop"}]), Some("shop")),
            // One without a port may be meant as well.
            (json!([{"name": "other"}, {"name": "server", "ports": port}]), None),
            (
                json!([
                    {"name": "exporter", "ports": [{"containerPort": 9090, "name": "metrics"}]},
                    {"name": "server", "ports": port},
                    {"name": "istio-proxy"},
                ]),
                Some("server"),
            ),
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
