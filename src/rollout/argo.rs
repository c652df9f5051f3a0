//! What a Rollout of Argo says, for its controllers: the steps, pauses and delays of a
//! canary and of blueGreen.

use super::Unforeseeable;
use super::blue_green::{BlueGreen, Pause, Phase};
use super::canary::{Canary, CanaryStep, Progress, Routed};
use super::forecast::{MOST_PODS, amounts};
use super::world::{Millis, millis, seconds};
use crate::kubernetes::duration;
use crate::kubernetes::int_or_string::IntOrString;
use crate::workload::availability::Fenceposts;
use crate::workload::object::{self, RolloutPause, SetCanaryScale};
use crate::workload::{Strategy, Workload};

/// `scaleDownDelaySeconds` if absent (argo-rollouts, utils/defaults).
const SCALE_DOWN_DELAY_SECONDS: i32 = 30;

/// The canary of a workload that had so many pods before.
pub fn canary(workload: &Workload, before: i64, template: usize) -> Result<Canary, Unforeseeable> {
    let says = workload.rolling_update();
    let (unavailable, surge) = amounts(workload)?;
    let limits = Fenceposts::resolve(workload.replicas(), unavailable, surge);
    let steps = says.steps.iter().map(step).collect::<Result<Vec<CanaryStep>, Unforeseeable>>()?;
    let routed = Routed {
        scale_down_delay: seconds(says.scale_down_delay_seconds.unwrap_or(SCALE_DOWN_DELAY_SECONDS).into()),
        is_dynamic: says.dynamic_stable_scale.unwrap_or(false),
    };
    Ok(Canary {
        replicas: workload.replicas().into(),
        surge: limits.surge,
        unavailable: limits.unavailable,
        steps,
        routed: (workload.strategy() == Strategy::Routed).then_some(routed),
        is_paused: workload.is_paused(),
        template,
        sizes: [before, 0],
        progress: Progress::default(),
    })
}

fn step(step: &object::CanaryStep) -> Result<CanaryStep, Unforeseeable> {
    Ok(match (step.set_weight, &step.pause, step.set_canary_scale) {
        (Some(weight), ..) => CanaryStep::SetWeight(i64::from(weight).clamp(0, 100)),
        (_, Some(pause), _) => CanaryStep::Pause(pause_span(pause).ok_or(Unforeseeable::Strategy)?),
        (.., Some(scale)) => scale_step(scale)?,
        _ => CanaryStep::Other,
    })
}

/// `None` if no controller can read it, `None` within for a pause that somebody has to end.
fn pause_span(pause: &RolloutPause) -> Option<Option<Millis>> {
    let span = match pause.duration {
        None => return Some(None),
        Some(IntOrString::Int(number)) => seconds(number.into()),
        // A number in quotes counts seconds too (`RolloutPause.DurationSeconds`).
        Some(IntOrString::String(text)) => match text.parse::<i32>() {
            Ok(number) => seconds(number.into()),
            Err(_) => millis(duration::parse(text).ok()?),
        },
    };
    Some(Some(span))
}

fn scale_step(scale: SetCanaryScale) -> Result<CanaryStep, Unforeseeable> {
    Ok(match (scale.match_traffic_weight, scale.replicas, scale.weight) {
        (Some(true), ..) => CanaryStep::MatchWeight,
        (_, Some(replicas), _) => CanaryStep::SetReplicas(few(replicas)?),
        (.., Some(weight)) => CanaryStep::SetScale(i64::from(weight).clamp(0, 100)),
        _ => CanaryStep::MatchWeight,
    })
}

fn few(pods: i32) -> Result<i64, Unforeseeable> {
    if pods > MOST_PODS { Err(Unforeseeable::TooManyPods) } else { Ok(pods.into()) }
}

/// What a Rollout with blueGreen says.
pub fn blue_green(workload: &Workload, template: usize) -> Result<BlueGreen, Unforeseeable> {
    let says = workload.spec().strategy.blue_green.as_ref().ok_or(Unforeseeable::Strategy)?;
    let pause = match (says.auto_promotion_seconds, says.auto_promotion_enabled) {
        (Some(span @ 1..), _) => Pause::For(seconds(span.into())),
        (_, Some(false)) => Pause::UntilPromoted,
        _ => Pause::None,
    };
    Ok(BlueGreen {
        replicas: workload.replicas().into(),
        preview_replicas: says.preview_replica_count.map(few).transpose()?,
        pause,
        scale_down_delay: seconds(says.scale_down_delay_seconds.unwrap_or(SCALE_DOWN_DELAY_SECONDS).into()),
        is_paused: workload.is_paused(),
        template,
        phase: Phase::Preview,
    })
}

/// Whether something decides that gapless knows nothing of.
pub fn has_analyses(workload: &Workload) -> bool {
    let canary = workload.rolling_update();
    let blue_green = workload.spec().strategy.blue_green.as_ref();
    let decides =
        |it: &object::CanaryStep| it.analysis.is_some() || it.experiment.is_some() || it.plugin.is_some();
    canary.analysis.is_some()
        || canary.steps.iter().any(decides)
        || blue_green
            .is_some_and(|it| it.pre_promotion_analysis.is_some() || it.post_promotion_analysis.is_some())
}
