//! `gapless audit` in a cluster where gapless runs.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::audit::audit_as;
use crate::support::deployment::{deployment, deployment_with};
use crate::support::gapless::{RELEASE_NAMESPACE, install, upgrade};
use crate::support::{self, Cluster, Gapless};

fn web() -> String {
    deployment("web").to_string()
}

fn audit(cluster: &Cluster, namespace: &str) -> Value {
    let audited = audit_as(cluster, "admin", &["-f", "json", "--namespace", namespace]);
    assert_eq!(audited.code, 0, "{audited:?}");
    audited.json()
}

/// However a Deployment came to be stored, what gapless completed is complete.
#[test]
fn what_gapless_completed_needs_nothing_more() {
    let Some(installed) = installed() else { return };
    let cluster = installed.cluster;
    let first = web();
    let ways: [(&str, &[&str]); 3] = [
        ("create", &["create", "-f", "-"]),
        ("apply", &["apply", "-f", "-"]),
        ("apply --server-side", &["apply", "--server-side", "-f", "-"]),
    ];
    for profile in ["production", "development"] {
        for (way, arguments) in ways {
            let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
            namespace.kubectl(arguments).stdin(first.as_str()).ok();
            let nothing = |report: Value, when: &str| {
                assert_eq!(report["summary"]["deployments"], 1);
                assert_eq!(report["injections"], json!([]), "{profile}, {way}, {when}");
                assert_eq!(report["findings"], json!([]), "{profile}, {way}, {when}");
            };
            nothing(audit(cluster, &namespace.name), "new");
            namespace.kubectl(["set", "image", "deployment/web", "app=registry.example/app:2.0.0"]).ok();
            nothing(audit(cluster, &namespace.name), "with another image");
            namespace.kubectl(["rollout", "undo", "deployment/web"]).ok();
            nothing(audit(cluster, &namespace.name), "after an undo");
        }
    }
}

/// With the profile advisory nothing is injected, and the audit still says what
/// production would do.
#[test]
fn advisory_injects_nothing_and_says_so() {
    let Some(installed) = installed() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "advisory")]);
    namespace.create(&web()).ok();
    let report = audit(cluster, &namespace.name);
    assert_eq!(report["summary"]["injections"], json!({}));
    assert_eq!(report["summary"]["announcements"]["pre-stop-sleep"], 1);
}

/// By what the API server has: gapless has completed it.
#[test]
fn the_next_rollout_is_foretold_if_that_is_asked_for() {
    let Some(installed) = installed() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "production")]);
    namespace.create(&web()).ok();
    let text = |arguments: &[&str]| {
        audit_as(cluster, "admin", &[&["--namespace", namespace.name.as_str()], arguments].concat()).stdout
    };
    let foretold = text(&["--preview"]);
    assert!(
        foretold.contains("rolls 2 pods in 2 waves") && foretold.contains("never below 2 of 2"),
        "{foretold}"
    );
    assert!(!text(&[]).contains("never below"));
}

/// As in a review: an autoscaler keeps more pods than are written, and a Service sends
/// requests to a port.
#[test]
fn what_stands_around_a_workload_counts() {
    let Some(installed) = installed() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace();
    namespace.create(&deployment_with("web", &json!({"replicas": 1})).to_string()).ok();
    let found = || -> Vec<Value> {
        let report = audit(cluster, &namespace.name);
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["rule"].clone()).collect()
    };
    assert_eq!(found(), ["single-replica"]);
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "nowhere"}]},
    });
    namespace.create(&autoscaler.to_string()).ok();
    namespace.create(&service.to_string()).ok();
    let found = found();
    assert!(found.contains(&json!("dangling-target-port")), "{found:?}");
    assert!(!found.contains(&json!("single-replica")), "{found:?}");
}

/// Namespaces that the installed webhooks leave out are left out. Who may not see the
/// webhooks is told so.
#[test]
fn the_installed_webhooks_say_which_namespaces_count() {
    // All Deployments of the cluster are looked at, and the release is another one then.
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let gapless = Gapless::start(cluster, [""; 0]);
    install(cluster, &gapless, "");
    let (judged, excluded) = (cluster.namespace(), cluster.namespace());
    let (judged, excluded) = (judged.name.as_str(), excluded.name.as_str());
    for namespace in [judged, excluded, RELEASE_NAMESPACE] {
        let create = cluster.kubectl(["create", "--namespace", namespace, "-f", "-"]);
        create.stdin(web()).ok();
    }
    let skipped = |report: &Value| -> Vec<(String, String)> {
        let skipped = report["skipped"].as_array().unwrap().iter();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        skipped.map(|it| (word(&it["namespace"]), word(&it["reason"]))).collect()
    };
    let left_out = |namespace: &str| (namespace.to_owned(), "excluded-namespace".to_owned());
    assert_eq!(skipped(&audit(cluster, RELEASE_NAMESPACE)), [left_out(RELEASE_NAMESPACE)]);
    assert_eq!(skipped(&audit(cluster, excluded)), []);

    let values = format!("webhooks: {{excludedNamespaces: [{excluded}]}}");
    upgrade(cluster, &gapless, &values);
    assert_eq!(skipped(&audit(cluster, excluded)), [left_out(excluded)]);
    assert_eq!(skipped(&audit(cluster, judged)), []);

    let role = ["--verb=list", "--resource=namespaces,deployments.apps"];
    cluster.kubectl(["create", "clusterrole", "auditor"]).args(role).ok();
    let binding = ["--clusterrole=auditor", "--user=team"];
    cluster.kubectl(["create", "clusterrolebinding", "auditor"]).args(binding).ok();
    let blind = support::eventually("the permissions", || {
        let audited = audit_as(cluster, "team", &["-f", "json", "--all-namespaces"]);
        if audited.code == 0 { Ok(audited) } else { Err(format!("{audited:?}")) }
    });
    let note = "note: which namespaces the installed webhooks leave out is not known, only those of Kubernetes itself \
                are left out: the permission to list mutatingwebhookconfigurations.admissionregistration.k8s.io is \
                missing;";
    assert!(blind.stderr.starts_with(note), "{blind:?}");
    assert_eq!(skipped(&blind.json()), []);
}

/// There are no nodes: its pods are what the test says they are.
#[test]
fn why_a_rollout_is_stuck_its_pods_say() {
    let Some(installed) = installed() else { return };
    let cluster = installed.cluster;
    let namespace = cluster.namespace();
    namespace.create(&deployment_with("web", &json!({"progressDeadlineSeconds": 3})).to_string()).ok();
    let condition = "jsonpath={.status.conditions[?(@.type=='Progressing')].reason}=ProgressDeadlineExceeded";
    let wait = ["wait", "deployment/web", "--for", condition, "--timeout=60s"];
    namespace.kubectl(wait).ok();
    let stuck = || audit(cluster, &namespace.name)["stuck"].take();
    assert_eq!(stuck(), json!([]), "its pods say nothing yet");

    let pods = namespace.kubectl(["get", "pods", "-o", "name"]).ok().stdout;
    let says = |status: Value| {
        let patch = json!({"status": status}).to_string();
        for pod in pods.lines() {
            namespace.kubectl(["patch", pod, "--subresource=status", "--type=merge", "-p", &patch]).ok();
        }
    };
    says(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu."}]}));
    let found = stuck();
    assert_eq!(found[0]["defaults"], json!(["rolling-update"]), "{found:#}");
    assert_eq!((&found[0]["kind"], &found[0]["name"]), (&json!("Deployment"), &json!("web")));
    let message = found[0]["message"].as_str().unwrap();
    assert!(message.ends_with("0/3 nodes are available: 3 Insufficient cpu."), "{message}");

    says(json!({"phase": "Running", "containerStatuses": [{"name": "app", "ready": false, "restartCount": 0,
        "image": "registry.example/app:1.2.3", "imageID": "", "state": {"running": {}}}]}));
    assert_eq!(stuck()[0]["defaults"], json!(["readiness-probe"]));
    let text = audit_as(cluster, "admin", &["--namespace", &namespace.name]).stdout;
    assert!(
        text.contains(&format!("stuck: Deployment {}/web: container app of pod ", namespace.name)),
        "{text}"
    );

    // Who may not look at pods learns what may be why.
    namespace.grant("team", &["list"], "deployments.apps");
    namespace.grant("team", &["get"], "namespaces");
    let unseen = audit_as(cluster, "team", &["-f", "json", "--namespace", &namespace.name]).json();
    assert_eq!(unseen["stuck"][0]["defaults"], json!(["readiness-probe", "rolling-update"]), "{unseen:#}");
}
