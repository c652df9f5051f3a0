//! The pods of one workload, and the clock.
//!
//! Nothing happens here by chance: a pod gets ready, becomes available, ends and is gone
//! at the times that its [`Timing`] says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kubelet::Timing;

/// Milliseconds since the change.
pub type Millis = u64;

/// So many seconds; none if the number is negative.
pub fn seconds(seconds: i64) -> Millis {
    Millis::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

/// A span of time.
pub fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}

/// Which pod, however many are made and gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId(u64);

/// One pod, from its creation until its object is gone.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, in a word.
    pub id: PodId,
    /// Whose pod it is: the place of its ReplicaSet; 0 where there is none.
    pub set: usize,
    /// Its ordinal, or its node.
    pub slot: i64,
    /// Which template it was made from.
    pub template: usize,
    /// When it is ready; `None` for never.
    ready: Option<Millis>,
    /// When it is available.
    available: Option<Millis>,
    /// When all of its containers have ended and when its object is gone; `None` until it
    /// is deleted.
    end: Option<(Millis, Millis)>,
}

impl Pod {
    /// Whether it has been deleted and is not gone yet. Such a pod is none of its
    /// controller's any more.
    pub fn is_terminating(&self) -> bool {
        self.end.is_some()
    }
}

/// How many pods of one set and one template have not been deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub active: i64,
    /// Those that are available.
    pub available: i64,
}

/// All pods of one workload.
#[derive(Clone, Debug)]
pub struct World {
    /// What time it is.
    pub now: Millis,
    /// The oldest first.
    pods: Vec<Pod>,
    made: u64,
    /// By set and template. Controllers ask for numbers far more often than they change.
    tallies: BTreeMap<(usize, usize), Tally>,
    /// How pods of each template behave.
    timings: Vec<Timing>,
    /// How many pods there may be.
    quota: Option<usize>,
    /// Whether that had to keep one from being made.
    pub was_refused: bool,
}

impl World {
    /// A world without pods.
    pub fn new(timings: Vec<Timing>, quota: Option<usize>) -> Self {
        World {
            now: 0,
            pods: Vec::new(),
            made: 0,
            tallies: BTreeMap::new(),
            timings,
            quota,
            was_refused: false,
        }
    }

    /// Adds a pod of template 0 that has been available for long.
    pub fn settle_in(&mut self, set: usize, slot: i64) {
        self.add(set, slot, 0, Some(0), Some(0));
    }

    /// The same for all pods of a workload before the change: of the set 0, on slots of their
    /// own.
    pub fn settle_all(&mut self, pods: i64) {
        (0..pods).for_each(|slot| self.settle_in(0, slot));
    }

    /// A pod gets ready, or is no longer so. It is not available before [`World::set_available`].
    pub fn set_ready(&mut self, id: PodId, is_ready: bool) {
        let now = self.now;
        self.change(id, |pod| (pod.ready, pod.available) = (is_ready.then_some(now), None));
    }

    /// A pod has been ready for long enough.
    pub fn set_available(&mut self, id: PodId) {
        let now = self.now;
        self.change(id, |pod| pod.available = Some(now));
    }

    /// All containers of a deleted pod have ended, or its object is gone as well.
    pub fn set_ended(&mut self, id: PodId, is_gone: bool) {
        let now = self.now;
        self.change(id, |pod| {
            pod.end = pod.end.map(|(_, gone)| (now, if is_gone { now } else { gone }));
        });
    }

    fn change(&mut self, id: PodId, change: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.iter_mut().find(|pod| pod.id == id) {
            change(pod);
        }
        self.settle();
    }

    /// Makes a pod; `false` if the quota refuses it. A pod whose containers have ended does
    /// not count for a quota (kubernetes, pkg/quota/v1/evaluator/core/pods.go, `QuotaV1Pod`).
    pub fn create(&mut self, set: usize, slot: i64, template: usize) -> bool {
        let counted = || self.pods.iter().filter(|pod| !self.is_terminal(pod)).count();
        if self.quota.is_some_and(|quota| counted() >= quota) {
            self.was_refused = true;
            return false;
        }
        let timing = self.timing(template);
        let now = self.now;
        let after = |span: Option<Millis>| span.map(|span| now.saturating_add(span));
        self.add(set, slot, template, after(timing.ready), after(timing.available));
        true
    }

    fn add(
        &mut self,
        set: usize,
        slot: i64,
        template: usize,
        ready: Option<Millis>,
        available: Option<Millis>,
    ) {
        let id = PodId(self.made);
        self.made += 1;
        self.pods.push(Pod { id, set, slot, template, ready, available, end: None });
        let tally = self.tallies.entry((set, template)).or_default();
        tally.active += 1;
        tally.available += i64::from(available.is_some_and(|at| at <= self.now));
    }

    /// Deletes these pods; whether there are any that had not been deleted yet.
    pub fn delete(&mut self, ids: &[PodId]) -> bool {
        let now = self.now;
        let mut changed = false;
        for id in ids {
            let Ok(place) = self.pods.binary_search_by_key(id, |pod| pod.id) else { continue };
            let template = self.pods.get(place).map_or(0, |pod| pod.template);
            let Timing { terminal, gone, .. } = self.timing(template);
            let Some(pod) = self.pods.get_mut(place).filter(|pod| pod.end.is_none()) else { continue };
            pod.end = Some((now.saturating_add(terminal), now.saturating_add(gone)));
            changed = true;
        }
        if changed {
            self.settle();
        }
        changed
    }

    fn timing(&self, template: usize) -> Timing {
        self.timings.get(template).copied().unwrap_or_default()
    }

    /// All pods whose object is there, the oldest first.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Those of them that have not been deleted.
    pub fn active(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| !pod.is_terminating())
    }

    /// Whether a pod is ready and stays.
    pub fn is_ready(&self, pod: &Pod) -> bool {
        !pod.is_terminating() && pod.ready.is_some_and(|at| at <= self.now)
    }

    /// Whether a pod is available and stays.
    pub fn is_available(&self, pod: &Pod) -> bool {
        !pod.is_terminating() && pod.available.is_some_and(|at| at <= self.now)
    }

    /// Whether all containers of a deleted pod have ended.
    pub fn is_terminal(&self, pod: &Pod) -> bool {
        pod.end.is_some_and(|(terminal, _)| terminal <= self.now)
    }

    /// The numbers of all sets and templates.
    pub fn tallies(&self) -> impl Iterator<Item = ((usize, usize), Tally)> {
        self.tallies.iter().map(|(key, tally)| (*key, *tally))
    }

    /// How many pods of this set have not been deleted.
    pub fn active_of(&self, set: usize) -> i64 {
        self.tallies().filter(|((of, _), _)| *of == set).map(|(_, tally)| tally.active).sum()
    }

    /// How many of them are available.
    pub fn available_of(&self, set: usize) -> i64 {
        self.tallies().filter(|((of, _), _)| *of == set).map(|(_, tally)| tally.available).sum()
    }

    /// When the next thing happens to a pod by itself.
    pub fn next_event(&self) -> Option<Millis> {
        let events = self.pods.iter().flat_map(|pod| match pod.end {
            Some((terminal, gone)) => [Some(terminal), Some(gone)],
            None => [pod.ready, pod.available],
        });
        events.flatten().filter(|at| *at > self.now).min()
    }

    /// Lets it become `at`.
    pub fn advance(&mut self, at: Millis) {
        self.now = at;
        self.settle();
    }

    /// Forgets pods that are gone, and counts the others.
    fn settle(&mut self) {
        let now = self.now;
        self.pods.retain(|pod| pod.end.is_none_or(|(_, gone)| gone > now));
        self.tallies.clear();
        for pod in self.pods.iter().filter(|pod| !pod.is_terminating()) {
            let tally = self.tallies.entry((pod.set, pod.template)).or_default();
            tally.active += 1;
            tally.available += i64::from(pod.available.is_some_and(|at| at <= now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { ready: Some(5), available: Some(7), terminal: 10, gone: 12 };

    #[test]
    fn a_pod_goes_its_way() {
        let mut world = World::new(vec![TIMING], None);
        world.create(0, 0, 0);
        let seen = |world: &World| {
            let pod = &world.pods()[0];
            (world.is_ready(pod), world.is_available(pod), world.is_terminal(pod))
        };
        let mut history = vec![(0, seen(&world))];
        while let Some(at) = world.next_event() {
            world.advance(at);
            history.push((at, seen(&world)));
        }
        let expected = [(0, (false, false, false)), (5, (true, false, false)), (7, (true, true, false))];
        assert_eq!(history, expected);

        let id = world.pods()[0].id;
        assert!(world.delete(&[id]));
        assert!(!world.delete(&[id]), "it was deleted before");
        assert_eq!((seen(&world), world.next_event()), ((false, false, false), Some(17)));
        world.advance(17);
        assert_eq!((seen(&world), world.next_event()), ((false, false, true), Some(19)));
        world.advance(19);
        assert_eq!((world.pods().len(), world.next_event()), (0, None));
    }

    #[test]
    fn without_a_grace_period_a_pod_is_gone_at_once_and_the_others_stay() {
        let mut world = World::new(vec![Timing { terminal: 0, gone: 0, ..TIMING }], None);
        (0..4).for_each(|slot| world.settle_in(0, slot));
        let ids: Vec<PodId> = world.pods().iter().map(|pod| pod.id).collect();
        world.delete(&[ids[0], ids[2]]);
        assert_eq!(world.pods().iter().map(|pod| pod.slot).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn the_numbers_are_those_of_the_pods() {
        let mut world = World::new(vec![TIMING; 2], None);
        (0..3).for_each(|slot| world.settle_in(0, slot));
        (0..2).for_each(|slot| assert!(world.create(1, slot, 1)));
        let numbers = |world: &World| [0, 1].map(|set| (world.active_of(set), world.available_of(set)));
        assert_eq!(numbers(&world), [(3, 3), (2, 0)]);
        let first = world.pods()[0].id;
        world.delete(&[first]);
        assert_eq!(numbers(&world), [(2, 2), (2, 0)]);
        world.advance(7);
        assert_eq!(numbers(&world), [(2, 2), (2, 2)]);
    }

    #[test]
    fn a_quota_counts_pods_until_their_containers_have_ended() {
        let mut world = World::new(vec![TIMING], Some(2));
        (0..2).for_each(|slot| world.settle_in(0, slot));
        let id = world.pods()[0].id;
        world.delete(&[id]);
        assert!(!world.create(0, 2, 0) && world.was_refused);
        world.advance(10);
        assert!(world.create(0, 2, 0));
        assert_eq!(world.pods().len(), 3);
    }
}
