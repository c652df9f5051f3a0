//! What Flux and Argo CD do with a Deployment that gapless completes: both come
//! to rest after the first sync.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::gapless::{CONFIGURATIONS, install};
use crate::support::namespace::Namespace;
use crate::support::{self, Gapless};

fn manifest(tag: &str, extra: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {{app: web}}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
{extra}  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
        - name: app
          image: registry.example/web:{tag}
          ports:
            - containerPort: 8080
"
    )
}

/// The Deployment without what the API server counts and stamps by itself.
fn comparable(mut deployment: Value) -> Value {
    deployment.as_object_mut().unwrap().remove("status");
    let metadata = deployment["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
        metadata.remove(field);
    }
    metadata["annotations"].as_object_mut().unwrap().remove("deployment.kubernetes.io/revision");
    deployment
}

/// `kubectl apply --server-side` as this controller; in a dry run, the object
/// as it would become.
fn server_side_apply(namespace: &Namespace, manager: &str, manifest: &str, is_dry_run: bool) -> Value {
    let field_manager = format!("--field-manager={manager}");
    let mut arguments = vec!["apply", "--server-side", "--force-conflicts", &field_manager, "-o", "json"];
    arguments.extend(is_dry_run.then_some("--dry-run=server"));
    arguments.extend(["--show-managed-fields", "-f", "-"]);
    namespace.kubectl(arguments).stdin(manifest).ok().json()
}

/// One interval of Flux: a server-side dry run, and an apply only if the result
/// differs from what is there (fluxcd/pkg, ssa/manager_apply.go). Returns
/// whether it applied.
fn reconcile_as_flux(namespace: &Namespace, manifest: &str) -> bool {
    let manager = "kustomize-controller";
    let wanted = server_side_apply(namespace, manager, manifest, true);
    let found = namespace.kubectl(["get", "deployment", "web", "-o", "json", "--ignore-not-found"]).ok();
    let is_in_sync = !found.stdout.is_empty() && comparable(found.json()) == comparable(wanted);
    if !is_in_sync {
        server_side_apply(namespace, manager, manifest, false);
    }
    !is_in_sync
}

#[test]
fn flux_comes_to_rest_after_each_release() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    for (number, tag) in ["v1.0", "v2.0"].into_iter().enumerate() {
        assert!(reconcile_as_flux(&namespace, &manifest(tag, "")), "{tag} is new");
        for interval in 1..4 {
            assert!(
                !reconcile_as_flux(&namespace, &manifest(tag, "")),
                "drift at interval {interval} of {tag}"
            );
        }
        assert_eq!(namespace.replica_sets("web").len(), number + 1);
    }
    let labels = namespace.get_json("deployment", "web")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(labels["version"], "v2.0");
}

#[test]
fn flux_keeps_what_its_manifest_says_even_if_it_is_the_default() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let explicit = manifest("v1.0", "  strategy: {rollingUpdate: {maxUnavailable: 25%, maxSurge: 25%}}\n");
    assert!(reconcile_as_flux(&namespace, &explicit));
    assert!(!reconcile_as_flux(&namespace, &explicit));
    let strategy = namespace.get_json("deployment", "web")["spec"]["strategy"].clone();
    assert_eq!(strategy["rollingUpdate"], json!({"maxUnavailable": "25%", "maxSurge": "25%"}));
}

#[test]
fn flux_finds_nothing_to_do_where_gapless_is_installed_later() {
    let Some(installed) = installed() else { return };
    // Stored while gapless does not look, as before its installation.
    let namespace = installed.cluster.namespace_labelled(&[("gapless.dev/profile", "off")]);
    assert!(reconcile_as_flux(&namespace, &manifest("v1.0", "")));
    namespace.kubectl(["label", "namespace", &namespace.name, "gapless.dev/profile-"]).ok();
    support::eventually("the default profile", || {
        let wanted = server_side_apply(&namespace, "probe", &manifest("v2.0", ""), true);
        match wanted["metadata"]["annotations"]["gapless.dev/injected"].as_str() {
            Some(_) => Ok(()),
            None => Err(wanted.to_string()),
        }
    });
    // The rolling parameters are filled once; they start no rollout.
    reconcile_as_flux(&namespace, &manifest("v1.0", ""));
    for _ in 0..3 {
        assert!(!reconcile_as_flux(&namespace, &manifest("v1.0", "")), "one correction is enough");
    }
    assert_eq!(namespace.replica_sets("web").len(), 1);
}

/// Argo CD's default diff is three-way: from the manifest applied last to the
/// one in Git, on what is live. kubectl computes the same patch.
#[test]
fn argo_cd_with_three_way_diff_is_in_sync_after_each_release() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    for tag in ["v1.0", "v2.0"] {
        namespace.apply(&manifest(tag, "")).ok();
        for _ in 0..2 {
            let again = namespace.apply(&manifest(tag, "")).ok();
            assert!(again.stdout.contains("deployment.apps/web unchanged"), "{tag}: {again}");
        }
    }
    assert_eq!(namespace.replica_sets("web").len(), 2);
}

/// Argo CD's server-side diff compares a dry run with what is live, by default
/// only in the fields that Argo CD owns, with `IncludeMutationWebhook=true` in
/// all (gitops-engine, pkg/diff/diff.go).
#[test]
fn argo_cd_with_server_side_diff_is_in_sync_after_each_release() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let manager = "argocd-controller";
    for tag in ["v1.0", "v2.0"] {
        server_side_apply(&namespace, manager, &manifest(tag, ""), false);
        let predicted = server_side_apply(&namespace, manager, &manifest(tag, ""), true);
        let live = namespace.get_json("deployment", "web");
        // Equal in all fields, so that the setting makes no difference.
        assert_eq!(comparable(predicted), comparable(live), "{tag}");
    }
    assert_eq!(namespace.replica_sets("web").len(), 2);
}

/// `kubectl diff` is what people and pipelines ask.
#[test]
fn kubectl_diff_is_silent_about_what_is_applied() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    namespace.apply(&manifest("v1.0", "")).ok();
    namespace.kubectl(["diff", "-f", "-"]).stdin(manifest("v1.0", "")).ok();
    let changed = namespace.kubectl(["diff", "-f", "-"]).stdin(manifest("v2.0", "")).fails();
    assert!(changed.stdout.contains("+        version: v2.0"), "{changed}");

    let namespace = installed.cluster.namespace();
    namespace.apply_server_side(&manifest("v1.0", "")).ok();
    namespace.kubectl(["diff", "--server-side", "-f", "-"]).stdin(manifest("v1.0", "")).ok();
}

/// How often gapless was asked so far.
fn calls(gapless: &Gapless) -> u64 {
    let (_, metrics) = gapless.ops_get("/metrics");
    let samples = metrics.lines().filter(|line| line.starts_with("gapless_admission_requests_total{"));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A tool that applies all it has, again and again, as some do each minute. In a control
/// plane of its own: what others ask would be counted too.
#[test]
fn what_is_applied_without_a_change_costs_no_call() {
    const DEPLOYMENTS: u64 = 20;
    const ROUNDS: u64 = 5;
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let gapless = Gapless::start(&cluster, ["--config-poll-interval", "1h"]);
    install(&cluster, &gapless, "webhooks: {failurePolicy: Fail, timeoutSeconds: 20}");
    let namespace = cluster.namespace();
    let all = |tag: &str| {
        let one = |number| manifest(tag, "").replace("name: web\n", &format!("name: web-{number}\n"));
        (0..DEPLOYMENTS).map(one).collect::<Vec<_>>().join("---\n")
    };
    let apply = |tag: &str, arguments: &[&str]| {
        let before = calls(&gapless);
        namespace.apply_server_side(&all(tag)).args(arguments).ok();
        calls(&gapless) - before
    };
    // Both webhooks, and the mutating one a second time where another plugin changes the object.
    assert!(apply("v1.0", &[]) >= 2 * DEPLOYMENTS);
    for _ in 0..ROUNDS {
        assert_eq!(apply("v1.0", &[]), 0);
        assert_eq!(apply("v1.0", &["--dry-run=server"]), 0);
    }
    // A storage migration.
    let stored = namespace.kubectl(["get", "deployments", "-o", "json"]).ok().stdout;
    let before = calls(&gapless);
    namespace.kubectl(["replace", "-f", "-"]).stdin(stored).ok();
    assert_eq!(calls(&gapless), before);
    // Each part of the condition.
    for change in [
        json!({"metadata": {"labels": {"tier": "front"}}}),
        json!({"metadata": {"annotations": {"note": "later"}}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]}}),
        json!({"spec": {"replicas": 3}}),
    ] {
        let before = calls(&gapless);
        let patch = change.to_string();
        namespace
            .kubectl(["patch", "deployment/web-0", "--type=merge", "-p", &patch, "--dry-run=server"])
            .ok();
        assert_eq!(calls(&gapless) - before, 2, "{change}");
    }
    assert!(apply("v2.0", &[]) >= 2 * DEPLOYMENTS);

    // Without the condition, each of them is a call to both.
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let found = cluster.kubectl(["get", kind, CONFIGURATIONS, "-o", "json"]).ok().json();
        let entries = found["webhooks"].as_array().unwrap().iter().enumerate();
        let conditions =
            entries.filter(|(_, entry)| entry["matchConditions"][1]["name"] == "changes-something");
        let remove =
            |(number, _)| json!({"op": "remove", "path": format!("/webhooks/{number}/matchConditions/1")});
        let patch = Value::Array(conditions.map(remove).collect()).to_string();
        cluster.kubectl(["patch", kind, CONFIGURATIONS, "--type=json", "-p", &patch]).ok();
    }
    support::eventually("the end of the condition", || match apply("v2.0", &[]) {
        count if count == 2 * DEPLOYMENTS => Ok(()),
        count => Err(format!("{count} calls")),
    });
}
