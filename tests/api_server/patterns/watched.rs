//! The queries of a page, asked with Prometheus' own engine. The series have the labels
//! of the pods as they are stored, as far as the page says that they are brought.

use gapless::patterns::{PATTERNS, Pattern};
use serde_json::{Map, Value, json};

use super::{Stored, is_workload, name};
use crate::api_server::monitoring::promql::{Answered, Scrape, Target, values};
use crate::support::namespace::Namespace;
use crate::support::page::Page;

/// How long it is watched.
const MINUTES: u32 = 10;

/// What is going on while a page's queries are asked.
struct Story {
    id: &'static str,
    /// What its release writes in place of what is in the manifests.
    release: &'static [(&'static str, &'static str)],
    pods: &'static [Pods],
    /// What each query returns, those in manifests first: labels, as `a=b,c=d`, and value.
    answers: &'static [&'static [(&'static str, f64)]],
}

/// Equal pods of a workload.
struct Pods {
    workload: &'static str,
    /// Whether they are of the release.
    is_new: bool,
    count: usize,
    is_ready: bool,
    /// Requests that each of them answers in a second, with 200 and with 500.
    answered: (f64, f64),
}

const fn pods(workload: &'static str, count: usize, answered: (f64, f64)) -> Pods {
    Pods { workload, is_new: false, count, is_ready: true, answered }
}

const fn new(pods: Pods) -> Pods {
    Pods { is_new: true, ..pods }
}

const fn unready(pods: Pods) -> Pods {
    Pods { is_ready: false, ..pods }
}

const NONE: (f64, f64) = (0.0, 0.0);
const NEXT: &[(&str, &str)] = &[(":v1.0", ":v2.0")];

const STORIES: [Story; 9] = [
    Story {
        id: "rolling",
        release: NEXT,
        pods: &[
            pods("Deployment chatbot", 1, (4.0, 0.0)),
            new(pods("Deployment chatbot", 1, (3.0, 1.0))),
            new(unready(pods("Deployment chatbot", 1, NONE))),
        ],
        answers: &[
            &[("version=v1.0", 0.0), ("version=v2.0", 0.25)],
            &[("label_version=v1.0", 1.0), ("label_version=v2.0", 1.0)],
        ],
    },
    Story {
        id: "recreate",
        release: NEXT,
        pods: &[new(unready(pods("Deployment chatbot-dev", 2, NONE)))],
        answers: &[&[("label_app=chatbot-dev,namespace=HERE", 0.0)], &[("label_version=v2.0", 2.0)]],
    },
    Story {
        id: "blue-green",
        release: &[],
        pods: &[
            pods("Deployment chatbot-blue", 2, NONE),
            pods("Deployment chatbot-green", 1, NONE),
            unready(pods("Deployment chatbot-green", 1, NONE)),
        ],
        answers: &[&[
            ("label_app_kubernetes_io_version=v1.0,label_version=blue", 2.0),
            ("label_app_kubernetes_io_version=v1.1,label_version=green", 1.0),
        ]],
    },
    Story {
        id: "canary",
        release: &[],
        pods: &[
            pods("Deployment chatbot", 3, (3.0, 0.0)),
            pods("Deployment chatbot-canary", 1, (2.25, 0.75)),
        ],
        answers: &[
            &[("version=v1.0", 0.75), ("version=v1.1", 0.25)],
            &[("version=v1.0", 0.0), ("version=v1.1", 0.25)],
        ],
    },
    Story {
        id: "argo-rollouts",
        release: NEXT,
        pods: &[
            pods("Rollout chatbot", 3, (2.0, 1.0)),
            new(pods("Rollout chatbot", 1, (1.5, 0.5))),
            pods("Rollout console", 2, (1.0, 1.0)),
        ],
        answers: &[&[("", 0.25)], &[("label_version=v1.0", 3.0), ("label_version=v2.0", 1.0)]],
    },
    Story {
        id: "flagger",
        release: NEXT,
        pods: &[
            pods("Deployment chatbot-primary", 2, (4.0, 1.0)),
            new(pods("Deployment chatbot", 1, (1.5, 0.5))),
        ],
        answers: &[
            &[("", 25.0)],
            &[("app=chatbot,version=v2.0", 2.0), ("app=chatbot-primary,version=v1.0", 10.0)],
        ],
    },
    Story {
        id: "ab-testing",
        release: NEXT,
        pods: &[
            pods("Deployment chatbot-a", 1, (2.0, 0.0)),
            new(pods("Deployment chatbot-a", 1, (1.0, 0.0))),
            pods("Deployment chatbot-b", 2, (1.5, 0.5)),
        ],
        answers: &[&[
            ("code=200,variant=a,version=v1.0", 2.0),
            ("code=200,variant=a,version=v2.0", 1.0),
            ("code=200,variant=b,version=v1.1-b", 3.0),
            ("code=500,variant=b,version=v1.1-b", 1.0),
        ]],
    },
    Story {
        id: "shadow",
        release: &[],
        pods: &[pods("Deployment chatbot", 2, (2.0, 0.0)), pods("Deployment chatbot-shadow", 1, (3.0, 1.0))],
        answers: &[&[("track=live,version=v1.0", 0.0), ("track=shadow,version=v1.1", 0.25)]],
    },
    Story {
        id: "feature-flags",
        release: &[("flags-1", "flags-2"), ("\"flags\":\"1\"", "\"flags\":\"2\"")],
        pods: &[pods("Deployment chatbot", 1, (4.0, 0.0)), new(pods("Deployment chatbot", 1, (3.0, 1.0)))],
        answers: &[&[("flags=1,version=v1.0", 0.0), ("flags=2,version=v1.0", 0.25)]],
    },
];

#[track_caller]
fn story(pattern: &Pattern) -> &'static Story {
    STORIES.iter().find(|story| story.id == pattern.id).unwrap_or_else(|| panic!("no story: {}", pattern.id))
}

#[test]
fn each_page_is_watched() {
    let ids: Vec<&str> = STORIES.iter().map(|story| story.id).collect();
    assert_eq!(ids, PATTERNS.iter().map(|pattern| pattern.id).collect::<Vec<_>>());
}

/// The workloads after the release, which is applied.
pub fn release(namespace: &Namespace, pattern: &Pattern, objects: &[Value]) -> Stored {
    let mut released = Stored::new();
    for object in objects {
        let text = object.to_string();
        let replaced =
            story(pattern).release.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to));
        if replaced != text {
            namespace.apply(&replaced).ok();
        }
        if is_workload(object) {
            let (kind, name_of_it) = (&object["kind"], &object["metadata"]["name"]);
            let found = namespace.get_json(kind.as_str().unwrap(), name_of_it.as_str().unwrap());
            released.insert(name(object), found);
        }
    }
    released
}

/// Asks all queries of the page.
pub fn answers(namespace: &Namespace, pattern: &Pattern, page: &Page, stored: &Stored, released: &Stored) {
    let story = story(pattern);
    let words = pattern.page.split_whitespace().collect::<Vec<_>>().join(" ");
    let monitored = list(&words, "podTargetLabels: [");
    let allowed = list(&words, "--metric-labels-allowlist=pods=[");

    let mut state = String::new();
    let mut targets = Vec::new();
    let foreign = json!({"app": "other", "version": "v1.0", "track": "live", "flags": "1", "variant": "a"});
    let foreign = (foreign.as_object().unwrap().clone(), true, (7.0, 3.0));
    let of_story = story.pods.iter().flat_map(|pods| {
        let generation = if pods.is_new { released } else { stored };
        let workload = &generation[pods.workload];
        let labels = workload["spec"]["template"]["metadata"]["labels"].as_object().unwrap().clone();
        std::iter::repeat_n((labels, pods.is_ready, pods.answered), pods.count)
    });
    for (number, (labels, is_ready, answered)) in of_story.chain([foreign]).enumerate() {
        let pod = format!("pod-{number}");
        state.push_str(&pod_state(&namespace.name, &pod, is_ready));
        if !allowed.is_empty() {
            state.push_str(&pod_labels(&namespace.name, &pod, &chosen(&labels, &allowed, "label_")));
        }
        let target = Target::pod(&namespace.name, "chatbot", &pod, &chosen(&labels, &monitored, ""));
        targets.push(target.each_half_minute(MINUTES, |scrape| requests(scrape, answered)));
    }
    targets.push(Target::kube_state_metrics().at(0, &Scrape::plain(state)));

    let queries = [in_manifests(page, released), page.section("What to watch").queries.clone()].concat();
    assert_eq!(queries.len(), story.answers.len(), "{}: {queries:#?}", pattern.id);
    let named: Map<String, Value> =
        queries.iter().enumerate().map(|(number, query)| (number.to_string(), json!(query))).collect();
    let values = values(&Value::Object(named), &targets, MINUTES);
    for (number, expected) in story.answers.iter().enumerate() {
        let expected: Vec<(String, f64)> = expected
            .iter()
            .map(|(labels, value)| (labels.replace("HERE", &namespace.name), *value))
            .collect();
        assert_eq!(readable(&values[&number.to_string()]), expected, "{}: {}", pattern.id, queries[number]);
    }
}

/// The words of a list that begins so; none if there is none.
fn list<'p>(words: &'p str, begin: &str) -> Vec<&'p str> {
    let rest = words.split_once(begin).map(|(_, rest)| rest.split_once(']').expect("the end of a list").0);
    rest.map(|list| list.split([',', ' ']).filter(|word| !word.is_empty()).collect()).unwrap_or_default()
}

/// Those of the labels that somebody asks for, with names as Prometheus takes them.
fn chosen(labels: &Map<String, Value>, names: &[&str], prefix: &str) -> Map<String, Value> {
    let found = names.iter().filter_map(|name| Some((*name, labels.get(*name)?.clone())));
    found.map(|(name, value)| (format!("{prefix}{}", name.replace(['.', '/', '-'], "_")), value)).collect()
}

/// What kube-state-metrics says of a pod.
fn pod_state(namespace: &str, pod: &str, is_ready: bool) -> String {
    let line = |condition: &str, is_so: bool| {
        let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\",condition=\"{condition}\"");
        format!("kube_pod_status_ready{{{labels}}} {}\n", u8::from(is_so))
    };
    [line("true", is_ready), line("false", !is_ready), line("unknown", false)].concat()
}

/// What it says of its labels.
fn pod_labels(namespace: &str, pod: &str, labels: &Map<String, Value>) -> String {
    let more: String = labels.iter().map(|(name, value)| format!(",{name}={value}")).collect();
    format!("kube_pod_labels{{namespace=\"{namespace}\",pod=\"{pod}\"{more}}} 1\n")
}

/// What an application exposes in the n-th half minute. A code that never was has no series.
fn requests(scrape: u32, (good, bad): (f64, f64)) -> String {
    let counts = [("200", good), ("500", bad)].into_iter().filter(|(_, rate)| *rate > 0.0);
    let lines = counts.map(|(code, rate)| {
        format!("http_requests_total{{code=\"{code}\"}} {}\n", rate * 30.0 * f64::from(scrape))
    });
    lines.collect()
}

/// The queries of an AnalysisTemplate of Argo Rollouts and of a MetricTemplate of Flagger,
/// with what their controllers put into them.
fn in_manifests(page: &Page, released: &Stored) -> Vec<String> {
    let objects = super::manifests(page);
    let mut found = Vec::new();
    for object in &objects {
        let query = match object["kind"].as_str().unwrap() {
            "AnalysisTemplate" => {
                let metrics = object["spec"]["metrics"].as_array().unwrap();
                let query = metrics[0]["provider"]["prometheus"]["query"].as_str().unwrap();
                let rollout = &released["Rollout chatbot"];
                let argument = &rollout["spec"]["strategy"]["canary"]["analysis"]["args"][0];
                let path = argument["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap();
                let value = path.split('.').fold(rollout, |value, field| &value[field]);
                let placeholder = format!("{{{{args.{}}}}}", argument["name"].as_str().unwrap());
                assert!(query.contains(&placeholder), "{query}");
                query.replace(&placeholder, value.as_str().expect("a label"))
            }
            "MetricTemplate" => {
                let canary = objects.iter().find(|object| object["kind"] == "Canary").unwrap();
                let target = canary["spec"]["targetRef"]["name"].as_str().unwrap();
                let interval = canary["spec"]["analysis"]["metrics"][0]["interval"].as_str().unwrap();
                let query = object["spec"]["query"].as_str().unwrap();
                query.replace("{{ target }}", target).replace("{{ interval }}", interval)
            }
            _ => continue,
        };
        assert!(!query.contains("{{"), "{query}");
        found.push(query);
    }
    found
}

/// Labels and values, sorted.
fn readable(answer: &[Answered]) -> Vec<(String, f64)> {
    let labels = |series: &Answered| {
        series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let mut all: Vec<(String, f64)> =
        answer.iter().map(|series| (labels(series), rounded(series.value))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
