//! What the API server checks after the mutating webhooks (kubernetes,
//! pkg/apis/apps/validation and pkg/apis/core/validation), as far as gapless
//! could break it or repair it.

use gapless::kubernetes::kind::Kind;
use serde_json::Value;

use super::dialect;

/// Why the API server would not store the object.
pub fn invalid(object: &Value, old_object: Option<&Value>) -> Option<String> {
    let spec = &object["spec"];
    if old_object.is_some_and(|old| old["spec"]["selector"] != spec["selector"]) {
        return Some("spec.selector: field is immutable".to_owned());
    }
    if let Some(why) = invalid_strategy(spec) {
        return Some(why);
    }
    if dialect::kind().has_progress_deadline()
        && spec["minReadySeconds"].as_i64().unwrap_or(0)
            >= spec["progressDeadlineSeconds"].as_i64().unwrap_or(600)
    {
        return Some("progressDeadlineSeconds: must be greater than minReadySeconds".to_owned());
    }
    if let Some(why) = ["app", "app.kubernetes.io/version", "version"].into_iter().find_map(|key| {
        [&object["metadata"], &spec["template"]["metadata"]].into_iter().find_map(|metadata| {
            let label = metadata["labels"].get(key)?.as_str()?;
            (!is_label_value(label)).then(|| format!("label {key}: {label}"))
        })
    }) {
        return Some(why);
    }
    let pod = &spec["template"]["spec"];
    let grace_period = pod["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    pod["containers"].as_array().into_iter().flatten().find_map(|container| {
        if container["name"].as_str().is_none_or(str::is_empty) {
            return Some("name: Required value".to_owned());
        }
        if container["image"].as_str().is_none_or(str::is_empty) {
            return Some("image: Required value".to_owned());
        }
        let ports = container["ports"].as_array().into_iter().flatten();
        if ports.into_iter().any(|port| port["containerPort"].is_null()) {
            return Some("containerPort: Required value".to_owned());
        }
        let probes = ["readinessProbe", "livenessProbe", "startupProbe"].into_iter();
        let handlers = probes
            .filter_map(|probe| Some((probe, container.get(probe)?)))
            .chain(container["lifecycle"].get("preStop").map(|hook| ("preStop", hook)));
        for (name, handler) in handlers.filter(|(_, handler)| !handler.is_null()) {
            if let Some(why) = invalid_handler(handler, grace_period) {
                return Some(format!("{name}: {why}"));
            }
        }
        None
    })
}

fn invalid_strategy(spec: &Value) -> Option<String> {
    let strategy = match dialect::kind() {
        Kind::Deployment | Kind::Rollout => &spec["strategy"],
        Kind::StatefulSet | Kind::DaemonSet => &spec["updateStrategy"],
    };
    let rolling = match dialect::kind() {
        Kind::Rollout => strategy.get("canary"),
        _ => strategy.get("rollingUpdate"),
    };
    let rolling = rolling.filter(|rolling| !rolling.is_null());
    let is_zero = |amount: &Value| *amount == 0 || *amount == "0%";
    let says = |text: &str| Some(text.to_owned());
    match (dialect::kind(), strategy["type"].as_str(), rolling) {
        (Kind::Deployment, Some("Recreate"), Some(_)) => {
            says("spec.strategy.rollingUpdate: may not be specified for Recreate")
        }
        (Kind::StatefulSet, Some("OnDelete"), Some(_)) => {
            says("spec.updateStrategy.rollingUpdate: only allowed for RollingUpdate")
        }
        (Kind::Deployment | Kind::Rollout, Some("RollingUpdate") | None, Some(rolling)) => {
            let both = is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]);
            both.then(|| "maxUnavailable: may not be 0 when maxSurge is 0".to_owned())
        }
        (Kind::StatefulSet, Some("RollingUpdate"), Some(rolling)) if is_zero(&rolling["maxUnavailable"]) => {
            says("maxUnavailable: cannot be 0")
        }
        (Kind::DaemonSet, Some("RollingUpdate"), Some(rolling)) => {
            let is_one = is_zero(&rolling["maxUnavailable"]) != is_zero(&rolling["maxSurge"]);
            (!is_one).then(|| "maxUnavailable, maxSurge: exactly one must not be 0".to_owned())
        }
        // Its controller wants a strategy; the walk never takes it away.
        (Kind::Rollout, _, None) => says("spec.strategy: no strategy"),
        _ => None,
    }
}

fn is_label_value(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last())
}

fn invalid_handler(handler: &Value, grace_period: i64) -> Option<String> {
    const HANDLERS: [&str; 5] = ["exec", "grpc", "httpGet", "sleep", "tcpSocket"];
    let types: Vec<_> =
        HANDLERS.into_iter().filter(|name| handler.get(name).is_some_and(|it| !it.is_null())).collect();
    let [only] = types[..] else { return Some(format!("{} handler types: {handler}", types.len())) };
    let body = &handler[only];
    match only {
        "sleep" if !(0..=grace_period).contains(&body["seconds"].as_i64().unwrap_or(-1)) => {
            Some(format!("sleep {body} is longer than the grace period {grace_period}"))
        }
        "httpGet" | "tcpSocket" | "grpc" if body["port"].is_null() => Some(format!("no port in {handler}")),
        "exec" if body["command"].as_array().is_none_or(Vec::is_empty) => {
            Some(format!("no command in {handler}"))
        }
        _ => None,
    }
}
