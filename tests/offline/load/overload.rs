//! More calls at once than gapless may take.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;

use super::calls::{self, Call};
use super::client::{Client, tls};
use super::memory::{Memory, USUAL_LIMIT};
use super::{alone, report};
use crate::support::program::Program;

/// How often a wave comes back at least.
const WAVES: usize = 4;

/// After so many waves memory has to have stopped growing, for two waves. It is chance how many calls
/// of a wave meet and which threads do the work, so that any one wave may leave the heap
/// larger than all before it; only a leak makes every one of them do so.
const MOST_WAVES: usize = 24;

/// By how much memory may grow from wave to wave and count as the same.
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
        assert_eq!(closes, status == 504, "{status}");
        assert!(!is_wrong, "a wrong answer");
        *answers.entry(status).or_default() += 1;
    }
    answers
}

/// Waves of calls of this size, more than `arguments` allow.
#[track_caller]
fn survives(arguments: &[&str], clients: usize, size: usize, bound: Memory) -> Answers {
    let program = Program::start(arguments);
    let process = program.id();
    let start = Memory::now(process);
    let call = Arc::new(calls::both_webhooks(&program, &calls::update(size)).swap_remove(0));
    let mut all = Answers::new();
    let mut after: Vec<Memory> = Vec::new();
    let has_settled = |after: &[Memory]| {
        let (before, last) = after.split_at(after.len().saturating_sub(2));
        let most_before = before.iter().max().filter(|_| after.len() >= WAVES);
        most_before.is_some_and(|most| last.iter().all(|it| *it < most.plus(NOISE)))
    };
    while !has_settled(&after) && after.len() < MOST_WAVES {
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
        "{} waves of {clients} calls of {} KB: {all:?}; memory {start} before, then {}; peak {peak}",
        after.len(),
        call.body.len() / 1024,
        shown.join(", ")
    ));
    assert!(all.keys().all(|status| [200, 504, 429].contains(status)), "{all:?}");
    assert!(all.get(&200).is_some_and(|count| *count >= WAVES), "{all:?}");
    assert!(peak < bound, "{peak}");
    assert!(has_settled(&after), "{shown:?}");
    all
}

#[test]
fn beyond_a_small_limit() {
    let _alone = alone();
    let answers = survives(&["--max-in-flight", "4"], 60, 200 * 1024, USUAL_LIMIT);
    assert!(answers[&429] > 0);
}

#[test]
fn beyond_the_usual_limit() {
    let _alone = alone();
    survives(&[], 700, 60 * 1024, USUAL_LIMIT);
}

#[test]
fn beyond_the_memory_for_bodies() {
    let _alone = alone();
    let answers = survives(&[], 100, 1500 * 1024, Memory::of_pod());
    assert!(answers[&429] > 0);
}

/// An object may have 1.5 MiB in etcd, and an update holds two.
#[test]
fn one_review_after_another_of_objects_as_large_as_etcd_allows() {
    let _alone = alone();
    let program = Program::start(&[]);
    let mut client = Client::new(&program, &tls(&program));
    let calls = calls::both_webhooks(&program, &calls::update(3 * 1024 * 1024));
    for call in calls.iter().cycle().take(6) {
        assert_eq!(client.expect(call), Ok(()));
    }
    let peak = Memory::peak(program.id());
    report(&format!("reviews of {} KB: peak {peak}", calls[0].body.len() / 1024));
    assert!(peak < Memory::of_pod(), "{peak}");

    // What would not fit into memory is not even parsed.
    let larger = serde_json::to_vec(&calls::update(7 * 1024 * 1024)).expect("JSON can be written");
    let answer = client.call("/mutate", &larger).expect("an answer");
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(client.expect(&calls[0]), Ok(()));
    let peak = Memory::peak(program.id());
    report(&format!("one of {} KB: peak {peak}", larger.len() / 1024));
    assert!(peak < Memory::of_pod(), "{peak}");
}
