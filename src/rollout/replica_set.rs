//! The ReplicaSet controller: it makes and deletes pods until there are as many as asked
//! for (kubernetes, pkg/controller/replicaset, `manageReplicas`).

use std::cmp::Reverse;

use super::world::{Pod, PodId, World};

/// Makes and deletes pods of the ReplicaSet `set`; whether it did anything.
pub fn sync(world: &mut World, set: usize, spec: i64, template: usize) -> bool {
    let missing = spec - world.active_of(set);
    if missing >= 0 {
        // It stops at the first error.
        let made = (0..missing).take_while(|_| world.create(set, 0, template)).count();
        return made > 0;
    }
    let extra = usize::try_from(-missing).unwrap_or(usize::MAX);
    let ids: Vec<PodId> = first_to_go(world, set).into_iter().take(extra).collect();
    world.delete(&ids)
}

/// Pods that are not ready go first, then those that have been ready for a shorter time
/// (pkg/controller/controller_utils.go, `ActivePodsWithRanks`).
fn first_to_go(world: &World, set: usize) -> Vec<PodId> {
    let mut pods: Vec<&Pod> = world.active().filter(|pod| pod.set == set).collect();
    pods.sort_by_key(|pod| (world.is_ready(pod), world.is_available(pod), Reverse(pod.id)));
    pods.iter().map(|pod| pod.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;

    #[test]
    fn pods_that_are_not_ready_go_first() {
        let slow = Timing { ready: Some(50), available: Some(50), terminal: 10, gone: 10 };
        let quick = Timing { ready: Some(1), available: Some(9), ..slow };
        let mut world = World::new(vec![slow, quick], None);
        world.settle_in(0, 1);
        world.create(0, 2, 0);
        world.create(0, 3, 1);
        world.advance(5);
        let left = |world: &World| world.active().map(|pod| pod.slot).collect::<Vec<_>>();
        assert!(sync(&mut world, 0, 2, 0));
        assert_eq!(left(&world), [1, 3], "not ready");
        assert!(sync(&mut world, 0, 1, 0));
        assert_eq!(left(&world), [1], "not available");
        assert!(!sync(&mut world, 0, 1, 0));
    }

    #[test]
    fn it_makes_what_the_quota_allows() {
        let mut world = World::new(vec![Timing::default()], Some(3));
        assert!(sync(&mut world, 0, 5, 0));
        assert_eq!((world.pods().len(), world.was_refused), (3, true));
        assert!(!sync(&mut world, 0, 5, 0));
    }
}
