//! `gapless serve --self-managed-certificates` on a real API server, with the
//! permissions of the chart and no others.

mod prober;

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use self::prober::{Prober, Seen};
use crate::support::fixtures::repository_file;
use crate::support::gapless::{CONFIGURATIONS, RELEASE_NAMESPACE, uninstall, wait_for_webhooks};
use crate::support::load::Load;
use crate::support::service::Service;
use crate::support::{self, Cluster, Gapless, eventually, program};

const SECRET: &str = "gapless-tls";

/// The ServiceAccount of the chart.
const ACCOUNT: &str = "system:serviceaccount:gapless-system:gapless";

/// Lifetimes with which everything is renewed while one can watch. At two thirds:
/// certificates after 12 s, CAs after 24 s.
const SHORT: [&str; 8] = [
    "--certificate-lifetime",
    "18s",
    "--ca-lifetime",
    "36s",
    "--certificate-poll-interval",
    "500ms",
    "--ca-trust-delay",
    "2s",
];

/// The usual lifetimes.
const LONG: [&str; 4] = ["--certificate-poll-interval", "500ms", "--ca-trust-delay", "2s"];

/// In a control plane of its own, with one release: what happens to it goes through in
/// order, in one test.
#[test]
fn no_call_is_lost_from_the_first_ca_to_the_end() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let service = Service::start();
    grant_what_the_chart_grants(cluster);
    let replicas = two_replicas_agree_on_one_ca(cluster, &service);
    everything_is_renewed(cluster, &replicas);

    for replica in replicas {
        assert!(replica.terminate().success());
    }
    let replicas = start(cluster, &LONG);
    begin_to_call(cluster, &service, &replicas);
    a_deleted_secret_comes_back(cluster, &replicas);
    a_spoilt_secret_is_repaired(cluster, &replicas);
    a_spoilt_bundle_is_repaired(cluster);
    helm_keeps_the_bundles(cluster, &service, &replicas);
    somebody_elses_secret_is_left_alone(cluster);
    nobody_is_ready_whose_ca_is_not_trusted(cluster);
    the_end(cluster, &replicas);
}

/// The objects of the chart that say what its pods may do, as it renders them for a
/// gapless in the cluster. Only the pods are missing: there is no node.
fn grant_what_the_chart_grants(cluster: &Cluster) {
    cluster.kubectl(["create", "namespace", RELEASE_NAMESPACE]).ok();
    let chart = repository_file("charts/gapless").display().to_string();
    let template = ["template", "gapless", &chart, "--skip-tests", "--namespace", RELEASE_NAMESPACE];
    let rendered = cluster.helm(template).ok();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered.stdout).unwrap();
    let kinds = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    let items: Vec<_> =
        objects.into_iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)).collect();
    assert_eq!(items.len(), kinds.len());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.kubectl(["apply", "-f", "-"]).stdin(list.to_string()).ok();
    let token = cluster.kubectl(["create", "token", "gapless", "--namespace", RELEASE_NAMESPACE]).ok().stdout;
    cluster.write_kubeconfig("gapless", token.trim());

    for (may, arguments) in [
        (true, "get secrets/gapless-tls --namespace gapless-system"),
        (true, "update secrets/gapless-tls --namespace gapless-system"),
        (true, "create secrets --namespace gapless-system"),
        (false, "delete secrets/gapless-tls --namespace gapless-system"),
        (false, "get secrets/another --namespace gapless-system"),
        (false, "list secrets --namespace gapless-system"),
        (false, "get secrets/gapless-tls --namespace default"),
        (false, "create secrets --namespace default"),
        (true, "patch mutatingwebhookconfigurations/gapless.gapless-system"),
        (true, "get validatingwebhookconfigurations/gapless.gapless-system"),
        (false, "update validatingwebhookconfigurations/gapless.gapless-system"),
        (false, "delete validatingwebhookconfigurations/gapless.gapless-system"),
        (false, "patch validatingwebhookconfigurations/another"),
        (false, "create mutatingwebhookconfigurations"),
        (false, "list mutatingwebhookconfigurations"),
    ] {
        let ask = || {
            let ask = cluster.kubectl(["auth", "can-i", "--as", ACCOUNT]).args(arguments.split(' ')).run();
            if ask.status.success() == may { Ok(()) } else { Err(format!("{arguments}: {ask}")) }
        };
        eventually("the permissions", ask);
    }
}

/// Helm with this chart. The API server cannot call a Service here, since nothing
/// is behind it: it calls by URL.
#[track_caller]
fn helm(cluster: &Cluster, verb: &str, service: &Service, arguments: &[&str]) {
    let chart = repository_file("charts/gapless").display().to_string();
    let url = format!("webhooks.url=https://{}", service.address);
    cluster
        .helm([verb, "gapless", &chart, "--namespace", RELEASE_NAMESPACE])
        // More patience than usual: the machine is busy with other tests.
        .args(["--set", "webhooks.failurePolicy=Fail,webhooks.timeoutSeconds=20", "--set", &url])
        .args(arguments)
        .ok();
}

/// Starts a replica for the address of the Service; not ready yet.
fn replica(cluster: &Cluster, user: &str, secret: &str, arguments: &[&str]) -> Gapless {
    let fixed = [
        "--self-managed-certificates",
        "--certificate-secret",
        secret,
        "--certificate-secret-namespace",
        RELEASE_NAMESPACE,
        "--certificate-host",
        "127.0.0.1",
        "--certificate-host",
        "gapless.gapless-system.svc",
        "--webhook-configurations",
        CONFIGURATIONS,
        "--shutdown-delay",
        "0",
    ];
    Gapless::start_as(cluster, user, fixed.iter().chain(arguments))
}

/// Starts two replicas at the same time.
fn start(cluster: &Cluster, arguments: &[&str]) -> [Gapless; 2] {
    thread::scope(|scope| {
        let start = || replica(cluster, "gapless", SECRET, arguments);
        [scope.spawn(start), scope.spawn(start)].map(|it| it.join().expect("a replica"))
    })
}

/// Waits until both are ready, and lets the Service send its calls there.
fn begin_to_call(cluster: &Cluster, service: &Service, replicas: &[Gapless; 2]) {
    replicas.iter().for_each(Gapless::is_ready);
    service.route(addresses(replicas));
    wait_for_webhooks(cluster);
}

#[track_caller]
fn is_not_ready(replica: &Gapless, why: &str) {
    eventually("an objection", || match replica.ops_get("/readyz") {
        (503, said) if said.contains(why) => Ok(()),
        other => Err(format!("{other:?}\n{}", replica.log())),
    });
}

fn addresses(replicas: &[Gapless; 2]) -> Vec<String> {
    replicas.iter().map(|it| it.webhooks.trim_start_matches("https://").to_owned()).collect()
}

/// A key of the Secret; `None` without the key or the Secret.
fn stored(cluster: &Cluster, key: &str) -> Option<String> {
    let secret =
        cluster.kubectl(["get", "secret", SECRET, "--namespace", RELEASE_NAMESPACE, "-o", "json"]).run();
    if !secret.status.success() {
        return None;
    }
    let encoded = secret.json()["data"][key].as_str()?.to_owned();
    Some(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
}

/// The bundle of a webhook.
fn pem_of(webhook: &Value) -> String {
    let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(bundle).unwrap()).unwrap()
}

/// The bundles of all webhooks of both configurations.
fn bundles(cluster: &Cluster) -> Vec<String> {
    let all = cluster
        .kubectl(["get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "json"])
        .ok()
        .json();
    let configurations = all["items"].as_array().unwrap();
    assert_eq!(configurations.len(), 2);
    configurations.iter().flat_map(|it| it["webhooks"].as_array().unwrap()).map(pem_of).collect()
}

/// The CAs that every bundle has.
fn cas(cluster: &Cluster) -> Vec<String> {
    let bundle = eventually("equal bundles", || {
        let bundles = bundles(cluster);
        if bundles.iter().all(|it| *it == bundles[0]) {
            Ok(bundles[0].clone())
        } else {
            Err(format!("{bundles:?}"))
        }
    });
    bundle.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
}

/// A load of requests, and new connections all the time, while `act` runs. None may
/// be lost.
fn nothing_is_lost_while(cluster: &Cluster, replicas: &[Gapless; 2], what: &str, act: impl FnOnce()) -> Seen {
    let started = Instant::now();
    let load = Load::start(cluster);
    let prober = Prober::start(cluster, CONFIGURATIONS, addresses(replicas));
    thread::sleep(Duration::from_secs(1));
    act();
    thread::sleep(Duration::from_secs(1));
    let outcome = load.stop();
    let seen = prober.stop();
    support::notice(&format!(
        "{what}: {} s, {} calls, {} failed, {} unanswered; {} new connections, {} refused, {} certificates, {} CAs",
        started.elapsed().as_secs(),
        outcome.judged,
        outcome.failed.len(),
        outcome.unjudged,
        seen.connections,
        seen.refused.len(),
        seen.leaves.len(),
        seen.cas.len(),
    ));
    let logs = || replicas.each_ref().map(Gapless::log).join("\n---\n");
    assert_eq!(seen.refused, [""; 0], "{what}:\n{}", logs());
    assert!(outcome.failed.is_empty(), "{what}: {:#?}\n{}", outcome.failed, logs());
    outcome.assert_no_call_was_lost(20);
    seen
}

fn two_replicas_agree_on_one_ca(cluster: &Cluster, service: &Service) -> [Gapless; 2] {
    let replicas = start(cluster, &SHORT);
    for replica in &replicas {
        is_not_ready(replica, "there is no MutatingWebhookConfiguration gapless.gapless-system yet");
    }
    helm(cluster, "install", service, &[]);
    begin_to_call(cluster, service, &replicas);
    let logs = replicas.each_ref().map(Gapless::log);
    let made = logs.iter().map(|log| log.matches("made a new CA").count()).sum::<usize>();
    assert_eq!(made, 1, "{}", logs.join("\n---\n"));
    assert_eq!(cas(cluster), [stored(cluster, "ca.crt").unwrap()]);

    let secret = cluster
        .kubectl(["get", "secret", SECRET, "--namespace", RELEASE_NAMESPACE, "-o", "json"])
        .ok()
        .json();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "gapless"}));
    assert_eq!(secret["metadata"]["ownerReferences"], Value::Null);
    replicas
}

/// Through two changes of the CA.
fn everything_is_renewed(cluster: &Cluster, replicas: &[Gapless; 2]) {
    let first = stored(cluster, "ca.crt").unwrap();
    let seen = nothing_is_lost_while(cluster, replicas, "renewal", || {
        let mut known = vec![first];
        let deadline = Instant::now() + Duration::from_secs(180);
        while known.len() < 3 || known[..2].iter().any(|ca| cas(cluster).contains(ca)) {
            assert!(Instant::now() < deadline, "{} CAs:\n{}", known.len(), replicas[0].log());
            let newest = stored(cluster, "ca.crt").unwrap();
            if !known.contains(&newest) {
                known.push(newest);
            }
            thread::sleep(Duration::from_millis(300));
        }
    });
    assert!(seen.leaves.len() >= 4, "{} certificates", seen.leaves.len());
    for replica in replicas {
        let (_, metrics) = replica.ops_get("/metrics");
        let value = |series: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {series}:\n{metrics}")).parse::<i64>().unwrap()
        };
        assert!(value("gapless_certificate_reloads_total{result=\"success\"}") >= 4);
        assert_eq!(value("gapless_certificate_reloads_total{result=\"failure\"}"), 0, "{}", replica.log());
        let not_after = |role| {
            value(&format!("gapless_certificate_not_after_timestamp_seconds{{role=\"{role}\"}}"))
                - jiff::Timestamp::now().as_second()
        };
        assert!((0..=18).contains(&not_after("leaf")), "{} s", not_after("leaf"));
        assert!((0..=36).contains(&not_after("ca")), "{} s", not_after("ca"));
    }
}

/// Waits until all replicas serve the stored certificate, which is none of before.
fn eventually_all_serve_another(cluster: &Cluster, replicas: &[Gapless; 2], before: &str) {
    eventually("another certificate", || {
        let ca = stored(cluster, "ca.crt").ok_or("no Secret")?;
        if ca == before {
            return Err("the CA of before".to_owned());
        }
        if !bundles(cluster).iter().all(|bundle| bundle.contains(&ca)) {
            return Err("the new CA is not in every bundle".to_owned());
        }
        let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|error| error.to_string())?;
        for address in addresses(replicas) {
            let config = program::client_config(std::slice::from_ref(&ca));
            program::Connection::open(&address, config).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
}

fn a_deleted_secret_comes_back(cluster: &Cluster, replicas: &[Gapless; 2]) {
    // With the usual lifetimes the CA that was there is too close to its end.
    eventually_all_serve_another(cluster, replicas, "");
    let before = stored(cluster, "ca.crt").unwrap();
    nothing_is_lost_while(cluster, replicas, "deleted Secret", || {
        cluster.kubectl(["delete", "secret", SECRET, "--namespace", RELEASE_NAMESPACE]).ok();
        eventually_all_serve_another(cluster, replicas, &before);
    });
    // Somebody may serve a certificate of the old one for weeks.
    assert!(cas(cluster).contains(&before));
    assert_eq!(stored(cluster, "previous-ca.crt"), Some(before));
}

fn a_spoilt_secret_is_repaired(cluster: &Cluster, replicas: &[Gapless; 2]) {
    let patch = |data: &Value| {
        let patch = json!({"data": data}).to_string();
        cluster
            .kubectl([
                "patch",
                "secret",
                SECRET,
                "--namespace",
                RELEASE_NAMESPACE,
                "--type=merge",
                "-p",
                &patch,
            ])
            .ok();
    };
    let mut before = stored(cluster, "ca.crt").unwrap();
    nothing_is_lost_while(cluster, replicas, "spoilt Secret", || {
        for spoilt in [
            json!({"ca.key": "aGVsbG8="}),
            json!({"ca.crt": null}),
            json!({"ca.crt": "", "ca.key": "", "tls.crt": "", "tls.key": ""}),
        ] {
            patch(&spoilt);
            eventually_all_serve_another(cluster, replicas, &before);
            before = stored(cluster, "ca.crt").unwrap();
        }
    });
    // With a CA that can sign, a certificate is enough.
    patch(&json!({"tls.key": "aGVsbG8="}));
    eventually("a certificate", || match stored(cluster, "tls.key") {
        Some(key) if key.contains("PRIVATE KEY") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(stored(cluster, "ca.crt"), Some(before));
    let log = replicas.each_ref().map(Gapless::log).join("");
    assert!(log.contains("ca.key: the private key cannot be read"), "{log}");
    assert!(!log.contains("PRIVATE KEY-----"), "{log}");
}

fn a_spoilt_bundle_is_repaired(cluster: &Cluster) {
    let newest = stored(cluster, "ca.crt").unwrap();
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap().cert.pem();
    let bundle = |kind: &str| {
        let configuration = cluster.kubectl(["get", kind, CONFIGURATIONS, "-o", "json"]).ok().json();
        pem_of(&configuration["webhooks"][0])
    };
    for (kind, ca_bundle) in [
        ("mutatingwebhookconfigurations", ""),
        ("validatingwebhookconfigurations", "hello"),
        ("validatingwebhookconfigurations", other.as_str()),
    ] {
        let patch = json!([{
            "op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": STANDARD.encode(ca_bundle),
        }]);
        cluster.kubectl(["patch", kind, CONFIGURATIONS, "--type=json", "-p", &patch.to_string()]).ok();
        let started = Instant::now();
        eventually("the bundle", || {
            let bundle = bundle(kind);
            if bundle.contains(&newest) && !bundle.contains("hello") { Ok(()) } else { Err(bundle) }
        });
        let taken = started.elapsed();
        support::notice(&format!("spoilt bundle: repaired after {} ms", taken.as_millis()));
        assert!(taken < Duration::from_secs(30), "{taken:?}");
    }
    // What somebody has written stays, if it is a CA.
    assert!(bundle("validatingwebhookconfigurations").contains(&other));
    wait_for_webhooks(cluster);
    let load = Load::start(cluster);
    thread::sleep(Duration::from_secs(2));
    load.stop().assert_no_call_was_lost(20);
}

/// Whichever way Helm applies the chart, and back.
fn helm_keeps_the_bundles(cluster: &Cluster, service: &Service, replicas: &[Gapless; 2]) {
    let newest = stored(cluster, "ca.crt").unwrap();
    let resource_version = || {
        let secret = cluster
            .kubectl(["get", "secret", SECRET, "--namespace", RELEASE_NAMESPACE])
            .args(["-o", "jsonpath={.metadata.resourceVersion}"]);
        secret.ok().stdout
    };
    let before = resource_version();
    nothing_is_lost_while(cluster, replicas, "Helm upgrades and rollback", || {
        for arguments in [
            ["--set", "webhooks.timeoutSeconds=24", "--server-side=true"],
            ["--set", "webhooks.timeoutSeconds=25", "--server-side=false"],
            ["--set", "webhooks.timeoutSeconds=26", "--server-side=true"],
        ] {
            helm(cluster, "upgrade", service, &arguments);
        }
        cluster.helm(["rollback", "gapless", "1", "--namespace", RELEASE_NAMESPACE]).ok();
        thread::sleep(Duration::from_secs(2));
    });
    let log = replicas.each_ref().map(Gapless::log).join("");
    let changes = |log: &str| log.matches("the CAs in the webhook configuration have changed").count();
    let seen = changes(&log);

    // A webhook that is new has no bundle until gapless has seen it.
    let profile = "config.profiles.payments.extends=production";
    for server_side in ["--server-side=true", "--server-side=false"] {
        helm(cluster, "upgrade", service, &["--set", profile, server_side]);
        eventually("all bundles", || {
            let bundles = bundles(cluster);
            assert_eq!(bundles.len(), 12, "mutating, validating, and Services, of each of four profiles");
            if bundles.iter().all(|it| it.contains(&newest)) { Ok(()) } else { Err(format!("{bundles:?}")) }
        });
    }
    let log = replicas.each_ref().map(Gapless::log).join("");
    assert_eq!(changes(&log) - seen, 2, "both configurations, once: Helm has taken nothing away:\n{log}");
    assert_eq!(resource_version(), before, "Helm has nothing to do with the Secret");
}

fn somebody_elses_secret_is_left_alone(cluster: &Cluster) {
    cluster
        .kubectl(["create", "secret", "generic", "theirs", "--namespace", RELEASE_NAMESPACE])
        .args(["--from-literal=tls.crt=theirs"])
        .ok();
    let replica = replica(cluster, "admin", "theirs", &LONG);
    let expected = "not ready: Secret theirs in namespace gapless-system was not made by gapless, for it has no \
                    label app.kubernetes.io/managed-by=gapless; it is left alone. Name another Secret, or delete \
                    this one";
    is_not_ready(&replica, expected);
    let (_, metrics) = replica.ops_get("/metrics");
    assert!(metrics.contains("gapless_certificate_reloads_total{result=\"failure\"} 1"), "{metrics}");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(replica.log().matches("was not made by gapless").count(), 1, "once: {}", replica.log());
    let theirs =
        cluster.kubectl(["get", "secret", "theirs", "--namespace", RELEASE_NAMESPACE, "-o", "json"]).ok();
    assert_eq!(theirs.json()["data"], json!({"tls.crt": "dGhlaXJz"}));
}

/// Without the permission to change the bundles.
fn nobody_is_ready_whose_ca_is_not_trusted(cluster: &Cluster) {
    let secrets = ["--resource=secrets", "--verb=get,create,update", "--namespace", RELEASE_NAMESPACE];
    cluster.kubectl(["create", "role", "team"]).args(secrets).ok();
    let user = ["--user=team", "--namespace", RELEASE_NAMESPACE];
    cluster.kubectl(["create", "rolebinding", "team", "--role=team"]).args(user).ok();
    let configurations = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
    cluster.kubectl(["create", "clusterrole", "team", "--verb=get", "--resource", configurations]).ok();
    cluster.kubectl(["create", "clusterrolebinding", "team", "--clusterrole=team", "--user=team"]).ok();

    let replica = replica(cluster, "team", "fresh", &LONG);
    let why = "not ready: the permission to patch mutatingwebhookconfigurations.admissionregistration.k8s.io is \
               missing; the API server says: ";
    is_not_ready(&replica, why);
    // It does not come and go.
    thread::sleep(Duration::from_secs(2));
    assert!(replica.ops_get("/readyz").1.starts_with(why), "{}", replica.ops_get("/readyz").1);
    assert_eq!(replica.log().matches("cannot be looked after").count(), 1, "once: {}", replica.log());
    assert!(replica.log().contains("another certificate is served"), "{}", replica.log());
}

/// No webhook is left that could fail, and nobody brings one back.
fn the_end(cluster: &Cluster, replicas: &[Gapless; 2]) {
    uninstall(cluster);
    thread::sleep(Duration::from_secs(2));
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        assert_eq!(cluster.kubectl(["get", kind, "-o", "name"]).ok().stdout, "", "{kind}");
    }
    assert!(stored(cluster, "tls.crt").is_some(), "the Secret stays, as the notes say");
    for replica in replicas {
        assert_eq!(replica.ops_get("/readyz").0, 200);
    }
}
