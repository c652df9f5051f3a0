//! The chart's value `backstop.enabled`: Helm puts the same policies together that
//! `gapless export` writes.

use std::fs;

use serde_json::{Value, json};

use super::with_chart;
use crate::support;
use crate::support::fixtures::configuration;
use crate::support::ran::{self, Ran};

const NAMESPACE: &str = "platform";

/// Bodies of a GaplessConfiguration, which are values of `config` too, each with the
/// profiles that have a policy.
const CONFIGURATIONS: [(&str, &[&str]); 12] = [
    ("defaultProfile: production", &["production"]),
    ("defaultProfile: advisory", &["production"]),
    ("defaultProfile: off", &["production"]),
    ("defaultProfile: payments\nprofiles: {payments: {extends: production}}", &["payments", "production"]),
    ("workloads: [Deployment, StatefulSet, DaemonSet, Rollout]\nprofiles: {production: {mode: Warn}}", &[]),
    ("workloads: [Rollout]", &[]),
    (
        "workloads: [DaemonSet]
profiles:
  a: {extends: b, rules: {zero-grace-period: Deny, mutable-image-tag: Off}}
  b: {extends: c, waivers: Forbidden, rules: {recreate-strategy: Warn}, settings: {mutable-tags: []}}
  c: {extends: production, settings: {mutable-tags: [stable], operational-port-names: [admin, 'ops']}}",
        &["a", "b", "c", "production"],
    ),
    (
        "profiles:
  production: {rules: {no-rollback-history: off, rollout-outage: 'Off', single-replica: Deny}}
  advisory: {mode: Enforce}
  development: {mode: Enforce, rules: {zero-grace-period: Deny}}
  tested: {extends: development}
  told: {extends: advisory, mode: off}
  untold: {extends: told, mode: Enforce, settings: {operational-port-names: []}}",
        &["advisory", "development", "production", "tested", "untold"],
    ),
    (
        "profiles:
  longer: {extends: production, defaults: {pre-stop-sleep: {seconds: 45}}}
  shorter: {extends: longer, defaults: {pre-stop-sleep: {seconds: 3}}}
  never: {extends: longer, defaults: {pre-stop-sleep: {enabled: false}}}
  again: {extends: never, defaults: {pre-stop-sleep: {enabled: true}}}
  budget: {extends: longer, defaults: {pre-stop-sleep: {raiseGracePeriod: false}, rolling-update: {maxUnavailable: 1}}}",
        &["again", "budget", "longer", "never", "production", "shorter"],
    ),
    (
        "exemptions:
  usernames: ['system:serviceaccount:flux-system:kustomize-controller', 'Ann \"<x>\" & \\Bob', Änne]
  groups: [operators, 'system:masters', operators]
  namespaces: [legacy, attic]",
        &["production"],
    ),
    ("profiles: {production: {rules: , defaults: , settings: }, quiet: {extends: production, mode: Audit}}", &["production"]),
    ("profiles: {production: {rules: {missing-readiness-probe: Deny}}}\nexemptions: {groups: }", &["production"]),
];

fn export(configuration: &str) -> Ran {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), configuration).unwrap();
    let path = file.path().display().to_string();
    ran::gapless("export", &["--config", &path]).output().unwrap().into()
}

/// Policies and bindings of these documents, but for what only the chart knows: the name of
/// the release, its labels, and its own namespace.
fn policies(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let is_policy =
        |it: &Value| it["kind"].as_str().is_some_and(|kind| kind.starts_with("ValidatingAdmission"));
    let mut policies: Vec<Value> = all.into_iter().filter(is_policy).collect();
    for policy in &mut policies {
        policy["metadata"].as_object_mut().unwrap().remove("labels");
        for pointer in ["/metadata/name", "/spec/policyName"] {
            if let Some(name) = policy.pointer_mut(pointer) {
                let profile = name.as_str().unwrap().split('.').next().unwrap().to_owned();
                *name = json!(profile);
            }
        }
        let names = "/spec/matchConstraints/namespaceSelector/matchExpressions/1/values";
        if let Some(Value::Array(names)) = policy.pointer_mut(names) {
            names.retain(|name| name != NAMESPACE);
        }
    }
    // Helm writes them in the order in which it installs kinds.
    policies.sort_by_key(|it| format!("{} {}", it["kind"], it["metadata"]["name"]));
    policies
}

#[test]
fn helm_makes_the_policies_that_gapless_exports() {
    let Some(cluster) = support::cluster() else { return };
    for (config, profiles) in CONFIGURATIONS {
        let values = format!("backstop: {{enabled: true}}\nconfig:\n  {}\n", config.replace('\n', "\n  "));
        let rendered =
            with_chart(cluster.helm(["template", "gapless", "--namespace", NAMESPACE]), &values).ok();
        let exported = export(&configuration(config));
        assert_eq!(exported.code, 0, "{config}: {exported:?}");
        let (by_helm, by_gapless) = (policies(&rendered.stdout), policies(&exported.stdout));
        let names: Vec<&str> = by_gapless.iter().filter_map(|it| it["spec"]["policyName"].as_str()).collect();
        assert_eq!(names, profiles, "{config}");
        assert_eq!(by_helm, by_gapless, "{config}");
    }
}

#[test]
fn without_the_value_there_is_none() {
    let Some(cluster) = support::cluster() else { return };
    let rendered = with_chart(cluster.helm(["template", "gapless"]), "").ok();
    assert_eq!(policies(&rendered.stdout), Vec::<Value>::new());
}
