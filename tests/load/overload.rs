//! More calls at once than gapless may take.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::calls::{self, Call};
use crate::client::{Client, tls};
use crate::memory::{Memory, POD_LIMIT};
use crate::program::Program;
use crate::{alone, report};

/// How often a wave comes back.
const WAVES: usize = 4;

/// By how much a wave may leave more memory in use than the one before. Some is
/// noise: which threads did the work, and how full their parts of the heap are.
const NOISE: Memory = Memory::mib(8);

/// Answers by status code.
type Answers = BTreeMap<u16, usize>;

/// So many clients make the same call at the same time, once.
#[track_caller]
fn wave(program: &Program, clients: usize, call: &Arc<Call>) -> Answers {
    let config = tls(program);
    let together = Arc::new(Barrier::new(clients));
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = Client::new(program, &config);
            let (call, together) = (call.clone(), together.clone());
            thread::spawn(move || {
                // It has a connection before all begin.
                let first = client.call("/mutate", b"{").map(|answer| answer.status);
                together.wait();
                let answer = client.call(call.path, &call.body);
                (
                    first,
                    answer.map(|answer| {
                        (answer.status, answer.closes(), answer.status == 200 && answer.body != call.answer)
                    }),
                )
            })
        })
        .collect();
    let mut answers = Answers::new();
    for client in clients {
        let (first, answer) = client.join().expect("no panic");
        assert_eq!(first.expect("an answer"), 400);
        let (status, closes, is_wrong) = answer.expect("an answer, whatever it is");
        assert_eq!(closes, status == 408, "{status}");
        assert!(!is_wrong, "a wrong answer");
        *answers.entry(status).or_default() += 1;
    }
    answers
}

/// Waves of calls of this size, more than `arguments` allow. `has_surplus` says
/// whether some have to be refused.
#[track_caller]
fn survives(arguments: &[&str], clients: usize, size: usize, bound: Memory) -> Answers {
    let program = Program::start(arguments);
    let process = program.id();
    let start = Memory::now(process);
    let call = Arc::new(calls::both_webhooks(&program, &calls::update(size)).swap_remove(0));
    let mut all = Answers::new();
    let mut after = Vec::new();
    for _ in 0..WAVES {
        for (status, count) in wave(&program, clients, &call) {
            *all.entry(status).or_default() += count;
        }
        after.push(Memory::now(process));
        // It has recovered by itself.
        let mut client = Client::new(&program, &tls(&program));
        assert_eq!(client.expect(&call), Ok(()));
    }
    let peak = Memory::peak(process);
    let shown: Vec<_> = after.iter().map(ToString::to_string).collect();
    report(&format!(
        "{WAVES} waves of {clients} calls of {} KB: {all:?}; memory {start} before, then {}; peak {peak}",
        call.body.len() / 1024,
        shown.join(", ")
    ));
    assert!(all.keys().all(|status| [200, 408, 429].contains(status)), "{all:?}");
    assert!(all.get(&200).is_some_and(|count| *count >= WAVES), "{all:?}");
    assert!(peak < bound, "{peak}");
    for later in &after[2..] {
        assert!(*later < after[1].plus(NOISE), "{shown:?}");
    }
    all
}

#[test]
fn beyond_a_small_limit() {
    let _alone = alone();
    let answers = survives(&["--max-in-flight", "4"], 60, 200 * 1024, POD_LIMIT);
    assert!(answers[&429] > 0);
}

#[test]
fn beyond_the_usual_limit() {
    let _alone = alone();
    survives(&[], 700, 60 * 1024, POD_LIMIT);
}

#[test]
fn beyond_the_memory_for_bodies() {
    let _alone = alone();
    let answers = survives(&[], 100, 1500 * 1024, POD_LIMIT);
    assert!(answers[&429] > 0);
}

/// An object may have 1.5 MiB in etcd, and an update holds two.
#[test]
fn one_review_after_another_as_large_as_etcd_allows() {
    let _alone = alone();
    let program = Program::start(&[]);
    for size in [3 * 1024 * 1024, 7 * 1024 * 1024] {
        let calls = calls::both_webhooks(&program, &calls::update(size));
        let mut client = Client::new(&program, &tls(&program));
        for call in calls.iter().cycle().take(6) {
            assert_eq!(client.expect(call), Ok(()));
        }
        report(&format!(
            "{} KB: memory {}, peak {}",
            calls[0].body.len() / 1024,
            Memory::now(program.id()),
            Memory::peak(program.id())
        ));
    }
}
