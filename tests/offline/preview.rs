//! `gapless preview`, run as users run it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::ran::{self, Ran};

fn scenario(name: &str) -> String {
    let path: PathBuf = fixtures::path("scenarios").join(name);
    path.display().to_string()
}

fn preview(arguments: &[&str]) -> Ran {
    ran::gapless("preview", arguments).output().unwrap().into()
}

fn preview_stdin(arguments: &[&str], stdin: &str) -> Ran {
    ran::with_stdin(ran::gapless("preview", arguments), stdin)
}

/// The answers as JSON, of input that can be read.
fn rollouts(arguments: &[&str], stdin: &str) -> Vec<Value> {
    let ran = preview_stdin(&[&["-f", "json"], arguments].concat(), stdin);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    ran.json()["rollouts"].as_array().unwrap().clone()
}

/// A Deployment of ten pods, with nothing but what it needs.
fn deployment(name: &str) -> String {
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 10,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    });
    object.to_string() + "\n---\n"
}

#[test]
fn the_answer_has_every_field() {
    let found = rollouts(&["-"], &deployment("web"));
    let mut first = found[0].clone();
    let steps = first["steps"].take();
    let expected = json!({
        "kind": "Deployment", "namespace": null, "name": "web",
        "replicas": 10, "maxUnavailable": 0, "maxSurge": 3,
        "floor": 10, "peak": 20, "waves": 4, "stalls": null,
        "seconds": {"least": 22.4, "most": 30.4},
        "assumed": {"startsIn": 3.0, "stopsIn": 1.0, "pull": 0.0},
        "steps": null,
    });
    assert_eq!((found.len(), first), (1, expected));
    let before = json!({"at": 0.0, "old": 10, "new": 0, "available": 10, "terminating": 0});
    let after = json!({"at": 42.4, "old": 0, "new": 10, "available": 10, "terminating": 0});
    assert_eq!((&steps[0], steps.as_array().unwrap().last()), (&before, Some(&after)));
}

#[test]
fn the_workload_counts_as_its_profile_completes_it() {
    let figures = |arguments: &[&str]| {
        let found = &rollouts(&[arguments, &["-"]].concat(), &deployment("web"))[0];
        (found["floor"].as_i64().unwrap(), found["waves"].as_i64().unwrap(), found["seconds"]["most"].clone())
    };
    assert_eq!(figures(&[]), (10, 4, json!(30.4)));
    // 25 % and 25 %, and the probe alone.
    assert_eq!(figures(&["--profile", "development"]), (8, 2, json!(15.2)));
    assert_eq!(figures(&["--profile", "off"]), (8, 2, json!(1.2)));
}

#[test]
fn what_no_manifest_tells_can_be_said() {
    let found = &rollouts(&["--starts-in", "12s", "--stops-in", "1m", "-"], &deployment("web"))[0];
    assert_eq!(found["assumed"], json!({"startsIn": 12.0, "stopsIn": 60.0, "pull": 0.0}));
    assert_eq!(found["seconds"]["least"], json!(4.0 * 12.6));
    let wrong = preview(&["--starts-in", "soon", "x.yaml"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("write a number with a unit"), "{wrong:?}");
}

#[test]
fn each_workload_has_its_answer_in_its_place() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}});
    let input = format!("{}{service}\n---\n{}", deployment("web"), deployment("api"));
    let names: Vec<Value> = rollouts(&["-"], &input).iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["web", "api"]);
}

#[test]
fn from_another_version() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old.yaml");
    let path = old.display().to_string();
    std::fs::write(&old, deployment("web").replace("\"replicas\":10", "\"replicas\":2")).unwrap();
    let found = &rollouts(&["--from", &path, "-"], &deployment("web"))[0];
    assert_eq!((&found["floor"], &found["waves"]), (&json!(2), &json!(1)), "it is scaled");
    let other = deployment("web").replace("app:1", "app:2");
    assert_eq!(rollouts(&["--from", &path, "-"], &other)[0]["steps"][0]["old"], json!(2));

    let ran = preview_stdin(&["--from", &path, "-"], &deployment("api"));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("of Deployment api: it is not in the file of --from"), "{ran:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_hides_nothing() {
    let broken = deployment("web").replace("\"replicas\":10", "\"replicas\":\"ten\"");
    let input = format!("{broken}a: [\n---\n{}", deployment("api"));
    let ran = preview_stdin(&["-f", "json", "-"], &input);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.json()["rollouts"][0]["name"], "api");
    for part in ["spec.replicas: found \"ten\"", "<stdin>:1:79", "<stdin>:3:4"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let nothing = preview_stdin(&["-"], "");
    assert!(nothing.code == 2 && nothing.stderr.contains("nothing on standard input"), "{nothing:?}");
    let missing = preview(&["missing.yaml"]);
    assert!(missing.code == 2 && missing.stderr.contains("missing.yaml"), "{missing:?}");
}

#[test]
fn what_is_no_whole_workload_is_skipped_and_named() {
    let part = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n";
    let ran = preview_stdin(&["-"], part);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(
        ran.stderr.contains("<stdin>:3:12: nothing is foretold: it is only a part of an object"),
        "{ran:?}"
    );
    let none = preview_stdin(&["-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    assert!(none.code == 0 && none.stderr.starts_with("there is no workload in it"), "{none:?}");
}

#[test]
fn the_line_that_answers() {
    let ran = preview_stdin(&["-"], &deployment("web"));
    let expected = "Deployment web: rolls 10 pods in 4 waves, 22–30 s, never below 10 of 10, \
                    up to 13 pods (20 with those that are still leaving)";
    assert_eq!(ran.stdout.lines().next(), Some(expected), "{ran:?}");
    let ran = preview(&[&scenario("daemonset.yaml")]);
    let expected = "DaemonSet chatbot-node: rolls each node's pod in 6–8 s, never below 1 of 1, up to 2 pods";
    assert_eq!(ran.stdout.lines().next(), Some(expected), "{ran:?}");
    let ran = preview(&[&scenario("rolling.yaml")]);
    let expected = "Deployment chatbot: rolls 2 pods in 2 waves, 11–15 s, never below 2 of 2, \
                    up to 3 pods (4 with those that are still leaving)";
    assert_eq!(ran.stdout.lines().next(), Some(expected), "{ran:?}");
}

#[test]
fn a_picture_and_what_it_stands_on() {
    let ran = preview(&["--starts-in", "3s", &scenario("rolling.yaml")]);
    let expected = "
    before  ██    2 old, 0 new: 2 available
       0 s  ██░   2 old, 1 new: 2 available
     7.6 s  █▓░·  1 old, 2 new: 2 available, 1 leaving
    15.2 s  ▓▓··  0 old, 2 new: 2 available, 2 leaving
    19.6 s  ▓▓·   0 old, 2 new: 2 available, 1 leaving
    27.2 s  ▓▓    0 old, 2 new: 2 available
  █ old, ▓ new, ░ not available, · leaving

  certain:
  - never fewer than 2 of 2 available, and never more than 3 pods besides those that are leaving
  - an old pod ends within 42 s of its deletion (its grace period of 40 s, and 2 s), 10 s of them asleep in its preStop hook
  - progressDeadlineSeconds, 600, is for each step and not for the whole
  given:
  - a container listens 3 s after its start
  assumed:
  - a process ends 1 s after SIGTERM (else: --stops-in)
  - the image is on the node (a pull takes 0 s), and the nodes have room for each pod
  - nobody scales it meanwhile, and no pod fails by itself
";
    let (_, rest) = ran.stdout.split_once('\n').unwrap();
    assert_eq!(rest, expected, "{}", ran.stdout);
}

#[test]
fn what_stalls_and_what_waits() {
    let first_lines = |input: String| {
        let ran = preview_stdin(&["-"], &input);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        ran.stdout.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let probe = r#""image":"app:1","readinessProbe":{"httpGet":{"port":"web"}}"#;
    let stalls = first_lines(deployment("web").replace(r#""image":"app:1""#, probe));
    let expected = "Deployment web: stalls: no new pod is ever ready: the readinessProbe of container app asks port \
                    \"web\", which it does not declare (unknown-probe-port); it stands at 10 old and 3 new pods, \
                    10 of them available; never below 10 of 10, up to 13 pods";
    assert_eq!(stalls[0], expected);

    let paused = first_lines(deployment("web").replace(r#""replicas":10"#, r#""replicas":10,"paused":true"#));
    let expected = "Deployment web: waits before its first step, never below 10 of 10, up to 10 pods";
    assert_eq!(paused[0], expected);
    assert!(paused[1].starts_with("  then it waits: it is paused"), "{paused:?}");

    let stateful = r#""replicas":10,"updateStrategy":{"rollingUpdate":{"partition":8}}"#;
    let held = deployment("web").replace(r#""replicas":10"#, stateful).replace("Deployment", "StatefulSet");
    let held = first_lines(held);
    let expected = "StatefulSet web: rolls 2 of 10 pods in 2 waves, 34–39 s, and waits, never below 9 of 10, up to 10 pods";
    assert_eq!(held[0], expected);
    assert!(held[1].contains("partition 8"), "{held:?}");
}

/// A rule that a stall names can be looked up.
#[test]
fn rules_that_stalls_name_are_there() {
    let folder = fixtures::repository_file("src/rollout");
    let mut named = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        let by_field = text.split("rule: \"").skip(1).filter_map(|rest| rest.split('"').next());
        let in_words = text.split(" (").skip(1).filter_map(|rest| rest.split(')').next());
        let is_id =
            |it: &&str| it.contains('-') && it.bytes().all(|it| it.is_ascii_lowercase() || it == b'-');
        named.extend(by_field.chain(in_words).filter(is_id).map(str::to_owned));
    }
    assert!(named.len() >= 4, "{named:?}");
    for id in named {
        assert!(gapless::rules::RULES.iter().any(|rule| rule.id == id), "{id}");
    }
}

#[test]
fn a_quota_in_the_input() {
    let quota = |pods: u32, namespace: &str| {
        let metadata = json!({"name": "small", "namespace": namespace});
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata,
            "spec": {"hard": {"pods": pods}}});
        quota.to_string() + "\n---\n"
    };
    let web = || {
        deployment("web")
            .replace(r#""metadata":{"name":"web"}"#, r#""metadata":{"name":"web","namespace":"shop"}"#)
    };
    let figures = |input: String| {
        let found = &rollouts(&["-"], &input)[0];
        (found["peak"].as_i64().unwrap(), found["seconds"]["most"].as_f64(), found["stalls"].clone())
    };
    let free = figures(web() + &quota(10, "elsewhere"));
    assert_eq!(free, (20, Some(30.4), json!(null)), "of another namespace");
    // Old pods that still sleep take the room: each wave waits for them.
    let (peak, most, stalls) = figures(web() + &quota(13, "shop"));
    assert!((peak, &stalls) == (16, &json!(null)) && most > Some(60.0), "{peak} {most:?} {stalls}");
    let (peak, most, stalls) = figures(quota(10, "shop") + &web());
    assert_eq!((peak, most), (10, None));
    let expected = "ResourceQuota small (pods) leaves room for 10 pods, and none ends; \
                    it stands at 10 old and 0 new pods, 10 of them available";
    assert_eq!(stalls, expected);
}

#[test]
fn an_autoscaler_in_the_input() {
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 4, "maxReplicas": 20, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
    let found = &rollouts(&["-"], &format!("{}{autoscaler}", deployment("web")))[0];
    assert_eq!((&found["replicas"], &found["floor"], &found["waves"]), (&json!(4), &json!(4), &json!(4)));
}

/// README shows what the program says.
#[test]
fn readme_shows_it_as_it_is() {
    let readme = std::fs::read_to_string(fixtures::repository_file("README.md")).unwrap();
    let said = preview(&[&scenario("rolling.yaml")]).stdout;
    let (picture, _) = said.split_once("\n\n  certain:").unwrap();
    assert!(readme.contains(&format!("$ gapless preview rolling.yaml\n{picture}\n```")), "{picture}");
}

#[test]
fn a_picture_for_a_page() {
    let named = deployment("web").replace(r#"{"name":"web"}"#, r#"{"name":"<web>"}"#);
    let input = format!("{named}{}", deployment("api"));
    let ran = preview_stdin(&["-f", "svg", "-"], &input);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let svg = ran.stdout;
    for part in [
        "<svg xmlns=\"http://www.w3.org/2000/svg\"",
        "prefers-color-scheme:dark",
        "aria-labelledby=\"t1 d1\"",
        "<title id=\"t0\">Deployment &lt;web&gt;</title>",
        "<desc id=\"d1\">rolls 10 pods in 4 waves, 22–30 s",
        "at 7.6 s 7 old, 6 new: 10 available, 3 leaving",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert!(!svg.contains("<web>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    // What opens closes, in its place.
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap().to_owned()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
