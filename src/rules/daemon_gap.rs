//! The rule `daemon-gap`.

use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::ContainerPort;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "daemon-gap",
    summary: "a rollout leaves each node without its pod of a DaemonSet for a while",
    page: include_str!("daemon_gap.md"),
    kinds: &[Kind::DaemonSet],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let has_surge = !Amount::parse(workload.max_surge()).is_some_and(Amount::is_zero);
    // Of all nodes at once rollout-outage speaks.
    let is_worse = workload.takes_all_down();
    if !workload.rolls() || has_surge || is_worse || !is_asked_on_its_node(workload, settings) {
        return Vec::new();
    }
    let surge = "maxSurge: 1 and maxUnavailable: 0";
    let fix = match workload.surge_blocker() {
        None => format!("set {surge}"),
        Some(blocker) => {
            let remedy = blocker.remedy().map(|it| format!("{it}, and set {surge}; or "));
            format!(
                "{}let clients ask another node meanwhile, and say so in a waiver: {blocker} lets no second pod \
                 run beside the first",
                remedy.unwrap_or_default()
            )
        }
    };
    let message = "maxSurge 0 -> each node is without its pod until the new one is ready";
    vec![Finding::invalid(RULE.id, workload.rolling_block(), message, fix)]
}

/// Whether requests are known to come to the pod of each node: through a Service or a port
/// of the node.
fn is_asked_on_its_node(workload: &Workload, settings: &Settings) -> bool {
    let is_host_port = |port: &ContainerPort| {
        port.host_port.is_some_and(|port| port > 0) || workload.pod().host_network == Some(true)
    };
    let operational = &settings.operational_port_names;
    let mut serving = workload.serving(operational);
    serving.any(|container| {
        !workload.surroundings().services.is_empty()
            || container.application_ports(operational).any(is_host_port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, found_in, of_kind};
    use crate::surroundings::{Service, Surroundings};
    use serde_json::{Value, json};

    fn with(strategy: Value, port: Value) -> Value {
        let mut object = of_kind(Kind::DaemonSet);
        object["spec"]["updateStrategy"] = strategy;
        object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([port]);
        object
    }

    #[test]
    fn a_node_whose_pod_is_asked_is_without_it() {
        let port = json!({"name": "http", "containerPort": 80});
        let host_port = json!({"name": "http", "containerPort": 80, "hostPort": 80});
        let found_fix = |object: &Value| found(&RULE, object).into_iter().map(|it| it.fix).next();
        let fix = found_fix(&with(json!({}), host_port.clone())).expect("a finding");
        assert!(fix.starts_with("serve through a Service instead of the hostPort"), "{fix}");
        assert_eq!(found_fix(&with(json!({}), port.clone())), None, "nothing shows that it is asked there");
        assert_eq!(found_fix(&with(json!({"type": "OnDelete"}), host_port.clone())), None);
        let all = json!({"rollingUpdate": {"maxUnavailable": "100%"}});
        assert_eq!(found_fix(&with(all, host_port.clone())), None, "that is an outage");
        let surge = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        assert_eq!(found_fix(&with(surge, host_port)), None);
        let operational = json!({"name": "metrics", "containerPort": 9090, "hostPort": 9090});
        assert_eq!(found_fix(&with(json!({}), operational)), None);
        let mut on_host = with(json!({}), port.clone());
        on_host["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        assert!(found_fix(&on_host).expect("a finding").starts_with("remove hostNetwork"));
    }

    #[test]
    fn what_a_service_asks_is_asked() {
        let services = vec![Service { name: "web".into(), ports: Vec::new() }];
        let around = Surroundings { services, ..Surroundings::default() };
        let mut object = with(json!({}), json!({"name": "http", "containerPort": 80}));
        let finding = found_in(&RULE, &object, &around).remove(0);
        assert_eq!(finding.fix, "set maxSurge: 1 and maxUnavailable: 0");
        object["spec"]["template"]["spec"]["hostPID"] = json!(true);
        let finding = found_in(&RULE, &object, &around).remove(0);
        assert!(finding.fix.starts_with("let clients ask another node meanwhile"), "{finding:?}");
    }
}
