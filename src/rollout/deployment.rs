//! The Deployment controller (kubernetes, pkg/controller/deployment: `syncDeployment`,
//! rolling.go, recreate.go, sync.go, and util/deployment_util.go).
//!
//! The statuses that it reads are always fresh here. With a real one they lag behind. It skips
//! syncs for that, and comes to the same sizes; but not always where somebody scales down in
//! mid-rollout, and pods that are gone in a moment still count as available
//! ([`Deployment::resize_sets`] on its own shows what comes of that).

use super::Controller;
use super::replica_set;
use super::world::World;
use crate::kubernetes::int_or_string::Amount;
use crate::workload::availability::Fenceposts;

/// One ReplicaSet, as its spec and its annotations say.
#[derive(Clone, Copy, Debug)]
struct ReplicaSet {
    spec: i64,
    template: usize,
    /// The annotation `deployment.kubernetes.io/desired-replicas`.
    desired: i64,
    /// The annotation `deployment.kubernetes.io/max-replicas`.
    most: i64,
}

/// What a Deployment says.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// `replicas`
    pub replicas: i32,
    /// `maxUnavailable` and `maxSurge`; `None` for Recreate.
    pub amounts: Option<(Amount, Amount)>,
    /// `paused`
    pub is_paused: bool,
    /// Which template it has.
    pub template: usize,
}

/// A Deployment, with its ReplicaSets from the oldest to the youngest.
#[derive(Clone, Debug)]
pub struct Deployment {
    says: Spec,
    sets: Vec<ReplicaSet>,
}

impl Deployment {
    /// One that has just been created.
    pub fn new(says: Spec) -> Self {
        Deployment { says, sets: Vec::new() }
    }

    /// One that has all of its pods, and whose rollout is over.
    pub fn settled(says: Spec, world: &mut World) -> Self {
        let mut deployment = Deployment::new(says);
        deployment.create(deployment.wanted());
        world.settle_all(deployment.wanted());
        deployment
    }

    /// Somebody writes another spec.
    pub fn change(&mut self, says: Spec) {
        self.says = says;
    }

    /// Surge and unavailable, in pods; with Recreate both are 0.
    fn limits(&self) -> (i64, i64) {
        let Some((unavailable, surge)) = self.says.amounts else { return (0, 0) };
        let limits = Fenceposts::resolve(self.says.replicas, unavailable, surge);
        (limits.surge, limits.unavailable)
    }

    fn wanted(&self) -> i64 {
        i64::from(self.says.replicas)
    }

    fn most(&self) -> i64 {
        self.wanted() + self.limits().0
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(|set| set.spec).sum()
    }

    /// The place of the ReplicaSet of today's template.
    fn newest(&self) -> Option<usize> {
        self.sets.iter().position(|set| set.template == self.says.template)
    }

    /// The places of all others, the oldest first.
    fn old(&self) -> Vec<usize> {
        let newest = self.newest();
        (0..self.sets.len()).filter(|place| Some(*place) != newest).collect()
    }

    fn spec(&self, place: usize) -> i64 {
        self.sets.get(place).map_or(0, |set| set.spec)
    }

    /// `scaleReplicaSet`: writes the size and the annotations; whether the size is another.
    fn set_size(&mut self, place: usize, size: i64) -> bool {
        let (wanted, most) = (self.wanted(), self.most());
        let Some(set) = self.sets.get_mut(place) else { return false };
        let is_other = set.spec != size;
        *set = ReplicaSet { spec: size, desired: wanted, most, ..*set };
        is_other
    }

    /// `scaleReplicaSetAndRecordEvent`: that only if the size is another.
    fn resize(&mut self, place: usize, size: i64) -> bool {
        self.spec(place) != size && self.set_size(place, size)
    }

    /// Looks at the pods once, and writes sizes. Whether there was any to write.
    pub fn resize_sets(&mut self, world: &World) -> bool {
        let is_scaling = self.sets.iter().any(|set| set.spec > 0 && set.desired != self.wanted());
        if self.says.is_paused || is_scaling {
            return self.scale(world);
        }
        match self.says.amounts {
            Some(_) => self.rolling(world),
            None => self.recreate(world),
        }
    }

    /// Its ReplicaSets make and delete pods; whether there was anything to do.
    pub fn sync_sets(&self, world: &mut World) -> bool {
        let mut changed = false;
        for (place, set) in self.sets.iter().enumerate() {
            changed |= replica_set::sync(world, place, set.spec, set.template);
        }
        changed
    }

    fn create(&mut self, spec: i64) -> usize {
        let set =
            ReplicaSet { spec, template: self.says.template, desired: self.wanted(), most: self.most() };
        self.sets.push(set);
        self.sets.len() - 1
    }

    fn rolling(&mut self, world: &World) -> bool {
        let (wanted, most) = (self.wanted(), self.most());
        let Some(new) = self.newest() else {
            // It is made with its size. The real sync goes on from here, and so does the
            // next one: there is no room to make more.
            self.create(wanted.min((most - self.total()).max(0)));
            return true;
        };
        let spec = self.spec(new);
        if spec > wanted {
            return self.set_size(new, wanted);
        }
        let room = most - self.total();
        if spec < wanted && room > 0 {
            return self.set_size(new, spec + room.min(wanted - spec));
        }
        self.reconcile_old(new, world)
    }

    fn reconcile_old(&mut self, new: usize, world: &World) -> bool {
        let old = self.old();
        if old.iter().all(|place| self.spec(*place) == 0) {
            return false;
        }
        let least = self.wanted() - self.limits().1;
        let new_unavailable = self.spec(new) - world.available_of(new);
        let allowed = self.total() - least - new_unavailable;
        if allowed <= 0 {
            return false;
        }
        let total_available: i64 = (0..self.sets.len()).map(|place| world.available_of(place)).sum();
        // A status that lags behind is an error, and the sync ends.
        if old.iter().any(|place| self.spec(*place) > 0 && self.spec(*place) < world.available_of(*place)) {
            return false;
        }
        let mut removed = 0;
        // cleanupUnhealthyReplicas
        for place in &old {
            let unhealthy = self.spec(*place) - world.available_of(*place);
            let down = unhealthy.min(allowed - removed).max(0);
            removed += down;
            self.resize(*place, self.spec(*place) - down);
        }
        // scaleDownOldReplicaSetsForRollingUpdate
        let mut left = total_available - least;
        for place in &old {
            let down = self.spec(*place).min(left).max(0);
            left -= down;
            removed += down;
            self.resize(*place, self.spec(*place) - down);
        }
        removed > 0
    }

    fn recreate(&mut self, world: &World) -> bool {
        let old = self.old();
        let active: Vec<usize> = old.iter().copied().filter(|place| self.spec(*place) > 0).collect();
        if !active.is_empty() {
            active.iter().for_each(|place| {
                self.set_size(*place, 0);
            });
            return true;
        }
        // Those that terminate count, until their phase is terminal (`oldPodsRunning`).
        let is_running = world.pods().iter().any(|pod| old.contains(&pod.set) && !world.is_terminal(pod));
        if is_running {
            return false;
        }
        match self.newest() {
            Some(new) => self.resize(new, self.wanted()),
            None => {
                self.create(self.wanted());
                true
            }
        }
    }

    /// Another number of replicas, or paused.
    fn scale(&mut self, world: &World) -> bool {
        let active: Vec<usize> = (0..self.sets.len()).filter(|place| self.spec(*place) > 0).collect();
        match active.as_slice() {
            [] => {
                let latest = self.newest().or_else(|| self.old().last().copied());
                return latest.is_some_and(|latest| self.resize(latest, self.wanted()));
            }
            [only] => return self.resize(*only, self.wanted()),
            _ => {}
        }
        let is_whole = |new: &usize| {
            let (wanted, spec) = (self.wanted(), self.spec(*new));
            self.sets.get(*new).is_some_and(|set| set.desired == wanted)
                && spec == wanted
                && world.available_of(*new) == wanted
        };
        if self.newest().as_ref().is_some_and(is_whole) {
            let mut changed = false;
            for place in self.old() {
                changed |= self.resize(place, 0);
            }
            return changed;
        }
        self.says.amounts.is_some() && self.scale_in_proportion(active)
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) -> bool {
        let most = if self.says.replicas > 0 { self.most() } else { 0 };
        let add = most - self.total();
        // Larger first; of equal ones the younger first when adding, else the older.
        active.sort_by_key(|place| {
            let place_order = i64::try_from(*place).unwrap_or(0);
            (-self.spec(*place), if add > 0 { -place_order } else { place_order })
        });
        let mut sizes = Vec::new();
        let mut added = 0;
        for place in &active {
            // `GetReplicaSetProportion`
            let share = match (add, add - added) {
                (_, 0) => 0,
                (1.., left) => self.fraction(*place).min(left),
                (_, left) => self.fraction(*place).max(left),
            };
            added += share;
            sizes.push((*place, self.spec(*place) + share));
        }
        if let Some((_, first)) = sizes.first_mut() {
            *first = (*first + add - added).max(0);
        }
        let mut changed = false;
        for (place, size) in sizes {
            let annotations = self.sets.get(place).map(|set| (set.desired, set.most));
            changed |= self.set_size(place, size) || annotations != Some((self.wanted(), self.most()));
        }
        changed
    }

    /// `getReplicaSetFraction`
    fn fraction(&self, place: usize) -> i64 {
        let Some(set) = self.sets.get(place) else { return 0 };
        if self.says.replicas == 0 {
            return -set.spec;
        }
        if set.most == 0 {
            return 0;
        }
        let share = set.spec as f64 * self.most() as f64 / set.most as f64;
        share.round() as i64 - set.spec
    }
}

impl Controller for Deployment {
    fn sync(&mut self, world: &mut World) -> bool {
        let is_resized = self.resize_sets(world);
        self.sync_sets(world) || is_resized
    }

    /// `DeploymentComplete`: terminating pods do not count.
    fn is_complete(&self, world: &World) -> bool {
        let has_old = self.old().iter().any(|place| self.spec(*place) > 0);
        let is_whole = |new: usize| {
            let wanted = self.wanted();
            self.spec(new) == wanted && world.available_of(new) == wanted
        };
        !has_old && self.newest().is_some_and(is_whole)
    }

    fn waits_for(&self, _: &World) -> Option<String> {
        let text = "it is paused, until somebody removes spec.paused (kubectl rollout resume)";
        self.says.is_paused.then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;
    use Amount::{Count, Percent};

    /// New pods are available after 10, and old ones are gone after 25.
    const TIMINGS: [Timing; 3] = [Timing { ready: Some(10), available: Some(10), terminal: 20, gone: 25 }; 3];

    fn spec(replicas: i32, amounts: (Amount, Amount), template: usize) -> Spec {
        Spec { replicas, amounts: Some(amounts), is_paused: false, template }
    }

    /// Old, new and available pods.
    type State = (i64, i64, i64);

    struct Bench {
        world: World,
        deployment: Deployment,
    }

    impl Bench {
        fn new(says: Spec) -> Self {
            let mut world = World::new(TIMINGS.to_vec(), None);
            let deployment = Deployment::settled(says, &mut world);
            Bench { world, deployment }
        }

        /// Old, new and available pods, after everything has settled.
        fn settle(&mut self) -> State {
            while self.deployment.sync(&mut self.world) {}
            let template = self.deployment.says.template;
            let new = self.world.active().filter(|pod| pod.template == template).count() as i64;
            let available = self.world.active().filter(|pod| self.world.is_available(pod)).count() as i64;
            (self.world.active().count() as i64 - new, new, available)
        }

        fn change(&mut self, says: Spec) -> State {
            self.deployment.change(says);
            self.settle()
        }

        /// The states from now on.
        fn states(&mut self) -> Vec<State> {
            let mut states = vec![self.settle()];
            while let Some(at) = self.world.next_event() {
                self.world.advance(at);
                states.push(self.settle());
            }
            states.dedup();
            states
        }

        /// The sizes of its ReplicaSets, the oldest first.
        fn sizes(&self) -> Vec<i64> {
            self.deployment.sets.iter().map(|set| set.spec).collect()
        }
    }

    /// As the real controllers of Kubernetes 1.37 did it.
    #[test]
    fn the_states_of_a_rolling_update() {
        #[rustfmt::skip]
        let table: [(i32, Amount, Amount, &[State]); 12] = [
            (1, Count(0), Count(1), &[(1, 1, 1), (0, 1, 1)]),
            (1, Count(1), Count(0), &[(0, 1, 0), (0, 1, 1)]),
            (2, Count(0), Percent(25), &[(2, 1, 2), (1, 2, 2), (0, 2, 2)]),
            (2, Count(1), Count(1), &[(1, 2, 1), (0, 2, 2)]),
            (2, Percent(1), Percent(0), &[(1, 1, 1), (0, 2, 1), (0, 2, 2)]),
            (3, Count(1), Count(0), &[(2, 1, 2), (1, 2, 2), (0, 3, 2), (0, 3, 3)]),
            (3, Percent(34), Percent(34), &[(2, 3, 2), (0, 3, 3)]),
            (4, Percent(25), Percent(25), &[(3, 2, 3), (1, 4, 3), (0, 4, 4)]),
            (4, Percent(100), Count(0), &[(0, 4, 0), (0, 4, 4)]),
            (5, Percent(20), Percent(20), &[(4, 2, 4), (2, 4, 4), (0, 5, 4), (0, 5, 5)]),
            (10, Percent(25), Percent(25), &[(8, 5, 8), (3, 10, 8), (0, 10, 10)]),
            (10, Count(0), Percent(25), &[(10, 3, 10), (7, 6, 10), (4, 9, 10), (1, 10, 10), (0, 10, 10)]),
        ];
        for (replicas, unavailable, surge, expected) in table {
            let amounts = (unavailable, surge);
            let mut bench = Bench::new(spec(replicas, amounts, 0));
            bench.deployment.change(spec(replicas, amounts, 1));
            assert_eq!(bench.states(), expected, "{replicas} {amounts:?}");
            assert!(bench.deployment.is_complete(&bench.world));
        }
    }

    /// Old pods go before any new one is there, but after it was asked for.
    #[test]
    fn the_sizes_that_are_written_first() {
        let amounts = (Percent(25), Percent(25));
        let mut bench = Bench::new(spec(4, amounts, 0));
        bench.deployment.change(spec(4, amounts, 1));
        let mut sizes = Vec::new();
        while bench.deployment.sync(&mut bench.world) {
            sizes.push(bench.sizes());
        }
        // The reaction to having fewer is one more new pod.
        assert_eq!(sizes, [vec![4, 1], vec![3, 1], vec![3, 2]]);
    }

    /// A third template in mid-rollout, and back: both as the real controllers did it.
    #[test]
    fn a_rollout_over_another_one() {
        let amounts = (Count(2), Count(3));
        let mut bench = Bench::new(spec(10, amounts, 0));
        assert_eq!(bench.change(spec(10, amounts, 1)), (8, 5, 8));
        assert_eq!(bench.change(spec(10, amounts, 0)), (0, 10, 8), "an undo");
        assert_eq!(bench.sizes(), [10, 0]);

        let mut bench = Bench::new(spec(10, amounts, 0));
        bench.world = World::new(
            vec![TIMINGS[0], Timing { ready: None, available: None, ..TIMINGS[0] }, TIMINGS[0]],
            None,
        );
        bench.deployment = Deployment::settled(spec(10, amounts, 0), &mut bench.world);
        bench.change(spec(10, amounts, 1));
        bench.change(spec(10, amounts, 2));
        assert_eq!(bench.sizes(), [8, 0, 5], "none of the second was available");
    }

    #[test]
    fn a_scale_in_mid_rollout_is_shared() {
        let amounts = (Percent(25), Percent(25));
        let mut bench = Bench::new(spec(4, amounts, 0));
        assert_eq!(bench.change(spec(4, amounts, 1)), (3, 2, 3));
        // A sync of its own, and then the rollout goes on.
        bench.deployment.change(spec(8, amounts, 1));
        bench.deployment.sync(&mut bench.world);
        assert_eq!(bench.sizes(), [6, 4]);
        bench.deployment.change(spec(0, amounts, 1));
        assert_eq!(bench.settle(), (0, 0, 0));
    }

    /// Pods that are gone in a moment still count if it looks early. The real controller did one
    /// or the other.
    #[test]
    fn a_scale_down_in_mid_rollout_depends_on_when_it_looks() {
        let amounts = (Count(0), Count(4));
        let bench = || {
            let set = |template, spec| ReplicaSet { spec, template, desired: 6, most: 10 };
            let sets = vec![set(0, 1), set(1, 2), set(2, 6)];
            let mut world = World::new(TIMINGS.to_vec(), None);
            for (place, available) in [(0, 1), (1, 2), (2, 3)] {
                (0..available).for_each(|_| world.settle_in(place, 0));
            }
            assert!((0..3).all(|_| world.create(2, 0, 2)));
            Bench { world, deployment: Deployment { says: spec(2, amounts, 1), sets } }
        };
        let mut late = bench();
        late.settle();
        assert_eq!(late.sizes(), [0, 2, 1], "two of the old pods and the new one stay available");
        let mut early = bench();
        while early.deployment.resize_sets(&early.world) {}
        assert_eq!(early.sizes(), [0, 2, 0]);
    }

    /// Where a status counts more pods than are asked for, the sync does nothing.
    #[test]
    fn a_status_that_lags_behind_ends_a_sync() {
        let mut bench = Bench::new(spec(4, (Count(1), Count(1)), 0));
        bench.deployment.change(spec(4, (Count(1), Count(1)), 1));
        while bench.deployment.resize_sets(&bench.world) {}
        assert_eq!(bench.sizes(), [3, 2], "none of the old pods has been deleted yet");
        assert!(!bench.deployment.resize_sets(&bench.world));
    }

    #[test]
    fn with_another_number_the_old_pods_are_scaled_first() {
        let amounts = (Count(0), Count(1));
        let mut bench = Bench::new(spec(2, amounts, 0));
        bench.deployment.change(spec(4, amounts, 1));
        bench.deployment.sync(&mut bench.world);
        assert_eq!(bench.sizes(), [4]);
        assert_eq!(bench.states().last(), Some(&(0, 4, 4)));
    }

    #[test]
    fn while_it_is_paused_only_the_number_changes() {
        let amounts = (Count(0), Count(1));
        let mut bench = Bench::new(spec(2, amounts, 0));
        let paused = Spec { is_paused: true, ..spec(3, amounts, 1) };
        assert_eq!(bench.change(paused), (3, 0, 2));
        assert!(bench.deployment.waits_for(&bench.world).is_some());
        assert_eq!(bench.change(spec(3, amounts, 1)), (3, 1, 2), "and then the rollout begins");
    }

    #[test]
    fn recreate_waits_until_the_old_pods_have_ended() {
        let recreate = |template| Spec { amounts: None, ..spec(2, (Count(0), Count(0)), template) };
        let mut bench = Bench::new(recreate(0));
        assert_eq!(bench.change(recreate(1)), (0, 0, 0));
        assert_eq!(bench.world.next_event(), Some(20), "the phase, not the object");
        bench.world.advance(20);
        assert_eq!(bench.settle(), (0, 2, 0));
        assert_eq!(bench.world.pods().len(), 4);
        assert_eq!(bench.states().last(), Some(&(0, 2, 2)));
    }

    /// Two ReplicaSets are active, so that nothing is scaled, and each sync is a scaling
    /// event again: as the real controller did it.
    #[test]
    fn recreate_and_another_number_in_mid_rollout_stand_still() {
        let amounts = (Count(1), Count(1));
        let mut bench = Bench::new(spec(4, amounts, 0));
        let before = bench.change(spec(4, amounts, 1));
        bench.deployment.change(Spec { amounts: None, ..spec(6, amounts, 1) });
        assert_eq!(bench.settle(), before);
        assert!(!bench.deployment.is_complete(&bench.world));
    }
}
