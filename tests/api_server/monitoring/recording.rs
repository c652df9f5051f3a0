//! What a gapless and an API server really expose before, during and after what
//! alerts are about.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::promql::Scrape;
use crate::support::deployment::deployment_with;
use crate::support::fixtures::{configuration, repository_file};
use crate::support::gapless::{install, upgrade, wait_for_webhooks};
use crate::support::namespace::Namespace;
use crate::support::{self, Cluster, Gapless, eventually};

/// The values of the release while it is recorded: the shortest timeout, since some
/// calls wait for it.
pub const VALUES: &str = "webhooks: {timeoutSeconds: 1}";

/// Scrapes of one gapless and one API server, in the order of what happened.
pub struct Recording {
    /// Nobody has asked anything yet.
    pub fresh: Both,
    /// Deployments were created, completed, denied, waived, skipped; dry runs too.
    pub busy: Both,
    /// Calls that could not be answered, and then some more.
    pub errors: [Scrape; 2],
    /// A new configuration was refused.
    pub config_refused: Scrape,
    /// A new certificate was refused.
    pub certificate_refused: Scrape,
    /// The mutating configuration was deleted; then Deployments were created, and more.
    pub not_injecting: [Scrape; 3],
    /// The same with the validating one.
    pub not_validating: [Scrape; 3],
    /// Calls that nobody answered in time, and then some more.
    pub slow: [Scrape; 2],
    /// All is well again; then gapless is gone, and Deployments pass.
    pub fail_open: [Scrape; 2],
    /// The same with failurePolicy Fail: one is rejected, then another, then another.
    pub fail_closed: [Scrape; 3],
}

/// A moment, as both see it.
pub struct Both {
    pub gapless: Scrape,
    pub api_server: Scrape,
}

impl Recording {
    /// Made when it is first asked for, in a control plane of its own: all webhooks of an
    /// API server are counted, and those of gapless are deleted. `None`: Go is missing.
    pub fn get() -> Option<&'static Recording> {
        static RECORDING: LazyLock<Option<Recording>> =
            LazyLock::new(|| Some(record(&support::own_cluster(&[])?)));
        // Asked here too, so that each skipped test says that it is.
        support::cluster()?;
        RECORDING.as_ref()
    }
}

/// The kinds around workloads, without that of Argo Rollouts.
const WATCHED_IN_ANY_CLUSTER: usize = 10;

fn record(cluster: &Cluster) -> Recording {
    let config = cluster.file("config.yaml");
    configure(&config, "production");
    let path = config.display().to_string();
    let mut gapless = Gapless::start(
        cluster,
        ["--config", &path, "--config-poll-interval", "50ms", "--shutdown-delay", "0s", "--cluster-context"],
    );
    eventually("all kinds", || {
        let (_, metrics) = gapless.ops_get("/metrics");
        let kinds = metrics.lines().filter(|line| line.starts_with("gapless_context_synced{"));
        let is_filled =
            kinds.clone().count() == WATCHED_IN_ANY_CLUSTER && kinds.clone().all(|line| line.ends_with(" 1"));
        if is_filled { Ok(()) } else { Err(metrics) }
    });
    let fresh = Both::scrape(cluster, &gapless);
    install(cluster, &gapless, VALUES);
    let namespace = cluster.namespace();

    all_kinds_of_traffic(&namespace);
    let busy = Both::scrape(cluster, &gapless);

    let errors = [(); 2].map(|()| {
        for path in ["/mutate", "/validate/advisory"] {
            call_with_rubbish(cluster, &gapless, path);
        }
        of_gapless(&gapless)
    });
    configure(&config, "prodution");
    let config_refused = eventually_exposes(&gapless, "gapless_config_reloads_total{result=\"failure\"} 1");
    configure(&config, "production");
    let certificate_refused = refuse_a_certificate(cluster);

    let [not_injecting, not_validating] = ["mutating", "validating"].map(|kind| {
        let scrapes = without_configuration(cluster, &gapless, &namespace, kind);
        upgrade(cluster, &gapless, VALUES);
        wait_for_webhooks(cluster);
        scrapes
    });

    let url = gapless.webhooks.clone();
    let slow = call_somebody_who_never_answers(cluster, &mut gapless, &namespace);
    gapless.webhooks = url;
    upgrade(cluster, &gapless, VALUES);
    wait_for_webhooks(cluster);

    let well_again = of_api_server(cluster);
    gapless.terminate();
    namespace.create(&deployment("nobody-looks", &json!({"revisionHistoryLimit": 0}))).ok();
    let fail_open = [well_again, of_api_server(cluster)];
    let fail_closed = reject_for_want_of_an_answer(cluster, &namespace);

    Recording {
        fresh,
        busy,
        errors,
        config_refused,
        certificate_refused,
        not_injecting,
        not_validating,
        slow,
        fail_open,
        fail_closed,
    }
}

impl Both {
    fn scrape(cluster: &Cluster, gapless: &Gapless) -> Both {
        Both { gapless: of_gapless(gapless), api_server: of_api_server(cluster) }
    }
}

fn of_gapless(gapless: &Gapless) -> Scrape {
    let (status, text) = gapless.ops_get("/metrics");
    assert_eq!(status, 200);
    Scrape::of_gapless(text)
}

/// Of the ten thousand series of an API server, those about webhooks.
fn of_api_server(cluster: &Cluster) -> Scrape {
    let metrics = cluster.kubectl(["get", "--raw", "/metrics"]).ok().stdout;
    let about_webhooks = metrics.lines().filter(|line| line.contains("apiserver_admission_webhook_"));
    Scrape::plain(about_webhooks.map(|line| format!("{line}\n")).collect())
}

#[track_caller]
fn eventually_exposes(gapless: &Gapless, line: &str) -> Scrape {
    eventually(line, || {
        let scrape = of_gapless(gapless);
        if scrape.text.lines().any(|it| it == line) { Ok(scrape) } else { Err(scrape.text) }
    })
}

fn configure(file: &Path, default_profile: &str) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, configuration(&format!("defaultProfile: {default_profile}"))).unwrap();
    fs::rename(&fresh, file).unwrap();
}

/// A Deployment that can be completed, with more in its spec.
fn deployment(name: &str, more: &Value) -> String {
    deployment_with(name, more).to_string()
}

fn all_kinds_of_traffic(namespace: &Namespace) {
    namespace.create(&deployment("web", &json!({}))).ok();
    namespace.kubectl(["annotate", "deployment/web", "note=hello"]).ok();
    let bad = deployment("bad", &json!({"revisionHistoryLimit": 0}));
    namespace.create(&bad).fails();
    for _ in 0..10 {
        namespace.create(&bad).args(["--dry-run=server"]).fails();
    }
    let waived = bad.replace(
        r#""name":"bad""#,
        r#""name":"waived","annotations":{"gapless.dev/waive.no-rollback-history":"a test"}"#,
    );
    namespace.create(&waived).ok();
    namespace.kubectl(["delete", "deployment/waived", "--wait=false"]).ok();
    let owner = r#"{"apiVersion":"example.com/v1","kind":"Canary","name":"web","uid":"1","controller":true}"#;
    let owned = bad.replace(r#""name":"bad""#, &format!(r#""name":"owned","ownerReferences":[{owner}]"#));
    namespace.create(&owned).ok();
}

/// As somebody would who is not the API server.
fn call_with_rubbish(cluster: &Cluster, gapless: &Gapless, path: &str) {
    let ca = gapless.ca.as_ref().unwrap().display().to_string();
    let post = cluster.kubectl(["create", "--raw", path, "-f", "-"]).args(["--server", &gapless.webhooks]);
    post.args(["--certificate-authority", &ca]).stdin("rubbish").fails();
}

/// Another gapless, whose certificate comes from files.
fn refuse_a_certificate(cluster: &Cluster) -> Scrape {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| cluster.file(name));
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate, generated.cert.pem()).unwrap();
    fs::write(&key, generated.signing_key.serialize_pem()).unwrap();
    let [certificate_path, key_path] = [&certificate, &key].map(|path| path.display().to_string());
    let arguments = ["--tls-cert", &certificate_path, "--tls-key", &key_path, "--tls-poll-interval", "50ms"];
    let gapless = Gapless::start(cluster, arguments);
    fs::write(&certificate, "rubbish").unwrap();
    eventually_exposes(&gapless, "gapless_certificate_reloads_total{result=\"failure\"} 1")
}

/// Deletes a webhook configuration. Scrapes gapless when that has taken effect, after
/// some Deployments, and after some more.
fn without_configuration(
    cluster: &Cluster,
    gapless: &Gapless,
    namespace: &Namespace,
    kind: &str,
) -> [Scrape; 3] {
    let webhook = if kind == "mutating" { "mutate" } else { "validate" };
    let count = format!("gapless_admission_duration_seconds_count{{webhook=\"{webhook}\"}} ");
    let calls =
        |scrape: &Scrape| scrape.text.lines().find_map(|line| Some(line.strip_prefix(&count)?.to_owned()));
    let items: Vec<Value> = (0..6)
        .map(|number| serde_json::from_str(&deployment(&format!("web-{number}"), &json!({}))).unwrap())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();

    cluster.kubectl(["delete", &format!("{kind}webhookconfiguration"), "gapless.gapless-system"]).ok();
    let create = || {
        namespace.create(&list).args(["--dry-run=server"]).ok();
        of_gapless(gapless)
    };
    let [before, after] = eventually("the end of the configuration", || {
        let before = of_gapless(gapless);
        let after = create();
        assert!(calls(&before).is_some(), "{}", before.text);
        if calls(&before) == calls(&after) { Ok([before, after]) } else { Err(after.text) }
    });
    [before, after, create()]
}

/// The kernel takes the connections, and nobody speaks on them.
fn call_somebody_who_never_answers(
    cluster: &Cluster,
    gapless: &mut Gapless,
    namespace: &Namespace,
) -> [Scrape; 2] {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    gapless.webhooks = format!("https://{}", silent.local_addr().unwrap());
    upgrade(cluster, gapless, VALUES);
    let create = || namespace.create(&deployment("web-slow", &json!({}))).args(["--dry-run=server"]).ok();
    let first = eventually("calls that nobody answers", || {
        create();
        let scrape = of_api_server(cluster);
        let counted = |webhook: &str| {
            let counter =
                format!("apiserver_admission_webhook_fail_open_count{{name=\"production.{webhook}.");
            scrape.text.contains(&counter)
        };
        if counted("mutate") && counted("validate") { Ok(scrape) } else { Err(scrape.text) }
    });
    create();
    [first, of_api_server(cluster)]
}

fn reject_for_want_of_an_answer(cluster: &Cluster, namespace: &Namespace) -> [Scrape; 3] {
    let chart = repository_file("charts/gapless").display().to_string();
    let upgrade = ["upgrade", "gapless", &chart, "--namespace", super::NAMESPACE, "--reuse-values"];
    cluster.helm(upgrade).args(["--set", "webhooks.failurePolicy=Fail"]).ok();
    let create = || namespace.create(&deployment("held-up", &json!({}))).args(["--dry-run=server"]).run();
    let failing = "failed calling webhook \"production.mutate.gapless.dev\"";
    eventually("the failurePolicy", || {
        let output = create();
        if output.stderr.contains(failing) { Ok(()) } else { Err(output.to_string()) }
    });
    let first = of_api_server(cluster);
    let [second, third] = [(); 2].map(|()| {
        let output = create();
        assert!(output.stderr.contains(failing), "{output}");
        of_api_server(cluster)
    });
    [first, second, third]
}
