//! Child processes that never outlive the test process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::bench::Bench;

/// A program that runs until it is told to end, at the latest when this test
/// process ends: in whatever way it ends, the kernel closes its end of the pipe
/// that `tied` (see `tests/cluster/tied.go`) reads, and `tied` ends the program.
pub struct Tied {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Tied {
    /// Starts a command made by [`tied`], its standard error appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Tied> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command.stderr(file).spawn()?;
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Tied { name, log: log.to_owned(), child })
    }

    /// The name of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of `tied`, which passes SIGTERM and SIGINT on.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The underlying process, for its standard output.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The exit status if it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end, without asking for it. `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.exit_status();
            if status.is_some() || Instant::now() > deadline {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Says that it has ended although it should run, with the end of its log.
    pub fn check_running(&mut self) -> Result<(), String> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => Err(self.report(&format!("ended with {status}"))),
        }
    }

    /// What happened to it, with the end of its log.
    pub fn report(&self, what_happened: &str) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        format!("{} {what_happened}; the end of its log:\n{tail}", self.name)
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        // The end of its standard input is what `tied` waits for; it takes two
        // seconds at most for its own part.
        drop(self.child.stdin.take());
        if self.wait(Duration::from_secs(10)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command for [`Tied::start`], its standard output thrown away unless told otherwise.
/// When this process ends, `remove` is removed as soon as the command is gone; not when
/// the command ends by itself.
pub fn tied(bench: &Bench, home: &Path, remove: Option<&Path>, program: &Path) -> Command {
    let mut command = isolated(&bench.program, home);
    command.arg("tied");
    if let Some(directory) = remove {
        command.arg("--remove").arg(directory);
    }
    command.arg(program);
    // A group of its own: Ctrl-C, or a kill of the test's whole group, must not take
    // `tied` away before it has done its work.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// A command that sees nothing of the user's own configuration: proxies,
/// `KUBECONFIG`, `ETCD_*`, `HELM_*`, files in the home directory.
pub fn isolated(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("TMPDIR", home);
    // PATH for editors; the other is where a build with coverage writes to.
    for kept in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Sends a signal, named as `kill` names it: `TERM`, `KILL`.
pub fn signal(name: &str, pid: u32) {
    // The shell's own kill: the program of that name is not everywhere.
    let kill = Command::new("sh")
        .args([OsStr::new("-c"), OsStr::new("kill -s \"$0\" \"$1\"")])
        .args([name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    // Not successful: the process is gone already, which the caller will notice.
    kill.expect("sh can be run");
}
