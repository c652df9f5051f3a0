//! The CronJob of the chart: its command, run with the token of its ServiceAccount.

use std::collections::BTreeSet;
use std::fs;

use clap::Parser;
use gapless::cli::{AuditFormat, Cli, Command};
use serde_json::{Value, json};

use crate::api_server::chart::rendered::Rendered;
use crate::support::argo::RELEASES;
use crate::support::audit::audit;
use crate::support::deployment::deployment_with;
use crate::support::fixtures::{configuration, repository_file};
use crate::support::flagger::Flagger;
use crate::support::gapless::{RELEASE_NAMESPACE, install};
use crate::support::openreports::{RESOURCE, metadata, reports, serve_reports};
use crate::support::{self, Cluster, Gapless};

const ACCOUNT: &str = "system:serviceaccount:gapless-system:gapless-reports";

/// Verb, group and resource.
type Permission = (String, String, String);

/// What its ClusterRole grants.
fn granted(cluster: &Cluster) -> BTreeSet<Permission> {
    let name = "gapless.gapless-system.reports";
    let role = cluster.kubectl(["get", "clusterrole", name, "-o", "json"]).ok().json();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let [group] = &texts(&rule["apiGroups"])[..] else { panic!("{rule:#}") };
        for resource in texts(&rule["resources"]) {
            let verbs = texts(&rule["verbs"]).into_iter();
            granted.extend(verbs.map(|verb| (verb, group.clone(), resource.clone())));
        }
    }
    granted
}

/// What it has asked for so far.
fn used(cluster: &Cluster) -> BTreeSet<Permission> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let log = cluster.audit_log();
    let own = log.iter().filter(|event| event["user"]["username"] == ACCOUNT);
    let about_objects = own.filter(|event| event["objectRef"].is_object());
    about_objects
        .map(|event| {
            let object = &event["objectRef"];
            (text(&event["verb"]), text(&object["apiGroup"]), text(&object["resource"]))
        })
        .collect()
}

/// It may do what it does, and nothing else. In a control plane of its own: all namespaces
/// are looked at, and at first there are no reports.
#[test]
fn its_permissions_are_what_it_needs() {
    let Some(cluster) = support::own_cluster(&[]) else { return };
    let cluster = &cluster;
    let [.., argo] = RELEASES;
    argo.serve(cluster);
    Flagger::serve(cluster);
    let profiles = "profiles: {trial: {extends: production, mode: Warn}}";
    let config = cluster.file("config.yaml");
    fs::write(&config, configuration(profiles)).unwrap();
    let gapless = Gapless::start(cluster, ["--config", config.to_str().unwrap()]);
    install(cluster, &gapless, &format!("reports: {{enabled: true}}\nconfig: {{{profiles}}}"));

    let get = |kind: &str, name: &str| {
        cluster.kubectl(["get", kind, name, "-n", RELEASE_NAMESPACE, "-o", "json"]).ok().json()
    };
    let job = get("cronjob", "gapless-reports");
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "gapless-reports");
    let arguments: Vec<&str> =
        pod["containers"][0]["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let Command::Audit(read) = Cli::parse_from(["gapless"].iter().chain(&arguments)).command else {
        panic!("{arguments:?}")
    };
    assert!(read.apply && read.all_namespaces && matches!(read.format, AuditFormat::OpenReports));
    let mount = &pod["containers"][0]["volumeMounts"][0]["mountPath"];
    assert_eq!(read.config.as_ref().unwrap().parent().unwrap().to_str(), mount.as_str());
    let mounted = get("configmap", pod["volumes"][0]["configMap"]["name"].as_str().unwrap());
    let config = cluster.file("reports-config.yaml");
    fs::write(&config, mounted["data"]["config.yaml"].as_str().unwrap()).unwrap();

    let create = ["create", "token", "gapless-reports", "-n", RELEASE_NAMESPACE];
    let token = cluster.kubectl(create).ok().stdout;
    let kubeconfig = cluster.write_kubeconfig("reports", token.trim()).display().to_string();
    let run = || {
        let config = config.to_str().unwrap();
        let arguments: Vec<&str> =
            arguments.iter().skip(1).map(|it| if it.starts_with("/etc/") { config } else { it }).collect();
        audit(&cluster.home(), &[("KUBECONFIG", kubeconfig.clone())], &arguments)
    };

    let absent = run();
    assert_eq!((absent.code, absent.stdout.as_str()), (0, ""), "{absent:?}");
    assert!(
        absent.stderr.starts_with("note: the cluster does not know reports.openreports.io"),
        "{absent:?}"
    );
    assert_eq!(absent.stderr.lines().count(), 1, "{absent:?}");

    serve_reports(cluster);
    // Its rollout is stuck in what gapless has injected, about which it may ask no pods.
    let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "trial")]);
    let spec = json!({"revisionHistoryLimit": 0, "progressDeadlineSeconds": 3});
    namespace.create(&deployment_with("web", &spec).to_string()).ok();
    let condition = "jsonpath={.status.conditions[?(@.type=='Progressing')].reason}=ProgressDeadlineExceeded";
    namespace.kubectl(["wait", "deployment/web", "--for", condition, "--timeout=60s"]).ok();
    let ran = |expected: &str| {
        let ran = run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "nothing that it may not see: {ran:?}");
        assert_eq!(ran.stdout, expected);
    };
    ran("reports: 1 written, 0 unchanged, 0 removed\n");
    let stored = reports(&namespace);
    assert_eq!(metadata(&stored, "name"), ["gapless-deployment-web"]);
    assert_eq!(stored[0]["results"][0]["result"], "warn", "by the configuration of the chart");
    ran("reports: 0 written, 1 unchanged, 0 removed\n");
    let off = ["label", "namespace", &namespace.name, "--overwrite", "gapless.dev/profile=off"];
    cluster.kubectl(off).ok();
    ran("reports: 0 written, 0 unchanged, 1 removed\n");

    // A patch that creates needs both verbs, and is logged as a patch.
    let mut used = used(cluster);
    used.insert(("create".to_owned(), "openreports.io".to_owned(), "reports".to_owned()));
    assert_eq!(granted(cluster), used);
    for (verb, resource) in [("create", RESOURCE), ("get", "secrets"), ("patch", "deployments.apps")] {
        let can = cluster.kubectl(["auth", "can-i", verb, resource, "-A", "--as", ACCOUNT]).run();
        assert_eq!(can.stdout.trim(), if resource == RESOURCE { "yes" } else { "no" }, "{can}");
    }
}

/// Even where the namespace asks for all that there is to be asked of pods.
#[test]
fn its_pods_are_restricted() {
    let Some(cluster) = support::cluster() else { return };
    let labels = [("pod-security.kubernetes.io/enforce", "restricted"), ("gapless.dev/profile", "off")];
    let namespace = cluster.namespace_labelled(&labels);
    let chart = repository_file("charts/gapless");
    let render =
        namespace.helm(["template", "gapless"]).args([chart]).args(["--set", "reports.enabled=true"]);
    let rendered = Rendered::new(&render.ok());
    let mut pod = rendered.one("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone();
    pod["serviceAccountName"] = json!("default");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reports"}, "spec": pod});
    let created = namespace.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(pod.to_string()).ok();
    assert_eq!(created.stderr, "");
}
