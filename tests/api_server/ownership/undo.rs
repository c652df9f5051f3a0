//! `kubectl rollout undo`: the template and the annotations of an older revision come
//! back, and with them what an older record says.

use serde_json::{Value, json};

use super::manifest::{IMAGE, MAX_UNAVAILABLE, READINESS_PROBE, TEMPLATE, TEMPLATE_LABELS, plain};
use super::web::{PROVING, Way, Web, for_each, for_each_of, in_each, in_each_of};

#[test]
fn an_undo_brings_template_and_record_back() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        let (template, record) = (web.at(TEMPLATE), web.record());
        web.send(&plain().image("v2").port(9090));
        web.undo();
        assert_eq!(web.at(TEMPLATE), template);
        let in_template = |path: &String| path.starts_with("spec.template");
        let paths = |record: serde_json::Map<String, Value>| -> Vec<String> {
            record.into_iter().map(|(path, _)| path).filter(in_template).collect()
        };
        assert_eq!(paths(web.record()), paths(record));
    });
}

/// Row: the older record claims what has become the user's, without a proof.
#[test]
fn an_undo_brings_no_claim_on_what_lies_outside_the_template() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.is_ours("maxUnavailable");
        web.namespace.replica_sets("web");
        // In one step: the controller copies what changes alone to the old ReplicaSet.
        let record = web.record_without("maxUnavailable");
        web.patch(
            "json",
            &json!([
                {"op": "replace", "path": "/metadata/annotations/gapless.dev~1injected", "value": record},
                {"op": "replace", "path": IMAGE, "value": "registry.example/web:v2"},
            ]),
        );
        web.is_the_users("maxUnavailable");
        web.undo();
        web.is_the_users("maxUnavailable");
        web.enter("old-first");
        web.label("team=support");
        web.set_image("v3");
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
    });
}

/// The same with a proof.
#[test]
fn an_undo_brings_no_claim_on_what_the_manifest_says() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.namespace.replica_sets("web");
        web.send(&plain().our_max_unavailable().image("v2"));
        web.undo();
        web.is_the_users("maxUnavailable");
        web.enter("old-first");
        web.label("team=support");
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
    });
}

/// The revision is older than gapless and has no record.
#[test]
fn an_undo_takes_no_claim_away_outside_the_template() {
    in_each_of("off", &PROVING, |web| {
        web.send(&plain());
        web.namespace.replica_sets("web");
        web.enter("production");
        web.send(&plain().image("v2"));
        web.is_ours("maxUnavailable");
        web.undo();
        web.is_ours("maxUnavailable");
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
        // What is ours is completed: a rollout is on its way anyhow.
        assert_eq!(web.probe()["tcpSocket"]["port"], 8080);
        web.is_ours("readinessProbe");
        web.enter("old-first");
        web.label("team=support");
        assert_eq!(web.at(MAX_UNAVAILABLE), 1, "ours, and refreshed");
    });
}

/// last-applied stays as it is in an undo: it speaks of another revision.
#[test]
fn the_manifest_of_a_later_revision_proves_nothing_about_an_older_one() {
    let own = [
        ("another handler", json!({"httpGet": {"path": "/ready", "port": 8080}})),
        ("another value", json!({"tcpSocket": {"port": 8081}, "periodSeconds": 7})),
    ];
    for_each(&[Way::Apply], &own, |web, probe| {
        web.send(&plain());
        let template = web.at(TEMPLATE);
        web.namespace.replica_sets("web");
        web.send(&plain().with(READINESS_PROBE, probe.clone()).image("v2"));
        web.undo();
        assert_eq!(web.at(TEMPLATE), template);
        web.is_ours("readinessProbe");
        // It is still ours, and moves.
        web.patch(
            "json",
            &json!([
                {"op": "replace", "path": super::manifest::PORTS, "value": [{"containerPort": 9090}]},
            ]),
        );
        assert_eq!(web.probe(), json!({"tcpSocket": {"port": 9090}, "periodSeconds": 5}));
    });
}

/// The first of two calls fills what the older revision lacks; the second must not
/// take the manifest of the later revision for a proof of it.
#[test]
fn what_an_undo_fills_is_ours_also_in_a_second_call() {
    in_each_of("off", &PROVING, |web| {
        web.send(&plain());
        web.namespace.replica_sets("web");
        web.enter("production");
        web.send_and_keep(&plain().our_probe().our_sleep().image("v2"));
        web.undo();
        assert_eq!(web.at(IMAGE), "registry.example/web:v1");
        for field in ["readinessProbe", "preStop", "template.metadata.labels"] {
            web.is_ours(field);
        }
    });
}

/// A moving tag, and version labels that are not to be found in it.
fn violating() -> super::manifest::Manifest {
    plain().image("latest").with("/spec/revisionHistoryLimit", json!(5))
}

/// The name of the program's file is the manager's name: the undo is recognised by it.
#[test]
fn an_undo_passes_under_whatever_name_kubectl_goes() {
    let names = ["kubectl", "kubectl.exe", "kubectl1.30", "kubectl-v1.37.2"].map(|name| (name, name));
    for_each_of("off", &[Way::Apply], &names, |web, kubectl| {
        web.send(&violating());
        web.namespace.replica_sets("web");
        web.enter("no-waivers");
        web.send(&violating().image("v2"));
        web.namespace.replica_sets("web");
        let output = web.namespace.tool(kubectl, ["rollout", "undo", "deploy/web"]).ok();
        assert_eq!(web.at(IMAGE), "registry.example/web:latest");
        assert!(output.stderr.contains("(mutable-image-tag)"), "it is told all the same: {output}");
        // Nobody else may.
        web.set_image("v3");
        let image = "app=registry.example/web:latest";
        let denied = web.namespace.tool(kubectl, ["set", "image", "deploy/web", image]).fails();
        assert!(denied.stderr.contains("(mutable-image-tag)"), "{denied}");
    });
}

/// `managedFields` tell the time in seconds.
#[test]
fn undos_within_one_second_all_pass() {
    in_each_of("off", &[Way::Apply], |web| {
        web.send(&violating());
        web.namespace.replica_sets("web");
        web.enter("no-waivers");
        web.send(&violating().image("v2"));
        for expected in ["latest", "v2", "latest", "v2"] {
            web.undo();
            let image = web.at(IMAGE);
            assert_eq!(image, format!("registry.example/web:{expected}"));
        }
    });
}

/// An undo excuses what it brings back, and nothing else.
#[test]
fn an_undo_is_followed_by_the_usual_judgement() {
    in_each_of("off", &[Way::Apply], |web| {
        web.send(&violating());
        web.namespace.replica_sets("web");
        web.enter("no-waivers");
        web.send(&violating().image("v2"));
        web.undo();
        let patch = json!({"spec": {"revisionHistoryLimit": 0}}).to_string();
        let denied = web.kubectl(&["patch", "deploy/web", "--type=merge", "-p", &patch]).fails();
        assert!(denied.stderr.contains("(no-rollback-history)"), "{denied}");
    });
}

/// Labels of the workload are not undone, those of the template are; both are ours.
#[test]
fn labels_follow_the_next_release_after_an_undo() {
    in_each(&PROVING, |web: &Web| {
        web.send(&plain());
        web.send(&plain().image("v2"));
        web.undo();
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v1");
        let third = plain().image("v3");
        web.send(&third);
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v3");
        assert_eq!(web.at("/metadata/labels/version"), "v3");
        web.settles(&third);
    });
}

/// Waivers are annotations and go back too; what they waived was there before.
#[test]
fn an_undo_that_drops_a_waiver_passes() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.namespace.replica_sets("web");
        let outage = plain().with(MAX_UNAVAILABLE, json!("100%")).waiving(&["rollout-outage"]).image("v2");
        web.send(&outage);
        web.undo();
        assert_eq!(web.at("/metadata/annotations/gapless.dev~1waive.rollout-outage"), Value::Null);
        assert_eq!(web.at(MAX_UNAVAILABLE), "100%");
    });
}
