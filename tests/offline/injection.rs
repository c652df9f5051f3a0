//! What gapless injects over the life of a Deployment, request by request.

use std::sync::Arc;

use gapless::kubernetes::kind::Kind;
use gapless::ownership::record::Record;
use gapless::ownership::revision::fingerprint;
use gapless::policy::Policy;
use gapless::surroundings::{Around, Revision, Revisions, Surroundings};
use serde_json::{Value, json};

use crate::support::simulated::{self, ApiServer};

const INJECTED: &str = "gapless.dev/injected";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Deployment as people write it: image and port, nothing else.
fn chatbot() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chatbot"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "chatbot"}},
            "template": {
                "metadata": {"labels": {"app": "chatbot"}},
                "spec": {"containers": [
                    {"name": "app", "image": "chatbot:v1.0", "ports": [{"containerPort": 5000}]},
                ]},
            },
        },
    })
}

fn production() -> ApiServer {
    ApiServer::new("production")
}

/// The chatbot as it is stored after gapless completed it.
fn injected() -> Value {
    production().create(&chatbot()).object
}

fn container(object: &mut Value) -> &mut Value {
    &mut object["spec"]["template"]["spec"]["containers"][0]
}

fn record(object: &Value) -> Value {
    match object["metadata"]["annotations"][INJECTED].as_str() {
        Some(text) => serde_json::from_str(text).unwrap(),
        None => Value::Null,
    }
}

fn paths(object: &Value) -> Vec<String> {
    record(object).as_object().map(|record| record.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn a_new_deployment_is_completed() {
    let answer = production().create(&chatbot());
    let object = &answer.object;
    let pod = &object["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["readinessProbe"],
        json!({
            "tcpSocket": {"port": 5000}, "periodSeconds": 5, "failureThreshold": 3,
            "timeoutSeconds": 1, "successThreshold": 1,
        })
    );
    assert_eq!(pod["containers"][0]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 10}}}));
    assert_eq!(pod["terminationGracePeriodSeconds"], 40);
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": "25%"}));
    let versions = json!({"app.kubernetes.io/version": "v1.0", "version": "v1.0"});
    assert_eq!(object["metadata"]["labels"], versions);
    let mut labels = versions;
    labels["app"] = json!("chatbot");
    assert_eq!(object["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(
        object["metadata"]["annotations"][INJECTED],
        concat!(
            r#"{"metadata.labels[app.kubernetes.io/version]":"v1.0","metadata.labels[version]":"v1.0","#,
            r#""spec.strategy.rollingUpdate.maxUnavailable":0,"#,
            r#""spec.template.metadata.labels[app.kubernetes.io/version]":"v1.0","#,
            r#""spec.template.metadata.labels[version]":"v1.0","#,
            r#""spec.template.spec.containers[app].lifecycle.preStop":{"sleep":{"seconds":10}},"#,
            r#""spec.template.spec.containers[app].readinessProbe":{"failureThreshold":3,"periodSeconds":5,"tcpSocket":{"port":5000}},"#,
            r#""spec.template.spec.terminationGracePeriodSeconds":40}"#,
        )
    );
    assert_eq!(answer.denial, None);
    assert_eq!(
        answer.warnings,
        [
            "gapless: added readiness probe tcpSocket 5000 to container app; if it does not fit: gapless.dev/waive.readiness-probe (readiness-probe)",
            "gapless: added preStop sleep 10s to container app, grace period 30s -> 40s (pre-stop-sleep)",
            "gapless: maxUnavailable 25% -> 0 (rolling-update)",
            "gapless: label app.kubernetes.io/version=v1.0, label version=v1.0 (version-label)",
        ]
    );
}

#[test]
fn an_old_deployment_is_left_alone_until_its_template_changes() {
    let old = simulated::with_api_defaults(&chatbot());
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"team": "support"});
    let answer = production().update(&old, &labelled);
    assert_eq!(answer.object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(answer.object["metadata"]["labels"], json!({"team": "support"}));
    // Outside the template nothing starts a rollout. Without a probe there is
    // minReadySeconds.
    assert_eq!(paths(&answer.object), ["spec.minReadySeconds", "spec.strategy.rollingUpdate.maxUnavailable"]);

    let stored = answer.object;
    labelled = stored.clone();
    labelled["metadata"]["labels"] = json!({"team": "sales"});
    assert_eq!(production().update(&stored, &labelled).operations, Vec::<Value>::new(), "once is enough");

    let mut released = stored.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let answer = production().update(&stored, &released);
    assert_eq!(
        paths(&answer.object),
        paths(&injected()),
        "now it is complete, and the probe replaces minReadySeconds"
    );
    assert_eq!(answer.object["spec"]["minReadySeconds"], Value::Null);
}

/// Most of a container is only compared: its environment, for example.
#[test]
fn a_template_changes_in_whatever_field() {
    let old = simulated::with_api_defaults(&chatbot());
    for (field, value) in [
        ("/spec/template/spec/containers/0/env", json!([{"name": "A", "value": "1"}])),
        ("/spec/template/spec/containers/0/resources", json!({"limits": {"cpu": "1"}})),
        ("/spec/template/spec/nodeSelector", json!({"disk": "ssd"})),
        ("/spec/template/spec/volumes", json!([{"name": "tmp", "emptyDir": {}}])),
        ("/spec/template/metadata/annotations", json!({"restarted": "now"})),
    ] {
        let mut changed = old.clone();
        let (parent, name) = field.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value.clone();
        let object = production().update(&old, &changed).object;
        assert_eq!(paths(&object), paths(&injected()), "{field}");
        assert_eq!(object.pointer(field), Some(&value));
        // With nothing but that dropped again, what is injected stays.
        let mut again = object.clone();
        again.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        let again = simulated::with_api_defaults(&again);
        assert_eq!(production().update(&object, &again).object, again, "{field}");
    }
}

#[test]
fn a_new_image_moves_the_version_labels_and_nothing_else() {
    let stored = injected();
    let mut released = stored.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let mut expected = released.clone();
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        for key in ["version", "app.kubernetes.io/version"] {
            expected.pointer_mut(labels).unwrap()[key] = json!("v2.0");
        }
    }
    let answer = production().update(&stored, &released);
    expected["metadata"]["annotations"] = answer.object["metadata"]["annotations"].clone();
    assert_eq!(answer.object, expected);
    assert_eq!(record(&answer.object)["metadata.labels[version]"], "v2.0");
    assert_eq!(
        answer.warnings,
        ["gapless: label app.kubernetes.io/version=v2.0, label version=v2.0 (version-label)"]
    );
}

#[test]
fn a_tag_that_is_no_version_takes_the_label_away() {
    let stored = injected();
    let mut released = stored.clone();
    container(&mut released)["image"] =
        json!("chatbot@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b");
    let answer = production().update(&stored, &released);
    assert_eq!(answer.object["spec"]["template"]["metadata"]["labels"], json!({"app": "chatbot"}));
    assert_eq!(answer.object["metadata"]["labels"], Value::Null);
}

#[test]
fn a_put_of_the_bare_manifest_changes_nothing() {
    let stored = injected();
    let answer = production().update(&stored, &chatbot());
    assert_eq!(answer.object, stored);
    assert_eq!(answer.warnings, [""; 0], "what is only put back is no news");

    // Whatever the defaults say today: other seconds would start a rollout.
    let mut longer = production();
    let mut profile = longer.policy.profile("production").unwrap().clone();
    profile.settings.pre_stop_sleep.seconds = 15;
    longer.policy = Policy::with_profile(profile);
    assert_eq!(longer.update(&stored, &chatbot()).object, stored);

    // With a new image the rollout is the user's own, and today's defaults hold.
    let mut released = chatbot();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let object = longer.update(&stored, &released).object;
    assert_eq!(
        object.pointer("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds"),
        Some(&json!(15))
    );
    assert_eq!(object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 45);
    assert_eq!(object["spec"]["template"]["metadata"]["labels"]["version"], "v2.0");
}

#[test]
fn an_edit_that_deletes_an_injected_field_gets_it_back() {
    let stored = injected();
    let mut edited = stored.clone();
    container(&mut edited).as_object_mut().unwrap().remove("readinessProbe");
    let answer = production().update(&stored, &edited);
    assert_eq!(answer.object, stored);
    assert_eq!(
        answer.warnings,
        ["gapless: kept readiness probe tcpSocket 5000 of container app; waive it with \
            gapless.dev/waive.readiness-probe (readiness-probe)"]
    );
    // Unless a waiver comes with it: then the rollout is the user's.
    edited["metadata"]["annotations"]["gapless.dev/waive.readiness-probe"] = json!("checked elsewhere");
    let object = production().update(&stored, &edited).object;
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"], Value::Null);
}

#[test]
fn a_users_handler_beside_the_injected_one_wins() {
    let stored = injected();
    let mut merged = stored.clone();
    container(&mut merged)["readinessProbe"]["httpGet"] = json!({"path": "/ready", "port": 5000});
    container(&mut merged)["lifecycle"]["preStop"]["exec"] = json!({"command": ["drain"]});
    let mut object = production().update(&stored, &merged).object;
    assert_eq!(
        container(&mut object)["readinessProbe"],
        json!({
            "httpGet": {"path": "/ready", "port": 5000, "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        }),
        "nothing of the injected probe is left, its period included"
    );
    assert_eq!(container(&mut object)["lifecycle"], json!({"preStop": {"exec": {"command": ["drain"]}}}));
    assert_eq!(
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30,
        "no sleep, no longer grace"
    );
    assert!(!paths(&object).iter().any(|path| path.contains("containers")), "{:?}", paths(&object));
}

#[test]
fn a_period_that_the_user_wrote_stays_when_the_handler_goes() {
    let stored = injected();
    let mut merged = stored.clone();
    container(&mut merged)["readinessProbe"]["httpGet"] = json!({"path": "/ready", "port": 5000});
    let applied = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {
        "f:readinessProbe": {"f:httpGet": {"f:path": {}, "f:port": {}}, "f:periodSeconds": {}}}}}}}});
    merged["metadata"]["managedFields"] =
        json!([{"manager": "flux", "operation": "Apply", "fieldsV1": applied}]);
    let mut object = production().update(&stored, &merged).object;
    assert_eq!(container(&mut object)["readinessProbe"]["periodSeconds"], 5);
    assert_eq!(container(&mut object)["readinessProbe"]["tcpSocket"], Value::Null);
}

#[test]
fn another_container_port_moves_the_probe() {
    let stored = injected();
    let mut moved = stored.clone();
    container(&mut moved)["ports"] = json!([{"containerPort": 6000}]);
    let answer = production().update(&stored, &moved);
    assert_eq!(
        answer.object.pointer("/spec/template/spec/containers/0/readinessProbe/tcpSocket/port"),
        Some(&json!(6000))
    );
    assert_eq!(
        answer.warnings,
        ["gapless: changed readiness probe tcpSocket 6000 of container app (readiness-probe)"]
    );
}

#[test]
fn a_value_that_the_user_changed_is_the_users() {
    let stored = injected();
    let mut edited = stored.clone();
    container(&mut edited)["readinessProbe"]["periodSeconds"] = json!(7);
    edited["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(90);
    edited["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(1);
    let object = production().update(&stored, &edited).object;
    let mut expected = edited.clone();
    expected["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
    assert_eq!(object, expected);
    let gone = ["readinessProbe", "terminationGracePeriodSeconds", "maxUnavailable"];
    assert!(
        !paths(&object).iter().any(|path| gone.iter().any(|field| path.ends_with(field))),
        "{:?}",
        paths(&object)
    );
}

#[test]
fn removing_the_annotation_hands_the_fields_over() {
    let stored = injected();
    let mut taken = stored.clone();
    taken["metadata"]["annotations"].as_object_mut().unwrap().remove(INJECTED);
    let answer = production().update(&stored, &taken);
    assert_eq!(answer.operations, Vec::<Value>::new());
    let mut released = answer.object.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    container(&mut released)["ports"] = json!([{"containerPort": 6000}]);
    let object = production().update(&answer.object, &released).object;
    let released = simulated::with_api_defaults(&released);
    assert_eq!(object, released, "what was injected once is the user's now");
}

#[test]
fn an_entry_removed_from_the_record_hands_that_field_over() {
    let stored = injected();
    let mut taken = stored.clone();
    let mut entries = record(&stored);
    entries.as_object_mut().unwrap().remove("spec.template.metadata.labels[version]");
    taken["metadata"]["annotations"][INJECTED] = json!(entries.to_string());
    let answer = production().update(&stored, &taken);
    assert_eq!(answer.object, taken);
    let mut released = answer.object.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let object = production().update(&answer.object, &released).object;
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["version"], &labels["app.kubernetes.io/version"]), (&json!("v1.0"), &json!("v2.0")));
}

#[test]
fn a_broken_record_is_mended() {
    let stored = injected();
    let mut broken = stored.clone();
    broken["metadata"]["annotations"][INJECTED] = json!("{");
    assert_eq!(production().update(&stored, &broken).object, stored);
}

#[test]
fn an_undo_brings_the_old_labels_back_and_is_never_denied() {
    let first = injected();
    let mut released = first.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let second = production().update(&first, &released).object;
    let answer = production().undo(&second, &first);
    assert_eq!(
        answer.object["spec"]["template"], first["spec"]["template"],
        "the old ReplicaSet is used again"
    );
    assert_eq!(answer.object["metadata"]["labels"], first["metadata"]["labels"]);
    assert_eq!(paths(&answer.object), paths(&first));
    assert_eq!(answer.denial, None);

    // To a revision from before gapless, and with a violation.
    let mut old = simulated::with_api_defaults(&chatbot());
    container(&mut old)["image"] = json!("chatbot:latest");
    let answer = production().undo(&second, &old);
    assert_eq!(answer.denial, None);
    assert!(
        answer.warnings.iter().any(|warning| warning.ends_with("(mutable-image-tag)")),
        "{:?}",
        answer.warnings
    );
    assert_eq!(
        record(&answer.object)["spec.strategy.rollingUpdate.maxUnavailable"],
        0,
        "outside the template nothing went back"
    );
}

#[test]
fn moving_to_server_side_apply_starts_no_rollout() {
    let stored = injected();
    // First kubectl hands the fields of its client-side apply, which the API
    // server had defaulted, to its Apply entry.
    let mut moved = stored.clone();
    let owned = json!({"f:spec": {"f:strategy": {"f:rollingUpdate": {"f:maxUnavailable": {}}},
        "f:template": {"f:spec": {"f:terminationGracePeriodSeconds": {}}}}});
    moved["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Apply", "fieldsV1": owned}]);
    let moved = production().update(&stored, &moved).object;
    assert_eq!(paths(&moved), paths(&stored));
    // Then the apply itself prunes them, back to their defaults.
    let mut applied = moved.clone();
    applied["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Apply", "fieldsV1": {}}]);
    applied["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(30);
    applied["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("25%");
    let object = production().update(&moved, &applied).object;
    assert_eq!(object["spec"], stored["spec"]);
    assert_eq!(paths(&object), paths(&stored));
}

#[test]
fn what_the_user_wrote_by_apply_stays_even_if_it_is_the_default() {
    let mut object = chatbot();
    object["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": "25%"}});
    object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(30);
    object["metadata"]["annotations"] = json!({LAST_APPLIED: object.to_string()});
    let object = production().create(&object).object;
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], "25%");
    assert_eq!(object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(
        object.pointer("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds"),
        Some(&json!(10))
    );
}

#[test]
fn a_waiver_stops_a_default_at_the_next_change() {
    let stored = injected();
    let mut waived = stored.clone();
    waived["metadata"]["annotations"]["gapless.dev/waive.pre-stop-sleep"] = json!("drains itself");
    waived["metadata"]["annotations"]["gapless.dev/waive.rolling-update"] = json!("wants speed");
    let answer = production().update(&stored, &waived);
    assert_eq!(
        answer.object["spec"]["template"], stored["spec"]["template"],
        "an annotation starts no rollout"
    );
    assert_eq!(answer.object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], "25%");
    let mut released = answer.object.clone();
    container(&mut released)["image"] = json!("chatbot:v2.0");
    let mut object = production().update(&answer.object, &released).object;
    assert_eq!(container(&mut object)["lifecycle"], Value::Null);
    assert_eq!(object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
}

#[test]
fn advisory_only_says_what_it_would_do() {
    let answer = ApiServer::new("advisory").create(&chatbot());
    assert_eq!(answer.operations, Vec::<Value>::new());
    assert_eq!(answer.denial, None);
    assert_eq!(
        answer.warnings[0],
        "gapless: would inject: added readiness probe tcpSocket 5000 to container app; if it does not fit: gapless.dev/waive.readiness-probe (readiness-probe)"
    );
    assert_eq!(answer.warnings.len(), 4, "judged as if it were injected: {:?}", answer.warnings);

    let mut recreate = chatbot();
    recreate["spec"]["strategy"] = json!({"type": "Recreate"});
    let answer = ApiServer::new("advisory").create(&recreate);
    assert_eq!(answer.denial, None);
    assert!(
        answer.warnings.iter().any(|warning| warning.ends_with("(recreate-strategy)")),
        "{:?}",
        answer.warnings
    );
}

#[test]
fn development_injects_probe_and_labels_only() {
    let object = ApiServer::new("development").create(&chatbot()).object;
    assert_eq!(
        paths(&object),
        [
            "metadata.labels[app.kubernetes.io/version]",
            "metadata.labels[version]",
            "spec.template.metadata.labels[app.kubernetes.io/version]",
            "spec.template.metadata.labels[version]",
            "spec.template.spec.containers[app].readinessProbe",
        ]
    );
}

#[test]
fn off_does_nothing() {
    let answer = ApiServer::new("off").create(&chatbot());
    assert_eq!((answer.operations.len(), answer.warnings.len(), answer.denial), (0, 0, None));
}

#[test]
fn a_misspelt_profile_falls_back_to_the_default_one() {
    let answer = ApiServer::new("prodution").create(&chatbot());
    assert_eq!(paths(&answer.object), paths(&injected()));
}

#[test]
fn an_undo_excuses_what_it_brings_back_and_nothing_else() {
    let server = production();
    // Ready after 700 s at the earliest, with a deadline of 600 s: brought back with the template.
    let mut slow = chatbot();
    container(&mut slow)["readinessProbe"] = json!({"tcpSocket": {"port": 5000}, "initialDelaySeconds": 700, "periodSeconds": 5, "failureThreshold": 3});
    let old = server.update(&injected(), &simulated::with_api_defaults(&chatbot())).object;
    let undone = server.undo(&old, &simulated::with_api_defaults(&slow));
    assert_eq!(undone.denial, None, "the deadline is no part of the template, but the delay is");

    let mut with_history = old.clone();
    with_history["spec"]["revisionHistoryLimit"] = json!(0);
    let mut revision = simulated::with_api_defaults(&slow);
    container(&mut revision)["image"] = json!("chatbot:latest");
    with_history["spec"]["template"] = revision["spec"]["template"].clone();
    with_history["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
    let denial =
        server.request(json!({"operation": "UPDATE", "options": {}}), &with_history, Some(&old)).denial;
    let denial = denial.unwrap();
    assert!(denial.contains("(no-rollback-history)"), "{denial}");
    assert!(!denial.split("warnings beside").next().unwrap().contains("(mutable-image-tag)"), "{denial}");
}

/// A cluster in which only the revisions of workloads are known.
#[derive(Debug)]
struct OnlyRevisions(Revisions);

impl Around for OnlyRevisions {
    fn around(&self, _: Kind, _: &Value, _: Option<&str>) -> Surroundings {
        Surroundings::default()
    }

    fn revisions(&self, _: Kind, _: Option<&str>, _: &str) -> Revisions {
        self.0.clone()
    }
}

#[test]
fn whoever_brings_an_earlier_template_back_is_not_denied_for_what_is_in_it() {
    let with_image = |mut object: Value, image: &str| {
        container(&mut object)["image"] = json!(image);
        object
    };
    let earlier = with_image(simulated::with_api_defaults(&chatbot()), "chatbot:latest");
    let template = fingerprint(earlier["spec"]["template"].clone(), &Record::default());
    let stored = injected();
    let update = |revisions: Revisions, object: &Value| {
        let server = ApiServer { surroundings: Arc::new(OnlyRevisions(revisions)), ..production() };
        server.update(&stored, object)
    };
    let known = || Revisions::Known(vec![Revision { template, record: None, unready: None }]);

    // As Helm goes back: what was injected stays.
    let back = with_image(stored.clone(), "chatbot:latest");
    let answer = update(known(), &back);
    assert_eq!(answer.denial, None);
    assert!(
        answer.warnings.iter().any(|line| line.ends_with("(mutable-image-tag)")),
        "{:?}",
        answer.warnings
    );

    // Another one is denied, and nobody needs to be told how a rollback passes.
    let mut with_environment = back.clone();
    container(&mut with_environment)["env"] = json!([{"name": "A", "value": "1"}]);
    for other in [with_image(stored.clone(), "other:latest"), with_environment] {
        let denial = update(known(), &other).denial.unwrap();
        assert!(denial.contains("(mutable-image-tag)") && !denial.contains("to roll back"), "{denial}");
    }
    let denial = update(Revisions::Unknown, &back).denial.unwrap();
    assert!(denial.contains("to roll back: kubectl rollout undo passes"), "{denial}");

    // What lies outside the template an earlier one does not bring back.
    let mut without_history = back.clone();
    without_history["spec"]["revisionHistoryLimit"] = json!(0);
    let denial = update(known(), &without_history).denial.unwrap();
    let denied = denial.split("warnings beside").next().unwrap();
    assert!(denied.contains("(no-rollback-history)") && !denied.contains("(mutable-image-tag)"), "{denial}");

    // While the revisions are still being read it may be one, if its template changes.
    assert_eq!(update(Revisions::Awaited, &with_image(stored.clone(), "other:latest")).denial, None);
    let mut without_history = stored.clone();
    without_history["spec"]["revisionHistoryLimit"] = json!(0);
    let denial = update(Revisions::Awaited, &without_history).denial.unwrap();
    assert!(denial.contains("(no-rollback-history)"), "{denial}");
}

#[test]
fn after_an_undo_of_a_template_alone_the_record_of_its_revision_speaks() {
    let mut set = chatbot();
    set["kind"] = json!("StatefulSet");
    let first = production().create(&set).object;
    // Its hook is the user's own by now.
    let mut second = first.clone();
    container(&mut second)["image"] = json!("chatbot:v2.0");
    container(&mut second)["lifecycle"]["preStop"]["sleep"]["seconds"] = json!(15);
    let second = production().update(&first, &second).object;
    let hook = "spec.template.spec.containers[app].lifecycle.preStop";
    assert_eq!(record(&second)[hook], Value::Null);

    let mut undone = second.clone();
    undone["spec"]["template"] = first["spec"]["template"].clone();
    undone["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
    let undo = |revisions: Revisions| {
        let server = ApiServer { surroundings: Arc::new(OnlyRevisions(revisions)), ..production() };
        server.request(json!({"operation": "UPDATE", "options": {}}), &undone, Some(&second)).object
    };
    let annotation = first["metadata"]["annotations"][INJECTED].as_str().unwrap();
    let template = fingerprint(first["spec"]["template"].clone(), &Record::parse(annotation).unwrap());
    let revision = Revision { template, record: Some(annotation.to_owned()), unready: None };
    let known = undo(Revisions::Known(vec![revision]));
    assert_eq!(record(&known), record(&first));
    assert_eq!(known["spec"]["template"], first["spec"]["template"]);
    assert_eq!(record(&undo(Revisions::Unknown))[hook], Value::Null, "it may be the user's");
}
