//! StatefulSets, DaemonSets and Argo Rollouts: completed and judged as Deployments are, by
//! the ways in which people write, update and roll them back.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::argo::RELEASES;
use crate::support::audit::audit_as;
use crate::support::client::Output;
use crate::support::eventually;
use crate::support::fixtures::scenario;
use crate::support::namespace::Namespace;

const RECORD: &str = "gapless.dev/injected";

/// The object of this kind in a scenario of several.
fn workload(file: &str, kind: &str) -> Value {
    let text = scenario(file);
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    documents.into_iter().find(|object| object["kind"] == kind).unwrap()
}

fn with_image(object: &Value, image: &str) -> Value {
    let mut object = object.clone();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    object
}

fn container(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"][0]
}

#[track_caller]
fn has_versions(object: &Value, version: &str) {
    for labels in [&object["metadata"]["labels"], &object["spec"]["template"]["metadata"]["labels"]] {
        for key in ["version", "app.kubernetes.io/version"] {
            assert_eq!(labels[key], version, "{key} in {labels}");
        }
    }
}

#[track_caller]
fn is_warned(output: &Output, rule: &str) {
    let end = format!("({rule})");
    assert!(output.stderr.lines().any(|line| line.ends_with(&end)), "{rule}: {output}");
}

#[track_caller]
fn has_template_defaults(object: &Value) {
    assert_eq!(container(object)["readinessProbe"]["tcpSocket"]["port"], 5000);
    assert_eq!(container(object)["lifecycle"], json!({"preStop": {"sleep": {"seconds": 10}}}));
    assert_eq!(object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 40);
    has_versions(object, "v1.0");
}

/// The ControllerRevisions of a workload, once its controller has seen its last change.
fn revisions(namespace: &Namespace, kind: &str, name: &str) -> usize {
    let uid = eventually("the controller", || {
        let found = namespace.get_json(kind, name);
        let observed = &found["status"]["observedGeneration"];
        if *observed == found["metadata"]["generation"] {
            Ok(found["metadata"]["uid"].clone())
        } else {
            Err(format!("{found:#}"))
        }
    });
    let all = namespace.kubectl(["get", "controllerrevisions", "-o", "json"]).ok().json();
    let is_owned = |it: &&Value| it["metadata"]["ownerReferences"][0]["uid"] == uid;
    all["items"].as_array().unwrap().iter().filter(is_owned).count()
}

/// A workload of a kind that the API server knows itself, through all that people do to it.
fn lives(file: &str, kind: &str, own: impl Fn(&Value)) {
    let Some(installed) = installed() else { return };
    let manifest = workload(file, kind);
    let name = manifest["metadata"]["name"].as_str().unwrap();
    let (text, next) = (manifest.to_string(), with_image(&manifest, "kuberada-chatbot:v2.0"));
    for is_server_side in [true, false] {
        let namespace = installed.cluster.namespace();
        let apply = |text: &str| match is_server_side {
            true => namespace.apply_server_side(text).ok(),
            false => namespace.apply(text).ok(),
        };
        let stored = || namespace.get_json(kind, name);
        apply(&text);
        let first = stored();
        has_template_defaults(&first);
        own(&first);
        assert_eq!(revisions(&namespace, kind, name), 1);

        // Neither the same again nor by another way is a release.
        for _ in 0..2 {
            apply(&text);
            assert_eq!(stored()["spec"], first["spec"], "server-side {is_server_side}");
            assert_eq!(stored()["metadata"]["annotations"][RECORD], first["metadata"]["annotations"][RECORD]);
        }
        namespace.kubectl(["label", kind, name, "team=support"]).ok();
        namespace.kubectl(["replace", "-f", "-"]).stdin(text.as_str()).ok();
        assert_eq!(stored()["spec"]["template"], first["spec"]["template"], "a PUT of the bare manifest");
        assert_eq!(revisions(&namespace, kind, name), 1);

        // A release moves the labels and nothing else.
        apply(&text);
        apply(&next.to_string());
        let second = stored();
        has_versions(&second, "v2.0");
        assert_eq!(container(&second)["readinessProbe"], container(&first)["readinessProbe"]);
        own(&second);
        assert_eq!(revisions(&namespace, kind, name), 2);

        // An undo brings the template back, but not the annotations. The labels follow it,
        // and the next release.
        namespace.kubectl(["rollout", "undo", &format!("{kind}/{name}")]).ok();
        let undone = stored();
        assert_eq!(undone["spec"]["template"], first["spec"]["template"], "server-side {is_server_side}");
        has_versions(&undone, "v1.0");
        assert_eq!(revisions(&namespace, kind, name), 2, "the old revision is used again");
        let set = format!("{kind}/{name}");
        namespace.kubectl(["set", "image", &set, "kuberada-chatbot=kuberada-chatbot:v3.0"]).ok();
        has_versions(&stored(), "v3.0");
        namespace.kubectl(["rollout", "undo", &set]).ok();
        has_versions(&stored(), "v1.0");
    }
}

#[test]
fn a_stateful_set_lives_with_it() {
    lives("statefulset.yaml", "StatefulSet", |stored| {
        let strategy = &stored["spec"]["updateStrategy"];
        assert_eq!(strategy["rollingUpdate"]["partition"], 0);
        let record = stored["metadata"]["annotations"][RECORD].as_str().unwrap();
        assert!(!record.contains("Strategy"), "{record}");
    });
}

#[test]
fn a_daemon_set_lives_with_it() {
    lives("daemonset.yaml", "DaemonSet", |stored| {
        let rolling = &stored["spec"]["updateStrategy"]["rollingUpdate"];
        assert_eq!(*rolling, json!({"maxSurge": 1, "maxUnavailable": 0}));
    });
}

#[test]
fn one_pod_of_a_stateful_set_is_warned_about_and_no_history_denied() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let mut manifest = workload("statefulset.yaml", "StatefulSet");
    manifest["spec"]["replicas"] = json!(1);
    let output = namespace.apply(&manifest.to_string()).ok();
    is_warned(&output, "rollout-outage");
    is_warned(&output, "single-replica");

    manifest["metadata"]["name"] = json!("forgetful");
    manifest["spec"]["revisionHistoryLimit"] = json!(0);
    let output = namespace.apply(&manifest.to_string()).fails();
    output.assert_denied("production", "no-rollback-history");
    assert!(output.stderr.contains("StatefulSet \"forgetful\""), "{output}");
}

/// What a user writes stays, and the API server takes what gapless makes of it.
#[test]
fn the_amounts_of_a_daemon_set_change_together_or_not_at_all() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let manifest = |name: &str, amounts: Value| {
        let mut manifest = workload("daemonset.yaml", "DaemonSet");
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["updateStrategy"] = json!({"rollingUpdate": amounts});
        manifest.to_string()
    };
    let amounts = |name: &str| {
        let stored = namespace.get_json("daemonset", name);
        stored["spec"]["updateStrategy"]["rollingUpdate"].clone()
    };
    for (name, written, expected) in [
        ("nothing", json!({}), json!({"maxSurge": 1, "maxUnavailable": 0})),
        ("surge", json!({"maxSurge": "10%"}), json!({"maxSurge": "10%", "maxUnavailable": 0})),
        ("down", json!({"maxUnavailable": 2}), json!({"maxSurge": 0, "maxUnavailable": 2})),
        ("none", json!({"maxUnavailable": 0}), json!({"maxSurge": 1, "maxUnavailable": 0})),
        ("gap", json!({"maxSurge": 0}), json!({"maxSurge": 0, "maxUnavailable": 1})),
    ] {
        for text in [manifest(name, written.clone()), manifest(name, written.clone())] {
            namespace.apply(&text).ok();
            assert_eq!(amounts(name), expected, "{written}");
        }
    }
    // Taken over by the user, and handed back.
    namespace.apply(&manifest("nothing", json!({"maxUnavailable": 1, "maxSurge": 0}))).ok();
    assert_eq!(amounts("nothing"), json!({"maxSurge": 0, "maxUnavailable": 1}));
    let on_delete = json!({"type": "OnDelete"});
    let mut by_hand = workload("daemonset.yaml", "DaemonSet");
    by_hand["metadata"]["name"] = json!("surge");
    by_hand["spec"]["updateStrategy"] = on_delete;
    namespace.apply(&by_hand.to_string()).ok();
    assert_eq!(namespace.get_json("daemonset", "surge")["spec"]["updateStrategy"]["type"], "OnDelete");
}

#[test]
fn a_rollout_lives_with_it_whichever_release_defines_it() {
    let Some(installed) = installed() else { return };
    let manifest = workload("rollout-canary.yaml", "Rollout");
    let manifest = with_image(&manifest, "kuberada-chatbot:v1.0");
    for release in RELEASES {
        release.serve(installed.cluster);
        for is_server_side in [true, false] {
            let namespace = installed.cluster.namespace();
            let apply = |object: &Value| match is_server_side {
                // Before 1.9 the PUT below owns all containers.
                true => namespace.apply_server_side(&object.to_string()).args(["--force-conflicts"]).ok(),
                false => namespace.apply(&object.to_string()).ok(),
            };
            let about = format!("{}, server-side {is_server_side}", release.version);
            let stored = || namespace.get_json("rollout", "chatbot");
            apply(&manifest);
            let first = stored();
            has_template_defaults(&first);
            let probe = &container(&first)["readinessProbe"];
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("successThreshold", 1),
                ("periodSeconds", 5),
                ("failureThreshold", 3),
            ] {
                assert_eq!(probe[field], value, "{field}: {about}");
            }
            assert_eq!(first["spec"]["strategy"]["canary"]["maxUnavailable"], 0, "{about}");
            assert_eq!(first["spec"]["strategy"]["rollingUpdate"], Value::Null);
            for _ in 0..2 {
                apply(&manifest);
                assert_eq!(stored()["spec"], first["spec"], "{about}");
                assert_eq!(
                    stored()["metadata"]["annotations"][RECORD],
                    first["metadata"]["annotations"][RECORD]
                );
            }
            let mut put = manifest.clone();
            put["metadata"]["resourceVersion"] = stored()["metadata"]["resourceVersion"].clone();
            namespace.kubectl(["replace", "-f", "-"]).stdin(put.to_string()).ok();
            assert_eq!(stored()["spec"], first["spec"], "a PUT of the bare manifest: {about}");

            apply(&manifest);
            apply(&with_image(&manifest, "kuberada-chatbot:v2.0"));
            let second = stored();
            has_versions(&second, "v2.0");
            assert_eq!(container(&second)["readinessProbe"], *probe, "{about}");

            // What its author writes stays.
            let mut own = with_image(&manifest, "kuberada-chatbot:v2.0");
            own["spec"]["strategy"]["canary"]["maxUnavailable"] = json!("25%");
            own["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(30);
            for _ in 0..2 {
                apply(&own);
                let stored = stored();
                assert_eq!(stored["spec"]["strategy"]["canary"]["maxUnavailable"], "25%", "{about}");
                let pod = &stored["spec"]["template"]["spec"];
                assert_eq!(pod["terminationGracePeriodSeconds"], 30, "{about}");
            }

            refers_to_a_deployment(&namespace);

            // From canary to blue/green, where Argo takes only one of both.
            let mut blue_green = manifest.clone();
            blue_green["metadata"]["name"] = json!("colours");
            apply(&blue_green);
            blue_green["spec"]["strategy"] =
                json!({"blueGreen": {"activeService": "chatbot", "scaleDownDelaySeconds": 5}});
            let output = apply(&blue_green);
            is_warned(&output, "short-scale-down-delay");
            let strategy = namespace.get_json("rollout", "colours")["spec"]["strategy"].clone();
            assert_eq!(strategy, blue_green["spec"]["strategy"], "{about}");
        }
    }
}

#[test]
fn the_audit_judges_all_of_them() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let mut set = workload("statefulset.yaml", "StatefulSet");
    set["spec"]["replicas"] = json!(1);
    namespace.apply(&set.to_string()).ok();
    namespace.apply(&workload("daemonset.yaml", "DaemonSet").to_string()).ok();
    let audited = audit_as(installed.cluster, "admin", &["-n", &namespace.name, "-f", "json"]);
    assert_eq!(audited.code, 0, "{audited:?}");
    let report = audited.json();
    let found: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["outcome"] == "warn")
        .map(|it| (it["kind"].as_str().unwrap(), it["rule"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("StatefulSet", "single-replica"), ("StatefulSet", "rollout-outage")]);
    let judged: Vec<&Value> = report["workloads"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!(judged, ["StatefulSet", "DaemonSet"]);
    assert_eq!((&report["summary"]["judged"], &report["summary"]["deployments"]), (&json!(2), &json!(0)));
}

/// With the last annotation that an apply owned goes the whole map, and the record in it,
/// which nobody owns. It comes back, or a later release would find labels of the user's.
#[test]
fn the_record_outlives_the_last_annotation_of_its_author() {
    let Some(installed) = installed() else { return };
    for (file, kind) in [("daemonset.yaml", "DaemonSet"), ("statefulset.yaml", "StatefulSet")] {
        let namespace = installed.cluster.namespace();
        let mut manifest = workload(file, kind);
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let record = || namespace.get_json(kind, &name)["metadata"]["annotations"][RECORD].clone();
        manifest["metadata"]["annotations"] = json!({"team": "support"});
        namespace.apply_server_side(&manifest.to_string()).ok();
        let before = record();
        assert!(before.is_string());
        manifest["metadata"].as_object_mut().unwrap().remove("annotations");
        namespace.apply_server_side(&manifest.to_string()).ok();
        assert_eq!(namespace.get_json(kind, &name)["metadata"]["annotations"]["team"], Value::Null);
        assert_eq!(record(), before, "{kind}");
        namespace.apply_server_side(&with_image(&manifest, "kuberada-chatbot:v2.0").to_string()).ok();
        has_versions(&namespace.get_json(kind, &name), "v2.0");
        // Whoever takes it away by hand takes its fields over.
        namespace.kubectl(["annotate", kind, &name, &format!("{RECORD}-")]).ok();
        assert_eq!(record(), Value::Null, "{kind}");
    }
}

/// A template that is somebody else's is nobody's to complete.
fn refers_to_a_deployment(namespace: &Namespace) {
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "elsewhere"},
        "spec": {
            "replicas": 2,
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "elsewhere"},
            "strategy": {"canary": {}},
        },
    });
    let output = namespace.apply_server_side(&manifest.to_string()).ok();
    assert!(!output.stderr.contains("gapless"), "{output}");
    let stored = namespace.get_json("rollout", "elsewhere");
    assert_eq!(stored["spec"], manifest["spec"]);
    assert_eq!(stored["metadata"]["annotations"][RECORD], Value::Null);
}
