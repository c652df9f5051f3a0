//! `gapless serve` under bad conditions: no call of a client that behaves well is
//! lost, and memory stays within what the chart allows.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper of tests fails the test by panicking"
)]

#[path = "load/calls.rs"]
mod calls;
#[path = "load/client.rs"]
mod client;
#[path = "load/crowd.rs"]
mod crowd;
#[path = "load/half_open.rs"]
mod half_open;
#[path = "load/memory.rs"]
mod memory;
#[path = "load/overload.rs"]
mod overload;
#[path = "server/program.rs"]
mod program;
#[path = "load/soak.rs"]
mod soak;
#[path = "load/stalls.rs"]
mod stalls;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one test after another run: they measure memory, and each of them keeps
/// the machine busy by itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    client::allow_many_connections();
    guard
}

/// Prints a figure, also if the test passes: the test harness swallows what
/// `println!` prints then.
fn report(text: &str) {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "    {text}");
}
