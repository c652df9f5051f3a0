//! From one tool to another: nothing restarts, and nothing is lost.

use serde_json::json;

use super::manifest::{GRACE_PERIOD, MAX_UNAVAILABLE, Manifest, PRE_STOP, TEMPLATE, TEMPLATE_LABELS, plain};
use super::web::{ALL, PROVING, Way, Web, for_each, for_each_variant, in_each};
use crate::support::client::Output;

fn apply(web: &Web, manifest: &Manifest) {
    send(web, &["apply"], manifest);
}

fn apply_server_side(web: &Web, manifest: &Manifest) {
    send(web, &["apply", "--server-side", "--force-conflicts"], manifest);
}

/// As Flux or Argo CD take a Deployment over: under a name of their own.
fn reconcile(web: &Web, manifest: &Manifest) {
    send(web, &["apply", "--server-side", "--force-conflicts", "--field-manager=flux"], manifest);
}

fn replace(web: &Web, manifest: &Manifest) {
    send(web, &["replace"], manifest);
}

fn send(web: &Web, verb: &[&str], manifest: &Manifest) {
    web.kubectl(&[verb, &["-f", "-"]].concat()).stdin(manifest.0.to_string()).ok();
}

type Send = fn(&Web, &Manifest);

const TOOLS: [(&str, Send); 4] =
    [("apply", apply), ("apply --server-side", apply_server_side), ("Flux", reconcile), ("replace", replace)];

/// The changes from one tool to another one.
fn for_each_change(sequence: impl Fn(&Web, Send)) {
    let changes = ALL.into_iter().flat_map(|way| {
        let others = TOOLS.into_iter().filter(move |(tool, _)| *tool != way.name());
        others.map(move |(tool, send)| (way, tool, send))
    });
    for_each_variant("production", changes, sequence);
}

#[test]
fn a_change_of_tools_restarts_nothing_and_takes_nothing_over() {
    for_each_change(|web, tool| {
        web.send(&plain());
        let (spec, record) = (web.at("/spec"), web.record());
        for _ in 0..2 {
            tool(web, &plain());
            assert_eq!((web.at("/spec"), web.record()), (spec.clone(), record.clone()));
        }
        // And back.
        web.send(&plain());
        web.settles(&plain());
        assert_eq!((web.at("/spec"), web.record()), (spec, record), "and back");
        tool(web, &plain().image("v2"));
        assert_eq!(web.probe(), json!({"tcpSocket": {"port": 8080}, "periodSeconds": 5}));
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v2");
        assert_eq!((web.at(GRACE_PERIOD), web.at(MAX_UNAVAILABLE)), (json!(40), json!(0)));
        for field in ["readinessProbe", "preStop", "terminationGracePeriodSeconds", "maxUnavailable"] {
            web.is_ours(field);
        }
    });
}

/// Meanwhile the profile sleeps longer: neither does that restart anything.
#[test]
fn a_change_of_tools_restarts_nothing_whatever_the_defaults_say_today() {
    for_each_change(|web, tool| {
        web.send(&plain());
        let template = web.at(TEMPLATE);
        web.enter("longer-sleep");
        for _ in 0..2 {
            tool(web, &plain());
            assert_eq!(web.at(TEMPLATE), template);
        }
        tool(web, &plain().image("v2"));
        assert_eq!((web.at(PRE_STOP), web.at(GRACE_PERIOD)), (json!({"sleep": {"seconds": 20}}), json!(50)));
    });
}

#[test]
fn a_change_of_tools_loses_nothing_of_the_users_own() {
    for_each_change(|web, tool| {
        let own = plain().fixed().waiving(&["readiness-probe", "pre-stop-sleep"]);
        web.send(&plain());
        web.send(&own);
        web.without_rollout(|web| {
            tool(web, &own);
            tool(web, &own);
        });
        web.keeps(&own);
        let next = own.image("v2");
        tool(web, &next);
        web.keeps(&next);
        web.without_rollout(|web| tool(web, &next));
    });
}

/// The manifest is adopted in the same step in which the tool changes.
#[test]
fn a_new_tool_may_bring_the_proof() {
    for_each_change(|web, tool| {
        web.send(&plain());
        let own = plain().fixed().waiving(&["readiness-probe", "pre-stop-sleep"]);
        web.without_rollout(|web| tool(web, &own));
        let next = own.image("v2");
        tool(web, &next);
        web.keeps(&next);
        for field in ["readinessProbe", "preStop", "terminationGracePeriodSeconds", "maxUnavailable"] {
            web.is_the_users(field);
        }
    });
}

/// A grace period of 30 s in the manifest, over the injected 40: `kubectl create` did
/// not prove it.
fn thirty() -> Manifest {
    plain().grace_period(30)
}

/// The tools that prove the API server's default afterwards.
const PROOFS: [(&str, Send); 3] =
    [("apply", apply), ("apply --server-side", apply_server_side), ("Flux", reconcile)];

/// A rollout that somebody else starts, or the tool itself.
type Roll = fn(&Web, Send, &Manifest);

const ROLLOUTS: [(&str, Roll); 3] = [
    ("set image", |web, _, _| drop(web.set_image("v2"))),
    ("the manifest", |web, tool, next| tool(web, next)),
    ("restart", |web, _, _| drop(web.kubectl(&["rollout", "restart", "deploy/web"]).ok())),
];

#[test]
fn a_proof_of_the_default_grace_period_waits_for_the_next_rollout() {
    for_each(&[Way::Replace], &PROOFS, |web, tool| {
        web.send(&thirty());
        assert_eq!(web.at(GRACE_PERIOD), 40);
        web.without_rollout(|web| tool(web, &thirty()));
        waits(web);
        web.without_rollout(|web| {
            // Neither the same once more nor anything else releases it.
            tool(web, &thirty());
            web.label("team=support");
            web.scale(3);
            tool(web, &thirty());
        });
        waits(web);
    });
    let both = PROOFS.into_iter().flat_map(|(proof, tool)| {
        ROLLOUTS
            .into_iter()
            .map(move |(rollout, roll)| (Way::Replace, format!("{proof}, then {rollout}"), (tool, roll)))
    });
    for_each_variant("production", both, |web, (tool, roll)| {
        web.send(&thirty());
        web.without_rollout(|web| tool(web, &thirty()));
        roll(web, tool, &thirty().image("v2"));
        assert_eq!(web.at(GRACE_PERIOD), 30);
        web.is_the_users("terminationGracePeriodSeconds");
    });
}

#[track_caller]
fn waits(web: &Web) {
    let entry = web.record()["spec.template.spec.terminationGracePeriodSeconds"].clone();
    assert_eq!((web.at(GRACE_PERIOD), entry), (json!(40), json!([40, 30])), "ours, theirs");
}

/// The other tool has proved something, this one has not.
#[test]
fn a_proof_by_another_tool_waits_too() {
    let changes = [
        (Way::Apply, "Flux", reconcile as Send),
        (Way::ServerSide, "Flux", reconcile),
        (Way::ServerSide, "apply", apply),
    ];
    for_each_variant("production", changes.into_iter(), |web, tool| {
        web.send(&plain());
        web.without_rollout(|web| tool(web, &thirty()));
        waits(web);
        tool(web, &thirty().image("v2"));
        assert_eq!(web.at(GRACE_PERIOD), 30);
    });
}

/// Whatever proves it next.
#[test]
fn a_proof_that_waits_goes_on_waiting_after_the_next_change_of_tools() {
    let both = PROOFS.into_iter().flat_map(|(first, tool)| {
        let others = PROOFS.into_iter().filter(move |(second, _)| *second != first);
        others.map(move |(second, next)| (Way::Replace, format!("{first}, then {second}"), (tool, next)))
    });
    for_each_variant("production", both, |web, (first, second)| {
        web.send(&thirty());
        web.without_rollout(|web| {
            first(web, &thirty());
            second(web, &thirty());
            waits(web);
            second(web, &thirty());
        });
        waits(web);
        web.set_image("v2");
        assert_eq!(web.at(GRACE_PERIOD), 30);
        web.is_the_users("terminationGracePeriodSeconds");
    });
}

/// Where the tool has proved something before, its proof counts at once.
#[test]
fn a_default_grace_period_that_comes_into_the_manifest_counts_at_once() {
    in_each(&PROVING, |web| {
        web.send(&plain());
        assert_eq!(web.at(GRACE_PERIOD), 40);
        web.send_and_keep(&thirty());
        web.is_the_users("terminationGracePeriodSeconds");
    });
}

#[test]
fn a_proof_of_default_amounts_counts_at_once() {
    for_each(&[Way::Replace], &PROOFS, |web, tool| {
        let quarter = plain().with(MAX_UNAVAILABLE, json!("25%"));
        web.send(&quarter);
        assert_eq!(web.at(MAX_UNAVAILABLE), 0);
        web.without_rollout(|web| tool(web, &quarter));
        web.keeps(&quarter);
        web.is_the_users("maxUnavailable");
        web.label("team=support");
        web.keeps(&quarter);
    });
}

/// The README says so, and what to do.
#[test]
fn server_side_apply_over_create_conflicts_where_gapless_changed_a_value() {
    in_each(&[Way::Replace], |web| {
        let explicit = thirty().with(MAX_UNAVAILABLE, json!("25%"));
        web.send(&explicit);
        let apply = |arguments: &[&str]| -> Output {
            let command = [&["apply", "--server-side", "-f", "-"], arguments].concat();
            web.kubectl(&command).stdin(explicit.0.to_string()).run()
        };
        let refused = apply(&[]);
        let conflicts = "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using apps/v1:\n\
            - .spec.strategy.rollingUpdate.maxUnavailable\n\
            - .spec.template.spec.terminationGracePeriodSeconds\n";
        assert!(refused.stderr.contains(conflicts), "{refused}");
        let forced = apply(&["--force-conflicts"]);
        assert!(forced.status.success(), "{forced}");
        assert_eq!(web.at(MAX_UNAVAILABLE), "25%");
        let again = apply(&[]);
        assert!(again.status.success(), "once is enough: {again}");
    });
}
