//! What work takes, on a machine that others use too.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that this thread has had of a processor, whatever else the machine does.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// How long each of these takes, in turns: the medians. Each is repeated in its turn.
pub fn in_turns<const N: usize>(rounds: usize, work: [(u32, &dyn Fn()); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for ((repeats, work), times) in work.iter().zip(&mut times) {
            let start = now();
            (0..*repeats).for_each(|_| work());
            times.push((now() - start) / *repeats);
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}
