//! The ports of one container.

use super::object::{Container, ContainerPort};
use crate::kubernetes::int_or_string::IntOrString;

/// Names of ports on which the application itself is first looked for, where
/// a container has several.
const APPLICATION_PORT_NAMES: [&str; 5] = ["http", "https", "web", "api", "grpc"];

/// Ports of MySQL, MySQL Router and ProxySQL.
const MYSQL_PORTS: [i32; 7] = [3306, 33060, 6033, 6446, 6447, 6448, 6449];

/// Whether one of the words of a port's name says that it is there for operations.
pub fn is_operational(name: &str, operational_port_names: &[String]) -> bool {
    let is_listed = |word: &str| operational_port_names.iter().any(|operational| operational == word);
    is_listed(name) || name.split('-').any(is_listed)
}

/// The first of some ports with a name that applications have.
pub(super) fn usual_port(ports: &[(i32, [&str; 2])]) -> Option<i32> {
    let named = |usual: &&str| ports.iter().find(|(_, names)| names.contains(usual));
    APPLICATION_PORT_NAMES.iter().find_map(named).map(|(number, _)| *number)
}

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
        self.tcp_ports()
            .filter(move |port| !is_operational(port.name.unwrap_or_default(), operational_port_names))
    }

    /// The one port on which the application can be told to serve, if somebody says what
    /// it answers there: the only one that is not operational, else the first with a usual name.
    pub fn unambiguous_port(&self, operational_port_names: &[String]) -> Option<i32> {
        let ports: Vec<_> = self.application_ports(operational_port_names).map(numbered).collect();
        let (first, _) = *ports.first()?;
        if ports.iter().all(|(number, _)| *number == first) {
            return Some(first);
        }
        usual_port(&ports)
    }

    /// The one port that may be connected to without asking anybody: the only one, if
    /// none is there for operations, else the first with a usual name. What is left
    /// beside a port for metrics is often one that only peers may speak to.
    pub fn certain_port(&self, operational_port_names: &[String]) -> Option<i32> {
        let is_alone = self.tcp_ports().count() == self.application_ports(operational_port_names).count();
        let ports: Vec<_> = self.application_ports(operational_port_names).map(numbered).collect();
        match ports.first() {
            Some((first, _)) if is_alone && ports.iter().all(|(number, _)| number == first) => Some(*first),
            _ => usual_port(&ports),
        }
    }

    /// Whether MySQL, or a proxy of it, is known or said to speak on this port.
    pub fn is_mysql_port(&self, number: i32) -> bool {
        let mut names = self.ports.iter().filter(|port| port.container_port == number).map(|port| port.name);
        MYSQL_PORTS.contains(&number) || names.any(|name| name.is_some_and(|name| name.starts_with("mysql")))
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

    /// Whether a port has this name.
    pub fn has_port_named(&self, name: &str) -> bool {
        self.ports.iter().any(|port| port.name == Some(name))
    }
}

/// A port's number and name.
fn numbered<'n>(port: &ContainerPort<'n>) -> (i32, [&'n str; 2]) {
    (port.container_port, [port.name.unwrap_or_default(); 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;
    use serde_json::{Value, json};

    fn pod(ports: &Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "ports": ports}]}}}})
    }

    fn operational() -> Vec<String> {
        ["metrics", "health"].map(String::from).to_vec()
    }

    #[test]
    fn words_of_a_port_name_say_that_it_is_for_operations() {
        for (name, expected) in [
            ("metrics", true),
            ("http-metrics", true),
            ("metrics-internal", true),
            ("health", true),
            ("depot-admin", false),
            ("metricsd", false),
            ("", false),
        ] {
            assert_eq!(is_operational(name, &operational()), expected, "{name}");
        }
        let listed_whole = ["http-admin".to_owned()];
        assert!(is_operational("http-admin", &listed_whole) && !is_operational("admin", &listed_whole));
    }

    #[test]
    fn beside_a_port_for_operations_only_a_usual_name_is_certain() {
        let metrics = json!({"name": "metrics", "containerPort": 9090});
        let table = [
            (json!([{"containerPort": 5000}]), Some(5000)),
            (json!([{"containerPort": 5000}, metrics]), None),
            (json!([{"containerPort": 5000, "name": "peer"}, metrics]), None),
            (
                json!([{"containerPort": 5000, "name": "peer"}, {"containerPort": 81, "name": "api"}, metrics]),
                Some(81),
            ),
            (json!([metrics]), None),
        ];
        for (ports, expected) in table {
            let raw = pod(&ports);
            let workload = Workload::read(&raw).unwrap();
            assert_eq!(workload.containers()[0].certain_port(&operational()), expected, "{raw}");
        }
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
            let raw = pod(&ports);
            let workload = Workload::read(&raw).unwrap();
            let port = workload.containers()[0].unambiguous_port(&operational());
            assert_eq!(port, expected, "{raw}");
        }
    }
}
