//! `gapless certs`: a CA and a serving certificate in files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gapless::certificates::files::WatchedPair;
use gapless::certificates::{Validity, crypto_provider};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;

use crate::support::program::{Connection, Program, client_config};
use crate::support::ran::Ran;

const FILES: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

const DEFAULT: &str = "gapless.gapless-system.svc";

/// Runs `gapless certs` with a umask that takes nothing away.
fn certs(directory: &Path, arguments: &[&str]) -> Ran {
    certs_after("umask 000", directory, arguments)
}

/// The same after a command of the shell, such as one that sets a limit.
fn certs_after(before: &str, directory: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new("sh")
        .args(["-c", &format!("{before}; exec \"$0\" certs \"$@\""), env!("CARGO_BIN_EXE_gapless")])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    output.into()
}

/// Runs it where it has to succeed. The files are in `DIRECTORY/out`.
#[track_caller]
fn made(arguments: &[&str]) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let run = certs(directory.path(), &[&["--out", "out"], arguments].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    (directory, run.stdout)
}

/// The message of a run that ends with exit code 2 and says nothing else.
#[track_caller]
fn refusal(run: Ran) -> String {
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    run.stderr
}

/// The content of each file in the directory, by name.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default()))
        .collect()
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    let pem = fs::read(path).unwrap();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let [certificate] = certificates.as_slice() else { panic!("{} certificates", certificates.len()) };
    certificate.clone()
}

/// What a client that trusts the CA says to a server of this name.
fn verify(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    name: &str,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider());
    let name = ServerName::try_from(name).unwrap();
    verifier.build().unwrap().verify_server_cert(leaf, &[], &name, &[], UnixTime::now()).map(|_| ())
}

#[test]
fn four_files_and_keys_that_only_their_owner_reads() {
    let directory = tempfile::tempdir().unwrap();
    let run = certs(directory.path(), &["--out", "a/b"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let out = directory.path().join("a/b");
    assert_eq!(contents(&out).into_keys().collect::<Vec<_>>(), FILES);
    for (name, mode) in [("ca.crt", 0o644), ("ca.key", 0o600), ("tls.crt", 0o644), ("tls.key", 0o600)] {
        let metadata = fs::metadata(out.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        let text = fs::read_to_string(out.join(name)).unwrap();
        let what = if mode == 0o600 { "PRIVATE KEY" } else { "CERTIFICATE" };
        assert!(text.starts_with(&format!("-----BEGIN {what}-----\n")), "{name}");
        assert!(text.ends_with(&format!("-----END {what}-----\n")), "{name}");
    }
}

/// Whoever may read the key, may do so from its first moment on: its permissions
/// are never changed.
#[test]
fn the_umask_holds() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(certs_after("umask 077", directory.path(), &["--out", "out"]).code, 0);
    for name in FILES {
        let metadata = fs::metadata(directory.path().join("out").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn each_key_belongs_to_its_certificate() {
    let (directory, _) = made(&[]);
    let path = |name: &str| directory.path().join("out").join(name);
    for (certificate, key) in [("tls.crt", "tls.key"), ("ca.crt", "ca.key")] {
        WatchedPair::open(&path(certificate), &path(key)).unwrap();
        let key = KeyPair::from_pem(&fs::read_to_string(path(key)).unwrap()).unwrap();
        assert_eq!(key.algorithm(), &rcgen::PKCS_ECDSA_P256_SHA256);
    }
    assert!(WatchedPair::open(&path("tls.crt"), &path("ca.key")).is_err());
    let (other, _) = made(&[]);
    assert!(WatchedPair::open(&path("tls.crt"), &other.path().join("out/tls.key")).is_err());
}

#[test]
fn clients_that_trust_the_ca_trust_the_certificate_for_its_names() {
    for (arguments, names) in [
        (&[][..], &[DEFAULT][..]),
        (
            &["--dns", "gapless.platform.svc", "--dns", "2001:db8::1", "--dns=192.0.2.1"],
            &["gapless.platform.svc", "2001:db8::1", "192.0.2.1"],
        ),
    ] {
        let (directory, _) = made(arguments);
        let path = |name: &str| directory.path().join("out").join(name);
        let (ca, leaf) = (certificate(&path("ca.crt")), certificate(&path("tls.crt")));
        for name in [DEFAULT, "gapless.platform.svc", "2001:db8::1", "192.0.2.1", "gapless-system.svc", "::1"]
        {
            let outcome = verify(&ca, &leaf, name);
            assert_eq!(outcome.is_ok(), names.contains(&name), "{name}: {outcome:?}");
        }
        let (other, _) = made(arguments);
        let other_ca = certificate(&other.path().join("out/ca.crt"));
        assert!(verify(&other_ca, &leaf, names[0]).is_err());
    }
}

/// Whoever gets hold of `ca.key` can play gapless, and nobody else.
#[test]
fn the_ca_key_is_good_for_these_names_only() {
    let (directory, _) = made(&[]);
    let path = |name: &str| directory.path().join("out").join(name);
    let ca = certificate(&path("ca.crt"));
    let key = KeyPair::from_pem(&fs::read_to_string(path("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "gapless CA");
    let issuer = Issuer::new(params, key);
    for (name, is_trusted) in [(DEFAULT, true), ("kubernetes.default.svc", false), ("192.0.2.1", false)] {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let outcome = verify(&ca, leaf.der(), name);
        assert_eq!(outcome.is_ok(), is_trusted, "{name}: {outcome:?}");
    }
}

#[test]
fn gapless_serves_with_the_files() {
    let (directory, stdout) = made(&["--dns", "127.0.0.1", "--dns", "localhost"]);
    let path = |name: &str| directory.path().join("out").join(name).display().to_string();
    assert!(stdout.contains("\n  gapless serve --tls-cert out/tls.crt --tls-key out/tls.key\n"), "{stdout}");
    let program = Program::start(&["--tls-cert", &path("tls.crt"), "--tls-key", &path("tls.key")]);
    assert!(!program.log().contains("WARN"), "{}", program.log());
    let (_, port) = program.webhooks().split_once(':').unwrap();
    let connect = |ca: &Path, host: &str| {
        Connection::open(&format!("{host}:{port}"), client_config(&[certificate(ca)]))
    };
    for host in ["127.0.0.1", "localhost"] {
        connect(Path::new(&path("ca.crt")), host).unwrap();
    }
    let (other, _) = made(&["--dns", "127.0.0.1"]);
    let error = connect(&other.path().join("out/ca.crt"), "127.0.0.1").err().expect("another CA");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[test]
fn says_what_is_written_and_until_when_it_is_valid() {
    let (directory, stdout) = made(&["--dns", "a.example", "--dns", "192.0.2.1", "--dns", "a.example"]);
    let out = directory.path().join("out");
    let validity = |name: &str| -> Validity {
        let path = |extension: &str| out.join(format!("{name}.{extension}"));
        WatchedPair::open(&path("crt"), &path("key")).unwrap().0.validity
    };
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    let (ca, leaf) = (validity("ca"), validity("tls"));
    let lines: Vec<_> = stdout.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            format!("out/ca.crt   certificate of the CA, valid until {}", day(ca.not_after)),
            "out/ca.key   private key of the CA".to_owned(),
            format!("out/tls.crt  certificate for a.example, 192.0.2.1, valid until {}", day(leaf.not_after)),
            "out/tls.key  private key of that certificate".to_owned(),
        ]
    );
    for (validity, years) in [(ca, 2), (leaf, 1)] {
        let yesterday = day(validity.not_before);
        let age = yesterday.until(day(Timestamp::now())).unwrap().get_days();
        // Midnight may have passed in the meantime.
        assert!((1..=2).contains(&age), "{validity:?}");
        assert_eq!(day(validity.not_after), yesterday + 1.day() + years.years());
    }
    assert!(stdout.contains("ca.key can sign more certificates for the same names"), "{stdout}");
}

/// Runs the printed commands, or what the shell understands of them.
fn words(directory: &Path, stdout: &str) -> Vec<Vec<String>> {
    let commands: String = stdout.lines().filter(|line| line.starts_with("  ")).fold(
        "show() { printf '%s\\n' \"$@\" ---; }\nkubectl() { show kubectl \"$@\"; }\n\
         helm() { show helm \"$@\"; }\ngapless() { show gapless \"$@\"; }\n"
            .to_owned(),
        |script, line| script + line + "\n",
    );
    let output = Command::new("sh").args(["-ec", &commands]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator("---\n").map(|words| words.lines().map(str::to_owned).collect()).collect()
}

#[test]
fn the_printed_commands_work_when_pasted() {
    for (out, ca) in [
        ("certs", "certs/ca.crt"),
        ("it's $HOME", "it's $HOME/ca.crt"),
        // Helm has a syntax of its own for what is in it.
        ("a,b{c}", r"a\,b\{c\}/ca.crt"),
        (r"back\slash", r"back\\slash/ca.crt"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let run = certs(
            directory.path(),
            &["--out", out, "--dns", "192.0.2.1", "--dns", "my-gapless.platform.svc"],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        let commands = words(directory.path(), &run.stdout);
        let (certificate, key) = (format!("{out}/tls.crt"), format!("{out}/tls.key"));
        let ca = format!("webhooks.caBundle={ca}");
        let kubectl = "kubectl -n platform create secret tls gapless-tls";
        let kubectl = kubectl.split(' ').chain(["--cert", &certificate, "--key", &key]);
        let helm =
            "helm install my-gapless charts/gapless -n platform --set certificates.mode=existingSecret"
                .split(' ')
                .chain(["--set-file", &ca]);
        assert_eq!(commands, [kubectl.collect::<Vec<_>>(), helm.collect()]);
        assert!(directory.path().join(certificate).exists() && directory.path().join(key).exists());
    }
    let (directory, stdout) = made(&["--dns", "2001:db8::1"]);
    let [serve, helm] = &words(directory.path(), &stdout)[..] else { panic!("{stdout}") };
    assert_eq!(serve.join(" "), "gapless serve --tls-cert out/tls.crt --tls-key out/tls.key");
    assert!(helm.contains(&"webhooks.url=https://[2001:db8::1]:9443".to_owned()), "{helm:?}");
}

#[test]
fn overwrites_nothing() {
    for existing in FILES {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(existing), "precious").unwrap();
        let message = refusal(certs(directory.path(), &["--out", "."]));
        assert_eq!(
            message,
            format!(
                "error: ./{existing} exists, and gapless overwrites no certificates and keys; write to another \
                 directory, or remove ca.crt, ca.key, tls.crt and tls.key from this one\n"
            )
        );
        let expected = BTreeMap::from([(existing.to_owned(), b"precious".to_vec())]);
        assert_eq!(contents(directory.path()), expected);
    }
}

#[test]
fn a_second_run_changes_nothing() {
    let (directory, _) = made(&[]);
    let before = contents(&directory.path().join("out"));
    let message = refusal(certs(directory.path(), &["--out", "out"]));
    assert!(message.contains("out/ca.crt exists"), "{message}");
    assert_eq!(contents(&directory.path().join("out")), before);
}

#[test]
fn follows_no_link() {
    let directory = tempfile::tempdir().unwrap();
    symlink("elsewhere", directory.path().join("tls.key")).unwrap();
    let message = refusal(certs(directory.path(), &["--out", "."]));
    assert!(message.contains("./tls.key exists"), "{message}");
    assert_eq!(contents(directory.path()).into_keys().collect::<Vec<_>>(), ["tls.key"]);
}

#[test]
fn names_that_are_none() {
    let long = "a".repeat(64);
    for (name, expected) in [
        ("*.gapless-system.svc", "write each name out, without *"),
        ("Gapless.svc", "write a DNS name, such as gapless.gapless-system.svc, or an IP address"),
        ("gapless.svc:443", "and no port"),
        ("https://gapless.svc", "write a DNS name"),
        ("a.svc,b.svc", "write a DNS name"),
        ("192.0.2.256", "or an IP address"),
        (&long, "at most 63 between two dots and 253 in all"),
        ("", "write a DNS name"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let message = refusal(certs(directory.path(), &["--out", "out", "--dns", "fine.svc", "--dns", name]));
        assert!(message.contains(&format!("invalid value '{name}' for '--dns <NAME>': ")), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(contents(directory.path()), BTreeMap::new());
    }
}

#[test]
fn directories_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    for (out, expected) in [
        ("file", "error: cannot use file as a directory: Not a directory"),
        ("file/below", "error: cannot use file/below as a directory: Not a directory"),
    ] {
        let message = refusal(certs(directory.path(), &["--out", out]));
        assert!(message.starts_with(expected), "{message}");
    }
    symlink("/dev/null/nowhere", directory.path().join("link")).unwrap();
    let message = refusal(certs(directory.path(), &["--out", "link"]));
    assert!(message.starts_with("error: cannot "), "{message}");
    assert!(refusal(certs(directory.path(), &[])).contains("--out <DIR>"));
}

/// A limit for the size of files stands in for a disk that is full: of a file
/// that is too large, a part has been written.
#[test]
fn leaves_nothing_behind_when_a_file_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("--dns=gapless-{number}.platform.svc")).collect();
    let arguments: Vec<&str> = ["--out", "out"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let message = refusal(certs_after("trap '' XFSZ; ulimit -f 1", directory.path(), &arguments));
    assert!(message.starts_with("error: cannot write out/ca.crt: "), "{message}");
    assert_eq!(contents(&directory.path().join("out")), BTreeMap::new());
    let run = certs(directory.path(), &arguments);
    assert_eq!(run.code, 0, "{}", run.stderr);
}
