//! `gapless check`, run as users run it.
//!
//! The reports that tests compare in full are in `fixtures/check/expected`. To
//! write them anew, set UPDATE_EXPECTED=1, and read what changed.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::ran::{self, Ran};

/// The manifests, with their directory as the working directory.
fn fixtures() -> PathBuf {
    fixtures::path("check")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = ran::gapless("check", arguments);
    command.current_dir(fixtures());
    command
}

fn check(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

fn check_stdin(arguments: &[&str], stdin: &str) -> Ran {
    ran::with_stdin(command(arguments), stdin)
}

/// The report as JSON.
fn report(arguments: &[&str]) -> Value {
    let checked = check(&[&["-f", "json"], arguments].concat());
    assert_eq!(checked.stderr, "");
    serde_json::from_str(&checked.stdout).unwrap()
}

/// Rule, outcome, line and column of each finding.
fn findings(report: &Value) -> Vec<(&str, &str, u64, u64)> {
    let all = report["findings"].as_array().unwrap().iter().map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap();
        let number = |key: &str| finding[key].as_u64().unwrap();
        (text("rule"), text("outcome"), number("line"), number("column"))
    });
    all.collect()
}

/// Compares a whole report with the one in `expected/NAME`.
fn assert_expected(name: &str, actual: &str) {
    let path = fixtures().join("expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if actual != expected {
        let line =
            actual.lines().zip(expected.lines()).take_while(|(actual, expected)| actual == expected).count();
        panic!(
            "{} differs from line {} on. It was:\n{actual}\nIt should be:\n{expected}",
            path.display(),
            line + 1
        );
    }
}

#[test]
fn text() {
    let checked = check(&["shop.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (1, ""));
    assert_expected("shop.txt", &checked.stdout);
}

#[test]
fn json() {
    let checked = check(&["-f", "json", "shop.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (1, ""));
    assert_expected("shop.json", &checked.stdout);
}

#[test]
fn github() {
    let checked = check(&["-f", "github", "shop.yaml", "types.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (2, ""));
    assert_expected("shop.github.txt", &checked.stdout);
}

/// Without the rules, whose pages change: the next test is about them.
#[test]
fn sarif() {
    let checked = check(&["-f", "sarif", "shop.yaml", "types.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (2, ""));
    let mut log: Value = serde_json::from_str(&checked.stdout).unwrap();
    let driver = log["runs"][0]["tool"]["driver"].as_object_mut().unwrap();
    driver.remove("rules").unwrap();
    driver.remove("version").unwrap();
    for result in log["runs"][0]["results"].as_array_mut().unwrap() {
        result.as_object_mut().unwrap().remove("ruleIndex").unwrap();
    }
    assert_expected("shop.sarif", &(serde_json::to_string_pretty(&log).unwrap() + "\n"));
}

/// What the schema of SARIF 2.1.0 asks for, and code scanning besides.
#[test]
fn sarif_has_what_its_schema_requires() {
    let checked = check(&["-f", "sarif", ".", "missing.yaml"]);
    let log: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("one run: {log}") };
    assert_eq!(run["tool"]["driver"]["name"], "gapless");

    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    for rule in rules {
        assert_ne!(rule["shortDescription"]["text"].as_str().unwrap(), "");
        assert_ne!(rule["help"]["text"].as_str().unwrap(), "");
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["error", "warning", "note", "none"].contains(&level), "{level}");
    }
    let recreate = &rules[ids.iter().position(|id| *id == "recreate-strategy").unwrap()];
    assert_eq!(recreate["defaultConfiguration"], json!({"enabled": true, "level": "error"}));
    assert!(recreate["help"]["markdown"].as_str().unwrap().starts_with("# recreate-strategy"));

    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 10);
    for result in results {
        assert_ne!(result["message"]["text"].as_str().unwrap(), "");
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], ids[index], "{result}");
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(fixtures().join(uri).is_file(), "{uri} is relative, and without escapes here");
    }

    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    for notification in invocation["toolExecutionNotifications"].as_array().unwrap() {
        assert_eq!(notification["level"], "error");
        assert_ne!(notification["message"]["text"].as_str().unwrap(), "");
    }
}

#[test]
fn anchors_merge_keys_and_flow_style_are_found_where_they_were_written() {
    let checked = check(&["anchors.yaml", "flow.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (1, ""));
    assert_expected("anchors.txt", &checked.stdout);
}

#[test]
fn lists_and_streams_of_json_are_opened() {
    let report = report(&["list.yaml", "deployments.json", "stream.json"]);
    let found: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["outcome"] == "deny")
        .map(|it| {
            format!("{}:{}:{} {} {}", it["file"], it["line"], it["column"], it["document"], it["name"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        found,
        [
            "list.yaml:11:7 0 first",
            "list.yaml:26:27 0 second",
            "deployments.json:9:5 0 typed",
            "stream.json:2:85 1 b"
        ]
    );
    assert_eq!((&report["summary"]["deployments"], &report["summary"]["skipped"]), (&json!(4), &json!(2)));
}

#[test]
fn wrong_types_hide_nothing_else() {
    let checked = check(&["types.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (2, ""));
    assert_expected("types.txt", &checked.stdout);
}

#[test]
fn what_is_not_judged_says_why() {
    let checked = check(&["skipped.yaml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""));
    assert_expected("skipped.txt", &checked.stdout);
    assert_eq!(report(&["skipped.yaml"])["skipped"][1]["reason"], "owned");
}

/// Hidden files and other kinds of files are left out; what cannot be parsed
/// hides neither other files nor other documents of its own.
#[test]
fn directories() {
    let checked = check(&["tree"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (2, ""));
    assert_expected("tree.txt", &checked.stdout);

    let shown = check(&["tree/.hidden/history.yaml"]);
    assert_eq!(shown.code, 1, "a hidden file that is named is read");

    let checked =
        Ran::from(command(&["-f", "github", "."]).current_dir(fixtures().join("tree")).output().unwrap());
    assert!(checked.stdout.starts_with("::error file=apps/history.yaml,line=6,col=3,"), "{}", checked.stdout);
}

#[test]
fn what_cannot_be_read_hides_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("latin.yaml"), b"a: 1\nname: caf\xe9\n").unwrap();
    let checked = check(&[&path("missing.yaml"), &path("empty"), &path("latin.yaml"), "tree/apps"]);
    assert_eq!(checked.code, 2);
    for line in [
        &format!("error: {}: cannot read it: No such file or directory (os error 2)\n", path("missing.yaml")),
        &format!("error: {}: there is no .yaml, .yml or .json file in this directory\n", path("empty")),
        &format!("error: {}: the file is no text in UTF-8: line 2 has other bytes\n", path("latin.yaml")),
        "error[no-rollback-history]: ",
        "1 file, 1 Deployment (profile production): 1 denied, 0 warnings, 3 errors, ",
    ] {
        let line: &str = line;
        assert!(checked.stdout.contains(line), "{line}\n{}", checked.stdout);
    }
    let errors = report(&[&path("missing.yaml")])["errors"].clone();
    assert_eq!((&errors[0]["file"], &errors[0]["line"]), (&json!(path("missing.yaml")), &Value::Null));
}

#[test]
fn standard_input() {
    let text = fs::read_to_string(fixtures().join("list.yaml")).unwrap();
    let checked = check_stdin(&["-"], &text);
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains(" --> <stdin>:11:7\n"), "{}", checked.stdout);

    let checked = check_stdin(&["-f", "github", "-"], &text);
    assert!(checked.stdout.starts_with("::error title=no-rollback-history::"), "{}", checked.stdout);
    let checked = check_stdin(&["-f", "sarif", "-"], &text);
    let log: Value = serde_json::from_str(&checked.stdout).unwrap();
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&json!("stdin"), &json!(11))
    );

    let checked = check_stdin(&["-"], "# nothing\n");
    assert_eq!(checked.code, 2, "a failed `helm template` in front of the pipe must not pass");
    assert!(checked.stdout.contains("there is nothing on standard input"), "{}", checked.stdout);
}

#[test]
fn windows_line_ends_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["shop.yaml", "anchors.yaml", "types.yaml"] {
        let text = fs::read_to_string(fixtures().join(name)).unwrap();
        let path = directory.path().join(name);
        fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();

        let windows = Ran::from(command(&[name]).current_dir(directory.path()).output().unwrap());
        let unix = check(&[name]);
        assert_eq!((windows.code, windows.stdout), (unix.code, unix.stdout));
    }
}

#[test]
fn a_list_on_one_long_line() {
    let text = fs::read_to_string(fixtures().join("deployments.json")).unwrap();
    let mut list: Value = serde_json::from_str(&text).unwrap();
    let item = list["items"][0].clone();
    list["items"] = vec![item; 50].into();
    let line = list.to_string();
    let checked = check_stdin(&["-"], &line);
    assert_eq!(checked.code, 1);
    let last = line.rfind("\"revisionHistoryLimit\"").unwrap() + 1;
    assert!(checked.stdout.contains(&format!(" --> <stdin>:1:{last}\n")), "{}", checked.stdout);
    assert!(checked.stdout.lines().all(|line| line.chars().count() < 200), "{}", checked.stdout);
}

#[test]
fn profiles() {
    let outcomes = |profile: &str| {
        let report = report(&["--profile", profile, "shop.yaml"]);
        let all = findings(&report)
            .iter()
            .map(|(rule, outcome, ..)| format!("{rule} {outcome}"))
            .collect::<Vec<_>>();
        (all, report["summary"]["injections"].as_object().map(serde_json::Map::len))
    };
    let (production, _) = outcomes("production");
    assert!(production.contains(&"no-rollback-history deny".to_owned()), "{production:?}");
    let (advisory, _) = outcomes("advisory");
    assert!(advisory.contains(&"no-rollback-history warn".to_owned()), "{advisory:?}");
    let (development, injections) = outcomes("development");
    assert_eq!(
        (development.as_slice(), injections),
        (["no-rollback-history warn".to_owned()].as_slice(), Some(2))
    );
    assert_eq!(outcomes("off"), (vec![], Some(0)));

    let off = check(&["--profile", "off", "shop.yaml"]);
    assert_eq!(off.code, 0);
    assert_eq!(off.stdout, "1 file, 0 Deployments (profile off): 0 denied, 0 warnings, 4 objects skipped\n");
    assert_eq!(check(&["--profile", "off", "tree/broken.yml"]).code, 2);

    let unknown = check(&["--profile", "prod", "shop.yaml"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""));
    assert_eq!(
        unknown.stderr,
        "error: there is no profile \"prod\"; write one of: advisory, development, production, off\n"
    );
}

#[test]
fn the_configuration_names_the_default_profile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gapless.yaml");
    let head = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n";
    let with = |rest: &str| {
        fs::write(&path, format!("{head}{rest}")).unwrap();
        check(&["--config", path.to_str().unwrap(), "tree/apps"])
    };
    let checked = with("defaultProfile: development\n");
    assert_eq!(checked.code, 0);
    assert!(checked.stdout.contains("(profile development): 0 denied, 1 warning"), "{}", checked.stdout);
    assert_eq!(with("defaultProfile: 'off'\n").code, 0);
    let broken = with("defaultProfiles: development\n");
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains("gapless.yaml:3:1: "), "{}", broken.stderr);
}

#[test]
fn steering_annotations_without_effect_are_warnings() {
    let manifest = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata:
      labels: {app: app}
      annotations:
        gapless.dev/waive.single-replica: ''
    spec:
      containers: [{name: app, image: 'app:v1', ports: [{containerPort: 80}]}]
";
    let steered =
        manifest.replace("{name: app}\n", "{name: app, annotations: {gapless.dev/readiness-port: ninety}}\n");
    let checked = check_stdin(&["-f", "json", "-"], &steered);
    assert_eq!(checked.code, 0);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    let problems: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["id"].as_str().unwrap(), problem["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(problems, [("readiness-probe", 3), ("single-replica", 11)], "{report:#}");
    assert!(report["summary"]["warnings"].as_u64().unwrap() >= 2);
}

/// A whole Deployment without a finding that denies.
const WHOLE: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 60
      containers:
      - name: web
        image: web:1.0.0
";

/// The report on standard input, with its exit code.
fn report_on(text: &str) -> (i32, Value) {
    let checked = check_stdin(&["-f", "json", "-"], text);
    (checked.code, serde_json::from_str(&checked.stdout).unwrap())
}

/// `skipped`, `judged` and `errors` of a report.
fn counts(report: &Value) -> [u64; 3] {
    ["skipped", "judged", "errors"].map(|key| report["summary"][key].as_u64().unwrap())
}

#[test]
fn a_part_of_an_object_is_not_judged() {
    let table = [
        ("  selector: {matchLabels: {app: web}}\n", "", "it lacks spec.selector"),
        ("{matchLabels: {app: web}}", "{matchLabels: {}}", "it lacks spec.selector"),
        ("        image: web:1.0.0\n", "", "it lacks the image of container web"),
        ("image: web:1.0.0", "env: []", "it lacks the image of container web"),
        ("- name: web\n        image", "- image", "it lacks spec.template.spec.containers[0].name"),
        ("image: web:1.0.0", "$patch: delete", "it has the key $patch"),
        (
            "      containers:\n      - name: web\n        image: web:1.0.0\n",
            "      containers: []\n",
            "it lacks spec.template.spec.containers",
        ),
        ("  replicas: 2\n", "  $patch: replace\n", "it has the key $patch"),
        ("metadata:\n", "$patch: delete\nmetadata:\n", "it has the key $patch"),
    ];
    for (from, to, because) in table {
        let part =
            WHOLE.replace(from, to).replace("  replicas: 2\n", "  replicas: 2\n  revisionHistoryLimit: 0\n");
        assert_ne!(part, WHOLE);
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", part.trim_end().replace('\n', "\n  "));
        for text in [part.clone(), part.replace('\n', "\r\n"), list] {
            let (code, report) = report_on(&text);
            assert_eq!((code, counts(&report)), (0, [1, 0, 0]), "{text}");
            let skipped = &report["skipped"][0];
            assert_eq!((&skipped["reason"], &skipped["name"]), (&json!("partial"), &json!("web")));
            let shown = check_stdin(&["-"], &text).stdout;
            assert!(shown.contains("only a part of an object"), "{shown}");
            assert!(shown.contains(because), "{because}: {shown}");
        }
    }
    assert_eq!(counts(&report_on(WHOLE).1), [0, 1, 0]);
}

/// In a whole object a value that the API server refuses is nobody's intention.
#[test]
fn a_mistake_is_an_error_in_its_line() {
    let table = [
        ("replicas: 2", "replicas: -2", 6, "spec.replicas: -2 is negative"),
        ("{labels: {app: web}}", "{labels: {app: api}}", 7, "spec.selector: it asks for app=web"),
        (
            "replicas: 2",
            "strategy: {rollingUpdate: {maxUnavailable: abc}}",
            6,
            "\"abc\" is neither a count nor a percentage",
        ),
        (
            "replicas: 2",
            "strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 0}}",
            6,
            "must not both be 0",
        ),
        (
            "        image: web:1.0.0\n",
            "        image: web:1.0.0\n      - name: web\n        image: web:2\n",
            13,
            "two containers have the name web",
        ),
        ("replicas: 2", "replicas: [2]", 6, "spec.replicas: found a list"),
    ];
    for (from, to, line, message) in table {
        let (code, report) = report_on(&format!("{WHOLE}---\n{}", WHOLE.replace(from, to)));
        assert_eq!((code, counts(&report)), (2, [0, 1, 1]), "{to}: {report:#}");
        let error = &report["errors"][0];
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert_eq!(error["line"], line + WHOLE.lines().count() + 1, "{error}");
    }
}

#[test]
fn a_placeholder_is_quoted_with_what_to_run_first() {
    let placeholders = [
        ("$(GRACE)", "kubectl kustomize"),
        ("${GRACE}", "envsubst"),
        ("$GRACE", "envsubst"),
        ("{{ .Values.grace }}", "helm template"),
        ("'{{ grace }}'", "helm template"),
        ("<grace>", "placeholder"),
        ("'#{grace}#'", "placeholder"),
        ("#{grace}#", "placeholder"),
        ("__GRACE__", "placeholder"),
        ("%GRACE%", "placeholder"),
        ("\"@GRACE@\"", "placeholder"),
    ];
    for (placeholder, hint) in placeholders {
        for from in ["60", "2\n  selector"] {
            let field = if from == "60" { "terminationGracePeriodSeconds: " } else { "replicas: " };
            let to = format!(
                "{field}{placeholder}{}",
                from.strip_prefix(['2', '6']).unwrap().trim_start_matches('0')
            );
            let text = WHOLE.replace(&format!("{field}{from}"), &to);
            assert!(text.contains(placeholder), "{text}");
            let (code, report) = report_on(&format!("{text}---\n{WHOLE}"));
            assert_eq!((code, counts(&report)), (2, [0, 1, 1]), "{placeholder}: {report:#}");
            let shown = check_stdin(&["-"], &text).stdout;
            assert!(shown.contains(placeholder.trim_matches(['\'', '"'])), "{shown}");
            assert!(shown.contains(hint), "{hint}: {shown}");
            let fix = ran::with_stdin(ran::gapless("fix", &["-"]), &text);
            assert_eq!((fix.code, fix.stdout), (2, text.clone()), "{}", fix.stderr);
        }
    }
}

#[test]
fn of_equal_keys_the_last_one_counts_and_a_note_says_so() {
    let twice = WHOLE
        .replace("        image: web:1.0.0\n", "        image: web:1.0.0\n        image: web:latest\n")
        + "  replicas: 1\n";
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b, a: c}\n";
    let (code, report) = report_on(&format!("{twice}{other}"));
    assert_eq!((code, counts(&report)), (1, [1, 1, 0]), "{report:#}");
    let notes = report["notes"].as_array().unwrap();
    let notes: Vec<_> =
        notes.iter().map(|it| (it["line"].as_u64().unwrap(), it["message"].as_str().unwrap())).collect();
    assert_eq!(
        notes,
        [
            (6, "replicas is written again in line 16: the last one counts, as for kubectl"),
            (14, "image is written again in line 15: the last one counts, as for kubectl"),
        ]
    );
    assert!(findings(&report).iter().any(|it| (it.0, it.1) == ("mutable-image-tag", "deny")));
    // Two of them at the top, one brought by a merge key, and in JSON.
    let spec = WHOLE.split("spec:\n  rep").next().unwrap().to_owned()
        + "spec: {replicas: 1}\n"
        + WHOLE.split_once("name: web\n").unwrap().1;
    let merged = WHOLE.replace("  replicas: 2\n", "  replicas: 2\n  <<: {replicas: 3}\n");
    let json = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 9,
  "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
  "spec": {"containers": [{"name": "web", "image": "web:1.0.0"}]}}, "replicas": 2}}"#;
    let table = [
        (spec.as_str(), "spec is written again in line 6: "),
        (&merged, "replicas is written again by the merge key in line 7: "),
        (json, "replicas is written again in line 3: "),
    ];
    for (text, note) in table {
        let (code, report) = report_on(text);
        assert_eq!((code, counts(&report)), (0, [0, 1, 0]), "{text}");
        let [found] = report["notes"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
        assert!(found["message"].as_str().unwrap().starts_with(note), "{found}");
        let shown = check_stdin(&["-"], text).stdout;
        assert!(shown.contains(&format!("note: {note}")), "{shown}");
        let github = check_stdin(&["-f", "github", "-"], text).stdout;
        assert!(github.contains("::notice ") && github.contains(note), "{github}");
        let sarif: Value = serde_json::from_str(&check_stdin(&["-f", "sarif", "-"], text).stdout).unwrap();
        let invocation = &sarif["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], true);
        assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "note");
    }
}

#[test]
fn a_removed_api_version_is_named() {
    let table = [
        ("extensions/v1beta1", "Deployment"),
        ("apps/v1beta1", "Deployment"),
        ("apps/v1beta2", "Deployment"),
        ("apps/v1beta2", "StatefulSet"),
        ("extensions/v1beta1", "DaemonSet"),
    ];
    for (version, kind) in table {
        let text = WHOLE.replace("apps/v1", version).replace("kind: Deployment", &format!("kind: {kind}"));
        let (code, report) = report_on(&text);
        assert_eq!((code, counts(&report)), (0, [1, 0, 0]), "{report:#}");
        assert_eq!(report["skipped"][0]["reason"], "removed-api-version");
        assert_eq!(report["skipped"][0]["kind"], kind);
        let shown = check_stdin(&["-"], &text).stdout;
        assert!(
            shown.contains(&format!("{kind} web is not judged: no API server serves {version} any more")),
            "{shown}"
        );
        assert!(shown.contains("write apiVersion: apps/v1"), "{shown}");
        let fix = ran::with_stdin(ran::gapless("fix", &["--version-labels", "-"]), &text);
        assert_eq!((fix.code, fix.stdout), (0, text));
    }
}

#[test]
fn a_chart_in_a_directory_is_one_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("chart/templates")).unwrap();
    fs::write(path("chart/Chart.yaml"), "apiVersion: v2\nname: chart\n").unwrap();
    for name in ["chart/templates/a.yaml", "chart/templates/b.yaml"] {
        fs::write(path(name), WHOLE.replace("name: web\nspec", "name: {{ .Release.Name }}\nspec")).unwrap();
    }
    fs::write(path("web.yaml"), WHOLE.replace("replicas: 2", "revisionHistoryLimit: 0")).unwrap();
    let check = |arguments: &[&str]| {
        let checked = Ran::from(command(arguments).current_dir(directory.path()).output().unwrap());
        (checked.code, checked.stdout)
    };
    let (code, shown) = check(&["."]);
    assert_eq!((code, shown.matches("error: ").count()), (2, 1), "{shown}");
    assert!(shown.contains("error: chart: this is a Helm chart"), "{shown}");
    assert!(shown.contains("helm template chart | gapless check -"), "{shown}");
    assert!(shown.contains("error[no-rollback-history]"), "{shown}");
    let mut fix = ran::gapless("fix", &["--diff", "."]);
    let fix = Ran::from(fix.current_dir(directory.path()).output().unwrap());
    assert_eq!(fix.code, 2);
    assert!(fix.stderr.contains("helm template chart | gapless fix -"), "{}", fix.stderr);
    let (code, shown) = check(&["--exclude", "chart", "."]);
    assert_eq!(code, 1, "{shown}");
    assert_eq!(check(&["--exclude", "chart", "--exclude", "web.yaml", "."]).0, 0);
    assert_eq!(check(&["--exclude", "[", "."]).0, 2);
}

#[test]
fn bad_usage() {
    for arguments in [&[][..], &["-f", "xml", "shop.yaml"], &["--unknown", "shop.yaml"]] {
        let checked = check(arguments);
        assert_eq!((checked.code, checked.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(checked.stderr.starts_with("error: "), "{}", checked.stderr);
    }
}

#[test]
fn colour_is_for_terminals() {
    assert!(!check(&["shop.yaml"]).stdout.contains('\u{1b}'), "a pipe is no terminal");
    let coloured = |name, value| {
        let output = command(&["shop.yaml"]).env("CLICOLOR_FORCE", "1").env(name, value).output().unwrap();
        Ran::from(output).stdout.contains('\u{1b}')
    };
    assert!(coloured("TERM", "xterm"), "the styles are there");
    assert!(!coloured("NO_COLOR", "1"));
}

/// A manifest may come from anybody: it must not write to the terminal, and neither must
/// what programs read from a report and show.
#[test]
fn no_control_characters_reach_the_terminal() {
    let manifest = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
  "name": "a\u001b[2Jb\nc\u009b1m",
  "annotations": {"gapless.dev/waive.single-replica": "so\u009b2J\u007f\t\u0000", "gapless.dev/waive.b\u0007": "x"}},
"spec": {"replicas": 1, "revisionHistoryLimit": 0, "selector": {"matchLabels": {"app": "a"}},
 "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [
  {"name": "a\u001b]0;x\u0007", "image": "a\u001b[1m\u007f", "ports": [{"containerPort": 80}]}]}}}}"#;
    let is_control = |character: char| character.is_control() && character != '\n';
    for format in ["text", "github", "json", "sarif"] {
        let checked = check_stdin(&["-f", format, "-"], &format!("{manifest}\n---\na: '\u{9b}\n"));
        assert_eq!(checked.code, 2);
        assert!(checked.stdout.contains("unpullable-image"), "{format}: {}", checked.stdout);
        assert!(checked.stdout.contains("a\u{fffd}[1m\u{fffd}"), "{format}: {}", checked.stdout);
        assert!(!checked.stdout.contains(is_control), "{format}: {:?}", checked.stdout);
        if format == "json" || format == "sarif" {
            let report = serde_json::from_str(&checked.stdout).unwrap();
            assert!(!texts(&report).contains(is_control), "{format}: {report:#}");
        }
    }
}

/// All texts in it, as a reader sees them.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text}\n"),
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| format!("{key}\n{}", texts(value))).collect()
        }
        _ => String::new(),
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["shop.yaml"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(1), ""));

    // More than fits into a pipe, of which only the beginning is read.
    let many = vec!["shop.yaml"; 100];
    let mut child = command(&many).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut beginning = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut beginning).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(&beginning, b"error[");
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(1), ""));
}

/// Deployments with findings of all kinds, `count` of them.
fn many(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|number| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("web-{number}")},
            "spec": {"revisionHistoryLimit": 0, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "web"}},
             "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                {"name": "web", "image": "web:latest", "ports": [{"containerPort": 80}],
                 "env": (0..20).map(|it| json!({"name": format!("KEY_{it}"), "value": "value"})).collect::<Vec<_>>()},
            ]}}},
        })
    })
}

#[test]
fn a_thousand_manifests() {
    let directory = tempfile::tempdir().unwrap();
    for (number, manifest) in many(1000).enumerate() {
        fs::write(directory.path().join(format!("{number}.json")), manifest.to_string()).unwrap();
    }
    let report = report(&[directory.path().to_str().unwrap()]);
    let summary = &report["summary"];
    let numbers = ["files", "deployments", "denied", "errors"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(numbers, [1000, 1000, 1000, 0]);
}

/// Ten times the Deployments must not take a hundred times as long. Three pairs
/// are measured, and the best one counts: other programs run here too.
#[test]
fn the_time_grows_with_the_size() {
    fn seconds(text: &str) -> Duration {
        let start = Instant::now();
        assert_eq!(check_stdin(&["-"], text).code, 1);
        start.elapsed()
    }
    let documents = |count| many(count).map(|it| format!("---\n{it:#}\n")).collect::<String>();
    let list = |count| {
        json!({"apiVersion": "v1", "kind": "List", "items": many(count).collect::<Vec<_>>()}).to_string()
    };
    for (shape, little, much) in
        [("documents", documents(30), documents(300)), ("one line", list(30), list(300))]
    {
        let ratios = [(); 3].map(|()| {
            let little = seconds(&little);
            seconds(&much).as_secs_f64() / little.as_secs_f64()
        });
        let best = ratios.into_iter().fold(f64::INFINITY, f64::min);
        assert!(best < 25.0, "{shape}: ten times as much takes {best:.0} times as long");
    }
}

/// The manifests for which gapless was conceived.
#[test]
fn scenarios() {
    const ALL: [&str; 4] = ["readiness-probe", "pre-stop-sleep", "rolling-update", "version-label"];
    /// File, profile, exit code, findings by line, defaults injected.
    type Scenario<'a> = (&'a str, &'a str, i32, &'a [(&'a str, &'a str, u64)], &'a [&'a str]);
    let table: &[Scenario] = &[
        ("rolling", "production", 0, &[], &ALL),
        (
            "rolling-explicit",
            "production",
            0,
            &[("rollout-capacity-loss", "warn", 9)],
            &["readiness-probe", "pre-stop-sleep", "version-label"],
        ),
        (
            "rolling-probed",
            "production",
            0,
            &[("shell-sleep", "audit", 26), ("slow-readiness", "warn", 20)],
            &["rolling-update", "version-label"],
        ),
        (
            "recreate",
            "production",
            1,
            &[("recreate-strategy", "deny", 8), ("missing-readiness-probe", "warn", 16)],
            &["version-label"],
        ),
        ("recreate", "development", 0, &[], &["version-label"]),
        ("no-history", "production", 1, &[("no-rollback-history", "deny", 7)], &ALL),
        ("blue-green", "production", 0, &[], &ALL),
        ("blue-green-switch", "production", 0, &[], &[]),
        (
            "canary",
            "production",
            0,
            &[
                ("selector-overlap", "warn", 11),
                ("single-replica", "warn", 24),
                ("selector-overlap", "warn", 29),
            ],
            &ALL,
        ),
        ("rollout-canary", "production", 0, &[], &ALL),
        ("statefulset", "production", 0, &[], &["readiness-probe", "pre-stop-sleep", "version-label"]),
        ("daemonset", "production", 0, &[], &ALL),
    ];
    for (name, profile, code, expected, injected) in table {
        let file = format!("../scenarios/{name}.yaml");
        let checked = check(&["-f", "json", "--profile", profile, &file]);
        assert_eq!(checked.code, *code, "{name}: {}", checked.stdout);
        let report: Value = serde_json::from_str(&checked.stdout).unwrap();
        let found: Vec<_> =
            findings(&report).into_iter().map(|(rule, outcome, line, _)| (rule, outcome, line)).collect();
        assert_eq!(found, *expected, "{name}");
        let injections = report["summary"]["injections"].as_object().unwrap();
        let mut wanted = injected.to_vec();
        wanted.sort_unstable();
        assert_eq!(injections.keys().collect::<Vec<_>>(), wanted, "{name}");
    }

    let messages = |name: &str, default: &str| -> Vec<String> {
        let report = report(&[&format!("../scenarios/{name}.yaml")]);
        let injections =
            report["injections"].as_array().unwrap().iter().filter(|it| it["default"] == default);
        injections.map(|it| it["message"].as_str().unwrap().to_owned()).collect()
    };
    // The selector's `version: blue` is a colour; the other label is free.
    assert_eq!(
        messages("blue-green", "version-label"),
        ["label app.kubernetes.io/version=blue", "label app.kubernetes.io/version=green"]
    );
    for (message, tag) in messages("canary", "version-label").iter().zip(["stable", "canary"]) {
        assert!(message.contains(&format!("label version={tag}")), "{message}");
    }
    assert_eq!(messages("rolling-probed", "rolling-update"), ["maxUnavailable 25% -> 0"]);
    assert_eq!(messages("daemonset", "rolling-update"), ["maxUnavailable 1 -> 0, maxSurge 0 -> 1"]);
}

#[test]
fn what_a_rollout_is_going_to_do_is_said_when_asked() {
    let manifest = serde_json::to_string(&crate::support::deployment::deployment("web")).unwrap();
    let line = "rolls 2 pods in 2 waves, 11–15 s, never below 2 of 2, up to 3 pods";
    assert!(!check_stdin(&["-"], &manifest).stdout.contains("rolls"));
    let checked = check_stdin(&["--preview", "-"], &manifest);
    assert!(
        checked.stdout.contains(&format!("rollout: <stdin>:1:57: Deployment web {line}")),
        "{}",
        checked.stdout
    );
}
