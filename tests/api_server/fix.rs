//! What `gapless fix` has written, on a real API server, with every kind of apply.

use std::fs;
use std::path::Path;

use gapless::defaults::DEFAULTS;
use serde_json::{Value, json};

use super::installed::installed;
use crate::support::bench::kubernetes_minor;
use crate::support::deployment::deployment;
use crate::support::fixtures::{self, deployments, text};
use crate::support::ran::{self, Ran};

#[test]
fn a_fixed_file_is_applied_as_it_is() {
    let Some(installed) = installed() else { return };
    for name in
        ["anchors.yaml", "comments.yaml", "four-spaces.yaml", "plain.yaml", "pretty.json", "strings.yaml"]
    {
        let (raw, manifest) = (text(&format!("fix/{name}")), text(&format!("fix/fixed/{name}")));

        // Otherwise silence would prove nothing.
        let namespace = installed.cluster.namespace();
        let output = namespace.apply(&raw).run();
        assert!(output.stderr.contains("gapless: added"), "{name}: {output}");

        // Other readers of YAML have other ideas of what is text.
        let read =
            namespace.kubectl(["create", "--dry-run=client", "-o", "json", "-f", "-"]).stdin(&manifest).ok();
        let objects =
            serde_json::Deserializer::from_str(&read.stdout).into_iter::<Value>().map(Result::unwrap);
        let read: Vec<_> = objects.filter(|object| object["kind"] == "Deployment").collect();
        let written = deployments(name, &manifest);
        assert_eq!(read.len(), written.len());
        for (read, written) in read.iter().zip(&written) {
            assert_eq!(read["spec"], written["spec"], "{name}");
            assert_eq!(read["metadata"]["labels"], written["metadata"]["labels"], "{name}");
            assert_eq!(read["metadata"]["annotations"], written["metadata"]["annotations"], "{name}");
        }

        for server_side in [false, true] {
            let namespace = installed.cluster.namespace();
            let apply = || match server_side {
                true => namespace.apply_server_side(&manifest),
                false => namespace.apply(&manifest),
            };
            for _ in 0..2 {
                let output = apply().ok();
                for default in DEFAULTS {
                    assert!(!output.stderr.contains(&format!("({})", default.id)), "{name}: {output}");
                }
            }
            let stored = namespace.get_json("deployment", "web");
            let written = deployments(name, &manifest).remove(0);
            assert_eq!(stored["metadata"]["annotations"].get("gapless.dev/injected"), None, "{name}");
            let strategy = "/spec/strategy/rollingUpdate/maxUnavailable";
            assert_eq!(stored.pointer(strategy), written.pointer(strategy), "{name}");
            let containers = "/spec/template/spec/containers/0/lifecycle/preStop";
            assert_eq!(stored.pointer(containers), written.pointer(containers), "{name}");
            assert_eq!(namespace.replica_sets("web").len(), 1);
        }
    }
}

/// A directory and all below it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// What was valid stays valid: the parts of objects are as they were, and what is merged
/// into a whole one finds nothing there that it cannot stand beside.
#[test]
fn built_kustomizations_are_as_valid_as_before() {
    let Some(installed) = installed() else { return };
    let directory = tempfile::tempdir().unwrap();
    copy(&fixtures::path("kustomize"), directory.path());
    let namespace = installed.cluster.namespace();
    let mut overlays: Vec<_> =
        fs::read_dir(directory.path().join("overlays")).unwrap().map(|entry| entry.unwrap().path()).collect();
    overlays.push(directory.path().join("base"));
    overlays.sort();
    let build = |overlay: &Path| namespace.kubectl(["kustomize"]).args([overlay]).ok().stdout;
    // Without gapless, which would let the API server's own message through anyhow.
    let server = installed.cluster.namespace_labelled(&[("gapless.dev/profile", "off")]);
    let verify = |overlay: &Path, built: &str| {
        let answer = server.apply_server_side(built).args(["--dry-run=server"]).run();
        assert!(answer.status.success(), "{}: {answer}\n{built}", overlay.display());
        server.create(built).args(["--dry-run=server", "--validate=strict"]).ok();
    };

    let before: Vec<_> = overlays.iter().map(|overlay| build(overlay)).collect();
    overlays.iter().zip(&before).for_each(|(overlay, built)| verify(overlay, built));

    let mut fix = ran::gapless("fix", &["--version-labels", "."]);
    let ran = Ran::from(fix.current_dir(directory.path()).output().unwrap());
    assert_eq!(ran.code, 1, "the labels of web are shared: {}", ran.stderr);
    let after: Vec<_> = overlays.iter().map(|overlay| build(overlay)).collect();
    overlays.iter().zip(&after).for_each(|(overlay, built)| verify(overlay, built));
    assert_ne!(before, after, "something was fixed: {}", ran.stderr);

    // The patches are as they were.
    for part in ["overlays/recreate/web.yaml", "overlays/probes/probe.yaml", "overlays/hooks/worker.yaml"] {
        let text = fs::read_to_string(directory.path().join(part)).unwrap();
        assert_eq!(text, fixtures::text(&format!("kustomize/{part}")));
    }

    // And a base by itself gets everything that it can have.
    let alone = tempfile::tempdir().unwrap();
    copy(&fixtures::path("kustomize/base"), alone.path());
    let ran = Ran::from(ran::gapless("fix", &["."]).current_dir(alone.path()).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let built = build(alone.path());
    verify(alone.path(), &built);
    for part in ["readinessProbe", "preStop", "maxUnavailable: 0"] {
        assert_eq!(built.matches(part).count(), 2, "{part}: {built}");
    }
}

/// What the API server makes of the parts, so that nobody has to believe it.
#[test]
fn the_api_server_refuses_parts_and_mistakes() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let whole = deployment("whole");
    let is_refused = |pointer: &str, value: Value| {
        let mut object = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        let output =
            namespace.create(&object.to_string()).args(["--dry-run=server", "--validate=false"]).run();
        // Nothing that gapless added is in its way, and gapless has nothing to say.
        assert!(!output.stderr.contains("gapless"), "{pointer}: {output}");
        let checked = ran::with_stdin(ran::gapless("check", &["-f", "json", "-"]), &object.to_string());
        let report: Value = serde_json::from_str(&checked.stdout).unwrap();
        let is_part = report["skipped"][0]["reason"] == "partial";
        let is_mistake = report["summary"]["errors"] == 1;
        assert_eq!(
            (report["summary"]["judged"].as_u64(), is_part || is_mistake),
            (Some(0), true),
            "{pointer}: {report:#}"
        );
        assert_eq!(checked.code, if is_part { 0 } else { 2 });
        assert!(!output.status.success(), "{pointer}: {output}");
        (output.stderr, is_part)
    };
    let container = "/spec/template/spec/containers";
    let parts = [
        ("/spec/selector".to_owned(), json!({})),
        (container.to_owned(), json!([])),
        (container.to_owned(), json!([{"name": "web"}])),
        (container.to_owned(), json!([{"image": "web:1"}])),
    ];
    for (pointer, value) in parts {
        assert!(is_refused(&pointer, value).1, "{pointer}");
    }
    let mistakes = [
        ("/spec/replicas", json!(-1)),
        ("/spec/replicas", json!("two")),
        ("/spec/minReadySeconds", json!(-1)),
        ("/spec/revisionHistoryLimit", json!(-1)),
        ("/spec/progressDeadlineSeconds", json!(-1)),
        ("/spec/strategy", json!({"type": "Rolling"})),
        ("/spec/strategy", json!({"rollingUpdate": {"maxUnavailable": "abc"}})),
        ("/spec/strategy", json!({"rollingUpdate": {"maxUnavailable": "101%"}})),
        ("/spec/strategy", json!({"rollingUpdate": {"maxSurge": "$(SURGE)"}})),
        ("/spec/template/metadata/labels", json!({"app": "other"})),
        (container, json!([{"name": "web", "image": "web:1"}, {"name": "web", "image": "web:2"}])),
        (container, json!([{"name": "web", "image": "web:1", "ports": [{"containerPort": 70000}]}])),
        (
            container,
            json!([{"name": "web", "image": "web:1", "livenessProbe": {"tcpSocket": {"port": "$(PORT)"}}}]),
        ),
    ];
    for (pointer, value) in mistakes {
        assert!(!is_refused(pointer, value).1, "{pointer}");
    }
}

/// Equal keys, merge keys, nulls and numbers: what counts is what kubectl makes of them.
#[test]
fn files_mean_what_they_mean_to_kubectl() {
    let Some(installed) = installed() else { return };
    let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n";
    let rest = "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: 'web:1'}]}\n";
    let table = [
        format!("{head}spec:\n  replicas: 3\n{rest}  replicas: 1\n"),
        format!("{head}  labels: {{a: b}}\n  labels: {{c: d}}\nspec:\n  replicas: 2.0\n{rest}"),
        format!("{head}  labels:\n    a:\n    b: ~\nspec:\n{rest}"),
        format!("{head}spec:\n  <<: {{replicas: 2}}\n  <<: {{minReadySeconds: 3}}\n{rest}"),
        format!("{head}spec:\n  replicas: 5\n  <<: {{replicas: 2}}\n{rest}"),
        format!("{head}spec:\n  <<: {{replicas: 2}}\n  replicas: 5\n{rest}"),
        format!("{head}spec:\n  <<: [{{replicas: 2}}, {{replicas: 3, minReadySeconds: 4}}]\n{rest}"),
        format!("x: &x {{replicas: 1, replicas: 2}}\n{head}spec:\n  <<: *x\n{rest}"),
        format!("{head}spec:\n  strategy:\n  replicas: 1e0\n{rest}"),
    ];
    for text in table {
        let read = installed
            .cluster
            .namespace()
            .kubectl(["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"])
            .stdin(&text)
            .ok()
            .json();
        let ours = deployments("a.yaml", &text).remove(0);
        for pointer in ["/spec/replicas", "/spec/minReadySeconds", "/spec/template", "/spec/selector"] {
            assert_eq!(read.pointer(pointer), ours.pointer(pointer), "{pointer}\n{text}");
        }
        // Null among texts is the empty text once it is typed.
        let labels = ours.pointer("/metadata/labels").cloned().unwrap_or_default();
        for (key, value) in labels.as_object().into_iter().flatten() {
            let read = read["metadata"]["labels"][key].as_str().unwrap_or_default();
            assert_eq!(read, value.as_str().unwrap_or_default(), "{text}");
        }
    }
    // JSON with the markers of YAML, which kubectl reads since 1.33.
    let object = deployments("a.yaml", &format!("{head}spec:\n{rest}")).remove(0);
    let text = format!("{object}\n---\n{object:#}\n");
    let read = installed
        .cluster
        .namespace()
        .kubectl(["create", "--dry-run=client", "-o", "name", "-f", "-"])
        .stdin(&text)
        .run();
    if kubernetes_minor() < 33 {
        assert!(read.stderr.contains("invalid character '-'"), "{read}");
    } else {
        assert!(read.status.success(), "{read}");
        assert_eq!(read.stdout.lines().count(), deployments("a.json", &text).len());
    }
}
