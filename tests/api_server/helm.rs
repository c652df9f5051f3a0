//! What Helm does with the chart, from the installation to the end, on a real API
//! server that calls gapless through the chart's Service, with failurePolicy Fail.

mod kube_proxy;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use self::kube_proxy::KubeProxy;
use crate::support::client::Invocation;
use crate::support::fixtures::{repository_file, scenario};
use crate::support::gapless::{CONFIGURATIONS, RELEASE_NAMESPACE, wait_for_webhooks};
use crate::support::load::Load;
use crate::support::namespace::Namespace;
use crate::support::service::Service;
use crate::support::{self, Cluster, Gapless, eventually};

/// A revision of the release.
struct Revision {
    values: &'static str,
    /// Profiles with webhook entries.
    profiles: &'static [&'static str],
    timeout_seconds: u64,
    /// The preStop sleep that the default profile injects.
    sleep_seconds: u64,
}

const INSTALLED: Revision = Revision {
    // More patience than usual, for the machine may be busy with other tests.
    values: "webhooks: {failurePolicy: Fail, timeoutSeconds: 20}",
    profiles: &["advisory", "development", "production"],
    timeout_seconds: 20,
    sleep_seconds: 10,
};

/// One more profile, and another default.
const ANOTHER_CONFIGURATION: Revision = Revision {
    values: "
        webhooks: {failurePolicy: Fail, timeoutSeconds: 20}
        config:
          profiles:
            payments: {extends: production}
            production: {defaults: {pre-stop-sleep: {seconds: 20}}}
    ",
    profiles: &["advisory", "development", "payments", "production"],
    timeout_seconds: 20,
    sleep_seconds: 20,
};

/// One profile goes, one comes, and every entry changes.
const OTHER_WEBHOOKS: Revision = Revision {
    values: "
        webhooks: {failurePolicy: Fail, timeoutSeconds: 30}
        config:
          profiles:
            batch: {extends: development}
            production: {defaults: {pre-stop-sleep: {seconds: 20}}}
    ",
    profiles: &["advisory", "batch", "development", "production"],
    timeout_seconds: 30,
    sleep_seconds: 20,
};

/// In a control plane of its own, with one release: what happens to it goes through in
/// order, in one test.
#[test]
fn nothing_is_lost_or_restarted_from_the_installation_to_the_end() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let service = Service::start();
    let kube_proxy = KubeProxy::start(cluster, &service.address);
    let team = cluster.namespace();
    let payments = cluster.namespace();

    team.create(&completed("before")).ok();
    team.create(&denied("denied-today")).ok();
    let mut stored = at_rest(&team);

    helm(cluster, "install", INSTALLED.values).args(["--create-namespace"]).ok();
    until_a_pod_is_ready_fail_means_fail(&team);
    let pods = start_pods(cluster);
    service.route(pods.iter().map(|it| it.webhooks.trim_start_matches("https://").to_owned()).collect());
    pods.iter().for_each(Gapless::is_ready);
    wait_for_webhooks(cluster);

    let load = Load::start(cluster);
    let mut number = 0;
    let mut holds = |revision: &Revision| {
        number += 1;
        takes_effect(cluster, &team, revision);
        team.create(&denied("denied-meanwhile")).fails().assert_denied("production", "recreate-strategy");
        let name = format!("revision-{number}");
        team.create(&completed(&name)).ok();
        assert_eq!(sleep_seconds(&team.get_json("deployment", &name)), revision.sleep_seconds);
        stored = is_as_before(&team, &stored);
        let ours = cluster.kubectl(["get", "replicasets", "--namespace", RELEASE_NAMESPACE, "-o", "name"]);
        assert_eq!(ours.ok().stdout.lines().count(), 1, "gapless' own pods are not restarted");
    };
    holds(&INSTALLED);

    helm(cluster, "upgrade", ANOTHER_CONFIGURATION.values).ok();
    holds(&ANOTHER_CONFIGURATION);
    eventually("the CA in every entry", || every_entry_has_a_ca(cluster));
    let label = "gapless.dev/profile=payments";
    cluster.kubectl(["label", "namespace", &payments.name, label]).ok();
    eventually("profile payments", || denies(&payments, "payments"));

    helm(cluster, "upgrade", OTHER_WEBHOOKS.values).ok();
    holds(&OTHER_WEBHOOKS);
    eventually("the default profile, since that one is gone", || denies(&payments, "production"));

    cluster.helm(["rollback", "gapless", "1", "--namespace", RELEASE_NAMESPACE]).ok();
    holds(&INSTALLED);

    let outcome = load.stop();
    support::notice(&format!("install, two upgrades, rollback: {} calls", outcome.judged));
    outcome.assert_no_call_was_lost(100);

    uninstall_under_load(cluster, &kube_proxy, &pods);
    team.create(&denied("denied-meanwhile")).ok();
    team.create(&completed("after")).ok();
    let after = team.get_json("deployment", "after");
    assert_eq!(after["metadata"]["annotations"]["gapless.dev/injected"], Value::Null, "{after:#}");
    is_as_before(&team, &stored);
    only_what_the_notes_say_is_left(cluster);
    helm(cluster, "install", INSTALLED.values).ok();
    cluster.helm(["uninstall", "gapless", "--namespace", RELEASE_NAMESPACE]).ok();
    only_what_the_notes_say_is_left(cluster);
}

/// Helm with this chart and these values.
fn helm<'c>(cluster: &'c Cluster, verb: &str, values: &str) -> Invocation<'c> {
    let chart = repository_file("charts/gapless").display().to_string();
    cluster.helm([verb, "gapless", &chart, "--namespace", RELEASE_NAMESPACE, "--values", "-"]).stdin(values)
}

/// A Deployment that gapless completes.
fn completed(name: &str) -> String {
    scenario("rolling.yaml").replace("chatbot", name)
}

/// A Deployment that gapless denies.
fn denied(name: &str) -> String {
    scenario("recreate.yaml").replace("chatbot-dev", name)
}

/// As the chart's values say of failurePolicy.
fn until_a_pod_is_ready_fail_means_fail(team: &Namespace) {
    eventually("the failurePolicy", || {
        let output = team.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(completed("early")).run();
        let failed = "failed calling webhook \"production.mutate.gapless.dev\"";
        if output.stderr.contains(failed) { Ok(()) } else { Err(output.to_string()) }
    });
}

/// What the kubelet would start, with the arguments and the permissions of the pods.
fn start_pods(cluster: &Cluster) -> [Gapless; 2] {
    let token = cluster.kubectl(["create", "token", "gapless", "--namespace", RELEASE_NAMESPACE]).ok().stdout;
    cluster.write_kubeconfig("gapless", token.trim());
    mount_the_configuration(cluster);

    let deployment = in_release(cluster, "deployment", "gapless");
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    let mounted = cluster.file("config.yaml").display().to_string();
    let arguments = arguments.iter().map(|argument| argument.as_str().unwrap());
    // "serve" is there already.
    let arguments = arguments.skip(1).map(|it| it.replace("/etc/gapless/config.yaml", &mounted));
    let mut arguments: Vec<_> = arguments.collect();
    // Pods have addresses of their own; here free ports are.
    for option in ["--bind", "--ops-bind"] {
        let at = arguments.iter().position(|argument| argument == option).expect("the chart says the ports");
        arguments.drain(at..at + 2);
    }
    let arguments: Vec<_> = arguments
        .into_iter()
        .chain(["--certificate-secret-namespace", RELEASE_NAMESPACE].map(str::to_owned))
        // More often than usual, so that the test need not wait.
        .chain(["--certificate-poll-interval", "500ms", "--ca-trust-delay", "2s"].map(str::to_owned))
        .chain(["--shutdown-delay", "60s"].map(str::to_owned))
        .collect();
    [(); 2].map(|()| Gapless::start_as(cluster, "gapless", &arguments))
}

/// As the kubelet brings a ConfigMap: all of it at once.
fn mount_the_configuration(cluster: &Cluster) {
    let map = in_release(cluster, "configmap", "gapless");
    let fresh = cluster.file("config.yaml.fresh");
    fs::write(&fresh, map["data"]["config.yaml"].as_str().unwrap()).unwrap();
    fs::rename(fresh, cluster.file("config.yaml")).unwrap();
}

fn in_release(cluster: &Cluster, kind: &str, name: &str) -> Value {
    cluster.kubectl(["get", kind, name, "--namespace", RELEASE_NAMESPACE, "-o", "json"]).ok().json()
}

/// Waits until both the API server and the pods act on it.
fn takes_effect(cluster: &Cluster, team: &Namespace, revision: &Revision) {
    for (kind, phase) in [("mutating", "mutate"), ("validating", "validate")] {
        let entries = entries(cluster, kind);
        let mut expected: Vec<_> =
            revision.profiles.iter().map(|profile| format!("{profile}.{phase}.gapless.dev")).collect();
        if phase == "validate" {
            let of_services = |profile: &&str| format!("{profile}.services.{phase}.gapless.dev");
            expected.extend(revision.profiles.iter().map(of_services));
            expected.sort_unstable();
        }
        let mut names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        for entry in &entries {
            assert_eq!(entry["timeoutSeconds"], revision.timeout_seconds, "{entry:#}");
            let is_of_services = entry["name"].as_str().unwrap().contains(".services.");
            let failure_policy = if is_of_services { "Ignore" } else { "Fail" };
            assert_eq!(entry["failurePolicy"], failure_policy, "{entry:#}");
        }
    }
    mount_the_configuration(cluster);
    eventually("the configuration", || {
        let create = team.kubectl(["create", "--dry-run=server", "-o", "json", "-f", "-"]);
        let created = create.stdin(completed("asked")).ok().json();
        let seconds = sleep_seconds(&created);
        if seconds == revision.sleep_seconds { Ok(()) } else { Err(format!("{seconds} s of sleep")) }
    });
}

fn entries(cluster: &Cluster, kind: &str) -> Vec<Value> {
    let kind = format!("{kind}webhookconfigurations");
    let configuration = cluster.kubectl(["get", &kind, CONFIGURATIONS, "-o", "json"]).ok().json();
    configuration["webhooks"].as_array().unwrap().clone()
}

/// gapless looks every few seconds whether there is an entry without one.
fn every_entry_has_a_ca(cluster: &Cluster) -> Result<(), String> {
    let entries = ["mutating", "validating"].map(|kind| entries(cluster, kind)).concat();
    match entries.iter().find(|entry| entry["clientConfig"]["caBundle"].is_null()) {
        None => Ok(()),
        Some(entry) => Err(format!("{entry:#}")),
    }
}

#[track_caller]
fn sleep_seconds(deployment: &Value) -> u64 {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let seconds = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
    seconds.unwrap_or_else(|| panic!("it is not completed: {deployment:#}"))
}

fn denies(namespace: &Namespace, profile: &str) -> Result<(), String> {
    let output = namespace.create(&denied("asked")).run();
    if output.is_denied_by(profile) { Ok(()) } else { Err(output.to_string()) }
}

/// The Deployments and ReplicaSets of a namespace by their names, once the controllers
/// have nothing more to do with them.
#[track_caller]
fn at_rest(namespace: &Namespace) -> BTreeMap<String, Value> {
    let look = || {
        let get =
            namespace.kubectl(["get", "deployments,replicasets", "--show-managed-fields", "-o", "json"]);
        let list = get.ok().json();
        let objects = list["items"].as_array().unwrap().iter();
        let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        objects.map(|object| (name(object), object.clone())).collect::<BTreeMap<_, _>>()
    };
    eventually("the controllers", || {
        let seen = look();
        let busy = seen.values().find(|object| {
            let (spec, status) = (&object["spec"], &object["status"]);
            status["observedGeneration"] != object["metadata"]["generation"]
                || status["replicas"] != spec["replicas"]
                // Of a Deployment.
                || (!spec["strategy"].is_null() && status["updatedReplicas"] != spec["replicas"])
        });
        thread::sleep(Duration::from_millis(500));
        match busy {
            Some(busy) => Err(format!("{busy:#}")),
            None if seen == look() => Ok(seen),
            None => Err("it changes".to_owned()),
        }
    })
}

/// Nothing has been written to what was there, not even a status, and nothing was
/// rolled out: each Deployment has one ReplicaSet. Returns all that is there now.
#[track_caller]
fn is_as_before(namespace: &Namespace, before: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let now = at_rest(namespace);
    for (name, object) in before {
        assert_eq!(now.get(name), Some(object), "{name}");
    }
    let of_kind = |kind: &str| now.values().filter(|object| object["kind"] == kind).count();
    assert_eq!(of_kind("ReplicaSet"), of_kind("Deployment"), "{:#?}", now.keys());
    now
}

/// In the least favourable moment: the pods are about to end, so that the API server
/// opens a connection for each call.
fn uninstall_under_load(cluster: &Cluster, kube_proxy: &KubeProxy, pods: &[Gapless; 2]) {
    pods.iter().for_each(Gapless::begin_to_terminate);
    let connections = kube_proxy.connections();
    let load = Load::start(cluster);
    thread::sleep(Duration::from_secs(1));
    cluster.helm(["uninstall", "gapless", "--namespace", RELEASE_NAMESPACE]).ok();
    thread::sleep(Duration::from_secs(2));
    let outcome = load.stop();
    let connections = kube_proxy.connections() - connections;
    support::notice(&format!(
        "uninstall: {} calls over {connections} connections, {} requests failed, {} passed without gapless",
        outcome.judged,
        outcome.failed.len(),
        outcome.unjudged
    ));
    assert_eq!(outcome.failed, [""; 0]);
    assert!(connections >= outcome.judged, "each call, and there are two or three of each request");
    assert!(outcome.judged > 0, "gapless was asked until then");
    assert!(outcome.unjudged > 0, "and is not asked any more");
}

/// The Secret, which Helm neither makes nor deletes, and the Service, without which
/// requests would have failed.
fn only_what_the_notes_say_is_left(cluster: &Cluster) {
    for kind in [
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "clusterroles",
        "clusterrolebindings",
    ] {
        let ours = ["-l", "app.kubernetes.io/name=gapless", "-o", "name"];
        assert_eq!(cluster.kubectl(["get", kind]).args(ours).ok().stdout, "", "{kind}");
    }
    let kinds =
        "all,configmaps,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets,endpointslices";
    eventually("the end of all that the chart installed", || {
        let left =
            cluster.kubectl(["get", kinds, "--namespace", RELEASE_NAMESPACE, "-o", "name"]).ok().stdout;
        if left == "service/gapless\nsecret/gapless-tls\n" { Ok(()) } else { Err(left) }
    });
}
