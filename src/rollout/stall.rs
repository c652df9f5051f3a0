//! Why a rollout never ends, and what may keep it from ending.

use super::course::Course;
use super::kubelet::{Life, Obstacle};
use super::world::seconds;
use super::{Millis, Plan, Quota};
use crate::kubernetes::kind::Kind;
use crate::workload::object::Probe;
use crate::workload::scheduling::SurgeBlocker;
use crate::workload::{Strategy, Workload};

/// What keeps new pods from running beside old ones, of which none may go first.
pub fn surge_deadlock(workload: &Workload) -> Option<Obstacle> {
    let blocker = blockers(workload).find(is_certain)?;
    let text = match &blocker {
        SurgeBlocker::Volume { .. } => {
            format!(
                "one node mounts {blocker}, so that a new pod waits for the old one, and no old one goes first"
            )
        }
        SurgeBlocker::Device(_) | SurgeBlocker::ResourceClaims => {
            format!(
                "{blocker} is one pod's own, so that a new one waits for a spare one, and no old pod goes first"
            )
        }
        _ if workload.kind() == Kind::DaemonSet => {
            format!("{blocker} allows one pod per node, and the old one does not go first")
        }
        _ => format!(
            "{blocker} allows one pod per node, so that a new one waits for a free node, and no old pod goes first"
        ),
    };
    Some(Obstacle { text, rule: "surge-deadlock" })
}

/// What perhaps does.
pub fn maybe_surge_deadlock(workload: &Workload) -> Option<String> {
    let blocker = blockers(workload).find(|blocker| !is_certain(blocker))?;
    Some(format!("{blocker} can be mounted on several nodes; if not, it stalls (surge-deadlock)"))
}

fn is_certain(blocker: &SurgeBlocker) -> bool {
    !matches!(blocker, SurgeBlocker::Volume { is_certain: false, .. })
}

/// On its own node the new pod of a DaemonSet mounts what the old one mounts.
fn blockers(workload: &Workload) -> impl Iterator<Item = SurgeBlocker> {
    let needs_surge = match workload.strategy() {
        Strategy::BlueGreen | Strategy::Routed => true,
        _ => workload.fenceposts().is_some_and(|limits| limits.unavailable == 0 && limits.surge > 0),
    };
    let is_daemon = workload.kind() == Kind::DaemonSet;
    workload.surge_blockers().filter(move |blocker| {
        let is_volume = matches!(blocker, SurgeBlocker::Volume { .. });
        needs_surge && blocker.keeps_from_starting() && !(is_volume && is_daemon)
    })
}

/// Why the rollout never ends; `None` if it does, or if it waits for somebody.
pub fn reason(plan: &Plan, life: &Life, course: &Course) -> Option<String> {
    let workload = plan.workload;
    if course.is_complete || course.waits_for.is_some() {
        return deadline(workload, life, course);
    }
    let why = match &life.ready {
        Err(Obstacle { text, rule }) => format!("no new pod is ever ready: {text} ({rule})"),
        Ok(_) => match plan.quota.filter(|_| course.was_refused) {
            Some(Quota { name, pods }) => {
                format!("ResourceQuota {name} leaves room for {pods} pods, and none ends")
            }
            None => "nothing moves any more".to_owned(),
        },
    };
    let stands = course.steps.last().map_or_else(String::new, |step| {
        let (old, new, available) = (step.old, step.new, step.available);
        format!("; it stands at {old} old and {new} new pods, {available} of them available")
    });
    let is_ordered = workload.kind() == Kind::StatefulSet && !workload.is_parallel();
    let then = match is_ordered && life.ready.is_err() {
        true => {
            "; OrderedReady waits for that pod, so that a corrected template, or an undo, reaches it only when somebody deletes it"
        }
        false => "",
    };
    Some(why + &stands + then)
}

/// The deadline limits each step, not the rollout, and the longest step is that of a pod
/// which gets ready. The controller goes on, but the rollout counts as failed.
fn deadline(workload: &Workload, life: &Life, course: &Course) -> Option<String> {
    let deadline = progress_deadline(workload).filter(|_| course.waves > 0)?;
    let ready = life.ready.as_ref().ok()?;
    let delay = longest_delay(workload);
    let (at, rule) = match (delay >= deadline, ready.least > deadline) {
        (true, _) => (delay, " (unreachable-progress-deadline)"),
        (false, true) => (ready.least, ""),
        (false, false) => return None,
    };
    let (at, deadline) = (at / 1_000, deadline / 1_000);
    Some(format!(
        "no new pod is ready before {at} s have passed, and progressDeadlineSeconds is {deadline}: \
         the rollout is reported as failed at its first step, though pods go on being replaced{rule}"
    ))
}

/// That a slow start may pass the deadline.
pub fn maybe_deadline(workload: &Workload, life: &Life) -> Option<String> {
    let (deadline, ready) = (progress_deadline(workload)?, life.ready.as_ref().ok()?);
    let may_pass = ready.most > deadline && ready.least <= deadline;
    may_pass.then(|| {
        let (most, deadline) = (ready.most / 1_000, deadline / 1_000);
        format!(
            "a pod is ready within progressDeadlineSeconds {deadline}; it may take {most} s, \
             and then the rollout is reported as failed"
        )
    })
}

fn progress_deadline(workload: &Workload) -> Option<Millis> {
    let has_one = workload.kind().has_progress_deadline();
    has_one.then(|| seconds(workload.progress_deadline_seconds().into()))
}

/// The longest delay of a probe that keeps a pod from being ready.
pub fn longest_delay(workload: &Workload) -> Millis {
    let probes = |it: &Probe| seconds(it.initial_delay_seconds());
    let containers = workload.long_running();
    containers
        .flat_map(|it| [&it.startup_probe, &it.readiness_probe])
        .flatten()
        .map(probes)
        .max()
        .unwrap_or(0)
}
