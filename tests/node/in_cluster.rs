//! gapless on a real node, as its chart installs it: in two pods, called by the API
//! server through the Service.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::fixtures::{repository_file, scenario};
use crate::support::gapless::{RELEASE_NAMESPACE, uninstall, wait_for_webhooks};
use crate::support::load::Load;
use crate::support::{self, Lab, eventually, notice};

/// One node, one release: what changes it goes through in order, in one test.
#[test]
fn gapless_in_the_cluster_from_installation_to_its_end() {
    let _alone = support::alone();
    let Some(lab) = support::lab() else { return };
    install(&lab);
    helm_test_calls_every_webhook(&lab);
    a_denied_and_a_completed_deployment(&lab);
    a_pod_that_hangs_gets_no_calls(&lab);
    a_killed_process_is_no_verdict(&lab);
    fail_closed(&lab);
    an_evicted_pod_loses_no_call(&lab);
    a_restarted_deployment_loses_no_call(&lab);
    an_upgrade_loses_no_call(&lab);
    a_deleted_secret_is_made_again(&lab);
    // With failurePolicy Fail the Service stays, and the next release takes it over.
    the_end(&lab, "service/gapless");
    certificates_of_ones_own(&lab);
    helm_test_calls_every_webhook(&lab);
    the_end(&lab, "");
}

/// As the chart's page says, with all the chart's defaults: gapless makes its certificates.
fn install(lab: &Lab) {
    helm(lab, "install").args(["--create-namespace", "--wait"]).ok();
    wait_for_webhooks(&lab.cluster);
    assert_eq!(running_pods(lab).len(), 2, "the chart's default");
}

fn helm_test_calls_every_webhook(lab: &Lab) {
    let tested = lab
        .cluster
        .helm(["test", "gapless", "--logs", "--timeout=90s", "--namespace", RELEASE_NAMESPACE])
        .ok();
    for (webhook, expected) in [
        ("production.mutate.gapless.dev", "completes the Deployment"),
        ("production.validate.gapless.dev", "denies the Deployment"),
        ("development.validate.gapless.dev", "allows the Deployment"),
    ] {
        let line = tested.stdout.lines().find(|line| line.starts_with(webhook));
        assert!(line.is_some_and(|line| line.ends_with(expected)), "{webhook} {expected}: {tested}");
    }
}

/// As that page says for certificates of one's own; `gapless certs` makes them.
fn certificates_of_ones_own(lab: &Lab) {
    let certificates = lab.cluster.file("certificates");
    let made = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["certs", "--out"])
        .arg(&certificates)
        .output()
        .expect("gapless can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    // The one that gapless made stays, for it is not the chart's.
    lab.cluster.kubectl(["delete", "secret", "gapless-tls", "--namespace", RELEASE_NAMESPACE]).ok();
    let option = |name: &str, file: &str| format!("--{name}={}", certificates.join(file).display());
    lab.cluster
        .kubectl(["create", "secret", "tls", "gapless-tls", "--namespace", RELEASE_NAMESPACE])
        .args([option("cert", "tls.crt"), option("key", "tls.key")])
        .ok();
    helm(lab, "install")
        .args(["--wait", "--set", "certificates.mode=existingSecret", "--set-file"])
        .args([format!("webhooks.caBundle={}", certificates.join("ca.crt").display())])
        .ok();
    wait_for_webhooks(&lab.cluster);
}

/// `helm VERB gapless charts/gapless`
fn helm<'a>(lab: &'a Lab, verb: &str) -> support::client::Invocation<'a> {
    let helm = lab.cluster.helm([verb, "gapless", "--namespace", RELEASE_NAMESPACE]);
    helm.args([repository_file("charts/gapless")])
}

fn a_denied_and_a_completed_deployment(lab: &Lab) {
    let namespace = lab.cluster.namespace();
    let denied = namespace.apply(&scenario("recreate.yaml")).fails();
    assert!(
        denied.stderr.contains("admission webhook \"production.validate.gapless.dev\" denied the request"),
        "{denied}"
    );
    assert!(denied.stderr.contains("(recreate-strategy)"), "{denied}");

    namespace.apply(&scenario("rolling.yaml")).ok();
    namespace.kubectl(["rollout", "status", "deploy/chatbot", "--timeout=90s"]).ok();
    let pods = namespace.kubectl(["get", "pods", "-o", "json"]).ok().json();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 5000, "{pod:#}");
        assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 10, "{pod:#}");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 40, "{pod:#}");
        // The application takes three seconds until it listens: without the probe
        // the pod would have been ready at once.
        let started = timestamp(&container_status(pod)["state"]["running"]["startedAt"]);
        let ready = timestamp(&condition(pod, "Ready")["lastTransitionTime"]);
        assert!(ready - started >= 2, "ready {} s after its start", ready - started);
    }
    namespace.kubectl(["delete", "deployment", "chatbot", "--wait=false"]).ok();
}

/// The readiness probe takes it out of the Service, and lets it back in.
fn a_pod_that_hangs_gets_no_calls(lab: &Lab) {
    let pods = running_pods(lab);
    let name = pod_name(&pods[0]);
    let process = lab.process_of_container(container_status(&pods[0])["containerID"].as_str().unwrap());
    lab.enter(["kill", "-STOP", &process]);
    eventually("an endpoint that is not ready", || is_ready_endpoint(lab, name, false));
    // The API server still has connections to it, and gives each one up with a call
    // that waits for timeoutSeconds (3). Then the other pod answers everything.
    let load = Load::start(&lab.cluster);
    thread::sleep(Duration::from_secs(4));
    load.stop();
    let load = Load::start(&lab.cluster);
    thread::sleep(Duration::from_secs(2));
    load.stop().assert_no_call_was_lost(50);
    lab.enter(["kill", "-CONT", &process]);
    eventually("an endpoint that is ready", || is_ready_endpoint(lab, name, true));
}

/// With failurePolicy Ignore, the chart's default, users notice nothing of a crash.
fn a_killed_process_is_no_verdict(lab: &Lab) {
    let pods = running_pods(lab);
    let process = lab.process_of_container(container_status(&pods[0])["containerID"].as_str().unwrap());
    let load = Load::start(&lab.cluster);
    thread::sleep(Duration::from_secs(1));
    lab.enter(["kill", "-KILL", &process]);
    eventually("a restarted container", || {
        let pods = running_pods(lab);
        let restarts = container_status(&pods[0])["restartCount"].as_i64();
        let is_ready = condition(&pods[0], "Ready")["status"] == "True";
        if restarts == Some(1) && is_ready { Ok(()) } else { Err(format!("{:#}", pods[0]["status"])) }
    });
    let outcome = load.stop();
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    wait_for_webhooks(&lab.cluster);
}

/// From here on every call to gapless counts: one that fails fails a request.
fn fail_closed(lab: &Lab) {
    helm(lab, "upgrade").args(["--reuse-values", "--set", "webhooks.failurePolicy=Fail", "--wait"]).ok();
    eventually("failurePolicy Fail", || {
        let policies = lab.cluster.kubectl([
            "get",
            "validatingwebhookconfigurations,mutatingwebhookconfigurations",
            "-o",
            "jsonpath={range .items[*].webhooks[*]}{.name} {.failurePolicy}{\"\\n\"}{end}",
        ]);
        let policies = policies.ok().stdout;
        // Those for Services hold nobody up in any case.
        let mut others = policies.lines().filter(|line| !line.contains(".services."));
        if others.all(|line| line.ends_with(" Fail")) { Ok(()) } else { Err(policies) }
    });
    // The API server has seen it, too, when it has acted on it for two seconds.
    thread::sleep(Duration::from_secs(2));
}

/// As a node drain does it; the preStop sleep lets the pod leave last.
fn an_evicted_pod_loses_no_call(lab: &Lab) {
    let pods = running_pods(lab);
    let name = pod_name(&pods[0]);
    let load = Load::start(&lab.cluster);
    thread::sleep(Duration::from_secs(1));
    let started = Instant::now();
    let eviction = serde_json::json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": RELEASE_NAMESPACE}
    });
    let path = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{name}/eviction");
    lab.cluster.kubectl(["create", "--raw", &path, "-f", "-"]).stdin(eviction.to_string()).ok();
    lab.cluster
        .kubectl(["wait", "--for=delete", "--timeout=60s", "--namespace", RELEASE_NAMESPACE])
        .args([format!("pod/{name}")])
        .ok();
    // 10 s of sleep, during which it serves, and 5 s of delay after SIGTERM.
    let taken = started.elapsed().as_secs();
    assert!((14..30).contains(&taken), "the pod was gone after {taken} s");
    rollout_status(lab);
    load.stop().assert_no_call_was_lost(200);
}

fn a_restarted_deployment_loses_no_call(lab: &Lab) {
    let old = replace_all_pods(lab, || {
        lab.cluster
            .kubectl(["rollout", "restart", "deployment/gapless", "--namespace", RELEASE_NAMESPACE])
            .ok();
    });
    // Both of the new pods were asked, so the calls went through the Service.
    for pod in running_pods(lab) {
        let name = pod_name(&pod);
        assert!(!old.iter().any(|it| it == name), "{name} is an old one");
        let metrics = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{name}:8080/proxy/metrics");
        let metrics = lab.cluster.kubectl(["get", "--raw", &metrics]).ok().stdout;
        let answered: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("gapless_admission_requests_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        assert!(answered > 0, "{name} was not asked:\n{metrics}");
    }
}

/// `helm upgrade` with another pod template, once; or as many times as the
/// environment variable `GAPLESS_TEST_UPGRADES` says.
fn an_upgrade_loses_no_call(lab: &Lab) {
    let upgrades = std::env::var("GAPLESS_TEST_UPGRADES").map_or(1, |number| number.parse().unwrap());
    for number in 1..=upgrades {
        let annotation = format!("podAnnotations.upgrade=number-{number}");
        replace_all_pods(lab, || {
            helm(lab, "upgrade").args(["--reuse-values", "--set", &annotation]).ok();
        });
    }
}

/// Does something that replaces all pods, and returns the names of the old ones when
/// they are gone. No call is lost to it.
fn replace_all_pods(lab: &Lab, replace: impl FnOnce()) -> Vec<String> {
    let old: Vec<String> = running_pods(lab).iter().map(|pod| pod_name(pod).to_owned()).collect();
    let load = Load::start(&lab.cluster);
    thread::sleep(Duration::from_secs(1));
    replace();
    rollout_status(lab);
    for name in &old {
        lab.cluster
            .kubectl(["wait", "--for=delete", "--timeout=60s", "--namespace", RELEASE_NAMESPACE])
            .args([format!("pod/{name}")])
            .ok();
    }
    thread::sleep(Duration::from_secs(1));
    let outcome = load.stop();
    notice(&format!("all pods replaced: {} calls answered", outcome.judged));
    outcome.assert_no_call_was_lost(200);
    old
}

/// With a new CA, which every API server trusts before it is used.
fn a_deleted_secret_is_made_again(lab: &Lab) {
    let ca = || {
        let secret = lab
            .cluster
            .kubectl(["get", "secret", "gapless-tls", "--namespace", RELEASE_NAMESPACE])
            .args(["--ignore-not-found", "-o", "jsonpath={.data.ca\\.crt}"]);
        secret.ok().stdout
    };
    let before = ca();
    let load = Load::start(&lab.cluster);
    lab.cluster.kubectl(["delete", "secret", "gapless-tls", "--namespace", RELEASE_NAMESPACE]).ok();
    eventually("another CA", || match ca() {
        found if found.is_empty() || found == before => Err(found),
        _ => Ok(()),
    });
    eventually("both pods to serve its certificate", || {
        let logs = lab.cluster.kubectl(["logs", "--namespace", RELEASE_NAMESPACE, "--tail=-1", "--prefix"]);
        let logs = logs.args(["--selector=app.kubernetes.io/name=gapless"]).ok().stdout;
        // Each has done so once when it started.
        let changes = logs.lines().filter(|line| line.contains("another certificate is served")).count();
        if changes >= 4 { Ok(()) } else { Err(logs) }
    });
    thread::sleep(Duration::from_secs(2));
    load.stop().assert_no_call_was_lost(100);
}

/// `expected` is what the uninstallation leaves, as `kubectl get -o name` has it.
fn the_end(lab: &Lab, expected: &str) {
    uninstall(&lab.cluster);
    let namespace = lab.cluster.namespace();
    namespace.apply(&scenario("recreate.yaml")).ok();
    eventually("the end of all that the chart installed", || {
        let left = lab.cluster.kubectl([
            "get",
            "all,configmaps,serviceaccounts,poddisruptionbudgets",
            "--namespace",
            RELEASE_NAMESPACE,
            "--selector=app.kubernetes.io/name=gapless",
            "-o",
            "name",
        ]);
        let left = left.ok().stdout;
        if left.trim_end() == expected { Ok(()) } else { Err(left) }
    });
}

/// The pods of gapless that are not about to end, by name.
fn running_pods(lab: &Lab) -> Vec<Value> {
    let pods = lab.cluster.kubectl([
        "get",
        "pods",
        "--namespace",
        RELEASE_NAMESPACE,
        "--selector=app.kubernetes.io/name=gapless",
        "-o",
        "json",
    ]);
    let pods = pods.ok().json();
    let pods = pods["items"].as_array().expect("a list has items");
    pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
}

fn rollout_status(lab: &Lab) {
    lab.cluster
        .kubectl([
            "rollout",
            "status",
            "deployment/gapless",
            "--timeout=90s",
            "--namespace",
            RELEASE_NAMESPACE,
        ])
        .ok();
}

fn pod_name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().expect("a pod has a name")
}

fn container_status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let conditions = pod["status"]["conditions"].as_array().expect("a pod has conditions");
    conditions.iter().find(|condition| condition["type"] == kind).expect("a pod has this condition")
}

/// Seconds since 1970.
fn timestamp(text: &Value) -> i64 {
    let timestamp: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
    timestamp.as_second()
}

/// What the Service's EndpointSlices say of a pod.
fn is_ready_endpoint(lab: &Lab, pod: &str, expected: bool) -> Result<(), String> {
    let slices = lab.cluster.kubectl([
        "get",
        "endpointslices",
        "--namespace",
        RELEASE_NAMESPACE,
        "--selector=kubernetes.io/service-name=gapless",
        "-o",
        "json",
    ]);
    let slices = slices.ok().json();
    let endpoints = slices["items"][0]["endpoints"].as_array().expect("the Service has endpoints");
    let endpoint = endpoints.iter().find(|endpoint| endpoint["targetRef"]["name"] == pod);
    match endpoint {
        Some(endpoint) if endpoint["conditions"]["ready"] == expected => Ok(()),
        _ => Err(format!("{endpoints:#?}")),
    }
}
