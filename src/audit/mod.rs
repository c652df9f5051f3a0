//! What a live cluster would hear from the webhooks: from workloads and
//! namespaces, as the API server lists them, to a report.
//!
//! Pure: [`crate::commands`] reads the cluster, and `text` and `json` are the
//! forms in which the [`Report`] is written.

pub mod canaries;
pub mod json;
pub mod namespaces;
pub mod stuck;
pub mod text;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::Value;

use crate::admission::{self, Judged, Outcome};
use crate::defaults::DEFAULTS;
use crate::finding::Problem;
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::policy::{InjectionMode, Policy, Profile};
use crate::preview;
use crate::report::by_kind;
use crate::surroundings::Around;
use canaries::Canaries;
use namespaces::{Namespaces, NotJudged};
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

/// Judges workloads one by one.
pub struct Audit<'p> {
    policy: &'p Policy,
    today: Date,
    namespaces: Namespaces<'p>,
    around: &'p dyn Around,
    canaries: &'p Canaries,
    /// Whether it says what the rollouts are going to do.
    foretells: bool,
    entries: Vec<Entry>,
    unlisted: Vec<(&'static str, String)>,
    suspects: Vec<Suspect>,
    stuck: Vec<Stuck>,
}

/// A workload that was judged, or why it was not.
#[derive(Debug)]
pub enum Entry {
    /// It was judged.
    Judged(Judgement),
    /// It was not judged.
    Skipped(Skipped),
    /// It could not be read.
    Failed(Failed),
}

/// A workload in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// `kind`
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

/// What is said of one workload.
#[derive(Debug)]
pub struct Judgement {
    /// The workload.
    pub subject: Subject,
    /// The profile of its namespace.
    pub profile: String,
    /// The findings, those that deny first.
    pub findings: Vec<Judged>,
    /// Waivers and other annotations that have no effect.
    pub problems: Vec<Problem>,
    /// The ids of the defaults that its next rollout would bring, and what they
    /// would do.
    pub injections: Vec<(&'static str, String)>,
    /// Whether the profile injects them, or only says that it would.
    pub injection: InjectionMode,
    /// The Canary of Flagger that copies it, if it sleeps before it stops, or will.
    pub canary: Option<String>,
    /// What its next rollout is going to do, if that was asked for.
    pub forecast: Option<String>,
}

/// A workload that is not judged.
#[derive(Debug)]
pub struct Skipped {
    /// The workload.
    pub subject: Subject,
    /// Why.
    pub reason: NotJudged,
}

/// A workload that could not be judged.
#[derive(Debug)]
pub struct Failed {
    /// The workload.
    pub subject: Subject,
    /// Why.
    pub message: String,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// What was asked.
    pub scope: Scope,
    /// The name of the profile where nothing is said.
    pub default_profile: String,
    /// The workloads that were judged, the worst first: by the number of
    /// findings that deny, then by the number of warnings.
    pub judgements: Vec<Judgement>,
    /// The workloads that were not judged.
    pub skipped: Vec<Skipped>,
    /// The workloads that could not be judged.
    pub failed: Vec<Failed>,
    /// Namespaces whose label names no profile, with the label's value. The
    /// default profile applies to them.
    pub unknown_profiles: Vec<(String, String)>,
    /// Kinds that could not be listed, and why.
    pub unlisted: Vec<(&'static str, String)>,
    /// Rollouts that do not complete because of what gapless injected.
    pub stuck: Vec<Stuck>,
}

/// How many workloads there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All that were judged.
    pub judged: usize,
    /// The Deployments among them.
    pub deployments: usize,
    /// Those that would be denied if they were new.
    pub denied: usize,
    /// Those that have warnings, denied or not.
    pub warned: usize,
    /// Those that would not be denied and have no warnings.
    pub fine: usize,
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
            entries: Vec::new(),
            unlisted: Vec::new(),
            suspects: Vec::new(),
            stuck: Vec::new(),
        }
    }

    /// Whether it says of each workload what its next rollout is going to do.
    pub fn foretelling(self, foretells: bool) -> Self {
        Audit { foretells, ..self }
    }

    /// How many workloads have been looked at.
    pub fn seen(&self) -> usize {
        self.entries.len()
    }

    /// Judges one workload of this kind as the API server lists it.
    pub fn workload(&mut self, kind: Kind, object: &Value) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let subject = Subject { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        let entry = match self.namespaces.profile(&subject.namespace) {
            Ok(profile) => self.judge(subject, object, profile),
            Err(reason) => Entry::Skipped(Skipped { subject, reason }),
        };
        if let (Kind::Deployment, Entry::Judged(judgement)) = (kind, &entry) {
            self.suspects.extend(Suspect::of(&judgement.subject, object));
        }
        self.entries.push(entry);
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
        self.suspects.extend(other.suspects);
    }

    fn judge(&self, subject: Subject, object: &Value, profile: &Profile) -> Entry {
        let around = self.around.around(subject.kind, object, Some(&subject.namespace));
        let assessment = match admission::assess(subject.kind, object, &around, profile, self.today) {
            Ok(assessment) => assessment,
            Err(InjectError::Patch(error)) => {
                let message = format!("gapless failed, please report this: {error}");
                return Entry::Failed(Failed { subject, message });
            }
            Err(InjectError::WrongType(error)) => {
                return Entry::Failed(Failed { subject, message: error.to_string() });
            }
        };
        if let Some(skip) = assessment.skip {
            return Entry::Skipped(Skipped { subject, reason: NotJudged::Gate(skip) });
        }
        let after_rollout = match profile.injection {
            InjectionMode::Inject => &assessment.injection.object,
            InjectionMode::Announce => object,
        };
        let is_hurt = canaries::sleeps(object) || canaries::sleeps(after_rollout);
        let canary = self.canaries.of(&subject).filter(|_| is_hurt).map(str::to_owned);
        let foretell = || preview::in_a_line(subject.kind, &assessment.injection.object, &around);
        Entry::Judged(Judgement {
            forecast: self.foretells.then(foretell),
            subject,
            profile: profile.name.clone(),
            findings: assessment.judged,
            problems: assessment.problems,
            injections: assessment.injection.announcements,
            injection: profile.injection,
            canary,
        })
    }

    /// What was found.
    pub fn report(self, scope: Scope) -> Report {
        let mut report = Report {
            scope,
            default_profile: self.policy.resolve(None).name().to_owned(),
            judgements: Vec::new(),
            skipped: Vec::new(),
            failed: Vec::new(),
            unknown_profiles: self.namespaces.unknown_profiles(),
            unlisted: self.unlisted,
            stuck: self.stuck,
        };
        for entry in self.entries {
            match entry {
                Entry::Judged(judgement) => report.judgements.push(judgement),
                Entry::Skipped(skipped) => report.skipped.push(skipped),
                Entry::Failed(failed) => report.failed.push(failed),
            }
        }
        report.judgements.sort_by_cached_key(|it| {
            (Reverse(it.denials().count()), Reverse(it.warnings().count()), it.subject.clone())
        });
        report
    }
}

impl Judgement {
    /// The ids of the rules that would deny it, one for each finding.
    pub fn denials(&self) -> impl Iterator<Item = &str> {
        self.outcome(Outcome::Deny)
    }

    /// The ids of the rules that warn, one for each finding, and those of the
    /// annotations that have no effect.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.outcome(Outcome::Warn).chain(self.problems.iter().map(|problem| problem.id.as_str()))
    }

    /// Whether there is nothing at all to say about it.
    pub fn is_fine(&self) -> bool {
        self.denials().chain(self.warnings()).next().is_none() && self.injections.is_empty()
    }

    fn outcome(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        self.findings.iter().filter(move |found| found.outcome == outcome).map(|found| found.finding.rule)
    }
}

impl Report {
    /// How many workloads of each kind were judged; of which there is none, it is left out.
    pub fn kinds(&self) -> Vec<(Kind, usize)> {
        by_kind(self.judgements.iter().map(|it| it.subject.kind.name()))
    }

    /// How many of all workloads are denied and warned.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        self.judgements.iter().for_each(|judgement| count.add(judgement));
        count
    }

    /// The same for each namespace, with its profile.
    pub fn by_namespace(&self) -> BTreeMap<(&str, &str), Count> {
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        for judgement in &self.judgements {
            let key = (judgement.subject.namespace.as_str(), judgement.profile.as_str());
            counts.entry(key).or_default().add(judgement);
        }
        counts
    }

    /// In how many workloads each default would do something at the next
    /// rollout; or would say so, if the profile only announces.
    pub fn injections(&self, mode: InjectionMode) -> Vec<(&'static str, usize)> {
        let has = |it: &&Judgement, id| it.injections.iter().any(|(default, _)| *default == id);
        let of_mode = || self.judgements.iter().filter(|it| it.injection == mode);
        let counts =
            DEFAULTS.iter().map(|default| (default.id, of_mode().filter(|it| has(it, default.id)).count()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// In how many workloads the ids that `of` finds occur, the most frequent
    /// first.
    pub fn frequencies<'r, I: Iterator<Item = &'r str>>(
        &'r self,
        of: impl Fn(&'r Judgement) -> I,
    ) -> Vec<(&'r str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for judgement in &self.judgements {
            let mut ids: Vec<_> = of(judgement).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(id, count)| (Reverse(*count), *id));
        counts
    }

    /// The workloads that sleep before they stop, or will, and that Flagger copies, each with
    /// its Canary.
    pub fn copied(&self) -> impl Iterator<Item = (&Judgement, &str)> {
        self.judgements.iter().filter_map(|it| Some((it, it.canary.as_deref()?)))
    }

    /// How many Deployments were not judged, by reason.
    pub fn skips(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        self.skipped.iter().for_each(|it| *counts.entry(it.reason.as_str()).or_default() += 1);
        counts
    }
}

impl Count {
    fn add(&mut self, judgement: &Judgement) {
        let is_denied = judgement.denials().next().is_some();
        let is_warned = judgement.warnings().next().is_some();
        self.judged += 1;
        self.deployments += usize::from(judgement.subject.kind == Kind::Deployment);
        self.denied += usize::from(is_denied);
        self.warned += usize::from(is_warned);
        self.fine += usize::from(!is_denied && !is_warned);
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{audited, live};
    use super::*;
    use crate::surroundings::NONE;
    use serde_json::json;

    fn row(report: &Report, name: &str) -> (Vec<String>, Vec<String>, Vec<&'static str>) {
        let judgement = report.judgements.iter().find(|it| it.subject.name == name).expect("it was judged");
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
        let report = audited(&[("shop", None)], &deployments);
        let names: Vec<_> = report.judgements.iter().map(|it| it.subject.name.as_str()).collect();
        assert_eq!(names, ["denied-twice", "denied-and-warned", "denied", "one-warning", "a-fine", "b-fine"]);
        assert_eq!(report.count(), Count { judged: 6, deployments: 6, denied: 3, warned: 3, fine: 2 });
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
        let report = audited(&namespaces, &deployments);
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
        assert_eq!(report.unknown_profiles, [("typo".to_owned(), "prodution".to_owned())]);
        let announced = report.injections(InjectionMode::Announce);
        assert!(announced.contains(&("readiness-probe", 1)), "{announced:?}");
        assert!(report.injections(InjectionMode::Inject).contains(&("readiness-probe", 4)));
    }

    #[test]
    fn the_gates_hold_here_too() {
        let mut owned = live("shop", "owned", json!({}));
        owned["metadata"]["ownerReferences"] = json!([{"controller": true}]);
        let mut deleting = live("shop", "deleting", json!({}));
        deleting["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
        let report = audited(&[("shop", None)], &[owned, deleting]);
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
        assert!(report.judgements[0].is_fine());
    }

    #[test]
    fn a_waiver_is_no_warning_but_one_without_effect_is() {
        let mut object = live("shop", "web", json!({"revisionHistoryLimit": 0}));
        object["metadata"]["annotations"] = json!({
            "gapless.dev/waive.no-rollback-history": "kept in Git",
            "gapless.dev/waive.single-replica": "",
        });
        let report = audited(&[("shop", None)], &[object]);
        let judgement = &report.judgements[0];
        assert_eq!(judgement.denials().count(), 0);
        assert_eq!(judgement.findings[0].waived_because.as_deref(), Some("kept in Git"));
        assert_eq!(judgement.warnings().collect::<Vec<_>>(), ["single-replica"]);
        assert!(judgement.problems[0].message().starts_with("annotation gapless.dev/waive.single-replica "));
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
        let report = audited(&[("shop", None)], &[broken, live("shop", "web", json!({}))]);
        assert_eq!(report.failed[0].subject.to_string(), "Deployment shop/broken");
        assert!(report.failed[0].message.contains("spec.replicas"), "{}", report.failed[0].message);
        assert_eq!(report.count().deployments, 1);
    }
}
