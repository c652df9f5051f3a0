//! Who owns a field, over kubectl and a real API server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of tests fails the test by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::namespace::Namespace;

fn manifest(port: i32, probe: Option<&str>) -> String {
    let probe = probe.map(|probe| format!("          readinessProbe: {probe}\n")).unwrap_or_default();
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
        - name: app
          image: app:v1.0
          ports:
            - containerPort: {port}
{probe}"
    )
}

fn container(namespace: &Namespace) -> Value {
    namespace.get_json("deployment", "web")["spec"]["template"]["spec"]["containers"][0].clone()
}

/// Sends a manifest as the first argument says; the second is the manifest.
type Send = fn(&Namespace, &str);

const APPLY: Send = |namespace, manifest| {
    namespace.apply(manifest).ok();
};
const APPLY_SERVER_SIDE: Send = |namespace, manifest| {
    namespace.apply_server_side(manifest).ok();
};

fn in_a_namespace(sends: &[Send], test: impl Fn(&Namespace, Send)) {
    let Some(installed) = support::installed() else { return };
    for send in sends {
        test(&installed.cluster.namespace(), *send);
    }
}

#[test]
fn replacing_with_the_bare_manifest_starts_no_rollout() {
    in_a_namespace(&[APPLY, APPLY_SERVER_SIDE], |namespace, send| {
        send(namespace, &manifest(5000, None));
        let before = namespace.get_json("deployment", "web");
        namespace.kubectl(["replace", "-f", "-"]).stdin(manifest(5000, None)).ok();
        let after = namespace.get_json("deployment", "web");
        assert_eq!(after["spec"], before["spec"]);
        let record = "gapless.dev/injected";
        assert_eq!(after["metadata"]["annotations"][record], before["metadata"]["annotations"][record]);
        assert_eq!(namespace.replica_sets("web").len(), 1);
    });
}

#[test]
fn a_probe_of_ones_own_takes_the_place_of_the_injected_one() {
    in_a_namespace(&[APPLY, APPLY_SERVER_SIDE], |namespace, send| {
        send(namespace, &manifest(5000, None));
        assert_eq!(container(namespace)["readinessProbe"]["tcpSocket"]["port"], 5000);
        let own = manifest(5000, Some("{httpGet: {path: /ready, port: 5000}}"));
        send(namespace, &own);
        let probe = container(namespace)["readinessProbe"].clone();
        assert_eq!(
            probe,
            json!({
                "httpGet": {"path": "/ready", "port": 5000, "scheme": "HTTP"},
                "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
            })
        );
        send(namespace, &own);
        assert_eq!(namespace.replica_sets("web").len(), 2, "one rollout, and none for the same manifest");
    });
}

#[test]
fn the_injected_probe_follows_the_container_port() {
    in_a_namespace(&[APPLY, APPLY_SERVER_SIDE], |namespace, send| {
        send(namespace, &manifest(5000, None));
        send(namespace, &manifest(6000, None));
        assert_eq!(container(namespace)["readinessProbe"]["tcpSocket"]["port"], 6000);
        assert_eq!(namespace.replica_sets("web").len(), 2);
    });
}

#[test]
fn removing_the_annotation_hands_the_fields_over() {
    in_a_namespace(&[APPLY, APPLY_SERVER_SIDE], |namespace, send| {
        send(namespace, &manifest(5000, None));
        let before = namespace.get_json("deployment", "web");
        namespace.kubectl(["annotate", "deploy/web", "gapless.dev/injected-"]).ok();
        let after = namespace.get_json("deployment", "web");
        assert_eq!(after["metadata"]["annotations"]["gapless.dev/injected"], Value::Null);
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(namespace.replica_sets("web").len(), 1);

        namespace.kubectl(["set", "image", "deploy/web", "app=app:v2.0"]).ok();
        let released = namespace.get_json("deployment", "web");
        assert_eq!(
            released["spec"]["template"]["metadata"]["labels"]["version"], "v1.0",
            "nobody moves it any more"
        );
    });
}

#[test]
fn an_apply_that_names_the_api_defaults_keeps_them() {
    in_a_namespace(&[APPLY, APPLY_SERVER_SIDE], |namespace, send| {
        let explicit = manifest(5000, None)
            .replace(
                "  replicas: 2\n",
                "  replicas: 4\n  strategy: {rollingUpdate: {maxUnavailable: 25%, maxSurge: 25%}}\n",
            )
            .replace("      containers:", "      terminationGracePeriodSeconds: 30\n      containers:");
        send(namespace, &explicit);
        let stored = namespace.get_json("deployment", "web");
        assert_eq!(
            stored["spec"]["strategy"]["rollingUpdate"],
            json!({"maxUnavailable": "25%", "maxSurge": "25%"})
        );
        assert_eq!(stored["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(container(namespace)["lifecycle"]["preStop"]["sleep"]["seconds"], 10);
    });
}

#[test]
fn a_handler_that_only_apply_can_add_is_not_lost_to_kubectl_edit() {
    // kubectl edit sends a strategic merge patch, like an apply.
    in_a_namespace(&[APPLY], |namespace, send| {
        send(namespace, &manifest(5000, None));
        let own_hook = r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","lifecycle":{"preStop":{"exec":{"command":["drain"]}}}}]}}}}"#;
        namespace.kubectl(["patch", "deploy/web", "-p", own_hook]).ok();
        let stored = namespace.get_json("deployment", "web");
        assert_eq!(container(namespace)["lifecycle"]["preStop"], json!({"exec": {"command": ["drain"]}}));
        assert_eq!(stored["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    });
}
