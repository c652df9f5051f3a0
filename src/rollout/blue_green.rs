//! The controller of Argo Rollouts with blueGreen (argo-rollouts, rollout/bluegreen.go).

use super::Controller;
use super::replica_set;
use super::world::{Millis, World};

/// The places of the two ReplicaSets.
const ACTIVE: usize = 0;
const NEW: usize = 1;

/// What a Rollout with blueGreen says, and how far it is.
#[derive(Clone, Debug)]
pub struct BlueGreen {
    /// `replicas`
    pub replicas: i64,
    /// How many new pods there are until the pause is over.
    pub preview_replicas: Option<i64>,
    /// How long it pauses before the switch.
    pub pause: Pause,
    /// So long after the switch the former pods end.
    pub scale_down_delay: Millis,
    /// `paused`
    pub is_paused: bool,
    /// Which template it has. The one before is 0.
    pub template: usize,
    /// How far it is.
    pub phase: Phase,
}

/// What comes between new pods that are available and the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    None,
    /// So much time.
    For(Millis),
    /// Somebody who promotes it.
    UntilPromoted,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// New pods come.
    Preview,
    /// They are available, since then.
    Pausing(Millis),
    /// All of them come.
    Scaling,
    /// Requests have gone to them since then.
    Switched(Millis),
    /// The former ones are gone.
    Done,
}

impl BlueGreen {
    /// The sizes of the active and of the new ReplicaSet.
    fn sizes(&self) -> (i64, i64) {
        if self.template == 0 || self.is_paused {
            return (self.replicas, 0);
        }
        match self.phase {
            Phase::Preview | Phase::Pausing(_) => {
                (self.replicas, self.preview_replicas.unwrap_or(self.replicas))
            }
            Phase::Scaling | Phase::Switched(_) => (self.replicas, self.replicas),
            Phase::Done => (0, self.replicas),
        }
    }

    fn next_phase(&self, world: &World) -> Phase {
        let (_, wanted) = self.sizes();
        let has_new = world.available_of(NEW) >= wanted;
        let is_over = |since: Millis, span: Millis| world.now >= since.saturating_add(span);
        match (self.phase, self.pause) {
            (Phase::Preview, Pause::None) if has_new => Phase::Scaling,
            (Phase::Preview, _) if has_new => Phase::Pausing(world.now),
            (Phase::Pausing(since), Pause::For(span)) if is_over(since, span) => Phase::Scaling,
            (Phase::Scaling, _) if has_new => Phase::Switched(world.now),
            (Phase::Switched(since), _) if is_over(since, self.scale_down_delay) => Phase::Done,
            (phase, _) => phase,
        }
    }

    fn is_moving(&self) -> bool {
        self.template != 0 && !self.is_paused
    }
}

impl Controller for BlueGreen {
    fn sync(&mut self, world: &mut World) -> bool {
        let phase = if self.is_moving() { self.next_phase(world) } else { self.phase };
        let changed = phase != self.phase;
        self.phase = phase;
        let (active, new) = self.sizes();
        let active = replica_set::sync(world, ACTIVE, active, 0);
        let new = replica_set::sync(world, NEW, new, self.template);
        changed || active || new
    }

    fn wakes(&self, world: &World) -> Option<Millis> {
        let at = match (self.phase, self.pause) {
            (Phase::Pausing(since), Pause::For(span)) => Some(since.saturating_add(span)),
            (Phase::Switched(since), _) => Some(since.saturating_add(self.scale_down_delay)),
            _ => None,
        };
        at.filter(|at| *at > world.now)
    }

    fn is_complete(&self, world: &World) -> bool {
        match self.template {
            0 => world.available_of(ACTIVE) == self.replicas,
            _ => matches!(self.phase, Phase::Switched(_) | Phase::Done),
        }
    }

    fn waits_for(&self, _: &World) -> Option<String> {
        let text = match (self.is_paused, self.phase, self.pause) {
            (true, ..) => "it is paused, until somebody removes spec.paused",
            (false, Phase::Pausing(_), Pause::UntilPromoted) => {
                "autoPromotionEnabled is false: the switch waits until somebody promotes it (kubectl argo rollouts promote)"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;

    const TIMING: Timing = Timing { ready: Some(10), available: Some(10), terminal: 20, gone: 25 };
    const THREE: BlueGreen = BlueGreen {
        replicas: 3,
        preview_replicas: None,
        pause: Pause::None,
        scale_down_delay: 30,
        is_paused: false,
        template: 1,
        phase: Phase::Preview,
    };

    /// Active and new pods and those that terminate, whenever that changes.
    fn states(rollout: &mut BlueGreen) -> (Vec<(Millis, [usize; 3])>, World) {
        let mut world = World::new(vec![TIMING; 2], None);
        world.settle_all(rollout.replicas);
        let mut states: Vec<(Millis, [usize; 3])> = Vec::new();
        loop {
            while rollout.sync(&mut world) {}
            let of = |set| world.active().filter(|pod| pod.set == set).count();
            let ending = world.pods().iter().filter(|pod| pod.is_terminating()).count();
            let state = [of(ACTIVE), of(NEW), ending];
            if states.last().is_none_or(|(_, last)| *last != state) {
                states.push((world.now, state));
            }
            let Some(at) = world.next_event().into_iter().chain(rollout.wakes(&world)).min() else {
                return (states, world);
            };
            world.advance(at);
        }
    }

    #[test]
    fn twice_as_many_pods_until_the_delay_is_over() {
        let mut rollout = THREE;
        let (found, world) = states(&mut rollout);
        assert_eq!(found, [(0, [3, 3, 0]), (40, [0, 3, 3]), (65, [0, 3, 0])]);
        assert!(rollout.is_complete(&world));
    }

    #[test]
    fn a_preview_of_fewer_pods() {
        let mut rollout = BlueGreen { preview_replicas: Some(1), pause: Pause::For(5), ..THREE };
        let (found, _) = states(&mut rollout);
        assert_eq!(found, [(0, [3, 1, 0]), (15, [3, 3, 0]), (55, [0, 3, 3]), (80, [0, 3, 0])]);
    }

    #[test]
    fn what_it_waits_for() {
        let mut rollout = BlueGreen { pause: Pause::UntilPromoted, ..THREE };
        let (found, world) = states(&mut rollout);
        assert_eq!(found, [(0, [3, 3, 0])]);
        assert!(!rollout.is_complete(&world) && rollout.waits_for(&world).unwrap().contains("promotes"));
        let mut paused = BlueGreen { is_paused: true, ..THREE };
        let (found, world) = states(&mut paused);
        assert_eq!(found, [(0, [3, 0, 0])]);
        assert!(paused.waits_for(&world).unwrap().contains("spec.paused"));
    }
}
