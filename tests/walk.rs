//! A random walk: a Deployment's life between kubectl, the API server and
//! gapless. Nothing that the user wrote is ever lost, nothing rolls twice, and
//! nobody is denied what is not theirs.
//!
//! `GAPLESS_TEST_WALK_STEPS` sets the number of steps.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of tests fails the test by panicking"
)]

mod simulated;

#[path = "walk/promises.rs"]
mod promises;
#[path = "walk/step.rs"]
mod step;
#[path = "walk/world.rs"]
mod world;

use std::cell::Cell;
use std::env;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use world::World;

/// Steps in all, without the variable.
const STEPS: usize = 10_000;

#[test]
fn nothing_is_lost_and_nothing_rolls_twice() {
    let wanted = env::var("GAPLESS_TEST_WALK_STEPS").ok();
    let wanted = wanted.map_or(STEPS, |steps| steps.parse().expect("GAPLESS_TEST_WALK_STEPS is a number"));
    let steps = Cell::new(0);
    let requests = Cell::new(0);
    let config = Config {
        cases: 50,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        max_shrink_time: 30_000,
        ..Config::default()
    };
    while steps.get() < wanted {
        let mut runner = TestRunner::new(config.clone());
        let outcome = runner.run(&step::walk(), |walk| {
            let mut world = World::new(walk.profile);
            for step in &walk.steps {
                steps.set(steps.get() + 1);
                world.take(step).map_err(|why| TestCaseError::fail(format!("{step:?}: {why}")))?;
            }
            requests.set(requests.get() + world.requests);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, walk)) => {
                let steps: Vec<String> = walk.steps.iter().map(|step| format!("  {step:?}")).collect();
                panic!("profile {:?}:\n{}\n{why}", walk.profile, steps.join("\n"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    println!("{} steps, {} requests", steps.get(), requests.get());
}
