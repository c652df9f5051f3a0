//! The default `readiness-probe`: new pods get no requests before they listen.

use std::fmt;

use serde_json::{Map, Value, json};

use super::phrases::{part, plain};
use super::{DefaultRule, Filled};
use crate::field::FieldPath;
use crate::finding::Problem;
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::IntOrString;
use crate::ownership::owners::Owners;
use crate::ownership::record::{InjectedField, Record};
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::containers::DEFAULT_CONTAINER;
use crate::workload::object::{Container, Probe};

/// The id.
pub const ID: &str = "readiness-probe";

/// The annotations that make the injected probe an `httpGet`.
pub const PATH_ANNOTATION: &str = "gapless.dev/readiness-path";
/// See [`PATH_ANNOTATION`].
pub const PORT_ANNOTATION: &str = "gapless.dev/readiness-port";
/// See [`PATH_ANNOTATION`].
pub const SCHEME_ANNOTATION: &str = "gapless.dev/readiness-scheme";

/// The record of this default.
pub const DEFAULT: DefaultRule = DefaultRule {
    id: ID,
    summary: "a readiness probe, so that a pod gets no requests before it listens",
    page: include_str!("readiness_probe.md"),
    satisfies: &["missing-readiness-probe"],
    fields: |field| matches!(field, InjectedField::ReadinessProbe(_)),
    name,
    phrase,
    may_not_fit: true,
    in_template: true,
    is_enabled: |settings| settings.readiness_probe.enabled,
    fill,
};

/// Why no readiness probe can be injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProbe {
    /// A container has one already.
    Present,
    /// No container serves requests.
    NothingServes,
    /// Several pods of a node would answer on the same port.
    HostNetwork,
    /// Something else already decides when the pod is ready.
    ReadinessGates,
    /// With this strategy, where no new pod takes over from an old one, a probe that never
    /// passes is an outage.
    NoHandOver(String),
    /// Pods that are not the leader may not listen.
    LeaderElection,
    /// These containers serve, and nothing says which one counts.
    SeveralServing(Vec<String>),
    /// This container has several ports, and nothing says which one counts.
    SeveralPorts(String),
    /// This container has ports for operations, and the names of the others do not say
    /// what they are.
    BesideOperational(String),
    /// Services select the pods, and nothing says to which port of this container they
    /// send requests.
    NoTarget(String),
    /// The only port speaks MySQL, whose server counts a connection that is closed before
    /// its handshake as an error and blocks the client's address after 100 of them
    /// (`max_connect_errors`).
    MySql(i32),
    /// This annotation cannot be used, for this reason.
    Annotation(&'static str, String),
}

/// The probe that gapless would inject, and the name of its container.
///
/// # Errors
/// [`NoProbe`] says why there is none.
pub fn choose(workload: &Workload, settings: &Settings) -> Result<(String, Value), NoProbe> {
    if workload.containers().iter().any(|container| container.readiness_probe.is_some()) {
        return Err(NoProbe::Present);
    }
    let container = choose_container(workload, settings)?;
    if workload.asks_for_leader_election() {
        return Err(NoProbe::LeaderElection);
    }
    if !workload.hands_over() {
        return Err(NoProbe::NoHandOver(workload.strategy_type().unwrap_or_default().to_owned()));
    }
    if workload.pod().host_network == Some(true) {
        return Err(NoProbe::HostNetwork);
    }
    if !workload.pod().readiness_gates.is_empty() {
        return Err(NoProbe::ReadinessGates);
    }
    let mut probe = handler(workload, container, settings)?;
    probe.insert("periodSeconds".to_owned(), json!(settings.readiness_probe.period_seconds));
    probe.insert("failureThreshold".to_owned(), json!(settings.readiness_probe.failure_threshold));
    // Nobody does so in a custom resource.
    if !workload.kind().is_defaulted_by_api_server() {
        api_default::fill_probe(&mut probe);
    }
    Ok((container.name.to_owned(), Value::Object(probe)))
}

fn fill(workload: &Workload, _: &Owners, settings: &Settings, _: &Record) -> Filled {
    match choose(workload, settings) {
        Ok((container, probe)) => {
            Filled { fields: vec![(InjectedField::ReadinessProbe(container), probe)], problem: None }
        }
        Err(NoProbe::Annotation(key, why)) => {
            let problem = Problem {
                id: ID.to_owned(),
                annotation: key.to_owned(),
                text: format!("has no effect: {why}"),
            };
            Filled { fields: Vec::new(), problem: Some(problem) }
        }
        Err(_) => Filled::default(),
    }
}

fn choose_container<'w, 'a>(
    workload: &'w Workload<'a>,
    settings: &'w Settings,
) -> Result<&'w Container<'a>, NoProbe> {
    let chosen = workload.probed_container(&settings.operational_port_names);
    chosen.map_err(|serving| match serving[..] {
        [] => NoProbe::NothingServes,
        _ => NoProbe::SeveralServing(serving.into_iter().map(str::to_owned).collect()),
    })
}

/// The handler: what the annotations say, else what the container is known to
/// serve because another probe asks for it, else its port. Never a guessed
/// path: a probe that never passes is worse than none.
fn handler(
    workload: &Workload,
    container: &Container,
    settings: &Settings,
) -> Result<Map<String, Value>, NoProbe> {
    if let Some(handler) = annotated_handler(workload, container, settings)? {
        return Ok(handler);
    }
    if let Some(handler) = copied_handler(workload, container) {
        return Ok(handler);
    }
    let port = workload.probe_port(container, &settings.operational_port_names);
    let port = port.ok_or_else(|| no_port(workload, container, settings))?;
    if container.is_mysql_port(port) {
        return Err(NoProbe::MySql(port));
    }
    Ok(Map::from_iter([("tcpSocket".to_owned(), json!({ "port": port }))]))
}

/// Why no port of `container` can be told from the others.
fn no_port(workload: &Workload, container: &Container, settings: &Settings) -> NoProbe {
    let name = container.name.to_owned();
    let serving = container.application_ports(&settings.operational_port_names).count();
    match () {
        () if !workload.surroundings().services.is_empty() => NoProbe::NoTarget(name),
        () if serving < container.tcp_ports().count() => NoProbe::BesideOperational(name),
        () => NoProbe::SeveralPorts(name),
    }
}

fn annotated_handler(
    workload: &Workload,
    container: &Container,
    settings: &Settings,
) -> Result<Option<Map<String, Value>>, NoProbe> {
    let path = workload.annotation(PATH_ANNOTATION);
    let port = workload.annotation(PORT_ANNOTATION);
    let scheme = workload.annotation(SCHEME_ANNOTATION);
    let Some(path) = path else {
        let lone = [(PORT_ANNOTATION, port), (SCHEME_ANNOTATION, scheme)];
        let lone = lone.into_iter().find_map(|(key, value)| value.map(|_| key));
        return match lone {
            Some(key) => Err(NoProbe::Annotation(key, format!("it needs {PATH_ANNOTATION} beside it"))),
            None => Ok(None),
        };
    };
    if !path.starts_with('/') || path.chars().any(|character| character.is_control() || character == ' ') {
        return Err(NoProbe::Annotation(
            PATH_ANNOTATION,
            format!("{path:?} is no path, write one such as /ready"),
        ));
    }
    let port = match port {
        Some(port) => parse_port(port, container)
            .ok_or_else(|| NoProbe::Annotation(PORT_ANNOTATION, unusable_port(port, container)))?,
        None => {
            let operational = &settings.operational_port_names;
            let port = workload.probe_port(container, operational);
            port.or_else(|| container.unambiguous_port(operational)).ok_or_else(|| {
                let why = format!(
                    "which port of container {} it is for is not known, name one with {PORT_ANNOTATION}",
                    container.name
                );
                NoProbe::Annotation(PATH_ANNOTATION, why)
            })?
        }
    };
    let http_get = match scheme {
        None | Some("HTTP") => json!({"path": path, "port": port}),
        Some("HTTPS") => json!({"path": path, "port": port, "scheme": "HTTPS"}),
        Some(other) => {
            return Err(NoProbe::Annotation(
                SCHEME_ANNOTATION,
                format!("{other:?} is neither HTTP nor HTTPS"),
            ));
        }
    };
    Ok(Some(Map::from_iter([("httpGet".to_owned(), http_get)])))
}

fn parse_port(port: &str, container: &Container) -> Option<i32> {
    match port.parse::<u16>() {
        Ok(0) => None,
        Ok(number) => Some(i32::from(number)),
        Err(_) => container.port_number(IntOrString::String(port)),
    }
}

fn unusable_port(port: &str, container: &Container) -> String {
    let names: Vec<&str> = container.ports.iter().filter_map(|port| port.name).collect();
    let names = if names.is_empty() { String::new() } else { format!(" or one of {}", names.join(", ")) };
    format!("{port:?} is no port of container {}, write a number from 1 to 65535{names}", container.name)
}

/// A copy of the startup probe's handler, else the liveness probe's, with its
/// timeout: an answer that may take 5 s there may take 5 s here.
fn copied_handler(workload: &Workload, container: &Container) -> Option<Map<String, Value>> {
    let (field, probe) = match (&container.startup_probe, &container.liveness_probe) {
        (Some(probe), _) => ("startupProbe", probe),
        (None, Some(probe)) => ("livenessProbe", probe),
        (None, None) => return None,
    };
    let raw = FieldPath::container(container.name).field(field).find(workload.raw())?;
    let (name, handler) = ["httpGet", "tcpSocket", "exec", "grpc"]
        .into_iter()
        .find_map(|name| Some((name, raw.get(name).filter(|handler| !handler.is_null())?)))?;
    let mut handler = handler.clone();
    if let Some(port) = named_port(probe) {
        let number = container.port_number(port)?;
        if name == "tcpSocket" && container.is_mysql_port(number) {
            return None;
        }
        handler.as_object_mut()?.insert("port".to_owned(), json!(number));
    }
    let mut copied = Map::from_iter([(name.to_owned(), handler)]);
    if let Some(timeout) = probe.timeout_seconds.filter(|timeout| *timeout > 1) {
        copied.insert("timeoutSeconds".to_owned(), json!(timeout));
    }
    Some(copied)
}

/// The port of a handler that may name one; a gRPC probe's is a number.
fn named_port<'a>(probe: &Probe<'a>) -> Option<IntOrString<'a>> {
    let http_get = probe.http_get.as_ref().and_then(|handler| handler.port);
    http_get.or_else(|| probe.tcp_socket.as_ref().and_then(|handler| handler.port))
}

/// Why there is no probe, and what would help.
impl fmt::Display for NoProbe {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            NoProbe::Present => f.write_str("there is one"),
            NoProbe::NothingServes => f.write_str("no container serves requests"),
            NoProbe::HostNetwork => f.write_str("none is injected with hostNetwork"),
            NoProbe::ReadinessGates => f.write_str("none is injected beside readinessGates"),
            NoProbe::NoHandOver(strategy) => write!(f, "none is injected with strategy {strategy}"),
            NoProbe::LeaderElection => {
                f.write_str("none is injected with leader election, where pods in waiting may not listen")
            }
            NoProbe::SeveralServing(names) => {
                write!(
                    f,
                    "containers {} serve, annotate the pod template with {DEFAULT_CONTAINER}",
                    names.join(", ")
                )
            }
            NoProbe::SeveralPorts(name) => write!(
                f,
                "container {name} has several ports, annotate {PATH_ANNOTATION} and {PORT_ANNOTATION}"
            ),
            NoProbe::BesideOperational(name) => write!(
                f,
                "what the other ports of container {name} are for is not known, \
                 annotate {PATH_ANNOTATION} and {PORT_ANNOTATION}"
            ),
            NoProbe::NoTarget(name) => write!(
                f,
                "to which port of container {name} its Services send requests is not certain, \
                 annotate {PATH_ANNOTATION} and {PORT_ANNOTATION}"
            ),
            NoProbe::MySql(port) => {
                write!(
                    f,
                    "none is injected on MySQL's port {port}, whose server blocks hosts that only connect"
                )
            }
            NoProbe::Annotation(key, why) => write!(f, "annotation {key} has no effect: {why}"),
        }
    }
}

fn name(field: &InjectedField, probe: &Value) -> String {
    format!("readiness probe{} of container {}", in_words(probe), field.container().unwrap_or_default())
}

fn phrase(field: &InjectedField, from: Option<&Value>, to: Option<&Value>) -> String {
    part("readiness probe", field.container().unwrap_or_default(), from, to, in_words)
}

/// A probe's handler in a few words, such as ` tcpSocket 5000`.
fn in_words(probe: &Value) -> String {
    let field = |handler: &Value, name: &str| handler.get(name).map(plain).unwrap_or_default();
    if let Some(http_get) = probe.get("httpGet") {
        return format!(" httpGet {} on port {}", field(http_get, "path"), field(http_get, "port"));
    }
    for name in ["tcpSocket", "grpc"] {
        if let Some(handler) = probe.get(name) {
            return format!(" {name} {}", field(handler, "port"));
        }
    }
    " exec".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::Origin;
    use crate::surroundings::{Service, ServicePort, Surroundings, Target};
    use crate::workload::Context;

    fn deployment(spec: Value) -> Value {
        json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}})
    }

    fn app(extra: Value) -> Value {
        let mut container = json!({"name": "app", "ports": [{"containerPort": 5000}]});
        container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        deployment(json!({"containers": [container]}))
    }

    fn chosen(object: &Value) -> Result<Value, NoProbe> {
        choose(&Workload::read(object).unwrap(), &Settings::default()).map(|(_, probe)| probe)
    }

    fn probe(handler: &str, value: Value) -> Result<Value, NoProbe> {
        Ok(json!({handler: value, "periodSeconds": 5, "failureThreshold": 3}))
    }

    #[test]
    fn the_only_port_is_probed_by_connecting() {
        assert_eq!(chosen(&app(json!({}))), probe("tcpSocket", json!({"port": 5000})));
    }

    #[test]
    fn another_probe_of_the_container_is_copied_with_its_timeout_and_a_port_number() {
        let ports = json!([{"containerPort": 5000, "name": "http"}, {"containerPort": 7000}]);
        let startup = json!({"ports": ports,
            "startupProbe": {"httpGet": {"path": "/up", "port": "http"}, "timeoutSeconds": 4, "periodSeconds": 1},
            "livenessProbe": {"tcpSocket": {"port": 7000}}});
        let mut expected = probe("httpGet", json!({"path": "/up", "port": 5000})).unwrap();
        expected["timeoutSeconds"] = json!(4);
        assert_eq!(chosen(&app(startup)), Ok(expected));
        let liveness = json!({"ports": ports, "livenessProbe": {"grpc": {"port": 7000}}});
        assert_eq!(chosen(&app(liveness)), probe("grpc", json!({"port": 7000})));
        let exec = json!({"livenessProbe": {"exec": {"command": ["check"]}}});
        assert_eq!(chosen(&app(exec)), probe("exec", json!({"command": ["check"]})));
        let nowhere = json!({"livenessProbe": {"httpGet": {"path": "/", "port": "gone"}}});
        assert_eq!(chosen(&app(nowhere)), probe("tcpSocket", json!({"port": 5000})));
    }

    #[test]
    fn annotations_make_it_an_http_get() {
        let annotated = |annotations: Value| {
            let mut object = app(json!({"ports": [{"containerPort": 5000, "name": "main"}]}));
            object["metadata"]["annotations"] = annotations;
            chosen(&object)
        };
        let path = json!({PATH_ANNOTATION: "/ready"});
        assert_eq!(annotated(path), probe("httpGet", json!({"path": "/ready", "port": 5000})));
        let all = json!({PATH_ANNOTATION: "/ready", PORT_ANNOTATION: "8081", SCHEME_ANNOTATION: "HTTPS"});
        assert_eq!(
            annotated(all),
            probe("httpGet", json!({"path": "/ready", "port": 8081, "scheme": "HTTPS"}))
        );
        let named = json!({PATH_ANNOTATION: "/ready", PORT_ANNOTATION: "main"});
        assert_eq!(annotated(named), probe("httpGet", json!({"path": "/ready", "port": 5000})));

        let unusable = [
            (PATH_ANNOTATION, json!({PATH_ANNOTATION: "ready"})),
            (PATH_ANNOTATION, json!({PATH_ANNOTATION: "/a\nb"})),
            (PORT_ANNOTATION, json!({PATH_ANNOTATION: "/ready", PORT_ANNOTATION: "0"})),
            (PORT_ANNOTATION, json!({PATH_ANNOTATION: "/ready", PORT_ANNOTATION: "70000"})),
            (PORT_ANNOTATION, json!({PATH_ANNOTATION: "/ready", PORT_ANNOTATION: "gone"})),
            (SCHEME_ANNOTATION, json!({PATH_ANNOTATION: "/ready", SCHEME_ANNOTATION: "ftp"})),
            (PORT_ANNOTATION, json!({PORT_ANNOTATION: "5000"})),
            (SCHEME_ANNOTATION, json!({SCHEME_ANNOTATION: "HTTPS"})),
        ];
        for (key, annotations) in unusable {
            let Err(NoProbe::Annotation(named, _)) = annotated(annotations.clone()) else {
                panic!("{annotations} was used")
            };
            assert_eq!(named, key, "{annotations}");
        }
    }

    #[test]
    fn where_a_probe_could_do_harm_there_is_none() {
        let serving = |name: &str| json!({"name": name, "ports": [{"containerPort": 80}]});
        let with = |field: &str, value: Value| {
            let mut object = app(json!({}));
            object["spec"]["template"]["spec"][field] = value;
            chosen(&object)
        };
        assert_eq!(with("hostNetwork", json!(true)), Err(NoProbe::HostNetwork));
        assert_eq!(with("readinessGates", json!([{"conditionType": "lb"}])), Err(NoProbe::ReadinessGates));
        let mut recreate = app(json!({}));
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        assert_eq!(chosen(&recreate), Err(NoProbe::NoHandOver("Recreate".to_owned())));
        assert_eq!(chosen(&app(json!({"args": ["--leader-elect"]}))), Err(NoProbe::LeaderElection));
        let metrics = json!({"ports": [{"containerPort": 7946}, {"containerPort": 9090, "name": "metrics"}]});
        assert_eq!(chosen(&app(metrics)), Err(NoProbe::BesideOperational("app".into())));
        let elsewhere = json!([serving("app"), {"name": "side", "readinessProbe": {"exec": {}}}]);
        assert_eq!(chosen(&deployment(json!({"containers": elsewhere}))), Err(NoProbe::Present));
        for port in [3306, 33060, 6033, 6446, 6447, 6448, 6449] {
            assert_eq!(chosen(&app(json!({"ports": [{"containerPort": port}]}))), Err(NoProbe::MySql(port)));
        }
        let ports = json!({"ports": [{"containerPort": 1}, {"containerPort": 2}]});
        assert_eq!(chosen(&app(ports)), Err(NoProbe::SeveralPorts("app".into())));
        assert_eq!(chosen(&app(json!({"ports": []}))), Err(NoProbe::NothingServes));
    }

    #[test]
    fn where_services_are_known_only_a_port_of_theirs_is_asked() {
        let asked = |target: i32, object: &Value| {
            let port = ServicePort { name: String::new(), target: Target::Number(target) };
            let service = Service { name: "web".into(), ports: vec![port] };
            let surroundings = Surroundings { services: vec![service], ..Surroundings::default() };
            let context =
                Context { surroundings: &surroundings, ..Context::new(Kind::Deployment, Origin::File) };
            let workload = Workload::read_view(View::of(object), context).unwrap();
            choose(&workload, &Settings::default()).map(|(_, probe)| probe)
        };
        assert_eq!(asked(9000, &app(json!({}))), probe("tcpSocket", json!({"port": 9000})));
        assert_eq!(asked(9000, &app(json!({"ports": []}))), probe("tcpSocket", json!({"port": 9000})));
        assert_eq!(asked(3306, &app(json!({}))), Err(NoProbe::MySql(3306)));
        let annotated = |mut object: Value| {
            object["metadata"]["annotations"] = json!({PATH_ANNOTATION: "/ready"});
            object
        };
        let ready = probe("httpGet", json!({"path": "/ready", "port": 9000}));
        assert_eq!(asked(9000, &annotated(app(json!({})))), ready);
        let several = json!([{"name": "a", "ports": [{"containerPort": 1}]}, {"name": "b", "ports": [{"containerPort": 2}]}]);
        assert_eq!(
            asked(2, &deployment(json!({"containers": several}))),
            probe("tcpSocket", json!({"port": 2}))
        );
        assert_eq!(
            asked(3, &deployment(json!({"containers": several}))),
            Err(NoProbe::SeveralServing(vec!["a".into(), "b".into()]))
        );
    }

    #[test]
    fn of_several_serving_containers_the_annotated_one_is_probed() {
        let serving = |name: &str, port: i32| json!({"name": name, "ports": [{"containerPort": port}]});
        let mut object = deployment(json!({"containers": [serving("a", 1), serving("b", 2)]}));
        assert_eq!(chosen(&object), Err(NoProbe::SeveralServing(vec!["a".into(), "b".into()])));
        object["spec"]["template"]["metadata"] = json!({"annotations": {DEFAULT_CONTAINER: "b"}});
        assert_eq!(chosen(&object), probe("tcpSocket", json!({"port": 2})));
    }
}
