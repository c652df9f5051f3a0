//! What a live cluster would hear from the webhooks: from workloads and
//! namespaces, as the API server lists them, to a report.
//!
//! Pure: [`crate::commands`] reads the cluster, and `text`, `json` and `openreports` are
//! the forms in which what it found, [`Audited`], is written.

pub mod canaries;
pub mod html;
pub mod json;
pub mod namespaces;
pub mod openreports;
pub mod stuck;
pub mod text;

use jiff::civil::Date;
use serde_json::Value;

use crate::admission::{self, Assessment};
use crate::finding;
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::policy::{InjectionMode, Policy, Profile};
use crate::preview;
use crate::report::loss::Loss;
use crate::report::{Entry, Found, Judgement, Problem, Reason, Report, Skipped, Subject};
use crate::surroundings::Around;
use canaries::Canaries;
use namespaces::{Namespaces, because};
use stuck::{Stuck, Suspect};

/// What was asked: where, and by which policy.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The address of the API server.
    pub server: String,
    /// The context of the kubeconfig; `None` within the cluster.
    pub context: Option<String>,
    /// The namespace; `None` for all of them.
    pub namespace: Option<String>,
}

impl Scope {
    /// As in `all namespaces of https://10.0.0.1:6443 (context prod)`.
    pub fn in_words(&self) -> String {
        let place = match &self.namespace {
            Some(namespace) => format!("namespace {namespace}"),
            None => "all namespaces".to_owned(),
        };
        let context = self.context.iter().map(|context| format!(" (context {context})"));
        format!("{place} of {}{}", self.server, context.collect::<String>())
    }
}

/// Judges workloads one by one.
pub struct Audit<'p> {
    policy: &'p Policy,
    today: Date,
    namespaces: Namespaces<'p>,
    around: &'p dyn Around,
    canaries: &'p Canaries,
    /// Whether it says what the rollouts are going to do.
    foretells: bool,
    /// Whether it says what only a page shows.
    is_detailed: bool,
    entries: Vec<Entry>,
    failed: Vec<Failed>,
    hurt: Canaries,
    unlisted: Vec<(&'static str, String)>,
    suspects: Vec<Suspect>,
    stuck: Vec<Stuck>,
}

/// A workload that could not be judged.
#[derive(Debug)]
pub struct Failed {
    /// The workload.
    pub subject: Subject,
    /// Why.
    pub message: String,
}

/// What was said of a cluster.
#[derive(Debug)]
pub struct Audited {
    /// The workloads, the worst first.
    pub report: Report,
    /// What was asked.
    pub scope: Scope,
    /// The workloads that could not be judged.
    pub failed: Vec<Failed>,
    /// The Canaries of Flagger whose copies sleep before they stop, or will.
    pub canaries: Canaries,
    /// Namespaces whose label names no profile, with the label's value. The
    /// default profile applies to them.
    pub unknown_profiles: Vec<(String, String)>,
    /// Kinds that could not be listed, and why.
    pub unlisted: Vec<(&'static str, String)>,
    /// Rollouts that do not complete because of what gapless injected.
    pub stuck: Vec<Stuck>,
}

impl<'p> Audit<'p> {
    /// Nothing has been judged yet. `around` knows what stands around the workloads.
    pub fn new(
        policy: &'p Policy,
        today: Date,
        namespaces: Namespaces<'p>,
        around: &'p dyn Around,
        canaries: &'p Canaries,
    ) -> Self {
        Audit {
            policy,
            today,
            namespaces,
            around,
            canaries,
            foretells: false,
            is_detailed: false,
            entries: Vec::new(),
            failed: Vec::new(),
            hurt: Canaries::default(),
            unlisted: Vec::new(),
            suspects: Vec::new(),
            stuck: Vec::new(),
        }
    }

    /// Whether it says of each workload what its next rollout is going to do.
    pub fn foretelling(self, foretells: bool) -> Self {
        Audit { foretells, ..self }
    }

    /// Whether it says of each workload what only a page shows.
    pub fn detailed(self, is_detailed: bool) -> Self {
        Audit { is_detailed, ..self }
    }

    /// How many workloads have been looked at.
    pub fn seen(&self) -> usize {
        self.entries.len() + self.failed.len()
    }

    /// Judges one workload of this kind as the API server lists it.
    pub fn workload(&mut self, kind: Kind, object: &Value) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let uid = Some(text("/metadata/uid").to_owned());
        let subject = Subject { uid, ..Subject::live(kind, namespace, name) };
        match self.namespaces.profile(namespace) {
            Ok(profile) => self.judge(kind, subject, object, profile),
            Err(reason) => self.skip(subject, reason),
        }
    }

    fn skip(&mut self, subject: Subject, reason: Reason) {
        let message = because(reason).to_owned();
        self.entries.push(Entry::Skipped(Skipped { subject, reason, message }));
    }

    /// The Deployments whose rollout may not complete because of gapless: their pods know.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Notes what came of the suspects.
    pub fn found_stuck(&mut self, stuck: Vec<Stuck>) {
        self.stuck = stuck;
    }

    /// Notes that the objects of this kind cannot be listed.
    pub fn cannot_list(&mut self, kind: &'static str, why: String) {
        self.unlisted.push((kind, why));
    }

    /// Adds what `other`, of another kind, has found.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.failed.extend(other.failed);
        self.hurt.extend(other.hurt);
        self.suspects.extend(other.suspects);
    }

    fn judge(&mut self, kind: Kind, subject: Subject, object: &Value, profile: &Profile) {
        let around = self.around.around(kind, object, subject.namespace.as_deref());
        let assessment = match admission::assess(kind, object, &around, profile, self.today) {
            Ok(assessment) => assessment,
            Err(InjectError::Patch(error)) => {
                let message = format!("gapless failed, please report this: {error}");
                return self.failed.push(Failed { subject, message });
            }
            Err(InjectError::WrongType(error)) => {
                return self.failed.push(Failed { subject, message: error.to_string() });
            }
        };
        if let Some(skip) = assessment.skip {
            return self.skip(subject, Reason::Gate(skip));
        }
        let after_rollout = match profile.injection {
            InjectionMode::Inject => &assessment.injection.object,
            InjectionMode::Announce => object,
        };
        if canaries::sleeps(object) || canaries::sleeps(after_rollout) {
            self.hurt.take(self.canaries, &subject);
        }
        if kind == Kind::Deployment {
            self.suspects.extend(Suspect::of(&subject, object));
        }
        let Assessment { judged, as_it_is, waivers, .. } = assessment;
        let completed = &assessment.injection.object;
        let foretell = || preview::in_a_line(kind, completed, &around);
        let details = || preview::details(kind, object, completed, &around);
        let problem =
            |it: &finding::Problem| Problem { id: it.id.clone(), message: it.message(), place: None };
        self.entries.push(Entry::Judged(Box::new(Judgement {
            forecast: self.foretells.then(foretell),
            details: self.is_detailed.then(details),
            loss: Loss::of(&as_it_is, &judged, profile.injection),
            waivers,
            subject,
            profile: profile.name.clone(),
            findings: judged.into_iter().map(|judged| Found { place: None, judged }).collect(),
            problems: assessment.problems.iter().map(problem).collect(),
            notes: Vec::new(),
            injections: assessment.injection.announcements,
            injection: profile.injection,
        })));
    }

    /// What was found.
    pub fn report(self, scope: Scope) -> Audited {
        let profile = self.policy.resolve(None).name().to_owned();
        let mut report = Report { profile, is_by_namespace: true, entries: self.entries };
        report.sort();
        Audited {
            report,
            scope,
            failed: self.failed,
            canaries: self.hurt,
            unknown_profiles: self.namespaces.unknown_profiles(),
            unlisted: self.unlisted,
            stuck: self.stuck,
        }
    }
}

impl Audited {
    /// What the label of a namespace means that names no profile.
    pub fn unknown_profile(&self, namespace: &str, label: &str) -> String {
        format!(
            "there is no profile {label:?}, the label of namespace {namespace}; judged by {}",
            self.report.profile
        )
    }

    /// The workloads that sleep before they stop, or will, and that Flagger copies, each with
    /// its Canary.
    pub fn copied(&self) -> impl Iterator<Item = (&Judgement, &str)> {
        self.report.judgements().filter_map(|it| Some((it, self.canaries.of(&it.subject)?)))
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{audited, live};
    use super::*;
    use crate::report::count::Count;
    use crate::surroundings::NONE;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn row(audited: &Audited, name: &str) -> (Vec<String>, Vec<String>, Vec<&'static str>) {
        let judgement =
            audited.report.judgements().find(|it| it.subject.name == name).expect("it was judged");
        let owned = |ids: &mut dyn Iterator<Item = &str>| ids.map(str::to_owned).collect();
        (
            owned(&mut judgement.denials()),
            owned(&mut judgement.warnings()),
            judgement.injections.iter().map(|(id, _)| *id).collect(),
        )
    }

    #[test]
    fn what_the_api_server_filled_in_counts_as_unset() {
        let report = audited(&[("shop", None)], &[live("shop", "web", json!({}))]);
        let all = ["readiness-probe", "pre-stop-sleep", "rolling-update", "version-label"];
        assert_eq!(row(&report, "web"), (vec![], vec![], all.to_vec()));
    }

    #[test]
    fn the_worst_come_first() {
        let deployments = [
            live("shop", "b-fine", json!({})),
            live("shop", "a-fine", json!({})),
            live("shop", "one-warning", json!({"replicas": 1})),
            live("shop", "denied", json!({"revisionHistoryLimit": 0})),
            live("shop", "denied-and-warned", json!({"revisionHistoryLimit": 0, "replicas": 1})),
            live(
                "shop",
                "denied-twice",
                json!({"revisionHistoryLimit": 0, "strategy": {"type": "Recreate"}}),
            ),
        ];
        let report = audited(&[("shop", None)], &deployments).report;
        let names: Vec<_> = report.judgements().map(|it| it.subject.name.as_str()).collect();
        assert_eq!(names, ["denied-twice", "denied-and-warned", "denied", "one-warning", "a-fine", "b-fine"]);
        assert_eq!(
            report.count(),
            Count {
                judged: 6,
                deployments: 6,
                denied: 3,
                warned: 3,
                fine: 2,
                completed: 6,
                clean: 0,
                waived: 0
            }
        );
        let frequencies = report.frequencies(Judgement::denials);
        assert_eq!(frequencies.first(), Some(&("no-rollback-history", 3)));
    }

    #[test]
    fn each_namespace_is_judged_by_its_profile() {
        let namespaces = [
            ("plain", None),
            ("trial", Some("advisory")),
            ("play", Some("development")),
            ("typo", Some("prodution")),
            ("free", Some("off")),
            ("kube-system", None),
        ];
        let deployments: Vec<_> = namespaces
            .iter()
            .map(|(namespace, _)| live(namespace, "web", json!({"revisionHistoryLimit": 0})))
            .chain([live("unheard-of", "web", json!({"revisionHistoryLimit": 0}))])
            .collect();
        let audited = audited(&namespaces, &deployments);
        let report = &audited.report;
        let judged: Vec<_> = report
            .by_namespace()
            .into_iter()
            .map(|((namespace, profile), count)| (namespace, profile, count.denied, count.warned))
            .collect();
        assert_eq!(
            judged,
            [
                ("plain", "production", 1, 0),
                ("play", "development", 0, 1),
                ("trial", "advisory", 0, 1),
                ("typo", "production", 1, 0),
                ("unheard-of", "production", 1, 0),
            ]
        );
        assert_eq!(report.skips(), BTreeMap::from([("profile-off", 1), ("system-namespace", 1)]));
        assert_eq!(audited.unknown_profiles, [("typo".to_owned(), "prodution".to_owned())]);
        let announced = report.injections(|it| it.injection == InjectionMode::Announce);
        assert!(announced.contains(&("readiness-probe", 1)), "{announced:?}");
        let injected = report.injections(|it| it.injection == InjectionMode::Inject);
        assert!(injected.contains(&("readiness-probe", 4)), "{injected:?}");
    }

    #[test]
    fn the_gates_hold_here_too() {
        let mut owned = live("shop", "owned", json!({}));
        owned["metadata"]["ownerReferences"] = json!([{"controller": true}]);
        let mut deleting = live("shop", "deleting", json!({}));
        deleting["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
        let report = audited(&[("shop", None)], &[owned, deleting]).report;
        assert_eq!(report.count(), Count::default());
        assert_eq!(report.skips(), BTreeMap::from([("deleting", 1), ("owned", 1)]));
    }

    #[test]
    fn what_gapless_completed_needs_nothing_more() {
        let mut object = live("shop", "web", json!({}));
        let policy = crate::config::load(None).expect("the default policy");
        let profile = policy.default_profile().expect("production");
        let today = jiff::civil::date(2026, 11, 23);
        object = admission::assess(Kind::Deployment, &object, &NONE, profile, today)
            .expect("an assessment")
            .injection
            .object;
        // The API server fills the probe in.
        let probe = &mut object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"];
        probe["timeoutSeconds"] = json!(1);
        probe["successThreshold"] = json!(1);
        let report = audited(&[("shop", None)], &[object]);
        assert_eq!(row(&report, "web"), (vec![], vec![], vec![]));
        assert!(report.report.judgements().all(Judgement::is_fine));
    }

    #[test]
    fn a_waiver_is_no_warning_but_one_without_effect_is() {
        let mut object = live("shop", "web", json!({"revisionHistoryLimit": 0}));
        object["metadata"]["annotations"] = json!({
            "gapless.dev/waive.no-rollback-history": "kept in Git",
            "gapless.dev/waive.single-replica": "",
        });
        let report = audited(&[("shop", None)], &[object]).report;
        let judgement = report.judgements().next().expect("it was judged");
        assert_eq!(judgement.denials().count(), 0);
        assert_eq!(judgement.findings[0].judged.waived_because.as_deref(), Some("kept in Git"));
        assert_eq!(judgement.warnings().collect::<Vec<_>>(), ["single-replica"]);
        assert!(judgement.problems[0].message.starts_with("annotation gapless.dev/waive.single-replica "));
    }

    #[test]
    fn no_form_has_control_characters() {
        let hostile = "a\u{1b}[31m\u{9b}2J\u{7f}\0\tb";
        let mut object = live("shop", hostile, json!({"replicas": 1}));
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(hostile);
        object["metadata"]["annotations"] = json!({"gapless.dev/waive.single-replica": hostile});
        let broken = live("shop", hostile, json!({"strategy": {"type": [hostile]}}));
        let report = audited(&[("shop", Some(hostile))], &[object, broken]);
        let json = json::write(&report).expect("JSON");
        // As a reader sees it.
        let read = serde_json::from_str::<Value>(&json).expect("JSON");
        assert_eq!(read["findings"][0]["name"], "a\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd} b");
        assert!(!json.contains("\\u0"), "{json}");
        let text = anstream::adapter::strip_str(&text::write(&report)).to_string();
        for form in [json, text] {
            assert!(!form.replace('\n', "").contains(char::is_control), "{form:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_and_hides_nothing() {
        let broken = live("shop", "broken", json!({"replicas": "three"}));
        let audited = audited(&[("shop", None)], &[broken, live("shop", "web", json!({}))]);
        assert_eq!(audited.failed[0].subject.to_string(), "Deployment shop/broken");
        assert!(audited.failed[0].message.contains("spec.replicas"), "{}", audited.failed[0].message);
        assert_eq!(audited.report.count().deployments, 1);
    }
}
