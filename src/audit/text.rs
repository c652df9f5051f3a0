//! For people: a table of the workloads that there is something to say about,
//! the worst first, and the numbers.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};

use super::Audited;
use super::canaries::WARNING;
use crate::kubernetes::kind::Kind;
use crate::policy::InjectionMode;
use crate::printable::printable;
use crate::report::count::{Count, counted};
use crate::report::{Judgement, Report, Subject};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// A table: rows of cells, the first one its head.
type Rows = Vec<Vec<Cell>>;

/// A text, and how it looks on a terminal.
struct Cell {
    text: String,
    style: Style,
}

/// The report, with terminal styles in it.
pub fn write(audited: &Audited) -> String {
    let mut text = String::new();
    let worth_a_line: Vec<_> = audited.report.judgements().filter(|it| !it.is_fine()).collect();
    if !worth_a_line.is_empty() {
        text.push_str(&aligned(&workloads(&worth_a_line)));
        text.push('\n');
    }
    let rollouts = rollouts(&audited.report);
    if rollouts.len() > 1 {
        text.push_str(&aligned(&rollouts));
        text.push('\n');
    }
    for failed in &audited.failed {
        text.push_str(&format!(
            "{RED}not judged{RED:#}: {}: {}\n\n",
            printable(&failed.subject.to_string()),
            printable(&failed.message)
        ));
    }
    for stuck in &audited.stuck {
        text.push_str(&format!(
            "{YELLOW}stuck{YELLOW:#}: {}: {} ({})\n    fix: {}\n\n",
            printable(&stuck.subject.to_string()),
            printable(&stuck.message),
            stuck.defaults.join(", "),
            stuck.fix
        ));
    }
    summary(audited, &mut text);
    text
}

fn workloads(judgements: &[&Judgement]) -> Rows {
    let head = ["NAMESPACE", "NAME", "PROFILE", "DENIED BY", "WARNINGS", "NEXT ROLLOUT INJECTS"];
    let mut rows = vec![head.map(|title| Cell { text: title.to_owned(), style: BOLD }).into()];
    for judgement in judgements {
        let injections = ids(judgement.injections.iter().map(|(id, _)| *id));
        let injections = match judgement.injection {
            InjectionMode::Announce if !judgement.injections.is_empty() => format!("({injections})"),
            _ => injections,
        };
        rows.push(vec![
            plain(namespace(&judgement.subject)),
            plain(name(&judgement.subject)),
            plain(&judgement.profile),
            Cell { text: ids(judgement.denials()), style: RED },
            Cell { text: ids(judgement.warnings()), style: YELLOW },
            plain(injections),
        ]);
    }
    rows
}

/// What the next rollouts are going to do, also of workloads about which there is nothing else
/// to say.
fn rollouts(report: &Report) -> Rows {
    let head = ["NAMESPACE", "NAME", "NEXT ROLLOUT"];
    let mut rows = vec![head.map(|title| Cell { text: title.to_owned(), style: BOLD }).into()];
    rows.extend(report.judgements().filter_map(|judgement| {
        let forecast = judgement.forecast.as_ref()?;
        Some(vec![plain(namespace(&judgement.subject)), plain(name(&judgement.subject)), plain(forecast)])
    }));
    rows
}

/// Each id once, with the number of its findings if there are several.
fn ids<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for id in ids {
        match counts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => counts.push((id, 1)),
        }
    }
    let texts: Vec<_> = counts
        .into_iter()
        .map(|(id, count)| if count == 1 { id.to_owned() } else { format!("{id}({count})") })
        .collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn summary(audited: &Audited, text: &mut String) {
    let report = &audited.report;
    let count = report.count();
    let place = audited.scope.in_words();
    text.push_str(&format!("{BOLD}{}{BOLD:#} in {}\n", counted(&report.kinds()), printable(&place)));
    let denials = frequencies(&report.frequencies(Judgement::denials));
    let warnings = frequencies(&report.frequencies(Judgement::warnings));
    let mut line = |label: &str, what: String| text.push_str(&format!("  {label:15}{what}\n"));
    line("denied if new", format!("{}{denials}", count.denied));
    line("with warnings", format!("{}{warnings}", count.warned));
    line("neither", count.fine.to_string());
    for (label, mode) in
        [("next rollout", InjectionMode::Inject), ("only announced", InjectionMode::Announce)]
    {
        let injections = report.injections(|it| it.injection == mode);
        if !injections.is_empty() {
            line(label, list(&injections));
        }
    }
    let skips: Vec<_> = report.skips().into_iter().collect();
    if !skips.is_empty() {
        line("not judged", list(&skips));
    }
    if !audited.failed.is_empty() {
        line("unreadable", audited.failed.len().to_string());
    }
    for (kind, message) in &audited.unlisted {
        line("not listed", printable(&format!("{kind}: {message}")).into_owned());
    }
    let copied: Vec<_> = audited.copied().map(|(judgement, _)| judgement.subject.to_string()).collect();
    if !copied.is_empty() {
        line("note", printable(&format!("{}: {WARNING}", copied.join(", "))).into_owned());
    }
    for (namespace, label) in &audited.unknown_profiles {
        line("note", printable(&audited.unknown_profile(namespace, label)).into_owned());
    }
    let profiles = profiles(report);
    if profiles.len() > 2 {
        text.push('\n');
        text.push_str(&aligned(&profiles));
    }
    if count.denied + count.warned > 0 {
        text.push_str("\nWhat a rule means: gapless rules ID. Every finding with its fix: -f json\n");
    }
}

/// As in `web`, or `StatefulSet web`.
fn name(subject: &Subject) -> String {
    if subject.kind == Kind::Deployment.name() {
        return subject.name.clone();
    }
    format!("{} {}", subject.kind, subject.name)
}

fn namespace(subject: &Subject) -> &str {
    subject.namespace.as_deref().unwrap_or_default()
}

/// As in `: single-replica 3, recreate-strategy 1`.
fn frequencies(counts: &[(&str, usize)]) -> String {
    if counts.is_empty() { String::new() } else { format!(": {}", list(counts)) }
}

fn list(counts: &[(&str, usize)]) -> String {
    counts.iter().map(|(id, count)| format!("{id} {count}")).collect::<Vec<_>>().join(", ")
}

fn profiles(report: &Report) -> Rows {
    let mut counts: BTreeMap<&str, (usize, Count)> = BTreeMap::new();
    for ((_, profile), count) in report.by_namespace() {
        let (namespaces, sum) = counts.entry(profile).or_default();
        *namespaces += 1;
        sum.judged += count.judged;
        sum.denied += count.denied;
        sum.warned += count.warned;
    }
    let head = ["PROFILE", "NAMESPACES", "WORKLOADS", "DENIED", "WARNED"];
    let mut rows: Rows = vec![head.map(|title| Cell { text: title.to_owned(), style: BOLD }).into()];
    for (profile, (namespaces, count)) in counts {
        let numbers = [namespaces, count.judged, count.denied, count.warned].map(plain);
        rows.push([plain(profile)].into_iter().chain(numbers).collect());
    }
    rows
}

fn plain(text: impl ToString) -> Cell {
    Cell { text: text.to_string(), style: Style::new() }
}

/// The rows with their columns one below the other, as kubectl writes tables.
fn aligned(rows: &Rows) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (position, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let Cell { text: content, style } = cell;
            text.push_str(&format!("{style}{}{style:#}", printable(content)));
            if position + 1 < columns {
                text.push_str(&" ".repeat(width - cell.width() + 3));
            }
        }
        text.push('\n');
    }
    text
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::canaries::Canaries;
    use super::super::testing::{audited, audited_with, foretold, live};
    use super::*;
    use serde_json::{Value, json};

    fn plain_text(namespaces: &[(&str, Option<&str>)], deployments: &[Value]) -> String {
        let text = write(&audited(namespaces, deployments));
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn the_table_and_the_numbers() {
        let mut twice = live("shop", "twice", json!({"replicas": 1, "revisionHistoryLimit": 0}));
        let second = json!({"name": "b", "image": "registry.example/b", "ports": [{"containerPort": 8081}]});
        let containers = twice["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers[0]["image"] = json!("registry.example/a");
        containers.push(second);
        let deployments = [
            live("trial", "web", json!({})),
            live("shop", "lonely", json!({"replicas": 1})),
            twice,
            live("kube-system", "coredns", json!({})),
        ];
        let namespaces = [("shop", Some("prod\u{7}")), ("trial", Some("advisory"))];
        assert_eq!(
            plain_text(&namespaces, &deployments),
            "\
NAMESPACE   NAME     PROFILE      DENIED BY                                  WARNINGS                                 NEXT ROLLOUT INJECTS
shop        twice    production   no-rollback-history,mutable-image-tag(2)   single-replica,missing-readiness-probe   pre-stop-sleep,rolling-update
shop        lonely   production   -                                          single-replica                           readiness-probe,pre-stop-sleep,rolling-update,version-label
trial       web      advisory     -                                          -                                        (readiness-probe,pre-stop-sleep,rolling-update,version-label)

3 Deployments in all namespaces of https://127.0.0.1:6443 (context bench)
  denied if new  1: mutable-image-tag 1, no-rollback-history 1
  with warnings  2: single-replica 2, missing-readiness-probe 1
  neither        1
  next rollout   readiness-probe 1, pre-stop-sleep 2, rolling-update 2, version-label 1
  only announced readiness-probe 1, pre-stop-sleep 1, rolling-update 1, version-label 1
  not judged     system-namespace 1
  note           there is no profile \"prod\\u{7}\", the label of namespace shop; judged by production

PROFILE      NAMESPACES   WORKLOADS   DENIED   WARNED
advisory     1            1           0        0
production   1            2           1        2

What a rule means: gapless rules ID. Every finding with its fix: -f json
"
        );
    }

    #[test]
    fn what_flagger_copies_is_named() {
        let mut canaries = Canaries::default();
        for name in ["web", "waived", "own-hook", "announced"] {
            let namespace = if name == "announced" { "trial" } else { "shop" };
            let target = json!({"kind": "Deployment", "name": name});
            let metadata = json!({"namespace": namespace, "name": "canary"});
            canaries.add(&json!({"metadata": metadata, "spec": {"targetRef": target}}));
        }
        let mut waived = live("shop", "waived", json!({}));
        waived["metadata"]["annotations"] = json!({"gapless.dev/waive.pre-stop-sleep": "Flagger"});
        let mut own_hook = live("shop", "own-hook", json!({}));
        own_hook["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
            json!({"preStop": {"exec": {"command": ["sleep", "10"]}}});
        let mut other = live("shop", "other", json!({}));
        let hook = json!({"preStop": {"sleep": {"seconds": 5}}});
        other["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = hook.clone();
        let mut live_ones =
            vec![live("shop", "web", json!({})), live("trial", "announced", json!({})), other, own_hook];
        let note = |waived: &Value, others: &[Value]| {
            let workloads = [std::slice::from_ref(waived), others].concat();
            let namespaces = [("shop", None), ("trial", Some("advisory"))];
            let text = write(&audited_with(&canaries, &namespaces, &workloads));
            let text = anstream::adapter::strip_str(&text).to_string();
            text.lines().find_map(|line| line.strip_prefix("  note           ")).map(str::to_owned)
        };
        assert_eq!(note(&waived, &live_ones), Some(format!("Deployment shop/web: {WARNING}")));
        live_ones.remove(0);
        assert_eq!(note(&waived, &live_ones), None);
        // A waiver takes the hook away with the next rollout only.
        let record = json!({"spec.template.spec.containers[app].lifecycle.preStop": hook["preStop"]});
        waived["metadata"]["annotations"]["gapless.dev/injected"] = json!(record.to_string());
        waived["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = hook;
        assert_eq!(note(&waived, &live_ones), Some(format!("Deployment shop/waived: {WARNING}")));
    }

    #[test]
    fn what_the_next_rollouts_are_going_to_do() {
        let recreate = json!({"strategy": {"type": "Recreate"}, "replicas": 3});
        let report = foretold(&[live("shop", "web", json!({})), live("shop", "batch", recreate)]);
        let text = anstream::adapter::strip_str(&write(&report)).to_string();
        let lines: Vec<&str> = text.split("\n\n").nth(1).unwrap().lines().collect();
        let [head, batch, web] = lines[..] else { panic!("{text}") };
        assert_eq!(head, "NAMESPACE   NAME    NEXT ROLLOUT");
        // The worst comes first, as above.
        assert!(batch.starts_with("shop        batch   rolls 3 pods in 1 wave, "), "{batch}");
        assert!(batch.contains("never below 0 of 3"), "{batch}");
        // As gapless completes it: without it one of both would go first.
        assert!(web.starts_with("shop        web     rolls 2 pods in 2 waves, "), "{web}");
        assert!(web.contains("never below 2 of 2"), "{web}");
        assert!(!write(&audited(&[], &[live("shop", "web", json!({}))])).contains("NEXT ROLLOUT\n"));
    }

    #[test]
    fn an_empty_cluster() {
        assert_eq!(
            plain_text(&[], &[]),
            "0 Deployments in all namespaces of https://127.0.0.1:6443 (context bench)\n  \
             denied if new  0\n  with warnings  0\n  neither        0\n"
        );
    }

    #[test]
    fn no_line_ends_in_a_space() {
        let text = plain_text(&[], &[live("shop", "web", json!({}))]);
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
}
