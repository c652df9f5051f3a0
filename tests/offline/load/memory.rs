//! How much memory a process takes.

use std::fmt;
use std::fs;

use serde_json::Value;

use crate::support::fixtures::repository_file;

/// What gapless may take at most while it reviews nothing larger than 60 KB, whatever
/// else happens to it. That is half of what the chart gives it.
pub const USUAL_LIMIT: Memory = Memory::mib(128);

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    kib: usize,
}

impl Memory {
    pub const fn mib(mib: usize) -> Memory {
        Memory { kib: mib * 1024 }
    }

    /// The memory limit of a pod by the chart's default.
    pub fn of_pod() -> Memory {
        let values = repository_file("charts/gapless/values.yaml");
        let values = fs::read_to_string(values).expect("the chart's values");
        let values: Value = serde_saphyr::from_str(&values).expect("YAML");
        let limit = values["resources"]["limits"]["memory"].as_str().expect("a limit");
        Memory::mib(limit.strip_suffix("Mi").and_then(|mib| mib.parse().ok()).expect("a limit in MiB"))
    }

    /// What the process has now, without the pages of its file: in a debug build
    /// they are many, and the kernel takes them away before it kills anybody.
    pub fn now(process: u32) -> Memory {
        Memory { kib: status(process, "RssAnon") }
    }

    /// The most that it ever had, as far as it can be told from the outside: the
    /// peak of everything, less the pages of its file.
    pub fn peak(process: u32) -> Memory {
        Memory { kib: status(process, "VmHWM") - status(process, "RssFile") }
    }

    pub fn plus(self, other: Memory) -> Memory {
        Memory { kib: self.kib + other.kib }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.kib as f64 / 1024.0)
    }
}

/// A figure of `/proc/PID/status`, in KiB.
fn status(process: u32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{status}"))
}
