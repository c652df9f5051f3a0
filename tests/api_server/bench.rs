//! The test bench itself: the control plane does what the other tests build on.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::namespace::Namespace;
use crate::support::process::{Tied, signal, tied};
use crate::support::{self, Cluster, bench, eventually};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: registry.example/web:1.0.0
";

/// A namespace that the gapless of other tests does not look at.
fn unwatched(cluster: &Cluster) -> Namespace<'_> {
    cluster.namespace_labelled(&[("gapless.dev/profile", "off")])
}

#[test]
fn a_deployment_gets_a_replica_set_for_each_template() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);

    namespace.apply(DEPLOYMENT).ok();
    assert_eq!(images(&namespace.replica_sets("web")), ["registry.example/web:1.0.0"]);

    namespace.kubectl(["annotate", "deployment/web", "note=not part of the template"]).ok();
    assert_eq!(images(&namespace.replica_sets("web")), ["registry.example/web:1.0.0"]);

    let second = DEPLOYMENT.replace("1.0.0", "2.0.0");
    namespace.apply_server_side(&second).args(["--force-conflicts"]).ok();
    namespace.kubectl(["edit", "deployment/web"]).env("EDITOR", "sed -i -e s/web:2.0.0/web:3.0.0/").ok();
    assert_eq!(
        images(&namespace.replica_sets("web")),
        ["registry.example/web:1.0.0", "registry.example/web:2.0.0", "registry.example/web:3.0.0"]
    );
}

#[test]
fn kubectl_and_helm_write_under_their_own_names() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);

    namespace.create(DEPLOYMENT).ok();
    namespace.kubectl(["scale", "deployment/web", "--replicas=3"]).ok();
    let web = namespace.get_json("deployment", "web");
    let managers = managers(&web);
    assert!(managers.contains(&"kubectl-create".to_owned()), "{managers:?}");

    let chart = cluster.file("smoke-chart");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: smoke\nversion: 1.0.0\nkubeVersion: '>=1.30.0-0'\n",
    )
    .unwrap();
    std::fs::write(chart.join("templates/web.yaml"), DEPLOYMENT.replace("name: web", "name: shop")).unwrap();
    namespace.helm(["install", "smoke"]).args([&chart]).ok();
    let shop = namespace.get_json("deployment", "shop");
    assert!(self::managers(&shop).contains(&"helm".to_owned()), "{shop:#}");
    namespace.helm(["uninstall", "smoke", "--wait"]).ok();
    namespace.kubectl(["get", "deployment", "shop"]).fails();
}

#[test]
fn the_team_user_may_do_what_it_is_given() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);

    let denied = namespace.create(DEPLOYMENT).user("team").fails();
    assert!(denied.stderr.contains("Error from server (Forbidden)"), "{denied}");
    assert!(denied.stderr.contains("User \"team\" cannot create"), "{denied}");

    namespace.grant("team", &["create", "get"], "deployments.apps");
    namespace.create(DEPLOYMENT).user("team").ok();
    namespace.kubectl(["delete", "deployment", "web"]).user("team").fails();
}

#[test]
fn a_service_account_can_log_in() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);

    namespace.kubectl(["create", "serviceaccount", "robot"]).ok();
    let token = namespace.kubectl(["create", "token", "robot"]).ok().stdout;
    cluster.write_kubeconfig("robot", token.trim());
    let who = cluster.kubectl(["auth", "whoami", "-o", "json"]).user("robot").ok().json();
    let expected = format!("system:serviceaccount:{}:robot", namespace.name);
    assert_eq!(who["status"]["userInfo"]["username"], expected);
}

#[test]
fn client_and_server_have_the_version_that_go_mod_asks_for() {
    let Some(cluster) = support::cluster() else { return };

    let version = cluster.kubectl(["version", "-o", "json"]).ok().json();
    assert_eq!(version["clientVersion"]["gitVersion"], bench::kubernetes_version());
    assert_eq!(version["serverVersion"]["gitVersion"], bench::kubernetes_version());
    let major_minor = format!(
        "v{}.{}.",
        version["serverVersion"]["major"].as_str().unwrap(),
        version["serverVersion"]["minor"].as_str().unwrap()
    );
    assert!(bench::kubernetes_version().starts_with(&major_minor), "{version:#}");
}

#[test]
fn the_audit_log_has_each_request() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);

    namespace.create(DEPLOYMENT).ok();
    let creations: Vec<Value> = namespace
        .audit_log()
        .into_iter()
        .filter(|event| event["verb"] == "create" && event["objectRef"]["resource"] == "deployments")
        .collect();
    assert_eq!(creations.len(), 1, "{creations:#?}");
    assert_eq!(creations[0]["user"]["username"], "admin");
    assert_eq!(creations[0]["responseStatus"]["code"], 201);
}

#[test]
fn objects_and_namespaces_can_be_deleted() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = unwatched(cluster);
    let stored = cluster.kubectl(["get", "namespace", &namespace.name, "-o", "json"]).ok().json();
    assert_eq!(stored["metadata"]["labels"]["gapless.dev/profile"], "off");

    namespace.create(DEPLOYMENT).ok();
    assert_eq!(namespace.replica_sets("web").len(), 1);
    namespace.kubectl(["delete", "deployment", "web", "--cascade=foreground"]).ok();
    let left = namespace.kubectl(["get", "replicasets,pods", "-o", "name"]).ok();
    assert_eq!(left.stdout, "", "{left}");
    cluster.kubectl(["delete", "namespace", &namespace.name]).ok();
}

#[test]
fn a_tied_command_ends_with_whoever_started_it() {
    let Some(cluster) = support::cluster() else { return };

    // A stubborn command, with a child of its own: both ignore SIGTERM.
    let mut process = start_tied(cluster, "stubborn", "trap '' TERM; sleep 600 & echo $$ $! >&2; wait");
    let pids = eventually("the process ids", || {
        let log = process.log();
        let pids: Vec<u32> = log.split_whitespace().map_while(|pid| pid.parse().ok()).collect();
        if pids.len() == 2 && log.ends_with('\n') { Ok(pids) } else { Err(log) }
    });
    assert!(pids.iter().all(|pid| runs(*pid)));

    // What the kernel does when this process ends.
    drop(process.child().stdin.take());
    let status = process.wait(Duration::from_secs(10)).expect("tied ends");
    assert_eq!(status.code(), Some(128 + 9));
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[test]
fn tied_passes_signals_and_exit_codes_on() {
    let Some(cluster) = support::cluster() else { return };

    let mut process = start_tied(cluster, "exits", "exit 3");
    assert_eq!(process.wait(Duration::from_secs(10)).expect("tied ends").code(), Some(3));

    let mut process =
        start_tied(cluster, "waits", "trap 'exit 7' TERM; echo ready >&2; while :; do sleep 0.1; done");
    eventually("the trap", || if process.log() == "ready\n" { Ok(()) } else { Err(process.log()) });
    signal("TERM", process.id());
    assert_eq!(process.wait(Duration::from_secs(10)).expect("tied ends").code(), Some(7));
}

fn start_tied(cluster: &Cluster, name: &str, script: &str) -> Tied {
    let mut command = tied(cluster.bench(), &cluster.home(), None, Path::new("sh"));
    command.args(["-c", script]);
    Tied::start(command, &cluster.file(&format!("{name}.log"))).expect("sh can be started")
}

/// Whether a process runs. One that has ended but whose parent has not looked yet
/// (a zombie) does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // `PID (name) STATE …`
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn images(replica_sets: &[Value]) -> Vec<&str> {
    replica_sets
        .iter()
        .filter_map(|set| set["spec"]["template"]["spec"]["containers"][0]["image"].as_str())
        .collect()
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().expect("managedFields");
    entries.iter().filter_map(|entry| Some(entry["manager"].as_str()?.to_owned())).collect()
}
