//! One judgement, whichever way an object comes: from a file by `gapless check`,
//! from the API server's review, and from kubectl on a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use gapless::kubernetes::kind::Kind;
use gapless::rules::{Needs, RULES, Rule};
use serde_json::{Value, json};

use super::installed::installed;
use crate::support;
use crate::support::deployment::{applied, deployment_with};
use crate::support::fixtures::scenarios;
use crate::support::namespace::Namespace;
use crate::support::page::{Page, yaml};
use crate::support::simulated::ApiServer;

/// Rules, and what came of what they found.
type Findings = BTreeSet<(String, String)>;

/// The rules that need nothing but the object.
fn by_object() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| rule.needs == Needs::Nothing)
}

/// The workloads of all pages and scenarios, by a name that says where each
/// is from.
pub(super) fn fixtures() -> BTreeMap<String, Value> {
    let mut fixtures = BTreeMap::new();
    for rule in by_object() {
        let page = Page::parse(rule.id, rule.page);
        for heading in ["Fails", "Passes"] {
            for (number, block) in page.section(heading).blocks.iter().enumerate() {
                fixtures.insert(format!("{}-{}-{number}", rule.id, heading.to_lowercase()), block.clone());
            }
        }
    }
    for (file, text) in scenarios() {
        let name = file.trim_end_matches(".yaml");
        for (number, document) in text.split("\n---\n").enumerate() {
            fixtures.insert(format!("scenario-{name}-{number}"), yaml(name, document));
        }
    }
    fixtures.retain(|_, object| object["kind"] == Kind::of_document(object).name());
    for (name, object) in &mut fixtures {
        object["metadata"]["name"] = json!(name);
    }
    fixtures
}

/// What `gapless check` finds.
fn by_check(object: &Value) -> Findings {
    let mut check = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["check", "-f", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    let report: Value = serde_json::from_slice(&check.wait_with_output().unwrap().stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|it| (text(&it["rule"]), text(&it["outcome"]))).collect()
}

/// What the webhook finds in the review of a new object.
fn by_review(object: &Value) -> Findings {
    let findings = ApiServer::new("production").create(&applied(object)).findings;
    findings.into_iter().map(|(rule, outcome)| (rule.to_owned(), outcome.as_str().to_owned())).collect()
}

/// What kubectl shows, in a denial or as warnings, and what only the audit log
/// tells.
fn by_kubectl(namespace: &Namespace, object: &Value) -> Findings {
    let arguments = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    let output = namespace.kubectl(arguments).stdin(object.to_string()).run();
    let name = object["metadata"]["name"].as_str().unwrap();
    let log = support::eventually("the audit log", || {
        let log = namespace.audit_log();
        let about =
            |event: &&Value| event["objectRef"]["name"] == name && event["stage"] == "ResponseComplete";
        log.iter().find(about).cloned().ok_or_else(|| format!("{} events, none about {name}", log.len()))
    });
    let annotation =
        |key: &str| log["annotations"][format!("production.validate.gapless.dev/{key}")].as_str();
    assert_eq!(annotation("profile"), Some("production"), "{name} was not judged: {log:#}");
    let findings: Findings = annotation("findings")
        .unwrap_or_default()
        .split("; ")
        .filter_map(|finding| {
            let mut words = finding.split(' ');
            let outcome = words.next().filter(|word| !word.is_empty())?;
            Some((words.next()?.to_owned(), outcome.to_owned()))
        })
        .collect();
    let is_denied = findings.iter().any(|(_, outcome)| outcome == "deny");
    assert_eq!(output.is_denied_by("production"), is_denied, "{output}");
    assert_eq!(output.status.success(), !is_denied, "{output}");
    for (rule, outcome) in &findings {
        let is_shown = output.stderr.lines().any(|line| line.ends_with(&format!("({rule})")));
        assert_eq!(is_shown, outcome != "audit", "{rule}: {output}");
    }
    findings
}

#[test]
fn all_ways_agree_and_every_rule_is_seen_to_fire_and_not_to_fire() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let mut fired = BTreeSet::new();
    for (name, object) in fixtures() {
        let by_check = by_check(&object);
        assert_eq!(by_check, by_review(&object), "check and review of {name}");
        // Whether Rollouts are served, and how, is up to the tests of kinds.
        if object["kind"] != "Rollout" {
            assert_eq!(by_check, by_kubectl(&namespace, &object), "check and kubectl of {name}");
        }
        for rule in RULES.iter().map(|rule| rule.id) {
            let fires = by_check.iter().any(|(found, _)| found == rule);
            if name.starts_with(&format!("{rule}-fails")) {
                assert!(fires, "{rule} is silent about {name}");
                fired.insert(rule);
            } else if name.starts_with(&format!("{rule}-passes")) {
                assert!(!fires, "{rule} speaks up about {name}");
            }
        }
    }
    assert_eq!(fired.len(), by_object().count());
}

/// The API server takes percentages of any length.
#[test]
fn a_surge_of_any_size_is_judged() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    for (number, surge) in ["4294967296%", "99999999999999999999%"].into_iter().enumerate() {
        let name = format!("huge-{number}");
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}});
        let object = deployment_with(&name, &json!({"replicas": 1, "strategy": strategy}));
        let expected = Findings::from([("single-replica".to_owned(), "warn".to_owned())]);
        assert_eq!(by_check(&object), expected, "{surge}");
        assert_eq!(by_review(&object), expected, "{surge}");
        assert_eq!(by_kubectl(&namespace, &object), expected, "{surge}");
    }
}

/// Images and hooks as people write them, with what they get. The API server takes them all.
#[test]
fn images_and_hooks_are_read_the_same_way_everywhere() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let none = json!({});
    let image = |image: &str| json!({"image": image});
    let hook = |script: &str| json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", script]}}}});
    let nameless = ("missing-version-label", "audit");
    let triggers = json!({"image.openshift.io/triggers": "[{}]"});
    #[rustfmt::skip]
    let table = [
        (image("registry.example/web:${TAG}"), &none, vec![("unpullable-image", "deny"), nameless]),
        (image("registry.example/Web:v1"), &none, vec![("unpullable-image", "deny"), nameless]),
        (image("registry.example/web:__TAG__"), &none, vec![("unpullable-image", "audit"), nameless]),
        (image(" "), &none, vec![("unpullable-image", "deny"), nameless]),
        (image(" "), &triggers, vec![nameless]),
        (image("registry.example/web:edge"), &none, vec![("mutable-image-tag", "warn"), nameless]),
        (image("[2001:db8::1]:5000/web:v1"), &none, vec![]),
        (hook("kill -QUIT 1; sleep 40"), &none, vec![("stop-before-drain", "warn")]),
        (hook("sleep"), &none, vec![("stop-before-drain", "warn")]),
        (hook("[ -e /x ] && kill 1; if y\nthen sleep 40\nfi"), &none, vec![]),
        (hook("sleep 5; nginx -s quit"), &none, vec![]),
        (hook("sleep 40"), &none, vec![("pre-stop-exceeds-grace", "deny"), ("shell-sleep", "audit")]),
    ];
    for (number, (change, annotations, expected)) in table.into_iter().enumerate() {
        let name = format!("read-{number}");
        let mut object = deployment_with(&name, &none);
        object["metadata"]["annotations"] = annotations.clone();
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        change.as_object().unwrap().iter().for_each(|(key, value)| container[key] = value.clone());
        let expected: Findings =
            expected.into_iter().map(|(rule, outcome)| (rule.to_owned(), outcome.to_owned())).collect();
        assert_eq!(by_check(&object), expected, "{change}");
        assert_eq!(by_review(&object), expected, "{change}");
        assert_eq!(by_kubectl(&namespace, &object), expected, "{change}");
        let denied = expected.iter().find(|(_, outcome)| outcome == "deny");
        if let Some((rule, _)) = denied {
            let create = namespace.kubectl(["create", "--dry-run=server", "-f", "-"]);
            create.stdin(object.to_string()).fails().assert_denied("production", rule);
        }
    }
}

/// What shows that a container serves, and what leaves no room for a second pod beside the
/// first. What is unread in a review is looked into in a file.
#[test]
fn who_serves_and_who_has_room_is_the_same_everywhere() {
    let Some(installed) = installed() else { return };
    let namespace = installed.cluster.namespace();
    let recreate = || json!({"strategy": {"type": "Recreate"}});
    let rolling = |unavailable: i32, surge: i32| json!({"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}});
    let one = |unavailable: i32, surge: i32| {
        let mut spec = rolling(unavailable, surge);
        spec["replicas"] = json!(1);
        spec
    };
    let gpu = || json!({"resources": {"limits": {"nvidia.com/gpu": 1}}});
    let probe = |probe: Value| json!({"ports": [], "readinessProbe": probe});
    let port = |name: &str| json!({"ports": [{"name": name, "containerPort": 9102}]});
    let (recreates, no_probe) = ("recreate-strategy", ("missing-readiness-probe", "warn"));
    let single = ("single-replica", "warn");
    #[rustfmt::skip]
    let table = [
        (recreate(), probe(json!({"grpc": {"port": 50051}})), json!({}), vec![(recreates, "deny"), ("undeclared-probe-port", "audit")]),
        (recreate(), probe(json!({"exec": {"command": ["true"]}})), json!({}), vec![]),
        (recreate(), port("prom-scrape"), json!({}), vec![]),
        (recreate(), port("depot-admin"), json!({}), vec![(recreates, "deny"), no_probe]),
        (recreate(), json!({"args": ["--leader-elect"]}), json!({}), vec![(recreates, "audit"), no_probe]),
        (recreate(), json!({"args": ["--leader-elect=false"]}), json!({}), vec![(recreates, "deny"), no_probe]),
        (recreate(), gpu(), json!({}), vec![(recreates, "audit"), no_probe]),
        (recreate(), json!({}), json!({"volumes": [{"name": "d", "iscsi": {"targetPortal": "192.0.2.7", "iqn": "iqn.2001-04.example:d", "lun": 0}}]}),
            vec![(recreates, "audit"), no_probe]),
        (json!({}), json!({"args": ["--enable-leader-election"]}), json!({}), vec![no_probe]),
        (rolling(0, 1), gpu(), json!({}), vec![("surge-deadlock", "warn")]),
        (rolling(0, 1), json!({"resources": {"limits": {"hugepages-2Mi": "64Mi", "memory": "1Gi"}}}), json!({}), vec![]),
        (one(1, 0), gpu(), json!({}), vec![("rollout-outage", "warn"), single]),
        (one(1, 0), json!({}), json!({}), vec![("rollout-outage", "deny"), single]),
        (json!({}), json!({"ports": [{"name": "mysql-ro", "containerPort": 16447}]}), json!({}), vec![no_probe]),
        (json!({}), json!({"ports": [{"name": "peer", "containerPort": 7946}, {"name": "metrics", "containerPort": 9464}]}), json!({}),
            vec![no_probe]),
        (json!({}), json!({"ports": []}), json!({"terminationGracePeriodSeconds": 0}), vec![]),
    ];
    for (number, (spec, container, pod, expected)) in table.into_iter().enumerate() {
        let mut object = deployment_with(&format!("room-{number}"), &spec);
        let template = &mut object["spec"]["template"]["spec"];
        let merge = |into: &mut Value, fields: &Value| {
            fields.as_object().unwrap().iter().for_each(|(key, value)| into[key] = value.clone());
        };
        merge(template, &pod);
        merge(&mut template["containers"][0], &container);
        let expected: Findings =
            expected.into_iter().map(|(rule, outcome)| (rule.to_owned(), outcome.to_owned())).collect();
        assert_eq!(by_check(&object), expected, "{object}");
        assert_eq!(by_review(&object), expected, "{object}");
        assert_eq!(by_kubectl(&namespace, &object), expected, "{object}");
    }
}

/// The API server lets control characters through in images and annotations. None of
/// them reaches a terminal or a log.
#[test]
fn what_an_object_says_is_printed_without_control_characters() {
    let Some(installed) = installed() else { return };
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "sign",
            "annotations": {
                "gapless.dev/waive.single-replica": "fine\u{9b}2J\u{7}",
                "gapless.dev/readiness-path": "/ok\u{7f}\u{1b}]0;owned\u{7}",
            },
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "sign"}},
            "template": {
                "metadata": {"labels": {"app": "sign"}},
                "spec": {"containers": [{
                    "name": "sign",
                    "image": "registry.example/a\u{1b}[31m\u{9b}2J\u{7f}\0b",
                    "ports": [{"containerPort": 8080}],
                }]},
            },
        },
    });
    let is_control = |character: char| character.is_control() && character != '\n';
    // In the denial, and as a warning.
    for (profile, is_denied) in [("production", true), ("advisory", false)] {
        let namespace = installed.cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
        let create = namespace.kubectl(["create", "--dry-run=server", "-f", "-"]);
        let output = create.stdin(object.to_string()).run();
        assert_eq!(output.status.success(), !is_denied, "{output}");
        let image = "image registry.example/a\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd}b ";
        assert!(output.stderr.contains(image), "{output}");
        assert!(!output.stderr.contains(is_control), "{:?}", output.stderr);

        let waived = support::eventually("the audit log", || {
            let log = namespace.audit_log();
            let annotation = format!("{profile}.validate.gapless.dev/waived");
            let mut waived = log.iter().map(|event| &event["annotations"][&annotation]);
            waived.find_map(|it| Some(it.as_str()?.to_owned())).ok_or_else(|| format!("{log:#?}"))
        });
        assert_eq!(waived, "single-replica: fine\u{fffd}2J\u{fffd}");
    }
    assert!(!installed.gapless.log().contains(is_control), "{:?}", installed.gapless.log());
}
