//! The rule `undeclared-probe-port`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::int_or_string::IntOrString;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::ContainerPort;
use crate::workload::probes::WrittenProbes;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "undeclared-probe-port",
    summary: "a probe asks a port number that no container of the pod declares",
    page: include_str!("undeclared_probe_port.md"),
    kinds: &Kind::ALL,
    production: Action::Audit,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    // A mesh proxy answers on ports that it does not declare, and takes over
    // the probes of the containers beside it.
    if workload.long_running().any(|container| container.is_mesh_proxy()) {
        return Vec::new();
    }
    // The containers of a pod share its address.
    let declared: Vec<&ContainerPort> =
        workload.long_running().flat_map(|container| &container.ports).collect();
    workload.written_probes().flat_map(|probes| check_container(&probes, &declared)).collect()
}

fn check_container(probes: &WrittenProbes, declared: &[&ContainerPort]) -> Vec<Finding> {
    let undeclared = probes.each().filter_map(|(field, probe)| {
        let (handler, IntOrString::Int(port)) = probe.port()? else { return None };
        let is_declared = declared.iter().any(|it| it.container_port == port);
        let path = probes.path.clone().field(field).field(handler);
        (!is_declared && !probe.asks_another_host()).then_some((field, path, port))
    });
    let finding = |(field, path, port)| {
        let consequence = match field {
            "readinessProbe" => "the pod never gets a request",
            _ => "the container is restarted for ever",
        };
        let message = format!("no container declares port {port}: if nothing listens there, {consequence}");
        Finding::not_found(RULE.id, path, message, fix(port, declared))
    };
    undeclared.map(finding).collect()
}

fn fix(port: i32, declared: &[&ContainerPort]) -> String {
    let mut numbers: Vec<String> = declared.iter().map(|it| it.container_port.to_string()).collect();
    numbers.dedup();
    match numbers[..] {
        [] => format!("declare it with ports: [{{containerPort: {port}}}]"),
        _ => format!("declare containerPort: {port}, or ask a declared port ({})", numbers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    fn fields(object: &Value) -> Vec<String> {
        found(&RULE, object).iter().map(|finding| finding.field.to_string()).collect()
    }

    fn with(field: &str, probe: Value) -> Value {
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0][field] = probe;
        object
    }

    #[test]
    fn a_number_that_no_container_declares() {
        for field in ["startupProbe", "readinessProbe", "livenessProbe"] {
            for handler in ["httpGet", "tcpSocket", "grpc"] {
                let object = with(field, json!({handler: {"port": 8081}}));
                assert_eq!(
                    fields(&object),
                    [format!("spec.template.spec.containers[app].{field}.{handler}.port")]
                );
            }
        }
    }

    #[test]
    fn says_which_ports_are_declared() {
        let probe = json!({"tcpSocket": {"port": 8081}});
        let mut object = with("readinessProbe", probe.clone());
        assert_eq!(found(&RULE, &object)[0].fix, "declare containerPort: 8081, or ask a declared port (80)");
        object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]);
        assert_eq!(found(&RULE, &object)[0].fix, "declare it with ports: [{containerPort: 8081}]");
    }

    #[test]
    fn names_commands_and_declared_numbers_are_fine() {
        for probe in [
            json!({"httpGet": {"port": 80}}),
            json!({"tcpSocket": {"port": "http"}}),
            // unknown-probe-port judges names.
            json!({"tcpSocket": {"port": "gone"}}),
            json!({"exec": {"command": ["check", "8081"]}}),
        ] {
            let object = with("livenessProbe", probe);
            assert!(fields(&object).is_empty(), "{object}");
        }
    }

    #[test]
    fn a_port_of_another_container_of_the_pod_is_fine() {
        let mut object = with("readinessProbe", json!({"httpGet": {"port": 9000}}));
        let pod = &mut object["spec"]["template"]["spec"];
        pod["initContainers"] = json!([{"name": "fpm", "ports": [{"containerPort": 9000}]}]);
        assert_eq!(fields(&object).len(), 1, "an init container is gone when probes run");
        object["spec"]["template"]["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
        assert!(fields(&object).is_empty());
    }

    #[test]
    fn another_host_and_a_mesh_proxy_have_ports_of_their_own() {
        let object = with("livenessProbe", json!({"tcpSocket": {"port": 5432, "host": "db.example"}}));
        assert!(fields(&object).is_empty());

        // What istioctl kube-inject makes of a probe.
        let mut object =
            with("readinessProbe", json!({"httpGet": {"path": "/app-health/app/readyz", "port": 15020}}));
        assert_eq!(fields(&object).len(), 1);
        let proxy = json!({"name": "istio-proxy", "ports": [{"containerPort": 15090}]});
        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(proxy);
        assert!(fields(&object).is_empty());
    }

    #[test]
    fn an_injected_probe_is_not_the_users() {
        let probe = json!({"httpGet": {"path": "/ready", "port": 8081}, "periodSeconds": 5});
        let mut object = with("readinessProbe", probe.clone());
        let record = json!({"spec.template.spec.containers[app].readinessProbe": probe});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(fields(&object).is_empty());
    }
}
