//! Flagger's controller, built from its Go module.

use std::path::{Path, PathBuf};

use super::bench::{GoModule, Unavailable};
use super::control_plane::Cluster;
use super::crds::{Module, serve};
use super::process::{Tied, tied};

/// The release, from which its CustomResourceDefinitions are.
const MODULE: Module = Module {
    path: "github.com/fluxcd/flagger",
    version: "v1.36.1",
    sum: "h1:X2PumtNwZz9YSGaOtZLFm2zAKLgHhFkbNv8beg7ifyc=",
};

const CONTROLLER: GoModule = GoModule {
    directory: "tests/flagger",
    program: "flagger-controller",
    name: "the controller of Flagger",
    takes: "a minute and a half",
};

/// The controller at work on all Canaries of a control plane. It ends when it is dropped,
/// at the latest with this process.
pub struct Flagger {
    process: Tied,
}

impl Flagger {
    /// Builds it, unless it is up to date.
    pub fn build() -> Result<PathBuf, Unavailable> {
        CONTROLLER.build()
    }

    /// Makes the API server serve Canaries.
    pub fn serve(cluster: &Cluster) {
        serve(cluster, &MODULE.text("charts/flagger/crds/crd.yaml"));
    }

    /// Starts the controller, with its CustomResourceDefinitions.
    pub fn start(controller: &Path, cluster: &Cluster) -> Flagger {
        Flagger::serve(cluster);
        let mut command = tied(cluster.bench(), &cluster.home(), None, controller);
        command.arg("--kubeconfig").arg(cluster.kubeconfig("admin"));
        let process = Tied::start(command, &cluster.file("flagger.log"));
        Flagger { process: process.expect("the controller can be started") }
    }

    /// What the controller has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
