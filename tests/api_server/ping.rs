//! `gapless ping` against the webhooks of a real API server. Directly through a Service,
//! as `helm test` calls, it is in tests/node/in_cluster.rs.

use std::process::{Command, Output};

use crate::support::fixtures::repository_file;
use crate::support::gapless::{CONFIGURATIONS, RELEASE_NAMESPACE, install, uninstall, upgrade};
use crate::support::{self, Cluster, Gapless, eventually};

/// Exit code, standard output and standard error of the call that `helm test` makes.
fn ping(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String, String) {
    let direct = ["--direct", "--webhook-configurations"];
    ping_as(cluster, "admin", &[&direct, arguments].concat())
}

fn ping_as(cluster: &Cluster, user: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .arg("ping")
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig(user))
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
    assert_eq!(output.lines().count(), 9, "{output}");
    for (webhook, expected) in [
        ("production.mutate.gapless.dev", "completes the Deployment"),
        ("production.validate.gapless.dev", "denies the Deployment"),
        ("advisory.validate.gapless.dev", "allows the Deployment"),
        ("production.services.validate.gapless.dev", "allows the Service"),
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
    assert_eq!(output.matches(silent).count(), 9, "{output}");

    // Nobody listens any more.
    strict.terminate();
    let (code, output, _) = ping(cluster, &[CONFIGURATIONS, "--wait", "1500ms"]);
    assert_eq!(code, Some(1));
    assert_eq!(output.matches("Connection refused").count(), 9, "{output}");
}

/// What is said about a webhook, without how long it took.
fn said(output: &str, webhook: &str) -> String {
    let line = output.lines().find_map(|line| line.strip_prefix(webhook)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("nothing about {webhook}:\n{output}")).trim_start();
    match line.split_once(" in ") {
        Some(("answers the API server", rest)) => {
            format!("answers about{}", rest.split_once("about").unwrap_or_default().1)
        }
        _ => line.to_owned(),
    }
}

/// Asks until both have heard of a change: gapless of its end, the API server of a
/// webhook configuration.
#[track_caller]
fn eventually_said(cluster: &Cluster, code: i32, expected: [(&str, &str); 2]) {
    eventually("the word about each webhook", || {
        let (is, output, error) = ping_as(cluster, "admin", &[]);
        let is_said = |(webhook, beginning): (&str, &str)| {
            output.contains(webhook) && said(&output, webhook).starts_with(beginning)
        };
        if is == Some(code) && expected.into_iter().all(is_said) { Ok(()) } else { Err(output + &error) }
    });
}

const MUTATE: &str = "production.mutate.gapless.dev";
const VALIDATE: &str = "production.validate.gapless.dev";

#[test]
fn says_which_webhooks_the_api_server_reaches() {
    let Some(cluster) = &support::own_cluster(&[]) else { return };
    let (code, _, error) = ping_as(cluster, "admin", &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no webhook of gapless is installed in this cluster"), "{error}");

    let gapless = Gapless::start(cluster, [""; 0]);
    install(cluster, &gapless, "");
    let (code, output, error) = ping_as(cluster, "admin", &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{output}");
    assert_eq!(output.lines().count(), 9, "{output}");
    let no_namespace = "not asked: it selects no namespace of this cluster";
    for (webhook, expected) in [
        (MUTATE, "answers about a Deployment in namespace default"),
        (VALIDATE, "answers about a Deployment in namespace default"),
        ("production.services.validate.gapless.dev", "not asked: it is not called for new Deployments"),
        ("advisory.mutate.gapless.dev", no_namespace),
        ("development.validate.gapless.dev", no_namespace),
    ] {
        assert_eq!(said(&output, webhook), expected, "{output}");
    }

    let trial = cluster.namespace_labelled(&[("gapless.dev/profile", "advisory")]);
    let (code, output, _) = ping_as(cluster, "admin", &["--webhook-configurations", CONFIGURATIONS]);
    assert_eq!(code, Some(0), "{output}");
    for phase in ["mutate", "validate"] {
        let said = said(&output, &format!("advisory.{phase}.gapless.dev"));
        assert_eq!(said, format!("answers about a Deployment in namespace {}", trial.name), "{output}");
    }
    assert_eq!(cluster.kubectl(["get", "deployments", "--all-namespaces", "-o", "name"]).ok().stdout, "");

    a_user_with_fewer_rights(cluster);

    // With failurePolicy Ignore the API server goes on without a word.
    gapless.terminate();
    let unheard = "FAILS: nothing of it is heard about a Deployment in namespace default: the API server cannot call \
                   it and goes on without (failurePolicy Ignore)";
    eventually_said(cluster, 1, [(MUTATE, unheard), (VALIDATE, unheard)]);

    // With Fail it says what is wrong.
    let gone = Gapless::start(cluster, [""; 0]);
    upgrade(cluster, &gone, "webhooks: {failurePolicy: Fail, mutating: {failurePolicy: Ignore}}");
    gone.terminate();
    let failed = format!("FAILS: Internal error occurred: failed calling webhook \"{VALIDATE}\": ");
    let unseen =
        "not asked: the API server refuses the Deployment in namespace default before it can be seen: ";
    eventually_said(cluster, 1, [(MUTATE, unseen), (VALIDATE, &failed)]);
    let (_, output, _) = ping_as(cluster, "admin", &[]);
    assert!(said(&output, VALIDATE).contains("connect: connection refused"), "{output}");

    uninstall(cluster);
    let (code, _, error) = ping_as(cluster, "admin", &[]);
    assert_eq!(code, Some(2), "{error}");
}

/// Who may look at webhooks, but not create Deployments everywhere.
fn a_user_with_fewer_rights(cluster: &Cluster) {
    let namespace = cluster.namespace();
    namespace.kubectl(["create", "serviceaccount", "robot"]).ok();
    let token = namespace.kubectl(["create", "token", "robot"]).ok().stdout;
    cluster.write_kubeconfig("robot", token.trim());
    let account = format!("system:serviceaccount:{}:robot", namespace.name);
    let allow = |role: &str, resources: &str| {
        cluster.kubectl(["create", "clusterrole", role, "--verb=list", "--resource", resources]).ok();
        let subject = format!("--serviceaccount={}:robot", namespace.name);
        cluster.kubectl(["create", "clusterrolebinding", role, "--clusterrole", role, &subject]).ok();
    };
    let eventually_said = |code: i32, expected: &str| {
        eventually("the new role", || {
            let (is, output, error) = ping_as(cluster, "robot", &[]);
            let is_said =
                || [MUTATE, VALIDATE].into_iter().all(|webhook| said(&output, webhook).starts_with(expected));
            if is == Some(code) && error.is_empty() && is_said() { Ok(()) } else { Err(output + &error) }
        });
    };

    let (code, output, error) = ping_as(cluster, "robot", &[]);
    assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("the permission to list mutatingwebhookconfigurations"), "{error}");

    allow("look-at-webhooks", "mutatingwebhookconfigurations,validatingwebhookconfigurations");
    eventually_said(
        2,
        "not asked: it selects no namespace that is known: the permission to list namespaces is missing",
    );

    allow("look-at-namespaces", "namespaces");
    eventually_said(
        2,
        "not asked: the permission to create deployments.apps in namespace default is missing; the API server says: \
         deployments.apps is forbidden: User ",
    );

    namespace.grant(&account, &["create"], "deployments.apps");
    eventually_said(0, &format!("answers about a Deployment in namespace {}", namespace.name));
}
