//! A whole Kubernetes node (`tests/lab`), for what only pods can show.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::bench::{Bench, Unavailable, target_directory};
use super::control_plane::Cluster;
use super::fixtures::repository_file;
use super::gapless::{lines_of, next_value};
use super::notice;
use super::process::{Tied, tied};

/// The exit code by which the scripts and the program in `tests/lab` say that this
/// machine lacks something, after they have said what.
const UNABLE: i32 = 3;

/// A node is ready within ten seconds; a machine that also compiles needs longer.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A running node. It is taken down when it is dropped, at the latest with this process.
pub struct Lab {
    /// Its control plane.
    pub cluster: Cluster,
    /// Where it keeps all its files.
    pub directory: PathBuf,
}

impl Lab {
    /// Builds what a node consists of, gapless and its image included, and brings one up.
    pub fn up(bench: Bench) -> Result<Lab, Unavailable> {
        let target = target_directory();
        build(&target)?;
        let program = target.join("lab/lab");
        let check = Command::new(&program).arg("check").arg("--target").arg(&target).output();
        let check = check.map_err(|error| failed("cannot run the lab", &error))?;
        if check.status.code() == Some(UNABLE) {
            let missing = String::from_utf8_lossy(&check.stdout).trim().replace('\n', "; ");
            return Err(Unavailable::Missing(format!("this machine cannot run the lab, it lacks {missing}")));
        }

        let directory = tempfile::Builder::new().prefix("gapless-node-").tempdir();
        let directory = directory.map_err(|error| failed("cannot make a directory", &error))?;
        let mut command = tied(&bench, directory.path(), None, &program);
        command.arg("up").arg("--target").arg(&target);
        // The node's sockets are in there, and their paths have to be short.
        command.env("TMPDIR", env::temp_dir());
        command.stdout(Stdio::piped());
        let mut node = Tied::start(command, &directory.path().join("lab.log"))
            .map_err(|error| failed("cannot start the lab", &error))?;
        let deadline = Instant::now() + START_LIMIT;
        let lines = lines_of(&mut node);
        let kubeconfig = next_value(&lines, "export", deadline)
            .and_then(|variable| Some(PathBuf::from(variable.strip_prefix("KUBECONFIG=")?)));
        let Some(kubeconfig) = kubeconfig else {
            return Err(Unavailable::Failed(node.report("did not say that the node is ready")));
        };
        let cluster = Cluster::of_node(bench, directory, node, &kubeconfig)
            .map_err(|error| failed("cannot use the control plane of the node", &error))?;
        Ok(Lab { cluster, directory: kubeconfig.parent().map(Path::to_owned).unwrap_or_default() })
    }

    /// Runs a program in the namespaces of the node.
    #[track_caller]
    pub fn enter<I>(&self, arguments: I) -> Output
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let output = Command::new(self.directory.join("bin/enter")).args(arguments).output();
        output.expect("programs can be run in the node")
    }

    /// The process on the machine that has brought it up.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        let pid = fs::read_to_string(self.directory.join("pid")).expect("the lab says its process id");
        pid.trim().parse().expect("a process id")
    }

    /// The process id, in the namespaces of the node, of the container's first process.
    /// `id` as the API has it: `containerd://…`.
    #[track_caller]
    pub fn process_of_container(&self, id: &str) -> String {
        let id = id.trim_start_matches("containerd://");
        let pid_file = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/init.pid");
        let output = self.enter(["cat", &pid_file]);
        assert!(output.status.success(), "no container {id}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Errors of the build itself are on standard error.
fn build(target: &Path) -> Result<(), Unavailable> {
    let script = repository_file("tests/lab/build");
    notice("building the lab, if it is not up to date");
    let status =
        Command::new(&script).arg(target).status().map_err(|error| failed("cannot build the lab", &error))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(UNABLE) => Err(Unavailable::Missing("the lab cannot be built here, see above".to_owned())),
        _ => Err(Unavailable::Failed(format!("{} ended with {status}", script.display()))),
    }
}

fn failed(what: &str, error: &std::io::Error) -> Unavailable {
    Unavailable::Failed(format!("{what}: {error}"))
}

/// Whether any process of this machine is in the namespace, which is given as a link
/// below `/proc/PID/ns` shows it: `net:[4026531840]`.
pub fn is_populated(namespace: &Path) -> bool {
    let kind = namespace.to_str().and_then(|link| link.split(':').next()).expect("a namespace has a kind");
    let processes = fs::read_dir("/proc").expect("there is /proc");
    processes
        .filter_map(|process| fs::read_link(process.ok()?.path().join("ns").join(kind)).ok())
        .any(|found| found == namespace)
}
