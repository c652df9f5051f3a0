//! Argo Rollouts from its Go module: the CustomResourceDefinitions of some releases, and
//! controller and kubectl plugin of the newest, built unchanged.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde_json::Value;

use super::bench::{GoModule, Unavailable};
use super::client::Invocation;
use super::control_plane::Cluster;
use super::crds::Module;
use super::eventually;
use super::namespace::Namespace;
use super::process::{Tied, tied};

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
        self.module().text(&format!("manifests/crds/{name}-crd.yaml"))
    }

    fn module(&self) -> Module {
        let Release { version, sum, .. } = *self;
        Module { path: "github.com/argoproj/argo-rollouts", version, sum }
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

const CONTROLLER: GoModule = GoModule {
    directory: "tests/argo",
    program: "rollouts-controller",
    name: "the controller of Argo Rollouts",
    takes: "three minutes",
};

const PLUGIN: GoModule = GoModule {
    directory: "tests/argo",
    program: "kubectl-argo-rollouts",
    name: "the kubectl plugin of Argo Rollouts",
    takes: "half a minute",
};

/// The controller of the newest release at work on all Rollouts of a control plane. It
/// ends when it is dropped, at the latest with this process.
pub struct Argo {
    process: Tied,
    plugin: PathBuf,
}

impl Argo {
    /// Builds what has to be built, unless it is up to date.
    pub fn build() -> Result<[PathBuf; 2], Unavailable> {
        Ok([CONTROLLER.build()?, PLUGIN.build()?])
    }

    /// Starts the controller, with its CustomResourceDefinitions.
    pub fn start([controller, plugin]: [PathBuf; 2], cluster: &Cluster) -> Argo {
        let [.., newest] = RELEASES;
        newest.serve(cluster);
        let crds = newest.module().directory().join("manifests/crds");
        let apply = ["apply", "--server-side", "--force-conflicts", "--kustomize"];
        cluster.kubectl(apply).args([crds]).ok();

        let mut command = tied(cluster.bench(), &cluster.home(), None, &controller);
        command.arg("--kubeconfig").arg(cluster.kubeconfig("admin"));
        // It would serve these to everybody, not only on loopback. What it cannot listen on
        // it does without.
        command.args(["--metricsPort=-1", "--healthzPort=-1", "--leader-elect=false"]);
        let process = Tied::start(command, &cluster.file("rollouts-controller.log"));
        Argo { process: process.expect("the controller can be started"), plugin }
    }

    /// `kubectl argo rollouts` with these arguments, in this namespace.
    pub fn kubectl<'a, I>(&self, cluster: &'a Cluster, namespace: &Namespace, arguments: I) -> Invocation<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let invocation = Invocation::of_program(cluster, &self.plugin, "kubectl argo rollouts");
        invocation.args(["--namespace", &namespace.name]).args(arguments)
    }

    /// What the controller has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
