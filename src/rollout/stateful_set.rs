//! The StatefulSet controller (kubernetes, pkg/controller/statefulset,
//! stateful_set_control.go, `updateStatefulSet`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::world::{Pod, PodId, World};
use super::{Controller, ON_DELETE};

/// A StatefulSet, as its spec says. Its pods have names, and one is made again only when
/// the object that had its name is gone.
#[derive(Clone, Debug)]
pub struct StatefulSet {
    /// `replicas`
    pub replicas: i64,
    /// How many pods may be unavailable.
    pub unavailable: i64,
    /// Pods below it stay as they are.
    pub partition: i64,
    /// Whether pods come and go one after the other (OrderedReady), and not together.
    pub is_ordered: bool,
    /// Whether somebody has to delete old pods.
    pub is_on_delete: bool,
    /// Which template it has.
    pub template: usize,
    /// Which template was the last one that all pods had (`status.currentRevision`).
    pub current: usize,
}

impl StatefulSet {
    /// Somebody writes another spec.
    pub fn change(&mut self, says: StatefulSet) {
        *self = StatefulSet { current: self.current, ..says };
    }

    /// The pods by their ordinals, those that terminate too.
    fn named(world: &World) -> BTreeMap<i64, &Pod> {
        world.pods().iter().map(|pod| (pod.slot, pod)).collect()
    }

    /// Which template a pod that is made now has.
    fn template_of(&self, ordinal: i64) -> usize {
        if ordinal >= self.partition || self.is_on_delete { self.template } else { self.current }
    }

    /// Makes the pods that are not there, from the lowest upwards. Whether the sync ends with
    /// that, and if so whether anything changed.
    fn make(&self, world: &mut World) -> Option<bool> {
        let named = Self::named(world);
        let mut missing = Vec::new();
        for ordinal in 0..self.replicas {
            match named.get(&ordinal) {
                None => missing.push(ordinal),
                Some(pod) if self.is_ordered && missing.is_empty() && !world.is_available(pod) => {
                    return Some(false);
                }
                Some(_) => {}
            }
        }
        let at_once = if self.is_ordered { 1 } else { missing.len() };
        let meant = missing.iter().take(at_once);
        let made =
            meant.take_while(|ordinal| world.create(0, **ordinal, self.template_of(**ordinal))).count();
        (!missing.is_empty()).then_some(made > 0)
    }

    /// Deletes pods that are too many, from the top; the same.
    fn remove_extra(&self, world: &mut World) -> Option<bool> {
        let mut extra: Vec<&Pod> = world.pods().iter().filter(|pod| pod.slot >= self.replicas).collect();
        extra.sort_by_key(|pod| Reverse(pod.slot));
        if !self.is_ordered {
            let ids: Vec<PodId> = extra.iter().map(|pod| pod.id).collect();
            return world.delete(&ids).then_some(true);
        }
        let highest = *extra.first()?;
        // It waits for one that terminates; and for those below it that are not available, if it
        // is not available itself (`processCondemned`).
        let lowest_bad = extra.iter().rev().find(|pod| !world.is_available(pod));
        let is_held = lowest_bad.is_some_and(|lowest| {
            let is_lowest = lowest.id == highest.id;
            highest.is_terminating() || (!world.is_available(highest) && !is_lowest)
        });
        let id = highest.id;
        Some(!is_held && world.delete(&[id]))
    }

    /// Deletes pods that have another template, from the top.
    fn update(&self, world: &mut World) -> bool {
        let mut old: Vec<&Pod> = world
            .active()
            .filter(|pod| pod.slot >= self.partition && pod.template != self.template)
            .collect();
        old.sort_by_key(|pod| Reverse(pod.slot));
        let budget = usize::try_from(self.unavailable).unwrap_or(0);
        let ids: Vec<PodId> = if self.is_ordered {
            old.iter().take(budget).map(|pod| pod.id).collect()
        } else {
            let named = Self::named(world);
            let is_there = |ordinal: &i64| named.get(ordinal).is_some_and(|pod| world.is_available(pod));
            let bad = (0..self.replicas).filter(|ordinal| !is_there(ordinal)).count();
            // Unavailable ones of another template go whatever the budget.
            let (good, bad_old): (Vec<&Pod>, Vec<&Pod>) =
                old.into_iter().partition(|pod| world.is_available(pod));
            let further = good.into_iter().take(budget.saturating_sub(bad));
            bad_old.into_iter().chain(further).map(|pod| pod.id).collect()
        };
        world.delete(&ids)
    }

    /// `completeUpdate`: terminating pods count, and availability does not.
    fn has_all_updated(&self, world: &World) -> bool {
        let is_updated =
            |pod: &Pod| pod.template == self.template && world.is_ready(pod) && !pod.is_terminating();
        i64::try_from(world.pods().len()) == Ok(self.replicas) && world.pods().iter().all(is_updated)
    }

    fn is_whole(&self, world: &World) -> bool {
        let named = Self::named(world);
        let is_settled = |ordinal: i64| {
            named.get(&ordinal).is_some_and(|pod| {
                let is_up_to_date = ordinal < self.partition || pod.template == self.template;
                (is_up_to_date || self.is_on_delete) && world.is_available(pod)
            })
        };
        (0..self.replicas).all(is_settled)
    }
}

impl Controller for StatefulSet {
    fn sync(&mut self, world: &mut World) -> bool {
        if self.has_all_updated(world) {
            self.current = self.template;
        }
        if let Some(changed) = self.make(world).or_else(|| self.remove_extra(world)) {
            return changed;
        }
        !self.is_on_delete && self.update(world)
    }

    fn is_complete(&self, world: &World) -> bool {
        let named = Self::named(world);
        let is_new = |ordinal: i64| named.get(&ordinal).is_some_and(|pod| pod.template == self.template);
        self.is_whole(world) && (0..self.replicas).all(is_new)
    }

    fn waits_for(&self, world: &World) -> Option<String> {
        if !self.is_whole(world) || self.is_complete(world) {
            return None;
        }
        Some(match self.is_on_delete {
            true => ON_DELETE.to_owned(),
            false => format!("pods below partition {} stay old until somebody lowers it", self.partition),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;

    const TIMING: Timing = Timing { ready: Some(10), available: Some(10), terminal: 20, gone: 25 };
    const BROKEN: Timing = Timing { ready: None, available: None, ..TIMING };

    const FOUR: StatefulSet = StatefulSet {
        replicas: 4,
        unavailable: 2,
        partition: 0,
        is_ordered: true,
        is_on_delete: false,
        template: 1,
        current: 0,
    };

    /// Each creation (+) and deletion (−) of a pod with its ordinal, and when.
    fn moves(mut set: StatefulSet, before: i64, timings: [Timing; 2]) -> (Vec<String>, World) {
        let mut world = World::new(timings.to_vec(), None);
        world.settle_all(before);
        let mut moves = Vec::new();
        let mut seen: Vec<(PodId, bool)> =
            world.pods().iter().map(|pod| (pod.id, pod.is_terminating())).collect();
        loop {
            while set.sync(&mut world) {
                let mut now = Vec::new();
                for pod in world.pods() {
                    if !seen.iter().any(|(id, _)| *id == pod.id) {
                        now.push(format!("{} +{}", world.now, pod.slot));
                    } else if pod.is_terminating() && seen.contains(&(pod.id, false)) {
                        now.push(format!("{} -{}", world.now, pod.slot));
                    }
                }
                seen = world.pods().iter().map(|pod| (pod.id, pod.is_terminating())).collect();
                moves.append(&mut now);
            }
            let Some(at) = world.next_event() else { return (moves, world) };
            world.advance(at);
        }
    }

    fn moves_of(set: StatefulSet) -> Vec<String> {
        moves(set, 4, [TIMING; 2]).0
    }

    /// As the real controller did it: batches of two, made again one after the other.
    #[test]
    fn ordered_ready_goes_in_batches() {
        let expected = ["0 -2", "0 -3", "25 +2", "35 +3", "45 -0", "45 -1", "70 +0", "80 +1"];
        assert_eq!(moves_of(FOUR), expected);
    }

    #[test]
    fn parallel_deletes_the_next_when_one_is_available() {
        let set = StatefulSet { is_ordered: false, ..FOUR };
        let expected = ["0 -2", "0 -3", "25 +2", "25 +3", "35 -0", "35 -1", "60 +0", "60 +1"];
        assert_eq!(moves_of(set), expected);
    }

    #[test]
    fn max_unavailable_of_all_takes_all_down_at_once() {
        let set = StatefulSet { unavailable: 4, ..FOUR };
        assert_eq!(moves_of(set)[..4], ["0 -0", "0 -1", "0 -2", "0 -3"]);
    }

    #[test]
    fn a_partition_holds_pods_back() {
        let set = StatefulSet { partition: 3, ..FOUR };
        let (found, world) = moves(set.clone(), 4, [TIMING; 2]);
        assert_eq!(found, ["0 -3", "25 +3"]);
        assert!(!set.is_complete(&world) && set.waits_for(&world).unwrap().contains("partition 3"));
        let all = StatefulSet { partition: 9, ..FOUR };
        let (found, world) = moves(all.clone(), 4, [TIMING; 2]);
        assert!(found.is_empty() && all.waits_for(&world).is_some());
    }

    #[test]
    fn on_delete_waits_for_somebody() {
        let set = StatefulSet { is_on_delete: true, ..FOUR };
        let (found, world) = moves(set.clone(), 4, [TIMING; 2]);
        assert!(found.is_empty() && set.waits_for(&world).unwrap().contains("OnDelete"));
    }

    /// The pod that is not ready ends each sync before the update, so that not even the old
    /// template comes back.
    #[test]
    fn ordered_ready_stands_behind_a_broken_pod() {
        let set = StatefulSet { unavailable: 1, ..FOUR };
        let (found, mut world) = moves(set.clone(), 4, [TIMING, BROKEN]);
        assert_eq!(found, ["0 -3", "25 +3"]);
        assert!(!set.is_complete(&world) && set.waits_for(&world).is_none());
        let mut undo = StatefulSet { template: 0, ..set.clone() };
        assert!(!undo.sync(&mut world));
        let mut parallel = StatefulSet { is_ordered: false, ..undo };
        assert!(parallel.sync(&mut world), "whatever the budget");
    }

    /// As the real controller did it.
    #[test]
    fn of_pods_that_are_too_many_one_that_is_not_available_waits_for_those_below_it() {
        let set = |is_ordered| StatefulSet { replicas: 1, is_ordered, template: 0, ..FOUR };
        let leaves = |is_ordered: bool, bad: &[usize]| {
            let mut world = World::new(vec![TIMING], None);
            world.settle_all(4);
            let ids: Vec<PodId> = world.pods().iter().map(|pod| pod.id).collect();
            bad.iter().for_each(|place| world.set_ready(ids[*place], false));
            while set(is_ordered).sync(&mut world) {}
            let leaves = world.pods().iter().filter(|pod| pod.is_terminating());
            leaves.map(|pod| pod.slot).collect::<Vec<_>>()
        };
        assert_eq!(leaves(true, &[]), [3]);
        assert_eq!(leaves(true, &[3]), [3]);
        assert_eq!(leaves(true, &[2]), [3]);
        assert!(leaves(true, &[3, 2]).is_empty());
        assert_eq!(leaves(false, &[3, 2]), [1, 2, 3]);
    }

    #[test]
    fn with_other_replicas() {
        let (found, world) = moves(StatefulSet { template: 0, ..FOUR }, 6, [TIMING; 2]);
        assert_eq!(found, ["0 -5", "25 -4"], "one at a time");
        assert_eq!(world.pods().len(), 4);
        let parallel = StatefulSet { is_ordered: false, template: 0, ..FOUR };
        assert_eq!(moves(parallel, 6, [TIMING; 2]).0, ["0 -4", "0 -5"]);
        let (found, _) = moves(StatefulSet { partition: 3, unavailable: 1, ..FOUR }, 2, [TIMING; 2]);
        assert_eq!(found, ["0 +2", "10 +3"]);
    }
}
