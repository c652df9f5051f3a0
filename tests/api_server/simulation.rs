//! Whether the simulated API server stores what a real one stores, without
//! gapless: the object and who owns what in it.

use std::collections::BTreeMap;

use gapless::kubernetes::kind::Kind;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support;
use crate::support::bench::kubernetes_minor;
use crate::support::namespace::Namespace;
use crate::support::simulated::cluster::{Cluster, Exchange, REVISION};
use crate::support::simulated::manifests::Manifest;
use crate::support::simulated::step::{Step, Tool, merge_patch_of, walk};
use crate::support::simulated::{kubectl, managed_fields, merge};

/// Each takes a few calls of kubectl.
const WALKS: usize = 12;
const STEPS: usize = 16;

#[test]
fn the_simulated_api_server_stores_what_a_real_one_stores() {
    let Some(cluster) = support::cluster() else { return };
    let mut runner = TestRunner::deterministic();
    for _ in 0..WALKS {
        let walk = walk(&[Kind::Deployment]).new_tree(&mut runner).unwrap().current();
        // The gapless of other tests does not look at it.
        let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "off")]);
        let (mut simulated, mut manifest) = (Cluster::default(), Manifest::default());
        let mut taken = Vec::new();
        for step in walk.steps.iter().take(STEPS) {
            taken.push(format!("{step:?}"));
            if !take(step, &namespace, &mut simulated, &mut manifest) {
                continue;
            }
            let Some(stored) = &simulated.stored else { continue };
            let expected = comparable(&stored.object, &managed_fields::to_json(&stored.managers));
            let real = namespace.get_json("deployment", "web").to_string();
            let mut real: Value = serde_json::from_str(&real.replace(&namespace.name, "shop")).unwrap();
            // Before 1.34 an API server says of a template that it was never created.
            if kubernetes_minor() < 34 {
                let metadata = real["spec"]["template"]["metadata"].as_object_mut().unwrap();
                assert_eq!(metadata.remove("creationTimestamp"), Some(Value::Null));
            }
            let real = comparable(&real, &real["metadata"]["managedFields"]);
            assert_eq!(expected, real, "simulated, real; after\n{}", taken.join("\n"));
        }
    }
}

/// Takes a step in both, if both know it.
fn take(step: &Step, namespace: &Namespace, simulated: &mut Cluster, manifest: &mut Manifest) -> bool {
    let (exchanges, real) = match step {
        Step::Send(tool, changes) if *tool != Tool::Flux => {
            let previous = manifest.clone();
            changes.iter().for_each(|change| manifest.change(change));
            let object = manifest.to_json();
            let text = object.to_string().replace("\"shop\"", &format!("{:?}", namespace.name));
            let exists = simulated.stored.is_some();
            let (exchanges, verb) = match tool {
                Tool::Apply => (Vec::from_iter(kubectl::apply(simulated, &object)), vec!["apply"]),
                Tool::Replace if exists => (vec![kubectl::replace(simulated, &object)], vec!["replace"]),
                Tool::Replace => (vec![kubectl::create(simulated, &object)], vec!["create"]),
                _ => {
                    let exchanges = kubectl::apply_server_side(simulated, &object);
                    (exchanges, vec!["apply", "--server-side", "--force-conflicts"])
                }
            };
            if !exchanges.iter().all(Exchange::is_stored) {
                *manifest = previous;
            }
            (exchanges, namespace.kubectl(verb).args(["-f", "-"]).stdin(text).run())
        }
        Step::Label(team) if simulated.stored.is_some() => {
            let label = format!("team-{team}");
            let change = |object: &mut Value| object["metadata"]["labels"]["team"] = json!(label);
            let exchanges = Vec::from_iter(kubectl::change(simulated, "kubectl-label", change));
            let argument = format!("team={label}");
            (exchanges, namespace.kubectl(["label", "--overwrite", "deployment/web", &argument]).run())
        }
        Step::Patch(change) if simulated.stored.is_some() => {
            let Some(patch) = merge_patch_of(change) else { return false };
            let merge = |object: &mut Value| *object = merge::patch(object, &patch);
            let exchanges = Vec::from_iter(kubectl::change(simulated, "kubectl-patch", merge));
            (exchanges, namespace.kubectl(["patch", "deployment/web", "-p", &patch.to_string()]).run())
        }
        Step::Scale(replicas) if simulated.stored.is_some() => {
            if simulated.object().is_some_and(|object| object["spec"]["replicas"] == *replicas) {
                return false;
            }
            simulated.scale(*replicas);
            let argument = format!("--replicas={replicas}");
            (Vec::new(), namespace.kubectl(["scale", "deployment/web", &argument]).run())
        }
        Step::Pause(pause) if simulated.stored.is_some() => {
            let is_paused = simulated.object().is_some_and(|object| object["spec"]["paused"] == true);
            if is_paused == *pause {
                return false;
            }
            let change = |object: &mut Value| object["spec"]["paused"] = json!(pause);
            let exchanges = Vec::from_iter(kubectl::change(simulated, "kubectl-rollout", change));
            let verb = if *pause { "pause" } else { "resume" };
            (exchanges, namespace.kubectl(["rollout", verb, "deployment/web"]).run())
        }
        Step::Undo(_) if simulated.stored.is_some() => {
            let is_paused = simulated.object().is_some_and(|object| object["spec"]["paused"] == true);
            let Some(index) = simulated.older_revisions().pop().filter(|_| !is_paused) else { return false };
            assert_eq!(namespace.replica_sets("web").len(), simulated.revisions.len());
            let revision = simulated.revisions[index].clone();
            let undo = kubectl::undo(simulated, &revision.template, &revision.annotations);
            (Vec::from_iter(undo), namespace.kubectl(["rollout", "undo", "deployment/web"]).run())
        }
        _ => return false,
    };
    let is_stored = exchanges.iter().all(Exchange::is_stored);
    assert_eq!(
        is_stored,
        real.status.success(),
        "{step:?}: {:?}\n{real}",
        exchanges.last().map(|it| &it.outcome)
    );
    true
}

/// The parts that have owners, and the owners.
fn comparable(object: &Value, managers: &Value) -> Value {
    let mut annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.remove(REVISION);
    let owners: BTreeMap<String, &Value> = managers
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] != "kube-controller-manager")
        .map(|entry| {
            (
                format!("{} {} {}", entry["manager"], entry["operation"], entry["subresource"]),
                &entry["fieldsV1"],
            )
        })
        .collect();
    json!({"labels": object["metadata"]["labels"], "annotations": annotations, "spec": object["spec"], "owners": owners})
}
