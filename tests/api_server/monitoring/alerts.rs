//! Each alert fires when what it is about has happened, and only then. The scrapes
//! are real; only the time between them is not.

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::promql::{self, Firing, Scrape, Target};
use super::recording::{Recording, VALUES};
use super::{EVERYTHING, alerts_of, dashboard, panels, render};
use crate::support;
use crate::support::fixtures::repository_file;

/// What kube-state-metrics exposes of the Deployment, from its documentation.
/// https://github.com/kubernetes/kube-state-metrics/blob/v2.17.0/docs/metrics/workload/deployment-metrics.md
fn state_metrics(available: u32) -> Scrape {
    let labels = r#"{namespace="gapless-system",deployment="gapless"}"#;
    Scrape::plain(format!(
        "# TYPE kube_deployment_spec_replicas gauge\n\
         kube_deployment_spec_replicas{labels} 2\n\
         # TYPE kube_deployment_status_replicas_available gauge\n\
         kube_deployment_status_replicas_available{labels} {available}\n"
    ))
}

/// How long a story is, in minutes. All of them begin well and end with what
/// happened last.
const MINUTES: u32 = 90;

const DAY: f64 = 86_400.0;

/// What Prometheus sees of an installation with two pods.
struct Story {
    name: &'static str,
    /// The age of the certificates, which are made for a year.
    days: f64,
    pods: [Target; 2],
    api_server: Target,
    kube_state_metrics: Target,
    /// The minute in which it happens.
    at: f64,
    /// The alerts that fire, with their severity.
    fires: &'static [(&'static str, &'static str)],
}

impl Story {
    /// Nothing happens.
    fn of(recording: &'static Recording) -> Story {
        Story {
            name: "nothing happens",
            days: 0.0,
            pods: ["gapless-a", "gapless-b"].map(|pod| Target::gapless(pod).at(0, &recording.fresh.gapless)),
            api_server: Target::api_server().at(0, &recording.fresh.api_server),
            kube_state_metrics: Target::kube_state_metrics().at(0, &state_metrics(2)),
            at: 20.0,
            fires: &[],
        }
    }

    fn targets(&self) -> Vec<Target> {
        let [a, b] = self.pods.clone();
        vec![a, b, self.api_server.clone(), self.kube_state_metrics.clone()]
    }
}

fn stories(recording: &'static Recording) -> Vec<Story> {
    let calm = || Story::of(recording);
    // One pod exposes these from these minutes on, the other nothing new.
    let pod = |exposed: &[(u32, &Scrape)]| {
        let exposes = |target: Target, (minute, scrape): &(u32, &Scrape)| target.at(*minute, scrape);
        [exposed.iter().fold(Target::gapless("gapless-a"), exposes), calm().pods[1].clone()]
    };
    let api_server = |exposed: &[(u32, &Scrape)]| {
        exposed.iter().fold(Target::api_server(), |target, (minute, scrape)| target.at(*minute, scrape))
    };
    let deleted = |[a, b, c]: &'static [Scrape; 3]| [(0, a), (20, b), (30, c)];
    let Recording { fresh, busy, errors, slow, fail_open, fail_closed, .. } = recording;
    let panicked = edited(&fresh.gapless, "gapless_panics_total 0", "gapless_panics_total 1");
    let synced = |value| format!("gapless_context_synced{{kind=\"Service\"}} {value}");
    let unfilled = edited(&fresh.gapless, &synced(1), &synced(0));
    let of_probes = |count| format!("gapless_context_stuck_rollouts{{default=\"readiness-probe\"}} {count}");
    let stuck = edited(&fresh.gapless, &of_probes(0), &of_probes(2));

    vec![
        calm(),
        Story {
            name: "everyday traffic: denials, waivers, dry runs",
            pods: pod(&[(0, &fresh.gapless), (20, &busy.gapless)]),
            api_server: api_server(&[(0, &fresh.api_server), (20, &busy.api_server)]),
            ..calm()
        },
        Story {
            name: "the API server gets no answer for the first time",
            api_server: api_server(&[(0, &busy.api_server), (20, &slow[0])]),
            fires: &[("GaplessFailsOpen", "warning")],
            ..calm()
        },
        Story {
            name: "the API server gets no answer once more",
            api_server: api_server(&[(0, &fail_open[0]), (20, &fail_open[1])]),
            fires: &[("GaplessFailsOpen", "warning")],
            ..calm()
        },
        Story {
            name: "the API server got no answer long before Prometheus was there",
            api_server: api_server(&[(0, &fail_open[1])]),
            ..calm()
        },
        Story {
            name: "the API server waits for each answer until it gives up",
            api_server: api_server(&[(0, &busy.api_server), (20, &slow[0]), (27, &slow[1])]),
            fires: &[("GaplessFailsOpen", "warning"), ("GaplessSlow", "warning")],
            ..calm()
        },
        Story {
            name: "one Deployment is rejected for want of an answer",
            api_server: api_server(&[(0, &fail_closed[0]), (20, &fail_closed[1])]),
            ..calm()
        },
        Story {
            name: "Deployments are rejected for want of an answer",
            api_server: api_server(&[(0, &fail_closed[0]), (20, &fail_closed[1]), (23, &fail_closed[2])]),
            fires: &[("GaplessFailsClosed", "critical")],
            ..calm()
        },
        Story {
            name: "a replica is missing, but Prometheus reaches both pods",
            kube_state_metrics: calm().kube_state_metrics.at(20, &state_metrics(1)),
            fires: &[("GaplessReplicasMissing", "warning")],
            ..calm()
        },
        Story {
            name: "a replica is missing for ten minutes",
            kube_state_metrics: calm().kube_state_metrics.at(20, &state_metrics(1)).at(30, &state_metrics(2)),
            ..calm()
        },
        Story {
            name: "a pod does not answer Prometheus",
            pods: [calm().pods[0].clone(), calm().pods[1].clone().down_at(20)],
            fires: &[("GaplessPodsNotScraped", "warning")],
            ..calm()
        },
        Story {
            name: "Prometheus has never heard of the pods",
            pods: ["gapless-a", "gapless-b"].map(Target::gapless),
            at: 0.0,
            fires: &[("GaplessPodsNotScraped", "warning")],
            ..calm()
        },
        Story {
            name: "the mutating configuration was deleted",
            pods: pod(&deleted(&recording.not_injecting)),
            fires: &[("GaplessInjectionStopped", "warning")],
            ..calm()
        },
        Story {
            name: "the validating configuration was deleted",
            pods: pod(&deleted(&recording.not_validating)),
            fires: &[("GaplessValidationStopped", "warning")],
            ..calm()
        },
        Story {
            name: "the mutating configuration was away for a moment",
            pods: pod(&deleted(&recording.not_injecting)[..2]),
            ..calm()
        },
        Story {
            name: "calls fail",
            pods: pod(&[(0, &busy.gapless), (20, &errors[0]), (27, &errors[1])]),
            fires: &[("GaplessErrors", "warning")],
            ..calm()
        },
        Story { name: "a call fails", pods: pod(&[(0, &busy.gapless), (20, &errors[0])]), ..calm() },
        Story {
            name: "a review panics",
            pods: pod(&[(0, &fresh.gapless), (20, &panicked)]),
            fires: &[("GaplessPanicked", "warning")],
            ..calm()
        },
        Story {
            name: "the objects of one kind cannot be listed",
            pods: pod(&[(0, &fresh.gapless), (20, &unfilled)]),
            fires: &[("GaplessContextNotFilled", "warning")],
            ..calm()
        },
        Story {
            name: "the objects of one kind are listed after ten minutes",
            pods: pod(&[(0, &fresh.gapless), (20, &unfilled), (30, &fresh.gapless)]),
            ..calm()
        },
        Story {
            name: "a rollout does not complete",
            pods: pod(&[(0, &fresh.gapless), (20, &stuck)]),
            fires: &[("GaplessRolloutsStuck", "warning")],
            ..calm()
        },
        Story {
            name: "a new configuration has a mistake",
            pods: pod(&[(0, &busy.gapless), (20, &recording.config_refused)]),
            fires: &[("GaplessConfigurationRefused", "warning")],
            ..calm()
        },
        Story {
            name: "a new certificate cannot be used",
            pods: pod(&[(0, &fresh.gapless), (20, &recording.certificate_refused)]),
            fires: &[("GaplessCertificateRefused", "warning")],
            ..calm()
        },
        Story {
            name: "30 days are left",
            days: 335.0,
            at: 0.0,
            fires: &[("GaplessAuthorityExpiresSoon", "warning")],
            ..calm()
        },
        Story {
            name: "10 days are left",
            days: 355.0,
            at: 0.0,
            fires: &[
                ("GaplessAuthorityExpiresSoon", "warning"),
                ("GaplessCertificateExpiresSoon", "warning"),
            ],
            ..calm()
        },
        Story {
            name: "2 days are left",
            days: 363.0,
            at: 0.0,
            fires: &[
                ("GaplessAuthorityExpiresSoon", "warning"),
                ("GaplessCertificateExpiresSoon", "critical"),
                ("GaplessCertificateExpiresSoon", "warning"),
            ],
            ..calm()
        },
    ]
}

fn edited(scrape: &Scrape, line: &str, instead: &str) -> Scrape {
    assert!(scrape.text.lines().any(|it| it == line), "no {line}:\n{}", scrape.text);
    Scrape::of_gapless(scrape.text.replace(&format!("{line}\n"), &format!("{instead}\n")))
}

/// Alerts about how something is, not about what happens: they do not end by themselves.
const LASTING: [&str; 6] = [
    "GaplessContextNotFilled",
    "GaplessRolloutsStuck",
    "GaplessReplicasMissing",
    "GaplessPodsNotScraped",
    "GaplessCertificateExpiresSoon",
    "GaplessAuthorityExpiresSoon",
];

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let Some(recording) = Recording::get() else { return };
    let cluster = support::cluster().unwrap();
    let chart = render(cluster, &format!("{VALUES}\nmetrics: {EVERYTHING}"));
    let rule = chart.one("PrometheusRule");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();

    let (mut fired, mut surprises) = (BTreeSet::new(), Vec::new());
    for story in stories(recording) {
        let firing = promql::fired(rule, &story.targets(), now + story.days * DAY, MINUTES);
        let seen: BTreeSet<(&str, &str)> =
            firing.iter().map(|it| (it.alert.as_str(), it.labels["severity"].as_str().unwrap())).collect();
        let expected: BTreeSet<(&str, &str)> = story.fires.iter().copied().collect();
        if seen != expected {
            surprises.push(format!("{}: {seen:?}, expected {expected:?}", story.name));
        }
        for it in &firing {
            let lasts = LASTING.contains(&it.alert.as_str());
            if it.from < story.at || it.until.is_none() != lasts {
                surprises.push(format!("{}: {} from {} until {:?}", story.name, it.alert, it.from, it.until));
            }
            is_well_told(it);
        }
        fired.extend(firing.into_iter().map(|it| (it.alert, it.labels["severity"].to_string())));
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
    let all: BTreeSet<(String, String)> = alerts_of(rule)
        .into_iter()
        .map(|it| (it["alert"].as_str().unwrap().to_owned(), it["labels"]["severity"].to_string()))
        .collect();
    assert_eq!(fired, all, "an alert without a story");
}

/// The texts as somebody gets them who is on call.
#[track_caller]
fn is_well_told(firing: &Firing) {
    let Firing { alert, labels, annotations, .. } = firing;
    assert_eq!(labels["namespace"], super::NAMESPACE, "{alert}");
    let keys: Vec<&String> = annotations.keys().collect();
    assert_eq!(keys, ["description", "summary"], "{alert}");
    for text in annotations.values() {
        let text = text.as_str().unwrap();
        assert!(
            !text.contains("{{") && !text.contains("<no value>") && !text.contains("  "),
            "{alert}: {text}"
        );
    }
    let [summary, description] = ["summary", "description"].map(|key| annotations[key].as_str().unwrap());
    assert_eq!(description.matches('`').count() % 2, 0, "{description}");
    assert!(summary.len() <= 80 && !summary.ends_with('.'), "{summary}");
    assert!(description.ends_with('.') && !description.contains(" ."), "{description}");
    // What was found, what it means, what to do.
    assert!(description.matches(". ").count() >= 2, "{description}");
}

#[test]
fn alerts_and_dashboard_use_what_is_exposed() {
    let Some(recording) = Recording::get() else { return };
    let cluster = support::cluster().unwrap();
    let mut expressions = Map::new();
    for values in ["", "webhooks: {url: https://gapless.example.com}", "webhooks: {timeoutSeconds: 30}"] {
        let chart = render(cluster, &format!("{values}\nmetrics: {EVERYTHING}"));
        for (number, alert) in alerts_of(chart.one("PrometheusRule")).into_iter().enumerate() {
            let name = format!("{} ({number}) with {values:?}", alert["alert"].as_str().unwrap());
            expressions.insert(name, alert["expr"].clone());
        }
    }
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let name = format!("panel {} {}", panel["title"], target["refId"]);
            let text = target["expr"].as_str().unwrap();
            // Variables that Grafana fills in.
            let text = text.replace("$__rate_interval", "5m").replace("$__range", "6h");
            expressions.insert(format!("{name} {}", panel["id"]), json!(text));
            legend_is_of(target);
        }
    }
    let at_the_end = [
        Target::gapless("gapless-a").at(0, &recording.busy.gapless),
        Target::api_server().at(0, &recording.fail_closed[2]),
        Target::kube_state_metrics().at(0, &state_metrics(2)),
    ];
    assert!(expressions.len() > 40, "{expressions:#?}");
    assert_eq!(promql::missing(Value::Object(expressions), &at_the_end), [""; 0]);
}

/// A legend names labels that the query groups by.
#[track_caller]
fn legend_is_of(target: &Value) {
    let [legend, query] = ["legendFormat", "expr"].map(|key| target[key].as_str().unwrap());
    for part in legend.split("{{").skip(1) {
        let (label, _) = part.split_once("}}").expect("a closed brace");
        let grouped = query.split("by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        assert!(grouped.split(", ").any(|it| it == label), "{legend} of {query}");
    }
}

/// The limit of GaplessSlow is a bound of a real bucket, as near to half of the timeout
/// as there is one.
#[test]
fn slow_is_what_a_bucket_can_tell() {
    let Some(recording) = Recording::get() else { return };
    let cluster = support::cluster().unwrap();
    let buckets = recording.busy.api_server.text.lines().filter_map(|line| {
        let rest = line.strip_prefix("apiserver_admission_webhook_admission_duration_seconds_bucket{")?;
        rest.split_once("le=\"")?.1.split_once('"')?.0.parse::<f64>().ok()
    });
    let buckets: Vec<f64> = buckets.filter(|bound| bound.is_finite()).collect();
    for (mutating, validating) in [(1, 2), (3, 4), (5, 10), (19, 20), (30, 29)] {
        let values = format!(
            "webhooks: {{mutating: {{timeoutSeconds: {mutating}}}, timeoutSeconds: {validating}}}\nmetrics: {EVERYTHING}"
        );
        let chart = render(cluster, &values);
        let alerts = alerts_of(chart.one("PrometheusRule"));
        let slow = alerts.iter().filter(|alert| alert["alert"] == "GaplessSlow");
        let seen: Vec<(&str, f64)> = slow
            .map(|alert| {
                let expression = alert["expr"].as_str().unwrap();
                let phase = if expression.contains("[.]mutate[.]") { "mutate" } else { "validate" };
                (phase, expression.rsplit("> ").next().unwrap().trim().parse().unwrap())
            })
            .collect();
        let expected = [("mutate", mutating), ("validate", validating)].map(|(phase, timeout)| {
            let half = f64::from(timeout) / 2.0;
            (phase, buckets.iter().copied().filter(|bound| *bound <= half).fold(0.0, f64::max))
        });
        assert_eq!(seen, expected, "{values}");
    }
}

/// The chart's page has a row for each alert, and values.yaml names none that does not exist.
#[test]
fn the_documentation_names_every_alert() {
    let Some(cluster) = support::cluster() else { return };
    let chart = render(cluster, &format!("metrics: {EVERYTHING}"));
    let alerts: BTreeSet<&str> = alerts_of(chart.one("PrometheusRule"))
        .into_iter()
        .map(|alert| alert["alert"].as_str().unwrap())
        .collect();
    let readme = fs::read_to_string(repository_file("charts/gapless/README.md")).unwrap();
    let rows: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `Gapless")?.split('`').next()).collect();
    let expected: Vec<&str> = alerts.iter().map(|alert| alert.strip_prefix("Gapless").unwrap()).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);

    let values = fs::read_to_string(repository_file("charts/gapless/values.yaml")).unwrap();
    let words = values.split(|c: char| !c.is_alphanumeric());
    let named: Vec<&str> =
        words.filter(|word| word.starts_with("Gapless") && *word != "GaplessConfiguration").collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(alerts.contains(name), "{name}");
    }
}
