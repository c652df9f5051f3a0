//! A support chatbot, released in all the usual ways, with kubectl on a real
//! API server. The manifests are in `fixtures/scenarios`.

use serde_json::{Value, json};

use super::installed::installed;
use crate::support::bench::kubernetes_minor;
use crate::support::client::{Invocation, Output};
use crate::support::fixtures::{deployments, scenario};
use crate::support::namespace::Namespace;
use crate::support::{self, eventually};

/// The ways in which kubectl sends a manifest. Each leaves other traces of what
/// the user wrote.
const WAYS: [Way; 3] = [Way::Create, Way::Apply, Way::ApplyServerSide];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Create,
    Apply,
    ApplyServerSide,
}

impl Way {
    fn send<'a>(self, namespace: &Namespace<'a>, file: &str) -> Invocation<'a> {
        self.send_text(namespace, &scenario(file))
    }

    fn send_text<'a>(self, namespace: &Namespace<'a>, manifest: &str) -> Invocation<'a> {
        match self {
            Way::Create => namespace.create(manifest),
            Way::Apply => namespace.apply(manifest),
            Way::ApplyServerSide => namespace.apply_server_side(manifest),
        }
    }
}

/// The Deployment of a file with a change to it.
fn deployment_of(file: &str, change: impl Fn(&mut Value)) -> String {
    let mut deployment = deployments(file, &scenario(file)).remove(0);
    change(&mut deployment);
    deployment.to_string()
}

/// A fresh namespace for each way of sending a manifest, in the default profile.
fn in_every_way(test: impl Fn(&Namespace, Way)) {
    let Some(installed) = installed() else { return };
    for way in WAYS {
        test(&installed.cluster.namespace(), way);
    }
}

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

fn container(deployment: &Value) -> &Value {
    &pod(deployment)["containers"][0]
}

fn version_labels(labels: &Value) -> (&Value, &Value) {
    (&labels["app.kubernetes.io/version"], &labels["version"])
}

#[track_caller]
fn has_versions(deployment: &Value, version: &str) {
    let expected = (&json!(version), &json!(version));
    assert_eq!(version_labels(&deployment["metadata"]["labels"]), expected);
    assert_eq!(version_labels(&deployment["spec"]["template"]["metadata"]["labels"]), expected);
}

/// The warnings of one rule or default.
fn warnings<'o>(output: &'o Output, id: &str) -> Vec<&'o str> {
    let end = format!("({id})");
    output
        .stderr
        .lines()
        .filter(|line| line.starts_with("Warning: gapless: ") && line.ends_with(&end))
        .collect()
}

#[track_caller]
fn is_denied(output: &Output, rule: &str) {
    output.assert_denied("production", rule);
    assert!(output.stderr.contains("Forbidden"), "{output}");
}

#[test]
fn the_first_release_is_completed() {
    in_every_way(|namespace, way| {
        let output = way.send(namespace, "rolling.yaml").ok();
        assert_eq!(
            warnings(&output, "pre-stop-sleep"),
            [
                "Warning: gapless: added preStop sleep 10s to container kuberada-chatbot, grace period 30s -> 40s (pre-stop-sleep)"
            ],
        );
        let stored = namespace.get_json("deployment", "chatbot");
        let probe = &container(&stored)["readinessProbe"];
        assert_eq!((&probe["tcpSocket"]["port"], &probe["httpGet"]), (&json!(5000), &Value::Null), "{way:?}");
        assert_eq!(
            container(&stored)["lifecycle"],
            json!({"preStop": {"sleep": {"seconds": 10}}}),
            "{way:?}"
        );
        assert_eq!(pod(&stored)["terminationGracePeriodSeconds"], 40, "{way:?}");
        let rolling_update = json!({"maxUnavailable": 0, "maxSurge": "25%"});
        assert_eq!(stored["spec"]["strategy"]["rollingUpdate"], rolling_update, "{way:?}");
        has_versions(&stored, "v1.0");
        assert_eq!(namespace.replica_sets("chatbot").len(), 1);
    });
}

#[test]
fn applying_again_changes_nothing() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    Way::Apply.send(&namespace, "rolling.yaml").ok();
    let again = Way::Apply.send(&namespace, "rolling.yaml").ok();
    assert!(again.stdout.contains("deployment.apps/chatbot unchanged"), "{again}");

    // Moving on to server-side apply takes two requests inside kubectl.
    let before = namespace.get_json("deployment", "chatbot");
    for _ in 0..2 {
        Way::ApplyServerSide.send(&namespace, "rolling.yaml").ok();
        let after = namespace.get_json("deployment", "chatbot");
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(
            after["metadata"]["annotations"]["gapless.dev/injected"],
            before["metadata"]["annotations"]["gapless.dev/injected"]
        );
    }
    assert_eq!(namespace.replica_sets("chatbot").len(), 1);

    let namespace = installed.cluster.namespace();
    Way::ApplyServerSide.send(&namespace, "rolling.yaml").ok();
    let before = namespace.get_json("deployment", "chatbot");
    let again = Way::ApplyServerSide.send(&namespace, "rolling.yaml").ok();
    assert_eq!(
        warnings(&again, "pre-stop-sleep").len(),
        0,
        "what is there already is not announced: {again}"
    );
    assert_eq!(namespace.get_json("deployment", "chatbot")["spec"], before["spec"]);
}

#[test]
fn a_new_image_is_one_rollout_and_an_undo_brings_the_old_one_back() {
    in_every_way(|namespace, way| {
        way.send(namespace, "rolling.yaml").ok();
        let first = namespace.get_json("deployment", "chatbot");
        namespace.kubectl(["set", "image", "deploy/chatbot", "kuberada-chatbot=kuberada-chatbot:v2.0"]).ok();
        let second = namespace.get_json("deployment", "chatbot");
        has_versions(&second, "v2.0");
        assert_eq!(container(&second)["readinessProbe"], container(&first)["readinessProbe"]);
        assert_eq!(container(&second)["lifecycle"], container(&first)["lifecycle"]);
        assert_eq!(namespace.replica_sets("chatbot").len(), 2, "{way:?}");

        namespace.kubectl(["rollout", "undo", "deploy/chatbot"]).ok();
        let undone = namespace.get_json("deployment", "chatbot");
        has_versions(&undone, "v1.0");
        assert_eq!(undone["spec"]["template"], first["spec"]["template"], "{way:?}");
        assert_eq!(namespace.replica_sets("chatbot").len(), 2, "the old ReplicaSet is used again ({way:?})");
    });
}

/// A subset picks, among the pods of the Service, those with its labels (istio.io,
/// reference/config/networking/destination-rule, Subset). Kiali reads either label.
const DESTINATION_RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: chatbot}
spec:
  host: chatbot
  subsets:
    - {name: v1.0, labels: {version: v1.0}}
    - {name: v2.0, labels: {version: v2.0}}
    - {name: v1.0, labels: {version: v1.0, app.kubernetes.io/version: v1.0}}
    - {name: v2.0, labels: {app.kubernetes.io/version: v2.0}}
";

#[test]
fn the_versions_of_a_rollout_are_subsets_of_a_mesh() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let rule: Value = serde_saphyr::from_str(DESTINATION_RULE).unwrap();
    let pods_of = |subset: &Value, count: usize| {
        let labels = subset["labels"].as_object().unwrap().iter();
        let labels = labels.map(|(key, value)| format!(",{key}={}", value.as_str().unwrap()));
        let selector = "app=chatbot".to_owned() + &labels.collect::<String>();
        let image = json!(format!("kuberada-chatbot:{}", subset["name"].as_str().unwrap()));
        eventually(&selector, || {
            let pods = namespace.kubectl(["get", "pods", "-o", "json", "--selector", &selector]).ok().json();
            let pods = pods["items"].as_array().unwrap();
            let are_right = pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image);
            if are_right && pods.len() == count { Ok(()) } else { Err(format!("{pods:#?}")) }
        });
    };
    let subsets = &rule["spec"]["subsets"];
    namespace.apply(&scenario("rolling.yaml")).ok();
    pods_of(&subsets[0], 2);
    // No pod gets ready here, so that the old ones stay beside the first new one.
    namespace.kubectl(["set", "image", "deploy/chatbot", "kuberada-chatbot=kuberada-chatbot:v2.0"]).ok();
    for (subset, count) in subsets.as_array().unwrap().iter().zip([2, 1, 2, 1]) {
        pods_of(subset, count);
    }
}

#[test]
fn what_is_no_release_starts_none() {
    in_every_way(|namespace, way| {
        way.send(namespace, "rolling.yaml").ok();
        for verb in [
            vec!["scale", "deploy/chatbot", "--replicas=3"],
            vec!["scale", "deploy/chatbot", "--replicas=0"],
            vec!["label", "deploy/chatbot", "team=support"],
            vec!["annotate", "deploy/chatbot", "note=hello"],
            vec!["rollout", "pause", "deploy/chatbot"],
            vec!["rollout", "resume", "deploy/chatbot"],
        ] {
            namespace.kubectl(&verb).ok();
            assert_eq!(namespace.replica_sets("chatbot").len(), 1, "{verb:?} after {way:?}");
        }
    });
}

#[test]
fn explicit_rolling_parameters_stay_and_warn() {
    in_every_way(|namespace, way| {
        let output = way.send(namespace, "rolling-explicit.yaml").ok();
        let found = warnings(&output, "rollout-capacity-loss");
        assert_eq!(found.len(), 1, "{output}");
        assert!(found[0].contains("1 of 2 (50 %)"), "{output}");
        let stored = namespace.get_json("deployment", "chatbot");
        assert_eq!(stored["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 1}));
    });
}

#[test]
fn a_probe_and_a_hook_of_ones_own_stay() {
    in_every_way(|namespace, way| {
        let output = way.send(namespace, "rolling-probed.yaml").ok();
        assert_eq!(warnings(&output, "slow-readiness").len(), 1, "{output}");
        let stored = namespace.get_json("deployment", "chatbot");
        let probe = &container(&stored)["readinessProbe"];
        assert_eq!((&probe["initialDelaySeconds"], &probe["periodSeconds"]), (&json!(250), &json!(20)));
        assert_eq!(container(&stored)["lifecycle"]["preStop"]["exec"]["command"][2], "sleep 10");
        assert_eq!(pod(&stored)["terminationGracePeriodSeconds"], 30);
        let record: Value =
            serde_json::from_str(stored["metadata"]["annotations"]["gapless.dev/injected"].as_str().unwrap())
                .unwrap();
        let injected: Vec<&String> = record.as_object().unwrap().keys().collect();
        assert_eq!(
            injected,
            [
                "metadata.labels[app.kubernetes.io/version]",
                "metadata.labels[version]",
                "spec.strategy.rollingUpdate.maxUnavailable",
                "spec.template.metadata.labels[app.kubernetes.io/version]",
                "spec.template.metadata.labels[version]",
            ]
        );
        let annotation = "production.validate.gapless.dev/findings";
        support::eventually("the audit log to tell of shell-sleep", || {
            let log = namespace.audit_log();
            let found = log.iter().filter_map(|event| event["annotations"][annotation].as_str());
            let told = found.into_iter().any(|text| text.contains("audit shell-sleep"));
            if told { Ok(()) } else { Err(format!("{} events without it", log.len())) }
        });
    });
}

/// Two ways to say that no sleep is wanted. API servers before 1.33 know one of them only
/// (PodLifecycleSleepActionAllowZero, KEP-4818).
#[test]
fn no_sleep_is_wanted_with_zero_seconds_or_a_waiver() {
    in_every_way(|namespace, way| {
        let zero = deployment_of("rolling.yaml", |deployment| {
            deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
                json!({"preStop": {"sleep": {"seconds": 0}}});
        });
        let output = way.send_text(namespace, &zero).run();
        if kubernetes_minor() < 33 {
            assert!(output.stderr.contains("sleep: Invalid value: 0: must be greater than 0"), "{output}");
        } else {
            assert!(output.status.success(), "{output}");
            assert_eq!(warnings(&output, "pre-stop-sleep").len(), 0, "{output}");
            let stored = namespace.get_json("deployment", "chatbot");
            assert_eq!(
                container(&stored)["lifecycle"]["preStop"],
                json!({"sleep": {"seconds": 0}}),
                "{way:?}"
            );
            namespace.kubectl(["delete", "deployment", "chatbot"]).ok();
        }

        let waived = deployment_of("rolling.yaml", |deployment| {
            deployment["metadata"]["annotations"] =
                json!({"gapless.dev/waive.pre-stop-sleep": "drains itself"});
        });
        let output = way.send_text(namespace, &waived).ok();
        assert_eq!(warnings(&output, "pre-stop-sleep").len(), 0, "{output}");
        assert_eq!(warnings(&output, "missing-pre-stop").len(), 0, "{output}");
        let stored = namespace.get_json("deployment", "chatbot");
        assert_eq!(container(&stored)["lifecycle"], Value::Null, "{way:?}");
    });
}

#[test]
fn recreate_is_denied_in_production_only() {
    in_every_way(|namespace, way| {
        is_denied(&way.send(namespace, "recreate.yaml").fails(), "recreate-strategy")
    });
    let Some(installed) = installed() else { return };
    for way in WAYS {
        let namespace = installed.cluster.namespace_labelled(&[("gapless.dev/profile", "development")]);
        way.send(&namespace, "recreate.yaml").ok();
        assert_eq!(namespace.get_json("deployment", "chatbot-dev")["spec"]["strategy"]["type"], "Recreate");
    }
}

#[test]
fn a_deployment_without_history_is_denied() {
    in_every_way(|namespace, way| {
        let output = way.send(namespace, "no-history.yaml").fails();
        is_denied(&output, "no-rollback-history");
        assert!(output.stderr.contains("fix: remove revisionHistoryLimit"), "{output}");
    });
}

#[test]
fn colours_are_no_versions() {
    in_every_way(|namespace, way| {
        way.send(namespace, "blue-green.yaml").ok();
        for colour in ["blue", "green"] {
            let stored = namespace.get_json("deployment", &format!("chatbot-{colour}"));
            assert_eq!(
                stored["spec"]["selector"]["matchLabels"],
                json!({"app": "chatbot", "version": colour})
            );
            let labels = &stored["spec"]["template"]["metadata"]["labels"];
            assert_eq!(version_labels(labels), (&json!(colour), &json!(colour)), "{way:?}");
            let record = stored["metadata"]["annotations"]["gapless.dev/injected"].as_str().unwrap();
            assert!(!record.contains("labels[version]"), "{record}");
        }
    });
}

#[test]
fn a_canary_is_labelled_and_warned_about() {
    in_every_way(|namespace, way| {
        let output = way.send(namespace, "canary.yaml").ok();
        assert_eq!(warnings(&output, "single-replica").len(), 1, "only the canary: {output}");
        for version in ["stable", "canary"] {
            let stored = namespace.get_json("deployment", &format!("chatbot-{version}"));
            assert_eq!(stored["spec"]["template"]["metadata"]["labels"]["version"], version, "{way:?}");
        }
    });
}
