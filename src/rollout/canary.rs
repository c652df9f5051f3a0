//! The controller of Argo Rollouts with a canary (argo-rollouts, rollout/canary.go and
//! utils/replicaset/canary.go).
//!
//! Without traffic routing the share of the pods is the share of the requests, so that
//! stable and new pods make room for each other. With it the stable pods stay until the new
//! ones have all requests.

use super::Controller;
use super::replica_set;
use super::world::{Millis, World};

/// The places of the two ReplicaSets.
const STABLE: usize = 0;
const NEW: usize = 1;

/// What a canary says.
#[derive(Clone, Debug)]
pub struct Canary {
    /// `replicas`
    pub replicas: i64,
    /// How many pods there may be above that.
    pub surge: i64,
    /// How many may be unavailable.
    pub unavailable: i64,
    /// Its steps.
    pub steps: Vec<CanaryStep>,
    /// How a router changes it; `None` if there is none.
    pub routed: Option<Routed>,
    /// `paused`
    pub is_paused: bool,
    /// Which template it has. The one before is 0.
    pub template: usize,
    /// The sizes of its ReplicaSets, stable and new.
    pub sizes: [i64; 2],
    /// How far it is.
    pub progress: Progress,
}

/// With a router.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// So long after the last step the former stable pods end.
    pub scale_down_delay: Millis,
    /// Whether stable pods go as their share does.
    pub is_dynamic: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryStep {
    /// So many percent of the requests.
    SetWeight(i64),
    /// So many new pods, whatever the weight.
    SetReplicas(i64),
    /// New pods for so many percent, whatever the weight.
    SetScale(i64),
    /// As the weight again.
    MatchWeight,
    /// Nothing happens for so long; `None` until somebody promotes it.
    Pause(Option<Millis>),
    /// Something else that moves no pods.
    Other,
}

/// How far a canary is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Which step is next.
    step: usize,
    /// Since when it pauses.
    pausing_since: Option<Millis>,
    /// When the new pods became the stable ones.
    promoted: Option<Millis>,
}

impl Canary {
    fn size(&self, set: usize) -> i64 {
        self.sizes.get(set).copied().unwrap_or(0)
    }

    fn resize(&mut self, set: usize, size: i64) -> bool {
        let Some(now) = self.sizes.get_mut(set) else { return false };
        let changed = *now != size;
        *now = size;
        changed
    }

    /// That of the last step so far that says one; 100 behind the last step.
    fn weight(&self) -> i64 {
        let weight = |step: &CanaryStep| match step {
            CanaryStep::SetWeight(weight) => Some(*weight),
            _ => None,
        };
        match self.steps.get(..=self.progress.step) {
            Some(steps) => steps.iter().rev().find_map(weight).unwrap_or(0),
            None => 100,
        }
    }

    /// What the last step about the scale says, if it still counts.
    fn scale(&self) -> Option<CanaryStep> {
        let is_scale = |step: &&CanaryStep| {
            use CanaryStep::{MatchWeight, SetReplicas, SetScale};
            matches!(step, SetReplicas(_) | SetScale(_) | MatchWeight)
        };
        self.steps.get(..=self.progress.step)?.iter().rev().find(is_scale).copied()
    }

    /// How many stable and new pods the weight asks for in the end.
    fn wanted(&self) -> (i64, i64) {
        let all = self.replicas;
        let of_all = |percent: i64| (all * percent + 99) / 100;
        match (self.routed, self.scale()) {
            (None, _) => share(all, self.weight(), self.surge > 0),
            (Some(routed), scale) => {
                let new = match scale {
                    Some(CanaryStep::SetReplicas(replicas)) => replicas,
                    Some(CanaryStep::SetScale(percent)) => of_all(percent),
                    _ => of_all(self.weight()),
                };
                let stable = if routed.is_dynamic { of_all(100 - self.weight()) } else { all };
                (stable, new)
            }
        }
    }

    /// How many there are to be now (`CalculateReplicaCountsForBasicCanary`).
    fn next(&self, world: &World) -> (i64, i64) {
        let (wanted_stable, wanted_new) = self.wanted();
        let (stable, new) = (self.size(STABLE), self.size(NEW));
        if self.routed.is_some() {
            // Requests move, and stable pods go, when the new ones are available.
            let has_moved = world.available_of(NEW) >= wanted_new;
            return (if has_moved { wanted_stable } else { wanted_stable.max(stable) }, wanted_new);
        }
        let mut room = (self.replicas + self.surge - stable - new).max(0);
        let more_stable = (wanted_stable - stable).clamp(0, room);
        room -= more_stable;
        let more_new = (wanted_new - new).clamp(0, room);
        let (mut next_stable, mut next_new) = (stable + more_stable, new + more_new);

        let available = |set| world.available_of(set).min(self.size(set));
        let least = self.replicas - self.unavailable;
        // Whether the pods that go are available does not matter.
        let is_growing = wanted_new >= new;
        let spare = match is_growing {
            true => available(NEW) + stable,
            false => new + available(STABLE),
        } - least;
        if spare > 0 && is_growing && stable > wanted_stable {
            next_stable = wanted_stable.max(stable - spare);
        }
        if spare > 0 && !is_growing && new > wanted_new {
            next_new = wanted_new.max(new - spare);
        }
        (next_stable, next_new)
    }

    /// Goes on to the next step, or makes the new pods the stable ones; whether it does.
    fn advance(&mut self, world: &World) -> bool {
        let (wanted_stable, wanted_new) = self.wanted();
        let has_new = self.size(NEW) == wanted_new && world.available_of(NEW) == wanted_new;
        let is_there = has_new && self.size(STABLE) >= wanted_stable;
        let Some(step) = self.steps.get(self.progress.step) else {
            let is_promoted = has_new && world.available_of(NEW) >= self.replicas;
            if is_promoted {
                self.progress.promoted = Some(world.now);
            }
            return is_promoted;
        };
        let is_done = match step {
            CanaryStep::SetWeight(_) => is_there,
            CanaryStep::SetReplicas(_) | CanaryStep::SetScale(_) | CanaryStep::MatchWeight => has_new,
            CanaryStep::Pause(span) => {
                let since = *self.progress.pausing_since.get_or_insert(world.now);
                span.is_some_and(|span| world.now >= since.saturating_add(span))
            }
            CanaryStep::Other => true,
        };
        if is_done {
            self.progress = Progress { step: self.progress.step + 1, pausing_since: None, ..self.progress };
        }
        is_done
    }

    fn scale_down_at(&self) -> Option<Millis> {
        let delay = match self.routed {
            Some(Routed { is_dynamic: false, scale_down_delay }) => scale_down_delay,
            _ => 0,
        };
        self.progress.promoted.map(|at| at.saturating_add(delay))
    }

    fn sync_rollout(&mut self, world: &World) -> bool {
        if self.is_paused {
            return false;
        }
        if self.template == 0 {
            return self.resize(STABLE, self.replicas);
        }
        if let Some(at) = self.scale_down_at() {
            return world.now >= at && self.resize(STABLE, 0);
        }
        let (stable, new) = self.next(world);
        self.resize(STABLE, stable) || self.resize(NEW, new) || self.advance(world)
    }
}

/// The numbers of stable and new pods that come nearest to a weight, where one pod more may
/// help; neither is 0 between 1 and 99 % (`approximateWeightedCanaryStableReplicaCounts`).
fn share(all: i64, weight: i64, has_surge: bool) -> (i64, i64) {
    if all == 0 {
        return (0, 0);
    }
    let product = all * weight;
    let (floor, ceil) = (product / 100, (product + 99) / 100);
    // Of two that are equally near the larger one counts.
    let is_tied = |total: i64| (total * weight) % 100 == 50;
    let may_be_none = weight == 0 || weight == 100 || (all == 1 && !has_surge);
    let may_be_floor = floor != 0 || may_be_none;
    let options = [
        (ceil, all, ceil < all || may_be_none),
        (floor, all, may_be_floor && !is_tied(all)),
        (ceil, all + 1, has_surge),
        (floor, all + 1, has_surge && may_be_floor && !is_tied(all + 1)),
    ];
    // The distance of one fraction from another, without their denominators.
    let distance = |(new, total): (i64, i64), other: i64| (new * 100 - weight * total).abs() * other;
    let best = options
        .into_iter()
        .filter(|(.., is_one)| *is_one)
        .map(|(new, total, _)| (new, total))
        .reduce(|best, next| if distance(next, best.1) < distance(best, next.1) { next } else { best });
    best.map_or((all, 0), |(new, total)| (total - new, new))
}

impl Controller for Canary {
    fn sync(&mut self, world: &mut World) -> bool {
        let changed = self.sync_rollout(world);
        let stable = replica_set::sync(world, STABLE, self.size(STABLE), 0);
        let new = replica_set::sync(world, NEW, self.size(NEW), self.template);
        changed || stable || new
    }

    fn wakes(&self, world: &World) -> Option<Millis> {
        let pause = match (self.steps.get(self.progress.step), self.progress.pausing_since) {
            (Some(CanaryStep::Pause(Some(span))), Some(since)) => Some(since.saturating_add(*span)),
            _ => None,
        };
        pause.into_iter().chain(self.scale_down_at()).filter(|at| *at > world.now).min()
    }

    fn is_complete(&self, world: &World) -> bool {
        match self.template {
            0 => world.available_of(STABLE) == self.replicas,
            _ => self.progress.promoted.is_some(),
        }
    }

    fn waits_for(&self, _: &World) -> Option<String> {
        if self.is_paused {
            return Some("it is paused, until somebody removes spec.paused".to_owned());
        }
        let is_waiting = matches!(self.steps.get(self.progress.step), Some(CanaryStep::Pause(None)));
        (is_waiting && self.progress.pausing_since.is_some()).then(|| {
            let number = self.progress.step + 1;
            format!("step {number} is a pause without a duration, until somebody promotes it (kubectl argo rollouts promote)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;
    use CanaryStep::{Other, Pause, SetReplicas, SetWeight};

    const TIMING: Timing = Timing { ready: Some(10), available: Some(10), terminal: 20, gone: 25 };

    fn canary(replicas: i64, unavailable: i64, surge: i64, steps: &[CanaryStep]) -> Canary {
        Canary {
            replicas,
            surge,
            unavailable,
            steps: steps.to_vec(),
            routed: None,
            is_paused: false,
            template: 1,
            sizes: [replicas, 0],
            progress: Progress::default(),
        }
    }

    /// Stable, new and available pods, whenever that changes.
    fn states(canary: &mut Canary) -> (Vec<(Millis, [i64; 3])>, World) {
        let mut world = World::new(vec![TIMING; 2], None);
        world.settle_all(canary.replicas);
        let mut states: Vec<(Millis, [i64; 3])> = Vec::new();
        loop {
            while canary.sync(&mut world) {}
            let of = |set| world.active().filter(|pod| pod.set == set).count() as i64;
            let state = [of(STABLE), of(NEW), world.available_of(STABLE) + world.available_of(NEW)];
            if states.last().is_none_or(|(_, last)| *last != state) {
                states.push((world.now, state));
            }
            let Some(at) = world.next_event().into_iter().chain(canary.wakes(&world)).min() else {
                return (states, world);
            };
            world.advance(at);
        }
    }

    /// As functions of the controller gave them, driven in its order.
    #[test]
    fn without_steps_the_states_are_those_of_a_deployment() {
        type State = [i64; 3];
        let table: [(i64, i64, i64, &[State]); 5] = [
            (2, 0, 1, &[[2, 1, 2], [1, 2, 2], [0, 2, 2]]),
            (3, 1, 0, &[[2, 1, 2], [1, 2, 2], [0, 3, 2], [0, 3, 3]]),
            (4, 1, 1, &[[3, 2, 3], [1, 4, 3], [0, 4, 4]]),
            (10, 2, 3, &[[8, 5, 8], [3, 10, 8], [0, 10, 10]]),
            (10, 0, 3, &[[10, 3, 10], [7, 6, 10], [4, 9, 10], [1, 10, 10], [0, 10, 10]]),
        ];
        for (replicas, unavailable, surge, expected) in table {
            let mut canary = canary(replicas, unavailable, surge, &[]);
            let (found, world) = states(&mut canary);
            let found: Vec<State> = found.into_iter().map(|(_, state)| state).collect();
            assert_eq!(found, expected, "{replicas} {unavailable} {surge}");
            assert!(canary.is_complete(&world));
        }
    }

    /// From the tests of the controller's own function.
    #[test]
    fn the_numbers_that_come_nearest_to_a_weight() {
        #[rustfmt::skip]
        let table = [
            // all, weight, surge -> stable, new
            (10, 10, true, (9, 1)),
            (10, 30, true, (7, 3)),
            (10, 0, true, (10, 0)),
            (10, 100, true, (0, 10)),
            (4, 20, true, (4, 1)),
            (4, 20, false, (3, 1)),
            (1, 5, true, (1, 1)),
            (1, 95, true, (1, 1)),
            (1, 50, false, (0, 1)),
            (1, 5, false, (1, 0)),
            (3, 50, false, (1, 2)),
            (3, 50, true, (2, 2)),
            (2, 99, false, (1, 1)),
            (0, 50, true, (0, 0)),
        ];
        for (all, weight, has_surge, expected) in table {
            assert_eq!(share(all, weight, has_surge), expected, "{all} {weight} {has_surge}");
        }
    }

    #[test]
    fn steps_one_after_the_other() {
        let mut canary = canary(4, 0, 1, &[Other, SetWeight(20), Pause(Some(600))]);
        let (found, world) = states(&mut canary);
        let expected = [
            (0, [4, 1, 4]),
            (10, [4, 1, 5]),
            // Five pods are allowed, and four of them have to be available.
            (610, [3, 2, 4]),
            (620, [2, 3, 4]),
            (630, [1, 4, 4]),
            (640, [0, 4, 4]),
        ];
        assert_eq!(found, expected);
        assert!(canary.is_complete(&world) && canary.waits_for(&world).is_none());
    }

    #[test]
    fn a_pause_without_a_duration_waits_for_somebody() {
        let mut canary = canary(4, 0, 1, &[SetWeight(50), Pause(None), SetWeight(75)]);
        let (found, world) = states(&mut canary);
        assert_eq!(found.last(), Some(&(20, [2, 2, 4])));
        assert!(!canary.is_complete(&world));
        assert!(canary.waits_for(&world).unwrap().starts_with("step 2 is a pause"));
    }

    #[test]
    fn with_a_router_the_stable_pods_stay() {
        let routed = Some(Routed { scale_down_delay: 30, is_dynamic: false });
        let steps = [SetReplicas(1), SetWeight(30), Pause(Some(5)), CanaryStep::MatchWeight];
        let mut canary = Canary { routed, ..canary(10, 0, 1, &steps) };
        let (found, _) = states(&mut canary);
        let expected = [
            (0, [10, 1, 10]),
            // The scale of the first step still counts during the pause.
            (10, [10, 1, 11]),
            (15, [10, 3, 11]),
            (25, [10, 10, 13]),
            (35, [10, 10, 20]),
            (65, [0, 10, 10]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn with_a_dynamic_scale_stable_pods_go_with_their_requests() {
        let routed = Some(Routed { scale_down_delay: 0, is_dynamic: true });
        let mut canary = Canary { routed, ..canary(10, 0, 1, &[SetWeight(30)]) };
        let (found, _) = states(&mut canary);
        let expected = [(0, [10, 3, 10]), (10, [7, 10, 10]), (20, [0, 10, 10])];
        assert_eq!(found, expected);
    }

    #[test]
    fn while_it_is_paused_nothing_moves() {
        let mut canary = Canary { is_paused: true, ..canary(2, 0, 1, &[]) };
        let (found, world) = states(&mut canary);
        assert_eq!(found, [(0, [2, 0, 2])]);
        assert!(canary.waits_for(&world).is_some());
    }
}
