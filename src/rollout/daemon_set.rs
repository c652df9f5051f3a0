//! The DaemonSet controller (kubernetes, pkg/controller/daemon, `manage` and
//! `rollingUpdate`).

use super::world::{Pod, PodId, World};
use super::{Controller, ON_DELETE};

/// A DaemonSet, as its spec says, on so many nodes.
#[derive(Clone, Debug)]
pub struct DaemonSet {
    /// The nodes that have a pod, in the order in which it comes to them. A real one takes them
    /// in another order each time.
    pub nodes: Vec<i64>,
    /// On how many of them a new pod may be beside the old one.
    pub surge: i64,
    /// How many of them may be without an available pod.
    pub unavailable: i64,
    /// Whether somebody has to delete old pods.
    pub is_on_delete: bool,
    /// Which template it has.
    pub template: usize,
}

/// What is on one node.
#[derive(Clone, Copy, Debug)]
struct Node {
    number: i64,
    old: Option<Here>,
    new: Option<Here>,
    /// Whether a pod is there that has been deleted and whose containers have not ended.
    has_ending: bool,
}

/// A pod that has not been deleted.
#[derive(Clone, Copy, Debug)]
struct Here {
    id: PodId,
    is_ready: bool,
    is_available: bool,
}

impl DaemonSet {
    fn nodes(&self, world: &World) -> Vec<Node> {
        let node = |number| {
            let here = |is_new: bool| {
                let is_meant = |pod: &&Pod| pod.slot == number && (pod.template == self.template) == is_new;
                let pod = world.active().find(is_meant)?;
                Some(Here {
                    id: pod.id,
                    is_ready: world.is_ready(pod),
                    is_available: world.is_available(pod),
                })
            };
            let is_ending = |pod: &Pod| pod.slot == number && pod.is_terminating() && !world.is_terminal(pod);
            let has_ending = world.pods().iter().any(is_ending);
            Node { number, old: here(false), new: here(true), has_ending }
        };
        self.nodes.iter().copied().map(node).collect()
    }

    /// Nodes without a pod get one, and pods that are too many go.
    fn manage(&self, world: &mut World) -> bool {
        let nodes = self.nodes(world);
        let extra: Vec<PodId> = nodes.iter().flat_map(|node| self.extra(node, world)).collect();
        let mut changed = world.delete(&extra);
        // One that terminates is waited for, unless new pods come first (`podsShouldBeOnNode`).
        let lacks_pod = |node: &&Node| {
            node.old.is_none() && node.new.is_none() && (self.allows_surge() || !node.has_ending)
        };
        for node in nodes.iter().filter(lacks_pod) {
            changed |= world.create(0, node.number, self.template);
        }
        changed
    }

    /// Which pods of a node are too many. With surge there may be two, the oldest new one and the
    /// oldest of all others; the latter goes when the new one is available, or when it is of no
    /// use itself. Without, the oldest of all stays.
    fn extra(&self, node: &Node, world: &World) -> Vec<PodId> {
        let pods = world.active().filter(|pod| pod.slot == node.number).map(|pod| pod.id);
        if !self.allows_surge() {
            return pods.skip(1).collect();
        }
        let [old, new] = [node.old, node.new].map(|pod| pod.map(|pod| pod.id));
        let is_relieved = match (node.old, node.new) {
            (Some(old), Some(new)) => new.is_available || !old.is_ready,
            _ => false,
        };
        pods.filter(|pod| Some(*pod) != new && (Some(*pod) != old || is_relieved)).collect()
    }

    fn allows_surge(&self) -> bool {
        self.surge > 0 && !self.is_on_delete
    }

    fn rolling_update(&self, world: &mut World) -> bool {
        match self.surge {
            0 => self.replace(world),
            _ => self.surge(world),
        }
    }

    /// Old pods go first: those that are not available whatever the budget.
    fn replace(&self, world: &mut World) -> bool {
        let nodes = self.nodes(world);
        let is_without = |node: &&Node| !node.new.or(node.old).is_some_and(|pod| pod.is_available);
        let without = nodes.iter().filter(is_without).count();
        let budget = usize::try_from(self.unavailable).unwrap_or(0).saturating_sub(without);
        let old = || nodes.iter().filter(|node| node.new.is_none()).filter_map(|node| node.old);
        let bad = old().filter(|pod| !pod.is_available);
        let good = old().filter(|pod| pod.is_available).take(budget);
        world.delete(&bad.chain(good).map(|pod| pod.id).collect::<Vec<_>>())
    }

    /// New pods come first, beside old ones that are available; beside others whatever the
    /// budget.
    fn surge(&self, world: &mut World) -> bool {
        let nodes = self.nodes(world);
        let surging = nodes.iter().filter(|node| node.old.is_some() && node.new.is_some()).count();
        let budget = usize::try_from(self.surge).unwrap_or(0).saturating_sub(surging);
        let beside = |is_available: bool| {
            let is_meant = move |node: &&Node| node.old.is_some_and(|old| old.is_available == is_available);
            nodes.iter().filter(|node| node.new.is_none()).filter(is_meant).map(|node| node.number)
        };
        let mut changed = false;
        for node in beside(false).chain(beside(true).take(budget)).collect::<Vec<_>>() {
            changed |= world.create(0, node, self.template);
        }
        changed
    }
}

impl Controller for DaemonSet {
    fn sync(&mut self, world: &mut World) -> bool {
        self.manage(world) || (!self.is_on_delete && self.rolling_update(world))
    }

    fn is_complete(&self, world: &World) -> bool {
        let is_new = |node: &Node| node.old.is_none() && node.new.is_some_and(|new| new.is_available);
        self.nodes(world).iter().all(is_new)
    }

    fn waits_for(&self, world: &World) -> Option<String> {
        (self.is_on_delete && !self.is_complete(world)).then(|| ON_DELETE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;

    const TIMING: Timing = Timing { ready: Some(10), available: Some(15), terminal: 20, gone: 25 };
    fn three() -> DaemonSet {
        DaemonSet { nodes: vec![0, 1, 2], surge: 0, unavailable: 1, is_on_delete: false, template: 1 }
    }

    /// Old, new and available pods, and those that terminate, whenever that changes.
    fn states(mut set: DaemonSet, timing: Timing) -> (Vec<(u64, [i64; 4])>, World) {
        let mut world = World::new(vec![TIMING, timing], None);
        world.settle_all(set.nodes.len() as i64);
        let mut states: Vec<(u64, [i64; 4])> = Vec::new();
        loop {
            while set.sync(&mut world) {}
            let all = world.active().count() as i64;
            let new = world.active().filter(|pod| pod.template == 1).count() as i64;
            let available = world.active().filter(|pod| world.is_available(pod)).count() as i64;
            let state = [all - new, new, available, world.pods().len() as i64 - all];
            if states.last().is_none_or(|(_, last)| *last != state) {
                states.push((world.now, state));
            }
            let Some(at) = world.next_event() else { return (states, world) };
            world.advance(at);
        }
    }

    #[test]
    fn without_surge_a_node_is_empty_until_the_containers_have_ended() {
        let (found, world) = states(three(), TIMING);
        let expected = [
            (0, [2, 0, 2, 1]),
            (20, [2, 1, 2, 1]),
            (25, [2, 1, 2, 0]),
            (35, [1, 1, 2, 1]),
            (55, [1, 2, 2, 1]),
            (60, [1, 2, 2, 0]),
            (70, [0, 2, 2, 1]),
            (90, [0, 3, 2, 1]),
            (95, [0, 3, 2, 0]),
            (105, [0, 3, 3, 0]),
        ];
        assert_eq!(found, expected);
        assert!(three().is_complete(&world));
    }

    #[test]
    fn with_surge_no_node_is_ever_without() {
        let (found, world) = states(DaemonSet { surge: 2, unavailable: 0, ..three() }, TIMING);
        let expected = [
            (0, [3, 2, 3, 0]),
            (15, [1, 3, 3, 2]),
            (30, [0, 3, 3, 3]),
            (40, [0, 3, 3, 1]),
            (55, [0, 3, 3, 0]),
        ];
        assert_eq!(found, expected);
        assert!(three().is_complete(&world));
    }

    #[test]
    fn new_pods_that_never_get_ready_use_up_the_budget() {
        let broken = Timing { ready: None, available: None, ..TIMING };
        let last = |set| states(set, broken).0.last().unwrap().1;
        assert_eq!(last(three()), [2, 1, 2, 0]);
        assert_eq!(last(DaemonSet { surge: 1, unavailable: 0, ..three() }), [3, 1, 3, 0]);
    }

    /// What is on each of two nodes, the oldest first, after the third template.
    fn templates_on_nodes(set: &mut DaemonSet) -> [Vec<usize>; 2] {
        let idle = Timing { ready: None, available: None, ..TIMING };
        let mut world = World::new(vec![idle; 3], None);
        world.settle_all(2);
        for template in [1, 2] {
            set.template = template;
            while set.sync(&mut world) {}
        }
        [0, 1].map(|node| {
            let pods = world.active().filter(|pod| pod.slot == node);
            pods.map(|pod| pod.template).collect()
        })
    }

    /// As the real controller did it.
    #[test]
    fn the_pods_of_a_template_between_are_too_many() {
        let mut set = DaemonSet { nodes: vec![0, 1], surge: 1, unavailable: 0, ..three() };
        assert_eq!(templates_on_nodes(&mut set), [vec![0, 2], vec![0]]);
        let mut set = DaemonSet { nodes: vec![0, 1], surge: 2, unavailable: 0, ..three() };
        assert_eq!(templates_on_nodes(&mut set), [vec![0, 2], vec![0, 2]]);
    }

    /// Of two pods on a node the older one stays, once there is no surge any more.
    #[test]
    fn without_surge_a_second_pod_is_too_many() {
        let idle = Timing { ready: None, available: None, ..TIMING };
        let mut world = World::new(vec![TIMING, idle], None);
        world.settle_all(3);
        let mut set = DaemonSet { surge: 3, unavailable: 0, ..three() };
        while set.sync(&mut world) {}
        assert_eq!(world.active().count(), 6);
        DaemonSet { is_on_delete: true, ..set }.sync(&mut world);
        assert_eq!(world.active().map(|pod| pod.template).collect::<Vec<_>>(), [0, 0, 0]);
    }

    #[test]
    fn a_node_without_a_pod_gets_one_beside_the_one_that_ends_if_there_is_surge() {
        let made = |set: DaemonSet| {
            let mut world = World::new(vec![TIMING; 2], None);
            world.settle_all(3);
            let first = world.pods()[0].id;
            world.delete(&[first]);
            set.manage(&mut world);
            world.active().filter(|pod| pod.slot == 0).count()
        };
        assert_eq!(made(three()), 0);
        assert_eq!(made(DaemonSet { surge: 1, unavailable: 0, ..three() }), 1);
    }

    #[test]
    fn on_delete_waits_for_somebody() {
        let set = DaemonSet { is_on_delete: true, ..three() };
        let (found, world) = states(set.clone(), TIMING);
        assert_eq!(found, [(0, [3, 0, 3, 0])]);
        assert!(set.waits_for(&world).is_some());
    }
}
