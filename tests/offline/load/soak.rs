//! The same load for a long time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::calls;
use super::client::Traffic;
use super::memory::Memory;
use super::{alone, report};
use crate::support::program::Program;

/// How long it takes: so many minutes, instead of half of one.
const MINUTES: &str = "GAPLESS_TEST_SOAK_MINUTES";

/// Eight clients that pause for so long after each answer make some 200 calls per second.
const PAUSE: Duration = Duration::from_millis(36);

/// By how much memory may differ without having grown.
const NOISE: Memory = Memory::mib(1);

#[test]
fn memory_does_not_grow_with_the_number_of_calls() {
    let _alone = alone();
    let minutes = std::env::var(MINUTES).map(|text| text.parse::<u32>().expect(MINUTES));
    let time = minutes.map_or(Duration::from_secs(24), |minutes| Duration::from_secs(60) * minutes);
    let program = Program::start(&[]);
    let process = program.id();
    let calls = Arc::new(calls::mixed(&program));
    let start = Memory::now(process);
    let traffic = Traffic::start(&program, &calls, PAUSE);

    let begin = Instant::now();
    let mut samples = Vec::new();
    let mut reported = 0;
    while begin.elapsed() < time {
        thread::sleep(Duration::from_millis(100));
        let memory = Memory::now(process);
        samples.push(memory);
        let minutes = begin.elapsed().as_secs() / 60;
        if minutes >= reported + 5 {
            reported = minutes;
            report(&format!("after {minutes} min: {memory}, {} calls answered", traffic.answered()));
        }
    }
    let answered = traffic.answered();
    traffic.stop(&format!("{time:?}"));
    let thirds: Vec<Memory> = samples.chunks_exact(samples.len() / 3).map(median).collect();
    let [first, second, last] = thirds[..3] else { panic!("{thirds:?}") };
    report(&format!("memory {start} at the start, median {first}, {second}, {last} in each third"));
    assert!(answered as u64 > 5 * time.as_secs(), "only {answered} calls: that was no load");
    assert!(last < second.plus(NOISE), "it grows: {first}, {second}, {last}");
}

fn median(samples: &[Memory]) -> Memory {
    let mut samples = samples.to_vec();
    samples.sort();
    samples[samples.len() / 2]
}
