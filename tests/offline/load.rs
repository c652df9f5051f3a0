//! `gapless serve` under bad conditions: no call of a client that behaves well is
//! lost, and memory stays within what the chart allows.

mod calls;
mod client;
mod crowd;
mod half_open;
mod memory;
mod overload;
mod soak;
mod stalls;

use std::io::Write;
use std::sync::MutexGuard;

use crate::support;

/// Lets one of these tests after another run, with as many connections as it needs.
fn alone() -> MutexGuard<'static, ()> {
    let guard = support::alone();
    client::allow_many_connections();
    guard
}

/// Prints a figure, also if the test passes: the test harness swallows what
/// `println!` prints then.
fn report(text: &str) {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "    {text}");
}
