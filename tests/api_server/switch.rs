//! A Service whose selector changes, with kubectl: the last step of a blue/green release.

use serde_json::{Value, json};

use crate::support::client::Output;
use crate::support::fixtures::scenario;
use crate::support::gapless::install;
use crate::support::namespace::Namespace;
use crate::support::{self, Gapless, eventually};

const RULE: &str = "switch-to-unready";
const SERVICE: &str = "chatbot-service";

/// The warnings of the rule.
fn warnings(output: &Output) -> Vec<&str> {
    let end = format!("({RULE})");
    let lines = output.stderr.lines();
    lines.filter(|line| line.starts_with("Warning: gapless: ") && line.ends_with(&end)).collect()
}

/// A dry run of a patch to the Service.
fn tried(namespace: &Namespace, patch: &Value) -> Output {
    let patch = patch.to_string();
    namespace.kubectl(["patch", "service", SERVICE, "--dry-run=server", "--type=merge", "-p", &patch]).ok()
}

fn colour(colour: &str) -> Value {
    json!({"spec": {"selector": {"app": "chatbot", "version": colour}}})
}

/// Tries a patch until the rule speaks, or is silent: what it goes by comes by itself.
#[track_caller]
fn comes_to(namespace: &Namespace, patch: &Value, is_found: bool) -> Output {
    eventually(RULE, || {
        let output = tried(namespace, patch);
        if warnings(&output).is_empty() == is_found { Err(output.to_string()) } else { Ok(output) }
    })
}

/// Makes the pods of a colour ready, as a kubelet would, long enough ago.
#[track_caller]
pub(super) fn become_ready(namespace: &Namespace, colour: &str) {
    let selector = format!("version={colour}");
    let names = eventually("pods", || {
        let output = namespace.kubectl(["get", "pods", "-o", "name", "-l", &selector]).ok();
        if output.stdout.is_empty() { Err(output.to_string()) } else { Ok(output.stdout) }
    });
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
    let patch = json!({"status": {"conditions": [ready]}}).to_string();
    for name in names.lines() {
        namespace.kubectl(["patch", name, "--subresource=status", "-p", &patch]).ok();
    }
}

/// How many updates the validating webhook has judged.
fn updates(gapless: &Gapless) -> u64 {
    let metrics = gapless.ops_get("/metrics").1;
    let is_one =
        |line: &&str| line.starts_with("gapless_admission_requests_total") && line.contains("UPDATE");
    let counts = metrics.lines().filter(is_one).filter(|line| line.contains(r#"webhook="validate""#));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A control plane of its own, as for all tests of the cluster's context.
#[test]
fn a_switch_to_pods_that_are_not_there_is_warned_about() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let gapless = Gapless::start(&cluster, ["--cluster-context"]);
    install(&cluster, &gapless, "clusterContext: {enabled: true}");
    let namespace = cluster.namespace();
    let switch = scenario("blue-green-switch.yaml");

    // All of it is new, in whatever order.
    let created = namespace.create(&switch).ok();
    assert_eq!(created.stderr, "");
    namespace.kubectl(["delete", "service", SERVICE]).ok();
    let applied = namespace.apply(&scenario("blue-green.yaml")).ok();
    assert!(warnings(&applied).is_empty(), "{applied}");

    // Too early: it goes through, and says so.
    comes_to(&namespace, &colour("green"), true);
    let early = namespace.apply(&switch).ok();
    let line = "Warning: gapless: spec.selector: switches to pods of Deployment chatbot-green, and none is available \
                (switch-to-unready)";
    assert_eq!(warnings(&early), [line], "{early}");
    assert_eq!(namespace.get_json("service", SERVICE)["spec"]["selector"]["version"], "green");
    let annotation = "production.services.validate.gapless.dev/findings";
    eventually("the audit log", || {
        let log = namespace.audit_log();
        let mut found = log.iter().filter_map(|event| event["annotations"][annotation].as_str());
        if found.any(|text| text.contains(RULE)) { Ok(()) } else { Err(format!("{} events", log.len())) }
    });

    // What selects nobody else is no switch, and not even asked about.
    let before = updates(&gapless);
    let same =
        json!({"spec": {"ports": [{"port": 81, "targetPort": 5000}]}, "metadata": {"labels": {"a": "b"}}});
    let none = json!({"spec": {"selector": null}});
    for patch in [&colour("green"), &same, &none] {
        let output = tried(&namespace, patch);
        assert_eq!(output.stderr, "", "{patch}");
    }
    assert_eq!(updates(&gapless), before);
    // From a Service that selected nobody it is a switch too.
    namespace.kubectl(["patch", "service", SERVICE, "--type=merge", "-p", &none.to_string()]).ok();
    assert_eq!(warnings(&tried(&namespace, &colour("blue"))).len(), 1);
    assert_eq!(updates(&gapless), before + 1);
    // Pods that nobody knows are somebody else's.
    assert_eq!(tried(&namespace, &colour("red")).stderr, "");
    // A reason silences it.
    let mut waived = colour("blue");
    waived["metadata"] = json!({"annotations": {"gapless.dev/waive.switch-to-unready": "closed at night"}});
    assert_eq!(tried(&namespace, &waived).stderr, "");

    // In time.
    become_ready(&namespace, "green");
    comes_to(&namespace, &colour("green"), false);
    assert_eq!(namespace.apply_server_side(&switch).args(["--force-conflicts"]).ok().stderr, "");
    // Both together have pods.
    assert_eq!(tried(&namespace, &json!({"spec": {"selector": {"version": null}}})).stderr, "");
    assert_eq!(warnings(&tried(&namespace, &colour("blue"))).len(), 1);

    // In development nobody is told.
    let development = cluster.namespace_labelled(&[("gapless.dev/profile", "development")]);
    development.apply(&scenario("blue-green.yaml")).ok();
    let before = updates(&gapless);
    assert_eq!(tried(&development, &colour("green")).stderr, "");
    assert_eq!(updates(&gapless), before + 1, "it was asked");
}
