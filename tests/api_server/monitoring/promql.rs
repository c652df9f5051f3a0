//! Asks the program in `tests/promql`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use gapless::observe::metrics;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::NAMESPACE;
use crate::support::bench::{GoModule, Unavailable};

const MODULE: GoModule =
    GoModule { directory: "tests/promql", program: "promql", name: "PromQL", takes: "half a minute" };

/// What a process has exposed.
#[derive(Clone)]
pub struct Scrape {
    pub text: String,
    content_type: &'static str,
}

impl Scrape {
    pub fn of_gapless(text: String) -> Scrape {
        Scrape { text, content_type: metrics::CONTENT_TYPE }
    }

    /// In the older format, which the API server and kube-state-metrics answer with
    /// unless asked for another.
    pub fn plain(text: String) -> Scrape {
        Scrape { text, content_type: "text/plain; version=0.0.4" }
    }
}

/// A process that Prometheus scrapes, and what it exposes from which minute on.
#[derive(Clone)]
pub struct Target {
    labels: Value,
    exposed: Vec<Value>,
}

impl Target {
    /// A pod of gapless, with the labels that the Prometheus Operator gives to a target
    /// of a ServiceMonitor.
    pub fn gapless(pod: &str) -> Target {
        Target::of_service(NAMESPACE, "gapless", "metrics", pod)
    }

    /// The API server, as kube-prometheus-stack has it scraped.
    pub fn api_server() -> Target {
        Target::of_service("default", "kubernetes", "https", "192.0.2.1:6443").labelled("job", "apiserver")
    }

    /// kube-state-metrics, whose own labels win over those of the target (`honorLabels`).
    pub fn kube_state_metrics() -> Target {
        Target { labels: json!({"job": "kube-state-metrics", "instance": "ksm"}), exposed: Vec::new() }
    }

    fn of_service(namespace: &str, service: &str, endpoint: &str, instance: &str) -> Target {
        let labels = json!({
            "namespace": namespace, "service": service, "job": service, "endpoint": endpoint,
            "instance": instance, "pod": instance,
        });
        Target { labels, exposed: Vec::new() }
    }

    fn labelled(mut self, name: &str, value: &str) -> Target {
        self.labels[name] = json!(value);
        self
    }

    /// From this minute on it exposes this.
    pub fn at(self, minute: u32, scrape: &Scrape) -> Target {
        self.exposes(json!({"minute": minute, "text": scrape.text, "contentType": scrape.content_type}))
    }

    /// A pod that a PodMonitor of this namespace and name selects, with the labels of the
    /// pod that the monitor brings along.
    pub fn pod(namespace: &str, monitor: &str, pod: &str, brought: &Map<String, Value>) -> Target {
        let mut labels = json!({
            "namespace": namespace, "job": format!("{namespace}/{monitor}"), "pod": pod, "container": "chatbot",
            "endpoint": "http", "instance": pod,
        });
        labels.as_object_mut().expect("an object").extend(brought.clone());
        Target { labels, exposed: Vec::new() }
    }

    /// It exposes what `text` says of each half minute, in which it is scraped.
    pub fn each_half_minute(self, minutes: u32, text: impl Fn(u32) -> String) -> Target {
        let content_type = Scrape::plain(String::new()).content_type;
        (0..=2 * minutes).fold(self, |target, number| {
            let minute = f64::from(number) / 2.0;
            target.exposes(json!({"minute": minute, "text": text(number), "contentType": content_type}))
        })
    }

    /// From this minute on nobody answers.
    pub fn down_at(self, minute: u32) -> Target {
        self.exposes(json!({"minute": minute, "text": null}))
    }

    fn exposes(mut self, exposure: Value) -> Target {
        self.exposed.push(exposure);
        self
    }

    fn json(&self) -> Value {
        json!({"labels": self.labels, "exposed": self.exposed})
    }
}

/// An alert that fires, from one minute to another.
#[derive(Deserialize)]
pub struct Firing {
    pub alert: String,
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    pub from: f64,
    /// Without it, it still fires at the end.
    pub until: Option<f64>,
}

/// What these expressions, by name, refer to that none of the targets has.
#[track_caller]
pub fn missing(expressions: Value, targets: &[Target]) -> Vec<String> {
    ask("uses", json!({"expressions": expressions, "targets": jsons(targets)}))
}

/// A series that an expression returns.
#[derive(Debug, Deserialize)]
pub struct Answered {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// What these expressions, by name, return after so many minutes.
#[track_caller]
pub fn values(expressions: &Value, targets: &[Target], minutes: u32) -> BTreeMap<String, Vec<Answered>> {
    let asked = json!({"expressions": expressions, "targets": jsons(targets), "minutes": minutes});
    ask("values", asked)
}

/// The alerts of a PrometheusRule that fire within so many minutes; the first of them
/// begins at `start`, in seconds since 1970.
#[track_caller]
pub fn fired(rule: &Value, targets: &[Target], start: f64, minutes: u32) -> Vec<Firing> {
    let asked = json!({"rules": rule["spec"], "targets": jsons(targets), "start": start, "minutes": minutes});
    ask("alerts", asked)
}

fn jsons(targets: &[Target]) -> Vec<Value> {
    targets.iter().map(Target::json).collect()
}

#[track_caller]
fn ask<T: DeserializeOwned>(question: &str, asked: Value) -> T {
    let mut command = Command::new(program());
    command.arg(question).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be run");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // All of it is read before anything is written. If it ends instead, it says why.
    let _ = stdin.write_all(asked.to_string().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the output can be read");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("an answer")
}

/// Built when it is first asked for. Who has a control plane has Go.
fn program() -> &'static PathBuf {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| match MODULE.build() {
        Ok(program) => program,
        Err(Unavailable::Missing(why) | Unavailable::Failed(why)) => panic!("{why}"),
    });
    &PROGRAM
}
