//! `gapless audit`, run as users run it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use super::process;
use super::ran::Ran;

/// No audit of a test takes that long, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// With this home directory, and nothing in the environment but that.
#[track_caller]
pub fn audit(home: &Path, environment: &[(&str, String)], arguments: &[&str]) -> Ran {
    let mut command: Command = process::isolated(Path::new(env!("CARGO_BIN_EXE_gapless")), home);
    command.arg("audit").args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = outcome.recv_timeout(LIMIT) else {
        process::signal("KILL", pid);
        panic!("gapless audit {arguments:?} still runs after {LIMIT:?}");
    };
    output.unwrap().into()
}

/// As this user of the cluster.
#[track_caller]
pub fn audit_as(cluster: &Cluster, user: &str, arguments: &[&str]) -> Ran {
    let kubeconfig = cluster.kubeconfig(user).display().to_string();
    audit(&cluster.home(), &[("KUBECONFIG", kubeconfig)], arguments)
}

/// Namespace and name of each in a list.
pub fn names(list: &Value) -> Vec<String> {
    let name = |it: &Value| format!("{}/{}", it["namespace"].as_str().unwrap(), it["name"].as_str().unwrap());
    list.as_array().unwrap().iter().map(name).collect()
}
