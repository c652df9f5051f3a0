//! Releases of a Rollout by the controller and the kubectl plugin of Argo Rollouts.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{RECORD, installed, nothing_was_denied};
use crate::support::argo::Argo;
use crate::support::fixtures::scenario;
use crate::support::kubelet::{ready_pods, run_pods};
use crate::support::namespace::Namespace;
use crate::support::{self, Cluster, eventually};

/// A control plane with Argo Rollouts at work.
fn argo() -> Option<(&'static Cluster, &'static Argo)> {
    static ARGO: LazyLock<Option<Argo>> = LazyLock::new(|| {
        let programs = support::argo_programs()?;
        Some(Argo::start(programs, &installed()?.cluster))
    });
    // Asked here too, so that each skipped test says that it is.
    support::argo_programs()?;
    Some((&installed()?.cluster, ARGO.as_ref()?))
}

/// A Rollout in a namespace of its own.
struct Rollout {
    cluster: &'static Cluster,
    argo: &'static Argo,
    namespace: Namespace<'static>,
}

impl Rollout {
    fn create((cluster, argo): (&'static Cluster, &'static Argo), manifest: &Value) -> Rollout {
        let namespace = cluster.namespace();
        namespace.apply(&manifest.to_string()).ok();
        Rollout { cluster, argo, namespace }
    }

    fn stored(&self) -> Value {
        self.namespace.get_json("rollout", "chatbot")
    }

    /// `kubectl argo rollouts`
    #[track_caller]
    fn argo(&self, arguments: &[&str]) {
        self.argo.kubectl(self.cluster, &self.namespace, arguments).ok();
    }

    /// Waits until the controller has acted on the newest generation and says this of it,
    /// while the containers with this version do not start.
    #[track_caller]
    fn becomes_while_broken(&self, phase: &str, pods: usize, broken: &str) -> Value {
        eventually(phase, || {
            run_pods(&self.namespace, |labels| labels["version"] == broken);
            let stored = self.stored();
            let status = &stored["status"];
            let is_seen = status["observedGeneration"] == json!(stored["metadata"]["generation"].to_string());
            let is_settled = is_seen && status["phase"] == phase && ready_pods(&self.namespace).len() == pods;
            if is_settled { Ok(stored) } else { Err(format!("{status:#}")) }
        })
    }

    #[track_caller]
    fn becomes(&self, phase: &str, pods: usize) -> Value {
        self.becomes_while_broken(phase, pods, "none")
    }

    /// The version of each ReplicaSet with its replicas, oldest first by version.
    fn replica_sets(&self) -> Vec<(String, u64)> {
        let sets = self.namespace.kubectl(["get", "replicasets", "-o", "json"]).ok().json();
        let version_of = |set: &Value| {
            let labels = &set["spec"]["template"]["metadata"]["labels"];
            assert_eq!(labels["version"], labels["app.kubernetes.io/version"], "{labels}");
            let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
            let version = labels["version"].as_str().unwrap().to_owned();
            assert_eq!(*image, format!("kuberada-chatbot:{version}"));
            (version, set["spec"]["replicas"].as_u64().unwrap())
        };
        let mut sets: Vec<_> = sets["items"].as_array().unwrap().iter().map(version_of).collect();
        sets.sort();
        sets
    }

    #[track_caller]
    fn has_replica_sets(&self, expected: &[(&str, u64)]) {
        let found = self.replica_sets();
        let found: Vec<_> = found.iter().map(|(version, replicas)| (version.as_str(), *replicas)).collect();
        assert_eq!(found, expected);
    }

    /// That neither the same manifest again nor a label is a release, whatever the
    /// defaults of the namespace have become.
    #[track_caller]
    fn is_at_rest(&self, manifest: &Value) {
        let label = |profile: &str| {
            let label = format!("gapless.dev/profile={profile}");
            let name = self.namespace.name.as_str();
            self.cluster.kubectl(["label", "namespace", name, &label, "--overwrite"]).ok();
        };
        let before = self.stored();
        for profile in ["payments", "production"] {
            label(profile);
            self.namespace.apply(&manifest.to_string()).ok();
            self.namespace
                .kubectl(["label", "rollout", "chatbot", &format!("team={profile}")])
                .args(["--overwrite"])
                .ok();
            let after = self.stored();
            assert_eq!(written(&after), written(&before), "{profile}");
            assert_eq!(after["metadata"]["annotations"][RECORD], before["metadata"]["annotations"][RECORD]);
        }
    }

    #[track_caller]
    fn has_versions(&self, version: &str) {
        let stored = self.stored();
        for labels in [&stored["metadata"]["labels"], &stored["spec"]["template"]["metadata"]["labels"]] {
            for key in ["version", "app.kubernetes.io/version"] {
                assert_eq!(labels[key], version, "{key} in {labels}");
            }
        }
    }

    /// How many ready pods are of this version.
    fn ready(&self, version: &str) -> usize {
        ready_pods(&self.namespace).iter().filter(|labels| labels["version"] == version).count()
    }
}

/// What is in the manifest or of gapless. The controller and an undo add defaults, and the
/// next apply takes them away.
fn written(stored: &Value) -> Value {
    let (spec, template) = (&stored["spec"], &stored["spec"]["template"]);
    let container = &template["spec"]["containers"][0];
    json!([
        spec["strategy"],
        template["metadata"]["labels"],
        template["spec"]["terminationGracePeriodSeconds"],
        container["image"],
        container["ports"],
        container["readinessProbe"],
        container["lifecycle"],
    ])
}

fn manifest(image: &str, strategy: Value) -> Value {
    let mut manifest: Value = serde_saphyr::from_str(&scenario("rollout-canary.yaml")).unwrap();
    manifest["spec"]["strategy"] = strategy;
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    manifest
}

#[test]
fn a_canary_is_released_aborted_undone_and_promoted() {
    let Some(argo) = argo() else { return };
    let steps = json!([{"setWeight": 25}, {"pause": {}}]);
    let manifest = |image: &str| manifest(image, json!({"canary": {"steps": steps}}));
    let first = manifest("kuberada-chatbot:v1.0");
    let rollout = Rollout::create(argo, &first);
    let stored = rollout.becomes("Healthy", 4);
    let container = &stored["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 5000);
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 10);
    assert_eq!(stored["spec"]["strategy"]["canary"]["maxUnavailable"], 0);
    rollout.has_versions("v1.0");
    rollout.is_at_rest(&first);
    rollout.becomes("Healthy", 4);
    rollout.has_replica_sets(&[("v1.0", 4)]);

    // One pod of four is the canary, and has its own version.
    rollout.argo(&["set", "image", "chatbot", "kuberada-chatbot=kuberada-chatbot:v2.0"]);
    rollout.becomes("Paused", 4);
    rollout.has_versions("v2.0");
    rollout.has_replica_sets(&[("v1.0", 3), ("v2.0", 1)]);
    assert_eq!([rollout.ready("v1.0"), rollout.ready("v2.0")], [3, 1]);

    // An abort leaves the template as it is; the undo brings the labels back too.
    rollout.argo(&["abort", "chatbot"]);
    rollout.becomes("Degraded", 4);
    assert_eq!([rollout.ready("v1.0"), rollout.ready("v2.0")], [4, 0]);
    rollout.argo(&["undo", "chatbot"]);
    let undone = rollout.becomes("Healthy", 4);
    rollout.has_versions("v1.0");
    assert_eq!(written(&undone), written(&stored));
    rollout.has_replica_sets(&[("v1.0", 4), ("v2.0", 0)]);
    rollout.is_at_rest(&first);

    // The same release by its manifest, to the end: the old ReplicaSet is used again.
    let second = manifest("kuberada-chatbot:v2.0");
    rollout.namespace.apply(&second.to_string()).ok();
    rollout.becomes("Paused", 4);
    rollout.argo(&["promote", "chatbot"]);
    rollout.becomes("Healthy", 4);
    rollout.has_versions("v2.0");
    rollout.has_replica_sets(&[("v1.0", 0), ("v2.0", 4)]);
    rollout.is_at_rest(&second);
    rollout.argo(&["restart", "chatbot"]);
    rollout.namespace.kubectl(["scale", "rollout", "chatbot", "--replicas=5"]).ok();
    rollout.becomes("Healthy", 5);
    rollout.has_replica_sets(&[("v1.0", 0), ("v2.0", 5)]);
    nothing_was_denied(&rollout.namespace);
}

#[test]
fn a_release_that_never_gets_ready_is_aborted_by_its_deadline_and_undone() {
    let Some(argo) = argo() else { return };
    let manifest = |image: &str| {
        let mut manifest = manifest(image, json!({"canary": {"steps": [{"setWeight": 25}]}}));
        manifest["spec"]["progressDeadlineSeconds"] = json!(2);
        manifest["spec"]["progressDeadlineAbort"] = json!(true);
        manifest
    };
    let rollout = Rollout::create(argo, &manifest("kuberada-chatbot:v1.0"));
    rollout.becomes("Healthy", 4);
    rollout.namespace.apply(&manifest("kuberada-chatbot:v2.0").to_string()).ok();
    // maxUnavailable 0, which gapless wrote, keeps all four until the canary is ready.
    rollout.becomes_while_broken("Degraded", 4, "v2.0");
    assert_eq!([rollout.ready("v1.0"), rollout.ready("v2.0")], [4, 0]);
    rollout.argo(&["undo", "chatbot"]);
    rollout.becomes("Healthy", 4);
    rollout.has_versions("v1.0");
    nothing_was_denied(&rollout.namespace);
}

#[test]
fn blue_is_promoted_to_green_and_back() {
    let Some(argo) = argo() else { return };
    let strategy = json!({"blueGreen": {
        "activeService": "chatbot", "previewService": "chatbot-preview", "autoPromotionEnabled": false,
        "scaleDownDelaySeconds": 30,
    }});
    let manifest = |image: &str| manifest(image, strategy.clone());
    let first = manifest("kuberada-chatbot:v1.0");
    let rollout = Rollout::create(argo, &first);
    for name in ["chatbot", "chatbot-preview"] {
        let spec = json!({"selector": {"app": "chatbot"}, "ports": [{"port": 80, "targetPort": 5000}]});
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
        rollout.namespace.apply(&service.to_string()).ok();
    }
    // The version of the pods that a Service selects.
    let asks = |service: &str| {
        let service = rollout.namespace.get_json("service", service);
        let hash = &service["spec"]["selector"]["rollouts-pod-template-hash"];
        let asked = ready_pods(&rollout.namespace);
        let mut asked = asked.iter().filter(|labels| labels["rollouts-pod-template-hash"] == *hash);
        asked.next().map(|labels| labels["version"].clone())
    };

    let stored = rollout.becomes("Healthy", 4);
    assert_eq!(stored["spec"]["strategy"], first["spec"]["strategy"], "no rolling parameters");
    rollout.is_at_rest(&first);
    rollout.namespace.apply(&manifest("kuberada-chatbot:v2.0").to_string()).ok();
    rollout.becomes("Paused", 8);
    assert_eq!([asks("chatbot"), asks("chatbot-preview")], [Some(json!("v1.0")), Some(json!("v2.0"))]);
    rollout.argo(&["promote", "chatbot"]);
    rollout.becomes("Healthy", 8);
    assert_eq!([asks("chatbot"), asks("chatbot-preview")], [Some(json!("v2.0")), Some(json!("v2.0"))]);
    rollout.has_versions("v2.0");

    // Back, while the old pods are still there: at once.
    rollout.argo(&["undo", "chatbot"]);
    rollout.has_versions("v1.0");
    rollout.becomes("Healthy", 8);
    assert_eq!(asks("chatbot"), Some(json!("v1.0")));
    rollout.has_replica_sets(&[("v1.0", 4), ("v2.0", 4)]);
    nothing_was_denied(&rollout.namespace);
}
