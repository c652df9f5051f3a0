//! The user's own values beside ours: what merging left of ours goes.

use serde_json::{Value, json};

use super::manifest::{GRACE_PERIOD, LIVENESS_PROBE, Manifest, PORTS, PRE_STOP, READINESS_PROBE, plain};
use super::web::{ALL, PATCH_TYPES, PROVING, Way, Web, for_each, in_each};

/// A container whose liveness probe gapless copies: by TLS, on another host.
fn player() -> Manifest {
    let ports = json!([{"containerPort": 8080, "name": "http"}, {"containerPort": 8443, "name": "https"}]);
    let liveness = json!({
        "httpGet": {"path": "/live", "port": 8443, "scheme": "HTTPS", "host": "10.0.0.9"},
        "timeoutSeconds": 7,
    });
    plain().with(PORTS, ports).with(LIVENESS_PROBE, liveness)
}

#[test]
fn nothing_of_an_injected_probe_stays_in_the_users_own() {
    in_each(&ALL, |web| {
        web.send(&player());
        assert_eq!(web.probe()["httpGet"]["host"], "10.0.0.9", "the copy");
        let own = player().with(READINESS_PROBE, json!({"httpGet": {"path": "/ready", "port": 8080}}));
        web.send_and_keep(&own);
        assert_eq!(web.probe(), json!({"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}}));
        web.is_the_users("readinessProbe");
    });
}

/// A patch names what it changes, and an editor shows the rest: without a proof all of
/// it is taken for the user's.
#[test]
fn what_a_patch_leaves_in_a_probe_is_what_the_user_saw() {
    let ready = json!({"readinessProbe": {"httpGet": {"path": "/ready"}}});
    for_each(&[Way::Apply], &PATCH_TYPES, |web, patch_type| {
        web.send(&player());
        web.patch_app(patch_type, &ready);
        let http_get = json!({"path": "/ready", "port": 8443, "scheme": "HTTPS", "host": "10.0.0.9"});
        assert_eq!(web.probe(), json!({"httpGet": http_get, "periodSeconds": 5, "timeoutSeconds": 7}));
        web.is_the_users("readinessProbe");
    });
}

#[test]
fn a_handler_of_ours_goes_beside_another_one() {
    let by_command = json!({"exec": {"command": ["ready"]}});
    #[track_caller]
    fn is_by_command(web: &Web) {
        let probe = web.probe();
        assert_eq!((&probe["exec"], &probe["tcpSocket"]), (&json!({"command": ["ready"]}), &Value::Null));
        web.is_the_users("readinessProbe");
    }
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send_and_keep(&plain().with(READINESS_PROBE, by_command.clone()));
        assert_eq!(web.probe(), by_command, "and nothing else of ours");
        is_by_command(web);
    });
    for_each(&PROVING, &PATCH_TYPES, |web, patch_type| {
        web.send(&plain());
        web.patch_app(patch_type, &json!({ "readinessProbe": by_command }));
        is_by_command(web);
    });
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.edit(r"s/^\( *\)readinessProbe:/&\n\1  exec: {command: [ready]}/");
        is_by_command(web);
    });
}

#[test]
fn a_hook_of_ours_goes_beside_another_one() {
    let drain = json!({"exec": {"command": ["drain"]}});
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send_and_keep(&plain().with(PRE_STOP, drain.clone()));
        assert_eq!(web.at(PRE_STOP), drain);
        web.is_the_users("preStop");
    });
    for_each(&PROVING, &PATCH_TYPES, |web, patch_type| {
        web.send(&plain());
        web.patch_app(patch_type, &json!({"lifecycle": {"preStop": drain}}));
        assert_eq!(web.at(PRE_STOP), drain);
        web.is_the_users("preStop");
    });
}

/// The user proves the handler, and nothing else of the probe. The rest stays ours
/// until there is a rollout anyhow.
#[test]
fn parts_beside_the_users_own_go_with_the_next_rollout() {
    let handler = json!({"tcpSocket": {"port": 8080}});
    in_each(&ALL, |web| {
        web.send(&plain());
        let own = plain().with(READINESS_PROBE, handler.clone());
        web.without_rollout(|web| web.send_and_keep(&own));
        assert_eq!(web.probe()["periodSeconds"], 5);
        web.without_rollout(|web| web.label("team=support"));
        web.send_and_keep(&own.image("v2"));
        assert_eq!(web.probe(), handler);
        web.is_the_users("readinessProbe");
    });
    // With a rollout in the same request at once.
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send_and_keep(&plain().with(READINESS_PROBE, handler.clone()).image("v2"));
        assert_eq!(web.probe(), handler);
        web.is_the_users("readinessProbe");
    });
}

/// Raised on the screen under the injected grace period of 40 s.
#[test]
fn a_longer_sleep_keeps_the_grace_period_that_it_needs() {
    #[track_caller]
    fn is_long_enough(web: &Web) {
        assert_eq!(web.at(PRE_STOP), json!({"sleep": {"seconds": 35}}));
        assert!(web.at(GRACE_PERIOD).as_u64() >= Some(40), "{}", web.at(GRACE_PERIOD));
        web.is_the_users("preStop");
    }
    in_each(&PROVING, |web| {
        web.send(&plain());
        web.edit("s/seconds: 10$/seconds: 35/");
        is_long_enough(web);
        web.set_image("v2");
        is_long_enough(web);
    });
    for_each(&PROVING, &PATCH_TYPES, |web, patch_type| {
        web.send(&plain());
        web.patch_app(patch_type, &json!({"lifecycle": {"preStop": {"sleep": {"seconds": 35}}}}));
        is_long_enough(web);
        web.set_image("v2");
        is_long_enough(web);
    });
}

#[test]
fn a_hook_of_the_manifest_keeps_the_grace_period_that_it_needs() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        let own = plain().with(PRE_STOP, json!({"sleep": {"seconds": 35}})).waiving(&["pre-stop-sleep"]);
        web.send_and_keep(&own);
        assert!(web.at(GRACE_PERIOD).as_u64() >= Some(40), "{}", web.at(GRACE_PERIOD));
        web.send_and_keep(&own.image("v2"));
        assert!(web.at(GRACE_PERIOD).as_u64() >= Some(40), "{}", web.at(GRACE_PERIOD));
    });
}
