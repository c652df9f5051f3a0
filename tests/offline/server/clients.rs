//! `gapless serve --client-ca`: whom it talks to.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tempfile::TempDir;

use super::reviews;
use crate::support::program::{Connection, Program, client_config_for, eventually, refusal};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn new_ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A file with the CAs that gapless is to trust.
struct CaFile(TempDir);

impl CaFile {
    fn new(cas: &[&Ca]) -> Self {
        let file = CaFile(tempfile::tempdir().expect("a directory"));
        file.write(&cas.iter().map(|ca| ca.pem()).collect::<String>());
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("client-ca.crt")
    }

    /// Exchanges the content at once, so that nobody reads a part of it.
    fn write(&self, text: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.path()).expect("an exchange");
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let path = self.path().display().to_string();
        let ours = ["--client-ca", &path, "--tls-poll-interval", "20ms"];
        Program::start(&[&ours, arguments].concat())
    }
}

/// A client without a certificate.
fn anonymous(program: &Program, version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_config_for(&program.ca(), &[version])
}

/// A client that shows a certificate of `ca` with this common name.
fn client(
    program: &Program,
    ca: &Ca,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, ca).expect("a certificate").der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = anonymous(program, version);
    let shown = CertifiedKey::from_der(vec![certificate], key, config.crypto_provider());
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown.expect("a pair")));
    config
}

/// Whether a client gets an answer. In TLS 1.3 it learns only after its handshake
/// that the server does not want it.
fn is_answered(program: &Program, config: &ClientConfig) -> bool {
    let Ok(mut connection) = Connection::open(program.webhooks(), config.clone()) else { return false };
    connection
        .try_post("/validate", &serde_json::to_vec(&reviews::sound()).expect("JSON"))
        .is_ok_and(|answer| answer.status == 200)
}

#[test]
fn only_clients_of_the_ca_are_answered() {
    let (ca, other) = (new_ca(), new_ca());
    let program = CaFile::new(&[&ca]).start(&[]);
    for version in [&TLS12, &TLS13] {
        assert!(is_answered(&program, &client(&program, &ca, "kube-apiserver", version)), "{version:?}");
        assert!(!is_answered(&program, &client(&program, &other, "kube-apiserver", version)), "{version:?}");
        assert!(!is_answered(&program, &anonymous(&program, version)), "{version:?}");
    }
    let log = program.log();
    assert!(log.contains("a client is turned away: it has to show a certificate of --client-ca"), "{log}");
    // Probes and metrics are for others.
    assert_eq!(program.ops("/readyz").status, 200);
}

#[test]
fn of_these_only_the_named_ones() {
    let ca = new_ca();
    let program = CaFile::new(&[&ca]).start(&["--client-name", "kube-apiserver,front-proxy-client"]);
    for (name, expected) in
        [("kube-apiserver", true), ("front-proxy-client", true), ("system:node:n1", false)]
    {
        assert_eq!(is_answered(&program, &client(&program, &ca, name, &TLS13)), expected, "{name}");
    }
}

#[test]
fn the_ca_can_be_exchanged() {
    let (old, new) = (new_ca(), new_ca());
    for version in [&TLS12, &TLS13] {
        let file = CaFile::new(&[&old]);
        let program = file.start(&[]);
        // One configuration each: TLS sessions are resumed, if the server lets it.
        let old_client = client(&program, &old, "kube-apiserver", version);
        let new_client = client(&program, &new, "kube-apiserver", version);
        let mut open = Connection::open(program.webhooks(), old_client.clone()).expect("a connection");
        assert!(is_answered(&program, &old_client));
        assert!(!is_answered(&program, &new_client));

        file.write("no certificate");
        eventually("the note of the bad file", || program.log().contains("the older one is still trusted"));
        assert!(is_answered(&program, &old_client));

        file.write(&new.pem());
        eventually("the new CA", || is_answered(&program, &new_client));
        assert!(!is_answered(&program, &old_client), "{version:?}: a new connection of the old CA");
        let review = serde_json::to_vec(&reviews::sound()).expect("JSON");
        assert_eq!(open.post("/validate", &review).status, 200, "an open connection stays open");
        let metrics = program.ops("/metrics").text();
        for line in [r#"{result="success"} 1"#, r#"{result="failure"} 1"#] {
            let line = format!("gapless_certificate_reloads_total{line}\n");
            assert!(metrics.contains(&line), "{line}\n{metrics}");
        }
    }
}

#[test]
fn an_unusable_ca_is_exit_code_2() {
    let file = CaFile::new(&[]);
    let path = file.path().display().to_string();
    let output = refusal(&["--client-ca", &path]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("client-ca.crt: there is no certificate; write one as"), "{message}");

    let output = refusal(&["--client-name", "kube-apiserver"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--client-ca <FILE>"));
}
