//! For programs: one JSON object, whose fields keep their names and meaning.
//! What `gapless check` says too has the same name there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::canaries::WARNING;
use super::{Judgement, Problem, Report, Subject};
use crate::admission::Outcome;
use crate::kubernetes::kind::Kind;
use crate::policy::InjectionMode;
use crate::printable;
use crate::report::json::FindingJson;

/// What the fields are, for the help of the command line.
pub const SHAPE: &str = "\
The form json is one object:
  scope        server, context, namespace (null: all)
  profile      the default one
  workloads    those that were judged, the worst first: denied (rules),
               warnings (rules, and ids of annotations that have no effect),
               injections (defaults)
  deployments  the Deployments among them
  findings     rule, action (of the rule: Deny, Warn, Audit), outcome (deny,
               warn, audit, waived), field, message, fix, waivedBecause
  problems     annotations that have no effect: id, message
  injections   what the next rollout would bring: default, message,
               announcedOnly (the profile says so and injects nothing)
  copied       workloads whose preStop hook a Canary of Flagger may copy as an
               empty one: canary, message
  skipped      workloads that are not judged: reason, message
  errors       workloads that cannot be read: message
  unlisted     kinds that cannot be listed: kind, message
  stuck        rollouts that do not complete because of what gapless injected:
               defaults, message, fix
  unknownProfiles  namespaces whose label names no profile: namespace, label
  summary      judged, denied, warned, fine (neither), skipped, errors
               (all workloads), deployments (those judged), waived, audited
               (findings), denials, warnings (workloads by rule), injections,
               announcements (workloads by default), namespaces (namespace,
               profile, judged, deployments, denied, warned)
The items of workloads, deployments, findings, problems, injections, copied, skipped,
errors and stuck have kind, namespace and name, and the first six profile. What is not known
is null. The fields of check have the same meaning there.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportJson<'r> {
    scope: ScopeJson<'r>,
    profile: &'r str,
    workloads: Vec<Item<'r, WorkloadJson<'r>>>,
    deployments: Vec<Item<'r, WorkloadJson<'r>>>,
    findings: Vec<Item<'r, FindingJson<'r>>>,
    problems: Vec<Item<'r, ProblemJson<'r>>>,
    injections: Vec<Item<'r, InjectionJson<'r>>>,
    copied: Vec<Item<'r, CopiedJson<'r>>>,
    skipped: Vec<Item<'r, SkippedJson>>,
    errors: Vec<Item<'r, ErrorJson<'r>>>,
    unlisted: Vec<UnlistedJson<'r>>,
    stuck: Vec<Item<'r, StuckJson<'r>>>,
    unknown_profiles: Vec<UnknownProfileJson<'r>>,
    summary: SummaryJson<'r>,
}

#[derive(Serialize)]
struct ScopeJson<'r> {
    server: &'r str,
    context: Option<&'r str>,
    namespace: Option<&'r str>,
}

/// Something about one workload.
#[derive(Serialize)]
struct Item<'r, T> {
    kind: &'static str,
    namespace: &'r str,
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'r str>,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct WorkloadJson<'r> {
    denied: Vec<&'r str>,
    warnings: Vec<&'r str>,
    injections: Vec<&'r str>,
}

#[derive(Serialize)]
struct ProblemJson<'r> {
    id: &'r str,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InjectionJson<'r> {
    default: &'r str,
    message: &'r str,
    announced_only: bool,
}

#[derive(Serialize)]
struct CopiedJson<'r> {
    canary: &'r str,
    message: &'static str,
}

#[derive(Serialize)]
struct SkippedJson {
    reason: &'static str,
    message: &'static str,
}

#[derive(Serialize)]
struct ErrorJson<'r> {
    message: &'r str,
}

#[derive(Serialize)]
struct UnlistedJson<'r> {
    kind: &'static str,
    message: &'r str,
}

#[derive(Serialize)]
struct StuckJson<'r> {
    defaults: &'r [&'static str],
    message: &'r str,
    fix: &'static str,
}

#[derive(Serialize)]
struct UnknownProfileJson<'r> {
    namespace: &'r str,
    label: &'r str,
}

#[derive(Serialize)]
struct SummaryJson<'r> {
    judged: usize,
    deployments: usize,
    denied: usize,
    warned: usize,
    fine: usize,
    waived: usize,
    audited: usize,
    skipped: usize,
    errors: usize,
    denials: BTreeMap<&'r str, usize>,
    warnings: BTreeMap<&'r str, usize>,
    injections: BTreeMap<&'r str, usize>,
    announcements: BTreeMap<&'r str, usize>,
    namespaces: Vec<NamespaceJson<'r>>,
}

#[derive(Serialize)]
struct NamespaceJson<'r> {
    namespace: &'r str,
    profile: &'r str,
    judged: usize,
    deployments: usize,
    denied: usize,
    warned: usize,
}

/// The report as JSON.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(report: &Report) -> serde_json::Result<String> {
    let json = ReportJson {
        scope: ScopeJson {
            server: &report.scope.server,
            context: report.scope.context.as_deref(),
            namespace: report.scope.namespace.as_deref(),
        },
        profile: &report.default_profile,
        workloads: report.judgements.iter().map(|it| it.item(workload(it))).collect(),
        deployments: deployments(report).map(|it| it.item(workload(it))).collect(),
        findings: of_each(report, |it| it.findings.iter().map(FindingJson::from).collect()),
        problems: of_each(report, |it| it.problems.iter().map(problem).collect()),
        injections: of_each(report, injections),
        copied: report
            .copied()
            .map(|(it, canary)| it.item(CopiedJson { canary, message: WARNING }))
            .collect(),
        skipped: report
            .skipped
            .iter()
            .map(|it| {
                item(&it.subject, SkippedJson { reason: it.reason.as_str(), message: it.reason.message() })
            })
            .collect(),
        errors: report
            .failed
            .iter()
            .map(|it| item(&it.subject, ErrorJson { message: &it.message }))
            .collect(),
        unlisted: report.unlisted.iter().map(|(kind, message)| UnlistedJson { kind, message }).collect(),
        stuck: report
            .stuck
            .iter()
            .map(|it| {
                item(&it.subject, StuckJson { defaults: &it.defaults, message: &it.message, fix: it.fix })
            })
            .collect(),
        unknown_profiles: report
            .unknown_profiles
            .iter()
            .map(|(namespace, label)| UnknownProfileJson { namespace, label })
            .collect(),
        summary: summary(report),
    };
    printable::to_json(&json).map(|text| text + "\n")
}

fn item<T>(subject: &Subject, what: T) -> Item<'_, T> {
    let Subject { kind, namespace, name } = subject;
    Item { kind: kind.name(), namespace, name, profile: None, what }
}

/// What `list` finds in all workloads, one after the other.
fn of_each<'r, T>(report: &'r Report, list: impl Fn(&'r Judgement) -> Vec<T>) -> Vec<Item<'r, T>> {
    report.judgements.iter().flat_map(|it| list(it).into_iter().map(|what| it.item(what))).collect()
}

impl Judgement {
    fn item<T>(&self, what: T) -> Item<'_, T> {
        Item { profile: Some(&self.profile), ..item(&self.subject, what) }
    }
}

fn deployments(report: &Report) -> impl Iterator<Item = &Judgement> {
    report.judgements.iter().filter(|it| it.subject.kind == Kind::Deployment)
}

fn workload(judgement: &Judgement) -> WorkloadJson<'_> {
    WorkloadJson {
        denied: judgement.denials().collect(),
        warnings: judgement.warnings().collect(),
        injections: judgement.injections.iter().map(|(id, _)| *id).collect(),
    }
}

fn problem(problem: &Problem) -> ProblemJson<'_> {
    ProblemJson { id: &problem.id, message: problem.message() }
}

fn injections(judgement: &Judgement) -> Vec<InjectionJson<'_>> {
    let announced_only = judgement.injection == InjectionMode::Announce;
    let injections = judgement.injections.iter();
    injections.map(|(default, message)| InjectionJson { default, message, announced_only }).collect()
}

fn summary(report: &Report) -> SummaryJson<'_> {
    let findings = |outcome| {
        let all = report.judgements.iter().flat_map(|it| &it.findings);
        all.filter(|found| found.outcome == outcome).count()
    };
    let count = report.count();
    SummaryJson {
        judged: count.judged,
        deployments: deployments(report).count(),
        denied: count.denied,
        warned: count.warned,
        fine: count.fine,
        waived: findings(Outcome::Waived),
        audited: findings(Outcome::Audit),
        skipped: report.skipped.len(),
        errors: report.failed.len(),
        denials: report.frequencies(Judgement::denials).into_iter().collect(),
        warnings: report.frequencies(Judgement::warnings).into_iter().collect(),
        injections: report.injections(InjectionMode::Inject).into_iter().collect(),
        announcements: report.injections(InjectionMode::Announce).into_iter().collect(),
        namespaces: report
            .by_namespace()
            .into_iter()
            .map(|((namespace, profile), count)| NamespaceJson {
                namespace,
                profile,
                judged: count.judged,
                deployments: count.deployments,
                denied: count.denied,
                warned: count.warned,
            })
            .collect(),
    }
}
