//! Releases by the controller of Flagger. It copies the Deployment that a Canary points at,
//! and the copy belongs to the Canary: gapless leaves it alone.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{RECORD, installed, nothing_was_denied};
use crate::support::audit::{audit_as, names};
use crate::support::fixtures::scenario;
use crate::support::flagger::Flagger;
use crate::support::kubelet::run_pods;
use crate::support::namespace::Namespace;
use crate::support::{self, eventually};

/// One look at the new pods, and then all requests go there.
const CANARY: &str = "
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: chatbot}
spec:
  provider: kubernetes
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: chatbot}
  progressDeadlineSeconds: 60
  service: {port: 80, targetPort: 5000}
  analysis: {interval: 10s, threshold: 3, iterations: 1}
";

/// The Deployment without `replicas`, as Flagger wants it: it scales it itself.
fn target(image: &str) -> Value {
    let mut target: Value = serde_saphyr::from_str(&scenario("rolling.yaml")).unwrap();
    target["spec"].as_object_mut().unwrap().remove("replicas");
    target["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    target
}

/// Waits until the release has come to this phase. Flagger takes a step every ten seconds at
/// the most, and one at once when it is told another interval.
#[track_caller]
fn becomes(namespace: &Namespace, flagger: &Flagger, phase: &str) {
    let mut intervals = ["11s", "10s"].into_iter().cycle();
    eventually(phase, || {
        run_pods(namespace, |_| false);
        let canary = namespace.get_json("canary", "chatbot");
        if canary["status"]["phase"] == phase {
            return Ok(());
        }
        let patch = json!({"spec": {"analysis": {"interval": intervals.next()}}}).to_string();
        namespace.kubectl(["patch", "canary", "chatbot", "--type=merge", "-p", &patch]).ok();
        thread::sleep(Duration::from_secs(2));
        Err(format!("{:#}\n{}", canary["status"], flagger.log()))
    });
}

/// That the copy is what Flagger makes of the target, and serves this version.
#[track_caller]
fn primary_is_a_copy(namespace: &Namespace, version: &str) {
    let [target, primary] = ["chatbot", "chatbot-primary"].map(|name| namespace.get_json("deployment", name));
    let mut expected = target["spec"]["template"]["spec"].clone();
    expected["containers"][0]["image"] = json!(format!("kuberada-chatbot:{version}"));
    assert_eq!(primary["spec"]["template"]["spec"], expected);
    assert_eq!(primary["spec"]["strategy"], target["spec"]["strategy"]);
    let labels = &primary["spec"]["template"]["metadata"]["labels"];
    let keys = ["app", "version", "app.kubernetes.io/version"];
    assert_eq!(keys.map(|key| labels[key].as_str().unwrap()), ["chatbot-primary", version, version]);
    assert_eq!(primary["metadata"]["ownerReferences"][0]["kind"], "Canary");
}

#[test]
fn a_canary_is_released_and_its_copy_left_alone() {
    let Some(program) = support::flagger_program() else { return };
    let Some(installed) = installed() else { return };
    let cluster = &installed.cluster;
    let flagger = Flagger::start(&program, cluster);
    let namespace = cluster.namespace();
    let apply = |image: &str| namespace.apply(&target(image).to_string()).ok();
    let stored = || namespace.get_json("deployment", "chatbot");

    apply("kuberada-chatbot:v1.0");
    let first = stored();
    assert!(first["metadata"]["annotations"][RECORD].is_string());
    namespace.apply(CANARY).ok();
    becomes(&namespace, &flagger, "Initialized");
    primary_is_a_copy(&namespace, "v1.0");
    let audited = audit_as(cluster, "admin", &["-f", "json", "-n", &namespace.name]).json();
    assert_eq!(names(&audited["copied"]), [format!("{}/chatbot", namespace.name)]);
    assert_eq!(audited["copied"][0]["canary"], "chatbot");

    // The target is scaled to zero, which changes nothing else and starts nothing; nor do
    // further applies. Of so many replicas nothing is to be said.
    eventually("the scale to zero", || match stored()["spec"]["replicas"] == 0 {
        true => Ok(()),
        false => Err(flagger.log()),
    });
    for _ in 0..2 {
        assert_eq!(stored()["spec"]["template"], first["spec"]["template"]);
        assert_eq!(stored()["metadata"]["annotations"][RECORD], first["metadata"]["annotations"][RECORD]);
        assert_eq!(apply("kuberada-chatbot:v1.0").stderr, "");
    }
    assert_eq!(namespace.replica_sets("chatbot").len(), 1);

    let said = apply("kuberada-chatbot:v2.0").stderr;
    assert!(said.lines().count() == 1 && said.ends_with("(version-label)\n"), "{said}");
    becomes(&namespace, &flagger, "Succeeded");
    primary_is_a_copy(&namespace, "v2.0");
    assert_eq!(stored()["spec"]["replicas"], 0);
    assert_eq!(namespace.replica_sets("chatbot").len(), 2);

    nothing_was_denied(&namespace);

    // gapless said itself that it did not look at the copy.
    let log = namespace.audit_log();
    let of_primary: Vec<_> = log
        .iter()
        .filter(|event| event["objectRef"]["name"] == "chatbot-primary")
        .filter(|event| event["objectRef"]["resource"] == "deployments")
        .filter(|event| event["objectRef"]["subresource"].is_null())
        .filter(|event| event["verb"] == "create" || event["verb"] == "update")
        .collect();
    assert!(of_primary.len() >= 2, "{of_primary:#?}");
    for event in of_primary {
        assert_eq!(event["annotations"]["production.validate.gapless.dev/skipped"], "owned", "{event:#}");
    }
}

/// Flagger 1.36 is built with types of Kubernetes 0.27, which do not know `sleep`.
#[test]
fn a_copy_through_types_that_know_no_sleep_is_refused() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let copy = || {
        let stored = namespace.get_json("deployment", "chatbot");
        let mut spec = stored["spec"].clone();
        let container = spec["template"]["spec"]["containers"][0].as_object_mut().unwrap();
        // What those types make of it.
        if let Some(lifecycle) = container.get_mut("lifecycle") {
            assert_eq!(*lifecycle, json!({"preStop": {"sleep": {"seconds": 10}}}));
            *lifecycle = json!({"preStop": {}});
        }
        let copy = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
            "metadata": {
                "name": "chatbot-primary",
                "ownerReferences": [{
                    "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "chatbot", "controller": true,
                    "uid": stored["metadata"]["uid"],
                }],
            },
        });
        namespace.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(copy.to_string())
    };
    namespace.apply(&target("kuberada-chatbot:v1.0").to_string()).ok();
    let refused = copy().fails();
    let said =
        "spec.template.spec.containers[0].lifecycle.preStop: Required value: must specify a handler type";
    assert!(refused.stderr.contains(said), "{refused}");

    // The waiver starts no rollout; with the next one the hook goes.
    let mut waived = target("kuberada-chatbot:v1.0");
    waived["metadata"]["annotations"] = json!({"gapless.dev/waive.pre-stop-sleep": "Flagger cannot copy it"});
    namespace.apply(&waived.to_string()).ok();
    copy().fails();
    waived["spec"]["template"]["spec"]["containers"][0]["image"] = json!("kuberada-chatbot:v2.0");
    namespace.apply(&waived.to_string()).ok();
    copy().ok();
}

#[test]
fn who_may_not_list_canaries_is_told_so() {
    let Some(installed) = installed() else { return };
    let cluster = &installed.cluster;
    Flagger::serve(cluster);
    let namespace = cluster.namespace();
    namespace.grant("team", &["list"], "deployments.apps");
    let unlisted = || {
        let audited = audit_as(cluster, "team", &["-f", "json", "-n", &namespace.name]).json();
        let unlisted = audited["unlisted"].as_array().unwrap().iter().find(|it| it["kind"] == "Canary");
        unlisted.map(|it| it["message"].as_str().unwrap().to_owned())
    };
    let said =
        format!("the permission to list canaries.flagger.app in namespace {} is missing", namespace.name);
    assert!(unlisted().unwrap().starts_with(&said), "{:?}", unlisted());
    namespace.grant("team", &["list"], "canaries.flagger.app");
    assert_eq!(unlisted(), None);
}
