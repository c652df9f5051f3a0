//! `gapless audit -f openreports` on a real API server: what is printed, and what is kept in
//! the cluster.

mod cron_job;

use std::sync::LazyLock;

use gapless::client::kubeconfig::{self, Choice};
use gapless::client::object::{Place, Written};
use serde_json::{Value, json};

use crate::support::audit::audit_as;
use crate::support::deployment::deployment_with;
use crate::support::namespace::Namespace;
use crate::support::openreports::{RESOURCE, metadata, reports, serve_reports};
use crate::support::ran::Ran;
use crate::support::{self, Cluster, eventually};

/// A control plane of its own, which serves Reports: in the shared one others would find
/// them. `None` as for [`support::cluster`].
fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: LazyLock<Option<Cluster>> = LazyLock::new(|| {
        let cluster = support::own_cluster(&[])?;
        serve_reports(&cluster);
        Some(cluster)
    });
    // Asked here too, so that each skipped test says that it is.
    support::cluster()?;
    CLUSTER.as_ref()
}

/// What deploys one Deployment of each outcome: denied, warned, waived and fine.
fn fill(namespace: &Namespace) {
    let mut waived = deployment_with("waived", &json!({"revisionHistoryLimit": 0}));
    waived["metadata"]["annotations"] = json!({"gapless.dev/waive.no-rollback-history": "it is in Git"});
    let items = json!([
        deployment_with("denied", &json!({"revisionHistoryLimit": 0})),
        deployment_with("warned", &json!({"replicas": 1})),
        waived,
        deployment_with("fine", &json!({})),
    ]);
    namespace.create(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).ok();
}

fn audit(cluster: &Cluster, user: &str, namespace: &Namespace, arguments: &[&str]) -> Ran {
    let place = ["--namespace", &namespace.name, "--format", "openreports"];
    audit_as(cluster, user, &[&place, arguments].concat())
}

/// Keeps the reports of a namespace, and says how many were written, unchanged and removed.
#[track_caller]
fn kept(cluster: &Cluster, namespace: &Namespace) -> [usize; 3] {
    let ran = audit(cluster, "admin", namespace, &["--apply"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let numbers = ran.stdout.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let [written, unchanged, removed] = numbers[..] else { panic!("{ran:?}") };
    let line = format!("reports: {written} written, {unchanged} unchanged, {removed} removed\n");
    assert_eq!(ran.stdout, line);
    [written, unchanged, removed]
}

const NAMES: [&str; 3] =
    ["gapless-deployment-denied", "gapless-deployment-waived", "gapless-deployment-warned"];

#[test]
fn what_is_printed_is_what_kubectl_applies() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    fill(&namespace);
    let printed = audit(cluster, "admin", &namespace, &[]);
    assert_eq!((printed.code, printed.stderr.as_str()), (1, ""), "as in every form: {printed:?}");
    assert_eq!(audit(cluster, "admin", &namespace, &[]).stdout, printed.stdout);
    assert!(!printed.stdout.contains("timestamp"));
    assert_eq!(reports(&namespace), [Value::Null; 0], "nothing is written");

    let strict = ["apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-"];
    let applied = namespace.kubectl(strict).stdin(printed.stdout.as_str()).ok();
    assert_eq!(applied.stderr, "", "no warning either");
    namespace.apply(&printed.stdout).ok();
    let stored = reports(&namespace);
    assert_eq!(metadata(&stored, "name"), NAMES);
    let list = printed.json();
    for (stored, printed) in stored.iter().zip(list["items"].as_array().unwrap()) {
        for field in ["source", "scope", "summary", "results"] {
            assert_eq!(stored[field], printed[field], "nothing is lost");
        }
    }
    let results = |number: usize| stored[number]["results"][0]["result"].clone();
    assert_eq!([results(0), results(1), results(2)], ["fail", "skip", "warn"]);

    // They are gapless' own from the first --apply on.
    assert_eq!(kept(cluster, &namespace), [3, 0, 0]);
    assert!(reports(&namespace).iter().all(|it| it["results"][0]["timestamp"].is_object()));
}

#[test]
fn a_second_run_changes_nothing() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    fill(&namespace);
    assert_eq!(kept(cluster, &namespace), [3, 0, 0]);
    let first = reports(&namespace);
    assert_eq!(metadata(&first, "name"), NAMES);
    for report in &first {
        let manager = &report["metadata"]["managedFields"];
        assert_eq!(manager.as_array().map(Vec::len), Some(1), "{manager:#}");
        assert_eq!((&manager[0]["manager"], &manager[0]["operation"]), (&json!("gapless"), &json!("Apply")));
        let workload = namespace.get_json("deployment", report["scope"]["name"].as_str().unwrap());
        let uid = &workload["metadata"]["uid"];
        let owners = report["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!(owners.len(), 1);
        assert_eq!((&owners[0]["uid"], &report["scope"]["uid"]), (uid, uid));
    }
    assert_eq!(kept(cluster, &namespace), [0, 3, 0]);
    assert_eq!(reports(&namespace), first);

    // What others add is theirs, and what they change of gapless' is put right.
    let name = NAMES[0];
    namespace.kubectl(["label", RESOURCE, name, "team=a"]).ok();
    assert_eq!(kept(cluster, &namespace), [0, 3, 0]);
    let lie = json!([{"op": "replace", "path": "/results/0/result", "value": "pass"}]).to_string();
    namespace.kubectl(["patch", RESOURCE, name, "--type=json", "-p", &lie]).ok();
    assert_eq!(kept(cluster, &namespace), [1, 2, 0]);
    let report = namespace.get_json(RESOURCE, name);
    assert_eq!(report["results"], first[0]["results"]);
    assert_eq!(report["metadata"]["labels"]["team"], "a");
}

#[test]
fn a_result_keeps_the_time_at_which_it_was_first_seen() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    namespace.create(&deployment_with("web", &json!({"replicas": 1})).to_string()).ok();
    let before = jiff::Timestamp::now().as_second();
    assert_eq!(kept(cluster, &namespace), [1, 0, 0]);
    let name = "gapless-deployment-web";
    let times = || {
        let report = namespace.get_json(RESOURCE, name);
        let results = report["results"].as_array().unwrap().iter();
        let seconds = |it: &Value| it["timestamp"]["seconds"].as_i64().unwrap();
        results.map(|it| (it["policy"].as_str().unwrap().to_owned(), seconds(it))).collect::<Vec<_>>()
    };
    let now = jiff::Timestamp::now().as_second();
    assert!((before..=now).contains(&times()[0].1), "{:?}", times());

    // As if it were a year ago.
    let long_ago = before - 31_536_000;
    let patch = json!([{"op": "replace", "path": "/results/0/timestamp/seconds", "value": long_ago}]);
    namespace.kubectl(["patch", RESOURCE, name, "--type=json", "-p", &patch.to_string()]).ok();
    assert_eq!(kept(cluster, &namespace), [0, 1, 0], "it is what the cluster remembers");
    let patch = json!({"spec": {"revisionHistoryLimit": 0}}).to_string();
    namespace.kubectl(["patch", "deployment", "web", "-p", &patch]).ok();
    assert_eq!(kept(cluster, &namespace), [1, 0, 0]);
    let found = times();
    assert_eq!((found[0].0.as_str(), found[0].1 >= before), ("no-rollback-history", true), "{found:?}");
    assert_eq!(found[1], ("single-replica".to_owned(), long_ago));

    // What is waived is still the same.
    let waiver = "gapless.dev/waive.single-replica=one is enough";
    namespace.kubectl(["annotate", "deployment", "web", waiver]).ok();
    assert_eq!(kept(cluster, &namespace), [1, 0, 0]);
    assert_eq!(times(), found);
}

#[test]
fn what_is_not_so_any_more_goes_and_what_is_not_known_stays() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    fill(&namespace);
    let stateful = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": deployment_with("db", &json!({}))["spec"]["template"]},
    });
    namespace.create(&stateful.to_string()).ok();
    assert_eq!(kept(cluster, &namespace), [4, 0, 0]);
    let theirs = |name: &str, labels: Value, source: &str| {
        let metadata = json!({"name": name, "labels": labels});
        let report = json!({"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": metadata,
            "source": source, "scope": {"kind": "Deployment", "name": "gone"}});
        namespace.create(&report.to_string()).ok();
    };
    let own = json!({"app.kubernetes.io/managed-by": "gapless"});
    theirs("other-tool", json!({}), "gapless");
    theirs("other-source", own.clone(), "other");
    theirs("gapless-deployment-gone", own, "gapless");

    // Neither the one nor the other is there to those who may not list it.
    let patch = json!({"spec": {"replicas": 2, "revisionHistoryLimit": 10}}).to_string();
    for name in ["denied", "warned"] {
        namespace.kubectl(["patch", "deployment", name, "-p", &patch]).ok();
    }
    namespace.grant("team", &["list"], "deployments.apps");
    namespace.grant("team", &["list", "create", "patch", "delete"], RESOURCE);
    let ran = audit(cluster, "team", &namespace, &["--apply"]);
    assert_eq!(ran.stdout, "reports: 0 written, 1 unchanged, 3 removed\n", "{ran:?}");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains("note: not listed: StatefulSet: the permission to list statefulsets.apps"),
        "{ran:?}"
    );
    let left = ["gapless-deployment-waived", "gapless-statefulset-db", "other-source", "other-tool"];
    assert_eq!(metadata(&reports(&namespace), "name"), left);
    namespace.kubectl(["delete", "statefulset", "db", "--cascade=orphan"]).ok();
    kept(cluster, &namespace);
    assert!(!metadata(&reports(&namespace), "name").contains(&"gapless-statefulset-db".to_owned()));
}

/// The garbage collector sees to it.
#[test]
fn a_report_goes_with_its_workload() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    fill(&namespace);
    assert_eq!(kept(cluster, &namespace), [3, 0, 0]);
    namespace.kubectl(["delete", "deployment", "denied"]).ok();
    eventually("the end of the report", || {
        let names = metadata(&reports(&namespace), "name");
        if names == NAMES[1..] { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

#[test]
fn a_missing_permission_is_named_with_what_is_needed() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    fill(&namespace);
    let needed = "needed are the verbs list, create, patch and delete of reports.openreports.io, which the chart's \
                  value reports.enabled gives to its CronJob";
    namespace.grant("team", &["list"], "deployments.apps");
    let fails = |prefix: String| {
        let ran = audit(cluster, "team", &namespace, &["--apply"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        let error = ran.stderr.lines().last().unwrap();
        assert!(error.starts_with(&prefix) && error.ends_with(needed), "{ran:?}");
    };
    let name = &namespace.name;
    fails(format!(
        "error: cannot read the reports: the permission to list {RESOURCE} in namespace {name} is missing; the API \
         server says: "
    ));
    namespace.grant("team", &["list"], RESOURCE);
    fails(format!(
        "error: cannot write the reports of namespace {name}: the permission to patch {RESOURCE} in namespace {name} \
         is missing; the API server says: "
    ));
    assert_eq!(reports(&namespace), [Value::Null; 0]);
}

/// What happens to a cluster while it is audited.
#[test]
fn what_is_deleted_meanwhile_is_no_failure() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace();
    let report =
        json!({"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": {"name": "web"}});
    // Which keeps the namespace from going at once.
    let slow = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "slow", "finalizers": ["example.com/slow"]}});
    namespace.create(&slow.to_string()).ok();
    namespace.create(&report.to_string()).ok();
    let file = cluster.kubeconfig("admin");
    let choice = Choice { kubeconfig: Some(&file), context: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = |name| Place {
        resource: RESOURCE,
        root: "/apis/openreports.io/v1alpha1",
        plural: "reports",
        namespace: Some(&namespace.name),
        name,
    };
    runtime.block_on(async {
        let connection = kubeconfig::connect(choice).await.unwrap();
        let other = place("web").delete(&connection, "another-uid").await.unwrap();
        assert_eq!(other, Written::Outdated, "one of the same name stays");
        let gone = place("gone").delete(&connection, "u-1").await.unwrap();
        assert_eq!(gone, Written::Outdated);
        let uid = namespace.get_json(RESOURCE, "web")["metadata"]["uid"].as_str().unwrap().to_owned();
        assert_eq!(place("web").delete(&connection, &uid).await.unwrap(), Written::Done);

        cluster.kubectl(["delete", "namespace", &namespace.name, "--wait=false"]).ok();
        let applied = place("web").apply(&connection, &report).await.unwrap();
        assert_eq!(applied, Written::Outdated, "its namespace is being deleted");
        let remove = json!({"metadata": {"finalizers": null}}).to_string();
        namespace.kubectl(["patch", "configmap", "slow", "--type=merge", "-p", &remove]).ok();
        cluster.kubectl(["wait", "--for=delete", "namespace", &namespace.name, "--timeout=60s"]).ok();
        let applied = place("web").apply(&connection, &report).await.unwrap();
        assert_eq!(applied, Written::Outdated, "its namespace is gone");
    });
}

#[test]
fn apply_is_for_reports() {
    let Some(cluster) = cluster() else { return };
    for form in [&["-f", "json"][..], &[]] {
        let ran = audit_as(cluster, "admin", &[&["-A", "--apply"], form].concat());
        ran.failed_with("--apply writes reports into the cluster: add -f openreports");
    }
}
