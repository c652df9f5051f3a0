//! Runs gapless outside the cluster and installs its chart, which points the API
//! server at it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::control_plane::Cluster;
use super::deployment::{deployment, deployment_with};
use super::eventually;
use super::fixtures::repository_file;
use super::process::{Tied, signal, tied};

/// It is ready within a tenth of a second; a busy machine gets more.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The namespace that the chart is installed into.
pub const RELEASE_NAMESPACE: &str = "gapless-system";

/// The name of both webhook configurations there.
pub const CONFIGURATIONS: &str = "gapless.gapless-system";

/// A running `gapless serve`. It ends when it is dropped, at the latest with this process.
pub struct Gapless {
    process: Tied,
    /// `https://127.0.0.1:PORT`, for the API server.
    pub webhooks: String,
    /// `http://127.0.0.1:PORT`, for probes and metrics.
    pub ops: String,
    /// PEM file of the CA that signed its certificate; `None` if it did not make one.
    pub ca: Option<PathBuf>,
}

impl Gapless {
    /// Starts `gapless serve` on free ports, with more arguments such as `--config FILE`,
    /// and waits until it has said where it listens. `KUBECONFIG` is the `admin`'s.
    ///
    /// # Panics
    /// With the end of its log, if it ends or stays silent.
    #[track_caller]
    pub fn start<I>(cluster: &Cluster, arguments: I) -> Gapless
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Gapless::start_as(cluster, "admin", arguments)
    }

    /// The same with another user's `KUBECONFIG`.
    #[track_caller]
    pub fn start_as<I>(cluster: &Cluster, user: &str, arguments: I) -> Gapless
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = cluster.file(&format!("gapless-{number}.log"));

        let program = Path::new(env!("CARGO_BIN_EXE_gapless"));
        let mut command = tied(cluster.bench(), &cluster.home(), None, program);
        command.args(["serve", "--bind", "127.0.0.1:0", "--ops-bind", "127.0.0.1:0"]);
        command.args(arguments);
        command.env("KUBECONFIG", cluster.kubeconfig(user));
        command.stdout(Stdio::piped());
        let has_certificate = command
            .get_args()
            .any(|argument| argument == "--tls-cert" || argument == "--self-managed-certificates");

        let mut process = Tied::start(command, &log).expect("gapless can be started");
        let lines = lines_of(&mut process);
        let deadline = Instant::now() + START_LIMIT;
        let mut line = |key: &str| {
            let text = next_value(&lines, key, deadline);
            text.unwrap_or_else(|| {
                process.wait(Duration::from_millis(200));
                let state = match process.exit_status() {
                    Some(status) => format!("ended with {status}"),
                    None => "runs".to_owned(),
                };
                panic!("{}", process.report(&format!("{state}, without a line `{key} ...`")))
            })
        };
        let webhooks = line("webhooks");
        let ops = line("ops");
        let ca = if has_certificate { None } else { Some(PathBuf::from(line("ca"))) };
        Gapless { process, webhooks, ops, ca }
    }

    /// Waits until it is.
    #[track_caller]
    pub fn is_ready(&self) {
        eventually("readiness", || match self.ops_get("/readyz") {
            (200, _) => Ok(()),
            (_, why) => Err(format!("{why}\n{}", self.log())),
        });
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends SIGTERM and does not wait: for its `--shutdown-delay` it serves on, and
    /// closes each connection with its next answer.
    pub fn begin_to_terminate(&self) {
        signal("TERM", self.process.id());
    }

    /// Sends SIGTERM, as the kubelet does, and waits for the end.
    ///
    /// # Panics
    /// If it still runs after a minute.
    #[track_caller]
    pub fn terminate(mut self) -> ExitStatus {
        signal("TERM", self.process.id());
        let Some(status) = self.process.wait(Duration::from_secs(60)) else {
            panic!("{}", self.process.report("still runs a minute after SIGTERM"));
        };
        status
    }

    /// GET on the ops port, for example `/metrics`: status code and body.
    #[track_caller]
    pub fn ops_get(&self, path: &str) -> (u16, String) {
        let address = self.ops.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the ops port accepts connections");
        stream.set_read_timeout(Some(START_LIMIT)).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .expect("the ops port takes a request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the ops port answers");
        let (head, body) = response.split_once("\r\n\r\n").expect("an HTTP response has a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("an HTTP response has a status code"), body.to_owned())
    }
}

/// Its standard output, line by line, read to the end so that it never blocks.
pub(super) fn lines_of(process: &mut Tied) -> Receiver<String> {
    let stdout = process.child().stdout.take().expect("standard output is a pipe");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Once nobody listens any more, lines are only read.
            let _ = sender.send(line);
        }
    });
    lines
}

/// The rest of the next line that starts with `key` and a space. `None`: the
/// output has ended, or time is up.
pub(super) fn next_value(lines: &Receiver<String>, key: &str, deadline: Instant) -> Option<String> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).ok()?;
        if let Some(value) = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' ')) {
            return Some(value.trim().to_owned());
        }
    }
}

/// Installs the chart so that the API server calls `gapless`, with `extra_values`
/// (YAML, may be empty) on top, and waits until both webhooks take effect.
#[track_caller]
pub fn install(cluster: &Cluster, gapless: &Gapless, extra_values: &str) {
    cluster
        .helm(["install", "gapless", "--create-namespace"])
        .args(chart_arguments(gapless))
        .stdin(extra_values)
        .ok();
    wait_for_webhooks(cluster);
}

/// Upgrades the release that [`install`] made, to this gapless and these values. Does
/// not wait: only the test knows what will be different, see [`eventually`].
#[track_caller]
pub fn upgrade(cluster: &Cluster, gapless: &Gapless, extra_values: &str) {
    cluster.helm(["upgrade", "gapless"]).args(chart_arguments(gapless)).stdin(extra_values).ok();
}

/// Removes the release and waits until no webhook takes effect any more.
#[track_caller]
pub fn uninstall(cluster: &Cluster) {
    cluster.helm(["uninstall", "gapless", "--namespace", RELEASE_NAMESPACE]).ok();
    eventually("the end of the webhooks", || {
        let bad = try_create(cluster, &without_history());
        let good = try_create(cluster, &sound());
        if bad.status.success() && !good.stdout.contains("gapless.dev/injected") {
            Ok(())
        } else {
            Err(format!("{bad}\n{good}"))
        }
    });
}

/// What Helm is told after the release name; more values are read from standard input.
fn chart_arguments(gapless: &Gapless) -> Vec<String> {
    let ca = gapless.ca.as_ref().expect("gapless made a certificate of its own");
    let chart = repository_file("charts/gapless");
    vec![
        chart.display().to_string(),
        "--namespace".to_owned(),
        RELEASE_NAMESPACE.to_owned(),
        "--set".to_owned(),
        format!("webhooks.url={}", gapless.webhooks),
        "--set-file".to_owned(),
        format!("webhooks.caBundle={}", ca.display()),
        "--values".to_owned(),
        "-".to_owned(),
    ]
}

/// The API server takes a second or two to act on a changed webhook configuration.
#[track_caller]
pub fn wait_for_webhooks(cluster: &Cluster) {
    eventually("the validating webhook", || {
        let bad = try_create(cluster, &without_history());
        if bad.stderr.contains("production.validate.gapless.dev") { Ok(()) } else { Err(bad.to_string()) }
    });
    eventually("the mutating webhook", || {
        let good = try_create(cluster, &sound());
        if good.stdout.contains("gapless.dev/injected") { Ok(()) } else { Err(good.to_string()) }
    });
}

/// What the production profile completes.
fn sound() -> Value {
    deployment("probe")
}

/// What the production profile denies.
fn without_history() -> Value {
    deployment_with("probe", &json!({"revisionHistoryLimit": 0}))
}

/// A dry run in a namespace with the production profile, whatever the default is.
#[track_caller]
fn try_create(cluster: &Cluster, manifest: &Value) -> super::client::Output {
    const NAMESPACE: &str = r#"{
      "apiVersion": "v1",
      "kind": "Namespace",
      "metadata": {"name": "gapless-probe", "labels": {"gapless.dev/profile": "production"}}
    }"#;
    cluster.kubectl(["apply", "--server-side", "-f", "-"]).stdin(NAMESPACE).ok();
    cluster
        .kubectl(["create", "--namespace", "gapless-probe", "--dry-run=server"])
        .args(["-o", "json", "-f", "-"])
        .stdin(manifest.to_string())
        .run()
}
