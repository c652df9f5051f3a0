//! The chart's `backstop.enabled`, with gapless running, and without it.

use std::collections::BTreeSet;

use serde_json::json;

use super::{bad, cases, denying, dry_run, list};
use crate::support::client::Output;
use crate::support::deployment::deployment;
use crate::support::gapless::{install, uninstall, upgrade};
use crate::support::simulated::ApiServer;
use crate::support::{self, Gapless, eventually};

/// An installation of its own, which ends.
#[test]
fn policies_stand_beside_the_webhooks_and_stay_when_gapless_is_away() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let gapless = Gapless::start(&cluster, &[] as &[&str]);
    let values = |more: &str| format!("config: {{workloads: [Deployment, StatefulSet, DaemonSet]}}\n{more}");
    // Once the webhooks take effect, since the policies speak first.
    install(&cluster, &gapless, &values(""));
    upgrade(&cluster, &gapless, &values("backstop: {enabled: true}\n"));
    let namespace = cluster.namespace();
    let is_told_by_policy =
        |output: &Output| output.stderr.contains("ValidatingAdmissionPolicy 'production.gapless.");
    eventually("the policies", || {
        let output = dry_run(&namespace, "create", &bad("web")).run();
        if is_told_by_policy(&output) { Ok(()) } else { Err(output.to_string()) }
    });

    // Each finding is told once: what denies by the policy, what warns by the webhook.
    let mut single = bad("web");
    single["spec"]["replicas"] = json!(1);
    let output = dry_run(&namespace, "create", &single).fails();
    assert_eq!(output.stderr.matches("(no-rollback-history)").count(), 1, "{output}");
    assert_eq!(output.stderr.matches("(mutable-image-tag)").count(), 1, "{output}");
    assert!(!output.is_denied_by("production"), "{output}");
    let mut one = deployment("web");
    one["spec"]["replicas"] = json!(1);
    let output = dry_run(&namespace, "create", &one).ok();
    assert_eq!(output.stderr.matches("(single-replica)").count(), 1, "{output}");

    // What gapless completes first is denied no more than without the policies, and what CEL
    // cannot tell, gapless does.
    let cases = cases::all();
    let objects = list(cases.values().map(|case| &case.object));
    let created = namespace.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(objects).run();
    let mut by_both = BTreeSet::new();
    for line in created.stderr.lines().filter(|line| line.starts_with("Error from server (Forbidden)")) {
        let name = line.split(".apps \"").nth(1).and_then(|rest| rest.split('"').next());
        // A webhook names the object in the message.
        let named = line.split("Deployment \"").nth(1).or(line.split("Set \"").nth(1));
        by_both.extend(name.or(named.and_then(|rest| rest.split('"').next())).map(str::to_owned));
    }
    let engine = ApiServer::new("production");
    let is_denied = |case: &cases::Case| !denying(&engine.create(&case.object)).is_empty();
    let by_engine: BTreeSet<String> =
        cases.iter().filter(|(_, case)| is_denied(case)).map(|(name, _)| name.clone()).collect();
    assert_eq!(by_both, by_engine);

    // Gapless goes.
    drop(gapless);
    let output = dry_run(&namespace, "create", &bad("web")).fails();
    assert!(is_told_by_policy(&output), "{output}");
    let output = namespace.create(&deployment("web").to_string()).ok();
    assert_eq!(output.stderr, "", "nothing is injected, and nobody warns");
    namespace.kubectl(["scale", "deployment/web", "--replicas=1"]).ok();
    namespace.kubectl(["delete", "deployment/web"]).ok();

    uninstall(&cluster);
    for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
        assert_eq!(cluster.kubectl(["get", kind, "-o", "name"]).ok().stdout, "", "{kind}");
    }
}
