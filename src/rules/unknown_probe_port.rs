//! The rule `unknown-probe-port`.

use super::cel::{Cel, of_all_containers};
use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::int_or_string::IntOrString;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::{Container, LifecycleHandler, Probe};

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "unknown-probe-port",
    summary: "a probe or hook names a port that its container does not declare",
    page: include_str!("unknown_probe_port.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    // What gapless wrote is not judged.
    finds: || {
        let key = "'\"spec.template.spec.containers[' + c.name + '].readinessProbe\"'";
        each_port(&format!("!variables.record.contains({key})"))
    },
    found_before: Some(|| each_port("true")),
    message: "the container declares no port of that name: a probe never passes, a hook fails",
    fix: "give the containerPort that name, or write a declared name or a number",
};

/// The fields of ports by a name that the container does not declare; those of a readiness
/// probe where one more condition holds.
fn each_port(of_readiness: &str) -> String {
    let undeclared = |field: &str, optional: &str, more: &str| {
        let condition = format!(
            "type(c.?{optional}.orValue(0)) == string\n  \
             && !c.?ports.orValue([]).exists(p, p.?name.orValue('') == c.{field}){more}"
        );
        of_all_containers(field, &condition)
    };
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"].into_iter().flat_map(|probe| {
        let more = match probe {
            "readinessProbe" => format!("\n  && {of_readiness}"),
            _ => String::new(),
        };
        ["httpGet", "tcpSocket"].map(|handler| {
            undeclared(&format!("{probe}.{handler}.port"), &format!("{probe}.?{handler}.?port"), &more)
        })
    });
    let hooks = ["postStart", "preStop"].map(|hook| {
        undeclared(
            &format!("lifecycle.{hook}.httpGet.port"),
            &format!("lifecycle.?{hook}.?httpGet.?port"),
            "",
        )
    });
    probes.chain(hooks).collect::<Vec<_>>().join("\n+ ")
}

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    workload.all_containers().flat_map(|it| check_container(it.container, &it.path())).collect()
}

fn check_container(container: &Container, path: &FieldPath) -> Vec<Finding> {
    let lifecycle = &container.lifecycle;
    let ports = [
        // The kubelet throws away the result of a probe that it cannot make
        // (kubernetes, pkg/kubelet/prober/worker.go), so none of them fails.
        ("startupProbe", probe_port(&container.startup_probe), "the pod never gets a request"),
        ("readinessProbe", probe_port(&container.readiness_probe), "the pod never gets a request"),
        ("livenessProbe", probe_port(&container.liveness_probe), "a container that hangs is never restarted"),
        ("lifecycle.postStart", hook_port(&lifecycle.post_start), "the hook fails and kills the container"),
        (
            "lifecycle.preStop",
            hook_port(&lifecycle.pre_stop),
            "the hook fails and the container stops at once",
        ),
    ];
    let unknown = ports.into_iter().filter_map(|(field, port, consequence)| {
        let (handler, IntOrString::String(name)) = port? else { return None };
        let is_declared = container.ports.iter().any(|port| port.name == Some(name));
        (!is_declared).then(|| (path.clone().field(field).field(handler), name, consequence))
    });
    let names: Vec<&str> = container.ports.iter().filter_map(|port| port.name).collect();
    let fix = match names[..] {
        [] => "give the containerPort that name, or write its number".to_owned(),
        _ => format!("write a declared name ({}) or a number", names.join(", ")),
    };
    let finding = |(field, name, consequence)| {
        let message = format!("container {} declares no port named {name:?}: {consequence}", container.name);
        Finding::not_found(RULE.id, field, message, fix.as_str())
    };
    unknown.map(finding).collect()
}

fn probe_port<'a>(probe: &Option<Probe<'a>>) -> Option<(&'static str, IntOrString<'a>)> {
    let probe = probe.as_ref()?;
    let http_get = probe.http_get.as_ref().and_then(|handler| Some(("httpGet.port", handler.port?)));
    http_get.or_else(|| probe.tcp_socket.as_ref().and_then(|handler| Some(("tcpSocket.port", handler.port?))))
}

fn hook_port<'a>(hook: &Option<LifecycleHandler<'a>>) -> Option<(&'static str, IntOrString<'a>)> {
    Some(("httpGet.port", hook.as_ref()?.http_get.as_ref()?.port?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn a_name_that_is_not_declared() {
        let get = json!({"httpGet": {"port": "web"}});
        for field in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let mut object = web();
            object["spec"]["template"]["spec"]["containers"][0][field] = get.clone();
            let findings = found(&RULE, &object);
            let path = format!("spec.template.spec.containers[app].{field}.httpGet.port");
            assert_eq!(findings.iter().map(|it| it.field.to_string()).collect::<Vec<_>>(), [path]);
        }
        let mut object = web();
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
            json!({"preStop": get, "postStart": get});
        assert_eq!(found(&RULE, &object).len(), 2);
    }

    #[test]
    fn a_name_of_another_container_does_not_count() {
        let mut object = web();
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always",
            "readinessProbe": {"tcpSocket": {"port": "http"}}}]);
        let findings = found(&RULE, &object);
        let path = "spec.template.spec.initContainers[proxy].readinessProbe.tcpSocket.port";
        assert_eq!(findings[0].field.to_string(), path);
    }

    #[test]
    fn declared_names_and_numbers_are_fine() {
        let mut object = web();
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["readinessProbe"] = json!({"httpGet": {"port": "http"}});
        container["livenessProbe"] = json!({"tcpSocket": {"port": 1234}});
        container["startupProbe"] = json!({"grpc": {"port": 1234}});
        assert!(found(&RULE, &object).is_empty());
    }
}
