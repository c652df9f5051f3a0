//! `gapless serve --cluster-context`: what stands around a workload in its cluster counts.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Output;
use crate::support::deployment::{deployment, deployment_with};
use crate::support::fixtures::configuration;
use crate::support::gapless::{install, upgrade};
use crate::support::namespace::Namespace;
use crate::support::service::Service;
use crate::support::{self, Gapless, eventually};

/// Whether a warning of this rule was shown.
fn warns(output: &Output, rule: &str) -> bool {
    let end = format!("({rule})");
    output.stderr.lines().any(|line| line.ends_with(&end))
}

/// Applies `manifest`, changed a little each time, until the rule speaks, or is silent.
#[track_caller]
fn comes_to(namespace: &Namespace, manifest: &Value, rule: &str, is_found: bool) {
    let mut number = 0;
    eventually(rule, || {
        number += 1;
        let mut manifest = manifest.clone();
        manifest["metadata"]["annotations"]["number"] = json!(number.to_string());
        let output = namespace.apply(&manifest.to_string()).ok();
        if warns(&output, rule) == is_found { Ok(()) } else { Err(output.to_string()) }
    });
}

/// A HorizontalPodAutoscaler that keeps at least three replicas of a Deployment.
fn autoscaler(name: &str) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        ]},
    })
}

/// A control plane of its own: whoever else is in it would be told more than before.
#[test]
fn what_is_around_a_workload_counts() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let workloads = "workloads: [Deployment, StatefulSet]";
    let file = cluster.file("config.yaml");
    fs::write(&file, configuration(workloads)).unwrap();
    let gapless = Gapless::start(&cluster, ["--cluster-context", "--config", &file.display().to_string()]);
    install(&cluster, &gapless, &format!("config: {{{workloads}}}"));
    let metrics = || gapless.ops_get("/metrics").1;
    eventually("all kinds", || {
        let metrics = metrics();
        let kinds = [
            "Namespace",
            "Service",
            "PersistentVolumeClaim",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "Deployment",
            "StatefulSet",
            "DaemonSet",
            "ReplicaSet",
            "ControllerRevision",
        ];
        let is_synced = |kind: &&str| metrics.contains(&format!("context_synced{{kind=\"{kind}\"}} 1\n"));
        if kinds.iter().all(is_synced) { Ok(()) } else { Err(gapless.log()) }
    });
    eventually("no series of what is not served", || {
        if metrics().contains("kind=\"Rollout\"") { Err(metrics()) } else { Ok(()) }
    });

    // There are no nodes: its pods never run, and its deadline passes meanwhile.
    let elsewhere = cluster.namespace();
    elsewhere.apply(&deployment_with("stuck", &json!({"progressDeadlineSeconds": 15})).to_string()).ok();

    let namespace = cluster.namespace();
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(1);
    let labels = web["spec"]["selector"]["matchLabels"].clone();
    assert!(warns(&namespace.apply(&web.to_string()).ok(), "single-replica"));

    let autoscaler = autoscaler("web");
    namespace.apply(&autoscaler.to_string()).ok();
    comes_to(&namespace, &web, "single-replica", false);
    namespace.kubectl(["delete", "hpa", "web"]).ok();
    comes_to(&namespace, &web, "single-replica", true);

    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "nowhere"}]},
    });
    namespace.apply(&service.to_string()).ok();
    comes_to(&namespace, &web, "dangling-target-port", true);
    namespace.kubectl(["delete", "service", "web"]).ok();
    comes_to(&namespace, &web, "dangling-target-port", false);

    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
    });
    namespace.apply(&budget.to_string()).ok();
    comes_to(&namespace, &web, "blocking-disruption-budget", true);

    let mut canary = web.clone();
    canary["metadata"]["name"] = json!("canary");
    comes_to(&namespace, &canary, "selector-overlap", true);

    // A sidecar that is a regular container, which drains for 5 s: gapless' sleep is longer.
    let mut meshed = deployment("meshed");
    meshed["spec"]["template"]["metadata"]["annotations"] =
        json!({"sidecar.istio.io/nativeSidecar": "false"});
    assert!(!warns(&namespace.apply(&meshed.to_string()).ok(), "sidecar-stops-first"));
    label(&namespace, "istio-injection=enabled");
    comes_to(&namespace, &meshed, "sidecar-stops-first", true);
    label(&namespace, "istio-injection=disabled");
    comes_to(&namespace, &meshed, "sidecar-stops-first", false);

    a_rollback_by_apply_passes(&cluster.namespace(), &deployment("web"), "replicasets");
    let mut stateful_set = deployment("web");
    stateful_set["kind"] = json!("StatefulSet");
    stateful_set["spec"]["serviceName"] = json!("web");
    a_rollback_by_apply_passes(&cluster.namespace(), &stateful_set, "controllerrevisions");

    let stuck = |default: &str, count: usize| {
        eventually("the stuck rollout", || {
            let series = format!("gapless_context_stuck_rollouts{{default=\"{default}\"}} {count}\n");
            if metrics().contains(&series) { Ok(()) } else { Err(metrics()) }
        });
    };
    stuck("readiness-probe", 1);
    stuck("rolling-update", 1);
    elsewhere.kubectl(["delete", "deployment", "stuck"]).ok();
    stuck("readiness-probe", 0);
}

/// As long as the neighbours stand there, whoever came first, and whoever was started anew.
#[test]
fn what_is_around_a_workload_counts_after_restarts_too() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let gapless = Gapless::start(&cluster, ["--cluster-context"]);
    install(&cluster, &gapless, "");
    let namespace = cluster.namespace();
    let web = deployment("web");
    let labels = &web["spec"]["selector"]["matchLabels"];
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "nowhere"}]},
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}},
    });
    let mut canary = web.clone();
    canary["metadata"]["name"] = json!("canary");
    for neighbour in
        [&service, &budget, &canary, &claim("disk", "ReadWriteOnce"), &claim("share", "ReadWriteMany")]
    {
        namespace.apply(&neighbour.to_string()).ok();
    }
    let [on_disk, on_share] = ["disk", "share"].map(|name| {
        let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": name}});
        let mut workload = deployment(name);
        workload["spec"]["template"]["spec"]["volumes"] = json!([volume]);
        workload
    });
    let all_count = || {
        for rule in ["dangling-target-port", "blocking-disruption-budget", "selector-overlap"] {
            comes_to(&namespace, &web, rule, true);
        }
        comes_to(&namespace, &on_disk, "surge-deadlock", true);
        comes_to(&namespace, &on_share, "surge-deadlock", false);
        is_asked_where_its_service_sends_requests(&namespace);
    };
    all_count();
    cluster.restart_apiserver();
    all_count();
    namespace.kubectl(["delete", "service,pdb", "web"]).ok();
    comes_to(&namespace, &web, "dangling-target-port", false);
    comes_to(&namespace, &web, "blocking-disruption-budget", false);
    namespace.apply(&service.to_string()).ok();
    namespace.apply(&budget.to_string()).ok();
    all_count();
    gapless.terminate();
    let gapless = Gapless::start(&cluster, ["--cluster-context"]);
    upgrade(&cluster, &gapless, "");
    all_count();
    namespace.kubectl(["delete", "service,pdb", "web"]).ok();
    comes_to(&namespace, &web, "dangling-target-port", false);
    comes_to(&namespace, &web, "blocking-disruption-budget", false);
}

fn claim(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}})
}

/// Of two ports, neither of which has a name, the one is asked that a Service targets.
fn is_asked_where_its_service_sends_requests(namespace: &Namespace) {
    let mut api = deployment("api");
    api["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 8080}, {"containerPort": 9090}]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"selector": api["spec"]["selector"]["matchLabels"], "ports": [{"port": 80, "targetPort": 9090}]},
    });
    namespace.apply(&service.to_string()).ok();
    eventually("the probe", || {
        let created = namespace.create(&api.to_string()).args(["--dry-run=server", "-o", "json"]).ok().json();
        let probe = &created["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
        if probe["tcpSocket"]["port"] == 9090 { Ok(()) } else { Err(probe.to_string()) }
    });
    namespace.kubectl(["delete", "service", "api"]).ok();
}

/// gapless reaches the API server by a link that the test cuts; the API server reaches gapless.
#[test]
fn what_was_known_counts_while_the_api_server_is_away() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let link = Service::start();
    let kubeconfig = fs::read_to_string(cluster.kubeconfig("admin")).unwrap();
    let server = cluster.server().trim_start_matches("https://");
    fs::write(cluster.kubeconfig("by-link"), kubeconfig.replace(server, &link.address)).unwrap();
    let gapless = Gapless::start_as(&cluster, "by-link", ["--cluster-context"]);
    install(&cluster, &gapless, "");

    // It is ready, and knows of no autoscaler yet.
    let namespace = cluster.namespace();
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(1);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    let output = namespace.apply(&web.to_string()).ok();
    assert!(warns(&output, "rollout-outage"), "an autoscaler may keep more replicas: {output}");
    gapless.is_ready();

    let autoscaler = autoscaler("web");
    namespace.apply(&autoscaler.to_string()).ok();
    link.route(vec![server.to_owned()]);
    comes_to(&namespace, &web, "rollout-outage", false);
    assert!(gapless.ops_get("/metrics").1.contains("context_objects{kind=\"HorizontalPodAutoscaler\"} 1\n"));

    link.cut();
    namespace.kubectl(["delete", "hpa", "web"]).ok();
    let output = namespace.apply(&web.to_string()).ok();
    assert!(!warns(&output, "rollout-outage"), "what was known last counts: {output}");
    thread::sleep(Duration::from_secs(2));
    link.route(vec![server.to_owned()]);
    // Those of before are forgotten, although nobody saw them go.
    comes_to(&namespace, &web, "rollout-outage", true);
}

/// A release that would be denied is stored before gapless judges. After another one, which
/// gapless completes, the old manifest is applied again, as for a reverted commit.
fn a_rollback_by_apply_passes(namespace: &Namespace, manifest: &Value, revisions: &str) {
    let release = |image: &str| {
        let mut manifest = manifest.clone();
        let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!(image);
        container["resources"] = json!({"limits": {"cpu": "1", "memory": "0.5Gi"}});
        namespace.apply(&manifest.to_string())
    };
    let revisions_are = |number: usize| {
        eventually(revisions, || {
            let list = namespace.kubectl(["get", revisions, "-o", "name"]).ok();
            if list.stdout.lines().count() == number { Ok(()) } else { Err(list.to_string()) }
        });
    };
    let (old, other) = ("registry.example/app:latest", "registry.example/other:latest");
    label(namespace, "gapless.dev/profile=off");
    eventually("profile off", || {
        let output = release(old).run();
        if output.status.success() { Ok(()) } else { Err(output.to_string()) }
    });
    revisions_are(1);
    label(namespace, "gapless.dev/profile=production");
    eventually("profile production", || {
        let mut probe = deployment("probe");
        probe["spec"]["revisionHistoryLimit"] = json!(0);
        let output = namespace.create(&probe.to_string()).args(["--dry-run=server"]).run();
        if output.status.success() { Err(output.to_string()) } else { Ok(()) }
    });

    release("registry.example/app:1.2.3").ok();
    let stored = namespace.get_json(manifest["kind"].as_str().unwrap(), "web");
    assert!(stored["metadata"]["annotations"]["gapless.dev/injected"].is_string(), "{stored:#}");
    revisions_are(2);
    let denied = release(other).fails();
    denied.assert_denied("production", "mutable-image-tag");
    assert!(!denied.stderr.contains("to roll back"), "its revisions are known: {denied}");
    let output = release(old).ok();
    assert!(warns(&output, "mutable-image-tag"), "{output}");
}

fn label(namespace: &Namespace, label: &str) {
    namespace.kubectl(["label", "namespace", &namespace.name, "--overwrite", label]).ok();
}
