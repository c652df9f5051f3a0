//! Profiles, exemptions and waivers on a real API server, and a configuration
//! that changes meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::installed::{config, installed};
use crate::support::client::{Invocation, Output};
use crate::support::deployment::deployment;
use crate::support::eventually;
use crate::support::namespace::Namespace;

fn in_profile(profile: &str) -> Option<Namespace<'static>> {
    Some(installed()?.cluster.namespace_labelled(&[("gapless.dev/profile", profile)]))
}

/// A Deployment that breaks no rule of `production`.
fn sound() -> Value {
    let mut deployment = deployment("web");
    deployment["metadata"]["annotations"] = json!({});
    deployment
}

/// One that `production` denies, and that waives the rule for this reason.
fn harmful(waiver: Option<&str>) -> Value {
    let mut deployment = sound();
    deployment["spec"]["revisionHistoryLimit"] = json!(0);
    if let Some(reason) = waiver {
        deployment["metadata"]["annotations"]["gapless.dev/waive.no-rollback-history"] = json!(reason);
    }
    deployment
}

fn create<'a>(namespace: &Namespace<'a>, deployment: &Value) -> Invocation<'a> {
    namespace.create(&deployment.to_string())
}

/// Nothing was injected, and nobody said a word.
#[track_caller]
fn is_untouched(output: &Output, stored: &Value) {
    assert!(!output.stderr.contains("gapless"), "{output}");
    assert_eq!(stored["metadata"]["annotations"]["gapless.dev/injected"], Value::Null, "{stored:#}");
    assert_eq!(stored["spec"]["template"]["spec"]["containers"][0]["lifecycle"], Value::Null, "{stored:#}");
    assert_eq!(stored["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30, "{stored:#}");
    assert_eq!(stored["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], "25%", "{stored:#}");
}

fn sleep_seconds(deployment: &Value) -> Option<u64> {
    deployment.pointer("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds")?.as_u64()
}

/// Waits until the audit log has an event of this namespace with this annotation.
#[track_caller]
fn audit_annotation(namespace: &Namespace, annotation: &str) -> String {
    eventually(annotation, || {
        let log = namespace.audit_log();
        let found = log.iter().find_map(|event| event["annotations"][annotation].as_str());
        found.map(str::to_owned).ok_or_else(|| format!("{log:#?}"))
    })
}

#[test]
fn what_production_only_notes_another_profile_shows() {
    let mut noted = sound();
    let container = &mut noted["spec"]["template"]["spec"]["containers"][0];
    container["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "10"]}}});
    let Some(namespace) = in_profile("production") else { return };
    let output = create(&namespace, &noted).ok();
    assert!(!output.stderr.contains("(shell-sleep)"), "{output}");

    let Some(namespace) = in_profile("loud") else { return };
    let output = create(&namespace, &noted).ok();
    assert!(output.stderr.lines().any(|line| line.ends_with("(shell-sleep)")), "{output}");

    // A digest alone is no version.
    noted["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!("registry.example/web@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b");
    noted["metadata"]["name"] = json!("nameless");
    create(&namespace, &noted).fails().assert_denied("loud", "missing-version-label");
}

#[test]
fn a_profile_of_ones_own_has_its_own_webhooks_and_values() {
    let Some(namespace) = in_profile("payments") else { return };
    let mut lonely = sound();
    lonely["spec"]["replicas"] = json!(1);
    create(&namespace, &lonely).fails().assert_denied("payments", "single-replica");
    create(&namespace, &harmful(None)).fails().assert_denied("payments", "no-rollback-history");

    let output = create(&namespace, &sound()).ok();
    assert!(output.stderr.contains("added preStop sleep 17s"), "{output}");
    let stored = namespace.get_json("deployment", "web");
    assert_eq!(sleep_seconds(&stored), Some(17));
    assert_eq!(stored["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 47);
    assert_eq!(audit_annotation(&namespace, "payments.mutate.gapless.dev/profile"), "payments");

    // In the default profile, one replica is but a warning.
    let Some(installed) = installed() else { return };
    let default = installed.cluster.namespace();
    let output = create(&default, &lonely).ok();
    assert!(output.stderr.contains("(single-replica)"), "{output}");
    assert_eq!(sleep_seconds(&default.get_json("deployment", "web")), Some(10));
}

#[test]
fn a_misspelt_label_means_the_default_profile() {
    let Some(namespace) = in_profile("paymemts") else { return };
    create(&namespace, &harmful(None)).fails().assert_denied("production", "no-rollback-history");
    create(&namespace, &sound()).ok();
    assert_eq!(sleep_seconds(&namespace.get_json("deployment", "web")), Some(10));
}

#[test]
fn an_exempt_user_is_left_alone() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    namespace.grant("team", &["create", "get", "patch"], "deployments.apps");
    create(&namespace, &harmful(None)).fails().assert_denied("production", "no-rollback-history");

    let output = create(&namespace, &harmful(None)).user("team").ok();
    is_untouched(&output, &namespace.get_json("deployment", "web"));
    for phase in ["mutate", "validate"] {
        let annotation = format!("production.{phase}.gapless.dev/skipped");
        assert_eq!(audit_annotation(&namespace, &annotation), "exempt-user");
    }

    // The object is not exempt: somebody else's update completes it.
    let image = ["set", "image", "deployment/web", "app=registry.example/web:1.2.4"];
    namespace.kubectl(image).ok();
    assert_eq!(sleep_seconds(&namespace.get_json("deployment", "web")), Some(10));
}

#[test]
fn an_exempt_group_is_left_alone() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let as_member_of = |groups: &[&str]| {
        let groups = groups.iter().map(|group| format!("--as-group={group}"));
        create(&namespace, &harmful(None)).args(["--as=jane"]).args(groups)
    };
    as_member_of(&["system:masters"]).fails().assert_denied("production", "no-rollback-history");
    let output = as_member_of(&["system:masters", "operators"]).ok();
    is_untouched(&output, &namespace.get_json("deployment", "web"));
    assert_eq!(audit_annotation(&namespace, "production.validate.gapless.dev/skipped"), "exempt-user");
}

#[test]
fn an_exempt_namespace_is_left_alone() {
    let Some(installed) = installed() else { return };
    let kubectl =
        |arguments: &[&str]| installed.cluster.kubectl(["--namespace", "left-alone"]).args(arguments);
    kubectl(&["create", "namespace", "left-alone"]).ok();
    let output = kubectl(&["create", "-f", "-"]).stdin(harmful(None).to_string()).ok();
    is_untouched(&output, &kubectl(&["get", "deployment", "web", "-o", "json"]).ok().json());
    let (_, metrics) = installed.gapless.ops_get("/metrics");
    let counted = "gapless_skips_total{reason=\"exempt-namespace\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted)).unwrap();
    assert_eq!(count, "2", "by each of the two webhooks");
}

#[test]
fn a_waiver_with_a_reason_is_heard_and_recorded() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let reason = "kept in Git, until 2999-12-31";
    let output = create(&namespace, &harmful(Some(reason))).ok();
    assert!(!output.stderr.contains("no-rollback-history"), "{output}");
    let waived = audit_annotation(&namespace, "production.validate.gapless.dev/waived");
    assert_eq!(waived, format!("no-rollback-history: {reason}"));
    let (_, metrics) = installed.gapless.ops_get("/metrics");
    assert!(!metrics.contains("gapless_waivers_total{id=\"no-rollback-history\"} 0\n"), "{metrics}");
}

#[test]
fn a_waiver_that_has_no_effect_says_why() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    for (reason, why) in [
        ("until 2020-01-31", "gapless.dev/waive.no-rollback-history expired after 2020-01-31"),
        ("", "gapless.dev/waive.no-rollback-history has no effect: write the reason as its value"),
    ] {
        let output = create(&namespace, &harmful(Some(reason))).fails();
        output.assert_denied("production", "no-rollback-history");
        assert!(output.stderr.contains(why), "{output}");
        assert!(output.stderr.contains("annotate with gapless.dev/waive.<rule>: <reason>"), "{output}");
    }
    let waived = namespace
        .audit_log()
        .into_iter()
        .any(|event| event["annotations"]["production.validate.gapless.dev/waived"].is_string());
    assert!(!waived);
}

#[test]
fn waivers_can_be_forbidden() {
    let Some(namespace) = in_profile("strict") else { return };
    let output = create(&namespace, &harmful(Some("kept in Git"))).fails();
    output.assert_denied("strict", "no-rollback-history");
    assert!(output.stderr.contains("has no effect: waivers are forbidden here"), "{output}");
    assert!(!output.stderr.contains("annotate with"), "nobody is told to: {output}");
}

#[test]
fn advisory_says_what_would_be_and_does_nothing() {
    let Some(namespace) = in_profile("advisory") else { return };
    let output = create(&namespace, &harmful(None)).ok();
    let warns = |text: &str| {
        output.stderr.lines().any(|line| line.starts_with("Warning: gapless: ") && line.contains(text))
    };
    assert!(warns("(no-rollback-history)"), "{output}");
    assert!(
        warns(
            "would inject: added preStop sleep 10s to container app, grace period 30s -> 40s (pre-stop-sleep)"
        ),
        "{output}"
    );
    assert!(warns("(readiness-probe)") && warns("(version-label)"), "{output}");
    assert!(
        !warns("(missing-pre-stop)") && !warns("(missing-readiness-probe)"),
        "these would be injected: {output}"
    );
    let stored = namespace.get_json("deployment", "web");
    assert_eq!(stored["metadata"]["annotations"]["gapless.dev/injected"], Value::Null);
    assert_eq!(sleep_seconds(&stored), None);
    assert_eq!(stored["spec"]["template"]["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(stored["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], "25%");
    let findings = audit_annotation(&namespace, "advisory.validate.gapless.dev/findings");
    assert!(findings.contains("warn no-rollback-history"), "{findings}");
}

/// Good and bad files by turns under a constant stream of requests.
#[test]
fn a_changing_configuration_loses_no_call() {
    let Some(installed) = installed() else { return };
    let Some(namespace) = in_profile("changing") else { return };
    let dry_run = || {
        let create = namespace.create(&sound().to_string()).args(["--dry-run=server", "-o", "json"]);
        sleep_seconds(&create.ok().json()).unwrap()
    };
    let denied = || {
        let output = namespace.create(&harmful(None).to_string()).args(["--dry-run=server"]).fails();
        output.assert_denied("changing", "no-rollback-history");
    };
    let has_ended = AtomicBool::new(false);
    let clients = thread::scope(|scope| {
        let client = || {
            let mut seen = Vec::new();
            while !has_ended.load(Ordering::Relaxed) {
                seen.push(dry_run());
                denied();
            }
            seen
        };
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(client)).collect();
        // Whatever happens in here, the clients are to end.
        let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for seconds in 12..18_u64 {
                installed.reconfigure(&config(seconds));
                eventually("the new policy", || match dry_run() {
                    seen if seen == seconds => Ok(()),
                    seen => Err(format!("preStop sleep {seen}s, not {seconds}s")),
                });
                installed.reconfigure(&config(seconds).replace("extends", "extend"));
                eventually("the complaint", || {
                    let (status, verbose) = installed.gapless.ops_get("/readyz?verbose");
                    assert_eq!(status, 200, "{verbose}");
                    if verbose.contains("did you mean extends?") { Ok(()) } else { Err(verbose) }
                });
                assert_eq!(dry_run(), seconds, "the older policy stays in force");
            }
        }));
        has_ended.store(true, Ordering::Relaxed);
        changes.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        clients
            .into_iter()
            .map(|client| client.join().expect("a client that lost no call"))
            .collect::<Vec<_>>()
    });
    for seen in clients {
        assert!(seen.is_sorted(), "policies come one after the other: {seen:?}");
        assert_ne!(seen.first(), seen.last(), "several of them");
        assert!(seen.iter().all(|seconds| (11..18).contains(seconds)), "{seen:?}");
    }
    installed.reconfigure(&config(18));
    eventually("the end of the complaint", || {
        let (_, verbose) = installed.gapless.ops_get("/readyz?verbose");
        if verbose.contains("[+]configuration ok") { Ok(()) } else { Err(verbose) }
    });
    let (_, metrics) = installed.gapless.ops_get("/metrics");
    for line in [
        "gapless_config_reloads_total{result=\"success\"} 7",
        "gapless_config_reloads_total{result=\"failure\"} 6",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line}\n{metrics}");
    }
    let errors: Vec<&str> =
        metrics.lines().filter(|line| line.contains("decision=\"error\"") && !line.ends_with(" 0")).collect();
    assert_eq!(errors, [""; 0], "every call was answered");
}
