//! The policies that `gapless export` writes, in a real API server that asks no webhook.
//!
//! What they deny is held against the engine, which is asked as the webhooks are where
//! nothing is known of other objects.

mod cases;
mod files;
mod installed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use gapless::admission::Outcome;
use gapless::config;
use serde_json::{Value, json};

use crate::support::client::{Invocation, Output};
use crate::support::deployment::{applied, deployment, deployment_with};
use crate::support::fixtures::configuration;
use crate::support::namespace::Namespace;
use crate::support::ran::{self, Ran};
use crate::support::simulated::{Answer, ApiServer, with_api_defaults};
use crate::support::{self, Cluster, eventually};
use cases::{Case, Cases};

/// `lenient` counts other ports and tags, `strict` lets nobody waive, `quiet` denies nothing.
const CONFIGURATION: &str = "
workloads: [Deployment, StatefulSet, DaemonSet, Rollout]
profiles:
  lenient:
    extends: production
    rules: {mutable-image-tag: Off, no-rollback-history: Warn, single-replica: Deny}
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

/// Objects that are updated into one another.
const UPDATED: [&str; 22] = [
    "amounts-4",
    "amounts-9",
    "grace-60",
    "grace-raised",
    "hook-0",
    "hook-12",
    "hook-2",
    "hook-7",
    "image-0",
    "image-12",
    "image-21",
    "image-3",
    "image-4",
    "no-history",
    "outage-0",
    "outage-1",
    "probe-0",
    "probe-7",
    "recreate-0",
    "recreate-1",
    "recreate-19",
    "serves-0",
];

#[test]
fn an_update_is_denied_for_what_it_brings_in() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    let engine = engine("production");
    let table = cases::table();
    let pairs: Vec<(String, &str, &str)> = UPDATED
        .iter()
        .flat_map(|old| UPDATED.iter().map(move |new| (*old, *new)))
        .filter(|(old, new)| old != new)
        .map(|(old, new)| (format!("{old}-to-{new}"), old, new))
        .collect();
    let named = |name: &str, case: &str| {
        let mut object = table[case].object.clone();
        object["metadata"]["name"] = json!(name);
        object
    };
    let before: Vec<Value> = pairs.iter().map(|(name, old, _)| named(name, old)).collect();
    let after: Vec<Value> = pairs.iter().map(|(name, _, new)| named(name, new)).collect();
    namespace.kubectl(["create", "-f", "-"]).args(AS_MIGRATOR).stdin(list(&before)).ok();

    let replace = namespace.kubectl(["replace", "--dry-run=server", "-f", "-"]).stdin(list(&after)).run();
    let denied = denied(&replace);
    let none = BTreeSet::new();
    let mut differ = Vec::new();
    for ((name, old, new), (before, after)) in pairs.iter().zip(before.iter().zip(&after)) {
        let mut expected = denying(&engine.update(&with_api_defaults(before), after));
        expected.retain(|rule| !table[*new].milder.contains(&rule.as_str()));
        // What the script does is not read, so that the sleep may have been there before.
        if *old == "hook-12" {
            expected.remove("pre-stop-exceeds-grace");
        }
        let found = denied.get(name).unwrap_or(&none);
        if *found != expected {
            differ.push(format!("{name}: policy {found:?}, engine {expected:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(denied.len() > 200, "{}", denied.len());
}

/// Whom the configuration exempts, with all rights.
const AS_MIGRATOR: [&str; 2] = ["--as=migrator", "--as-group=system:masters"];

/// Denied when it is created, for what is inside and outside the template.
fn bad(name: &str) -> Value {
    let rolling = json!({"maxUnavailable": 1, "maxSurge": 0});
    let mut bad = deployment_with(
        name,
        &json!({"replicas": 3, "revisionHistoryLimit": 0, "strategy": {"rollingUpdate": rolling}}),
    );
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/app");
    bad
}

#[test]
fn repairs_pass() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    namespace.create(&bad("web").to_string()).args(AS_MIGRATOR).ok();
    let rules =
        |output: &Output| denied(output).remove("web").unwrap_or_default().into_iter().collect::<Vec<_>>();

    // Who scales to one replica brings in an outage, and is let be, by either verb.
    namespace.kubectl(["scale", "deployment/web", "--replicas=2"]).ok();
    let scale = json!({"spec": {"replicas": 1}}).to_string();
    namespace.kubectl(["patch", "deployment/web", "--type=merge", "-p", &scale]).ok();
    namespace.kubectl(["label", "deployment/web", "tier=front"]).ok();
    namespace.kubectl(["annotate", "deployment/web", "note=later"]).ok();
    namespace.kubectl(["rollout", "pause", "deployment/web"]).ok();
    namespace.kubectl(["rollout", "resume", "deployment/web"]).ok();
    let status = json!({"status": {"observedGeneration": 1}}).to_string();
    namespace
        .kubectl(["patch", "deployment/web", "--subresource=status", "--type=merge", "-p", &status])
        .ok();
    let grace = |seconds: i64| {
        let patch = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": seconds}}}});
        let arguments =
            ["patch", "deployment/web", "--type=merge", "-p", &patch.to_string()].map(str::to_owned);
        namespace.kubectl(arguments)
    };
    // What scales and does something else is no scale.
    let both = json!({"spec": {"replicas": 2, "template": {"spec": {"terminationGracePeriodSeconds": 0}}}});
    let both = namespace.kubectl(["patch", "deployment/web", "--type=merge", "-p", &both.to_string()]).run();
    assert_eq!(rules(&both), ["zero-grace-period"]);

    // Back to a template that nobody may bring in anew, by undo but by no other way.
    grace(0).args(AS_MIGRATOR).ok();
    grace(20).ok();
    assert_eq!(rules(&grace(0).run()), ["zero-grace-period"]);
    assert_eq!(namespace.replica_sets("web").len(), 3);
    for tool in ["kubectl", "kubectl1.30", "kubectl.exe"] {
        namespace.tool(tool, ["rollout", "undo", "deployment/web"]).ok();
        let found = &namespace.get_json("deployment", "web")["spec"]["template"]["spec"];
        assert_eq!(found["terminationGracePeriodSeconds"], 0, "{tool}");
        grace(20).ok();
    }

    // Who deletes it, and who takes the last finalizer away then.
    let patch = json!({"metadata": {"finalizers": ["example.com/hold"]}}).to_string();
    namespace.kubectl(["patch", "deployment/web", "--type=merge", "-p", &patch]).ok();
    namespace.kubectl(["delete", "deployment/web", "--wait=false"]).ok();
    let mut going = json!({"metadata": {"finalizers": null}, "spec": {"revisionHistoryLimit": 0}});
    going["spec"]["template"] = json!({"spec": {"terminationGracePeriodSeconds": 0}});
    namespace.kubectl(["patch", "deployment/web", "--type=merge", "-p", &going.to_string()]).ok();
}

#[test]
fn an_undo_excuses_what_it_brings_back_only() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    // A patch by a client that gives no field manager, as an undo looks.
    let web = deployment("web");
    namespace.create(&web.to_string()).ok();
    let patch = |patch: Value| {
        let raw = format!("/apis/apps/v1/namespaces/{}/deployments/web?dryRun=All", namespace.name);
        let stored = namespace.get_json("deployment", "web");
        let mut object = stored;
        json_patch::merge(&mut object, &patch);
        namespace.kubectl(["replace", "--raw", &raw, "-f", "-"]).stdin(object.to_string()).run()
    };
    let template = json!({"spec": {"terminationGracePeriodSeconds": 0}});
    let undo = patch(json!({"spec": { "template": template }}));
    assert!(undo.status.success(), "{undo}");
    let more = patch(json!({"spec": {"template": template, "revisionHistoryLimit": 0}}));
    assert!(more.stderr.contains("(no-rollback-history), fix: "), "{more}");
    assert!(!more.stderr.contains("zero-grace-period"), "{more}");
    let no_template = patch(json!({"spec": {"revisionHistoryLimit": 0}}));
    assert!(no_template.stderr.contains("(no-rollback-history), fix: "), "{no_template}");
}

#[test]
fn who_and_what_is_none_of_its_business() {
    let Some(cluster) = backstop() else { return };
    let bad = bad("web");
    for (label, is_denied) in
        [("production", true), ("prodution", true), ("quiet", false), ("development", false), ("off", false)]
    {
        let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", label)]);
        assert_eq!(
            denied(&dry_run(&namespace, "create", &bad).run()).len(),
            usize::from(is_denied),
            "{label}"
        );
    }
    let namespace = cluster.namespace();
    for (arguments, is_denied) in [
        (&["--as=admin", "--as-group=system:masters"][..], true),
        (&AS_MIGRATOR, false),
        (&["--as=jane", "--as-group=system:masters", "--as-group=operators"], false),
        (&["--as=operators", "--as-group=system:masters"], true),
    ] {
        let output = dry_run(&namespace, "create", &bad).args(arguments).run();
        assert_eq!(denied(&output).len(), usize::from(is_denied), "{arguments:?}");
    }
    cluster.kubectl(["create", "namespace", "left-alone"]).ok();
    let left_alone = cluster.kubectl(["create", "--namespace=left-alone", "--dry-run=server", "-f", "-"]);
    left_alone.stdin(bad.to_string()).ok();
    cluster
        .kubectl(["create", "--namespace=kube-system", "--dry-run=server", "-f", "-"])
        .stdin(bad.to_string())
        .ok();

    let owner = |is_controller: bool| {
        let mut object = bad.clone();
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "controller": is_controller});
        object["metadata"]["ownerReferences"] = json!([owner]);
        denied(&dry_run(&namespace, "create", &object).run()).len()
    };
    assert_eq!([owner(true), owner(false)], [0, 1]);
}

#[test]
fn a_waiver_counts_as_long_as_it_has_a_reason_and_not_expired() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    let strict = cluster.namespace_labelled(&[("gapless.dev/profile", "strict")]);
    let waived = |place: &str, text: &str| {
        let mut object = deployment_with("web", &json!({"revisionHistoryLimit": 0}));
        let annotations = json!({"gapless.dev/waive.no-rollback-history": text});
        object.pointer_mut(place).unwrap()["annotations"] = annotations;
        object
    };
    let (own, template) = ("/metadata", "/spec/template/metadata");
    let table = [
        (own, "nobody rolls back", true),
        (template, "nobody rolls back", true),
        (own, "", false),
        (own, "  ", false),
        (own, "until 2020-01-01", false),
        (own, "ok Until (2020-01-01), see ticket 7", false),
        (template, "until 2020-01-01", false),
        (own, "until 9999-12-31", true),
        (own, "until the migration of 2020-01-01 is done", true),
        (own, "until", true),
        (own, "not until 2020-01-01-5", true),
    ];
    for (number, (place, text, holds)) in table.into_iter().enumerate() {
        let object = waived(place, text);
        let is_denied = |output: Output| !denied(&output).is_empty();
        assert_eq!(is_denied(dry_run(&namespace, "create", &object).run()), !holds, "created: {text:?}");
        // An update of one that was fine.
        let name = format!("web-{number}");
        namespace.create(&deployment(&name).to_string()).ok();
        let mut update = object.clone();
        update["metadata"]["name"] = json!(name);
        let selector = json!({"matchLabels": {"app": name}});
        update["spec"]["selector"] = selector;
        update["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
        assert_eq!(is_denied(dry_run(&namespace, "replace", &update).run()), !holds, "updated: {text:?}");
        assert!(is_denied(dry_run(&strict, "create", &object).run()), "forbidden: {text:?}");
    }
}

#[test]
fn the_message_says_all_in_one_line() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    let mut object = bad("web");
    object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
    let output = dry_run(&namespace, "create", &object).fails();
    let (head, message) = output.stderr.trim_end().split_once(" denied request: ").unwrap();
    let name = "production.gapless.dev";
    assert_eq!(
        head,
        format!(
            "Error from server (Forbidden): error when creating \"STDIN\": deployments.apps \"web\" is forbidden: \
             ValidatingAdmissionPolicy '{name}' with binding '{name}'"
        )
    );
    assert_eq!(
        message,
        "spec.revisionHistoryLimit: 0 keeps no old revision, so kubectl rollout undo has nothing to return to \
         (no-rollback-history), fix: remove revisionHistoryLimit (10 are kept), or set it to 1 or more; \
         spec.template.spec.terminationGracePeriodSeconds: 0 leaves hook and SIGTERM a second or two at most: \
         requests in flight are lost (zero-grace-period), fix: remove terminationGracePeriodSeconds (30 applies), \
         or give the application time to drain; \
         spec.template.spec.containers[app].image: no tag, or the tag latest: the image changes under its name, \
         and a rollback brings nothing back (mutable-image-tag), fix: name a version or a digest, such as \
         app:v1.2.3 or app@sha256:... \
         (judged by the API server alone, which knows no autoscaler and no earlier revision; \
         to accept one: annotate with gapless.dev/waive.<rule>: <reason>)"
    );
    let strict = cluster.namespace_labelled(&[("gapless.dev/profile", "strict")]);
    let output = dry_run(&strict, "create", &object).fails();
    assert!(output.stderr.contains("; waivers are forbidden here)"), "{output}");
    namespace.create(&deployment("web").to_string()).ok();
    let output = dry_run(&namespace, "replace", &object).fails();
    assert!(output.stderr.contains("; to go back: kubectl rollout undo)"), "{output}");
}

/// Gapless completed the old object, and is away when the new one comes: what it would put
/// back, or wrote itself, is not held against anybody.
#[test]
fn what_gapless_wrote_is_nobodys_fault() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    let engine = engine("production");
    let grace = "spec.template.spec.terminationGracePeriodSeconds";
    let sleep = json!({"preStop": {"sleep": {"seconds": 10}}});
    let hook = json!({"preStop": {"exec": {"command": ["sleep", "35"]}}});
    let probe = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 5, "failureThreshold": 3});
    let serving = |fields: Value| {
        let mut container =
            json!({"name": "app", "image": "registry.example/app:1.2.3", "ports": [{"containerPort": 8080}]});
        json_patch::merge(&mut container, &fields);
        container
    };
    let object = |spec: Value, containers: &[Value], grace: Option<i64>, record: Option<Value>| {
        let mut object = deployment_with("web", &spec);
        object["spec"]["template"]["spec"]["containers"] = json!(containers);
        if let Some(grace) = grace {
            object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(grace);
        }
        if let Some(record) = record {
            object["metadata"]["annotations"] = json!({"gapless.dev/injected": record.to_string()});
        }
        object
    };
    let rolling = |replicas: i32, unavailable: Value| json!({"replicas": replicas, "strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": 0}}});
    let completed = serving(json!({"readinessProbe": probe, "lifecycle": sleep}));
    let of_completed = json!({
        "spec.template.spec.containers[app].lifecycle.preStop": sleep["preStop"],
        "spec.template.spec.containers[app].readinessProbe": probe,
        grace: 40,
    });
    let bare = serving(json!({}));
    let latest = serving(json!({"image": "registry.example/app:latest"}));
    let hooked = serving(json!({"lifecycle": hook}));
    let second = |fields: Value| {
        let mut second = serving(fields);
        second["name"] = json!("second");
        second
    };
    let of_amount = |amount: i32| json!({"spec.strategy.rollingUpdate.maxUnavailable": amount});
    let later = |mut spec: Value| {
        spec["progressDeadlineSeconds"] = json!(500);
        spec
    };
    let old = object(rolling(3, json!(1)), std::slice::from_ref(&completed), Some(40), Some(of_completed));
    let old_amount = object(rolling(3, json!(1)), std::slice::from_ref(&bare), None, Some(of_amount(1)));
    let pairs = [
        // A scale by a PUT of the bare manifest, and the same with something else in it.
        (&old, object(rolling(1, json!(1)), std::slice::from_ref(&bare), None, None), &[][..]),
        (&old, object(rolling(1, json!(1)), &[latest], None, None), &["mutable-image-tag", "rollout-outage"]),
        (
            &old,
            object(later(rolling(1, json!(1))), std::slice::from_ref(&bare), None, None),
            &["rollout-outage"],
        ),
        // The grace period comes back, once for a container beside it, once by itself.
        (
            &object(
                json!({}),
                &[hooked.clone(), second(json!({"lifecycle": sleep}))],
                Some(40),
                Some(
                    json!({"spec.template.spec.containers[second].lifecycle.preStop": sleep["preStop"], grace: 40}),
                ),
            ),
            object(later(json!({})), &[hooked.clone(), second(json!({}))], None, None),
            &[],
        ),
        (
            &object(json!({}), std::slice::from_ref(&hooked), Some(40), Some(json!({ grace: 40 }))),
            object(later(json!({})), std::slice::from_ref(&hooked), None, None),
            &[],
        ),
        (
            &object(json!({}), std::slice::from_ref(&bare), Some(40), None),
            object(json!({}), std::slice::from_ref(&hooked), None, None),
            &["pre-stop-exceeds-grace"],
        ),
        // An amount of ours, which gapless would take back and then deny what is left, and one
        // of the user's in its place.
        (
            &old_amount,
            object(later(rolling(1, json!(1))), std::slice::from_ref(&bare), None, Some(of_amount(1))),
            &[],
        ),
        (
            &old_amount,
            object(rolling(1, json!("100%")), std::slice::from_ref(&bare), None, Some(of_amount(1))),
            &["rollout-outage"],
        ),
    ];
    for (number, (old, new, expected)) in pairs.iter().enumerate() {
        let [old, new] = [*old, new].map(|object| {
            let mut object = object.clone();
            object["metadata"]["name"] = json!(format!("web-{number}"));
            object
        });
        namespace.create(&old.to_string()).args(AS_MIGRATOR).ok();
        let by_engine = denying(&engine.update(&with_api_defaults(&old), &new));
        let mut denied = denied(&dry_run(&namespace, "replace", &new).run());
        let by_policy = denied.remove(&format!("web-{number}")).unwrap_or_default();
        assert_eq!(by_policy.iter().map(String::as_str).collect::<Vec<_>>(), *expected, "{number}: {new:#}");
        assert!(by_policy.is_subset(&by_engine), "{number}: {by_engine:?} {new:#}");
        assert_eq!(by_policy == by_engine, number != 6, "{number}: {by_engine:?} {new:#}");
    }
}

/// As many containers as nobody has.
#[test]
fn a_denial_is_one_at_150_containers() {
    let Some(cluster) = backstop() else { return };
    let namespace = cluster.namespace();
    let many = |name: &str, change: &Value| {
        let mut object = deployment(name);
        let containers = (0..150).map(|number| {
            let port = 8000 + 3 * number;
            let ports: Vec<Value> = (0..3)
                .map(|it| json!({"name": format!("p{it}-{number}"), "containerPort": port + it}))
                .collect();
            let mut container = json!({
                "name": format!("a-container-with-quite-a-long-name-{number}"),
                "image": "registry.example:5000/team/project/service:v1.2.3",
                "args": ["--leader-elect-is-not-asked-for"],
                "ports": ports,
                "readinessProbe": {"httpGet": {"port": port}},
                "livenessProbe": {"tcpSocket": {"port": port}},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                "env": [{"name": "A", "value": "B"}],
            });
            json_patch::merge(&mut container, change);
            container
        });
        object["spec"]["template"]["spec"]["containers"] = containers.collect();
        object
    };
    let sleep = json!({"preStop": {"exec": {"command": ["sh", "-c", "sleep 30"]}}});
    let worst = json!({
        "image": "registry.example:5000/team/project/Service:v1.2.3",
        "lifecycle": sleep,
        "livenessProbe": {"tcpSocket": {"port": "nope"}},
    });
    for (number, change, expected) in [
        (0, json!({"image": "registry.example:5000/team/project/service"}), &["mutable-image-tag"][..]),
        (1, worst, &["pre-stop-exceeds-grace", "unknown-probe-port", "unpullable-image"]),
    ] {
        let object = many("many", &change);
        let found = denied(&dry_run(&namespace, "create", &object).run()).remove("many").unwrap_or_default();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        // What was there before has to be looked at too.
        let name = format!("many-{number}");
        namespace.create(&many(&name, &json!({})).to_string()).ok();
        let update = dry_run(&namespace, "replace", &many(&name, &change)).run();
        let found = denied(&update).remove(&name).unwrap_or_default();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert!(update.stderr.len() < 5 * 1024 && update.stderr.contains("... (150 fields)"), "{update}");
    }
    // What an API server cannot compute passes; then this counts.
    let metrics = cluster.kubectl(["get", "--raw", "/metrics"]).ok().stdout;
    let checks =
        metrics.lines().filter(|line| line.starts_with("apiserver_validating_admission_policy_check_total"));
    let failed: Vec<&str> = checks
        .filter(|line| {
            !line.contains("error_type=\"no_error\"") && !line.contains("enforcement_action=\"deny\"")
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
