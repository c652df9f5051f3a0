//! The CustomResourceDefinitions of Argo Rollouts, from its Go module.

use serde_json::Value;

use super::control_plane::Cluster;
use super::crds::Module;
use super::eventually;

/// A release of Argo Rollouts, pinned by the hash of its module.
pub struct Release {
    pub version: &'static str,
    sum: &'static str,
    /// Whether server-side apply merges the containers of a template one by one; before
    /// that, whoever applies owns the list whole.
    pub merges_containers: bool,
}

pub const RELEASES: [Release; 2] = [
    Release {
        version: "v1.8.5",
        sum: "h1:x+WjkwgjV89sc/QJ0c0cBrz5HAcriWCoQn6ptOxoElU=",
        merges_containers: false,
    },
    Release {
        version: "v1.10.1",
        sum: "h1:6oyVPGiHHxu3ixkT6mngemh88HLPDoTX1IwO6KNR1Y4=",
        merges_containers: true,
    },
];

impl Release {
    /// The text of a CustomResourceDefinition of it, such as `rollout`.
    pub fn crd(&self, name: &str) -> String {
        let Release { version, sum, .. } = *self;
        let module = Module { path: "github.com/argoproj/argo-rollouts", version, sum };
        module.text(&format!("manifests/crds/{name}-crd.yaml"))
    }

    /// Makes the API server serve Rollouts as this release has them.
    pub fn serve(&self, cluster: &Cluster) {
        let crd = self.crd("rollout");
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        cluster.kubectl(apply).stdin(crd).ok();
        // The schema by which it merges follows a moment later.
        let manifest = |image: &str| {
            format!(
                "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: schema}}\nspec:\n  \
                 strategy: {{canary: {{}}}}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
                 metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: {image}}}]}}\n"
            )
        };
        eventually("the schema of Rollouts", || {
            let apply = ["apply", "--server-side", "--dry-run=server", "-o", "json", "--show-managed-fields"];
            let output =
                cluster.kubectl(apply).args(["-n", "default", "-f", "-"]).stdin(manifest("web:1")).run();
            let found = if output.status.success() { output.json() } else { Value::Null };
            let fields = &found["metadata"]["managedFields"][0]["fieldsV1"];
            let containers = &fields["f:spec"]["f:template"]["f:spec"]["f:containers"];
            let is_merged = containers.get("k:{\"name\":\"web\"}").is_some();
            match containers.is_object() && is_merged == self.merges_containers {
                true => Ok(()),
                false => Err(output.to_string()),
            }
        });
    }
}
