//! `gapless audit` in a cluster where gapless runs.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::audit::audit_as;
use crate::support::deployment::deployment;
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
