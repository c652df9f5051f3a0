//! The user writes what gapless injected: it is theirs from then on.

use serde_json::{Value, json};

use super::manifest::{
    GRACE_PERIOD, LIVENESS_PROBE, MAX_UNAVAILABLE, MIN_READY_SECONDS, PORTS, PRE_STOP, READINESS_PROBE,
    TEMPLATE_LABELS, plain,
};
use super::web::{ALL, PROVING, Way, in_each, in_each_of};

const DEFAULTS: [&str; 4] = ["readiness-probe", "pre-stop-sleep", "rolling-update", "version-label"];

#[test]
fn a_fixed_manifest_is_never_recorded() {
    in_each(&ALL, |web| {
        web.send_and_keep(&plain().fixed());
        assert!(web.record().is_empty(), "{:?}", web.record());
    });
}

#[test]
fn what_the_manifest_says_stays_when_its_defaults_are_waived() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let own = plain().fixed().waiving(&DEFAULTS);
        web.without_rollout(|web| web.send_and_keep(&own));
        assert!(web.record().is_empty(), "{:?}", web.record());
        web.send_and_keep(&own.image("v2"));
    });
}

/// The same in one step: the waivers come with the next release.
#[test]
fn what_the_manifest_says_stays_when_its_defaults_are_waived_with_a_new_image() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send_and_keep(
            &plain().our_probe().our_sleep().waiving(&["readiness-probe", "pre-stop-sleep"]).image("v2"),
        );
        for field in ["readinessProbe", "preStop", "terminationGracePeriodSeconds"] {
            web.is_the_users(field);
        }
    });
}

#[test]
fn what_the_manifest_says_stays_whatever_changes_later() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let own = plain().fixed();
        web.without_rollout(|web| web.send_and_keep(&own));
        web.enter("longer-sleep");
        web.without_rollout(|web| {
            web.label("team=support");
            web.scale(3);
        });
        let own = own.with("/spec/replicas", json!(3));
        web.keeps(&own);
        web.set_image("v2");
        web.keeps(&own.clone().image("v2"));
        web.send_and_keep(
            &own.image("v3").with(LIVENESS_PROBE, json!({"httpGet": {"path": "/alive", "port": 8080}})),
        );
    });
}

#[test]
fn max_unavailable_stays_with_a_waiver() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let own = plain().our_max_unavailable().waiving(&["rolling-update"]);
        web.send_and_keep(&own);
        web.is_the_users("maxUnavailable");
        web.label("team=support");
        web.keeps(&own);
    });
}

#[test]
fn version_labels_stay_when_only_the_image_moves_on() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.without_rollout(|web| web.send(&plain().our_labels()));
        let moved = plain().our_labels().image("v2");
        let output = web.send_and_keep(&moved);
        web.is_the_users("labels");
        assert!(output.stderr.contains("(version-label-mismatch)"), "{output}");
    });
}

#[test]
fn a_sleep_stays_when_the_profile_sleeps_longer() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send(&plain().our_sleep());
        web.enter("longer-sleep");
        web.send_and_keep(&plain().our_sleep().image("v2"));
        assert_eq!((web.at(PRE_STOP), web.at(GRACE_PERIOD)), (json!({"sleep": {"seconds": 10}}), json!(40)));
        web.is_the_users("preStop");
        web.is_the_users("terminationGracePeriodSeconds");
    });
}

#[test]
fn a_readiness_probe_stays_when_a_liveness_probe_comes() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send(&plain().our_probe());
        let probes =
            plain().our_probe().with(LIVENESS_PROBE, json!({"httpGet": {"path": "/alive", "port": 8080}}));
        web.send_and_keep(&probes);
        assert_eq!(web.at(READINESS_PROBE)["httpGet"], Value::Null);
        web.is_the_users("readinessProbe");
    });
}

#[test]
fn max_unavailable_stays_when_the_profile_wants_another_and_somebody_labels() {
    in_each(&ALL, |web| {
        web.send(&plain());
        web.send(&plain().our_max_unavailable());
        web.enter("old-first");
        web.without_rollout(|web| web.label("team=support"));
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
        web.send_and_keep(&plain().our_max_unavailable().image("v2"));
    });
}

/// Injected where no probe could be.
#[test]
fn min_ready_seconds_stay() {
    in_each(&ALL, |web| {
        let probeless = plain().with(PORTS, json!([{"containerPort": 8080}, {"containerPort": 8081}]));
        web.send(&probeless);
        assert_eq!(web.at(MIN_READY_SECONDS), 10);
        web.is_ours("minReadySeconds");
        let own = probeless.with(MIN_READY_SECONDS, json!(10));
        web.without_rollout(|web| web.send_and_keep(&own));
        // A reason to withdraw ours: now there is a probe.
        web.send_and_keep(&own.our_probe());
        web.is_the_users("minReadySeconds");
    });
}

#[test]
fn api_defaults_in_the_manifest_stay() {
    in_each(&PROVING, |web| {
        let explicit = plain()
            .with("/spec/replicas", json!(4))
            .with(MAX_UNAVAILABLE, json!("25%"))
            .with("/spec/strategy/rollingUpdate/maxSurge", json!("25%"))
            .grace_period(30);
        web.send_and_keep(&explicit);
        web.label("team=support");
        web.set_image("v2");
        web.keeps(&explicit.image("v2"));
    });
}

/// Without a proof they count as nobody's, and a switch turns that off.
#[test]
fn api_defaults_that_nobody_proves_are_replaced_only_if_the_profile_says_so() {
    in_each(&[Way::Replace], |web| {
        web.send(&plain().with(MAX_UNAVAILABLE, json!("25%")));
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
    });
    in_each_of("keeps-defaults", &[Way::Replace], |web| {
        web.send(&plain().with(MAX_UNAVAILABLE, json!("25%")));
        assert_eq!(web.at(MAX_UNAVAILABLE), "25%");
        web.label("team=support");
        assert_eq!(web.at(MAX_UNAVAILABLE), "25%");
    });
}

/// Where they are ours, they come back: the API server fills its own in, or nothing.
#[test]
fn amounts_that_are_taken_away_are_filled_again() {
    in_each(&PROVING, |web| {
        web.send(&plain().with(PORTS, json!([{"containerPort": 8080}, {"containerPort": 8081}])));
        for patch in [
            json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": null}}}}),
            json!({"spec": {"strategy": null}}),
            json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}}),
            json!({"spec": {"minReadySeconds": null}}),
            json!({"spec": {"minReadySeconds": 0}}),
        ] {
            web.patch("merge", &patch);
            assert_eq!(
                (web.at(MAX_UNAVAILABLE), web.at(MIN_READY_SECONDS)),
                (json!(0), json!(10)),
                "{patch}"
            );
            web.is_ours("maxUnavailable");
            web.is_ours("minReadySeconds");
        }
    });
}

/// What the user leaves out stays gapless', and is moved with the release.
#[test]
fn what_the_manifest_does_not_say_follows_the_release() {
    in_each(&ALL, |web| {
        web.send(&plain());
        let moved = plain().port(9090).image("v2");
        web.send(&moved);
        assert_eq!(web.probe(), json!({"tcpSocket": {"port": 9090}, "periodSeconds": 5}));
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v2");
        web.settles(&moved);
        for field in
            ["readinessProbe", "preStop", "terminationGracePeriodSeconds", "template.metadata.labels"]
        {
            web.is_ours(field);
        }
    });
}

/// gapless neither denies nor warns about what gapless wrote: with one replica nothing
/// is injected that makes each rollout an outage.
#[test]
fn no_outage_is_injected() {
    in_each_of("old-first", &ALL, |web| {
        let one = plain().with("/spec/replicas", json!(1));
        let output = web.send_and_keep(&one);
        assert!(!output.stderr.contains("(rollout-"), "{output}");
        web.label("team=support");
        web.kubectl(&["rollout", "pause", "deploy/web"]).ok();
        assert_ne!(web.at(MAX_UNAVAILABLE), 1);
    });
}

/// A scale is a scale, whatever is filled in with it.
#[test]
fn a_scale_by_edit_passes_whatever_is_filled_in_with_it() {
    in_each_of("off", &ALL, |web| {
        web.send(&plain());
        web.enter("no-single-replica");
        web.without_rollout(|web| web.edit("s/^  replicas: 2/  replicas: 1/"));
        assert_eq!((web.at("/spec/replicas"), web.at(MAX_UNAVAILABLE)), (json!(1), json!(0)));
    });
}

/// An own value that the manifest no longer says is nobody's.
#[test]
fn what_the_user_takes_back_is_injected_again() {
    in_each(&PROVING, |web| {
        web.send(&plain().with("/spec/template/metadata/labels/version", json!("v1")));
        web.is_ours("spec.template.metadata.labels[app.kubernetes.io/version]");
        assert_eq!(web.recorded("spec.template.metadata.labels[version]"), [""; 0]);
        web.without_rollout(|web| web.send(&plain()));
        web.is_ours("spec.template.metadata.labels[version]");
        let next = plain().image("v2");
        web.send(&next);
        let labels = web.at(TEMPLATE_LABELS);
        assert_eq!((&labels["version"], &labels["app.kubernetes.io/version"]), (&json!("v2"), &json!("v2")));
        web.settles(&next);
    });
}
