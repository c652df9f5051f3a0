//! `gapless serve` as a process: what it prints, TLS, signals, bad input.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tempfile::TempDir;

use super::reviews;
use crate::support::program::{Connection, Program, client_config, client_config_for, eventually, refusal};

/// A root CA, an intermediate one, and a certificate for loopback, in files as a
/// Secret has them.
struct Secret {
    directory: TempDir,
    root: CertificateDer<'static>,
}

impl Secret {
    fn new() -> Self {
        let ca_params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(ca_params("root"), key()).expect("a root");
        let intermediate =
            CertifiedIssuer::signed_by(ca_params("intermediate"), key(), &root).expect("an intermediate");
        let leaf_key = key();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let leaf = params.signed_by(&leaf_key, &intermediate).expect("a leaf");

        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text).expect("a file");
        write("tls.crt", leaf.pem() + &intermediate.pem());
        write("tls.key", leaf_key.serialize_pem());
        write("other.key", key().serialize_pem());
        Secret { root: root.der().clone(), directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// Writes a configuration file.
fn config(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("config.yaml");
    fs::write(&path, text).expect("a file");
    path
}

/// What a program says that ends with exit code 2 and says nothing else.
#[track_caller]
fn usage_error(arguments: &[&str]) -> String {
    let output = refusal(arguments);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    stderr
}

#[test]
fn says_where_it_listens() {
    let program = Program::start(&[]);
    let keys: Vec<_> = program.lines.iter().map(|line| line.split(' ').next().expect("a word")).collect();
    assert_eq!(keys, ["webhooks", "ops", "ca", "try:"]);
    assert!(program.line("webhooks").starts_with("https://127.0.0.1:"));
    assert!(program.line("ops").starts_with("http://127.0.0.1:"));
    assert_eq!(program.files(), [PathBuf::from(program.line("ca"))]);
    assert_eq!(program.ops("/readyz").status, 200);
    assert_eq!(program.ops("/livez").status, 200);
    let metrics = program.ops("/metrics").text();
    for role in ["ca", "leaf"] {
        let series = format!(r#"gapless_certificate_not_after_timestamp_seconds{{role="{role}"}} "#);
        assert!(metrics.contains(&series), "{metrics}");
    }
}

#[test]
fn an_address_for_all_is_printed_as_localhost() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let program = Program::start(&["--bind", address]);
        let port = program.webhooks().strip_prefix("localhost:").expect("localhost");
        for host in ["localhost", "127.0.0.1"] {
            let mut connection = Connection::open(&format!("{host}:{port}"), client_config(&program.ca()))
                .expect("a connection");
            assert_eq!(connection.post("/mutate", &reviews::body(&reviews::sound())).status, 200);
        }
    }
}

#[test]
fn the_printed_command_works_when_pasted() {
    let has_curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_curl {
        assert!(std::env::var_os("CI").is_none(), "curl is not installed");
        eprintln!("skipped: curl is not installed");
        return;
    }
    let program = Program::start(&[]);
    let output = Command::new("sh")
        .args(["-c", program.line("try:")])
        .env("NO_PROXY", "*")
        .output()
        .expect("sh can be run");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    let message = answer["response"]["status"]["message"].as_str().expect("a message");
    assert!(message.contains("(recreate-strategy)"), "{message}");
}

#[test]
fn speaks_tls_1_2_and_1_3_and_both_versions_of_http() {
    let program = Program::start(&[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_config_for(&program.ca(), &[version]);
        let mut connection = Connection::open(program.webhooks(), config).expect("a connection");
        assert_eq!(connection.tls_version(), Some(version.version));
        assert_eq!(connection.post("/mutate", &reviews::body(&reviews::sound())).status, 200);
    }
    for protocol in [b"h2".as_slice(), b"http/1.1"] {
        let mut config = client_config(&program.ca());
        config.alpn_protocols = vec![protocol.to_vec()];
        let connection = Connection::open(program.webhooks(), config).expect("a connection");
        assert_eq!(connection.alpn(), Some(protocol));
    }
}

#[test]
fn nobody_else_trusts_its_ca() {
    let program = Program::start(&[]);
    let other = Program::start(&[]);
    let refused = Connection::open(program.webhooks(), client_config(&other.ca()));
    let error = refused.err().expect("another CA").to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    eventually("a line in the log about it", || program.log().contains("a client refuses the TLS handshake"));
}

#[test]
fn decides_over_a_connection_that_stays_open() {
    let program = Program::start(&[]);
    let mut connection = program.connect();
    let sound = reviews::body(&reviews::sound());
    let first = connection.post("/mutate", &sound);
    assert_eq!(first.status, 200);
    assert_eq!(first.json()["response"]["patchType"], "JSONPatch");
    assert!(!first.closes());
    // Idle for as long as a test may be; the API server's pool waits for 90 s.
    assert!(connection.stays_open_for(Duration::from_millis(1500)));
    let denied = connection.post("/validate/production?timeout=2s", &reviews::body(&reviews::harmful()));
    assert_eq!(denied.json()["response"]["allowed"], false);
    // An error that comes after the body has been read leaves it open, too.
    assert_eq!(connection.post("/mutate", b"{").status, 400);
    assert_eq!(connection.post("/mutate", &sound).status, 200);
}

#[test]
fn an_answer_before_the_body_closes_the_connection() {
    let program = Program::start(&[]);
    let mut connection = program.connect();
    connection.begin_post("/mutate/NO-PROFILE", 100_000);
    let answer = connection.read().expect("an answer").expect("not the end");
    assert_eq!(answer.status, 404);
    assert!(answer.closes(), "else the client's next call on this connection is lost");
    assert!(connection.read().expect("an end").is_none());
}

#[test]
fn serves_the_chain_from_files() {
    let secret = Secret::new();
    let (certificate, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let program = Program::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert_eq!(program.lines.len(), 2);
    assert!(program.files().is_empty(), "no CA is written");
    // Only the root is trusted: the intermediate certificate has to be sent.
    let mut connection =
        Connection::open(program.webhooks(), client_config(std::slice::from_ref(&secret.root)))
            .expect("a chain");
    assert_eq!(connection.post("/mutate", &reviews::body(&reviews::sound())).status, 200);
    let metrics = program.ops("/metrics").text();
    assert!(metrics.contains(r#"gapless_certificate_not_after_timestamp_seconds{role="leaf"} "#));
    assert!(!metrics.contains(r#"role="ca""#));
}

#[test]
fn the_configuration_names_the_default_profile() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\ndefaultProfile: advisory\n";
    let path = config(directory.path(), text).display().to_string();
    let program = Program::start(&["--config", &path]);
    let answer = program.connect().post("/validate", &reviews::body(&reviews::harmful())).json();
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["auditAnnotations"]["profile"], "advisory");
}

#[test]
fn sigterm_loses_no_call() {
    let mut program = Program::start(&["--shutdown-delay", "3s"]);
    let sound = reviews::body(&reviews::sound());
    let (first_half, second_half) = sound.split_at(sound.len() / 2);
    let mut used = program.connect();
    assert!(!used.post("/mutate", &sound).closes());
    let mut idle = program.connect();
    idle.post("/mutate", &sound);
    let mut busy = program.connect();
    busy.begin_post("/mutate", sound.len());
    busy.write(first_half);

    program.signal("TERM");
    eventually("the end of readiness", || program.ops("/readyz").status == 503);
    assert_eq!(program.ops("/livez").status, 200);

    // For a while all goes on, but each answer closes its connection.
    for connection in [&mut used, &mut program.connect()] {
        let answer = connection.post("/validate", &sound);
        assert_eq!(answer.status, 200);
        assert!(answer.closes());
        assert!(connection.read().expect("an end").is_none());
    }

    // Then nothing new is accepted, and what was idle all the time is closed.
    eventually("the end of the listener", || TcpStream::connect(program.webhooks()).is_err());
    assert!(idle.read().expect("an end").is_none());
    assert_eq!(program.ops("/livez").status, 200);
    assert_eq!(program.ops("/readyz").status, 503);

    // What had begun is finished.
    busy.write(second_half);
    let answer = busy.read().expect("an answer").expect("not the end");
    assert_eq!(answer.json()["response"]["allowed"], true);
    assert!(answer.closes());

    let ca = PathBuf::from(program.line("ca"));
    assert_eq!(program.wait().code(), Some(0), "{}", program.log());
    assert!(!ca.exists(), "the CA is of no use any more");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut program = Program::start(&["--shutdown-delay", "1h"]);
        program.signal("INT");
        eventually("the end of readiness", || program.ops("/readyz").status == 503);
        program.signal(signal);
        assert_eq!(program.wait().code(), Some(code), "{}", program.log());
    }
}

#[test]
fn a_second_signal_cuts_off_what_is_left() {
    let mut program = Program::start(&["--shutdown-delay", "0", "--drain-limit", "1h"]);
    let mut busy = program.connect();
    busy.begin_post("/mutate", 1000);
    program.signal("TERM");
    eventually("the end of the listener", || TcpStream::connect(program.webhooks()).is_err());
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(143), "{}", program.log());
}

#[test]
fn draining_has_a_limit() {
    let mut program = Program::start(&["--shutdown-delay", "0", "--drain-limit", "200ms"]);
    let mut busy = program.connect();
    busy.begin_post("/mutate", 1000);
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(0), "{}", program.log());
    assert!(program.log().contains("requests are cut off after the drain limit"), "{}", program.log());
}

#[test]
fn the_limit_on_reviews_is_an_argument() {
    let program = Program::start(&["--max-in-flight", "1"]);
    let sound = reviews::body(&reviews::sound());
    // Large where gapless looks, and so under way for a while.
    let mut large = reviews::sound();
    large["request"]["object"]["metadata"]["annotations"] =
        (0..100_000).map(|number| (format!("key-{number}"), Value::from("value"))).collect();
    let large = reviews::body(&large);
    let has_ended = AtomicBool::new(false);
    let mut busy = program.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                // The other one may be under way.
                let status = busy.post("/mutate", &large).status;
                assert!([200, 429].contains(&status), "{status}");
            }
        });
        let mut other = program.connect();
        eventually("429", || {
            let answer = other.post("/mutate", &sound);
            assert!(!answer.closes(), "the body has been read");
            answer.status == 429
        });
        has_ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(program.connect().post("/mutate", &sound).status, 200);
}

#[test]
fn the_log_has_a_line_for_each_call_and_no_objects() {
    let program = Program::start(&["--log-format", "json"]);
    let mut connection = program.connect();
    connection.post("/mutate", &reviews::body(&reviews::sound()));
    connection.post("/validate/advisory", &reviews::body(&reviews::harmful()));
    connection.post("/mutate/unknown-profile", b"{");
    let mut lines: Vec<Value> = Vec::new();
    eventually("three lines", || {
        let log = program.log();
        lines = log.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
        lines.retain(|line| line.get("webhook").is_some());
        lines.len() == 3
    });
    let [mutated, validated, failed] = lines.as_slice() else { panic!("{lines:?}") };

    assert_eq!(mutated["level"], "INFO");
    assert_eq!(mutated["uid"], reviews::sound()["request"]["uid"]);
    assert_eq!(mutated["webhook"], "mutate");
    assert_eq!(mutated["profile"], "production");
    assert_eq!(mutated["operation"], "CREATE");
    assert_eq!(mutated["namespace"], "shop");
    assert_eq!(mutated["name"], "web");
    assert_eq!(mutated["user"], "jane@example.com");
    assert_eq!(mutated["dry_run"], false);
    assert_eq!(mutated["decision"], "patch");
    assert!(mutated["defaults"].as_str().expect("defaults").contains("pre-stop-sleep"));
    assert!(mutated["duration_ms"].is_f64());

    assert_eq!(validated["profile"], "advisory");
    assert!(validated["rules"].as_str().expect("rules").contains("recreate-strategy:warn"));

    assert_eq!(failed["level"], "WARN");
    assert_eq!(failed["profile"], "production");
    assert_eq!(failed["decision"], "error");
    assert_eq!(failed["code"], 400);
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()));

    assert!(!program.log().contains("hunter2") && !program.log().contains("PASSWORD"), "{}", program.log());
}

#[test]
fn unusable_certificates_are_exit_code_2() {
    let secret = Secret::new();
    let (certificate, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let mismatch = usage_error(&["--tls-cert", &certificate, "--tls-key", &secret.path("other.key")]);
    assert_eq!(
        mismatch,
        format!(
            "error: {certificate} and {} are no usable pair: \
             the private key does not belong to the first certificate in the file\n",
            secret.path("other.key")
        )
    );
    let missing = usage_error(&["--tls-cert", &secret.path("nothing"), "--tls-key", &key]);
    assert_eq!(
        missing,
        format!("error: cannot read {}: No such file or directory (os error 2)\n", secret.path("nothing"))
    );
    let swapped = usage_error(&["--tls-cert", &key, "--tls-key", &certificate]);
    assert!(swapped.contains("tls.key: there is no certificate"), "{swapped}");
    let half = usage_error(&["--tls-cert", &certificate]);
    assert!(half.contains("--tls-key <FILE>"), "{half}");
    let half = usage_error(&["--tls-key", &key]);
    assert!(half.contains("--tls-cert <FILE>"), "{half}");
}

#[test]
fn an_unusable_configuration_is_exit_code_2() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\ndefaultProfiles: advisory\n";
    let path = config(directory.path(), text).display().to_string();
    assert_eq!(
        usage_error(&["--config", &path]),
        format!(
            "error: {path}:3:1: defaultProfiles: there is no field \"defaultProfiles\"; \
             did you mean defaultProfile?\n"
        )
    );
    assert_eq!(
        usage_error(&["--config", "/nonexistent.yaml"]),
        "error: cannot read the configuration /nonexistent.yaml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn unusable_arguments_are_exit_code_2() {
    for (arguments, expected) in [
        (["--shutdown-delay", "5"], "write a number with a unit, such as 10s"),
        (["--drain-limit", "soon"], "write a number with a unit, such as 10s"),
        (["--max-in-flight", "0"], "'--max-in-flight <NUMBER>'"),
        (["--log-format", "xml"], "[possible values: text, json]"),
        (["--log", "gapless=loud"], "write a level such as info"),
    ] {
        let stderr = usage_error(&arguments);
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_unusable_address_is_exit_code_2() {
    let stderr = usage_error(&["--bind", "localhost:9443"]);
    assert!(stderr.contains("write an IP address and a port, such as [::]:9443"), "{stderr}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_eq!(
        usage_error(&["--ops-bind", &address]),
        format!("error: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}
