//! The pages of the ways to release on a real API server: their manifests are applied with
//! kubectl, and their queries asked of pods with the labels that came of it.

mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gapless::defaults::DEFAULTS;
use gapless::patterns::{PATTERNS, Pattern};
use gapless::rules::RULES;
use serde_json::{Value, json};

use super::switch::become_ready;
use crate::support::argo::RELEASES;
use crate::support::client::Output;
use crate::support::crds::{Module, named, serve};
use crate::support::fixtures::{configuration, text};
use crate::support::flagger::Flagger;
use crate::support::gapless::install;
use crate::support::namespace::Namespace;
use crate::support::page::Page;
use crate::support::pattern::{Said, is_workload, manifests, name, said};
use crate::support::{self, Cluster, Gapless, eventually};

const ISTIO: Module = Module {
    path: "istio.io/api",
    version: "v1.32.0",
    sum: "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM=",
};

const GATEWAY: Module = Module {
    path: "sigs.k8s.io/gateway-api",
    version: "v1.4.0",
    sum: "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
};

/// How a warning begins that tells of what is put back.
const KEPT: &str = "gapless: kept ";

/// Objects by the name that a page knows them by.
type Stored = BTreeMap<String, Value>;

/// The kinds of others that the pages use.
fn serve_all(cluster: &Cluster) {
    let [.., argo] = RELEASES;
    argo.serve(cluster);
    serve(cluster, &argo.crd("analysis-template"));
    serve(cluster, &text("crds/prometheus-operator.yaml"));
    Flagger::serve(cluster);
    let routes = ["destinationrules.networking.istio.io", "virtualservices.networking.istio.io"];
    serve(cluster, &named(&ISTIO.text("kubernetes/customresourcedefinitions.gen.yaml"), &routes));
    serve(cluster, &GATEWAY.text("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"));
}

/// A control plane of its own, as for all tests of the cluster's context.
#[test]
fn what_the_pages_show_is_what_happens() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    serve_all(&cluster);
    let workloads = "workloads: [Deployment, Rollout]";
    let file = cluster.file("config.yaml");
    fs::write(&file, configuration(workloads)).unwrap();
    let gapless = Gapless::start(&cluster, ["--cluster-context", "--config", &file.display().to_string()]);
    install(&cluster, &gapless, &format!("config: {{{workloads}}}"));
    eventually("all kinds", || {
        let metrics = gapless.ops_get("/metrics").1;
        let synced: Vec<&str> =
            metrics.lines().filter(|it| it.starts_with("gapless_context_synced{")).collect();
        let is_known = synced.iter().any(|it| it.contains("\"Rollout\""));
        if is_known && synced.iter().all(|it| it.ends_with(" 1")) { Ok(()) } else { Err(metrics) }
    });

    for pattern in PATTERNS {
        let page = Page::parse(pattern.id, pattern.page);
        let said = said(pattern, &page);
        let profiles: BTreeSet<&str> = said.iter().map(|it| it.profile.as_str()).collect();
        for profile in profiles {
            let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
            let said: Vec<&Said> = said.iter().filter(|it| it.profile == profile).collect();
            let (objects, changes) = in_two(manifests(&page));
            let mut stored = apply_all(&namespace, pattern, &objects, &said);
            if said.iter().any(|it| !it.denied.is_empty()) {
                continue;
            }
            says_the_same_again(&namespace, pattern, &objects, &said);
            match pattern.id {
                "argo-rollouts" => sent_whole(&namespace, &objects[0], &stored["Rollout chatbot"]),
                "blue-green" => switch(&namespace, &changes),
                "flagger" => flagger(&namespace, &mut stored),
                "shadow" => nobody_calls_the_shadow(&objects, &stored),
                _ => assert_eq!(changes, [] as [Value; 0], "{}", pattern.id),
            }
            let released = watched::release(&namespace, pattern, &objects);
            subsets_are_not_empty(&objects, &[&stored, &released]);
            monitors_find_their_port(&objects, &released);
            watched::answers(&namespace, pattern, &page, &stored, &released);
            if pattern.id == "feature-flags" {
                flags_come_back(&namespace, &stored["Deployment chatbot"]);
            }
        }
    }
}

/// The objects of a page as they are at first, and how they change later.
fn in_two(manifests: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let mut names = BTreeSet::new();
    manifests.into_iter().partition(|object| names.insert(name(object)))
}

/// Applies each object. What gapless injects and denies is what the page says.
fn apply_all(namespace: &Namespace, pattern: &Pattern, objects: &[Value], said: &[&Said]) -> Stored {
    let mut stored = Stored::new();
    for object in objects {
        let about = format!("{}: {}", pattern.id, name(object));
        let output = namespace.apply(&object.to_string()).run();
        let expected = said.iter().find(|it| it.object == name(object));
        assert_eq!(expected.is_some(), is_workload(object), "{about}");
        let Some(expected) = expected else {
            assert!(output.status.success(), "{about}: {output}");
            assert_eq!(output.stderr, "", "{about}");
            continue;
        };
        if expected.denied.is_empty() {
            assert!(output.status.success(), "{about}: {output}");
            assert_eq!(defaults(&output), expected.injected, "{about}");
            let kind = object["kind"].as_str().unwrap();
            let found = namespace.get_json(kind, object["metadata"]["name"].as_str().unwrap());
            stored.insert(name(object), found);
        } else {
            assert!(output.is_denied_by(&expected.profile), "{about}: {output}");
            let mut all = [&expected.denied[..], &expected.warned].concat();
            all.sort();
            assert_eq!(rules(&output), all, "{about}: {output}");
        }
    }
    stored
}

/// Once all of them are there, and known to be, a change without a release is warned of
/// as the page says. Some rules look at what else there is.
fn says_the_same_again(namespace: &Namespace, pattern: &Pattern, objects: &[Value], said: &[&Said]) {
    for expected in said {
        let mut object = objects.iter().find(|object| name(object) == expected.object).unwrap().clone();
        let mut number = 0;
        eventually(&format!("{}: {}", pattern.id, expected.object), || {
            number += 1;
            object["metadata"]["annotations"]["number"] = json!(number.to_string());
            let output = namespace.apply(&object.to_string()).args(["--dry-run=server"]).ok();
            let is_so = rules(&output) == expected.warned && defaults(&output).is_empty();
            if is_so { Ok(()) } else { Err(output.to_string()) }
        });
    }
}

/// The rules that kubectl has shown, sorted.
fn rules(output: &Output) -> Vec<String> {
    shown(output, |id| RULES.iter().any(|rule| rule.id == id))
}

/// The defaults that kubectl has shown to inject something, sorted.
fn defaults(output: &Output) -> Vec<String> {
    shown(output, |id| DEFAULTS.iter().any(|default| default.id == id))
}

/// What stands in brackets at the ends of lines, but of those that tell of what stays.
fn shown(output: &Output, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = output.stderr.lines().filter(|line| !line.contains(KEPT));
    let ends = lines.filter_map(|line| line.strip_suffix(')')?.rsplit_once('('));
    let mut ids: Vec<String> = ends.map(|(_, id)| id.to_owned()).filter(|id| is_wanted(id)).collect();
    ids.sort();
    ids
}

/// kubectl sends all containers of a Rollout with each apply. That is no release.
fn sent_whole(namespace: &Namespace, object: &Value, before: &Value) {
    let output = namespace.apply(&object.to_string()).ok();
    assert_eq!(output.stderr.matches(KEPT).count(), 2, "{output}");
    assert_eq!(namespace.get_json("rollout", "chatbot")["spec"], before["spec"]);
    let other = object.to_string().replace("\"chatbot\"", "\"other\"");
    namespace.apply_server_side(&other).ok();
    assert_eq!(namespace.apply_server_side(&other).ok().stderr, "");
}

/// The Service is switched: too early, and in time.
fn switch(namespace: &Namespace, changes: &[Value]) {
    let [switch] = changes else { panic!("{changes:?}") };
    let switch = switch.to_string();
    let comes_to = |expected: &[&str]| {
        eventually("the switch", || {
            let output = namespace.apply(&switch).args(["--dry-run=server"]).ok();
            if rules(&output) == expected { Ok(()) } else { Err(output.to_string()) }
        });
    };
    comes_to(&["switch-to-unready"]);
    become_ready(namespace, "green");
    comes_to(&[]);
    assert_eq!(namespace.apply(&switch).ok().stderr, "");
}

/// What Flagger sends, without a Flagger.
fn flagger(namespace: &Namespace, stored: &mut Stored) {
    let target = stored["Deployment chatbot"].clone();
    let owner = namespace.get_json("canary", "chatbot");

    // Its primary is left as it is, and what it copies is taken.
    let primary = copied(&target, &owner);
    let output = namespace.create(&primary.to_string()).ok();
    assert_eq!(output.stderr, "");
    let found = namespace.get_json("deployment", "chatbot-primary");
    assert_eq!(found["spec"]["template"], primary["spec"]["template"]);
    assert_eq!(found["spec"]["strategy"], target["spec"]["strategy"]);
    stored.insert("Deployment chatbot-primary".to_owned(), found);

    // The Deployment is scaled to 0: no other template, so that no analysis begins.
    let none = json!({"spec": {"replicas": 0}}).to_string();
    namespace.kubectl(["patch", "deployment", "chatbot", "--type=merge", "-p", &none]).ok();
    let scaled = namespace.get_json("deployment", "chatbot");
    assert_eq!(scaled["spec"]["template"], target["spec"]["template"]);

    // Without the waiver, types that do not know the sleep make an empty hook of it.
    let mut unwaived = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "unwaived"},
        "spec": {"selector": {"matchLabels": {"app": "unwaived"}}, "template": {
            "metadata": {"labels": {"app": "unwaived"}},
            "spec": {"containers": [{
                "name": "chatbot", "image": "registry.example/chatbot:v1.0", "ports": [{"containerPort": 5000}],
            }]},
        }},
    });
    namespace.apply(&unwaived.to_string()).ok();
    let mut copy = copied(&namespace.get_json("deployment", "unwaived"), &owner);
    let hook = &mut copy["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"];
    assert_eq!(*hook, json!({"sleep": {"seconds": 10}}));
    *hook = json!({});
    let output = namespace.create(&copy.to_string()).fails();
    assert!(output.stderr.contains("preStop: Required value: must specify a handler type"), "{output}");

    // A hook that they know is a way out too.
    unwaived["metadata"]["name"] = json!("hooked");
    let hook = json!({"preStop": {"exec": {"command": ["sleep", "10"]}}});
    unwaived["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = hook.clone();
    namespace.apply(&unwaived.to_string()).ok();
    let found = namespace.get_json("deployment", "hooked");
    assert_eq!(found["spec"]["template"]["spec"]["containers"][0]["lifecycle"], hook);
}

/// The primary that Flagger makes of its target (pkg/canary/deployment_controller.go,
/// createPrimaryDeployment).
fn copied(target: &Value, owner: &Value) -> Value {
    let name = format!("{}-primary", target["metadata"]["name"].as_str().unwrap());
    let mut spec = target["spec"].clone();
    spec["selector"] = json!({"matchLabels": {"app": name}});
    spec["template"]["metadata"]["labels"]["app"] = json!(name);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": {"app": name},
            "annotations": target["metadata"]["annotations"],
            "ownerReferences": [{
                "apiVersion": owner["apiVersion"], "kind": "Canary", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}

/// The Service that is called has the live pods, and these alone.
fn nobody_calls_the_shadow(objects: &[Value], stored: &Stored) {
    let service = objects.iter().find(|object| name(object) == "Service chatbot").unwrap();
    let selected: Vec<&String> = stored
        .iter()
        .filter(|(_, object)| has_labels(object, &service["spec"]["selector"]))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(selected, ["Deployment chatbot"]);
}

/// Each subset of a DestinationRule has pods, before and after a release.
fn subsets_are_not_empty(objects: &[Value], generations: &[&Stored]) {
    for rule in objects.iter().filter(|object| object["kind"] == "DestinationRule") {
        for subset in rule["spec"]["subsets"].as_array().unwrap() {
            for stored in generations {
                let found = stored.values().filter(|object| has_labels(object, &subset["labels"])).count();
                assert_eq!(found, 1, "{subset}");
            }
        }
    }
}

/// Each PodMonitor names a port of the pods that it selects.
fn monitors_find_their_port(objects: &[Value], released: &Stored) {
    for monitor in objects.iter().filter(|object| object["kind"] == "PodMonitor") {
        let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
        let labels = &monitor["spec"]["selector"]["matchLabels"];
        let selected: Vec<&Value> = released.values().filter(|object| has_labels(object, labels)).collect();
        assert_eq!(selected.len(), released.len(), "{monitor}");
        for object in selected {
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["ports"][0]["name"], *port, "{monitor}");
        }
    }
}

/// An undo brings the template of before back, a restart starts it again.
fn flags_come_back(namespace: &Namespace, before: &Value) {
    let template = || namespace.get_json("deployment", "chatbot")["spec"]["template"].clone();
    assert_eq!(namespace.replica_sets("chatbot").len(), 2);
    assert_ne!(template(), before["spec"]["template"]);
    namespace.kubectl(["rollout", "undo", "deployment/chatbot"]).ok();
    assert_eq!(template(), before["spec"]["template"]);
    namespace.kubectl(["rollout", "restart", "deployment/chatbot"]).ok();
    assert_eq!(namespace.replica_sets("chatbot").len(), 3);
}

/// Whether the pods of a workload have these labels.
fn has_labels(workload: &Value, labels: &Value) -> bool {
    let own = &workload["spec"]["template"]["metadata"]["labels"];
    labels.as_object().unwrap().iter().all(|(key, value)| own[key] == *value)
}
