//! `gapless serve` while the files of its certificate change.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::reviews;
use crate::support::program::{Connection, Program, client_config, eventually, refusal};

/// A Secret in a directory, as the kubelet mounts it, and the CA that signs what
/// is in it.
struct Mounted {
    directory: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
    versions: AtomicU64,
}

/// A certificate and its key.
struct Pair {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Mounted {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let mounted = Mounted {
            directory: tempfile::tempdir().expect("a directory"),
            ca: CertifiedIssuer::self_signed(params, key).expect("a CA"),
            versions: AtomicU64::new(0),
        };
        for name in ["tls.crt", "tls.key"] {
            let link = mounted.directory.path().join(name);
            symlink(format!("..data/{name}"), link).expect("a link");
        }
        mounted
    }

    /// A new pair that is valid until the end of this year.
    fn issue(&self, last_year: i32) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        params.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        Pair {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// Exchanges both files at once: they are links through the link `..data`. The
    /// old directory goes.
    fn publish(&self, certificate: &str, key: &str) {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        let at = |name: &str| self.directory.path().join(name);
        let (version, old) = (format!("..{}", number + 1), at(&format!("..{number}")));
        fs::create_dir(at(&version)).expect("a directory");
        fs::write(at(&version).join("tls.crt"), certificate).expect("a file");
        fs::write(at(&version).join("tls.key"), key).expect("a file");
        symlink(&version, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("an exchange");
        if old.exists() {
            fs::remove_dir_all(old).expect("a directory");
        }
    }

    fn start(&self) -> Program {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let (certificate, key) = (path("tls.crt"), path("tls.key"));
        Program::start(&["--tls-cert", &certificate, "--tls-key", &key, "--tls-poll-interval", "20ms"])
    }

    fn connect(&self, program: &Program) -> Connection {
        let config = client_config(std::slice::from_ref(self.ca.der()));
        Connection::open(program.webhooks(), config).expect("a connection")
    }
}

#[track_caller]
fn eventually_counts(program: &Program, result: &str, count: u64) {
    let line = format!("gapless_certificate_reloads_total{{result=\"{result}\"}} {count}");
    eventually(&line, || program.ops("/metrics").text().lines().any(|it| it == line));
}

/// 2060-12-31T00:00:00Z in seconds since 1970 for 2060, and so on.
#[track_caller]
fn assert_valid_until(program: &Program, last_year: i32) {
    let until: jiff::Timestamp = format!("{last_year}-12-31T00:00:00Z").parse().expect("a time");
    let line =
        format!("gapless_certificate_not_after_timestamp_seconds{{role=\"leaf\"}} {}", until.as_second());
    let metrics = program.ops("/metrics").text();
    assert!(metrics.lines().any(|it| it == line), "not {line}:\n{metrics}");
}

/// Ends the clients, also if the test fails: it would wait for them.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients like the API server: they keep connections, open new ones, and never
/// try again. Half of a new pair comes before the whole of it.
#[test]
fn no_call_is_lost_to_a_new_certificate() {
    const CLIENTS: usize = 4;
    const ROUNDS: i32 = 8;
    let mounted = Mounted::new();
    let mut old = mounted.issue(2060);
    mounted.publish(&old.certificate_pem, &old.key_pem);
    let program = mounted.start();
    eventually_counts(&program, "success", 0);
    eventually_counts(&program, "failure", 0);

    let (has_ended, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let body = reviews::body(&reviews::sound());
    // One connection all the time, and beside it one for a few calls.
    let client = || {
        let mut kept = mounted.connect(&program);
        let mut leaves = vec![kept.peer()];
        while !has_ended.load(Ordering::Relaxed) {
            let mut fresh = mounted.connect(&program);
            if leaves.last() != Some(&fresh.peer()) {
                leaves.push(fresh.peer());
            }
            for _ in 0..3 {
                assert_eq!(kept.post("/mutate", &body).status, 200);
                assert_eq!(fresh.post("/validate", &body).status, 200);
                answered.fetch_add(2, Ordering::Relaxed);
            }
        }
        leaves
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let end = End(&has_ended);
        for round in 1..=ROUNDS {
            let count = u64::from(round.unsigned_abs());
            let new = mounted.issue(2060 + round);
            mounted.publish(&new.certificate_pem, &old.key_pem);
            eventually_counts(&program, "failure", count);
            assert_eq!(mounted.connect(&program).peer(), old.certificate);
            assert_valid_until(&program, 2060 + round - 1);

            mounted.publish(&new.certificate_pem, &new.key_pem);
            eventually_counts(&program, "success", count);
            assert_eq!(mounted.connect(&program).peer(), new.certificate);
            assert_valid_until(&program, 2060 + round);
            let before = answered.load(Ordering::Relaxed);
            eventually("more calls", || answered.load(Ordering::Relaxed) > before + 50);
            old = new;
        }
        drop(end);
        for client in clients {
            let leaves = client.join().expect("a client that lost no call");
            assert!(leaves.len() > 3, "it has seen several certificates: {}", leaves.len());
        }
    });
    let log = program.log();
    let refused = "the certificate has changed and cannot be used";
    assert_eq!(log.matches(refused).count(), ROUNDS.unsigned_abs() as usize, "once for each content: {log}");
    assert_eq!(log.matches("the certificate has changed and is served").count(), 8, "{log}");
}

#[test]
fn what_cannot_be_served_changes_nothing() {
    let mounted = Mounted::new();
    let old = mounted.issue(2060);
    mounted.publish(&old.certificate_pem, &old.key_pem);
    let program = mounted.start();
    let new = mounted.issue(2061);
    let expired = mounted.issue(2020);
    let half = &new.certificate_pem[..new.certificate_pem.len() / 2];
    for (number, (certificate, key, problem)) in (1..).zip([
        (new.certificate_pem.as_str(), old.key_pem.as_str(), "does not belong to the first certificate"),
        (half, new.key_pem.as_str(), "this is no PEM file of certificates"),
        (&expired.certificate_pem, &expired.key_pem, "the certificate has expired at 2020-12-31T00:00:00Z"),
        ("", "", "there is no certificate"),
    ]) {
        mounted.publish(certificate, key);
        eventually_counts(&program, "failure", number);
        assert!(program.log().contains(problem), "{problem}: {}", program.log());
    }
    fs::remove_file(mounted.directory.path().join("..data")).expect("a link");
    eventually_counts(&program, "failure", 5);
    // Each of them once, however often it is looked at.
    thread::sleep(Duration::from_millis(200));
    eventually_counts(&program, "failure", 5);
    assert_eq!(program.log().matches("cannot be used").count(), 5, "{}", program.log());

    assert_eq!(mounted.connect(&program).peer(), old.certificate);
    assert_eq!(program.ops("/readyz").status, 200);
    assert_valid_until(&program, 2060);
    eventually_counts(&program, "success", 0);
}

#[test]
fn a_pod_that_begins_too_late_recovers() {
    let mounted = Mounted::new();
    let expired = mounted.issue(2020);
    mounted.publish(&expired.certificate_pem, &expired.key_pem);
    let program = mounted.start();
    let refusal = program.ops("/readyz");
    assert_eq!(refusal.status, 503);
    assert_eq!(refusal.text(), "not ready: the certificate has expired at 2020-12-31T00:00:00Z");
    let new = mounted.issue(2060);
    mounted.publish(&new.certificate_pem, &new.key_pem);
    eventually("readiness", || program.ops("/readyz").status == 200);
}

#[test]
fn the_interval_must_be_a_time() {
    let output = refusal(&["--tls-poll-interval", "0s"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("write more than 0, such as 2s"), "{stderr}");
}

#[test]
fn lifetimes_that_cannot_be_met_are_refused() {
    let required =
        "--self-managed-certificates --certificate-secret s --certificate-host h --webhook-configurations w";
    let mut arguments: Vec<_> = required.split(' ').collect();
    arguments.extend(["--certificate-lifetime", "2h", "--ca-lifetime", "1h"]);
    let output = refusal(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let why = "error: --certificate-lifetime 7200s is longer than --ca-lifetime 3600s: ";
    assert!(stderr.contains(why), "{stderr}");
}
