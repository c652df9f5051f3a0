//! What was measured on a real node (`tests/lab/results`), beside what gapless says of it
//! today.

use std::fs;

use gapless::defaults::DEFAULTS;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::fixtures::repository_file;
use crate::support::ran;

/// A line of `durations.jsonl`: one rollout.
#[derive(Deserialize)]
struct Duration {
    what: String,
    manifest: String,
    starts_in: String,
    stops_in: String,
    seconds: f64,
}

/// A line of `probe-periods.jsonl`: one rollout under load, and what probes cost.
#[derive(Deserialize)]
struct ProbePeriod {
    setting: String,
    rollout: Rollout,
    cost: Cost,
}

#[derive(Deserialize)]
struct Rollout {
    rollout_seconds: f64,
    failed: i64,
    rate: i64,
}

#[derive(Deserialize)]
struct Cost {
    pods: i64,
    probes: f64,
    kubelet_cpu: f64,
    application_cpu: f64,
}

/// The runs of each setting, in the order in which the settings were first run.
fn results<R: DeserializeOwned>(name: &str, setting: impl Fn(&R) -> &str) -> Vec<Vec<R>> {
    let text = fs::read_to_string(repository_file("tests/lab/results").join(name)).unwrap();
    let mut settings: Vec<Vec<R>> = Vec::new();
    for line in text.lines() {
        let run: R = serde_json::from_str(line).unwrap();
        match settings.iter_mut().find(|runs| setting(&runs[0]) == setting(&run)) {
            Some(runs) => runs.push(run),
            None => settings.push(vec![run]),
        }
    }
    settings
}

/// What `gapless preview` says of the rollout: waves, and the least and the most seconds.
fn foretold(run: &Duration) -> (u64, f64, f64) {
    let arguments = ["-f", "json", "--starts-in", &run.starts_in, "--stops-in", &run.stops_in, "-"];
    let answer = ran::with_stdin(ran::gapless("preview", &arguments), &run.manifest).json();
    let rollout = &answer["rollouts"][0];
    let seconds = |end: &str| rollout["seconds"][end].as_f64().unwrap();
    (rollout["waves"].as_u64().unwrap(), seconds("least"), seconds("most"))
}

fn durations() -> Vec<Vec<Duration>> {
    results("durations.jsonl", |run: &Duration| &run.what)
}

/// So far a measured duration may be from the range: by 10 % and a second.
fn is_foretold(seconds: f64, (least, most): (f64, f64)) -> bool {
    seconds >= least - (least / 10.0 + 1.0) && seconds <= most + (most / 10.0 + 1.0)
}

#[test]
fn rollouts_take_as_long_as_preview_foretells() {
    let mut wrong = Vec::new();
    let settings = durations();
    assert!(settings.len() >= 12 && settings.iter().all(|runs| runs.len() >= 3));
    for runs in &settings {
        let (_, least, most) = foretold(&runs[0]);
        let outside = runs.iter().filter(|run| !is_foretold(run.seconds, (least, most)));
        wrong.extend(outside.map(|run| format!("{}: {} s, not {least}–{most} s", run.what, run.seconds)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A manifest of a setting is rolled out as it stands there.
#[test]
fn nothing_is_completed_in_what_was_measured() {
    for runs in durations() {
        let whole = |profile: &str| {
            let arguments = ["-f", "json", "--profile", profile, "-"];
            ran::with_stdin(ran::gapless("preview", &arguments), &runs[0].manifest).stdout
        };
        assert_eq!(whole("production"), whole("off"), "{}", runs[0].what);
    }
}

#[test]
fn the_readme_shows_what_was_foretold_beside_what_was_measured() {
    let mut table = "| rollout | waves | predicted | measured |\n| --- | --- | --- | --- |\n".to_owned();
    for runs in durations() {
        let (waves, least, most) = foretold(&runs[0]);
        let measured: Vec<String> = runs.iter().map(|run| format!("{:.1}", run.seconds)).collect();
        let range = if least == most { format!("{least:.1} s") } else { format!("{least:.1}–{most:.1} s") };
        table += &format!("| {} | {waves} | {range} | {} s |\n", runs[0].what, measured.join(", "));
    }
    let readme = fs::read_to_string(repository_file("README.md")).unwrap();
    assert!(readme.contains(&table), "put this table into README.md:\n\n{table}");
}

/// The middle one of an odd number.
fn median<R>(runs: &[R], value: impl Fn(&R) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// In thousandths of a second.
fn cpu(runs: &[ProbePeriod], value: impl Fn(&Cost) -> f64) -> String {
    format!("{:.1} ms", 1_000.0 * median(runs, |run| value(&run.cost)))
}

/// The table of the page of readiness-probe, and the line above it.
#[test]
fn the_page_of_readiness_probe_shows_what_its_period_costs() {
    let settings = results("probe-periods.jsonl", |run: &ProbePeriod| &run.setting);
    let (without, periods) = settings.split_first().unwrap();
    assert!(without[0].setting == "no-probe" && settings.iter().all(|runs| runs.len() >= 3));
    let mut table = format!(
        "2 pods that listen after 3 s; and in each second {} idle ones (without a probe: {} and {}):\n\n\
         | `periodSeconds` | roll-out | lost of {}/s | probes | the kubelet's CPU | the pods' CPU |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        without[0].cost.pods,
        cpu(without, |cost| cost.kubelet_cpu),
        cpu(without, |cost| cost.application_cpu),
        without[0].rollout.rate,
    );
    for runs in periods {
        let period = runs[0].setting.strip_prefix("period-").unwrap();
        let lost: Vec<String> = runs.iter().map(|run| run.rollout.failed.to_string()).collect();
        table += &format!(
            "| {period} | {:.1} s | {} | {:.0} | {} | {} |\n",
            median(runs, |run| run.rollout.rollout_seconds),
            lost.join(", "),
            median(runs, |run| run.cost.probes),
            cpu(runs, |cost| cost.kubelet_cpu),
            cpu(runs, |cost| cost.application_cpu),
        );
    }
    let page = DEFAULTS.iter().find(|default| default.id == "readiness-probe").unwrap().page;
    assert!(page.contains(&table), "put this table on the page:\n\n{table}");
}
