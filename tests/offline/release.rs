//! What `.ci/release` makes of the repository, and what others read of it: the hooks for
//! pre-commit and the plugin manifest for krew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::fixtures::repository_file;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SOURCE: &str = "https://git.example/team/gapless";

/// A copy of what the steps read, so that a test can change it.
struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    fn new() -> Copy {
        let directory = tempfile::tempdir().unwrap();
        let files = [".ci/release", ".krew.yaml", "Cargo.toml", "CHANGELOG.md", "LICENSE", "README.md"];
        for file in files.into_iter().chain(["charts/gapless/Chart.yaml"]) {
            let to = directory.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(repository_file(file), to).unwrap();
        }
        let copy = Copy { directory };
        // As on the day of the release.
        copy.edit("CHANGELOG.md", "(not released yet)", "(2026-12-01)");
        copy
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        fs::write(self.path(file), text.replace(from, to)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut release = Command::new(self.path(".ci/release"));
        release.args(arguments).env("GAPLESS_SOURCE", SOURCE).output().expect("bash")
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_tag_is_released_if_all_files_speak_of_its_version() {
    let tag = format!("v{VERSION}");
    Copy::new().ok(&["version", &tag]);

    assert!(Copy::new().refused(&["version", "v99.0.0"]).contains("the tag is v99.0.0"));
    let differs = |file: &str, from: &str, to: &str| {
        let copy = Copy::new();
        copy.edit(file, from, to);
        copy.refused(&["version", &tag])
    };
    let app_version = format!("appVersion: {VERSION}");
    let message = differs("charts/gapless/Chart.yaml", &app_version, "appVersion: 99.0.0");
    assert!(message.contains("Chart.yaml does not have appVersion"), "{message}");
    let message = differs("CHANGELOG.md", "(2026-12-01)", "(not released yet)");
    assert!(message.contains(&format!("CHANGELOG.md needs the heading \"## {VERSION} (2")), "{message}");
}

#[test]
fn the_notes_are_the_section_of_the_version() {
    let copy = Copy::new();
    copy.edit("CHANGELOG.md", "## 0.1.0", "## 9.9.9 (2027-01-01)\n\n- Of another one.\n\n## 0.1.0");
    let notes = copy.ok(&["notes"]);
    assert!(notes.starts_with("### Added\n") && notes.contains("- `gapless audit`"), "{notes}");
    assert!(!notes.contains("Of another one") && !notes.contains("## 0.1.0"), "{notes}");
}

#[test]
fn archives_are_reproducible_and_the_manifest_for_krew_names_them() {
    let copy = Copy::new();
    let program = |arch: &str| {
        let program = copy.path(arch);
        fs::write(&program, format!("#!/bin/sh\necho it runs on {arch}\n")).unwrap();
        program.to_str().unwrap().to_owned()
    };
    for (arch, directory) in [("amd64", "dist"), ("arm64", "dist"), ("amd64", "again")] {
        copy.ok(&["binary", arch, &program(arch), copy.path(directory).to_str().unwrap()]);
    }
    let archive = format!("gapless-{VERSION}-linux-amd64.tar.gz");
    let bytes = fs::read(copy.path("dist").join(&archive)).unwrap();
    assert_eq!(bytes, fs::read(copy.path("again").join(&archive)).unwrap());
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(copy.path("dist").join(&archive)).arg("-C").arg(copy.path("again"));
    assert!(unpack.status().unwrap().success());
    let listed = Command::new("tar").arg("-tvzf").arg(copy.path("dist").join(&archive)).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let is_of_nobody_and_no_time = |line: &str| line.contains(" 0/0 ") && line.contains("1970-01-01");
    assert!(listed.lines().count() > 3 && listed.lines().all(is_of_nobody_and_no_time), "{listed}");
    let said = Command::new(copy.path("again/gapless")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "it runs on amd64\n");
    assert!(copy.path("again/LICENSE").is_file());

    let dist = copy.path("dist");
    let dist = dist.to_str().unwrap();
    copy.ok(&["checksums", dist]);
    let sums = fs::read_to_string(copy.path("dist/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 2, "{sums}");
    copy.ok(&["krew", dist]);
    let manifest = yaml(&copy.path("dist/gapless.yaml"));
    assert_eq!(manifest["spec"]["version"], json!(format!("v{VERSION}")));
    for (platform, arch) in [(0, "amd64"), (1, "arm64")] {
        let platform = &manifest["spec"]["platforms"][platform];
        let name = format!("gapless-{VERSION}-linux-{arch}.tar.gz");
        assert_eq!(platform["uri"], json!(format!("{SOURCE}/releases/download/v{VERSION}/{name}")));
        let sum = format!("{}  {name}", platform["sha256"].as_str().unwrap());
        assert!(sums.lines().any(|line| line == sum), "{sum}\n{sums}");
    }
    let text = fs::read_to_string(copy.path("dist/gapless.yaml")).unwrap();
    assert!(!text.contains('@'), "{text}");

    fs::remove_file(copy.path("dist").join(format!("gapless-{VERSION}-linux-arm64.tar.gz"))).unwrap();
    fs::remove_file(copy.path("dist/gapless.yaml")).unwrap();
    copy.ok(&["checksums", dist]);
    assert!(copy.refused(&["krew", dist]).contains("has no gapless-"));
}

#[test]
fn the_workflow_runs_what_is_there() {
    let workflow = fs::read_to_string(repository_file(".github/workflows/release.yml")).unwrap();
    let release = fs::read_to_string(repository_file(".ci/release")).unwrap();
    let steps: Vec<&str> =
        workflow.split(".ci/release ").skip(1).map(|rest| rest.split([' ', '\n']).next().unwrap()).collect();
    assert!(steps.len() >= 6, "{steps:?}");
    for step in steps {
        assert!(release.contains(&format!("\n  {step})\n")), "there is no step {step}");
    }
}

#[test]
fn hooks_for_pre_commit_are_commands_that_there_are() {
    let hooks = yaml(&repository_file(".pre-commit-hooks.yaml"));
    let manifest = repository_file("tests/fixtures/scenarios/rolling.yaml");
    let ids: Vec<_> = hooks.as_array().unwrap().iter().map(|hook| hook["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["gapless-check", "gapless-fix"]);
    for hook in hooks.as_array().unwrap() {
        let mut words = hook["entry"].as_str().unwrap().split(' ');
        assert_eq!(words.next(), Some("gapless"));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rolling.yaml");
        fs::copy(&manifest, &file).unwrap();
        let status =
            Command::new(env!("CARGO_BIN_EXE_gapless")).args(words).arg(&file).output().unwrap().status;
        assert!(status.success(), "{hook}");
        assert_eq!(hook["require_serial"], json!(true));
    }
}
