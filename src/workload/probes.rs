//! What probes ask for, and how long they wait.

use serde_json::{Value, json};

use super::Workload;
use super::object::{Container, Probe};
use crate::field::FieldPath;
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::IntOrString;
use crate::ownership::record::InjectedField;

const STARTUP: &str = "startupProbe";
const READINESS: &str = "readinessProbe";
const LIVENESS: &str = "livenessProbe";

/// The probes of one container, without one that gapless injected.
#[derive(Debug)]
pub struct WrittenProbes<'w, 'a> {
    /// The container.
    pub container: &'w Container<'a>,
    /// Where the container is.
    pub path: FieldPath,
    /// Decides whether the container has started. Until then no other probe
    /// runs.
    pub startup: Option<&'w Probe<'a>>,
    /// Decides whether the pod gets requests.
    pub readiness: Option<&'w Probe<'a>>,
    /// Decides whether the container goes on or is restarted.
    pub liveness: Option<&'w Probe<'a>>,
}

impl<'w, 'a> WrittenProbes<'w, 'a> {
    /// Each probe with the field that holds it.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &'w Probe<'a>)> + use<'w, 'a> {
        let all = [(STARTUP, self.startup), (READINESS, self.readiness), (LIVENESS, self.liveness)];
        all.into_iter().filter_map(|(field, probe)| Some((field, probe?)))
    }

    /// Whether liveness and readiness ask the application the same question.
    pub fn ask_the_same(&self, raw: &Value) -> bool {
        let handler = |field| {
            let probe = self.path.clone().field(field).find(raw)?;
            handler(probe, self.container)
        };
        let readiness = handler(READINESS);
        readiness.is_some() && readiness == handler(LIVENESS)
    }
}

impl<'a> Workload<'a> {
    /// The probes that users wrote, for each container that may have any.
    pub fn written_probes<'w>(&'w self) -> impl Iterator<Item = WrittenProbes<'w, 'a>> {
        self.long_running_with_path().map(|(container, path)| {
            let injected = InjectedField::ReadinessProbe(container.name.to_owned());
            let readiness = container.readiness_probe.as_ref();
            WrittenProbes {
                container,
                path,
                startup: container.startup_probe.as_ref(),
                readiness: readiness.filter(|_| !self.is_injected(&injected)),
                liveness: container.liveness_probe.as_ref(),
            }
        })
    }
}

/// Seconds and counts, with the API server's defaults. It takes 0 for unset
/// (kubernetes, pkg/apis/core/v1/defaults.go, `SetDefaults_Probe`).
impl<'a> Probe<'a> {
    /// `initialDelaySeconds`, 0 if absent. The kubelet counts them from the
    /// start of the container (kubernetes, pkg/kubelet/prober/worker.go).
    pub fn initial_delay_seconds(&self) -> i64 {
        self.initial_delay_seconds.unwrap_or(0).into()
    }

    /// `periodSeconds`, 10 if unset.
    pub fn period_seconds(&self) -> i64 {
        set_or(self.period_seconds, api_default::PERIOD_SECONDS)
    }

    /// `timeoutSeconds`, 1 if unset.
    pub fn timeout_seconds(&self) -> i64 {
        set_or(self.timeout_seconds, api_default::TIMEOUT_SECONDS)
    }

    /// `failureThreshold`, 3 if unset.
    pub fn failure_threshold(&self) -> i64 {
        set_or(self.failure_threshold, api_default::FAILURE_THRESHOLD)
    }

    /// `successThreshold`, 1 if unset.
    pub fn success_threshold(&self) -> i64 {
        set_or(self.success_threshold, api_default::SUCCESS_THRESHOLD)
    }

    /// Seconds of failures in a row after which the probe gives up.
    pub fn patience_seconds(&self) -> i64 {
        self.period_seconds() * self.failure_threshold()
    }

    /// The port that is asked, and the field that says so.
    pub fn port(&self) -> Option<(&'static str, IntOrString<'a>)> {
        let http_get = self.http_get.as_ref().and_then(|handler| Some(("httpGet.port", handler.port?)));
        let tcp_socket = self.tcp_socket.as_ref().and_then(|handler| Some(("tcpSocket.port", handler.port?)));
        let grpc = self.grpc.as_ref().and_then(|handler| handler.port);
        http_get.or(tcp_socket).or(grpc.map(|port| ("grpc.port", IntOrString::Int(port))))
    }

    /// Whether another host than the pod itself is asked.
    pub fn asks_another_host(&self) -> bool {
        let http_get = self.http_get.as_ref().and_then(|handler| handler.host);
        let tcp_socket = self.tcp_socket.as_ref().and_then(|handler| handler.host);
        http_get.or(tcp_socket).is_some_and(|host| !host.is_empty())
    }
}

fn set_or(value: Option<i32>, api_default: i32) -> i64 {
    value.filter(|value| *value != 0).unwrap_or(api_default).into()
}

/// A probe's handler in one spelling: with the API server's defaults, without
/// empty fields, and its port as a number. Raw JSON, so that fields which
/// gapless does not know take part in a comparison.
fn handler(probe: &Value, container: &Container) -> Option<Value> {
    let (name, handler) = ["exec", "httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .find_map(|name| Some((name, probe.get(name)?.as_object()?)))?;
    let mut handler = handler.clone();
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    handler.retain(|_, value| !is_empty(value));
    if name == "httpGet" {
        handler.entry("path").or_insert(json!("/"));
        handler.entry("scheme").or_insert(json!("HTTP"));
    }
    let port_name = handler.get("port").and_then(Value::as_str).map(IntOrString::String);
    if let Some(number) = port_name.and_then(|name| container.port_number(name)) {
        handler.insert("port".to_owned(), json!(number));
    }
    Some(json!({ name: handler }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_probes(readiness: Value, liveness: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [{
            "name": "app",
            "ports": [{"name": "http", "containerPort": 80}],
            "readinessProbe": readiness,
            "livenessProbe": liveness,
        }]}}}})
    }

    #[test]
    fn zero_and_absent_mean_the_api_servers_default() {
        for unset in [json!({}), json!({"periodSeconds": 0, "timeoutSeconds": 0, "failureThreshold": 0})] {
            let probe: Probe = serde::Deserialize::deserialize(&unset).unwrap();
            let values = (probe.initial_delay_seconds(), probe.period_seconds(), probe.timeout_seconds());
            assert_eq!(values, (0, 10, 1), "{unset}");
            assert_eq!((probe.failure_threshold(), probe.patience_seconds()), (3, 30), "{unset}");
            assert_eq!(probe.success_threshold(), 1, "{unset}");
        }
        let largest = json!({"periodSeconds": i32::MAX, "failureThreshold": i32::MAX});
        let probe: Probe = serde::Deserialize::deserialize(&largest).unwrap();
        assert!(probe.patience_seconds() > i64::from(i32::MAX));
    }

    #[test]
    fn the_port_of_each_handler() {
        let table = [
            (json!({"httpGet": {"port": "http"}}), Some(("httpGet.port", IntOrString::String("http")))),
            (json!({"tcpSocket": {"port": 80}}), Some(("tcpSocket.port", IntOrString::Int(80)))),
            (json!({"grpc": {"port": 81}}), Some(("grpc.port", IntOrString::Int(81)))),
            (json!({"exec": {"command": ["check"]}}), None),
        ];
        for (probe, port) in table {
            let probe: Probe = serde::Deserialize::deserialize(&probe).unwrap();
            assert_eq!(probe.port(), port);
        }
    }

    #[test]
    fn an_empty_host_is_the_pod_itself() {
        for (host, is_another) in [(json!(null), false), (json!(""), false), (json!("127.0.0.1"), true)] {
            for handler in ["httpGet", "tcpSocket"] {
                let raw = json!({handler: {"port": 80, "host": host}});
                let probe: Probe = serde::Deserialize::deserialize(&raw).unwrap();
                assert_eq!(probe.asks_another_host(), is_another, "{raw}");
            }
        }
    }

    #[test]
    fn the_same_question_in_another_spelling() {
        let asks_the_same = |readiness: Value, liveness: Value| {
            let raw = with_probes(readiness, liveness);
            let workload = Workload::read(&raw).unwrap();
            workload.written_probes().next().unwrap().ask_the_same(&raw)
        };
        let get = |handler: Value| json!({"httpGet": handler});
        let same = [
            (json!({"tcpSocket": {"port": 80}}), json!({"tcpSocket": {"port": "http"}})),
            (get(json!({"port": 80})), get(json!({"path": "/", "port": "http", "scheme": "HTTP"}))),
            (get(json!({"port": 80, "httpHeaders": []})), get(json!({"port": 80, "host": null}))),
            (json!({"grpc": {"port": 80}}), json!({"grpc": {"port": 80, "service": ""}})),
            (json!({"exec": {"command": ["a"]}}), json!({"exec": {"command": ["a"]}, "periodSeconds": 1})),
        ];
        for (readiness, liveness) in same {
            assert!(asks_the_same(readiness.clone(), liveness.clone()), "{readiness} {liveness}");
        }
        let header = json!({"port": 80, "httpHeaders": [{"name": "X-Probe", "value": "liveness"}]});
        let different = [
            (get(json!({"port": 80})), json!({"tcpSocket": {"port": 80}})),
            (get(json!({"port": 80, "path": "/ready"})), get(json!({"port": 80, "path": "/live"}))),
            (get(json!({"port": 80})), get(json!({"port": 81}))),
            (get(json!({"port": 80})), get(json!({"port": 80, "scheme": "HTTPS"}))),
            (get(json!({"port": 80})), get(header)),
            (get(json!({"port": 80})), get(json!({"port": 80, "protocol": "HTTP2"}))),
            (json!({"grpc": {"port": 80}}), json!({"grpc": {"port": 80, "service": "live"}})),
            (json!({"exec": {"command": ["a"]}}), json!({"exec": {"command": ["a", "b"]}})),
            (get(json!({"port": 80})), json!(null)),
            (json!(null), json!(null)),
        ];
        for (readiness, liveness) in different {
            assert!(!asks_the_same(readiness.clone(), liveness.clone()), "{readiness} {liveness}");
        }
    }

    #[test]
    fn what_gapless_injected_is_not_written() {
        let probe = json!({"tcpSocket": {"port": 80}});
        let mut raw = with_probes(probe.clone(), probe.clone());
        let fields = |raw: &Value| -> Vec<&'static str> {
            let workload = Workload::read(raw).unwrap();
            workload.written_probes().flat_map(|probes| probes.each().map(|(field, _)| field)).collect()
        };
        assert_eq!(fields(&raw), [READINESS, LIVENESS]);
        let record = json!({"spec.template.spec.containers[app].readinessProbe": probe});
        raw["metadata"] = json!({"annotations": {crate::ownership::record::ANNOTATION: record.to_string()}});
        assert_eq!(fields(&raw), [LIVENESS]);
        raw["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
        assert_eq!(fields(&raw), [READINESS, LIVENESS], "the user has taken it over");
    }
}
