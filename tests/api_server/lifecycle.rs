//! The life of Deployments and of gapless itself on a real API server.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::client::Output;
use crate::support::gapless::{install, uninstall, upgrade};
use crate::support::namespace::Namespace;
use crate::support::{self, Gapless, simulated};

/// A Deployment as people write it.
const PLAIN: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: plain
spec:
  replicas: 2
  selector:
    matchLabels: {app: plain}
  template:
    metadata:
      labels: {app: plain}
    spec:
      containers:
        - name: app
          image: app:v1.0
          ports:
            - containerPort: 5000
"#;

/// A Deployment that breaks rules that deny.
const VIOLATING: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: violating
spec:
  replicas: 2
  revisionHistoryLimit: 0
  selector:
    matchLabels: {app: violating}
  strategy:
    rollingUpdate: {maxUnavailable: 100%, maxSurge: 1}
  template:
    metadata:
      labels: {app: violating}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: app
          image: app
          ports:
            - containerPort: 5000
"#;

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// In a control plane of its own, where gapless comes and goes, one step after the
/// other.
#[test]
fn from_before_the_installation_to_after_the_end() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let old = cluster.namespace();
    for (name, manifest) in [("plain", PLAIN), ("violating", VIOLATING)] {
        old.apply(manifest).ok();
        // A second revision, so that there is something to undo.
        old.kubectl(["set", "image", &format!("deploy/{name}"), "app=app:v1.1"]).ok();
        old.kubectl(["set", "image", &format!("deploy/{name}"), "app=app"]).ok();
    }

    let gapless = Gapless::start(cluster, [""; 0]);
    install(cluster, &gapless, "");
    old_deployments_can_be_handled(&old);
    the_release_namespace_is_left_alone(cluster);
    random_deployments_are_accepted(cluster);

    upgrade(cluster, &gapless, "");
    upgrade(cluster, &gapless, "webhooks: {failurePolicy: Ignore}");
    old.create(&VIOLATING.replace("violating", "denied")).fails();

    // The API server goes on without gapless.
    let status = gapless.terminate();
    assert!(status.success(), "{status}");
    let unanswered = old.create(&VIOLATING.replace("violating", "unanswered")).ok();
    assert!(unanswered.stdout.contains("created"), "{unanswered}");

    let gapless = Gapless::start(cluster, [""; 0]);
    upgrade(cluster, &gapless, "");
    uninstall(cluster);
    old.create(&VIOLATING.replace("violating", "after")).ok();
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let left = cluster.kubectl(["get", kind, "-o", "name"]).ok().stdout;
        assert_eq!(left, "", "{kind}");
    }
    let left = cluster
        .kubectl(["get", "all,configmaps,secrets,pdb,serviceaccounts", "-n", "gapless-system", "-l"])
        .args(["app.kubernetes.io/name=gapless", "-o", "name"])
        .ok();
    assert_eq!(left.stdout, "", "{left}");
}

/// Nothing that was stored before the installation is held up, and nothing
/// that leaves the template alone starts a rollout.
fn old_deployments_can_be_handled(namespace: &Namespace) {
    for name in ["plain", "violating"] {
        let deployment = format!("deploy/{name}");
        let template =
            |namespace: &Namespace| namespace.get_json("deployment", name)["spec"]["template"].clone();
        let before = template(namespace);
        let edit_replicas = "sed -i 's/  replicas: .*/  replicas: 1/'";
        for verb in [
            vec!["scale", &deployment, "--replicas=3"],
            vec!["label", &deployment, "team=support"],
            vec!["annotate", &deployment, "note=hello"],
            vec!["rollout", "pause", &deployment],
            vec!["rollout", "resume", &deployment],
            vec!["edit", &deployment],
            vec!["patch", &deployment, "--type=merge", "-p", r#"{"spec":{"progressDeadlineSeconds":500}}"#],
        ] {
            let newest = newest_replica_set(namespace, name);
            namespace.kubectl(&verb).env("EDITOR", edit_replicas).ok();
            assert_eq!(template(namespace), before, "{verb:?}");
            assert_eq!(newest_replica_set(namespace, name), newest, "{verb:?}");
        }
        assert_eq!(namespace.get_json("deployment", name)["spec"]["replicas"], 1, "the edit took place");

        let restart = namespace.kubectl(["rollout", "restart", &deployment]).ok();
        let after = namespace.get_json("deployment", name);
        assert_eq!(
            after.pointer("/spec/template/spec/containers/0/readinessProbe/tcpSocket/port"),
            Some(&json!(5000)),
            "the user's own rollout completes it: {restart}"
        );
    }
    namespace.kubectl(["rollout", "undo", "deploy/plain"]).ok();
    // With revisionHistoryLimit 0 nothing is left to undo to; with one there
    // is, and the old template breaks rules.
    let keep = r#"{"spec":{"revisionHistoryLimit":5}}"#;
    namespace.kubectl(["patch", "deploy/violating", "--type=merge", "-p", keep]).ok();
    namespace.kubectl(["set", "image", "deploy/violating", "app=app:v2.0"]).ok();
    let undo = namespace.kubectl(["rollout", "undo", "deploy/violating"]).ok();
    assert_eq!(container(&namespace.get_json("deployment", "violating"))["image"], "app", "{undo}");
    assert!(undo.stderr.contains("(mutable-image-tag)"), "it is told all the same: {undo}");
    for name in ["plain", "violating"] {
        namespace.kubectl(["delete", "deploy", name]).ok();
    }
}

/// The controller deletes old ReplicaSets meanwhile; a rollout adds one.
fn newest_replica_set(namespace: &Namespace, deployment: &str) -> Value {
    namespace.replica_sets(deployment).last().unwrap()["metadata"]["name"].clone()
}

/// gapless never looks at its own Deployment.
fn the_release_namespace_is_left_alone(cluster: &support::Cluster) {
    let create = cluster.kubectl([
        "create",
        "--namespace",
        "gapless-system",
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        "-",
    ]);
    let created = create.stdin(VIOLATING).ok().json();
    assert_eq!(created["metadata"]["annotations"]["gapless.dev/injected"], Value::Null);
}

/// Whatever the API server takes without gapless, it takes with it, or gapless
/// says why not.
fn random_deployments_are_accepted(cluster: &support::Cluster) {
    let mut runner = TestRunner::deterministic();
    let mut items = Vec::new();
    for number in 0..150 {
        let tree = simulated::deployments::deployment().new_tree(&mut runner).unwrap();
        let mut object = tree.current();
        object["metadata"]["name"] = json!(format!("web-{number}"));
        items.push(object);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let create = |profile: &str| {
        let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
        namespace.kubectl(["create", "--dry-run=server", "-o", "name", "-f", "-"]).stdin(list.clone()).run()
    };
    let without = accepted(&create("off"));
    assert!(without.len() > 50, "most of them are valid: {without:?}");
    for profile in ["production", "development", "advisory"] {
        let output = create(profile);
        let with = accepted(&output);
        for name in without.iter().filter(|name| !with.contains(name)) {
            let about =
                |line: &&str| line.contains(&format!("{name:?}")) && line.contains("denied the request");
            assert!(
                output.stderr.lines().any(|line| about(&line)),
                "{name} in {profile}:\n{}",
                output.stderr
            );
        }
    }
}

fn accepted(output: &Output) -> Vec<String> {
    let names = output.stdout.lines().filter_map(|line| line.strip_prefix("deployment.apps/"));
    names.map(|name| name.split_whitespace().next().unwrap_or(name).to_owned()).collect()
}
