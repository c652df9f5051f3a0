//! `gapless fix`, run as users run it.
//!
//! What the files in `fixtures/fix` become is in `fixtures/fix/fixed`. To write
//! it anew, set UPDATE_EXPECTED=1, and read what changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gapless::admission::assess;
use gapless::fix::parts::Parts;
use gapless::fix::{Fixed, Terms, fix};
use gapless::kubernetes::kind::Kind;
use gapless::offline::documents::Parsed;
use gapless::offline::surroundings::Neighbours;
use gapless::policy::{Policy, Profile};
use gapless::surroundings::NONE;
use gapless::yaml::node::Node;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support;
use crate::support::fixtures::{self, deployments, documents_of, source};
use crate::support::ran::{self, Ran};
use crate::support::simulated::deployments::deployment;
use crate::support::simulated::{ApiServer, TODAY};

/// Each with how many of its Deployments cannot be fixed.
const FIXTURES: [(&str, usize); 17] = [
    ("anchors.yaml", 0),
    ("comments.yaml", 0),
    ("compact.json", 0),
    ("directives.yaml", 0),
    ("empty.yaml", 0),
    ("exported.yaml", 0),
    ("flow.yaml", 0),
    ("four-spaces.yaml", 0),
    ("helm.yaml", 0),
    ("list-indents.yaml", 0),
    ("list.yaml", 0),
    ("plain.yaml", 0),
    ("pretty.json", 0),
    ("recorded.yaml", 0),
    ("shared.yaml", 4),
    ("strings.yaml", 0),
    ("untouched.yaml", 0),
];

/// Those in which a value is replaced, such as an explicit null.
const REPLACING: [&str; 4] = ["compact.json", "empty.yaml", "exported.yaml", "recorded.yaml"];

fn fixtures() -> PathBuf {
    fixtures::path("fix")
}

fn fixture(name: &str) -> String {
    fs::read_to_string(fixtures().join(name)).unwrap()
}

fn fixed_fixture(name: &str) -> String {
    fixture(&format!("fixed/{name}"))
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = ran::gapless("fix", arguments);
    command.current_dir(directory);
    command
}

/// With everything that can be written, version labels too.
fn run(directory: &Path, arguments: &[&str]) -> Ran {
    command(directory, arguments).arg("--version-labels").output().unwrap().into()
}

fn run_stdin(arguments: &[&str], stdin: &str) -> Ran {
    let mut command = command(&fixtures(), arguments);
    command.arg("--version-labels");
    ran::with_stdin(command, stdin)
}

/// Without what has to be asked for.
fn run_plainly(arguments: &[&str], stdin: &str) -> Ran {
    ran::with_stdin(command(&fixtures(), arguments), stdin)
}

/// A directory with these files in it.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn read(directory: &TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).unwrap()
}

/// Fixes one file, which becomes `expected`, and for good.
#[track_caller]
fn assert_fixes(name: &str, text: &str, expected: &str, left: usize) {
    let directory = directory(&[(name, text)]);
    let code = i32::from(left > 0);
    let ran = run(directory.path(), &[name]);
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{}", ran.stderr);
    let fixed = read(&directory, name);
    assert!(fixed == expected, "{name} became:\n{fixed}\nIt should be:\n{expected}");

    let again = run(directory.path(), &["--check", "--diff", name]);
    assert_eq!((again.code, again.stdout.as_str()), (code, ""), "{}", again.stderr);
    assert!(again.stderr.contains("0 files would change, 1 unchanged"), "{}", again.stderr);
}

fn values(name: &str, text: &str) -> Vec<Value> {
    documents_of(&source(name, text)).iter().map(Node::to_value).collect()
}

/// What the webhook makes of a Deployment, without the record.
fn injected(object: &Value) -> Value {
    let mut injected = assess(Kind::of_document(object), object, &NONE, &Profile::production(), TODAY)
        .unwrap()
        .injection
        .object;
    match object["metadata"].get("annotations") {
        Some(annotations) => injected["metadata"]["annotations"] = annotations.clone(),
        None => drop(injected["metadata"].as_object_mut().unwrap().remove("annotations")),
    }
    injected
}

/// What the webhook would add to a Deployment.
fn announced(object: &Value) -> Vec<String> {
    let injection =
        assess(Kind::of_document(object), object, &NONE, &Profile::production(), TODAY).unwrap().injection;
    injection.announcements.into_iter().map(|(_, text)| text).collect()
}

/// Whether `part` is what is left of `whole` without some characters.
fn is_within(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|wanted| rest.any(|character| character == wanted))
}

#[test]
fn files_become_what_they_should() {
    for (name, left) in FIXTURES {
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            let directory = directory(&[(name, &fixture(name))]);
            run(directory.path(), &[name]);
            fs::write(fixtures().join("fixed").join(name), read(&directory, name)).unwrap();
        }
        assert_fixes(name, &fixture(name), &fixed_fixture(name), left);
    }
    let files = fs::read_dir(fixtures()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), FIXTURES.len(), "every fixture is in the list");
}

/// What the expected files mean, so that nobody has to read them for it.
#[test]
fn exactly_what_the_webhook_injects_is_added() {
    for (name, left) in FIXTURES {
        let (before, after) = (fixture(name), fixed_fixture(name));
        let (old, new) = (deployments(name, &before), deployments(name, &after));
        assert_eq!(old.len(), new.len());
        let mut unfixed = 0;
        for (old, new) in old.iter().zip(&new) {
            if left > 0 && *new != injected(old) {
                // The rest of it is added all the same.
                assert!(announced(new).iter().all(|it| announced(old).contains(it)), "{name}");
                unfixed += 1;
                continue;
            }
            assert_eq!(*new, injected(old), "{name}");
            assert_eq!(announced(new), Vec::<String>::new(), "{name}");
        }
        assert_eq!(unfixed, left, "{name}");
        let others = |text: &str| {
            let mut documents = values(name, text);
            documents.retain(|it| it["kind"] != "Deployment" && it["kind"] != "List");
            documents
        };
        assert_eq!(others(&before), others(&after));
        assert_eq!(values(name, &before).len(), values(name, &after).len());
        if !REPLACING.contains(&name) {
            assert!(is_within(&before, &after), "{name} lost something");
        }
    }
}

/// The files again, as other systems and editors write them.
#[test]
fn line_ends_and_byte_order_marks_stay() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    let marked = |text: &str| format!("\u{feff}{text}");
    for (name, left) in FIXTURES {
        let (before, after) = (fixture(name), fixed_fixture(name));
        assert_fixes(name, &windows(&before), &windows(&after), left);
        assert_fixes(name, &marked(&before), &marked(&after), left);
        // A block scalar that is not ended is another matter, see below.
        if name != "strings.yaml" {
            let unended = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_owned();
            assert_fixes(name, &unended(&before), &unended(&after), left);
        }
    }
}

#[test]
fn a_block_scalar_that_is_not_ended_is_left_alone() {
    let text = fixture("plain.yaml") + "        args:\n        - |\n          no end";
    let directory = directory(&[("a.yaml", &text)]);
    let ran = run(directory.path(), &["a.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("the file ends in a block scalar, without a line break; add one"),
        "{}",
        ran.stderr
    );
    let written = read(&directory, "a.yaml");
    assert!(written.contains("maxUnavailable: 0") && written.ends_with("- |\n          no end"), "{written}");

    let stripped = text.replace('|', "|-");
    let fixed = fixed(&Profile::production(), "a.yaml", &stripped).text;
    assert!(fixed.contains("- |-\n          no end\n        lifecycle:\n"), "{fixed}");
}

/// With everything that can be written.
fn fixed(profile: &Profile, name: &str, text: &str) -> Fixed {
    let parts = Parts::default();
    let neighbours = Neighbours::default();
    let terms = Terms { profile, today: TODAY, version_labels: true, parts: &parts, neighbours: &neighbours };
    fix(&Parsed::of(&source(name, text)), &terms)
}

#[test]
fn standard_input_goes_to_standard_output() {
    let ran = run_stdin(&["-"], &fixture("helm.yaml"));
    assert_eq!((ran.code, ran.stdout), (0, fixed_fixture("helm.yaml")));
    assert!(ran.stderr.contains("<stdin>:27:3: fixed Deployment release-shop"), "{}", ran.stderr);

    let unchanged = run_stdin(&["-"], &fixed_fixture("helm.yaml"));
    assert_eq!((unchanged.code, unchanged.stdout), (0, fixed_fixture("helm.yaml")));
    let marked = format!("\u{feff}{}", fixture("plain.yaml"));
    assert_eq!(run_stdin(&["-"], &marked).stdout, format!("\u{feff}{}", fixed_fixture("plain.yaml")));

    let checked = run_stdin(&["--check", "-"], &fixture("helm.yaml"));
    assert_eq!((checked.code, checked.stdout.as_str()), (1, ""));
    let diff = run_stdin(&["--diff", "-"], &fixture("helm.yaml"));
    assert_eq!(diff.code, 0);
    assert!(diff.stdout.starts_with("--- <stdin>\n+++ <stdin>\n@@ "), "{}", diff.stdout);

    // What can be fixed goes on.
    let shared = run_stdin(&["-"], &fixture("shared.yaml"));
    assert_eq!((shared.code, shared.stdout), (1, fixed_fixture("shared.yaml")));
    let broken = run_stdin(&["-"], "a: [\n");
    assert_eq!((broken.code, broken.stdout.as_str()), (2, "a: [\n"));
    let empty = run_stdin(&["-"], "\n");
    assert_eq!((empty.code, empty.stdout.as_str()), (2, ""));
    assert!(empty.stderr.contains("there is nothing on standard input"), "{}", empty.stderr);
}

#[test]
fn check_and_diff_write_nothing() {
    let plain = fixture("plain.yaml");
    for (arguments, code) in [(vec!["--check"], 1), (vec!["--diff"], 0), (vec!["--check", "--diff"], 1)] {
        let directory = directory(&[("a.yaml", &plain), ("b.yaml", &fixed_fixture("plain.yaml"))]);
        let ran = run(directory.path(), &[&arguments[..], &["a.yaml", "b.yaml"]].concat());
        assert_eq!(ran.code, code, "{arguments:?}");
        assert_eq!(read(&directory, "a.yaml"), plain);
        assert_eq!(
            ran.stderr,
            "\
a.yaml:4:3: would fix Deployment web
  added readiness probe tcpSocket 8080 to container web (readiness-probe)
  added preStop sleep 10s to container web, grace period 30s -> 40s (pre-stop-sleep)
  maxUnavailable 25% -> 0 (rolling-update)
  label app.kubernetes.io/version=v1.4.2, label version=v1.4.2 (version-label)
1 file would change, 1 unchanged
"
        );
        match arguments.contains(&"--diff") {
            true => assert_eq!(ran.stdout, fixture("expected/plain.diff")),
            false => assert_eq!(ran.stdout, ""),
        }
    }
}

/// A diff is of use only if `patch` takes it.
#[test]
fn a_diff_can_be_applied() {
    if Command::new("patch").arg("--version").output().is_err() {
        support::notice("skipped a_diff_can_be_applied: patch is not installed");
        return;
    }
    for (name, left) in FIXTURES {
        let directory = directory(&[(name, &fixture(name))]);
        let ran = run(directory.path(), &["--diff", name]);
        assert_eq!(ran.code, i32::from(left > 0));
        fs::write(directory.path().join("diff"), &ran.stdout).unwrap();
        if !ran.stdout.is_empty() {
            let patch =
                Command::new("patch").args(["-p0", "-i", "diff"]).current_dir(directory.path()).output();
            let patch = Ran::from(patch.unwrap());
            // Not at lines which it had to look for.
            assert_eq!((patch.code, patch.stdout), (0, format!("patching file {name}\n")));
        }
        assert_eq!(read(&directory, name), fixed_fixture(name));
    }
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let plain = fixture("plain.yaml");
    let template = "metadata:\n  name: {{ .Values.name }}-web\n";
    let half = format!("{plain}---\na: [\n");
    let wrong = plain.replace("replicas: 3", "replicas: \"three\"");
    let files = [
        ("a.yaml", plain.as_str()),
        ("half.yaml", &half),
        ("template.yaml", template),
        ("wrong.yaml", &wrong),
    ];
    let directory = directory(&files);
    fs::write(directory.path().join("utf16.yaml"), [0xff, 0xfe, 0x61, 0]).unwrap();
    let arguments = ["missing.yaml", "half.yaml", "template.yaml", "wrong.yaml", "utf16.yaml", "a.yaml"];
    let ran = run(directory.path(), &arguments);
    assert_eq!(ran.code, 2);
    for part in [
        "missing.yaml",
        "No such file",
        "half.yaml:23:4",
        "render it first: helm template CHART | gapless fix -",
        "wrong.yaml:8:3",
        "spec.replicas: found \"three\", expected a whole number",
        "the file is UTF-16",
        "2 files changed, 0 unchanged, 5 with errors",
    ] {
        assert!(ran.stderr.contains(part), "{part:?} is missing in:\n{}", ran.stderr);
    }
    assert_eq!(read(&directory, "a.yaml"), fixed_fixture("plain.yaml"));
    assert_eq!(read(&directory, "half.yaml"), fixed_fixture("plain.yaml") + "---\na: [\n");
    for (name, text) in &files[2..] {
        assert_eq!(read(&directory, name), *text);
    }
}

#[test]
fn what_other_places_use_too_is_left_alone() {
    let directory = directory(&[("shared.yaml", &fixture("shared.yaml"))]);
    let ran = run(directory.path(), &["shared.yaml"]);
    assert_eq!(ran.code, 1);
    for part in [
        "cannot fix Deployment alias: metadata.labels has an anchor that aliases refer to, so a change here would change other places too (version-label)",
        "shared.yaml:10:9",
        "cannot fix Deployment alias: spec.template.spec.containers[app] has an anchor that aliases refer to, so a change here would change other places too (readiness-probe)",
        "fixed Deployment alias\n  maxUnavailable 25% -> 0 (rolling-update)",
        "cannot fix Deployment container: spec.template.spec.containers[app] is an alias",
        "fixed Deployment container\n  maxUnavailable 25% -> 0 (rolling-update)\n  label app.kubernetes.io/version=1.0",
        "cannot fix Deployment strategy: spec.strategy comes from a merge key",
        "cannot fix Deployment null: metadata.labels has an anchor that aliases refer to",
        "1 file changed, 0 unchanged; 4 workloads could not be fixed in all points",
    ] {
        assert!(ran.stderr.contains(part), "{part:?} is missing in:\n{}", ran.stderr);
    }
}

/// A copy of the tag goes stale, so that it has to be asked for.
#[test]
fn version_labels_are_written_only_when_asked() {
    let plain = fixture("plain.yaml");
    let ran = run_plainly(&["-"], &plain);
    assert_eq!(ran.code, 0);
    let label = |line: &&str| {
        line.trim_start().starts_with("app.kubernetes.io/version:")
            || line.trim_start().starts_with("version:")
    };
    let labelled = fixed_fixture("plain.yaml");
    assert_eq!(labelled.lines().filter(label).count(), 4);
    let without: Vec<_> = labelled.lines().filter(|line| !label(line)).collect();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), without);
    assert!(!ran.stderr.contains("version-label"), "{}", ran.stderr);

    let again = run_plainly(&["--check", "-"], &ran.stdout);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let labels = run_plainly(&["--check", "--version-labels", "-"], &ran.stdout);
    assert_eq!(labels.code, 1, "{}", labels.stderr);
}

const PART: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 80}]
";

/// Merged into a base, what was added to a patch may stand beside something else.
#[test]
fn parts_of_objects_are_left_alone() {
    let selector = "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n";
    let whole = PART.replace("  template:\n", selector);
    let delete = whole.replace("        image: web:1\n", "        $patch: delete\n");
    for part in [PART, &delete, &whole.replace("        image: web:1\n", "")] {
        let ran = run_plainly(&["-"], part);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, part));
        assert_eq!(ran.stderr, "0 files changed, 1 unchanged; 1 part of an object left alone\n");
        let both = format!("{part}---\n{whole}");
        let ran = run_plainly(&["-"], &both);
        assert!(ran.stdout.starts_with(&format!("{part}---\n")), "{}", ran.stdout);
        assert!(ran.stdout.contains("preStop"), "{}", ran.stdout);
    }

    // What is whole is a patch all the same if a kustomization says so.
    let base = directory(&[
        ("web.yaml", &whole),
        ("kustomization.yaml", "resources: [../base]\npatches: [{path: web.yaml}]\n"),
    ]);
    for argument in [".", "web.yaml"] {
        let ran = run(base.path(), &[argument]);
        assert_eq!((ran.code, read(&base, "web.yaml")), (0, whole.clone()), "{}", ran.stderr);
        assert!(ran.stderr.contains("1 part of an object left alone"), "{}", ran.stderr);
    }
    fs::remove_file(base.path().join("kustomization.yaml")).unwrap();
    run(base.path(), &["."]);
    assert_ne!(read(&base, "web.yaml"), whole);
}

#[test]
fn what_a_patch_brings_is_left_to_it() {
    let selector = "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n";
    let whole = PART.replace("  template:\n", selector);
    let patch =
        PART.replace("        image: web:1\n", "        readinessProbe: {httpGet: {path: /, port: 80}}\n");
    let directory = directory(&[]);
    for (name, text) in [("app/base/web.yaml", &whole), ("app/overlays/a/patch.yaml", &patch)] {
        fs::create_dir_all(directory.path().join(name).parent().unwrap()).unwrap();
        fs::write(directory.path().join(name), text).unwrap();
    }
    let ran = run(directory.path(), &["."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let fixed = read(&directory, "app/base/web.yaml");
    assert!(
        fixed.contains("preStop") && !fixed.contains("readinessProbe") && !fixed.contains("minReadySeconds"),
        "{fixed}"
    );
    assert!(
        ran.stderr
            .contains("Deployment web: left to the patch in app/overlays/a/patch.yaml (readiness-probe)"),
        "{}",
        ran.stderr
    );
    assert_eq!(read(&directory, "app/overlays/a/patch.yaml"), patch);
}

#[test]
fn excluded_files_are_left_alone() {
    let plain = fixture("plain.yaml");
    let directory = directory(&[("a.yaml", &plain), ("b.yaml", &plain)]);
    let ran = run(directory.path(), &["--exclude", "b.*", "."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(read(&directory, "a.yaml"), fixed_fixture("plain.yaml"));
    assert_eq!(read(&directory, "b.yaml"), plain);
}

#[test]
fn directories_stand_for_their_manifests() {
    let directory = directory(&[("a.yml", &fixture("plain.yaml")), ("notes.txt", "a: [")]);
    fs::create_dir(directory.path().join("b")).unwrap();
    fs::write(directory.path().join("b/c.json"), fixture("pretty.json")).unwrap();
    let ran = run(directory.path(), &["."]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.ends_with("2 files changed, 0 unchanged\n"), "{}", ran.stderr);
    assert_eq!(read(&directory, "a.yml"), fixed_fixture("plain.yaml"));
    assert_eq!(read(&directory, "b/c.json"), fixed_fixture("pretty.json"));
}

#[test]
fn the_profile_decides_what_is_added() {
    let plain = fixture("plain.yaml");
    let fixed = |arguments: &[&str]| {
        let directory = directory(&[
            ("a.yaml", &plain),
            (
                "config.yaml",
                "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\ndefaultProfile: \"off\"\n",
            ),
        ]);
        let ran = run(directory.path(), &[arguments, &["a.yaml"]].concat());
        (ran, read(&directory, "a.yaml"))
    };
    // It announces only, but here it is asked to write.
    assert_eq!(fixed(&["--profile", "advisory"]).1, fixed_fixture("plain.yaml"));
    let development = fixed(&["--profile", "development"]).1;
    assert!(development.contains("readinessProbe:") && !development.contains("preStop:"), "{development}");

    for arguments in [["--profile", "off"], ["--config", "config.yaml"]] {
        let (ran, text) = fixed(&arguments);
        assert_eq!((ran.code, text), (0, plain.clone()));
        assert!(ran.stderr.contains("0 files changed, 1 unchanged; the profile is off"), "{}", ran.stderr);
    }
    let (ran, text) = fixed(&["--profile", "prod"]);
    assert_eq!((ran.code, text), (2, plain.clone()));
    assert!(ran.stderr.contains("there is no profile \"prod\""), "{}", ran.stderr);
    assert_eq!(run(&fixtures(), &[]).code, 2);
}

#[test]
fn annotations_without_effect_are_named() {
    let text = fixture("plain.yaml")
        .replace("  labels:\n    app: web\nspec", "  annotations: {gapless.dev/readiness-port: x}\nspec");
    let ran = run_stdin(&["-"], &text);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("gapless.dev/readiness-port"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn files_keep_their_links_and_permissions() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory =
        directory(&[("real.yaml", &fixture("plain.yaml")), ("locked.yaml", &fixture("plain.yaml"))]);
    let path = |name: &str| directory.path().join(name);
    let set = |name: &str, mode| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
    set("real.yaml", 0o640);
    set("locked.yaml", 0o444);
    fs::create_dir(path("links")).unwrap();
    symlink("../real.yaml", path("links/link.yaml")).unwrap();

    let ran = run(directory.path(), &["links/link.yaml", "locked.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("locked.yaml"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write it: it is read-only"), "{}", ran.stderr);
    assert!(fs::symlink_metadata(path("links/link.yaml")).unwrap().is_symlink());
    assert_eq!((read(&directory, "real.yaml"), mode("real.yaml")), (fixed_fixture("plain.yaml"), 0o640));
    assert_eq!((read(&directory, "locked.yaml"), mode("locked.yaml")), (fixture("plain.yaml"), 0o444));
    let files =
        fs::read_dir(directory.path()).unwrap().count() + fs::read_dir(path("links")).unwrap().count();
    assert_eq!(files, 4, "nothing else is left behind");
}

/// Nothing is written where nothing changes, not even the same again.
#[test]
fn an_unchanged_file_is_not_written() {
    let directory = directory(&[("a.yaml", &fixed_fixture("plain.yaml"))]);
    let modified = || fs::metadata(directory.path().join("a.yaml")).unwrap().modified().unwrap();
    let before = modified();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(run(directory.path(), &["a.yaml"]).code, 0);
    assert_eq!(modified(), before);
}

/// Time grows with the size of the file, for many documents and for one List.
#[test]
fn a_very_long_file_takes_no_longer_than_it_must() {
    let plain = fixture("plain.yaml");
    let documents = format!("{plain}---\n").repeat(2000);
    let items: String = plain.lines().map(|line| format!("  {line}\n")).collect();
    let list = format!("kind: List\nitems:\n{}", items.replacen("  api", "- api", 1).repeat(2000));
    let name = |text: &str| text.matches("terminationGracePeriodSeconds: 40").count();
    for text in [documents, list] {
        let directory = directory(&[("long.yaml", &text)]);
        let start = Instant::now();
        let diff = run(directory.path(), &["--diff", "long.yaml"]);
        let ran = run(directory.path(), &["long.yaml"]);
        // Seconds; a minute on a very busy machine; many minutes if it were quadratic.
        assert!(start.elapsed() < Duration::from_secs(180), "{:?}", start.elapsed());
        assert_eq!((ran.code, name(&read(&directory, "long.yaml")), name(&diff.stdout)), (0, 2000, 2000));
    }
}

/// The ways in which programs write a Deployment.
fn rendered(object: &Value) -> Vec<(&'static str, String)> {
    let yaml = serde_saphyr::to_string(object).unwrap();
    vec![
        ("windows.yaml", yaml.replace('\n', "\r\n")),
        ("list.json", json!({"kind": "List", "items": [object, object]}).to_string()),
        ("pretty.json", serde_json::to_string_pretty(object).unwrap()),
        ("two.yaml", format!("{yaml}---\n{yaml}")),
        ("block.yaml", yaml),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_deployment_becomes_what_the_webhook_makes_of_it(object in deployment()) {
        for (name, text) in rendered(&object) {
            let first = fixed(&Profile::production(), name, &text);
            let new = deployments(name, &first.text);
            prop_assert!(!new.is_empty());
            for new in &new {
                prop_assert_eq!(new, &injected(&object));
                prop_assert_eq!(announced(new), Vec::<String>::new());
            }
            prop_assert_eq!(&fixed(&Profile::production(), name, &first.text).text, &first.text);
        }
    }

    /// Applied, the file leaves the webhook nothing to do.
    #[test]
    fn the_webhook_has_nothing_to_add(object in deployment()) {
        for profile in ["production", "development"] {
            let policy = Policy::new(profile).unwrap();
            let yaml = serde_saphyr::to_string(&object).unwrap();
            let text = fixed(policy.default_profile().unwrap(), "a.yaml", &yaml).text;
            let mut applied = deployments("a.yaml", &text).remove(0);
            let manifest = applied.to_string();
            applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(manifest);
            let answer = ApiServer::new(profile).create(&applied);
            prop_assert_eq!(answer.operations, Vec::<Value>::new());
        }
    }
}
