//! What it takes to know what stands around workloads: the memory of `gapless serve
//! --cluster-context` in a cluster with 40,000 objects, above what it takes without, until
//! it knows them; and how long a review takes with that knowledge, as a multiple of one
//! without. See README.md.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot do its work is best ended"
)]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "support/process.rs"]
mod process;
#[path = "support/reviews.rs"]
mod reviews;
#[path = "support/tls.rs"]
mod tls;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gapless::admission::{Phase, Terms, review};
use gapless::client::kubeconfig::{Choice, connect_to_watch};
use gapless::cluster::View;
use gapless::kubernetes::kind::Kind;
use gapless::observe::metrics::Metrics;
use gapless::surroundings::Around;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use clock::in_turns;
use cluster::{Cluster, Lists, large};
use process::Server;
use reviews::{cases, policy, terms};

/// How long the first lists may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let is_short = std::env::var_os("CI").is_some() || std::env::args().any(|argument| argument == "--test");
    let part = if is_short { 100 } else { 1 };
    let objects = || large().into_iter().map(|(name, object, count)| (name, object, count / part)).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let idle = serve(directory.path(), None);
    thread::sleep(Duration::from_millis(500));
    println!("without --cluster-context: {:.1} MiB, {:.1} at most", idle.memory(), idle.peak());
    for lists in [Lists::Streamed, Lists::InPages] {
        let cluster = Cluster::start(directory.path(), lists, objects());
        let start = Instant::now();
        let server = serve(directory.path(), Some(&cluster));
        wait_until_filled(&server);
        println!(
            "{lists:?}: {:.1} MiB above that, {:.1} at most, after {:.1} s, of which {:.1} s of a processor",
            server.memory() - idle.memory(),
            server.peak() - idle.peak(),
            start.elapsed().as_secs_f64(),
            server.cpu().as_secs_f64(),
        );
    }
    let cluster = Cluster::start(directory.path(), Lists::Streamed, objects());
    reviews_with_a_full_view(&cluster, if is_short { 1 } else { 51 });
}

fn serve(directory: &Path, cluster: Option<&Cluster>) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
    command.args(["serve", "--bind", "127.0.0.1:0", "--ops-bind", "127.0.0.1:0", "--log", "warn"]);
    if let Some(cluster) = cluster {
        command.arg("--cluster-context").env("KUBECONFIG", &cluster.kubeconfig);
    }
    Server::start(command, &directory.join("log"))
}

/// Until nothing has been read for a while, since the lists came.
fn wait_until_filled(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    let mut last = Duration::ZERO;
    loop {
        thread::sleep(Duration::from_secs(1));
        let cpu = server.cpu();
        if cpu == last {
            return;
        }
        assert!(Instant::now() < deadline, "the lists never end");
        last = cpu;
    }
}

/// How long a review takes with a full view, as a multiple of one that knows nothing.
fn reviews_with_a_full_view(cluster: &Cluster, rounds: usize) {
    let policy = policy();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let choice = Choice { kubeconfig: Some(&cluster.kubeconfig), context: None };
    let connection = runtime.block_on(connect_to_watch(choice)).expect("a connection");
    let view = View::follow(runtime, &connection.client, &Arc::new(Metrics::new(&policy))).expect("a thread");
    let deadline = Instant::now() + PATIENCE;
    let object = json!({"metadata": {"name": "application-1"}, "spec": {"template": {"metadata": {"labels": {
        "app": "application-1", "app.kubernetes.io/component": "server"}}}}});
    let around = |object: &Value| view.around(Kind::Deployment, object, Some("team-0"));
    while around(&object).awaits_autoscaler || around(&object).services.is_empty() {
        assert!(Instant::now() < deadline, "the view is never filled");
        thread::sleep(Duration::from_millis(100));
    }
    for case in cases(&policy).iter().filter(|case| matches!(case.name, "3 KB" | "60 KB")) {
        for phase in [Phase::Mutate, Phase::Validate] {
            let answer = |terms: Terms| {
                let review = review(terms, phase, &case.body).expect("a decision");
                drop(review.response.to_json().expect("an answer"));
            };
            let with = || answer(Terms { surroundings: &view, ..terms(&policy) });
            let without = || answer(terms(&policy));
            let [with, without] = in_turns(rounds, [(20, &with), (20, &without)]);
            let ratio = with.as_secs_f64() / without.as_secs_f64();
            println!("{} {}, {}: {ratio:.2} x", case.operation, case.name, phase.as_str());
        }
    }
}
