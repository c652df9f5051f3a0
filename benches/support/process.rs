//! Servers, and what they take of the machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a tick of `/proc/PID/stat` is (proc(5): `USER_HZ`, 100 on Linux).
const TICK: Duration = Duration::from_millis(10);

/// A server. It is killed when it is dropped.
pub struct Server {
    child: Child,
    /// `https://127.0.0.1:PORT`
    pub url: String,
}

impl Server {
    /// Starts it and waits until it has said where it listens: `webhooks URL`.
    pub fn start(mut command: Command, log: &Path) -> Server {
        let log = fs::File::create(log).expect("a log file");
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).spawn().expect("the server can be started");
        let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
        let url =
            lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("webhooks ")?.to_owned()));
        let Some(url) = url else {
            // It has ended, or closed its output.
            let _ = child.kill();
            panic!("a server ends without a word: {:?}", child.wait());
        };
        Server { child, url }
    }

    /// The time that it has had of the processors so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server runs");
        // After the name in parentheses: state, ten others, utime, stime.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks: u32 = fields.map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
        TICK * ticks
    }

    /// The memory that it has now, in MiB.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS")
    }

    /// The most memory that it had since [`Server::forget_peak`], in MiB.
    pub fn peak(&self) -> f64 {
        self.status("VmHWM")
    }

    /// Begins anew with the peak (proc(5), `/proc/PID/clear_refs`). Where that may not
    /// be, the peak is that of the whole life.
    pub fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    fn status(&self, name: &str) -> f64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.expect("a figure") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
