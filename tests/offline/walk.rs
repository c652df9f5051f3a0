//! A random walk: a workload's life, of any kind, between kubectl, the API server and
//! gapless. Nothing that the user wrote is ever lost, nothing rolls twice, and
//! nobody is denied what is not theirs.
//!
//! `GAPLESS_TEST_WALK_STEPS` sets the number of steps, `GAPLESS_TEST_WALK_SEED` which
//! walks they are.

mod promises;
mod world;

use std::cell::RefCell;
use std::env;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use gapless::kubernetes::kind::Kind;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::world::World;
use crate::support;
use crate::support::simulated::{dialect, step};

/// Steps in all, without the variable.
const STEPS: usize = 10_000;

#[test]
fn nothing_is_lost_and_nothing_rolls_twice() {
    let _alone = support::alone();
    let wanted = env::var("GAPLESS_TEST_WALK_STEPS").ok();
    let wanted = wanted.map_or(STEPS, |steps| steps.parse().expect("GAPLESS_TEST_WALK_STEPS is a number"));
    let seed = env::var("GAPLESS_TEST_WALK_SEED").ok();
    let seed = seed.map_or(0, |seed| seed.parse().expect("GAPLESS_TEST_WALK_SEED is a number"));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let begun = Instant::now();
    let walked: Vec<Walked> = thread::scope(|scope| {
        let walkers: Vec<_> = (0..threads as u64)
            .map(|walker| scope.spawn(move || walk(wanted.div_ceil(threads), seed, walker)))
            .collect();
        walkers.into_iter().map(|walker| walker.join().unwrap_or_else(|why| resume_unwind(why))).collect()
    });
    let (steps, requests) =
        walked.iter().fold((0, 0), |sum, walked| (sum.0 + walked.steps, sum.1 + walked.requests));
    println!("{steps} steps, {requests} requests in {:.0?}", begun.elapsed());
}

/// The kinds, all of them unless `GAPLESS_TEST_WALK_KIND` names one.
fn kinds() -> Vec<Kind> {
    let wanted = env::var("GAPLESS_TEST_WALK_KIND").ok();
    let is_wanted = |kind: &Kind| wanted.as_deref().is_none_or(|wanted| wanted == kind.name());
    Kind::ALL.into_iter().filter(is_wanted).collect()
}

#[derive(Default)]
struct Walked {
    steps: usize,
    requests: usize,
}

/// Walks of this many steps in all.
///
/// # Panics
/// With the shortest walk that breaks a promise.
fn walk(wanted: usize, seed: u64, walker: u64) -> Walked {
    let config = Config {
        cases: 20,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let walked = RefCell::new(Walked::default());
    while walked.borrow().steps < wanted {
        // The same walks each time, unless another seed is asked for: a failure has to
        // be the doing of the change under test.
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip([seed, walker, walked.borrow().steps as u64]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let outcome = TestRunner::new_with_rng(config.clone(), random).run(&step::walk(&kinds()), |walk| {
            dialect::walk_with(walk.kind);
            let mut world = World::new(walk.profile);
            for step in &walk.steps {
                walked.borrow_mut().steps += 1;
                world.take(step).map_err(|why| TestCaseError::fail(format!("{step:?}: {why}")))?;
            }
            walked.borrow_mut().requests += world.requests;
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, walk)) => {
                dialect::walk_with(walk.kind);
                let steps: Vec<String> = walk.steps.iter().map(|step| format!("  {step:?}")).collect();
                panic!(
                    "{}, profile {}:\n{}\n{why}",
                    walk.kind,
                    walk.profile.unwrap_or(step::OFF),
                    steps.join("\n")
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
    walked.into_inner()
}
