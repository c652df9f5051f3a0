//! The fixes of all other rules, followed in what their pages show.

use gapless::admission::{self, Outcome};
use gapless::kubernetes::kind::Kind;
use gapless::policy::Profile;
use gapless::rules::{Check, Needs, RULES, Rule};
use jiff::civil::Date;
use serde_json::{Value, json};

use super::availability;
use crate::support::around::around;
use crate::support::page::Page;
use crate::support::simulated::ApiServer;

const TODAY: Date = jiff::civil::date(2026, 11, 23);

/// A rule, words of its fix, and what they ask for: in the workload, and in what is around it.
type Way = (&'static str, &'static str, fn(&mut Value, &mut [Value]));

const WAYS: &[Way] = &[
    ("replicas-fall-to-default", "keep replicas: 10", |web, _| web["spec"]["replicas"] = json!(10)),
    ("no-rollback-history", "remove revisionHistoryLimit", |web, _| {
        web["spec"]["revisionHistoryLimit"] = json!(null);
    }),
    ("no-rollback-history", "set it to 1", |web, _| web["spec"]["revisionHistoryLimit"] = json!(1)),
    ("unreachable-progress-deadline", "shorten initialDelaySeconds", |web, _| {
        probe(web, "readinessProbe")["initialDelaySeconds"] = json!(5);
    }),
    ("unreachable-progress-deadline", "raise progressDeadlineSeconds", |web, _| {
        web["spec"]["progressDeadlineSeconds"] = json!(600);
    }),
    ("tight-progress-deadline", "set progressDeadlineSeconds above 900", |web, _| {
        web["spec"]["progressDeadlineSeconds"] = json!(901);
    }),
    ("tight-progress-deadline", "lower failureThreshold", |web, _| {
        probe(web, "startupProbe")["failureThreshold"] = json!(20);
    }),
    ("missing-readiness-probe", "add a readinessProbe", |web, _| {
        container(web)["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 8080}});
    }),
    ("unknown-probe-port", "a declared name (http)", |web, _| {
        probe(web, "readinessProbe")["httpGet"]["port"] = json!("http");
    }),
    ("unknown-probe-port", "or a number", |web, _| {
        probe(web, "readinessProbe")["httpGet"]["port"] = json!(8080);
    }),
    ("undeclared-probe-port", "declare containerPort: 8081", |web, _| {
        container(web)["ports"].as_array_mut().unwrap().push(json!({"containerPort": 8081}));
    }),
    ("undeclared-probe-port", "ask a declared port (8080)", |web, _| {
        probe(web, "readinessProbe")["httpGet"]["port"] = json!(8080);
    }),
    ("slow-readiness", "use a startupProbe", |web, _| {
        probe(web, "readinessProbe")["initialDelaySeconds"] = json!(null);
        let mut startup = probe(web, "readinessProbe").clone();
        startup["failureThreshold"] = json!(50);
        startup["periodSeconds"] = json!(5);
        container(web)["startupProbe"] = startup;
    }),
    ("probe-timeout-exceeds-period", "set timeoutSeconds to 5", |web, _| {
        probe(web, "readinessProbe")["timeoutSeconds"] = json!(5);
    }),
    ("probe-timeout-exceeds-period", "periodSeconds to 20", |web, _| {
        probe(web, "readinessProbe")["periodSeconds"] = json!(20);
    }),
    ("liveness-equals-readiness", "raise failureThreshold", |web, _| {
        probe(web, "livenessProbe")["failureThreshold"] = json!(30);
    }),
    ("liveness-equals-readiness", "remove the livenessProbe", |web, _| {
        container(web)["livenessProbe"] = json!(null);
    }),
    ("liveness-before-ready", "add a startupProbe", |web, _| {
        let mut startup = probe(web, "livenessProbe").clone();
        startup["failureThreshold"] = json!(30);
        container(web)["startupProbe"] = startup;
    }),
    ("missing-pre-stop", "add lifecycle.preStop.sleep.seconds: 10", |web, _| {
        container(web)["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 10}}});
        grace_period(web, 40);
    }),
    ("stop-before-drain", "sh -c \"sleep 10; nginx -s quit\"", |web, _| {
        let hook = json!({"preStop": {"exec": {"command": ["sh", "-c", "sleep 10; nginx -s quit"]}}});
        container(web)["lifecycle"] = hook;
    }),
    ("pre-stop-exceeds-grace", "terminationGracePeriodSeconds to 35", |web, _| grace_period(web, 35)),
    ("pre-stop-exceeds-grace", "sleep less", |web, _| sleep(web, 0, 10)),
    ("short-drain", "terminationGracePeriodSeconds to 33", |web, _| grace_period(web, 33)),
    ("short-drain", "sleep less", |web, _| sleep(web, 0, 10)),
    ("shell-sleep", "preStop.sleep.seconds: 10", |web, _| sleep(web, 0, 10)),
    ("sidecar-stops-first", "a native sidecar", |web, _| {
        let pod = &mut web["spec"]["template"]["spec"];
        let mut sidecar = pod["containers"].as_array_mut().unwrap().remove(1);
        sidecar["restartPolicy"] = json!("Always");
        pod["initContainers"] = json!([sidecar]);
    }),
    ("sidecar-stops-first", "sleep 10 seconds too", |web, _| sleep(web, 1, 10)),
    ("zero-grace-period", "remove terminationGracePeriodSeconds", |web, _| {
        web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(null);
    }),
    ("zero-grace-period", "time to drain", |web, _| grace_period(web, 60)),
    ("mutable-image-tag", "name a version", |web, _| image(web, "registry.example/web:v1.2.3")),
    ("mutable-image-tag", "or a digest", |web, _| {
        image(web, &format!("registry.example/web@sha256:{}", "0123456789abcdef".repeat(4)));
    }),
    ("unpullable-image", "run the tool that fills it in", |web, _| image(web, "registry.example/web:v1.2.3")),
    ("version-label-mismatch", "write the version of the image", |web, _| {
        web["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] = json!("v1.2.3");
    }),
    ("version-label-mismatch", "remove the label", |web, _| {
        let labels = &mut web["spec"]["template"]["metadata"]["labels"];
        labels.as_object_mut().unwrap().retain(|key, _| !key.contains("version"));
    }),
    ("missing-version-label", "label the pod template", |web, _| {
        web["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] = json!("v1.2.3");
    }),
    ("missing-version-label", "tag the image", |web, _| image(web, "registry.example/web:v1.2.3")),
    ("selector-overlap", "give each a label of its own", |_, others| {
        for pointer in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            others[0].pointer_mut(pointer).unwrap()["track"] = json!("stable");
        }
    }),
    ("dangling-target-port", "set the Service's targetPort: http", |_, others| {
        others[0]["spec"]["ports"][0]["targetPort"] = json!("http");
    }),
    ("dangling-target-port", "rename the port to \"web\", in its probes too", |web, _| {
        container(web)["ports"][0]["name"] = json!("web");
        probe(web, "readinessProbe")["httpGet"]["port"] = json!("web");
    }),
    ("blocking-disruption-budget", "set maxUnavailable: 1 in the budget", |_, others| {
        let selector = others[0]["spec"]["selector"].clone();
        others[0]["spec"] = json!({"maxUnavailable": 1, "selector": selector});
    }),
    ("partition-holds-back", "set partition: 0", |web, _| partition(web, 0)),
    ("partition-holds-back", "or 2 to try", |web, _| partition(web, 2)),
    ("daemon-gap", "serve through a Service instead of the hostPort", |web, _| {
        container(web)["ports"][0]["hostPort"] = json!(null);
        web["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    }),
    ("short-scale-down-delay", "remove scaleDownDelaySeconds", |web, _| {
        web["spec"]["strategy"]["blueGreen"]["scaleDownDelaySeconds"] = json!(null);
    }),
    ("short-scale-down-delay", "set it to 30", |web, _| {
        web["spec"]["strategy"]["blueGreen"]["scaleDownDelaySeconds"] = json!(30);
    }),
    ("single-replica", "set replicas: 2", |web, _| web["spec"]["replicas"] = json!(2)),
    ("recreate-strategy", "set strategy.type: RollingUpdate with maxUnavailable: 0", |web, _| {
        web["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    }),
];

fn container(web: &mut Value) -> &mut Value {
    &mut web["spec"]["template"]["spec"]["containers"][0]
}

fn probe<'w>(web: &'w mut Value, field: &str) -> &'w mut Value {
    let probe = &mut container(web)[field];
    assert!(probe.is_object(), "the page shows no {field}");
    probe
}

fn image(web: &mut Value, image: &str) {
    container(web)["image"] = json!(image);
}

fn partition(web: &mut Value, partition: i32) {
    web["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(partition);
}

fn sleep(web: &mut Value, index: usize, seconds: i64) {
    web["spec"]["template"]["spec"]["containers"][index]["lifecycle"] =
        json!({"preStop": {"sleep": {"seconds": seconds}}});
}

fn grace_period(web: &mut Value, seconds: i64) {
    web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
}

/// Rule, outcome and fix of what is found in the last of these objects. Where the rule asks
/// for it, the first is what is stored.
fn findings(rule: &Rule, web: &Value, others: &[Value]) -> Vec<(&'static str, Outcome, String)> {
    if rule.needs == Needs::OldObject {
        let findings = ApiServer::new("production").update(&others[0], web).findings;
        return findings.into_iter().map(|(rule, outcome)| (rule, outcome, String::new())).collect();
    }
    let around = around(web, others);
    let assessment = admission::assess(Kind::of_document(web), web, &around, &Profile::production(), TODAY)
        .expect("a sound object");
    let judged = assessment.judged.into_iter();
    judged.map(|it| (it.finding.rule, it.outcome, it.finding.fix)).collect()
}

#[test]
fn no_fix_is_denied_or_trades_one_finding_for_another() {
    // What the others ask for is done to a workload.
    let rules = RULES.iter().filter(|rule| matches!(rule.check, Check::Workload(_)));
    for rule in rules {
        let page = Page::parse(rule.id, rule.page);
        let section = page.section("Fails");
        let (mut web, mut others) = (section.blocks[0].clone(), section.others[0].clone());
        if rule.needs == Needs::OldObject {
            std::mem::swap(&mut web, &mut others[0]);
        }
        let before = findings(rule, &web, &others);
        let ways: Vec<&Way> = WAYS.iter().filter(|(id, ..)| *id == rule.id).collect();
        assert!(!ways.is_empty() || availability::RULES.contains(&rule.id), "nobody follows {}", rule.id);
        for (_, words, follow) in ways {
            let said = before.iter().any(|(found, _, fix)| *found == rule.id && fix.contains(words));
            assert!(said || rule.needs == Needs::OldObject, "{}: no {words:?} in {before:?}", rule.id);
            let (mut web, mut others) = (web.clone(), others.clone());
            follow(&mut web, &mut others);
            for (found, outcome, _) in findings(rule, &web, &others) {
                let is_new = !before.iter().any(|(was, ..)| *was == found);
                let is_shown = matches!(outcome, Outcome::Deny | Outcome::Warn);
                assert_ne!(found, rule.id, "{words:?} does not help: {web}");
                assert!(!is_new || !is_shown, "{}: {words:?} leads to {found}: {web}", rule.id);
            }
        }
    }
}
