//! `gapless ping` against the webhooks of a real API server. Through a Service, as
//! `helm test` calls, it is in tests/node/in_cluster.rs.

use std::process::{Command, Output};

use crate::support::fixtures::repository_file;
use crate::support::gapless::{CONFIGURATIONS, RELEASE_NAMESPACE, install, upgrade};
use crate::support::{self, Cluster, Gapless};

/// Exit code, standard output and standard error.
fn ping(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["ping", "--webhook-configurations"])
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig("admin"))
        .output()
        .expect("gapless can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The parts of the line about a webhook that do not tell the time.
fn outcome<'o>(output: &'o str, webhook: &str) -> &'o str {
    let line = output.lines().find(|line| line.starts_with(&format!("{webhook} ")));
    let line = line.unwrap_or_else(|| panic!("nothing about {webhook}:\n{output}"));
    line.rsplit(", ").next().unwrap()
}

#[test]
fn says_what_each_webhook_answers() {
    // Of its own: all webhooks are led astray.
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let (code, _, error) = ping(cluster, &[CONFIGURATIONS]);
    assert_eq!(code, Some(2));
    assert!(error.contains("there is no MutatingWebhookConfiguration gapless.gapless-system"), "{error}");

    let gapless = Gapless::start(cluster, [""; 0]);
    install(cluster, &gapless, "");
    let (code, output, error) = ping(cluster, &[CONFIGURATIONS]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{output}");
    assert_eq!(output.lines().count(), 6, "{output}");
    for (webhook, expected) in [
        ("production.mutate.gapless.dev", "completes the Deployment"),
        ("production.validate.gapless.dev", "denies the Deployment"),
        ("advisory.validate.gapless.dev", "allows the Deployment"),
    ] {
        assert_eq!(outcome(&output, webhook), expected, "{output}");
    }
    let (_, metrics) = gapless.ops_get("/metrics");
    assert!(metrics.contains(r#"operation="CREATE",dry_run="true",decision="deny""#), "{metrics}");

    // It trusts what the API server would trust.
    let other = Gapless::start(cluster, [""; 0]);
    cluster
        .helm(["upgrade", "gapless"])
        .args([repository_file("charts/gapless")])
        .args(["--namespace", RELEASE_NAMESPACE, "--set", &format!("webhooks.url={}", other.webhooks)])
        .args(["--set-file", &format!("webhooks.caBundle={}", gapless.ca.as_ref().unwrap().display())])
        .ok();
    let (code, output, _) = ping(cluster, &[CONFIGURATIONS]);
    assert_eq!(code, Some(1));
    for line in output.lines() {
        assert!(line.contains(&format!("FAILS: {}", other.webhooks)), "{line}");
        assert!(line.contains("invalid peer certificate"), "{line}");
    }

    // One that answers only the API server is there all the same.
    let ca = rcgen::generate_simple_self_signed(["nobody".to_owned()]).unwrap().cert.pem();
    let path = cluster.file("client-ca.crt");
    std::fs::write(&path, ca).unwrap();
    let strict = Gapless::start(cluster, ["--client-ca".as_ref(), path.as_os_str()]);
    upgrade(cluster, &strict, "");
    let (code, output, _) = ping(cluster, &[CONFIGURATIONS]);
    assert_eq!(code, Some(0), "{output}");
    let silent = "is there, and answers nobody without a client certificate";
    assert_eq!(output.matches(silent).count(), 6, "{output}");

    // Nobody listens any more.
    strict.terminate();
    let (code, output, _) = ping(cluster, &[CONFIGURATIONS, "--wait", "1500ms"]);
    assert_eq!(code, Some(1));
    assert_eq!(output.matches("Connection refused").count(), 6, "{output}");
}
