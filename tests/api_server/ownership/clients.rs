//! How each client makes a value the user's that gapless injected before, or does not.
//! The README has the table.

use std::fs;

use serde_json::json;

use super::manifest::{IMAGE, MAX_UNAVAILABLE, Manifest, PORTS, READINESS_PROBE, plain};
use super::web::{ALL, PATCH_TYPES, PROVING, Way, Web, for_each, in_each, in_each_of};
use crate::support::client::Output;

/// The port moves. Whoever owns the probe says whether it moves too.
#[track_caller]
fn asks_on(web: &Web, port: u16) {
    web.patch("json", &json!([{"op": "replace", "path": PORTS, "value": [{"containerPort": 9090}]}]));
    assert_eq!(web.probe()["tcpSocket"]["port"], port);
}

#[test]
fn a_manifest_proves_what_it_says() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.without_rollout(|web| web.send_and_keep(&plain().our_probe()));
        asks_on(web, 8080);
        web.is_the_users("readinessProbe");
    });
}

/// Whatever writes the annotation last-applied, as kubectl does on demand.
#[test]
fn a_manifest_that_kubectl_keeps_proves_what_it_says() {
    let keeping: [(&str, &[&str]); 2] = [
        ("replace --save-config", &["replace", "--save-config", "-f", "-"]),
        ("apply set-last-applied", &["apply", "set-last-applied", "--create-annotation", "-f", "-"]),
    ];
    for_each(&ALL, &keeping, |web, command| {
        web.send(&plain());
        let own = plain().our_probe();
        web.without_rollout(|web| web.kubectl(command).stdin(own.0.to_string()).ok());
        asks_on(web, 8080);
        web.is_the_users("readinessProbe");
    });
    in_each(&[Way::Apply], |web| {
        let own = plain().grace_period(30).with(MAX_UNAVAILABLE, json!("25%"));
        web.kubectl(&["create", "--save-config", "-f", "-"]).stdin(own.0.to_string()).ok();
        web.keeps(&own);
    });
}

#[test]
fn an_entry_that_is_taken_out_of_the_record_is_the_users() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.without_rollout(|web| web.hand_over("readinessProbe"));
        web.is_the_users("readinessProbe");
        web.is_ours("preStop");
        asks_on(web, 8080);
    });
}

/// They leave no trace of a value that is there already.
#[test]
fn a_patch_or_an_edit_to_what_is_there_proves_nothing() {
    let probe = json!({"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 5}});
    for_each(&PROVING, &PATCH_TYPES, |web, patch_type| {
        web.send(&plain());
        web.without_rollout(|web| web.patch_app(patch_type, &probe));
        web.is_ours("readinessProbe");
        asks_on(web, 9090);
    });
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.without_rollout(|web| web.edit("s/progressDeadlineSeconds: 600/progressDeadlineSeconds: 601/"));
        web.is_ours("readinessProbe");
        asks_on(web, 9090);
    });
}

/// To another value the user's intent is plain to see.
#[test]
fn a_patch_or_an_edit_to_another_value_makes_it_the_users() {
    let probe = json!({"readinessProbe": {"periodSeconds": 7}});
    for_each(&PROVING, &PATCH_TYPES, |web, patch_type| {
        web.send(&plain());
        web.patch_app(patch_type, &probe);
        web.is_the_users("readinessProbe");
        assert_eq!(web.at(READINESS_PROBE)["periodSeconds"], 7);
        asks_on(web, 8080);
    });
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.edit("s/periodSeconds: 5/periodSeconds: 7/");
        web.is_the_users("readinessProbe");
        assert_eq!(web.at(READINESS_PROBE)["periodSeconds"], 7);
        asks_on(web, 8080);
    });
}

/// A release of a chart that holds this manifest.
struct Release {
    arguments: &'static [&'static str],
}

impl Release {
    #[track_caller]
    fn roll_out(&self, web: &Web, manifest: &Manifest) -> Output {
        let chart = tempfile::tempdir().unwrap();
        fs::create_dir(chart.path().join("templates")).unwrap();
        fs::write(chart.path().join("Chart.yaml"), "{apiVersion: v2, name: web, version: 1.0.0}").unwrap();
        fs::write(chart.path().join("templates/web.yaml"), manifest.0.to_string()).unwrap();
        let path = chart.path().display().to_string();
        let command = [&["upgrade", "--install", "web", &path], self.arguments].concat();
        eprintln!("    $ helm {}", command.join(" "));
        web.namespace.helm(command).ok()
    }
}

/// It leaves out of its patch what is there already. So the README says to take the
/// entry out of the record.
#[test]
fn client_side_helm_leaves_no_trace_of_what_is_there() {
    let client_side = Release { arguments: &["--server-side=false"] };
    in_each(&[Way::Apply], |web| {
        client_side.roll_out(web, &plain());
        web.is_ours("readinessProbe");
        web.without_rollout(|web| client_side.roll_out(web, &plain().our_probe()));
        web.is_ours("readinessProbe");
        web.without_rollout(|web| web.hand_over("readinessProbe"));
        web.is_the_users("readinessProbe");
        let moved = plain().our_probe().port(9090).image("v2");
        client_side.roll_out(web, &moved);
        web.keeps(&moved);
        web.is_the_users("readinessProbe");
        web.without_rollout(|web| client_side.roll_out(web, &moved));
    });
}

#[test]
fn server_side_helm_proves_what_its_chart_says() {
    let server_side = Release { arguments: &["--server-side=true"] };
    in_each(&[Way::ServerSide], |web| {
        server_side.roll_out(web, &plain());
        web.is_ours("readinessProbe");
        web.without_rollout(|web| server_side.roll_out(web, &plain().fixed()));
        let moved = plain().fixed().port(9090).image("v2");
        server_side.roll_out(web, &moved);
        web.keeps(&moved);
        assert!(web.record().is_empty(), "{:?}", web.record());
        web.without_rollout(|web| server_side.roll_out(web, &moved));
    });
}

/// As releases that began with Helm 3 do when they are told to.
#[test]
fn a_release_that_changes_to_server_side_apply_restarts_nothing() {
    let client_side = Release { arguments: &["--server-side=false"] };
    let server_side = Release { arguments: &["--server-side=true", "--force-conflicts"] };
    in_each(&[Way::ServerSide], |web| {
        client_side.roll_out(web, &plain());
        let record = web.record();
        web.without_rollout(|web| {
            server_side.roll_out(web, &plain());
            server_side.roll_out(web, &plain());
        });
        assert_eq!(web.record(), record);
        web.without_rollout(|web| server_side.roll_out(web, &plain().fixed()));
        server_side.roll_out(web, &plain().fixed().image("v2"));
        web.keeps(&plain().fixed().image("v2"));
    });
}

/// Nothing but its template tells `helm rollback` from any update.
#[test]
fn a_denied_rollback_says_how_one_passes() {
    let client_side = Release { arguments: &["--server-side=false"] };
    in_each_of("off", &[Way::Apply], |web| {
        client_side.roll_out(web, &plain().image("latest"));
        web.enter("production");
        client_side.roll_out(web, &plain().image("v2"));
        let denied = web.namespace.helm(["rollback", "web"]).fails();
        assert!(denied.stderr.contains("(mutable-image-tag)"), "{denied}");
        assert!(denied.stderr.contains("kubectl rollout undo"), "{denied}");
        web.undo();
        assert_eq!(web.at(IMAGE), "registry.example/web:latest");
    });
}
