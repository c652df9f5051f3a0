//! From one tool to another: nothing restarts, and nothing is lost.

use serde_json::json;

use crate::manifest::{GRACE_PERIOD, MAX_UNAVAILABLE, Manifest, TEMPLATE_LABELS, plain};
use crate::support::client::Output;
use crate::web::{ALL, Way, Web, for_each, in_each};

fn apply(web: &Web, manifest: &Manifest) {
    web.kubectl(&["apply", "-f", "-"]).stdin(manifest.0.to_string()).ok();
}

fn apply_server_side(web: &Web, manifest: &Manifest) {
    web.kubectl(&["apply", "--server-side", "-f", "-"]).stdin(manifest.0.to_string()).ok();
}

fn force(web: &Web, manifest: &Manifest) {
    web.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"])
        .stdin(manifest.0.to_string())
        .ok();
}

/// As Flux or Argo CD take a Deployment over.
fn force_as_flux(web: &Web, manifest: &Manifest) {
    let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f", "-"];
    web.kubectl(&arguments).stdin(manifest.0.to_string()).ok();
}

fn replace(web: &Web, manifest: &Manifest) {
    web.kubectl(&["replace", "-f", "-"]).stdin(manifest.0.to_string()).ok();
}

type Send = fn(&Web, &Manifest);

const TOOLS: [(&str, Send); 5] = [
    ("apply", apply),
    ("apply --server-side", apply_server_side),
    ("apply --server-side --force-conflicts", force),
    ("apply --server-side --force-conflicts --field-manager=flux", force_as_flux),
    ("replace", replace),
];

#[test]
fn a_change_of_tools_restarts_nothing_and_takes_nothing_over() {
    for_each(&ALL, &TOOLS, |web, tool| {
        web.send(&plain());
        let (spec, record) = (web.at("/spec"), web.record());
        for _ in 0..3 {
            tool(web, &plain());
            assert_eq!((web.at("/spec"), web.record()), (spec.clone(), record.clone()));
        }
        // And back.
        web.send(&plain());
        web.settles(&plain());
        assert_eq!((web.at("/spec"), web.record()), (spec, record), "and back");
        let next = plain().image("v2").port(9090);
        tool(web, &next);
        assert_eq!(web.probe(), json!({"tcpSocket": {"port": 9090}, "periodSeconds": 5}));
        assert_eq!(web.at(TEMPLATE_LABELS)["version"], "v2");
        assert_eq!((web.at(GRACE_PERIOD), web.at(MAX_UNAVAILABLE)), (json!(40), json!(0)));
    });
}

#[test]
fn a_change_of_tools_loses_nothing_of_the_users_own() {
    for_each(&ALL, &TOOLS, |web, tool| {
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
    for_each(&ALL, &TOOLS, |web, tool| {
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
    [("apply", apply), ("apply --server-side --force-conflicts", force), ("flux", force_as_flux)];

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
        let entry = web.record()["spec.template.spec.terminationGracePeriodSeconds"].clone();
        assert_eq!(entry, json!([40, 30]), "ours, theirs");
        web.without_rollout(|web| {
            // Neither the same once more nor anything else releases it.
            tool(web, &thirty());
            web.label("team=support");
            web.scale(3);
            tool(web, &thirty());
        });
        assert_eq!(web.record()["spec.template.spec.terminationGracePeriodSeconds"], entry);
    });
    for (_, roll) in ROLLOUTS {
        for_each(&[Way::Replace], &PROOFS, |web, &tool| {
            web.send(&thirty());
            web.without_rollout(|web| tool(web, &thirty()));
            roll(web, tool, &thirty().image("v2"));
            assert_eq!(web.at(GRACE_PERIOD), 30);
            web.is_the_users("terminationGracePeriodSeconds");
        });
    }
}

/// Where the tool has proved something before, its proof counts at once.
#[test]
fn a_default_grace_period_that_comes_into_the_manifest_counts_at_once() {
    in_each(&[Way::Apply, Way::ServerSide], |web| {
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
        let conflict = apply(&[]);
        assert!(!conflict.status.success(), "{conflict}");
        eprintln!("{conflict}");
        let forced = apply(&["--force-conflicts"]);
        assert!(forced.status.success(), "{forced}");
        assert_eq!(web.at(MAX_UNAVAILABLE), "25%");
        let again = apply(&[]);
        assert!(again.status.success(), "once is enough: {again}");
    });
}
