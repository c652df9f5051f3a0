//! The rules that ask whether two generations of pods can run at once, and how many pods
//! there are: every fix of each is followed in thousands of situations. Where only a lesser
//! evil is left, the fix itself has to name it.

use std::fmt;

use gapless::admission::{self, Outcome};
use gapless::kubernetes::kind::Kind;
use gapless::policy::Profile;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::support::around::around;

const TODAY: Date = jiff::civil::date(2026, 11, 23);

/// The rules that ask whether two generations can run at once, and how many pods there are.
pub(super) const RULES: [&str; 6] = [
    "recreate-strategy",
    "rollout-outage",
    "rollout-capacity-loss",
    "single-replica",
    "surge-deadlock",
    "blocking-disruption-budget",
];

/// What else a fix may lead to, if it says so in these words.
const LESSER_EVILS: [(&str, &[&str]); 2] = [
    ("rollout-outage", &["outage"]),
    ("rollout-capacity-loss", &["one pod less", "one at a time", "one pod goes at a time"]),
];

/// A Deployment and what is around it.
#[derive(Clone, Debug)]
struct Situation {
    deployment: Value,
    claim: Option<Value>,
    autoscaler: Option<Value>,
    budget: Option<Value>,
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let spec = &self.deployment["spec"];
        write!(f, "{} {} {}", spec["replicas"], spec["strategy"], spec["template"]["spec"])?;
        for other in [&self.claim, &self.autoscaler, &self.budget].into_iter().flatten() {
            write!(f, "\n  with {} {}", other["kind"], other["spec"])?;
        }
        Ok(())
    }
}

/// Rule, outcome and fix of each finding.
fn findings(situation: &Situation) -> Vec<(&'static str, Outcome, String)> {
    let others = [&situation.claim, &situation.autoscaler, &situation.budget];
    let others: Vec<Value> = others.into_iter().flatten().cloned().collect();
    let around = around(&situation.deployment, &others);
    let assessment =
        admission::assess(Kind::Deployment, &situation.deployment, &around, &Profile::production(), TODAY);
    let judged = assessment.expect("a sound object").judged.into_iter();
    judged.map(|it| (it.finding.rule, it.outcome, it.finding.fix)).collect()
}

/// The pods that cannot run beside one another, each for another reason, and one that can.
fn pods() -> Vec<(&'static str, Value)> {
    let itself =
        json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}});
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [itself]});
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    vec![
        ("free", json!({})),
        ("hostPort", json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
        ("hostNetwork", json!({"hostNetwork": true})),
        ("device", json!({"resources": {"limits": {"example.com/fpga": 1}}})),
        ("resourceClaims", json!({"resourceClaims": [{"name": "gpu"}]})),
        ("antiAffinity", json!({"affinity": {"podAntiAffinity": required}})),
        ("disk", json!({"volumes": [{"name": "data", "iscsi": {}}]})),
        ("claim", json!({"volumes": claim})),
        ("known claim", json!({"volumes": claim})),
    ]
}

fn situations() -> Vec<Situation> {
    let strategies = [
        json!({"type": "Recreate"}),
        json!(null),
        json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}),
        json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
        json!({"rollingUpdate": {"maxUnavailable": "50%", "maxSurge": 0}}),
        json!({"rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 1}}),
    ];
    let mut situations = Vec::new();
    for (name, pod) in pods() {
        for strategy in &strategies {
            for replicas in [json!(null), json!(1), json!(2), json!(3), json!(8)] {
                for arguments in [json!([]), json!(["--leader-elect"])] {
                    for min_replicas in [None, Some(1), Some(3)] {
                        for min_available in [None, Some(json!(1)), Some(json!("100%"))] {
                            let claim = (name == "known claim").then(|| claim("ReadWriteOnce"));
                            situations.push(Situation {
                                deployment: deployment(&pod, strategy, &replicas, &arguments),
                                claim,
                                autoscaler: min_replicas.map(autoscaler),
                                budget: min_available.map(|amount| budget(&json!({"minAvailable": amount}))),
                            });
                        }
                    }
                }
            }
        }
    }
    situations
}

fn deployment(pod: &Value, strategy: &Value, replicas: &Value, arguments: &Value) -> Value {
    let mut container = json!({
        "name": "web", "image": "registry.example/web:1.0", "args": arguments,
        "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
    });
    let mut spec = pod.clone();
    for field in ["ports", "resources"] {
        if let Some(value) = spec.as_object_mut().unwrap().remove(field) {
            container[field] = value;
        }
    }
    spec["containers"] = json!([container]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "strategy": strategy, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    })
}

fn claim(mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": [mode]}})
}

fn autoscaler(min_replicas: i32) -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": min_replicas, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}})
}

fn budget(wants: &Value) -> Value {
    let mut spec = wants.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec})
}

/// The ways that a fix offers, one by one.
fn ways(fix: &str) -> Vec<String> {
    let mut ways = vec![fix.to_owned()];
    for between in ["; or ", "; else ", ", or set ", ", or remove ", ", or let ", ", or use preferred"] {
        ways =
            ways.iter().flat_map(|way| way.split(between).map(str::to_owned).collect::<Vec<_>>()).collect();
    }
    ways
}

/// Does what one way of a fix says. `None` if it says that nothing need be done.
fn follow(situation: &Situation, way: &str) -> Option<Situation> {
    let mut after = situation.clone();
    let mut is_understood = false;
    let pod = &mut after.deployment["spec"]["template"]["spec"];
    let mut remove = |part: &str, pointer: &str| {
        if way.contains(part) {
            *pod.pointer_mut(pointer).expect("what the fix speaks of") = json!(null);
            is_understood = true;
        }
    };
    remove("instead of the hostPort", "/containers/0/ports/0/hostPort");
    remove("remove hostNetwork", "/hostNetwork");
    remove("matchLabelKeys", "/affinity");
    if way.contains("ReadWriteMany") {
        pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        after.claim = Some(claim("ReadWriteMany"));
        is_understood = true;
    }
    if way.starts_with("the budget") || way.contains("keep one of them") {
        after.budget = None;
        is_understood = true;
    }
    let words: Vec<&str> = way.split([' ', ',', ';', '(', ')']).collect();
    for pair in words.windows(2) {
        let [name, value] = pair else { continue };
        let value = value.parse::<i32>().map_or_else(|_| json!(value), |number| json!(number));
        let number_of_pods = match (*name, value.as_i64()) {
            ("run" | "between", Some(number)) => Some(number),
            ("run", None) if value == "more" => Some(100),
            ("replicas:" | "minReplicas:", Some(number)) => Some(number),
            _ => None,
        };
        if let Some(number) = number_of_pods {
            is_understood = true;
            after.deployment["spec"]["replicas"] = json!(number);
            if let Some(autoscaler) = &mut after.autoscaler {
                autoscaler["spec"]["minReplicas"] = json!(number);
            }
        }
        let strategy = &mut after.deployment["spec"]["strategy"];
        match (*name, way.contains("in the budget")) {
            ("strategy.type:", _) => *strategy = json!({"type": value}),
            ("maxUnavailable:", true) => after.budget = Some(budget(&json!({"maxUnavailable": value}))),
            ("maxUnavailable:" | "maxSurge:", _) => {
                strategy["rollingUpdate"][name.trim_end_matches(':')] = value;
            }
            _ => continue,
        }
        is_understood = true;
    }
    let asks_for_nothing = way.starts_with("keep ") && !way.contains("keep one") || way == "a smaller share";
    assert!(is_understood || asks_for_nothing, "nobody can follow {way:?}");
    is_understood.then_some(after)
}

#[test]
fn no_advice_is_denied_or_leads_from_one_finding_to_the_next() {
    let mut followed = 0;
    for situation in situations() {
        let before = findings(&situation);
        for (rule, _, fix) in before.iter().filter(|(rule, outcome, _)| {
            RULES.contains(rule) && matches!(outcome, Outcome::Deny | Outcome::Warn | Outcome::Audit)
        }) {
            for way in ways(fix) {
                let Some(after) = follow(&situation, &way) else { continue };
                followed += 1;
                let context = || format!("{rule}: {way:?} of {fix:?}\nin {situation}\nleads to {after}");
                for (found, outcome, _) in findings(&after) {
                    assert!(found != *rule || outcome == Outcome::Audit, "it is still there: {}", context());
                    // A part of the pods down where all of them were is no other finding.
                    let is_same = |rule: &str| {
                        rule == found || (rule, found) == ("rollout-outage", "rollout-capacity-loss")
                    };
                    let was = |outcomes: &[Outcome]| {
                        before.iter().any(|(rule, was, _)| is_same(rule) && outcomes.contains(was))
                    };
                    let is_named = LESSER_EVILS
                        .iter()
                        .any(|(evil, words)| *evil == found && words.iter().any(|word| way.contains(word)));
                    // What was said before has its own fix.
                    let was_there = was(&[Outcome::Deny, Outcome::Warn]);
                    match outcome {
                        Outcome::Deny => assert!(was_there, "{found} denies it: {}", context()),
                        Outcome::Warn => assert!(was_there || is_named, "{found} warns: {}", context()),
                        _ => {}
                    }
                }
            }
        }
    }
    assert!(followed > 1_000, "only {followed} ways");
}
