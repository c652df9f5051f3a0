//! For programs: one JSON object, whose fields keep their names and meaning.
//! What `gapless check` says too has the same name there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Audited;
use super::canaries::WARNING;
use crate::admission::Outcome;
use crate::kubernetes::kind::Kind;
use crate::policy::InjectionMode;
use crate::printable;
use crate::report::json::{self, FindingJson, InjectionJson, Item, ProblemJson, SkippedJson, item, of_each};
use crate::report::{Judgement, Report};

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
    skipped: Vec<Item<'r, SkippedJson<'r>>>,
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

#[derive(Serialize)]
struct WorkloadJson<'r> {
    denied: Vec<&'r str>,
    warnings: Vec<&'r str>,
    injections: Vec<&'r str>,
}

#[derive(Serialize)]
struct CopiedJson<'r> {
    canary: &'r str,
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

/// What was said of a cluster, as JSON.
///
/// # Errors
/// If serde_json cannot write it, of which no case is known.
pub fn write(audited: &Audited) -> serde_json::Result<String> {
    let Audited { report, scope, failed, unknown_profiles, unlisted, stuck, .. } = audited;
    let copied = |it| audited.canaries.of(it).map(|canary| CopiedJson { canary, message: WARNING });
    let json = ReportJson {
        scope: ScopeJson {
            server: &scope.server,
            context: scope.context.as_deref(),
            namespace: scope.namespace.as_deref(),
        },
        profile: &report.profile,
        workloads: of_each(report, |it| [(None, workload(it))]),
        deployments: of_each(report, |it| is_deployment(it).then(|| (None, workload(it)))),
        findings: json::findings(report),
        problems: json::problems(report),
        injections: json::injections(report),
        copied: of_each(report, |it| copied(&it.subject).map(|copied| (None, copied))),
        skipped: json::skipped(report),
        errors: failed.iter().map(|it| item(&it.subject, None, ErrorJson { message: &it.message })).collect(),
        unlisted: unlisted.iter().map(|(kind, message)| UnlistedJson { kind, message }).collect(),
        stuck: stuck
            .iter()
            .map(|it| {
                let stuck = StuckJson { defaults: &it.defaults, message: &it.message, fix: it.fix };
                item(&it.subject, None, stuck)
            })
            .collect(),
        unknown_profiles: unknown_profiles
            .iter()
            .map(|(namespace, label)| UnknownProfileJson { namespace, label })
            .collect(),
        summary: summary(report, failed.len()),
    };
    printable::to_json(&json).map(|text| text + "\n")
}

fn is_deployment(judgement: &Judgement) -> bool {
    judgement.subject.kind == Kind::Deployment.name()
}

fn workload(judgement: &Judgement) -> WorkloadJson<'_> {
    WorkloadJson {
        denied: judgement.denials().collect(),
        warnings: judgement.warnings().collect(),
        injections: judgement.injections.iter().map(|(id, _)| *id).collect(),
    }
}

fn summary(report: &Report, errors: usize) -> SummaryJson<'_> {
    let injections = |mode| report.injections(|it| it.injection == mode).into_iter().collect();
    let count = report.count();
    SummaryJson {
        judged: count.judged,
        deployments: count.deployments,
        denied: count.denied,
        warned: count.warned,
        fine: count.fine,
        waived: report.found(Outcome::Waived),
        audited: report.found(Outcome::Audit),
        skipped: report.skipped().count(),
        errors,
        denials: report.frequencies(Judgement::denials).into_iter().collect(),
        warnings: report.frequencies(Judgement::warnings).into_iter().collect(),
        injections: injections(InjectionMode::Inject),
        announcements: injections(InjectionMode::Announce),
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
