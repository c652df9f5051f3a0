//! Workloads on which a check and its form in CEL could differ.

use std::collections::BTreeMap;

use gapless::kubernetes::kind::Kind;
use json_patch::merge as merge_patch;
use serde_json::{Value, json};

use crate::api_server::agreement;
use crate::support::bench::kubernetes_minor;
use crate::support::deployment::deployment;
use crate::support::fixtures;

/// A workload, and the rules that deny it and that no policy can express, as their pages say.
pub struct Case {
    pub object: Value,
    pub milder: &'static [&'static str],
}

/// By name, which is also the name of the object.
pub type Cases = BTreeMap<String, Case>;

/// The workloads of all pages and fixtures, and those of the table below, but for Rollouts.
pub fn all() -> Cases {
    let shown = agreement::fixtures().into_iter();
    let mut cases: Cases = shown.map(|(name, object)| (name, Case { object, milder: &[] })).collect();
    for file in ["anchors.yaml", "list.yaml", "shop.yaml"] {
        let text = fixtures::text(&format!("check/{file}"));
        for (number, object) in fixtures::deployments(file, &text).into_iter().enumerate() {
            let name = format!("{}-{number}", file.replace('.', "-"));
            cases.insert(name, Case { object, milder: &[] });
        }
    }
    cases.extend(table());
    cases.retain(|_, case| Kind::of_document(&case.object) != Kind::Rollout);
    for (name, case) in &mut cases {
        case.object["metadata"]["name"] = json!(name);
        // Older API servers ask for it.
        if case.object["kind"] == "StatefulSet" {
            case.object["spec"]["serviceName"] = json!(name);
        }
        if let Some(metadata) = case.object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
    }
    cases
}

/// Those of the table.
pub fn table() -> Cases {
    let mut cases = Cases::new();
    let mut add = |name: &str, change: Value, milder: &'static [&'static str]| {
        let mut object = deployment("app");
        merge_patch(&mut object, &change);
        let old = cases.insert(name.to_owned(), Case { object, milder });
        assert!(old.is_none(), "two cases are called {name}");
    };
    images(&mut add);
    hooks(&mut add);
    strategies(&mut add);
    probes(&mut add);
    cases
}

type Add<'a> = &'a mut dyn FnMut(&str, Value, &'static [&'static str]);

/// The only container, with these fields on top.
fn container(fields: Value) -> Value {
    containers(json!([fields]))
}

fn containers(list: Value) -> Value {
    let mut list = list;
    for (number, container) in list.as_array_mut().unwrap().iter_mut().enumerate() {
        let name = if number == 0 { "app".to_owned() } else { format!("app-{number}") };
        let mut whole = json!({"name": name, "image": "registry.example/app:1.2.3"});
        if number == 0 {
            whole["ports"] = json!([{"containerPort": 8080}]);
        }
        merge_patch(&mut whole, container);
        *container = whole;
    }
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

fn images(add: Add) {
    let sha = |count: usize| "0a1b".repeat(count);
    let images = [
        "app",
        "app:latest",
        "app:Latest",
        "app:main",
        "app:v1",
        "app:latest-v1",
        "registry:5000/app",
        "registry:5000/app:v1",
        "[::1]:5000/app",
        "[2001:db8::1]:5000/app:v1",
        "localhost/app",
        "Registry.Example/app:v1",
        "registry.example/App:v1",
        "registry.example/a__b/c--d/e.f_g:v1",
        "registry.example/a___b:v1",
        "registry.example/-a:v1",
        "foo_bar.baz/img:v1",
        "app:v1/x",
        "app:${TAG}",
        "$(IMAGE)",
        "{{ image }}",
        "app:__TAG__",
        "app:2.0241101e+07",
        "app:",
        ":v1",
        " ",
        "app :v1",
        "https://registry.example/app:v1",
        "auto",
        "auto:latest",
    ];
    for (number, image) in images.iter().enumerate() {
        add(&format!("image-{number}"), container(json!({ "image": image })), &[]);
    }
    for (number, image) in [
        format!("app@sha256:{}", sha(16)),
        format!("app:latest@sha256:{}", sha(16)),
        format!("app@sha256:{}", sha(8)),
        format!("app@sha512:{}", sha(32)),
        format!("app@other+b64:{}", sha(8)),
        format!("app@other:{}", sha(7)),
        sha(16),
        format!("app:{}", "t".repeat(128)),
        format!("app:{}", "t".repeat(129)),
    ]
    .iter()
    .enumerate()
    {
        add(&format!("digest-{number}"), container(json!({ "image": image })), &[]);
    }
    // Longer than any registry takes. The length is not counted.
    let long = format!("registry.example/{}:v1", "a".repeat(256));
    add("image-too-long", container(json!({ "image": long })), &["unpullable-image"]);
    let init =
        json!({"spec": {"template": {"spec": {"initContainers": [{"name": "migrate", "image": "db"}]}}}});
    add("image-of-init", init, &[]);
    let istio = |labels: Value, annotations: Value| {
        let mut object = container(json!({"image": "auto"}));
        object["spec"]["template"]["metadata"] = json!({"labels": labels, "annotations": annotations});
        object
    };
    let inject = |value: &str| json!({"sidecar.istio.io/inject": value});
    add("istio-label", istio(inject("true"), json!({})), &[]);
    add("istio-annotation", istio(json!({}), json!({"inject.istio.io/templates": "gateway"})), &[]);
    add("istio-off", istio(inject("false"), json!({"inject.istio.io/templates": "gateway"})), &[]);
    add("istio-empty", istio(json!({"istio.io/rev": ""}), json!({})), &[]);
    let triggered = |triggers: Value, image: &str| {
        let mut object = container(json!({ "image": image }));
        object["metadata"] = json!({"annotations": {"image.openshift.io/triggers": triggers.to_string()}});
        object
    };
    let of = |name: &str| json!([{"fieldPath": format!("spec.template.spec.containers[?(@.name==\"{name}\")].image")}]);
    add("trigger-of-it", triggered(of("app"), " "), &[]);
    add("trigger-of-another", triggered(of("other"), " "), &["unpullable-image"]);
    add("trigger-beside-latest", triggered(of("app"), "app:latest"), &[]);
}

fn hooks(add: Add) {
    let shell = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    let exec = |command: &[&str]| json!({"exec": {"command": command}});
    let native = |seconds: i64| json!({"sleep": {"seconds": seconds}});
    const RULE: &[&str] = &["pre-stop-exceeds-grace"];
    let hooks = [
        (native(30), &[][..]),
        (native(29), &[]),
        (shell("sleep 30"), &[]),
        (shell("sleep 29"), &[]),
        (shell("sleep 31s"), &[]),
        (shell("sleep 40; nginx -s quit"), &[]),
        (shell("sleep 40 && /usr/sbin/nginx -s quit"), &[]),
        (shell("sleep 20; sleep 20"), RULE),
        (shell("sleep 1m"), RULE),
        (shell("sleep 20 20"), RULE),
        (shell("exec sleep 40"), RULE),
        (shell("sleep 40\n"), RULE),
        (shell("[ -e /x ] && sleep 40"), &[]),
        (shell("kill 1; sleep 40"), &[]),
        (shell("sleep 40 & wait"), &[]),
        (shell("# sleep 40"), &[]),
        (shell("sleep"), &[]),
        (exec(&["sleep", "40"]), &[]),
        (exec(&["/bin/sleep", "40"]), &[]),
        (exec(&["sleep 40"]), &[]),
        (exec(&["sh", "-c", "sleep", "40"]), &[]),
        (exec(&["sh", "sleep 40"]), &[]),
        (exec(&["sleep", "40 && nginx -s quit"]), &[]),
        (exec(&["/bin/bash", "-c", "sleep 40"]), &[]),
        (exec(&["busybox", "sleep", "40"]), RULE),
        (exec(&["sleep", "infinity"]), RULE),
        (json!({"httpGet": {"port": 8080}}), &[]),
    ];
    for (number, (hook, milder)) in hooks.into_iter().enumerate() {
        add(&format!("hook-{number}"), container(json!({"lifecycle": {"preStop": hook}})), milder);
    }
    let grace = |seconds: i64, containers: Value| {
        let mut object = containers;
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        object
    };
    let sleeps = |seconds: i64| json!({"lifecycle": {"preStop": exec(&["sleep", &seconds.to_string()])}});
    let serves = json!({"ports": [{"containerPort": 9000}]});
    add("grace-60", grace(60, container(sleeps(60))), &[]);
    add("grace-61", grace(61, container(sleeps(60))), &[]);
    add("grace-0", grace(0, container(sleeps(60))), &[]);
    add("grace-negative", grace(-5, container(sleeps(5))), &[]);
    // The sleep of the other container raises the grace period to 40.
    add("grace-raised", containers(json!([sleeps(35), serves])), &[]);
    // Nothing is injected into a container that serves nobody.
    add("grace-not-raised", containers(json!([sleeps(35), {}])), RULE);
    add("grace-raised-too-little", containers(json!([sleeps(70), serves])), &[]);
    let mut annotated = containers(json!([sleeps(70), serves]));
    annotated["metadata"] = json!({"annotations": {"gapless.dev/pre-stop-seconds": "60"}});
    add("grace-raised-by-annotation", annotated, &[]);
    add("zero-grace-of-a-worker", grace(0, container(json!({"ports": null}))), &[]);
}

fn strategies(add: Add) {
    let recreate = || json!({"spec": {"strategy": {"type": "Recreate"}}});
    let with = |base: Value, change: Value| {
        let mut object = base;
        merge_patch(&mut object, &change);
        object
    };
    let pod = |fields: Value| json!({"spec": {"template": {"spec": fields}}});
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let term = |selector: Value, more: Value| {
        let mut term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selector});
        merge_patch(&mut term, &more);
        pod(
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}),
        )
    };
    let own = json!({"matchLabels": {"app": "app"}});
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
    // Older API servers drop these fields, or know others.
    let newer = |change: Value| if kubernetes_minor() < 34 { json!({}) } else { change };
    let blockers = [
        json!({}),
        pod(json!({ "volumes": claim })),
        pod(json!({"volumes": [{"name": "x", "emptyDir": {}}]})),
        pod(json!({"volumes": [{"name": "x", "awsElasticBlockStore": {"volumeID": "vol-1"}}]})),
        pod(json!({"hostNetwork": true})),
        newer(pod(json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}))),
        container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
        container(json!({"resources": {"limits": {"nvidia.com/gpu": 1}}})),
        container(json!({"resources": {"limits": {"nvidia.com/gpu": 0}}})),
        container(json!({"resources": {"limits": {"hugepages-2Mi": "2Mi", "memory": "1Gi"}}})),
        term(own.clone(), json!({})),
        newer(term(own.clone(), json!({"matchLabelKeys": ["pod-template-hash"]}))),
        term(own.clone(), json!({"topologyKey": "topology.kubernetes.io/zone"})),
        term(json!({"matchLabels": {"app": "other"}}), json!({})),
        term(json!({}), json!({})),
        term(expression("In", json!(["app", "other"])), json!({})),
        term(expression("NotIn", json!(["app"])), json!({})),
        term(expression("Exists", Value::Null), json!({})),
        term(expression("DoesNotExist", Value::Null), json!({})),
        container(json!({"args": ["--leader-elect"]})),
        container(json!({"args": ["--leader-elect=false", "--leader-elect-lease-duration=15s"]})),
        container(json!({"args": ["-leader-elect-lease-duration=15s"]})),
        container(json!({"command": ["sh", "-c", "run\n--enable-leader-election=False"]})),
        container(json!({"command": ["sh", "-c", "run --enable-leader-election=True"]})),
        container(json!({"args": ["--namespace=leaders"]})),
        // What one container turns off says nothing of another.
        containers(json!([{"args": ["--leader-elect=false"]}, {"args": ["--leader-elect-namespace=x"]}])),
    ];
    for (number, blocker) in blockers.into_iter().enumerate() {
        add(&format!("recreate-{number}"), with(recreate(), blocker.clone()), &[]);
        let outage = json!({"spec": {"replicas": 1, "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}});
        add(&format!("outage-{number}"), with(outage, blocker), &[]);
    }
    let amounts = [
        (json!(1), json!("25%"), json!("25%")),
        (json!(1), json!("25%"), json!(0)),
        (json!(1), json!("25%"), json!("0%")),
        (json!(1), json!("99%"), json!(1)),
        (json!(1), json!("100%"), json!(1)),
        (json!(2), json!("50%"), json!(0)),
        (json!(2), json!("100%"), json!("100%")),
        (json!(3), json!("0100%"), json!(1)),
        (json!(2), json!(2), json!(0)),
        (json!(2), json!(3), json!(0)),
        (json!(0), json!(1), json!(0)),
        (json!(1), json!(1), json!(1)),
        (json!(1), json!(0), json!("99999999999999999999%")),
        (Value::Null, json!(1), json!(0)),
        (Value::Null, json!("100%"), json!(1)),
    ];
    for (number, (replicas, unavailable, surge)) in amounts.into_iter().enumerate() {
        let rolling = json!({"maxUnavailable": unavailable, "maxSurge": surge});
        let change = json!({"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}});
        add(&format!("amounts-{number}"), change, &[]);
    }
    let history = json!({"spec": {"revisionHistoryLimit": 0, "replicas": 0}});
    add("no-history", history, &[]);
    for (number, kind) in ["StatefulSet", "DaemonSet"].into_iter().enumerate() {
        let mut bad =
            container(json!({"image": "app", "lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}));
        bad["kind"] = json!(kind);
        bad["spec"]["revisionHistoryLimit"] = json!(0);
        bad["spec"]["replicas"] = if number == 0 { json!(1) } else { Value::Null };
        add(&format!("kind-{number}"), bad, &[]);
        let fine =
            json!({"kind": kind, "spec": {"replicas": if number == 0 { json!(1) } else { Value::Null }}});
        add(&format!("fine-kind-{number}"), fine, &[]);
    }
}

fn probes(add: Add) {
    let named = json!({"httpGet": {"port": "web"}});
    let ports = json!([{"containerPort": 8080, "name": "http"}]);
    for (number, fields) in [
        json!({"readinessProbe": named}),
        json!({"livenessProbe": {"tcpSocket": {"port": "web"}}}),
        json!({"startupProbe": named, "lifecycle": {"preStop": named, "postStart": named}}),
        json!({"readinessProbe": {"httpGet": {"port": "http"}}, "ports": ports}),
        json!({"readinessProbe": {"httpGet": {"port": 1234}}}),
        json!({"readinessProbe": {"grpc": {"port": 1234}}}),
        json!({"readinessProbe": {"exec": {"command": ["true"]}}, "ports": null}),
        json!({"readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 700}}),
        json!({"startupProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 600}}),
        json!({"readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 599}}),
        json!({"livenessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 700}}),
    ]
    .into_iter()
    .enumerate()
    {
        add(&format!("probe-{number}"), container(fields), &[]);
    }
    let sidecar = |fields: Value| {
        let mut sidecar = json!({"name": "proxy", "image": "proxy:v1", "restartPolicy": "Always"});
        merge_patch(&mut sidecar, &fields);
        json!({"spec": {"template": {"spec": {"initContainers": [sidecar]}}}})
    };
    add("sidecar-port", sidecar(json!({"readinessProbe": named})), &[]);
    let late = json!({"startupProbe": {"tcpSocket": {"port": 80}, "initialDelaySeconds": 600}});
    add("sidecar-late", sidecar(late), &[]);
    // Who serves shows in whether Recreate denies.
    for (number, fields) in [
        json!({"ports": [{"containerPort": 9090, "name": "http-metrics"}]}),
        json!({"ports": [{"containerPort": 9090, "name": "metricsd"}]}),
        json!({"ports": [{"containerPort": 53, "protocol": "UDP"}]}),
        json!({"ports": null, "readinessProbe": {"tcpSocket": {"port": 8080}}}),
        json!({"ports": null, "readinessProbe": {"httpGet": {"port": 8080, "host": "192.0.2.1"}}}),
        json!({"ports": null, "readinessProbe": {"grpc": {"port": 8080}}}),
        json!({"ports": null, "readinessProbe": {"exec": {"command": ["true"]}}}),
        json!({"ports": [{"containerPort": 8081, "name": "healthz"}], "readinessProbe": {"httpGet": {"port": "healthz"}}}),
        json!({"ports": [{"containerPort": 8081, "name": "healthz"}], "readinessProbe": {"httpGet": {"port": 8081}}}),
        json!({"image": "quay.io/brancz/kube-rbac-proxy:v0.1"}),
        json!({"image": "quay.io/kube-rbac-proxy/app:v0.1"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut object = container(fields);
        object["spec"]["strategy"] = json!({"type": "Recreate"});
        add(&format!("serves-{number}"), object, &[]);
    }
    let proxy =
        json!({"name": "istio-proxy", "image": "proxyv2:1.20.0", "ports": [{"containerPort": 15090}]});
    let spec = json!({"strategy": {"type": "Recreate"}, "template": {"spec": {"containers": [proxy]}}});
    add("serves-mesh", json!({ "spec": spec }), &[]);
}
