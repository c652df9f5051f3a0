//! A real Kubernetes control plane for the tests, without containers: etcd, the
//! API server, the controller manager, kubectl and Helm are built from their Go
//! modules (`tests/cluster`) and run as child processes on loopback.
//!
//! A test asks for what it needs and returns early without it:
//!
//! ```ignore
//! let Some(cluster) = support::cluster() else { return };
//! let namespace = cluster.namespace();
//! namespace.apply(MANIFEST).ok();
//! ```
//!
//! `None` means that Go is not installed; with `CI` set in the environment that is
//! a failure. Everything here panics when it cannot do its work: in a test that is
//! the clearest answer. With `GAPLESS_TEST_KEEP` set, logs and data of the control
//! plane stay on disk after the run, and their directory is printed. With
//! `GAPLESS_TEST_KUBERNETES=1.30`, the control plane and kubectl are of that release,
//! the oldest that the chart admits. With `GAPLESS_TEST_HELM`, another Helm, such as one of version 3, is used in place of the
//! bench's own.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program compiles this module for itself and uses a part of it"
)]

pub mod argo;
pub mod around;
pub mod audit;
pub mod bench;
pub mod browser;
pub mod client;
pub mod control_plane;
pub mod crds;
pub mod deployment;
pub mod fixtures;
pub mod flagger;
pub mod gapless;
pub mod kubelet;
pub mod lab;
pub mod load;
pub mod namespace;
pub mod openreports;
pub mod page;
pub mod pattern;
pub mod process;
pub mod program;
pub mod ran;
pub mod service;
pub mod simulated;
pub mod stand_in;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bench::{Bench, Unavailable};
pub use control_plane::Cluster;
pub use gapless::Gapless;
pub use lab::Lab;

/// The control plane that the tests of this program share, booted when it is first asked
/// for. Another test may have installed gapless in it: namespaces with the label
/// `gapless.dev/profile=off` notice nothing of that.
/// `None`: Go is missing, and the test is to return early.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Result<Cluster, Unavailable>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let bench = Bench::build()?;
        Cluster::boot(bench, &[]).map_err(Unavailable::Failed)
    });
    cluster.as_ref().map_err(skip).ok()
}

/// A control plane of one's own, which ends when it is dropped. Its API server gets
/// these further arguments. `None` as for [`cluster`].
pub fn own_cluster(apiserver_arguments: &[String]) -> Option<Cluster> {
    let cluster = Bench::build()
        .and_then(|bench| Cluster::boot(bench, apiserver_arguments).map_err(Unavailable::Failed));
    cluster.map_err(|why| skip(&why)).ok()
}

/// The same, of the newest release whatever the environment says.
pub fn own_newest_cluster() -> Option<Cluster> {
    let cluster =
        Bench::build_newest().and_then(|bench| Cluster::boot(bench, &[]).map_err(Unavailable::Failed));
    cluster.map_err(|why| skip(&why)).ok()
}

/// What [`argo::Argo::start`] starts. `None` as for [`cluster`].
pub fn argo_programs() -> Option<[std::path::PathBuf; 2]> {
    argo::Argo::build().map_err(|why| skip(&why)).ok()
}

/// What [`flagger::Flagger::start`] starts. `None` as for [`cluster`].
pub fn flagger_program() -> Option<std::path::PathBuf> {
    flagger::Flagger::build().map_err(|why| skip(&why)).ok()
}

/// A whole node, brought up for this call. `None`: the machine lacks something for
/// it, and the test is to return early.
#[track_caller]
pub fn lab() -> Option<Lab> {
    Bench::build_newest().and_then(Lab::up).map_err(|why| skip(&why)).ok()
}

/// A browser of one's own. `None`: there is none, and the test is to return early.
#[track_caller]
pub fn browser() -> Option<browser::Browser> {
    browser::Browser::start().map_err(|why| skip(&why)).ok()
}

/// Lets one test after another run that measures, or keeps the whole machine busy by
/// itself. The harness takes tests in the order of their names, so that of a module of
/// such tests one runs and the next one waits, in the place of another test.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that the test is skipped, or panics if that must not be.
#[track_caller]
fn skip(why: &Unavailable) {
    match why {
        Unavailable::Missing(why) if std::env::var_os("CI").is_none() => {
            notice(&format!("skipped {}: {why}", test_name()));
        }
        Unavailable::Missing(why) | Unavailable::Failed(why) => panic!("{why}"),
    }
}

/// Asks again and again until there is an answer, and returns it.
///
/// # Panics
/// If there is none within a minute; `what` says what was waited for, and `ask`
/// returns in its error what it saw instead.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if Instant::now() > deadline => {
                panic!("waited a minute for {what}; last seen:\n{seen}")
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Writes to the real standard error. The test harness swallows what `eprintln!`
/// prints unless the test fails.
pub fn notice(text: &str) {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The name of the running test: the harness names its threads so.
pub fn test_name() -> String {
    let thread = thread::current();
    thread.name().unwrap_or("test").to_owned()
}
