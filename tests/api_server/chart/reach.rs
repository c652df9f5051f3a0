//! Whom the API server asks about what, once the chart is installed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::deployment::{deployment, deployment_with};
use crate::support::fixtures::repository_file;
use crate::support::gapless::{RELEASE_NAMESPACE, install, upgrade};
use crate::support::namespace::Namespace;
use crate::support::{self, Cluster, Gapless, eventually};

/// No profile: gapless is not asked.
const NOBODY: &str = "";

/// Configurations, one after the other.
const CONFIGURATIONS: [&str; 4] = [
    "{defaultProfile: production}",
    "{defaultProfile: production, profiles: {payments: {extends: production}}}",
    "{defaultProfile: advisory, profiles: {payments: {extends: production}}}",
    "{defaultProfile: off, profiles: {payments: {extends: production}}}",
];

/// Values of the label `gapless.dev/profile`, and the profile that answers for
/// such a namespace in each of [`CONFIGURATIONS`].
#[rustfmt::skip]
const BY_LABEL: [(Option<&str>, [&str; 4]); 8] = [
    (None,                ["production",  "production",  "advisory",    NOBODY]),
    (Some(""),            ["production",  "production",  "advisory",    NOBODY]),
    (Some("prodution"),   ["production",  "production",  "advisory",    NOBODY]),
    (Some("production"),  ["production",  "production",  "production",  "production"]),
    (Some("advisory"),    ["advisory",    "advisory",    "advisory",    "advisory"]),
    (Some("development"), ["development", "development", "development", "development"]),
    (Some("payments"),    ["production",  "payments",    "payments",    "payments"]),
    (Some("off"),         [NOBODY,        NOBODY,        NOBODY,        NOBODY]),
];

/// One release after the other, so one test.
#[test]
fn asks_the_right_profile_and_never_stands_in_the_way() {
    // Of its own: the releases are about all namespaces.
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let labelled = |label: Option<&'static str>| {
        let labels: Vec<_> = label.map(|label| ("gapless.dev/profile", label)).into_iter().collect();
        cluster.namespace_labelled(&labels)
    };
    let by_label = BY_LABEL.map(|(label, _)| labelled(label));
    let [plain, _, _, production, advisory, development, payments, off] = &by_label;
    let excluded = [labelled(None), labelled(Some("production"))];

    let gapless = Gapless::start(cluster, ["--shutdown-delay", "0s"]);
    let names = excluded.each_ref().map(|namespace| namespace.name.as_str());
    let values = |configuration: &str, webhooks: &str| {
        let excluded = names.join(", ");
        // More patience than usual: the machine is busy with other tests.
        let webhooks = format!("excludedNamespaces: [{excluded}], timeoutSeconds: 20, {webhooks}");
        format!("config: {configuration}\nwebhooks: {{{webhooks}}}")
    };
    install(cluster, &gapless, &values(CONFIGURATIONS[0], ""));
    // Not even then.
    cluster.kubectl(["label", "namespace", RELEASE_NAMESPACE, "gapless.dev/profile=production"]).ok();

    for (column, configuration) in CONFIGURATIONS.iter().enumerate() {
        upgrade(cluster, &gapless, &values(configuration, ""));
        let mut expected =
            BTreeMap::from([RELEASE_NAMESPACE, names[0], names[1]].map(|name| (name, Vec::new())));
        for (namespace, (_, answers)) in by_label.iter().zip(BY_LABEL) {
            expected.insert(&namespace.name, entries_of(answers[column]));
        }
        eventually(configuration, || {
            let asked = asked(cluster, &expected);
            if asked == expected { Ok(()) } else { Err(format!("{asked:#?}\nexpected {expected:#?}")) }
        });
        the_notes_tell_how_to_check(cluster, configuration, production);
    }

    payments.create(&bad("web")).fails().assert_denied("payments", "no-rollback-history");
    production.create(&bad("web")).fails().assert_denied("production", "no-rollback-history");
    for namespace in [advisory, development] {
        let warned = namespace.create(&bad("web")).ok();
        assert!(warned.stderr.contains("Warning: gapless: "), "{warned}");
        assert!(warned.stderr.contains("(no-rollback-history)"), "{warned}");
    }
    for namespace in [plain, off, &excluded[0], &excluded[1]] {
        let silent = namespace.create(&bad("web")).ok();
        assert_eq!(silent.stderr, "", "{silent}");
    }

    only_creation_and_update_call(&gapless, production);
    let values = values(CONFIGURATIONS[3], "failurePolicy: Fail");
    a_dead_gapless_stands_in_nobodys_way(cluster, gapless, production, &values);
}

/// The names of a profile's entries.
fn entries_of(profile: &str) -> Vec<String> {
    if profile == NOBODY {
        return Vec::new();
    }
    ["mutate", "validate"].map(|phase| format!("{profile}.{phase}.gapless.dev")).to_vec()
}

/// The entries that answer for a new Deployment in each of these namespaces, as
/// the API server's audit log has it.
fn asked<'n>(
    cluster: &Cluster,
    namespaces: &BTreeMap<&'n str, Vec<String>>,
) -> BTreeMap<&'n str, Vec<String>> {
    let seen = cluster.audit_log().len();
    let deployment = |namespace: &&str| {
        let mut deployment: Value = serde_json::from_str(&bad("asked")).unwrap();
        deployment["metadata"]["namespace"] = json!(namespace);
        deployment
    };
    let items: Vec<Value> = namespaces.keys().map(deployment).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(list.to_string()).run();

    // The log is written after the answer.
    eventually("the audit log", || {
        let mut log = cluster.audit_log().split_off(seen);
        log.retain(|event| event["verb"] == "create" && event["objectRef"]["name"] == "asked");
        let entries = |namespace: &str| {
            let event = log.iter().find(|event| event["objectRef"]["namespace"] == namespace)?;
            let keys = event["annotations"].as_object()?.keys();
            Some(keys.filter_map(|key| Some(key.strip_suffix("/profile")?.to_owned())).collect())
        };
        let asked = namespaces.keys().map(|namespace| Some((*namespace, entries(namespace)?)));
        asked.collect::<Option<_>>().ok_or_else(|| format!("{log:#?}"))
    })
}

/// The command for a check in the notes of the release does what they say.
fn the_notes_tell_how_to_check(cluster: &Cluster, configuration: &str, production: &Namespace) {
    let notes = notes(cluster);
    let command = notes.iter().find(|line| line.contains(" create deployment ")).expect("a command");
    // With `off`, it is about a namespace that the user has yet to label.
    let command = command.replace("NAMESPACE", &production.name);
    let output = cluster.kubectl(command.split(' ').skip(1)).run();
    if configuration.contains("advisory") {
        assert!(output.status.success() && output.stderr.contains("Warning: gapless: "), "{output}");
    } else {
        output.assert_denied("production", "mutable-image-tag");
    }
}

fn notes(cluster: &Cluster) -> Vec<String> {
    let output = cluster.helm(["get", "notes", "gapless", "--namespace", RELEASE_NAMESPACE]).ok();
    output.stdout.lines().map(|line| line.trim().to_owned()).collect()
}

/// What happens to a Deployment, and how many calls of gapless each makes.
#[rustfmt::skip]
const VERBS: [(&[&str], u64); 7] = [
    (&["create", "-f", "-"], 2),
    (&["annotate", "deployment/held", "note=hello"], 2),
    (&["scale", "deployment/held", "--replicas=3"], 0),
    (&["patch", "deployment/held", "--subresource=status", "-p", r#"{"status": {"collisionCount": 1}}"#], 0),
    (&["delete", "deployment/held", "--wait=false"], 0),
    (&["annotate", "deployment/held", "note=bye", "--overwrite"], 0),
    (&["patch", "deployment/held", "-p", r#"{"metadata": {"finalizers": null}}"#], 0),
];

fn only_creation_and_update_call(gapless: &Gapless, namespace: &Namespace) {
    for (verb, calls) in VERBS {
        let before = calls_of(gapless);
        let output = namespace.kubectl(verb).stdin(held()).ok();
        assert_eq!(calls_of(gapless) - before, calls, "{output}");
    }
    is_gone(namespace);
}

/// The calls that gapless has answered so far.
fn calls_of(gapless: &Gapless) -> u64 {
    let (_, metrics) = gapless.ops_get("/metrics");
    let series = metrics.lines().filter(|line| line.starts_with("gapless_admission_requests_total{"));
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// failurePolicy Fail, and nobody answers: only creation and update are held up,
/// until somebody does what the notes say.
fn a_dead_gapless_stands_in_nobodys_way(
    cluster: &Cluster,
    gapless: Gapless,
    namespace: &Namespace,
    values: &str,
) {
    namespace.create(&held()).ok();
    upgrade(cluster, &gapless, values);
    gapless.terminate();
    let failing = "failed calling webhook \"production.mutate.gapless.dev\"";
    eventually("the failurePolicy", || {
        let output = namespace.create(&bad("other")).run();
        if output.stderr.contains(failing) { Ok(()) } else { Err(output.to_string()) }
    });
    for (verb, calls) in VERBS {
        let output = namespace.kubectl(verb).stdin(held()).run();
        assert_eq!(output.stderr.contains(failing), calls > 0, "{output}");
        assert_eq!(output.status.success(), calls == 0, "{output}");
    }
    is_gone(namespace);

    let counted = "apiserver_admission_webhook_rejection_count{";
    let metrics = cluster.kubectl(["get", "--raw", "/metrics"]).ok().stdout;
    assert!(metrics.lines().any(|line| line.starts_with(counted) && line.contains("gapless.dev")));

    let notes = notes(cluster);
    assert!(notes.iter().any(|line| line.contains("webhook_(fail_open|rejection)_count")));
    let emergency = notes.iter().find(|line| line.starts_with("kubectl delete ")).expect("a command");
    cluster.kubectl(emergency.split(' ').skip(1)).ok();
    eventually("an API server that asks nobody", || {
        let output = namespace.create(&bad("other")).run();
        if output.status.success() { Ok(()) } else { Err(output.to_string()) }
    });
    // An upgrade, with whatever values, brings back what was deleted.
    let chart = repository_file("charts/gapless").display().to_string();
    cluster.helm(["upgrade", "gapless", &chart, "--namespace", RELEASE_NAMESPACE, "--reuse-values"]).ok();
    cluster.kubectl(emergency.replace("delete", "get").split(' ').skip(1)).ok();
}

#[track_caller]
fn is_gone(namespace: &Namespace) {
    let output = namespace.kubectl(["get", "deployment", "held"]).fails();
    assert!(output.stderr.contains("NotFound"), "{output}");
}

fn good(name: &str) -> String {
    deployment(name).to_string()
}

/// Every profile says something about it, and `production` denies it.
fn bad(name: &str) -> String {
    deployment_with(name, &json!({"revisionHistoryLimit": 0})).to_string()
}

/// A good one that stays when it is deleted, until its finalizer is removed.
fn held() -> String {
    good("held").replace(r#""name":"held""#, r#""name":"held","finalizers":["example.com/hold"]"#)
}
