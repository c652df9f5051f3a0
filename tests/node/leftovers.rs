//! The node itself, which leaves nothing behind.

use std::fs;
use std::path::PathBuf;

use crate::support::lab::is_populated;
use crate::support::process::signal;
use crate::support::{self, Lab, eventually};

#[test]
fn a_node_leaves_nothing_behind() {
    let _alone = support::alone();
    for _ in 0..3 {
        let Some(lab) = support::lab() else { return };
        let name = name_with_traces(&lab);
        let namespaces = namespaces(&lab);
        drop(lab);
        assert_eq!(left_behind(&name, &namespaces), [""; 0]);
    }
    // By SIGKILL, so that nothing can be tidied up by whoever has made it.
    let Some(lab) = support::lab() else { return };
    let name = name_with_traces(&lab);
    let namespaces = namespaces(&lab);
    signal("KILL", lab.pid());
    eventually("an empty machine", || {
        let left = left_behind(&name, &namespaces);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

/// By this name a node's traces are found. It has a pod, hence mounts and cgroups
/// of all kinds.
fn name_with_traces(lab: &Lab) -> String {
    lab.cluster.kubectl(["create", "deployment", "web", "--image=kuberada-chatbot:v1.0"]).ok();
    lab.cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=60s"]).ok();
    let name = lab.directory.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(left_behind(&name, &namespaces(lab)).len() > 2, "traces of a running node are found");
    name
}

/// The namespaces of a node, as links below `/proc/PID/ns` show them.
fn namespaces(lab: &Lab) -> Vec<PathBuf> {
    let links = lab.enter(["sh", "-c", "cd /proc/self/ns && readlink net mnt pid ipc uts"]);
    assert!(links.status.success(), "{links:?}");
    String::from_utf8(links.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// Processes, mounts, interfaces, cgroups and files of a node on this machine.
fn left_behind(name: &str, namespaces: &[PathBuf]) -> Vec<String> {
    let lines_with = |path: &str, word: &str| {
        let text = fs::read_to_string(path).expect("a file of /proc");
        text.lines().filter(|line| line.contains(word)).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let mut left = lines_with("/proc/self/mountinfo", name);
    left.extend(lines_with("/proc/net/dev", "lab"));
    left.extend(
        namespaces
            .iter()
            .filter(|namespace| is_populated(namespace))
            .map(|namespace| format!("processes in {}", namespace.display())),
    );
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
    let directories = hierarchies.filter_map(|entry| Some(entry.ok()?.path()));
    left.extend(
        directories
            .chain([std::env::temp_dir(), PathBuf::from("/sys/fs/cgroup")])
            .map(|directory| directory.join(name))
            .filter(|path| path.exists())
            .map(|path| path.display().to_string()),
    );
    left
}
