//! Many clients that all behave well.

use std::sync::{Arc, Barrier};
use std::thread;

use super::calls;
use super::client::{Client, tls};
use super::memory::{Memory, USUAL_LIMIT};
use super::{alone, report};
use crate::support::program::Program;

const CONNECTIONS: usize = 500;

/// Calls on each connection.
const CALLS: usize = 4;

#[test]
fn five_hundred_connections_at_once_lose_no_call() {
    let _alone = alone();
    let program = Program::start(&[]);
    let calls = Arc::new(calls::mixed(&program));
    let config = tls(&program);
    // All connect at the same time, and each call begins when all are there.
    let together = Arc::new(Barrier::new(CONNECTIONS));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = Client::new(&program, &config);
            let (calls, together) = (calls.clone(), together.clone());
            thread::spawn(move || {
                let calls = calls.iter().cycle().skip(number).take(CALLS);
                let failed = calls.filter_map(|call| {
                    together.wait();
                    client.expect(call).err()
                });
                failed.collect::<Vec<String>>()
            })
        })
        .collect();
    let failed: Vec<_> = clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
    let peak = Memory::peak(program.id());
    report(&format!(
        "{CONNECTIONS} connections, {} calls, {} failed, peak {peak}",
        CONNECTIONS * CALLS,
        failed.len()
    ));
    assert_eq!(failed, [""; 0]);
    assert!(peak < USUAL_LIMIT, "{peak}");
}
