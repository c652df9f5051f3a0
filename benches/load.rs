//! `gapless serve` under load, beside a bare axum handler behind the same TLS stack and
//! an empty webhook in Go, all called by the same client in turns; and what creating a
//! Deployment through a real API server takes without webhooks, with the empty one, with
//! gapless, and with its policies. See README.md.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot do its work is best ended"
)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/process.rs"]
mod process;
#[path = "support/reviews.rs"]
mod reviews;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ::gapless::export;
use ::gapless::policy::Policy;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use process::Server;
use reviews::{Case, cases, deployment, policy};
use support::bench::{GoModule, Unavailable};
use support::namespace::Namespace;
use support::{Cluster, Gapless, eventually, gapless};

const GO: GoModule = GoModule {
    directory: "benches/empty-webhook",
    program: "empty-webhook",
    name: "the empty webhook",
    takes: "a minute",
};

/// How much is measured.
struct Plan {
    sizes: &'static [&'static str],
    connections: &'static [usize],
    clients: &'static [usize],
    rounds: usize,
    duration: Duration,
}

const FULL: Plan = Plan {
    sizes: &["3 KB", "60 KB"],
    connections: &[1, 16, 64, 500],
    clients: &[1, 16],
    rounds: 5,
    duration: Duration::from_secs(2),
};

/// Enough to see that all of it works.
const SHORT: Plan = Plan {
    sizes: &["3 KB"],
    connections: &[1, 16],
    clients: &[1],
    rounds: 1,
    duration: Duration::from_millis(200),
};

/// What all servers and the client use.
struct Files {
    directory: tempfile::TempDir,
    go: PathBuf,
}

/// What the client says of its calls; times are in microseconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    answered: u32,
    per_second: f64,
    p50: f64,
    p99: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, certificate, key] = &arguments[..]
        && mode == "--bare"
    {
        return bare::serve(certificate, key);
    }
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let plan = if has("--test") || !has("--bench") { SHORT } else { FULL };
    let go = match GO.build() {
        Ok(go) => go,
        Err(Unavailable::Missing(why)) if std::env::var_os("CI").is_none() => {
            return println!("skipped: {why}");
        }
        Err(Unavailable::Missing(why) | Unavailable::Failed(why)) => panic!("{why}"),
    };
    let files = Files { directory: tempfile::tempdir().expect("a directory"), go };
    files.make_certificates();
    // Either part by its name, or both.
    let is_asked_for = |part: &str| has(part) || !["direct", "api-server"].into_iter().any(has);
    if is_asked_for("direct") {
        directly(&files, &plan);
    }
    if is_asked_for("api-server") {
        through_the_api_server(&files, &plan);
    }
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make_certificates(&self) {
        let mut certs = Command::new(env!("CARGO_BIN_EXE_gapless"));
        certs.args(["certs", "--dns", "127.0.0.1", "--out"]).arg(self.path("certs")).stdout(Stdio::null());
        assert!(certs.status().expect("gapless can be run").success(), "no certificates");
    }

    fn ca(&self) -> PathBuf {
        self.path("certs/ca.crt")
    }

    /// Starts a server that is told of the certificate and its key in the end.
    fn server(&self, name: &str, program: &Path, arguments: &[&str]) -> Server {
        let mut command = Command::new(program);
        let pair = ["certs/tls.crt", "certs/tls.key"].map(|name| self.path(name));
        match name {
            "gapless" => {
                command.args(arguments).arg("--tls-cert").arg(&pair[0]).arg("--tls-key").arg(&pair[1])
            }
            _ => command.args(arguments).args(&pair),
        };
        Server::start(command, &self.path(&format!("{name}.log")))
    }

    /// Has the client call this URL.
    fn call(
        &self,
        url: &str,
        ca: &Path,
        body: &Path,
        connections: usize,
        options: &[&str],
        plan: &Plan,
    ) -> Calls {
        let mut client = Command::new(&self.go);
        client.arg("call").arg("-ca").arg(ca).arg("-body").arg(body);
        client.args([
            "-connections",
            &connections.to_string(),
            "-for",
            &format!("{}ms", plan.duration.as_millis()),
        ]);
        let output =
            client.args(options).arg(url).stderr(Stdio::inherit()).output().expect("the client can be run");
        assert!(output.status.success(), "a call of {url} fails");
        serde_json::from_slice(&output.stdout).expect("the client's report")
    }
}

/// A server and what it is asked.
struct Target {
    name: &'static str,
    path: &'static str,
    server: Server,
    /// The memory before the first call.
    idle: f64,
    answered: u32,
}

const BARE: &str = "bare axum";
const EMPTY: &str = "empty Go webhook";

/// The medians of some rounds.
struct Measured {
    cpu: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
    peak: f64,
}

fn directly(files: &Files, plan: &Plan) {
    let gapless = Path::new(env!("CARGO_BIN_EXE_gapless"));
    let this = std::env::current_exe().expect("this program");
    let serve = ["serve", "--bind", "127.0.0.1:0", "--ops-bind", "127.0.0.1:0"];
    let mut targets: Vec<Target> = [
        (BARE, "/validate", files.server("bare", &this, &["--bare"])),
        (EMPTY, "/", files.server("empty", &files.go, &["serve"])),
        ("gapless validate", "/validate", files.server("gapless", gapless, &serve)),
        ("gapless mutate", "/mutate", files.server("gapless", gapless, &serve)),
    ]
    .map(|(name, path, server)| Target { name, path, idle: server.memory(), server, answered: 0 })
    .into();

    let cases = cases(&policy());
    for size in plan.sizes {
        let case = cases.iter().find(|case| case.name == *size && case.operation == "UPDATE");
        let Case { body, .. } = case.expect("a case of this size");
        let file = files.path("body.json");
        fs::write(&file, body).expect("a file");
        println!("\nUPDATE of a Deployment of {size}, a body of {:.1} KB:\n", body.len() as f64 / 1e3);
        println!(
            "| calls at once | server | CPU a review | / Go | reviews/s | / Go | p50 | p99 | / bare | most memory |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for &connections in plan.connections {
            let measured = in_turns(files, plan, &mut targets, &file, connections);
            let of = |name: &str| {
                &measured[targets.iter().position(|target| target.name == name).expect("a target")]
            };
            let (go, bare) = (of(EMPTY), of(BARE));
            for (target, it) in targets.iter().zip(&measured) {
                println!(
                    "| {connections} | {} | {:.0} µs | {:.2} x | {:.0} | {:.2} x | {:.2} ms | {:.2} ms | {:.2} x | {:.0} MiB |",
                    target.name,
                    it.cpu,
                    it.cpu / go.cpu,
                    it.per_second,
                    it.per_second / go.per_second,
                    it.p50 / 1e3,
                    it.p99 / 1e3,
                    it.p99 / bare.p99,
                    it.peak,
                );
            }
        }
    }
    println!("\n| server | memory idle | after | reviews in between |\n| --- | --- | --- | --- |");
    for Target { name, server, idle, answered, .. } in &targets {
        println!("| {name} | {idle:.1} MiB | {:.1} MiB | {answered} |", server.memory());
    }
}

/// Each server in each round, so that a busy machine slows all of them down.
fn in_turns(
    files: &Files,
    plan: &Plan,
    targets: &mut [Target],
    body: &Path,
    connections: usize,
) -> Vec<Measured> {
    let mut rounds: Vec<Vec<(f64, Calls)>> = targets.iter().map(|_| Vec::new()).collect();
    targets.iter().for_each(|target| target.server.forget_peak());
    for _ in 0..plan.rounds {
        for (target, rounds) in targets.iter_mut().zip(&mut rounds) {
            let url = format!("{}{}", target.server.url, target.path);
            let before = target.server.cpu();
            let calls = files.call(&url, &files.ca(), body, connections, &[], plan);
            let cpu = target.server.cpu() - before;
            target.answered += calls.answered;
            rounds.push((cpu.as_secs_f64() * 1e6 / f64::from(calls.answered), calls));
        }
    }
    let measured = rounds.iter().zip(targets).map(|(rounds, target)| Measured {
        cpu: median(rounds.iter().map(|(cpu, _)| *cpu)),
        per_second: median(rounds.iter().map(|(_, calls)| calls.per_second)),
        p50: median(rounds.iter().map(|(_, calls)| calls.p50)),
        p99: median(rounds.iter().map(|(_, calls)| calls.p99)),
        peak: target.server.peak(),
    });
    measured.collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Server-side dry runs in namespaces about which the API server asks nobody, the empty
/// webhook, or gapless, and which it judges by policies of its own.
fn through_the_api_server(files: &Files, plan: &Plan) {
    let Some(cluster) = &support::own_cluster(&[]) else { return };
    let empty = files.server("empty", &files.go, &["serve"]);
    for configuration in configurations_of(&empty, &fs::read(files.ca()).expect("the CA")) {
        cluster.kubectl(["create", "-f", "-"]).stdin(configuration.to_string()).ok();
    }
    let running = Gapless::start(cluster, [""; 0]);
    // It waits until they take effect, and those of the empty one are older.
    gapless::install(cluster, &running, "");
    let (off, production) = (("gapless.dev/profile", "off"), ("gapless.dev/profile", "production"));
    let namespaces = [
        ("none", cluster.namespace_labelled(&[off])),
        ("none, policies", cluster.namespace_labelled(&[off, POLICIES])),
        (EMPTY, cluster.namespace_labelled(&[off, ("webhook", "empty")])),
        ("gapless", cluster.namespace_labelled(&[production])),
        ("gapless, policies", cluster.namespace_labelled(&[production, POLICIES])),
    ];
    add_policies(cluster, &namespaces[1].1);

    let body = files.path("deployment.json");
    fs::write(&body, manifest().to_string()).expect("a file");
    println!("\nCREATE through the API server, as a dry run, a mutating and a validating webhook:\n");
    println!(
        "| clients | webhooks | creates/s | / none | p50 | above none | p99 |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for &clients in plan.clients {
        let mut rounds: [Vec<Calls>; 5] = Default::default();
        for _ in 0..plan.rounds {
            for ((_, namespace), rounds) in namespaces.iter().zip(&mut rounds) {
                let path = format!("/apis/apps/v1/namespaces/{}/deployments?dryRun=All", namespace.name);
                let options = ["-status", "201", "-token", "admin-token"];
                let url = format!("{}{path}", cluster.server());
                let ca = cluster.file("certs/apiserver.crt");
                rounds.push(files.call(&url, &ca, &body, clients, &options, plan));
            }
        }
        let of = |field: fn(&Calls) -> f64, index: usize| median(rounds[index].iter().map(field));
        let (per_second, p50) =
            ((|calls| calls.per_second) as fn(&Calls) -> f64, (|calls| calls.p50) as fn(&Calls) -> f64);
        for (index, (name, _)) in namespaces.iter().enumerate() {
            println!(
                "| {clients} | {name} | {:.0} | {:.2} x | {:.2} ms | {:.2} ms | {:.2} ms |",
                of(per_second, index),
                of(per_second, index) / of(per_second, 0),
                of(p50, index) / 1e3,
                (of(p50, index) - of(p50, 0)) / 1e3,
                of(|calls| calls.p99, index) / 1e3,
            );
        }
    }
}

/// The label of namespaces with policies.
const POLICIES: (&str, &str) = ("policies", "yes");

/// The exported policies of production for namespaces with that label, once they take effect.
fn add_policies(cluster: &Cluster, namespace: &Namespace) {
    let policy = Policy::new("production").expect("a profile");
    for mut document in export::documents(&policy, export::Form::Api) {
        if let Some(selector) = document.pointer_mut("/spec/matchConstraints/namespaceSelector") {
            *selector = json!({"matchLabels": {POLICIES.0: POLICIES.1}});
        }
        cluster.kubectl(["create", "-f", "-"]).stdin(document.to_string()).ok();
    }
    let mut denied = manifest();
    denied["spec"]["revisionHistoryLimit"] = json!(0);
    eventually("the policies", || {
        let output = namespace.create(&denied.to_string()).args(["--dry-run=server"]).run();
        if output.status.success() { Err(output.to_string()) } else { Ok(()) }
    });
}

/// Both kinds, for the namespaces with a label.
fn configurations_of(server: &Server, ca: &[u8]) -> [Value; 2] {
    ["Mutating", "Validating"].map(|kind| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": "empty"},
            "webhooks": [{
                "name": "empty.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {"url": server.url, "caBundle": BASE64_STANDARD.encode(ca)},
                "namespaceSelector": {"matchLabels": {"webhook": "empty"}},
                "rules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
                    "operations": ["CREATE", "UPDATE"],
                }],
            }],
        })
    })
}

/// A Deployment of 3 KB, as somebody would write it.
fn manifest() -> Value {
    let mut deployment = deployment(1, 30, "v1");
    deployment["metadata"] = json!({"generateName": "bench-", "labels": {"app": "app"}});
    deployment
}
