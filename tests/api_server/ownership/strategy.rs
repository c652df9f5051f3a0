//! A live Deployment is switched to Recreate.

use serde_json::{Value, json};

use super::manifest::{MAX_UNAVAILABLE, STRATEGY, plain};
use super::web::{ALL, PROVING, Way, Web, for_each_of, in_each, in_each_of};
use crate::support::client::Output;

/// Another way than a manifest.
type Switch = fn(&Web) -> Output;

const SWITCHES: [(&str, Switch); 4] = [
    ("merge", |web| web.patch("merge", &json!({"spec": {"strategy": {"type": "Recreate"}}}))),
    ("strategic", |web| web.patch("strategic", &json!({"spec": {"strategy": {"type": "Recreate"}}}))),
    ("json", |web| {
        web.patch("json", &json!([{"op": "replace", "path": "/spec/strategy/type", "value": "Recreate"}]))
    }),
    ("edit", |web| web.edit("s/type: RollingUpdate/type: Recreate/")),
];

#[track_caller]
fn is_recreate(web: &Web) {
    assert_eq!(web.at(STRATEGY), json!({"type": "Recreate"}));
    web.is_the_users("strategy");
}

#[test]
fn rolling_parameters_that_nobody_wrote_go_with_recreate() {
    for profile in ["production", "development"] {
        let recreate = plain().with("/spec/strategy/type", json!("Recreate")).waiving(&["recreate-strategy"]);
        in_each_of(profile, &ALL, |web| {
            web.send(&plain());
            let output = web.without_rollout(|web| web.send_and_keep(&recreate));
            is_recreate(web);
            if web.way == Way::ServerSide {
                assert!(output.stderr.contains("rollingUpdate"), "it says so: {output}");
            }
        });
    }
}

#[test]
fn rolling_parameters_that_nobody_wrote_go_with_recreate_by_patch_and_edit() {
    for profile in ["production", "development"] {
        for_each_of(profile, &PROVING, &SWITCHES, |web, switch| {
            web.send(&plain().waiving(&["recreate-strategy"]));
            let output = web.without_rollout(switch);
            is_recreate(web);
            assert!(output.stderr.contains("rollingUpdate"), "it says so: {output}");
        });
    }
}

/// The API server's own message reaches the user.
#[test]
fn rolling_parameters_of_the_user_are_left_for_the_api_server_to_refuse() {
    in_each_of("development", &PROVING, |web| {
        web.send(&plain().with(MAX_UNAVAILABLE, json!(1)));
        let patch = json!({"spec": {"strategy": {"type": "Recreate"}}}).to_string();
        let output = web.kubectl(&["patch", "deploy/web", "--type=merge", "-p", &patch]).fails();
        assert!(
            output.stderr.contains("may not be specified when strategy `type` is 'Recreate'"),
            "{output}"
        );
        assert_eq!(web.at(MAX_UNAVAILABLE), 1);
    });
}

/// Back again: the API server fills 25 % in, and that is nobody's.
#[test]
fn rolling_parameters_come_back_with_rolling_update() {
    in_each(&ALL, |web| {
        let waiving = plain().waiving(&["recreate-strategy"]);
        web.send(&waiving.clone().with("/spec/strategy/type", json!("Recreate")));
        assert_eq!(web.at("/spec/strategy/rollingUpdate"), Value::Null);
        let rolling = waiving.with("/spec/strategy/type", json!("RollingUpdate"));
        web.send(&rolling);
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
        web.settles(&rolling);
    });
}
