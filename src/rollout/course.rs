//! One run of a rollout, from the change until nothing changes any more.

use super::Controller;
use super::world::{Millis, Tally, World};

/// How many things may happen in one run. A rollout of the largest number of pods, one by
/// one, needs fewer.
const MOST_EVENTS: usize = 100_000;

/// How many syncs may follow one another before something happens to a pod; no controller
/// has so much to do at once.
const MOST_SYNCS: usize = 20_000;

/// What is counted at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Millis,
    /// Pods of other templates, without those that terminate.
    pub old: i64,
    /// Pods of the new template, likewise.
    pub new: i64,
    /// Those of both that are available.
    pub available: i64,
    /// Pods that have been deleted and are not gone yet.
    pub terminating: i64,
}

impl Step {
    fn of(world: &World, template: usize) -> Self {
        let sum = |number: fn(Tally) -> i64, is_meant: &dyn Fn(usize) -> bool| {
            let meant = world.tallies().filter(|((_, of), _)| is_meant(*of));
            meant.map(|(_, tally)| number(tally)).sum::<i64>()
        };
        let old = sum(|tally| tally.active, &|of| of != template);
        let new = sum(|tally| tally.active, &|of| of == template);
        let available = sum(|tally| tally.available, &|_| true);
        let all = i64::try_from(world.pods().len()).unwrap_or(i64::MAX);
        Step { at: world.now, old, new, available, terminating: all - old - new }
    }

    fn counts(self) -> (i64, i64, i64, i64) {
        (self.old, self.new, self.available, self.terminating)
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Course {
    /// The first one is before the change, each further one settled, and other than the one
    /// before.
    pub steps: Vec<Step>,
    /// The fewest available pods at any moment.
    pub floor: i64,
    /// The most pods at any moment, those that terminate included.
    pub peak: i64,
    /// The most pods without them.
    pub peak_of_active: i64,
    /// How often, one after another, new pods became available.
    pub waves: usize,
    /// When the last of them did.
    pub last_available: Millis,
    /// Whether the rollout is over.
    pub is_complete: bool,
    /// What somebody has to do for it to go on.
    pub waits_for: Option<String>,
    /// Whether a quota kept pods from being made.
    pub was_refused: bool,
}

/// Runs `controller` until nothing changes any more. `template` is the new one.
pub fn run(controller: &mut dyn Controller, world: &mut World, template: usize) -> Course {
    let before = Step::of(world, template);
    let mut course = Course {
        steps: vec![before],
        floor: before.available,
        peak: before.old + before.new,
        peak_of_active: before.old + before.new,
        waves: 0,
        last_available: 0,
        is_complete: false,
        waits_for: None,
        was_refused: false,
    };
    for _ in 0..MOST_EVENTS {
        if !course.settle(controller, world, template) {
            break;
        }
        let Some(at) = world.next_event().into_iter().chain(controller.wakes(world)).min() else { break };
        let before = available_of_template(world, template);
        world.advance(at);
        if available_of_template(world, template) > before {
            course.waves += 1;
            course.last_available = at;
        }
    }
    course.is_complete = controller.is_complete(world);
    course.waits_for = controller.waits_for(world);
    course.was_refused = world.was_refused;
    course
}

fn available_of_template(world: &World, template: usize) -> i64 {
    world.tallies().filter(|((_, of), _)| *of == template).map(|(_, tally)| tally.available).sum()
}

impl Course {
    /// Lets the controller do all that there is to do now; whether it came to an end.
    fn settle(&mut self, controller: &mut dyn Controller, world: &mut World, template: usize) -> bool {
        let mut is_settled = false;
        for _ in 0..MOST_SYNCS {
            let changed = controller.sync(world);
            let step = Step::of(world, template);
            self.floor = self.floor.min(step.available);
            self.peak = self.peak.max(step.old + step.new + step.terminating);
            self.peak_of_active = self.peak_of_active.max(step.old + step.new);
            is_settled = !changed;
            if is_settled {
                break;
            }
        }
        let step = Step::of(world, template);
        if self.steps.last().is_none_or(|last| last.counts() != step.counts()) {
            self.steps.push(step);
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::kubelet::Timing;

    /// Never done, whatever it does.
    struct Restless(usize);

    impl Controller for Restless {
        fn sync(&mut self, _: &mut World) -> bool {
            self.0 += 1;
            true
        }

        fn is_complete(&self, _: &World) -> bool {
            false
        }

        fn waits_for(&self, _: &World) -> Option<String> {
            None
        }
    }

    #[test]
    fn a_controller_that_never_settles_ends_the_run() {
        let mut restless = Restless(0);
        let timing = Timing { ready: Some(5), available: Some(5), ..Timing::default() };
        let mut world = World::new(vec![timing], None);
        world.create(0, 0, 0);
        let course = run(&mut restless, &mut world, 0);
        assert_eq!((restless.0, course.is_complete, course.steps.len()), (MOST_SYNCS, false, 1));
    }
}
