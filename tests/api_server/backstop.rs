//! The policies that `gapless export` writes, in a real API server that asks no webhook.
//!
//! What they deny is held against the engine, which is asked as the webhooks are where
//! nothing is known of other objects.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use gapless::admission::Outcome;
use gapless::config;
use serde_json::{Value, json};

use crate::support::client::{Invocation, Output};
use crate::support::deployment::{deployment, deployment_with};
use crate::support::fixtures::configuration;
use crate::support::namespace::Namespace;
use crate::support::ran::{self, Ran};
use crate::support::simulated::{Answer, ApiServer};
use crate::support::{self, Cluster, eventually};
use cases::{Case, Cases};

/// `lenient` counts other ports and tags, `strict` lets nobody waive, `quiet` denies nothing.
const CONFIGURATION: &str = "
workloads: [Deployment, StatefulSet, DaemonSet, Rollout]
profiles:
  lenient:
    extends: production
    rules: {mutable-image-tag: Off, no-rollback-history: Warn}
    settings: {operational-port-names: [web], mutable-tags: [stable]}
  strict: {extends: production, waivers: Forbidden}
  quiet: {extends: production, mode: Warn}
exemptions:
  usernames: [migrator]
  groups: [operators]
  namespaces: [left-alone]
";

/// An API server of its own, with the policies and without webhooks: those that other
/// tests install would answer first.
fn backstop() -> Option<&'static Cluster> {
    static BACKSTOP: LazyLock<Option<Cluster>> = LazyLock::new(|| {
        let cluster = support::own_cluster(&[])?;
        let exported = export(CONFIGURATION);
        cluster
            .kubectl(["apply", "--server-side", "--validate=strict", "-f", "-"])
            .stdin(exported.stdout)
            .ok();
        for profile in ["production", "lenient", "strict"] {
            let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
            let zero = deployment_with("probe", &json!({"template": zero_grace()}));
            eventually("the policies", || {
                let output = dry_run(&namespace, "create", &zero).run();
                if denied(&output).is_empty() { Err(output.to_string()) } else { Ok(()) }
            });
        }
        Some(cluster)
    });
    BACKSTOP.as_ref()
}

/// `gapless export` with this configuration.
fn export(body: &str) -> Ran {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), configuration(body)).unwrap();
    let path = file.path().display().to_string();
    ran::gapless("export", &["--config", &path]).output().unwrap().into()
}

/// A pod template that every profile here denies.
fn zero_grace() -> Value {
    let mut template = deployment("probe")["spec"]["template"].clone();
    template["spec"]["terminationGracePeriodSeconds"] = json!(0);
    template
}

/// The engine, as a webhook with this profile asks it.
fn engine(profile: &'static str) -> ApiServer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, configuration(CONFIGURATION)).unwrap();
    ApiServer { policy: config::load(Some(&path)).unwrap(), profile, ..ApiServer::new(profile) }
}

/// The rules that deny.
fn denying(answer: &Answer) -> BTreeSet<String> {
    let denying = answer.findings.iter().filter(|(_, outcome)| *outcome == Outcome::Deny);
    denying.map(|(rule, _)| (*rule).to_owned()).collect()
}

fn list<'o>(objects: impl IntoIterator<Item = &'o Value>) -> String {
    let items: Vec<&Value> = objects.into_iter().collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn dry_run<'n>(namespace: &Namespace<'n>, verb: &str, object: &Value) -> Invocation<'n> {
    namespace.kubectl([verb, "--dry-run=server", "-f", "-"]).stdin(object.to_string())
}

/// The objects that a policy denied, each with the rules that it names. Whatever else went
/// wrong is a mistake of the test.
#[track_caller]
fn denied(output: &Output) -> BTreeMap<String, BTreeSet<String>> {
    let lines = output.stderr.lines().filter(|line| !line.starts_with("Warning: "));
    let denied = lines.map(|line| {
        let is_denial = line.contains("ValidatingAdmissionPolicy") && line.contains("denied request: ");
        assert!(is_denial, "{line}");
        let name = line.split(".apps \"").nth(1).and_then(|rest| rest.split('"').next()).expect(line);
        let message = line.split("denied request: ").nth(1).unwrap();
        let rules = message.split("), fix: ").filter_map(|before| Some(before.rsplit_once('(')?.1));
        // The last part is behind the last fix.
        let count = message.matches("), fix: ").count();
        (name.to_owned(), rules.take(count).map(str::to_owned).collect())
    });
    denied.collect()
}

/// The names of those that are denied otherwise than the engine denies them, and how.
fn differences(
    cases: &Cases,
    by_policy: &BTreeMap<String, BTreeSet<String>>,
    by_engine: impl Fn(&Case) -> BTreeSet<String>,
) -> Vec<String> {
    let none = BTreeSet::new();
    let differences = cases.iter().filter_map(|(name, case)| {
        let expected = by_engine(case);
        let milder: BTreeSet<String> = case.milder.iter().map(|rule| (*rule).to_owned()).collect();
        assert!(milder.is_subset(&expected), "the engine is mild about {name} too");
        let expected: BTreeSet<String> = expected.difference(&milder).cloned().collect();
        let found = by_policy.get(name).unwrap_or(&none);
        (*found != expected).then(|| format!("{name}: policy {found:?}, engine {expected:?}"))
    });
    differences.collect()
}

/// The object with what `kubectl apply` leaves in it.
fn applied(object: &Value) -> Value {
    let mut applied = object.clone();
    let manifest = object.to_string();
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    match &mut applied["metadata"]["annotations"] {
        Value::Object(annotations) => drop(annotations.insert(key.to_owned(), json!(manifest))),
        annotations => *annotations = json!({ key: manifest }),
    }
    applied
}

#[test]
fn new_objects_are_denied_as_the_webhook_denies_them() {
    let Some(cluster) = backstop() else { return };
    let cases = cases::all();
    for profile in ["production", "lenient"] {
        let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
        let engine = engine(profile);
        let objects = || list(cases.values().map(|case| &case.object));
        let create = namespace.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(objects()).run();
        let mut differ = differences(&cases, &denied(&create), |case| denying(&engine.create(&case.object)));
        // Who applies proves that he wrote the replicas.
        for arguments in [&["apply", "--dry-run=server"][..], &["apply", "--dry-run=server", "--server-side"]]
        {
            let apply = namespace.kubectl(arguments).args(["-f", "-"]).stdin(objects()).run();
            let by_engine = |case: &Case| denying(&engine.create(&applied(&case.object)));
            differ.extend(differences(&cases, &denied(&apply), by_engine));
        }
        assert!(differ.is_empty(), "{profile}:\n{}", differ.join("\n"));
        assert!(denied(&create).len() > 40, "{create}");
    }
}
