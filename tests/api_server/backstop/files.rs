//! `--format static`: a real API server that reads the policies from a directory when it
//! starts, or does not start.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{bad, denied, dry_run};
use crate::support::bench::Bench;
use crate::support::client::Output;
use crate::support::ran::{self, Ran};
use crate::support::{self, Cluster, eventually};

/// The argument with which an API server reads this directory.
fn argument(home: &Path, directory: &Path) -> Vec<String> {
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "ValidatingAdmissionPolicy", "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyConfiguration",
            "staticManifestsDir": directory,
        }}],
    });
    let file = home.join("admission.json");
    fs::write(&file, configuration.to_string()).unwrap();
    vec![format!("--admission-control-config-file={}", file.display())]
}

fn check(directory: &Path) -> Ran {
    let directory = directory.display().to_string();
    ran::gapless("export", &["--format", "static", "--check", &directory]).output().unwrap().into()
}

#[test]
fn an_api_server_starts_with_what_is_exported_and_with_nothing_that_check_finds() {
    // The oldest release knows nothing of this.
    let Ok(bench) = Bench::build_newest() else { return drop(support::own_newest_cluster()) };
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("admission");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("gapless.yaml");
    let exported: Ran = ran::gapless("export", &["--format", "static"]).output().unwrap().into();
    fs::write(&file, &exported.stdout).unwrap();
    // What has another name is not read.
    fs::write(directory.join("README.md"), "Not for the API server.\n").unwrap();
    let arguments = argument(home.path(), &directory);

    let fine = check(&directory);
    assert_eq!((fine.code, fine.stdout.as_str()), (0, ""), "{fine:?}");
    let cluster = Cluster::boot(bench.clone(), &arguments).unwrap();
    let namespace = cluster.namespace();
    let output = eventually("the policies", || {
        let output = dry_run(&namespace, "create", &bad("web")).run();
        if denied(&output).is_empty() { Err(output.to_string()) } else { Ok::<Output, String>(output) }
    });
    assert!(output.stderr.contains("'production.gapless.static.k8s.io'"), "{output}");
    let listed = cluster.kubectl(["get", "validatingadmissionpolicies", "-o", "name"]).ok();
    assert_eq!(listed.stdout, "", "nobody can delete it");
    drop(cluster);

    for (from, to, expected) in [
        ("failurePolicy: Ignore", "failurePolicies: Ignore", "failurePolicies"),
        (".gapless.static.k8s.io\nspec:\n  failure", ".gapless.dev\nspec:\n  failure", ".static.k8s.io"),
        ("---\n", "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n", "ConfigMap"),
        ("apiVersion", "# by hand\n---\napiVersion", "only comments"),
    ] {
        fs::write(&file, exported.stdout.replacen(from, to, 1)).unwrap();
        let wrong = check(&directory);
        assert_eq!(wrong.code, 1, "{from}: {wrong:?}");
        assert!(wrong.stdout.contains(&format!("{}: ", file.display())), "{wrong:?}");
        assert!(wrong.stdout.contains(expected), "{wrong:?}");
        let why = Cluster::boot(bench.clone(), &arguments).err().unwrap_or_else(|| panic!("it starts: {to}"));
        assert!(why.contains(&file.display().to_string()), "{why}");
    }
}
