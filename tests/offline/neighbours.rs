//! What else stands in the input of `gapless check` and `gapless fix`.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::ran;

/// It declares no port: only its Service knows where it listens.
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: teller}
spec:
  replicas: 2
  selector: {matchLabels: {app: teller}}
  template:
    metadata: {labels: {app: teller}}
    spec:
      containers:
      - name: teller
        image: registry.example/teller:1.12.0
";

fn service(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: teller}}\n\
         spec: {{selector: {{app: teller}}, ports: [{{port: 80, targetPort: {port}}}]}}\n"
    )
}

fn written(files: &[(&str, String)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// The probe that `fix` writes into `file` of the directory, given all of it.
fn fixed_port(directory: &TempDir, file: &str) -> Option<i64> {
    let output = ran::gapless("fix", &[directory.path().to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(directory.path().join(file)).unwrap();
    let object: Value = serde_saphyr::from_str(&text).unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"].as_i64()
}

#[test]
fn a_service_of_the_input_says_where_a_container_listens() {
    let alone = written(&[("web.yaml", DEPLOYMENT.to_owned())]);
    assert_eq!(fixed_port(&alone, "web.yaml"), None);
    // In another file, which is read later.
    let with = written(&[("web.yaml", DEPLOYMENT.to_owned()), ("z/service.yaml", service(7070))]);
    assert_eq!(fixed_port(&with, "web.yaml"), Some(7070));
}

#[test]
fn each_environment_has_the_service_beside_it() {
    let both = written(&[
        ("dev/web.yaml", DEPLOYMENT.to_owned()),
        ("dev/service.yaml", service(7001)),
        ("prod/web.yaml", DEPLOYMENT.to_owned()),
        ("prod/service.yaml", service(7002)),
        ("base/web.yaml", DEPLOYMENT.to_owned()),
    ]);
    assert_eq!(fixed_port(&both, "dev/web.yaml"), Some(7001));
    let prod: Value =
        serde_saphyr::from_str(&fs::read_to_string(both.path().join("prod/web.yaml")).unwrap()).unwrap();
    assert_eq!(
        prod["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"],
        7002
    );
    // Above them they disagree.
    assert_eq!(fixed_port(&both, "base/web.yaml"), None);
}

#[test]
fn check_judges_by_what_stands_around() {
    let recreate = DEPLOYMENT.replace("replicas: 2", "strategy: {type: Recreate}");
    let autoscaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: teller}\n\
                      spec: {scaleTargetRef: {kind: Deployment, name: teller}, minReplicas: 3}\n";
    let rules = |files: &[(&str, String)]| -> Vec<String> {
        let directory = written(files);
        let path = directory.path().to_str().unwrap();
        let output = ran::gapless("check", &["-f", "json", path]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|it| it["rule"].as_str().unwrap().to_owned()).collect()
    };
    let web = ("web.yaml", recreate);
    assert!(rules(std::slice::from_ref(&web)).is_empty(), "nobody asks it");
    let asked = [web.clone(), ("service.yaml", service(7070))];
    assert_eq!(rules(&asked), ["recreate-strategy", "single-replica", "missing-readiness-probe"]);
    let [web, service] = asked;
    let scaled = [web, service, ("autoscaler.yaml", autoscaler.to_owned())];
    assert_eq!(rules(&scaled), ["recreate-strategy", "missing-readiness-probe"]);
}

fn selecting(track: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n\
         spec: {{selector: {{app: web, track: {track}}}, ports: [{{port: 80}}]}}\n"
    )
}

fn green(replicas: u16) -> String {
    DEPLOYMENT
        .replace("name: teller", "name: green")
        .replace("replicas: 2", &format!("replicas: {replicas}"))
        .replace("{app: teller}", "{app: web, track: green}")
}

/// File, kind, name and outcome of each `switch-to-unready` that `check` finds.
fn switches(directory: &TempDir, arguments: &[&str]) -> Vec<[String; 4]> {
    let mut command = ran::gapless("check", &[&["-f", "json"], arguments].concat());
    let report: Value =
        serde_json::from_slice(&command.current_dir(directory.path()).output().unwrap().stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let switches = findings.filter(|finding| finding["rule"] == "switch-to-unready");
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    switches.map(|finding| ["file", "kind", "name", "outcome"].map(|key| text(finding, key))).collect()
}

#[test]
fn a_service_that_is_there_twice_switches() {
    let directory = written(&[
        ("blue.yaml", selecting("blue")),
        ("green.yaml", selecting("green")),
        ("workload.yaml", green(0)),
    ]);
    let found = |file: &str| vec![[file, "Service", "web", "warn"].map(str::to_owned)];
    // By the names of a directory, or in the order given.
    assert_eq!(switches(&directory, &["."]), found("green.yaml"));
    assert_eq!(switches(&directory, &["blue.yaml", "green.yaml", "workload.yaml"]), found("green.yaml"));
    assert!(switches(&directory, &["green.yaml", "blue.yaml", "workload.yaml"]).is_empty());
    // Where no workload is known it is silent, and where one has pods.
    assert!(switches(&directory, &["blue.yaml", "green.yaml"]).is_empty());
    assert!(switches(&directory, &["green.yaml", "workload.yaml"]).is_empty(), "it is new");
    fs::write(directory.path().join("more.yaml"), green(1).replace("name: green", "name: more")).unwrap();
    assert!(switches(&directory, &["."]).is_empty());
    assert!(switches(&directory, &["--profile", "off", "."]).is_empty());
}
