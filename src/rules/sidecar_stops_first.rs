//! The rule `sidecar-stops-first`.

use std::time::Duration;

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::mesh::{Drain, Mesh};
use crate::workload::object::Container;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "sidecar-stops-first",
    summary: "a container that carries another one's traffic ends before it",
    page: include_str!("sidecar_stops_first.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    if !workload.hands_over() {
        return Vec::new();
    }
    let is_proxy = |container: &&Container| container.carries_traffic(&settings.proxy_images);
    let longest = workload
        .serving(&settings.operational_port_names)
        .filter(|container| !is_proxy(container))
        .map(|container| (sleep(container), container))
        .max_by_key(|(sleep, _)| *sleep);
    let Some((longest, served)) = longest.filter(|(sleep, _)| !sleep.is_zero()) else { return Vec::new() };

    let seconds = longest.as_secs();
    let proxies = workload.containers().iter().filter(is_proxy).filter(|container| {
        // What another hook than a sleep waits for is not known.
        let is_known = container
            .lifecycle
            .pre_stop
            .as_ref()
            .is_none_or(|hook| hook.sleep.is_some() || hook.is_sleep_by_exec());
        is_known && sleep(container) < longest
    });
    let of_proxies = proxies.map(|proxy| {
        let message = format!(
            "{} carries the traffic of {}, which still serves for {seconds} s when it has ended",
            proxy.name, served.name
        );
        let fix = format!(
            "make it a native sidecar (an init container with restartPolicy: Always), or let its preStop sleep \
             {seconds} seconds too"
        );
        let field = FieldPath::container(proxy.name).field("lifecycle.preStop");
        Finding::invalid(RULE.id, field, message, fix)
    });
    let of_mesh = Mesh::of(workload).and_then(|mesh| describe_mesh(&mesh, longest));
    of_proxies.chain(of_mesh).collect()
}

fn sleep(container: &Container) -> Duration {
    container.lifecycle.pre_stop.as_ref().map_or(Duration::ZERO, |hook| hook.told().after)
}

fn describe_mesh(mesh: &Mesh, longest: Duration) -> Option<Finding> {
    let drain = match mesh.drain {
        Drain::For(drain) if drain < longest => drain,
        _ => return None,
    };
    let message = format!(
        "{} drains for {} s, and the application still serves for {} s: after that it has no network",
        mesh.name,
        drain.as_secs(),
        longest.as_secs(),
    );
    let fix = format!("{}; or let it inject native sidecars", mesh.fix(longest));
    let field = FieldPath::new("spec.template.metadata.annotations");
    let finding = Finding::invalid(RULE.id, field, message, fix);
    // By default it is a native sidecar today, which outlives the application.
    Some(if mesh.is_classic { finding } else { finding.at_most(Action::Audit) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::{Value, json};

    /// [`web`], which sleeps for 10 s, with this container beside it.
    fn beside(container: Value) -> Vec<String> {
        let mut object = web();
        let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers.push(container);
        found(&RULE, &object).into_iter().map(|finding| finding.field.to_string()).collect()
    }

    fn proxy(image: &str, pre_stop: Value) -> Value {
        json!({"name": "proxy", "image": image, "lifecycle": {"preStop": pre_stop}})
    }

    #[test]
    fn a_proxy_that_ends_first() {
        let field = ["spec.template.spec.containers[proxy].lifecycle.preStop"];
        let image = "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.14.0@sha256:0";
        assert_eq!(beside(proxy(image, json!(null))), field);
        assert_eq!(beside(proxy(image, json!({"sleep": {"seconds": 3}}))), field);
        assert_eq!(beside(proxy(image, json!({"exec": {"command": ["sleep", "3"]}}))), field);
    }

    #[test]
    fn a_proxy_that_stays_long_enough_or_does_what_nobody_knows() {
        let image = "pgbouncer";
        assert!(beside(proxy(image, json!({"sleep": {"seconds": 10}}))).is_empty());
        assert!(beside(proxy(image, json!({"sleep": {"seconds": 12}}))).is_empty());
        assert!(beside(proxy(image, json!({"exec": {"command": ["wait-for-clients"]}}))).is_empty());
        assert!(beside(proxy("registry.example/pgbouncer-exporter:1", json!(null))).is_empty());
    }

    #[test]
    fn the_sidecar_of_a_mesh_is_worth_a_note_and_a_classic_one_a_warning() {
        let with = |annotations: Value| {
            let mut object = web();
            object["spec"]["template"]["metadata"]["annotations"] = annotations;
            found(&RULE, &object).first().map(|finding| finding.at_most)
        };
        assert_eq!(with(json!({"sidecar.istio.io/inject": "true"})), Some(Action::Audit));
        let classic = json!({"sidecar.istio.io/inject": "true", "sidecar.istio.io/nativeSidecar": "false"});
        assert_eq!(with(classic), Some(Action::Deny), "as far as the profile goes");
        assert_eq!(with(json!({})), None);
    }
}
