//! A workload whose pods do what they are told, and when they are told.
//!
//! In a forecast pods get ready and end by themselves. Here nothing moves but the controller,
//! so that it can be held against a real one, event after event.

use super::Controller;
use super::daemon_set::DaemonSet;
use super::deployment::Deployment;
use super::forecast::{self, Unforeseeable};
use super::kubelet::Timing;
use super::stateful_set::StatefulSet;
use super::world::{Millis, Pod, PodId, World};
use crate::kubernetes::kind::Kind;
use crate::workload::Workload;

/// No controller needs more syncs to settle.
const MOST_SYNCS: usize = 1_000;

/// A pod that does nothing by itself.
const IDLE: Timing = Timing { ready: None, available: None, terminal: Millis::MAX, gone: Millis::MAX };

/// A workload from its creation on.
#[derive(Clone, Debug)]
pub struct Driven {
    world: World,
    mover: Mover,
}

/// Who moves its pods.
#[derive(Clone, Debug)]
enum Mover {
    Deployment(Deployment),
    StatefulSet(StatefulSet),
    DaemonSet(DaemonSet),
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It gets ready, and is not available yet.
    Ready,
    /// It has been ready for `minReadySeconds`.
    Available,
    /// It is no longer ready.
    Unready,
    /// Somebody deletes it.
    Deleted,
    /// It was deleted, and its containers have ended.
    Ended,
    /// It was deleted, and its object is gone.
    Gone,
}

/// A pod as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which one.
    pub id: PodId,
    /// Its ordinal, or its node; 0 for a Deployment's.
    pub slot: i64,
    /// Which template it was made from.
    pub template: usize,
    /// Whether it is ready and stays.
    pub is_ready: bool,
    /// Whether it is available and stays.
    pub is_available: bool,
    /// Whether it has been deleted.
    pub is_terminating: bool,
    /// Whether its containers have ended since.
    pub has_ended: bool,
}

impl Driven {
    /// A workload that has just been created, with the template 0 of so many. `nodes` is for a
    /// DaemonSet.
    ///
    /// # Errors
    /// If nothing can be said of it.
    pub fn new(workload: &Workload, templates: usize, nodes: i32) -> Result<Self, Unforeseeable> {
        let mover = match workload.kind() {
            Kind::Deployment => Mover::Deployment(Deployment::new(forecast::deployment(workload, 0)?)),
            Kind::StatefulSet => Mover::StatefulSet(forecast::stateful_set(workload, 0)?),
            Kind::DaemonSet => Mover::DaemonSet(forecast::daemon_set(workload, 0, nodes)?),
            Kind::Rollout => return Err(Unforeseeable::Strategy),
        };
        Ok(Driven { world: World::new(vec![IDLE; templates], None), mover })
    }

    /// Somebody writes another spec, with this template.
    ///
    /// # Errors
    /// If nothing can be said of it.
    pub fn change(&mut self, workload: &Workload, template: usize) -> Result<(), Unforeseeable> {
        match &mut self.mover {
            Mover::Deployment(deployment) => deployment.change(forecast::deployment(workload, template)?),
            Mover::StatefulSet(set) => set.change(forecast::stateful_set(workload, template)?),
            Mover::DaemonSet(set) => {
                let nodes = i32::try_from(set.nodes.len()).unwrap_or(i32::MAX);
                let says = forecast::daemon_set(workload, template, nodes)?;
                *set = DaemonSet { nodes: set.nodes.clone(), ..says };
            }
        }
        Ok(())
    }

    /// From now on a DaemonSet comes to its nodes in this order.
    pub fn walk(&mut self, nodes: &[i64]) {
        if let Mover::DaemonSet(set) = &mut self.mover {
            set.nodes = nodes.to_vec();
        }
    }

    /// Something happens to a pod.
    pub fn happen(&mut self, pod: PodId, event: Event) {
        self.world.now += 1;
        match event {
            Event::Ready => self.world.set_ready(pod, true),
            Event::Available => self.world.set_available(pod),
            Event::Unready => self.world.set_ready(pod, false),
            Event::Deleted => {
                self.world.delete(&[pod]);
            }
            Event::Ended => self.world.set_ended(pod, false),
            Event::Gone => self.world.set_ended(pod, true),
        }
    }

    /// Lets the controller do all that there is to do; whether it came to an end.
    pub fn settle(&mut self) -> bool {
        (0..MOST_SYNCS).any(|_| !self.sync())
    }

    /// The same where a Deployment has written all sizes before any of its ReplicaSets acts: it
    /// does not see what becomes of them. Which of both happens the machine decides.
    pub fn settle_early(&mut self) -> bool {
        let world = &mut self.world;
        let Mover::Deployment(deployment) = &mut self.mover else { return self.settle() };
        (0..MOST_SYNCS).any(|_| {
            let are_written = (0..MOST_SYNCS).any(|_| !deployment.resize_sets(world));
            are_written && !deployment.sync_sets(world)
        })
    }

    fn sync(&mut self) -> bool {
        let world = &mut self.world;
        match &mut self.mover {
            Mover::Deployment(deployment) => deployment.sync(world),
            Mover::StatefulSet(set) => set.sync(world),
            Mover::DaemonSet(set) => set.sync(world),
        }
    }

    /// All pods whose object is there, the oldest first.
    pub fn pods(&self) -> impl Iterator<Item = Seen> {
        let seen = |pod: &Pod| Seen {
            id: pod.id,
            slot: pod.slot,
            template: pod.template,
            is_ready: self.world.is_ready(pod),
            is_available: self.world.is_available(pod),
            is_terminating: pod.is_terminating(),
            has_ended: self.world.is_terminal(pod),
        };
        self.world.pods().iter().map(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_do_what_they_are_told() {
        let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"replicas": 2}});
        let workload = Workload::read(&object).unwrap();
        let mut driven = Driven::new(&workload, 2, 0).unwrap();
        let newest = |driven: &Driven| driven.pods().last().unwrap();
        let settled = |driven: &mut Driven| {
            assert!(driven.settle());
            driven.pods().map(|pod| (pod.slot, pod.template, pod.is_available)).collect::<Vec<_>>()
        };
        assert_eq!(settled(&mut driven), [(0, 0, false)]);
        for event in [Event::Ready, Event::Available] {
            assert_eq!(driven.pods().count(), 1, "{event:?}");
            driven.happen(newest(&driven).id, event);
            settled(&mut driven);
        }
        assert_eq!(settled(&mut driven), [(0, 0, true), (1, 0, false)]);
        let last = newest(&driven).id;
        for event in [Event::Ready, Event::Unready, Event::Ready, Event::Available] {
            driven.happen(last, event);
            assert_eq!(newest(&driven).is_ready, event != Event::Unready);
        }
        driven.change(&workload, 1).unwrap();
        settled(&mut driven);
        assert!(newest(&driven).is_terminating && !newest(&driven).has_ended);
        driven.happen(last, Event::Ended);
        settled(&mut driven);
        assert!(newest(&driven).has_ended);
        driven.happen(last, Event::Gone);
        assert_eq!(settled(&mut driven), [(0, 0, true), (1, 1, false)]);
        driven.happen(last, Event::Deleted);
        assert_eq!(settled(&mut driven), [(0, 0, true), (1, 1, false)], "it is another pod");
    }

    /// It makes a difference only where somebody scales down in mid-rollout.
    #[test]
    fn whether_a_deployment_looks_early_or_late_it_comes_to_the_same() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 4}});
        let workload = Workload::read(&object).unwrap();
        let settled = |settle: fn(&mut Driven) -> bool| {
            let mut driven = Driven::new(&workload, 2, 0).unwrap();
            let mut seen = Vec::new();
            for template in [0, 1] {
                driven.change(&workload, template).unwrap();
                assert!(settle(&mut driven));
                for pod in driven.pods().filter(|pod| pod.template == template).collect::<Vec<_>>() {
                    driven.happen(pod.id, Event::Ready);
                    driven.happen(pod.id, Event::Available);
                    assert!(settle(&mut driven));
                    seen.push(
                        driven.pods().map(|pod| (pod.template, pod.is_terminating)).collect::<Vec<_>>(),
                    );
                }
            }
            seen
        };
        let late = settled(Driven::settle);
        assert_eq!(late.len(), 6);
        assert_eq!(late, settled(Driven::settle_early));
    }

    #[test]
    fn a_daemon_set_comes_to_its_nodes_in_the_order_that_it_is_told() {
        let object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {}});
        let workload = Workload::read(&object).unwrap();
        let mut driven = Driven::new(&workload, 2, 3).unwrap();
        driven.settle();
        for pod in driven.pods().collect::<Vec<_>>() {
            driven.happen(pod.id, Event::Ready);
            driven.happen(pod.id, Event::Available);
        }
        driven.walk(&[2, 0, 1]);
        driven.change(&workload, 1).unwrap();
        assert!(driven.settle());
        let leaves: Vec<i64> = driven.pods().filter(|pod| pod.is_terminating).map(|pod| pod.slot).collect();
        assert_eq!(leaves, [2]);
    }

    #[test]
    fn a_rollout_of_argo_is_not_driven() {
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {}});
        let workload = Workload::read(&object).unwrap();
        assert_eq!(Driven::new(&workload, 1, 0).err(), Some(Unforeseeable::Strategy));
    }
}
