//! What the way of writing drops comes back, without a rollout; what the user takes
//! away against gapless' will is announced, with the way to be rid of it.

use serde_json::{Value, json};

use super::manifest::{
    CONTAINERS, GRACE_PERIOD, Manifest, PRE_STOP, READINESS_PROBE, TEMPLATE_LABELS, plain,
};
use super::web::{ALL, Calls, PATCH_TYPES, PROVING, Way, Web, for_each, in_each, in_each_of, record_of};
use crate::support::client::Output;

/// `kubectl replace` with the manifest as it was written.
fn replace(web: &Web, manifest: &Manifest) -> Output {
    web.kubectl(&["replace", "-f", "-"]).stdin(manifest.0.to_string()).ok()
}

#[test]
fn a_put_of_the_bare_manifest_starts_no_rollout() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let before = web.stored();
        let output = web.without_rollout(|web| replace(web, &plain()));
        assert!(!output.stderr.contains("kept"), "a PUT is no resistance: {output}");
        assert_eq!((web.at("/spec"), web.record()), (before["spec"].clone(), record_of(&before)));
        // As it was, not as it would be injected today.
        web.enter("longer-sleep");
        web.without_rollout(|web| replace(web, &plain()));
        assert_eq!(web.namespace.replica_sets("web").len(), 1);
    });
}

/// Putting back is no injection.
#[test]
fn a_put_starts_no_rollout_where_nothing_is_injected_any_more() {
    in_each(&[Way::Apply], |web| {
        web.send(&plain());
        web.enter("advisory");
        web.without_rollout(|web| replace(web, &plain()));
        web.is_ours("readinessProbe");
    });
}

#[test]
fn a_put_with_a_waiver_gives_up_what_it_waives() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        replace(web, &plain().waiving(&["readiness-probe"]));
        assert_eq!(web.at(READINESS_PROBE), Value::Null);
        web.is_the_users("readinessProbe");
        web.is_ours("preStop");
        assert_eq!(web.at(GRACE_PERIOD), 40);
    });
}

#[test]
fn a_put_finds_containers_by_their_names() {
    let app = json!({"name": "app", "image": "registry.example/web:v1", "ports": [{"containerPort": 8080}]});
    let side = json!({"name": "side", "image": "registry.example/side:v7"});
    let both = plain().with(CONTAINERS, json!([app, side]));
    in_each(&PROVING, |web| {
        web.send(&both);
        assert_eq!(web.probe()["tcpSocket"]["port"], 8080);
        web.without_rollout(|web| replace(web, &both));
        replace(web, &plain().with(CONTAINERS, json!([side, app])));
        let containers = web.at(CONTAINERS);
        assert_eq!(containers[0]["readinessProbe"], Value::Null);
        assert_eq!(containers[1]["readinessProbe"]["tcpSocket"]["port"], 8080);
        assert_eq!(containers[1]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 10}}}));
        web.is_ours("containers[app].readinessProbe");
    });
}

/// Takes something away, in one of the ways of patching.
type Take = fn(&Web, &str) -> Output;

/// What gapless calls it, where it is, the id of its default, and how to take it away.
const TAKEN: [(&str, (&str, &str, Take)); 4] = [
    (
        "readiness probe",
        (READINESS_PROBE, "readiness-probe", |web, way| web.patch_app(way, &json!({"readinessProbe": null}))),
    ),
    ("preStop", (PRE_STOP, "pre-stop-sleep", |web, way| web.patch_app(way, &json!({"lifecycle": null})))),
    ("grace period", (GRACE_PERIOD, "pre-stop-sleep", |web, way| take(web, way, GRACE_PERIOD))),
    (
        "label",
        (TEMPLATE_LABELS, "version-label", |web, way| take(web, way, &format!("{TEMPLATE_LABELS}/version"))),
    ),
];

fn take(web: &Web, patch_type: &str, pointer: &str) -> Output {
    let nested = pointer.rsplit('/').filter(|step| !step.is_empty());
    match patch_type {
        "json" => web.patch("json", &json!([{"op": "remove", "path": pointer}])),
        _ => web.patch(patch_type, &nested.fold(Value::Null, |inner, step| json!({ step: inner }))),
    }
}

/// One warning that names it and the way out, and everything as it was.
#[track_caller]
fn is_kept(web: &Web, what: &str, place: &str, default: &str, take: impl FnOnce(&Web) -> Output) {
    let before = (web.at(place), web.record());
    let output = web.without_rollout(take);
    let said: Vec<&str> = output.stderr.lines().filter(|line| line.contains("gapless: kept")).collect();
    assert_eq!(said.len(), 1, "{output}");
    assert!(said[0].contains(what), "{output}");
    assert!(said[0].contains(&format!("gapless.dev/waive.{default}")), "{output}");
    assert_eq!((web.at(place), web.record()), before);
}

#[test]
fn what_a_patch_takes_away_is_put_back_and_says_so() {
    for_each(&PROVING, &TAKEN, |web, &(place, default, take)| {
        web.send(&plain());
        let what = TAKEN.iter().find(|(_, taken)| taken.0 == place).unwrap().0;
        for (_, patch_type) in PATCH_TYPES {
            is_kept(web, what, place, default, |web| take(web, patch_type));
        }
    });
}

#[test]
fn what_an_edit_takes_away_is_put_back_and_says_so() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        let probe = "/readinessProbe:/,/timeoutSeconds:/d";
        is_kept(web, "readiness probe", READINESS_PROBE, "readiness-probe", |web| web.edit(probe));
        let hook = "/lifecycle:/,/seconds:/d";
        is_kept(web, "preStop", PRE_STOP, "pre-stop-sleep", |web| web.edit(hook));
        let grace_period = "s/terminationGracePeriodSeconds: 40/terminationGracePeriodSeconds: 30/";
        is_kept(web, "grace period", GRACE_PERIOD, "pre-stop-sleep", |web| web.edit(grace_period));
    });
}

/// As the warning says.
#[test]
fn a_waiver_takes_what_is_ours_out_with_the_next_rollout() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let waiving = plain().waiving(&["readiness-probe", "pre-stop-sleep"]).image("v2");
        let output = web.send(&waiving);
        assert_eq!((web.at(READINESS_PROBE), web.at(PRE_STOP)), (Value::Null, Value::Null));
        assert_eq!(web.at(GRACE_PERIOD), 30);
        web.settles(&waiving);
        if web.way != Way::Replace {
            for what in ["readiness probe", "preStop"] {
                let is_about = |line: &&str| line.contains("gapless:") && line.contains(what);
                let said: Vec<&str> = output.stderr.lines().filter(is_about).collect();
                assert!(
                    said.iter().any(|line| line.contains("gapless.dev/injected")),
                    "how to keep it: {output}"
                );
            }
        }
    });
}

#[test]
fn a_waiver_alone_starts_no_rollout() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.without_rollout(|web| {
            web.send_and_keep(&plain().waiving(&["readiness-probe", "pre-stop-sleep"]))
        });
        web.is_ours("readinessProbe");
    });
}

#[test]
fn removing_the_annotation_hands_everything_over() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        let before = web.at("/spec");
        web.kubectl(&["annotate", "deploy/web", "gapless.dev/injected-"]).ok();
        assert!(web.record().is_empty(), "{:?}", web.record());
        assert_eq!(web.at("/spec"), before);
        // Nobody moves it any more.
        web.set_image("v2");
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v1");
        web.enter("longer-sleep");
        web.set_image("v3");
        assert_eq!(web.at(PRE_STOP)["sleep"]["seconds"], 10);
    });
}

/// In the same edit in which the template changes: what is there is handed over.
#[test]
fn removing_the_annotation_with_a_rollout_hands_everything_over() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.edit("/gapless.dev.injected:/d; s/web:v1/web:v2/");
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v1");
        for field in
            ["readinessProbe", "preStop", "terminationGracePeriodSeconds", "template.metadata.labels"]
        {
            web.is_the_users(field);
        }
    });
}

#[test]
fn what_is_removed_together_with_its_record_comes_back_with_it() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.enter("longer-sleep");
        web.without_rollout(|web| {
            web.patch(
                "json",
                &json!([
                    {"op": "remove", "path": "/metadata/annotations/gapless.dev~1injected"},
                    {"op": "remove", "path": PRE_STOP},
                ]),
            );
        });
        web.is_ours("preStop");
        web.is_the_users("readinessProbe");
    });
}

#[test]
fn nothing_is_touched_while_the_template_stays() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.enter("longer-sleep");
        let before = (web.at("/spec/template"), web.at("/metadata/labels"), web.record());
        web.label("team=support");
        web.kubectl(&["annotate", "deploy/web", "note=hello"]).ok();
        web.kubectl(&["rollout", "pause", "deploy/web"]).ok();
        web.kubectl(&["rollout", "resume", "deploy/web"]).ok();
        web.label("team-");
        assert_eq!((web.at("/spec/template"), web.at("/metadata/labels"), web.record()), before);
        // A rollout that is on its way anyhow brings today's defaults.
        web.set_image("v2");
        assert_eq!(
            (web.at(PRE_STOP)["sleep"]["seconds"].clone(), web.at(GRACE_PERIOD)),
            (json!(20), json!(50))
        );
    });
}

/// As a migration of the storage does it: the very object that is stored.
#[test]
fn a_put_of_what_is_stored_fills_nothing() {
    in_each_of("off", &ALL, |web| {
        web.send(&plain());
        web.enter("production");
        let before = web.at("/spec");
        let stored = web.kubectl(&["get", "deploy/web", "-o", "json"]).ok().stdout;
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", web.namespace.name);
        web.kubectl(&["replace", "--raw", &path, "-f", "-"]).stdin(stored).ok();
        // The second webhook makes a change of it.
        if web.calls == Calls::One {
            assert_eq!(web.at("/spec"), before);
            assert!(web.record().is_empty(), "{:?}", web.record());
        }
        assert_eq!(web.at("/spec/template"), before["template"]);
    });
}
