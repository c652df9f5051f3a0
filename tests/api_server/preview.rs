//! `gapless preview` of a workload of a cluster that has never heard of gapless.

use serde_json::{Value, json};

use crate::support::deployment::deployment;
use crate::support::namespace::Namespace;
use crate::support::ran::{Ran, gapless, with_stdin};
use crate::support::{self, Cluster, eventually};

fn preview(cluster: &Cluster, namespace: &Namespace, arguments: &[&str]) -> Ran {
    let mut command = gapless("preview", arguments);
    command.args(["--namespace", &namespace.name]).env("KUBECONFIG", cluster.kubeconfig("admin"));
    with_stdin(command, "")
}

/// There are no nodes: what a kubelet would say of a pod is written into its status.
fn has_started(namespace: &Namespace, pod: &str, seconds: u64) {
    let status = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": format!("2026-11-29T10:00:{seconds:02}Z")}],
        "containerStatuses": [{"name": "app", "image": "app", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-29T10:00:00Z"}}}],
    }});
    let patch = ["patch", pod, "--subresource=status", "--type=merge", "--patch", &status.to_string()];
    namespace.kubectl(patch).ok();
}

#[test]
fn a_live_workload_is_foretold() {
    let Some(cluster) = support::cluster() else { return };
    // Created where no webhook is called.
    let namespace = cluster.namespace_labelled(&[("gapless.dev/profile", "off")]);
    let mut web = deployment("web");
    web["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 5});
    namespace.create(&web.to_string()).ok();
    let pods = eventually("both pods", || {
        let pods = namespace.kubectl(["get", "pods", "-o", "name"]).ok().stdout;
        let pods: Vec<String> = pods.lines().map(str::to_owned).collect();
        if pods.len() == 2 { Ok(pods) } else { Err(format!("{pods:?}")) }
    });

    let web = ["deployment/web", "--image", "app=registry.example/app:2.0.0"];
    let json = [&web[..], &["-f", "json"]].concat();
    let rollout = |ran: &Ran| -> Value {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.json()["rollouts"][0].clone()
    };
    let foretold = rollout(&preview(cluster, &namespace, &json));
    assert_eq!(foretold["namespace"], json!(namespace.name));
    assert_eq!(
        (&foretold["replicas"], &foretold["floor"], &foretold["waves"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(foretold["assumed"]["startsIn"], 3.0, "no pod has ever been ready");
    let restarted = rollout(&preview(cluster, &namespace, &["deployment/web", "-f", "json"]));
    assert_eq!(restarted["waves"], 2, "another template, whatever it is");
    let same =
        ["deployment/web", "-f", "json", "--profile", "off", "--image", "app=registry.example/app:1.2.3"];
    assert_eq!(rollout(&preview(cluster, &namespace, &same))["waves"], 0, "what runs already");

    has_started(&namespace, &pods[0], 7);
    has_started(&namespace, &pods[1], 12);
    let learned = rollout(&preview(cluster, &namespace, &json));
    assert_eq!(learned["assumed"]["startsIn"], 7.0);
    let text = preview(cluster, &namespace, &web).stdout;
    assert!(text.contains("listens 7 s after its start, as the quickest of 2 running pods did"), "{text}");
    let given = rollout(&preview(cluster, &namespace, &[&json[..], &["--starts-in", "1s"]].concat()));
    assert_eq!(given["assumed"]["startsIn"], 1.0);

    let missing = preview(cluster, &namespace, &["deployment/api"]);
    missing.failed_with(&format!("there is no Deployment api in namespace {}", namespace.name));
    let other = preview(cluster, &namespace, &["deployment/web", "--image", "side=a:1"]);
    other.failed_with("it has no container \"side\"; its containers are app");
}
