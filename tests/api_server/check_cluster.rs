//! `gapless check --cluster` on a real API server: what the cluster would say of a file.

use std::fs;

use serde_json::{Value, json};

use crate::support::deployment::{deployment, deployment_with};
use crate::support::namespace::Namespace;
use crate::support::ran::{Ran, gapless};
use crate::support::{self, Cluster, eventually};

/// The check of these objects, as this user.
fn check_as(cluster: &Cluster, user: &str, objects: &[Value]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.json");
    fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
    let mut command = gapless("check", &["--cluster", "-f", "json"]);
    command.arg(file).env("KUBECONFIG", cluster.kubeconfig(user)).output().unwrap().into()
}

/// What comes of each rule that finds something: exit code, and rules with their outcomes. What
/// is missing since nothing is injected where nothing changes is left out.
#[track_caller]
fn found(cluster: &Cluster, objects: &[Value]) -> (i32, Vec<String>) {
    let ran = check_as(cluster, "admin", objects);
    assert_eq!(ran.stderr, "", "{ran:?}");
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    let word = |it: &Value, field| it[field].as_str().unwrap().to_owned();
    let is_shown = |it: &&Value| it["outcome"] != "audit" && !word(it, "rule").starts_with("missing-");
    let shown = findings.iter().filter(is_shown);
    (ran.code, shown.map(|it| format!("{} {}", word(it, "rule"), word(it, "outcome"))).collect())
}

fn at(namespace: &Namespace, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace.name);
    object
}

fn with_image(mut object: Value, image: &str) -> Value {
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    object
}

/// A webhook configuration with no webhook, which names this ConfigMap.
fn webhook_configuration(name: &str, config_map: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, "annotations": {"gapless.dev/configuration": config_map}},
    })
}

fn autoscaler(target: &str, min_replicas: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": target},
        "spec": {
            "minReplicas": min_replicas, "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        },
    })
}

#[test]
fn a_file_is_judged_as_the_cluster_would() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let (bank, trial) =
        (cluster.namespace(), cluster.namespace_labelled(&[("gapless.dev/profile", "development")]));
    let recreate = |name: &str| deployment_with(name, &json!({"strategy": {"type": "Recreate"}}));

    // Whose configuration?
    let nobody = check_as(&cluster, "admin", &[at(&bank, recreate("web"))]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (2, ""), "{nobody:?}");
    assert!(nobody.stderr.contains("(annotation gapless.dev/configuration"), "{nobody:?}");
    assert!(nobody.stderr.contains("write --config FILE"), "{nobody:?}");
    let configuration = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n\
        profiles: {production: {rules: {single-replica: Deny}}}\n";
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gapless"},
        "data": {"config.yaml": configuration}});
    bank.create(&config_map.to_string()).ok();
    let named = format!("{}/gapless", bank.name);
    cluster.kubectl(["create", "-f", "-"]).stdin(webhook_configuration("gapless", &named).to_string()).ok();

    // By its profile of production, and by the label of the namespace.
    let single = |name: &str| deployment_with(name, &json!({"replicas": 1}));
    assert_eq!(found(&cluster, &[at(&bank, single("web"))]), (1, vec!["single-replica deny".to_owned()]));
    assert_eq!(found(&cluster, &[at(&trial, recreate("web"))]), (0, vec![]));
    assert_eq!(found(&cluster, &[at(&bank, recreate("web"))]).0, 1);
    // A namespace of the input, which is going to be made or changed.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "new", "labels": {"gapless.dev/profile": "development"}}});
    let mut in_new = recreate("web");
    in_new["metadata"]["namespace"] = json!("new");
    assert_eq!(found(&cluster, &[in_new.clone()]).0, 1);
    assert_eq!(found(&cluster, &[in_new, namespace]).0, 0);

    // Labels that the input does not name stay.
    let unlabelled = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": trial.name, "labels": {"team": "a"}}});
    assert_eq!(found(&cluster, &[at(&trial, recreate("web")), unlabelled]).0, 0);
    // Kinds that its webhooks do not judge, and names that nobody can have.
    let mut stateful = with_image(deployment("web"), "registry.example/app:latest");
    stateful["kind"] = json!("StatefulSet");
    stateful["spec"]["serviceName"] = json!("web");
    let nameless = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "my web?x=/../"}});
    assert_eq!(found(&cluster, &[at(&bank, stateful.clone()), nameless.clone()]), (0, vec![]));
    let report = check_as(&cluster, "admin", &[at(&bank, stateful), nameless, at(&bank, single("web"))]);
    assert_eq!(report.code, 1, "{report:?}");
    let report = report.json();
    assert_eq!(report["skipped"][0]["reason"], "kind", "{report}");
    assert_eq!(report["findings"][0]["profile"], "production", "{report}");

    // What stands around it, that of the input first.
    cluster.kubectl(["create", "-f", "-"]).stdin(autoscaler("web", 3).to_string()).ok();
    assert_eq!(found(&cluster, &[single("web")]), (0, vec![]), "the context's namespace has an autoscaler");
    assert_eq!(found(&cluster, &[single("web"), autoscaler("web", 1)]).0, 1);
    let report = check_as(&cluster, "admin", &[single("api")]).json();
    assert_eq!(report["findings"][0]["namespace"], "default");

    // What exists is changed.
    let old = with_image(deployment("web"), "registry.example/app:latest");
    bank.create(&old.to_string()).ok();
    let old = at(&bank, old);
    assert_eq!(found(&cluster, std::slice::from_ref(&old)), (0, vec!["mutable-image-tag old".to_owned()]));
    let fresh = with_image(old.clone(), "registry.example/app:1.0.0");
    assert_eq!(found(&cluster, std::slice::from_ref(&fresh)), (0, vec![]));
    eventually("a revision", || {
        let revisions = bank.kubectl(["get", "replicasets", "-o", "name"]).ok().stdout;
        if revisions.lines().count() == 1 { Ok(()) } else { Err(revisions) }
    });
    bank.apply(&fresh.to_string()).ok();
    assert_eq!(found(&cluster, &[old]), (0, vec!["mutable-image-tag warn".to_owned()]), "a rollback");
    let other = with_image(fresh, "registry.example/other:latest");
    assert_eq!(found(&cluster, &[other]), (1, vec!["mutable-image-tag deny".to_owned()]));

    // Who may not look is told so.
    let forbidden = check_as(&cluster, "team", &[at(&bank, single("web"))]);
    assert_eq!(forbidden.code, 2, "{forbidden:?}");
    assert!(forbidden.stderr.contains("permission to list mutatingwebhookconfigurations"), "{forbidden:?}");

    // A second gapless, with another configuration.
    let second = webhook_configuration("gapless-2", "elsewhere/gapless");
    cluster.kubectl(["create", "-f", "-"]).stdin(second.to_string()).ok();
    let several = check_as(&cluster, "admin", &[at(&bank, single("web"))]);
    assert_eq!(several.code, 2, "{several:?}");
    assert!(
        several.stderr.contains(&format!("several ConfigMaps of gapless: {named}, elsewhere/gapless")),
        "{several:?}"
    );
    cluster.kubectl(["delete", "validatingwebhookconfiguration", "gapless"]).ok();
    let missing = check_as(&cluster, "admin", &[at(&bank, single("web"))]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("ConfigMap elsewhere/gapless"), "{missing:?}");
    assert!(missing.stderr.contains("is not there"), "{missing:?}");
}

#[test]
fn a_service_of_the_file_is_a_change_of_the_one_that_exists() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let namespace = cluster.namespace();
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gapless"},
        "data": {"config.yaml": "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n"}});
    namespace.create(&config_map.to_string()).ok();
    let named = format!("{}/gapless", namespace.name);
    cluster.kubectl(["create", "-f", "-"]).stdin(webhook_configuration("gapless", &named).to_string()).ok();

    let green = at(&namespace, deployment_with("green", &json!({"replicas": 2})));
    namespace.create(&green.to_string()).ok();
    let labels = green["spec"]["template"]["metadata"]["labels"].clone();
    let service = |selector: &Value| {
        at(
            &namespace,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}}),
        )
    };
    let blue = service(&json!({"app": "blue"}));
    namespace.create(&blue.to_string()).ok();
    assert_eq!(found(&cluster, &[blue]), (0, vec![]));
    // No pod runs, for there are no nodes.
    let switched = [service(&labels), green];
    let unready = (0, vec!["switch-to-unready warn".to_owned()]);
    assert_eq!(found(&cluster, &switched[..1]), unready);
    assert_eq!(found(&cluster, &switched), unready);
    let pods = eventually("both pods", || {
        let pods = namespace.kubectl(["get", "pods", "-o", "name"]).ok().stdout;
        let pods: Vec<String> = pods.lines().map(str::to_owned).collect();
        if pods.len() == 2 { Ok(pods) } else { Err(format!("{pods:?}")) }
    });
    for pod in pods {
        let ready = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-29T10:00:00Z"}]}});
        let patch = ["patch", &pod, "--subresource=status", "--type=merge", "--patch", &ready.to_string()];
        namespace.kubectl(patch).ok();
    }
    eventually("available pods", || {
        let status = namespace.get_json("deployment", "green")["status"].clone();
        if status["availableReplicas"] == 2 { Ok(()) } else { Err(status.to_string()) }
    });
    // What the file does not say of the workload stays.
    assert_eq!(found(&cluster, &switched), (0, vec![]));
}
