//! Reports for OpenReports (<https://github.com/openreports/reports-api>): one `Report` a
//! workload of which there is something to say.
//!
//! What is printed has no timestamps, so that the same cluster gives the same text. What is
//! written into the cluster has that of the first time that each result was seen, which the
//! reports there remember.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Audited;
use crate::admission::{Judged, Outcome};
use crate::finding::Action;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::at;
use crate::names;
use crate::printable::{self, printable, printable_lines};
use crate::report::{Judgement, Problem, Subject};

/// Group and version.
pub const API_VERSION: &str = "openreports.io/v1alpha1";

/// The label that the reports of gapless have, as a query writes it.
pub const OWN: &str = "app.kubernetes.io/managed-by=gapless";

/// What is in them, for the help of the command line.
pub const SHAPE: &str = "\
The form openreports is a List of Report (openreports.io/v1alpha1), as JSON, which
kubectl apply -f - takes: one Report for each workload with findings that deny or
warn, or with waivers. It is named gapless-KIND-NAME, labelled
app.kubernetes.io/managed-by: gapless, and owned by the workload, with which it goes.
Of a result, policy is the rule's id, and result is fail (denies), warn, or skip
(waived); severity is what the profile asks for (Deny high, Warn medium, Audit low);
properties are profile, field, fix and waivedBecause.";

const SOURCE: &str = "gapless";

/// The fields that are compared: all that gapless writes besides `metadata`.
const FIELDS: [&str; 4] = ["source", "scope", "summary", "results"];

/// A report by its namespace and name.
type Key = (String, String);

/// The reports as a List that `kubectl apply` takes.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(audited: &Audited) -> serde_json::Result<String> {
    let items: Vec<Value> = wanted(audited).into_values().collect();
    printable::to_json(&json!({"apiVersion": "v1", "kind": "List", "items": items})).map(|text| text + "\n")
}

/// What has to be done in a cluster so that its reports are those of an audit.
#[derive(Debug)]
pub struct Changes {
    /// The reports that have to be written. Results that were seen before have their
    /// timestamp already.
    wanted: BTreeMap<Key, Value>,
    /// Kinds of which nothing is known.
    unlisted: BTreeSet<&'static str>,
    /// The reports of workloads that could not be read.
    unread: BTreeSet<Key>,
    /// How many reports are as they are to be.
    pub unchanged: usize,
    /// The reports that have to be removed.
    pub stale: Vec<Stale>,
}

/// A report of which there is nothing more to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which one it is, should there be another of that name by now.
    pub uid: String,
}

impl Changes {
    /// What has to be done if there are no reports yet.
    pub fn new(audited: &Audited) -> Self {
        Changes {
            wanted: wanted(audited),
            unlisted: audited.unlisted.iter().map(|(kind, _)| *kind).collect(),
            unread: audited.failed.iter().map(|failed| key(&failed.subject)).collect(),
            unchanged: 0,
            stale: Vec::new(),
        }
    }

    /// Takes a report into account that is there already, as the API server lists it.
    pub fn compare(&mut self, stored: &Value) {
        let text = |path: &[&str]| at(stored, path).and_then(Value::as_str).unwrap_or_default();
        if text(&["source"]) != SOURCE {
            return;
        }
        let key = (text(&["metadata", "namespace"]).to_owned(), text(&["metadata", "name"]).to_owned());
        if let Some(wanted) = self.wanted.get_mut(&key) {
            keep_timestamps(wanted, stored);
            if is_as_wanted(stored, wanted) {
                self.wanted.remove(&key);
                self.unchanged += 1;
            }
        } else if !self.unlisted.contains(text(&["scope", "kind"])) && !self.unread.contains(&key) {
            let (namespace, name) = key;
            self.stale.push(Stale { namespace, name, uid: text(&["metadata", "uid"]).to_owned() });
        }
    }

    /// Takes out the reports to write, with namespace and name of each. What was never seen
    /// before is seen `now`, in seconds since 1970.
    pub fn take_to_write(&mut self, now: i64) -> Vec<(String, String, Value)> {
        let timed = |((namespace, name), mut report): (Key, Value)| {
            for result in results_mut(&mut report).filter(|result| result.get("timestamp").is_none()) {
                set_timestamp(result, Some(json!({"seconds": now, "nanos": 0})));
            }
            (namespace, name, report)
        };
        std::mem::take(&mut self.wanted).into_iter().map(timed).collect()
    }
}

/// The reports of an audit, without timestamps.
fn wanted(audited: &Audited) -> BTreeMap<Key, Value> {
    audited.report.judgements().filter_map(|it| Some((key(&it.subject), of(it)?))).collect()
}

fn key(subject: &Subject) -> Key {
    let kind = subject.kind.to_ascii_lowercase();
    (
        subject.namespace.clone().unwrap_or_default(),
        names::shortened(&format!("gapless-{kind}-{}", subject.name)),
    )
}

/// The report of a workload; `None` if there is nothing to say.
fn of(judgement: &Judgement) -> Option<Value> {
    let profile = &judgement.profile;
    let findings = judgement.findings.iter().filter_map(|found| of_finding(&found.judged, profile));
    let problems = judgement.problems.iter().map(|problem| of_problem(problem, profile));
    let results: Vec<Value> = findings.chain(problems).collect();
    if results.is_empty() {
        return None;
    }
    let count = |result: &str| results.iter().filter(|it| it["result"] == result).count();
    let summary =
        json!({"pass": 0, "fail": count("fail"), "warn": count("warn"), "error": 0, "skip": count("skip")});
    let Subject { kind, namespace, name, uid, .. } = &judgement.subject;
    let api_version = Kind::ALL.into_iter().find(|known| known.name() == *kind)?.api_version();
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid});
    let scope =
        json!({"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name, "uid": uid});
    let (_, report) = key(&judgement.subject);
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": "Report",
        "metadata": {
            "namespace": namespace,
            "name": report,
            "labels": {"app.kubernetes.io/managed-by": SOURCE},
            "ownerReferences": [owner],
        },
        "source": SOURCE,
        "scope": scope,
        "summary": summary,
        "results": results,
    }))
}

/// `None` for what only goes to the audit log.
fn of_finding(judged: &Judged, profile: &str) -> Option<Value> {
    let finding = &judged.finding;
    let result = match judged.outcome {
        Outcome::Deny => "fail",
        Outcome::Warn | Outcome::Old => "warn",
        Outcome::Waived => "skip",
        Outcome::Audit => return None,
    };
    let field = finding.field.to_string();
    let mut message = format!("{field}: {}", finding.message);
    let mut properties = BTreeMap::from([
        ("field", printable(&field)),
        ("fix", printable_lines(&finding.fix)),
        ("profile", printable(profile)),
    ]);
    if let Some(reason) = &judged.waived_because {
        message.push_str(&format!("; waived: {reason}"));
        properties.insert("waivedBecause", printable(reason));
    }
    Some(json!({
        // Policy Reporter takes that of the first result for that of the report.
        "source": SOURCE,
        "policy": finding.rule,
        "result": result,
        "scored": judged.outcome == Outcome::Deny,
        "severity": severity(judged.action),
        "message": printable_lines(&message),
        "properties": properties,
    }))
}

/// An annotation without effect warns, as it does in a review.
fn of_problem(problem: &Problem, profile: &str) -> Value {
    json!({
        "source": SOURCE,
        "policy": printable(&problem.id),
        "result": "warn",
        "scored": false,
        "severity": severity(Action::Warn),
        "message": printable_lines(&problem.message),
        "properties": {"profile": profile},
    })
}

fn severity(action: Action) -> &'static str {
    match action {
        Action::Deny => "high",
        Action::Warn => "medium",
        Action::Audit => "low",
        Action::Off => "info",
    }
}

/// Gives the results the timestamps that they have in the stored report. It is the same
/// result if rule and field are the same: its words may change, with a number in them or
/// with gapless. Where there are several for one field, those with the same words go first.
fn keep_timestamps(wanted: &mut Value, stored: &Value) {
    let mut stored: Vec<&Value> =
        results(stored).filter(|result| result.get("timestamp").is_some()).collect();
    for has_same_words in [true, false] {
        for result in results_mut(wanted).filter(|result| result.get("timestamp").is_none()) {
            let is_same = |other: &&Value| {
                identity(other) == identity(result)
                    && (!has_same_words || other.get("message") == result.get("message"))
            };
            if let Some(place) = stored.iter().position(is_same) {
                set_timestamp(result, stored.remove(place).get("timestamp").cloned());
            }
        }
    }
}

/// Rule and field.
fn identity(result: &Value) -> [Option<&Value>; 2] {
    [&["policy"][..], &["properties", "field"]].map(|path| at(result, path))
}

fn results(report: &Value) -> impl Iterator<Item = &Value> {
    report.get("results").and_then(Value::as_array).into_iter().flatten()
}

fn results_mut(report: &mut Value) -> impl Iterator<Item = &mut Value> {
    report.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten()
}

fn set_timestamp(result: &mut Value, timestamp: Option<Value>) {
    if let (Some(fields), Some(timestamp)) = (result.as_object_mut(), timestamp) {
        fields.insert("timestamp".to_owned(), timestamp);
    }
}

/// Whether writing would change nothing. What others add to its metadata is theirs.
fn is_as_wanted(stored: &Value, wanted: &Value) -> bool {
    let path = ["metadata", "ownerReferences"];
    let owners = |report| at(report, &path).and_then(Value::as_array).into_iter().flatten();
    let has = |owner: &Value| owners(stored).any(|it| it == owner);
    let is_timed = results(wanted).all(|result| result.get("timestamp").is_some());
    is_timed && FIELDS.iter().all(|field| stored.get(field) == wanted.get(field)) && owners(wanted).all(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{audited, live};
    use crate::field::FieldPath;
    use crate::finding::Finding;

    /// The reports of an audit of this one Deployment, which may have annotations.
    fn of_web(spec: Value, annotations: Value) -> Audited {
        let mut web = live("shop", "web", spec);
        web["metadata"]["annotations"] = annotations;
        audited(&[("shop", None)], &[web])
    }

    fn one(audited: &Audited) -> Value {
        let mut all: Vec<Value> = wanted(audited).into_values().collect();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// Rule, result and severity of each.
    fn said(report: &Value) -> Vec<[&str; 3]> {
        results(report)
            .map(|it| ["policy", "result", "severity"].map(|field| it[field].as_str().unwrap()))
            .collect()
    }

    /// As the API server stores it: with a uid, and what else there may be.
    fn stored(report: &Value) -> Value {
        let mut stored = report.clone();
        stored["metadata"]["uid"] = json!("u-1");
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["metadata"]["labels"]["team"] = json!("a");
        stored
    }

    #[test]
    fn each_outcome_has_its_result() {
        let none = || json!({});
        let history = || json!({"revisionHistoryLimit": 0});
        let waived = json!({"gapless.dev/waive.no-rollback-history": "kept in\u{1b}Git until 2027-01-01"});
        let expired = json!({"gapless.dev/waive.no-rollback-history": "until 2020-01-01"});
        let typo = json!({"gapless.dev/waive.no-rollback": "kept in Git"});
        for (spec, annotations, expected) in [
            (history(), none(), vec![["no-rollback-history", "fail", "high"]]),
            (json!({"replicas": 1}), none(), vec![["single-replica", "warn", "medium"]]),
            (history(), waived, vec![["no-rollback-history", "skip", "high"]]),
            (
                history(),
                expired,
                vec![["no-rollback-history", "fail", "high"], ["no-rollback-history", "warn", "medium"]],
            ),
            (none(), typo, vec![["no-rollback", "warn", "medium"]]),
            (
                json!({"replicas": 1, "revisionHistoryLimit": 0}),
                none(),
                vec![["no-rollback-history", "fail", "high"], ["single-replica", "warn", "medium"]],
            ),
        ] {
            let report = one(&of_web(spec, annotations));
            assert_eq!(said(&report), expected);
            let count = |result: &str| expected.iter().filter(|it| it[1] == result).count();
            let [fail, warn, skip] = ["fail", "warn", "skip"].map(count);
            let summary = json!({"pass": 0, "fail": fail, "warn": warn, "error": 0, "skip": skip});
            assert_eq!(report["summary"], summary);
        }
        assert!(wanted(&of_web(none(), none())).is_empty(), "there is nothing to say");
        let finding = Finding::invalid("shell-sleep", FieldPath::new("spec"), "a shell", "none");
        let judged = Judged { finding, action: Action::Audit, outcome: Outcome::Audit, waived_because: None };
        assert_eq!(of_finding(&judged, "production"), None, "it only goes to the audit log");
    }

    #[test]
    fn a_report_is_complete() {
        let waiver = json!({"gapless.dev/waive.single-replica": "one is\u{1b} enough until 2027-01-01"});
        let report = one(&of_web(json!({"replicas": 1}), waiver));
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "shop-web"});
        let metadata = json!({
            "namespace": "shop",
            "name": "gapless-deployment-web",
            "labels": {"app.kubernetes.io/managed-by": "gapless"},
            "ownerReferences": [owner],
        });
        assert_eq!(report["metadata"], metadata);
        assert_eq!((&report["apiVersion"], &report["kind"]), (&json!(API_VERSION), &json!("Report")));
        assert_eq!((&report["source"], &report["scope"]["namespace"]), (&json!("gapless"), &json!("shop")));
        assert_eq!(report["scope"]["uid"], "shop-web");
        let result = &report["results"][0];
        let message = result["message"].as_str().unwrap();
        let (field, reason) = ("spec.replicas: ", "; waived: one is\u{fffd} enough until 2027-01-01");
        assert!(message.starts_with(field) && message.ends_with(reason), "{message}");
        assert_eq!((&result["source"], &result["scored"]), (&json!("gapless"), &json!(false)));
        let properties = &result["properties"];
        assert_eq!(
            (&properties["field"], &properties["profile"]),
            (&json!("spec.replicas"), &json!("production"))
        );
        assert_eq!(properties["waivedBecause"], "one is\u{fffd} enough until 2027-01-01");
        assert!(!properties["fix"].as_str().unwrap().is_empty());
        assert_eq!(result.get("timestamp"), None);
    }

    #[test]
    fn the_list_is_sorted_and_says_nothing_of_the_hour() {
        let bad = |namespace, name| live(namespace, name, json!({"revisionHistoryLimit": 0}));
        let mut deployments =
            [bad("shop", "web"), bad("bank", "web"), bad("bank", "api"), live("bank", "fine", json!({}))];
        let text = |deployments: &[Value]| write(&audited(&[], deployments)).unwrap();
        let first = text(&deployments);
        deployments.reverse();
        assert_eq!(text(&deployments), first);
        let list: Value = serde_json::from_str(&first).unwrap();
        assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
        let items = list["items"].as_array().unwrap().iter();
        let names: Vec<_> = items.map(|it| [&it["metadata"]["namespace"], &it["scope"]["name"]]).collect();
        assert_eq!(names, [["bank", "api"], ["bank", "web"], ["shop", "web"]]);
        assert!(!first.contains("timestamp"));
    }

    #[test]
    fn a_result_keeps_the_time_at_which_it_was_first_seen() {
        let seen = |seconds: i64| json!({"seconds": seconds, "nanos": 0});
        let both = of_web(json!({"replicas": 1, "revisionHistoryLimit": 0}), json!({}));
        let mut before = one(&of_web(json!({"replicas": 1}), json!({})));
        // Its words were others.
        before["results"][0]["message"] = json!("spec.replicas: said otherwise");
        before["results"][0]["timestamp"] = seen(5);

        let mut changes = Changes::new(&both);
        changes.compare(&stored(&before));
        let written: Vec<Value> = changes.take_to_write(9).into_iter().map(|it| it.2).collect();
        let times: Vec<_> = results(&written[0]).map(|it| [&it["policy"], &it["timestamp"]]).collect();
        assert_eq!(times, [[&json!("no-rollback-history"), &seen(9)], [&json!("single-replica"), &seen(5)]]);
        assert_eq!((changes.unchanged, changes.stale.len()), (0, 0));

        // Nothing has changed since.
        let mut changes = Changes::new(&both);
        changes.compare(&stored(&written[0]));
        assert_eq!((changes.unchanged, changes.take_to_write(10).len(), changes.stale.len()), (1, 0, 0));
    }

    #[test]
    fn of_several_results_for_one_field_those_with_the_same_words_go_first() {
        let result = |message: &str, seconds: Option<i64>| {
            let mut result = json!({"policy": "p", "message": message, "properties": {"field": "f"}});
            set_timestamp(&mut result, seconds.map(|seconds| json!({"seconds": seconds})));
            result
        };
        let times = |now: &[&str], before: &[(&str, i64)]| {
            let now: Vec<Value> = now.iter().map(|message| result(message, None)).collect();
            let before: Vec<Value> = before.iter().map(|(message, at)| result(message, Some(*at))).collect();
            let mut now = json!({"results": now});
            keep_timestamps(&mut now, &json!({"results": before}));
            results(&now).map(|it| it["timestamp"]["seconds"].as_i64()).collect::<Vec<_>>()
        };
        assert_eq!(times(&["a", "b"], &[("b", 2), ("a", 1)]), [Some(1), Some(2)]);
        assert_eq!(times(&["a", "b"], &[("b", 2)]), [None, Some(2)]);
        assert_eq!(times(&["a", "c"], &[("b", 2), ("a", 1)]), [Some(1), Some(2)]);
        assert_eq!(times(&["a"], &[]), [None]);
    }

    #[test]
    fn what_somebody_has_changed_is_written_again() {
        let audit = of_web(json!({"replicas": 1}), json!({}));
        let report = Changes::new(&audit).take_to_write(5).remove(0).2;
        let edits: [fn(&mut Value); 6] = [
            |report| report["results"][0]["result"] = json!("pass"),
            |report| report["results"] = json!([]),
            // As it is printed.
            |report| drop(report["results"][0].as_object_mut().unwrap().remove("timestamp")),
            |report| report["summary"]["warn"] = json!(0),
            |report| report["scope"]["uid"] = json!("other"),
            |report| report["metadata"]["ownerReferences"] = json!([]),
        ];
        for edit in edits {
            let mut edited = stored(&report);
            edit(&mut edited);
            let mut changes = Changes::new(&audit);
            changes.compare(&edited);
            assert_eq!((changes.unchanged, changes.take_to_write(9).len()), (0, 1), "{edited:#}");
        }
    }

    #[test]
    fn only_reports_of_which_nothing_is_left_are_removed() {
        let left = |kind: &str, name: &str, source: &str| {
            json!({"metadata": {"namespace": "shop", "name": name, "uid": "u-2"}, "source": source,
                "scope": {"kind": kind}})
        };
        let broken = live("shop", "broken", json!({"strategy": {"type": []}}));
        let mut audit = audited(&[("shop", None)], &[broken, live("shop", "web", json!({}))]);
        audit.unlisted.push(("StatefulSet", "the permission is missing".to_owned()));
        let mut changes = Changes::new(&audit);
        for report in [
            left("Deployment", "gapless-deployment-web", "gapless"),
            left("Deployment", "gapless-deployment-gone", "gapless"),
            // Not looked at.
            left("StatefulSet", "gapless-statefulset-web", "gapless"),
            left("Deployment", "gapless-deployment-broken", "gapless"),
            // Somebody else's.
            left("Deployment", "gapless-deployment-theirs", "other"),
        ] {
            changes.compare(&report);
        }
        let stale: Vec<&str> = changes.stale.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(stale, ["gapless-deployment-web", "gapless-deployment-gone"]);
        assert_eq!((changes.stale[0].namespace.as_str(), changes.stale[0].uid.as_str()), ("shop", "u-2"));
        assert_eq!((changes.unchanged, changes.take_to_write(9).len()), (0, 0));
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = "x".repeat(253);
        let report = one(&audited(&[], &[live("shop", &name, json!({"replicas": 1}))]));
        let cut = report["metadata"]["name"].as_str().unwrap();
        assert!(cut.starts_with("gapless-deployment-xxx") && names::is_dns_subdomain(cut), "{cut}");
        assert_eq!(report["scope"]["name"], name);
    }
}
