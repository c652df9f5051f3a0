//! CustomResourceDefinitions of others, from their Go modules.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::control_plane::Cluster;
use super::eventually;

/// A Go module, pinned by its hash.
pub struct Module {
    pub path: &'static str,
    pub version: &'static str,
    pub sum: &'static str,
}

impl Module {
    /// The text of one of its files.
    #[track_caller]
    pub fn text(&self, file: &str) -> String {
        let path = self.directory().join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Where it is, downloaded if it has to be.
    #[track_caller]
    pub fn directory(&self) -> PathBuf {
        let module = format!("{}@{}", self.path, self.version);
        // Outside any module, so that none is changed.
        let outside = tempfile::tempdir().expect("a directory");
        let output = Command::new("go")
            .args(["mod", "download", "-json", &module])
            .env_remove("GOFLAGS")
            .current_dir(outside.path())
            .output()
            .expect("Go is installed, it built the bench");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let downloaded: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(downloaded["Sum"], self.sum, "{module}");
        PathBuf::from(downloaded["Dir"].as_str().expect("a directory"))
    }
}

/// The definitions of these names among the documents of a file.
pub fn named(text: &str, names: &[&str]) -> String {
    let is_wanted = |document: &&str| {
        let line = |name: &&&str| document.lines().any(|line| line == format!("  name: {name}"));
        names.iter().any(|name| line(&name))
    };
    let wanted: Vec<&str> = text.split("\n---\n").filter(is_wanted).collect();
    assert_eq!(wanted.len(), names.len(), "{names:?}");
    wanted.join("\n---\n")
}

/// Makes the API server serve these definitions.
#[track_caller]
pub fn serve(cluster: &Cluster, definitions: &str) {
    cluster.kubectl(["apply", "--server-side", "-f", "-"]).stdin(definitions).ok();
    // kubectl gives up at a definition whose status is still empty.
    eventually("the definitions", || {
        let wait = ["wait", "--for=condition=Established", "--timeout=20s", "-f", "-"];
        let output = cluster.kubectl(wait).stdin(definitions).run();
        if output.status.success() { Ok(()) } else { Err(output.to_string()) }
    });
}
