//! Runs kubectl and Helm as a user would, and looks at what they say.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::bench::Bench;
use super::control_plane::Cluster;
use super::process::{isolated, signal};

/// No command of a test takes that long, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One command line of kubectl or Helm, still to be run.
#[must_use = "nothing happens before run, ok or fails"]
pub struct Invocation<'a> {
    cluster: &'a Cluster,
    command: Command,
    shown: String,
    input: Option<String>,
}

impl<'a> Invocation<'a> {
    /// `tool` is `kubectl`, under this or another name, or `helm`: the bench's own, or the `GAPLESS_TEST_HELM` of
    /// whoever wants to see another Helm do the same. The user is `admin` unless [`Invocation::user`] says otherwise.
    pub(super) fn new(cluster: &'a Cluster, tool: &str) -> Invocation<'a> {
        let other = if tool == "helm" { std::env::var_os("GAPLESS_TEST_HELM") } else { None };
        let mut command = match &other {
            Some(helm) => isolated(Path::new(helm), &cluster.home()),
            None if tool == "helm" => isolated(Bench::with_helm(), &cluster.home()),
            None => isolated(&cluster.bench().program, &cluster.home()),
        };
        if other.is_none() {
            command.arg(tool);
        }
        let invocation = Invocation { cluster, command, shown: format!("$ {tool}"), input: None };
        invocation.user("admin")
    }

    /// Another program that reads `KUBECONFIG`, such as a plugin of kubectl.
    pub(super) fn of_program(cluster: &'a Cluster, program: &Path, shown: &str) -> Invocation<'a> {
        let command = isolated(program, &cluster.home());
        Invocation { cluster, command, shown: format!("$ {shown}"), input: None }.user("admin")
    }

    /// Adds arguments.
    pub fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        for argument in arguments {
            self.shown.push_str(&format!(" {}", argument.as_ref().to_string_lossy()));
            self.command.arg(argument);
        }
        self
    }

    /// Text for the standard input.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Another user: `team` has no rights but those that a test gives it.
    pub fn user(mut self, name: &str) -> Self {
        self.command.env("KUBECONFIG", self.cluster.kubeconfig(name));
        self
    }

    /// An environment variable, such as `EDITOR`.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it and returns whatever comes out.
    #[track_caller]
    pub fn run(mut self) -> Output {
        self.run_once()
    }

    #[track_caller]
    fn run_once(&mut self) -> Output {
        self.command.stdin(match &self.input {
            None => Stdio::null(),
            Some(text) => {
                let mut file = tempfile::tempfile().expect("a temporary file can be made");
                file.write_all(text.as_bytes()).expect("a temporary file can be written");
                file.rewind().expect("a temporary file can be rewound");
                Stdio::from(file)
            }
        });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.command.spawn().expect("the test bench can be run");
        let pid = child.id();

        let (done, outcome) = mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output()));
        let Ok(output) = outcome.recv_timeout(LIMIT) else {
            signal("KILL", pid);
            panic!("{}\nstill runs after {} s", self.shown, LIMIT.as_secs());
        };
        let output = output.expect("the output can be read");
        Output {
            shown: self.shown.clone(),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and panics, with all it said, unless it succeeds. `kubectl replace` has to
    /// be tried again where a controller wrote the status in between.
    #[track_caller]
    pub fn ok(mut self) -> Output {
        const CONFLICT: &str = "the object has been modified; please apply your changes";
        let mut output = self.run_once();
        for _ in 0..5 {
            if output.status.success() || !output.stderr.contains(CONFLICT) {
                break;
            }
            output = self.run_once();
        }
        assert!(output.status.success(), "this was to succeed:\n{output}");
        output
    }

    /// Runs it and panics, with all it said, if it succeeds.
    #[track_caller]
    pub fn fails(self) -> Output {
        let output = self.run();
        assert!(!output.status.success(), "this was to fail:\n{output}");
        output
    }
}

/// What a command said. `{}` shows all of it, with the command line.
#[derive(Debug)]
pub struct Output {
    shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: warnings and errors.
    pub stderr: String,
}

impl Output {
    /// The standard output of a command with `-o json`.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}):\n{self}"))
    }

    /// Whether the validating webhook of this profile denied the request.
    pub fn is_denied_by(&self, profile: &str) -> bool {
        let webhook = format!("admission webhook \"{profile}.validate.gapless.dev\" denied the request");
        !self.status.success() && self.stderr.contains(&webhook)
    }

    /// That it did so, because of this rule.
    #[track_caller]
    pub fn assert_denied(&self, profile: &str, rule: &str) {
        assert!(self.is_denied_by(profile), "{self}");
        assert!(self.stderr.contains(&format!("({rule})")), "{self}");
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.shown)?;
        writeln!(f, "{}", self.status)?;
        writeln!(f, "--- stdout\n{}", self.stdout)?;
        write!(f, "--- stderr\n{}", self.stderr)
    }
}
