//! Random Deployments: the parts that gapless reads or writes, in all
//! combinations that people write and some that nobody should.

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(present))
}

fn int_or_percent() -> impl Strategy<Value = Value> {
    prop_oneof![(0..6).prop_map(Value::from), select(vec!["0%", "25%", "50%", "100%"]).prop_map(Value::from)]
}

fn strategy() -> BoxedStrategy<Value> {
    let rolling =
        (of(int_or_percent()), of(int_or_percent())).prop_filter_map("both zero", |(unavailable, surge)| {
            let is_zero =
                |value: &Option<Value>| value.as_ref().is_some_and(|value| value == 0 || value == "0%");
            let amounts = object(vec![("maxUnavailable", unavailable.clone()), ("maxSurge", surge.clone())]);
            (!(is_zero(&unavailable) && is_zero(&surge)))
                .then(|| json!({"type": "RollingUpdate", "rollingUpdate": amounts}))
        });
    prop_oneof![4 => rolling, 1 => Just(json!({"type": "Recreate"}))].boxed()
}

fn handler(port_names: Vec<&'static str>) -> impl Strategy<Value = (String, Value)> {
    let port = prop_oneof![
        select(vec![80, 5000, 3306]).prop_map(Value::from),
        select(port_names).prop_map(Value::from)
    ];
    prop_oneof![
        port.clone().prop_map(|port| ("httpGet".to_owned(), json!({"path": "/ready", "port": port}))),
        port.prop_map(|port| ("tcpSocket".to_owned(), json!({"port": port}))),
        Just(("exec".to_owned(), json!({"command": ["check"]}))),
        Just(("grpc".to_owned(), json!({"port": 80}))),
    ]
}

fn probe() -> BoxedStrategy<Value> {
    let times = (of(0..700i32), of(1..30i32), of(1..30i32), of(1..10i32));
    (handler(vec!["http", "gone"]), times)
        .prop_map(|((name, handler), (delay, period, timeout, failures))| {
            let mut probe = object(vec![
                ("initialDelaySeconds", delay.map(Value::from)),
                ("periodSeconds", period.map(Value::from)),
                ("timeoutSeconds", timeout.map(Value::from)),
                ("failureThreshold", failures.map(Value::from)),
            ]);
            probe[name] = handler;
            probe
        })
        .boxed()
}

fn lifecycle() -> BoxedStrategy<Value> {
    let hook = prop_oneof![
        (0..30i64).prop_map(|seconds| json!({"sleep": {"seconds": seconds}})),
        select(vec!["sleep 5", "sleep 1m; true", "nginx -s quit"])
            .prop_map(|script| json!({"exec": {"command": ["sh", "-c", script]}})),
        Just(json!({"httpGet": {"path": "/stop", "port": "http"}})),
    ];
    (of(hook.clone()), of(hook))
        .prop_map(|(pre_stop, post_start)| object(vec![("preStop", pre_stop), ("postStart", post_start)]))
        .boxed()
}

fn ports() -> BoxedStrategy<Value> {
    let port = |name: &'static str, number: i32| {
        (of(Just(name)), select(vec!["TCP", "UDP"]), of(select(vec![0, 8080]))).prop_map(
            move |(name, protocol, host_port)| {
                object(vec![
                    ("name", name.map(Value::from)),
                    ("containerPort", Some(json!(number))),
                    ("protocol", (protocol == "UDP").then(|| json!(protocol))),
                    ("hostPort", host_port.filter(|port| *port > 0).map(|_| json!(number))),
                ])
            },
        )
    };
    let all =
        (of(port("http", 80)), of(port("metrics", 9090)), of(port("grpc", 5000)), of(port("mysql", 3306)));
    all.prop_map(|(a, b, c, d)| Value::Array([a, b, c, d].into_iter().flatten().collect())).boxed()
}

fn container(name: &'static str) -> BoxedStrategy<Value> {
    let images = vec![
        "app",
        "app:latest",
        "app:v1.2",
        "registry:5000/app",
        "registry:5000/app:2@sha256:0123456789012345678901234567890123456789012345678901234567890123",
    ];
    let probes = (of(probe()), of(probe()), of(probe()));
    (select(images), ports(), probes, of(lifecycle()))
        .prop_map(move |(image, ports, probes, lifecycle)| {
            object(vec![
                ("name", Some(json!(name))),
                ("image", Some(json!(image))),
                ("ports", Some(ports)),
                ("readinessProbe", probes.0),
                ("livenessProbe", probes.1),
                ("startupProbe", probes.2),
                ("lifecycle", lifecycle),
            ])
        })
        .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    (of(select(vec!["blue", "v9"])), of(select(vec!["3.1", "v1.2"])))
        .prop_map(|(version, well_known)| {
            object(vec![
                ("app", Some(json!("web"))),
                ("version", version.map(Value::from)),
                ("app.kubernetes.io/version", well_known.map(Value::from)),
            ])
        })
        .boxed()
}

fn annotations() -> BoxedStrategy<Value> {
    let path = select(vec!["/ready", "ready", ""]);
    let seconds = select(vec!["0", "7", "x"]);
    let waived =
        select(vec!["readiness-probe", "pre-stop-sleep", "rolling-update", "version-label", "nonsense"]);
    (of(path), of(seconds), of(waived))
        .prop_map(|(path, seconds, waived)| {
            let mut annotations = object(vec![
                ("gapless.dev/readiness-path", path.map(Value::from)),
                ("gapless.dev/pre-stop-seconds", seconds.map(Value::from)),
            ]);
            if let Some(waived) = waived {
                annotations[format!("gapless.dev/waive.{waived}")] = json!("because");
            }
            annotations
        })
        .boxed()
}

/// A record that gapless did not write.
pub fn odd_record() -> impl Strategy<Value = &'static str> {
    select(vec![
        "{",
        "{}",
        "[]",
        r#"{"spec.minReadySeconds":10}"#,
        r#"{"spec.replicas":5}"#,
        r#"{"spec.template.spec.terminationGracePeriodSeconds":60}"#,
        r#"{"spec.template.spec.terminationGracePeriodSeconds":30,"spec.strategy.rollingUpdate.maxSurge":"25%"}"#,
        r#"{"spec.template.metadata.labels[version]":"blue"}"#,
    ])
}

/// Volumes and a claim on the node that keep two generations apart.
fn placement() -> BoxedStrategy<Value> {
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let term =
        json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}});
    (of(Just(claim)), of(Just(affinity)), of(select(vec![0i64, 1, 5, 20, 30, 60])))
        .prop_map(|(volumes, affinity, grace)| {
            object(vec![
                ("volumes", volumes),
                ("affinity", affinity),
                ("terminationGracePeriodSeconds", grace.map(Value::from)),
            ])
        })
        .boxed()
}

/// A Deployment as a user may write it.
pub fn deployment() -> BoxedStrategy<Value> {
    let spec = (of(0..5i32), strategy(), of(0..20i32), of(select(vec![0, 1, 10])), of(select(vec![30, 600])));
    let pod = (container("app"), of(container("side")), of(container("istio-proxy")), placement());
    (annotations(), of(labels()), labels(), spec, pod).prop_map(|(annotations, own_labels, labels, spec, pod)| {
        let mut pod_spec = pod.3;
        pod_spec["containers"] = Value::Array([Some(pod.0), pod.1, pod.2].into_iter().flatten().collect());
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "annotations": annotations, "labels": own_labels.unwrap_or(json!({}))},
            "spec": object(vec![
                ("replicas", spec.0.map(Value::from)),
                ("selector", Some(json!({"matchLabels": {"app": "web"}}))),
                ("strategy", Some(spec.1)),
                ("minReadySeconds", spec.2.map(Value::from)),
                ("revisionHistoryLimit", spec.3.map(Value::from)),
                ("progressDeadlineSeconds", spec.4.map(Value::from)),
                ("template", Some(json!({"metadata": {"labels": labels}, "spec": pod_spec}))),
            ]),
        })
    }).boxed()
}
