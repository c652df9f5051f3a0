//! What the API server is going to reject, as far as gapless can tell.
//!
//! What is *missing* makes a part of an object: that is what Kustomize merges into other
//! objects. What is *wrong* is a mistake in a whole one. What does not *go together* is a
//! mistake in a file; in a cluster gapless may itself have to take away its own half, so
//! that the gates do not ask for it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Container, Probe};
use super::{Strategy, Workload};
use crate::field::FieldPath;
use crate::kubernetes::int_or_string::{Amount, IntOrString};
use crate::kubernetes::kind::Kind;
use crate::names::is_port_name;

/// A value that the API server rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field.
    pub field: FieldPath,
    /// What is wrong with it.
    pub message: String,
}

/// What an object lacks that the API server requires, such as `spec.selector`; nothing
/// if it is whole. It may have the wrong types.
pub fn missing(object: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    if is_filled(object, &["spec", "workloadRef"]) {
        return missing;
    }
    if !["matchLabels", "matchExpressions"].iter().any(|it| is_filled(object, &["spec", "selector", it])) {
        missing.push("spec.selector".to_owned());
    }
    let pod = at(object, &["spec", "template", "spec"]);
    if !pod.is_some_and(|pod| is_filled(pod, &["containers"])) {
        missing.push("spec.template.spec.containers".to_owned());
    }
    for list in ["containers", "initContainers"] {
        let items = pod.and_then(|pod| pod.get(list)?.as_array()).into_iter().flatten();
        for (index, container) in items.enumerate().filter(|(_, container)| container.is_object()) {
            // A value of another type is no text, but it is there.
            let lacks = |field: &str| match container.get(field) {
                None | Some(Value::Null) => true,
                Some(value) => value.as_str() == Some(""),
            };
            match container.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
                Some(name) if lacks("image") => missing.push(format!("the image of container {name}")),
                None if lacks("name") => missing.push(format!("spec.template.spec.{list}[{index}].name")),
                _ => {}
            }
        }
    }
    missing
}

fn at<'v>(object: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, key| value.get(*key))
}

/// Whether there is something; if it is a list or a map, something in it.
fn is_filled(object: &Value, path: &[&str]) -> bool {
    match at(object, path) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

impl Workload<'_> {
    /// Why the API server is going to reject this object, if gapless can tell.
    /// Mutating webhooks run before validation, so such objects do arrive;
    /// they are left alone, and the API server's own message reaches the user.
    pub fn is_invalid(&self) -> bool {
        !missing(self.raw()).is_empty() || self.mistake().is_some()
    }

    /// The first value that the API server rejects, whatever stands beside it. Nothing
    /// that gapless writes, or takes away again, is part of it.
    pub fn mistake(&self) -> Option<Mistake> {
        self.wrong_number()
            .or_else(|| self.wrong_strategy())
            .or_else(|| self.wrong_selector())
            .or_else(|| self.wrong_container())
    }

    fn wrong_number(&self) -> Option<Mistake> {
        let spec = self.spec();
        let numbers = [
            ("spec.replicas", spec.replicas),
            ("spec.minReadySeconds", spec.min_ready_seconds),
            ("spec.revisionHistoryLimit", spec.revision_history_limit),
            ("spec.progressDeadlineSeconds", spec.progress_deadline_seconds),
            ("spec.updateStrategy.rollingUpdate.partition", spec.update_strategy.rolling_update.partition),
        ];
        let (field, number) =
            numbers.into_iter().find_map(|(field, number)| Some((field, number.filter(|it| *it < 0)?)))?;
        mistake(FieldPath::new(field), format!("{number} is negative"))
    }

    fn wrong_strategy(&self) -> Option<Mistake> {
        if self.strategy() == Strategy::Unknown {
            return self.unknown_strategy();
        }
        if !self.rolls() {
            return None;
        }
        let amounts = [("maxUnavailable", self.max_unavailable()), ("maxSurge", self.max_surge())];
        for (name, amount) in amounts {
            let field = self.rolling_block().field(name);
            match (Amount::parse(amount), self.kind()) {
                (None, _) => {
                    return mistake(field, format!("{} is neither a count nor a percentage", quoted(amount)));
                }
                // The controller of Rollouts takes it.
                (Some(_), Kind::Rollout) => {}
                (Some(Amount::Percent(percent)), kind)
                    if percent > 100 && (name == "maxUnavailable" || kind == Kind::DaemonSet) =>
                {
                    return mistake(field, format!("{amount} is more than 100%"));
                }
                (Some(amount), Kind::StatefulSet) if name == "maxUnavailable" && amount.is_zero() => {
                    return mistake(
                        field,
                        "a StatefulSet makes no new pod before an old one is gone, so it must not be 0"
                            .to_owned(),
                    );
                }
                _ => {}
            }
        }
        None
    }

    fn unknown_strategy(&self) -> Option<Mistake> {
        let field = FieldPath::new(self.kind().strategy_field());
        let known = match self.kind() {
            Kind::Rollout => {
                let strategy = &self.spec().strategy;
                let message = match strategy.canary.is_some() && strategy.blue_green.is_some() {
                    true => "canary and blueGreen must not stand beside each other",
                    false => "there must be one of canary and blueGreen",
                };
                return mistake(field, message.to_owned());
            }
            Kind::Deployment => "RollingUpdate and Recreate",
            Kind::StatefulSet | Kind::DaemonSet => "RollingUpdate and OnDelete",
        };
        let written = self.strategy_type().unwrap_or_default();
        mistake(field.field("type"), format!("{written:?} is no strategy; there are {known}"))
    }

    fn wrong_selector(&self) -> Option<Mistake> {
        let selector = &self.spec().selector;
        if self.refers_to_template() || selector.matches(self.pod_labels()) {
            return None;
        }
        let differing =
            selector.match_labels.iter().find(|(key, value)| self.pod_labels().get(*key) != Some(value));
        let message = match differing {
            Some((key, value)) => {
                format!("it asks for {key}={value}, which is no label in spec.template.metadata.labels")
            }
            None => "it does not match spec.template.metadata.labels".to_owned(),
        };
        mistake(FieldPath::new("spec.selector"), message)
    }

    fn wrong_container(&self) -> Option<Mistake> {
        let mut names = BTreeSet::new();
        for listed in self.all_containers() {
            let name = listed.container.name;
            if !names.insert(name) {
                return mistake(listed.path(), format!("two containers have the name {name}"));
            }
            if let Some((within, message)) = wrong_port(listed.container) {
                return mistake(listed.path().field(within), message);
            }
        }
        None
    }

    fn contradictory_strategy(&self) -> Option<Mistake> {
        let rolling = self.rolling_update();
        let has_amounts = rolling.max_unavailable.is_some() || rolling.max_surge.is_some();
        let is_beside = match self.strategy() {
            Strategy::Recreate => has_amounts.then_some("Recreate"),
            Strategy::OnDelete if self.kind() == Kind::StatefulSet => {
                (has_amounts || rolling.partition.is_some()).then_some("OnDelete")
            }
            _ => None,
        };
        if let Some(strategy) = is_beside {
            let message = format!("it must not stand beside the strategy {strategy}");
            return mistake(self.rolling_block(), message);
        }
        if !self.rolls() || !self.kind().has_surge() {
            return None;
        }
        let is_zero = |amount: IntOrString| Amount::parse(amount).is_some_and(Amount::is_zero);
        let both = |is: bool| is_zero(self.max_unavailable()) == is && is_zero(self.max_surge()) == is;
        // What a DaemonSet does not say of the two, gapless may fill in.
        let says_both = rolling.max_unavailable.is_some() && rolling.max_surge.is_some();
        let message = match self.kind() {
            Kind::DaemonSet if says_both && (both(true) || both(false)) => {
                "of maxUnavailable and maxSurge of a DaemonSet one must be 0, and only one"
            }
            Kind::Deployment | Kind::Rollout if both(true) => {
                "maxUnavailable and maxSurge must not both be 0"
            }
            _ => return None,
        };
        mistake(self.rolling_block(), message.to_owned())
    }

    /// The first values that the API server does not accept beside one another.
    pub fn contradiction(&self) -> Option<Mistake> {
        if let Some(mistake) = self.contradictory_strategy() {
            return Some(mistake);
        }
        if self.kind().has_progress_deadline() && self.progress_deadline_seconds() <= self.min_ready_seconds()
        {
            let (deadline, ready) = (self.progress_deadline_seconds(), self.min_ready_seconds());
            let message =
                format!("it must be more than minReadySeconds, and {deadline} is not more than {ready}");
            return mistake(FieldPath::new("spec.progressDeadlineSeconds"), message);
        }
        self.containers().iter().find_map(|container| {
            let (name, _) = probes(container).find(|(_, probe)| handlers(probe) > 1)?;
            let field = FieldPath::container(container.name).field(name);
            mistake(field, "a probe has one handler: exec, httpGet, tcpSocket or grpc".to_owned())
        })
    }
}

fn mistake(field: FieldPath, message: String) -> Option<Mistake> {
    Some(Mistake { field, message })
}

/// Texts in quotes, so that a placeholder or a blank is seen.
fn quoted(value: IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => format!("{text:?}"),
    }
}

fn probes<'c>(container: &'c Container<'c>) -> impl Iterator<Item = (&'static str, &'c Probe<'c>)> {
    let all = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    all.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?)))
}

fn handlers(probe: &Probe) -> usize {
    let there =
        [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    there.into_iter().filter(|it| *it).count()
}

/// The field of the container whose port no API server takes, and why.
fn wrong_port(container: &Container) -> Option<(&'static str, String)> {
    let out_of_range = |port: i32| !(1..=65535).contains(&port);
    if let Some(port) = container.ports.iter().map(|port| port.container_port).find(|it| out_of_range(*it)) {
        return Some(("ports", format!("{port} is no port")));
    }
    probes(container).find_map(|(name, probe)| {
        let http = probe.http_get.as_ref().and_then(|it| it.port);
        let tcp = probe.tcp_socket.as_ref().and_then(|it| it.port);
        let is_wrong = |port: &IntOrString| match port {
            IntOrString::Int(port) => out_of_range(*port),
            IntOrString::String(name) => !is_port_name(name),
        };
        let port = http.into_iter().chain(tcp).find(is_wrong)?;
        Some((name, format!("{} is neither the number nor the name of a port", quoted(port))))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A whole Deployment, with what `changes` say: JSON pointers and their values.
    fn changed(changes: &[(&str, Value)]) -> Value {
        let mut object = json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {}},
                "template": {
                    "metadata": {"labels": {"app": "web", "tier": "front"}},
                    "spec": {
                        "initContainers": [{"name": "init", "image": "init:1"}],
                        "containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}],
                    },
                },
            },
        });
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match object.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
                parent => parent[key] = value.clone(),
            }
        }
        object
    }

    #[test]
    fn a_part_lacks_what_the_api_server_requires() {
        let table = [
            (vec![], ""),
            (vec![("/spec", Value::Null)], "spec.selector, spec.template.spec.containers"),
            (vec![("/spec/selector", json!({}))], "spec.selector"),
            (vec![("/spec/selector", json!({"matchLabels": {}, "matchExpressions": []}))], "spec.selector"),
            (vec![("/spec/selector", json!({"matchLabels": null}))], "spec.selector"),
            (
                vec![("/spec/selector", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}))],
                "",
            ),
            (vec![("/spec/template/spec", json!({}))], "spec.template.spec.containers"),
            (vec![("/spec/template/spec/containers", json!([]))], "spec.template.spec.containers"),
            (vec![("/spec/template/spec/containers/0", json!({"name": "a"}))], "the image of container a"),
            (vec![("/spec/template/spec/containers/1/image", json!(""))], "the image of container log"),
            (vec![("/spec/template/spec/containers/1/image", Value::Null)], "the image of container log"),
            (
                vec![("/spec/template/spec/initContainers/0/image", Value::Null)],
                "the image of container init",
            ),
            (
                vec![("/spec/template/spec/containers/1/name", Value::Null)],
                "spec.template.spec.containers[1].name",
            ),
            // Wrong, but there.
            (vec![("/spec/template/spec/containers/1/image", json!(1.5))], ""),
            (vec![("/spec/template/spec/containers", json!("x"))], ""),
        ];
        for (changes, expected) in table {
            assert_eq!(missing(&changed(&changes)).join(", "), expected, "{changes:?}");
        }
    }

    #[test]
    fn a_mistake_is_what_the_api_server_rejects() {
        let spec = |field: &str| format!("/spec/{field}");
        let rolling = "/spec/strategy/rollingUpdate";
        let probe = "/spec/template/spec/containers/0/readinessProbe";
        let table = [
            (spec("replicas"), json!(-1), "spec.replicas: -1 is negative"),
            (spec("minReadySeconds"), json!(-1), "spec.minReadySeconds: -1 is negative"),
            (spec("revisionHistoryLimit"), json!(-2), "spec.revisionHistoryLimit: -2 is negative"),
            (spec("progressDeadlineSeconds"), json!(-3), "spec.progressDeadlineSeconds: -3 is negative"),
            (
                spec("strategy"),
                json!({"type": "Rolling"}),
                "spec.strategy.type: \"Rolling\" is no strategy; there are RollingUpdate and Recreate",
            ),
            (
                rolling.to_owned(),
                json!({"maxUnavailable": "abc"}),
                "spec.strategy.rollingUpdate.maxUnavailable: \"abc\" is neither a count nor a percentage",
            ),
            (
                rolling.to_owned(),
                json!({"maxSurge": "${SURGE}"}),
                "spec.strategy.rollingUpdate.maxSurge: \"${SURGE}\" is neither a count nor a percentage",
            ),
            (
                rolling.to_owned(),
                json!({"maxUnavailable": "101%"}),
                "spec.strategy.rollingUpdate.maxUnavailable: 101% is more than 100%",
            ),
            (
                "/spec/template/metadata/labels".to_owned(),
                json!({"app": "shop"}),
                "spec.selector: it asks for app=web, which is no label in spec.template.metadata.labels",
            ),
            (
                spec("selector"),
                json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
                "spec.selector: it does not match spec.template.metadata.labels",
            ),
            (
                "/spec/template/spec/containers/1/name".to_owned(),
                json!("web"),
                "spec.template.spec.containers[web]: two containers have the name web",
            ),
            (
                "/spec/template/spec/initContainers/0/name".to_owned(),
                json!("log"),
                "spec.template.spec.initContainers[log]: two containers have the name log",
            ),
            (
                "/spec/template/spec/containers/0/ports".to_owned(),
                json!([{"containerPort": 70000}]),
                "spec.template.spec.containers[web].ports: 70000 is no port",
            ),
            (
                probe.to_owned(),
                json!({"httpGet": {"port": "$(PORT)"}}),
                "spec.template.spec.containers[web].readinessProbe: \"$(PORT)\" is neither the number nor the name of a port",
            ),
        ];
        for (pointer, value, expected) in table {
            let object = changed(&[(pointer.as_str(), value)]);
            let workload = Workload::read(&object).unwrap();
            let found = workload.mistake().map(|it| format!("{}: {}", it.field, it.message));
            assert_eq!(found.as_deref(), Some(expected));
            assert!(workload.is_invalid());
            assert_eq!(missing(&object), Vec::<String>::new());
        }
        for (pointer, value) in [
            (spec("replicas"), json!(0)),
            (rolling.to_owned(), json!({"maxUnavailable": "100%", "maxSurge": "300%"})),
            (spec("strategy"), json!({"type": "Recreate"})),
            (
                spec("selector"),
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]}),
            ),
            (probe.to_owned(), json!({"tcpSocket": {"port": "http-2"}})),
            (probe.to_owned(), json!({"tcpSocket": {"port": 65535}})),
        ] {
            let object = changed(&[(pointer.as_str(), value)]);
            let workload = Workload::read(&object).unwrap();
            assert_eq!(workload.mistake(), None);
            assert!(!workload.is_invalid());
        }
    }

    #[test]
    fn a_contradiction_is_between_two_values() {
        let table = [
            (
                json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
                Some("it must not stand beside the strategy Recreate"),
            ),
            (json!({"type": "Recreate", "rollingUpdate": null}), None),
            (
                json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
                Some("maxUnavailable and maxSurge must not both be 0"),
            ),
            (json!({"rollingUpdate": {"maxSurge": 0}}), None),
        ];
        for (strategy, expected) in table {
            let object = changed(&[("/spec/strategy", strategy)]);
            let workload = Workload::read(&object).unwrap();
            assert_eq!(workload.contradiction().map(|it| it.message).as_deref(), expected, "{object}");
            // In a cluster gapless looks at these, since one half may be its own.
            assert!(!workload.is_invalid());
        }
        let object = changed(&[("/spec/minReadySeconds", json!(600))]);
        let found = Workload::read(&object).unwrap().contradiction().unwrap();
        assert_eq!(found.field.to_string(), "spec.progressDeadlineSeconds");
        let both = json!({"exec": {}, "httpGet": {"port": 80}});
        let object = changed(&[("/spec/template/spec/containers/0/livenessProbe", both)]);
        let found = Workload::read(&object).unwrap().contradiction().unwrap();
        assert_eq!(found.field.to_string(), "spec.template.spec.containers[web].livenessProbe");
    }
}
