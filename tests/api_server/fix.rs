//! What `gapless fix` has written, on a real API server, with every kind of apply.

use gapless::defaults::DEFAULTS;
use serde_json::Value;

use super::installed::installed;
use crate::support::fixtures::{deployments, text};

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
