//! Who may call: clients that show a certificate of a CA which the operator names.
//!
//! An API server shows one if its `--admission-control-config-file` says so:
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers>

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::files::{malformed, parse_chain, readable};
use super::{CertificateError, crypto_provider};
use crate::watched::{Watched, WatchedFiles};

/// The CA certificates by which clients are known, in one PEM file, and what was
/// in it at the last look.
#[derive(Debug)]
pub struct WatchedClientCa(WatchedFiles<1>);

impl WatchedClientCa {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If it cannot be read, or holds something else than CA certificates.
    pub fn open(path: &Path) -> Result<(ClientCa, Self), CertificateError> {
        let ([content], files) = WatchedFiles::open([path]);
        Ok((understand(path, content)?, WatchedClientCa(files)))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        let [path] = self.0.paths();
        path
    }
}

impl Watched for WatchedClientCa {
    type Change = Result<ClientCa, CertificateError>;

    fn look(&mut self) -> Option<Self::Change> {
        let [content] = self.0.look()?;
        Some(understand(self.path(), content))
    }

    fn forget(&mut self) {
        self.0.forget();
    }
}

fn understand(path: &Path, content: io::Result<Vec<u8>>) -> Result<ClientCa, CertificateError> {
    let certificates = parse_chain(path, &readable(path, content)?)?;
    ClientCa::new(certificates).map_err(|problem| malformed(path, problem))
}

/// The CA certificates by which clients are known.
#[derive(Debug)]
pub struct ClientCa(Arc<dyn ClientCertVerifier>);

impl ClientCa {
    /// Trusts these.
    ///
    /// # Errors
    /// If one of them cannot be read, or there is none.
    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| format!("a CA certificate cannot be read: {error}"))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map(ClientCa)
            .map_err(|error| error.to_string())
    }
}

/// Lets those clients in whose certificate one of the CAs has signed, for the use
/// as a client, and for one of the names if there are any.
#[derive(Debug)]
pub struct ClientVerifier {
    ca: ArcSwap<ClientCa>,
    /// Common names or DNS names. Empty: any name.
    names: Vec<String>,
}

impl ClientVerifier {
    /// Clients that `ca` vouches for under one of `names`, or any name if there is
    /// none.
    pub fn new(ca: ClientCa, names: Vec<String>) -> Self {
        ClientVerifier { ca: ArcSwap::from_pointee(ca), names }
    }

    /// Judges new connections by other CAs. Open ones stay open.
    pub fn replace(&self, ca: ClientCa) {
        self.ca.store(Arc::new(ca));
    }

    fn has_name(&self, certificate: &CertificateDer) -> bool {
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return false };
        let is_wanted = |name: &str| self.names.iter().any(|wanted| wanted == name);
        let common_names = certificate.subject().iter_common_name();
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let dns_names = alternatives.iter().flat_map(|it| &it.value.general_names);
        common_names.filter_map(|name| name.as_str().ok()).any(is_wanted)
            || dns_names.into_iter().any(|name| matches!(name, GeneralName::DNSName(name) if is_wanted(name)))
    }
}

impl ClientCertVerifier for ClientVerifier {
    /// None: a client may show any certificate. They could change at any time, and
    /// the API server has only one.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.ca.load().0.verify_client_cert(end_entity, intermediates, now)?;
        if self.names.is_empty() || self.has_name(end_entity) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ca.load().0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ca.load().0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.ca.load().0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn new_ca() -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
    }

    fn verifier(ca: &Ca, names: &[&str]) -> ClientVerifier {
        let ca = ClientCa::new(vec![ca.der().clone()]).expect("a CA");
        ClientVerifier::new(ca, names.iter().map(|&name| name.to_owned()).collect())
    }

    fn client(ca: &Ca, adjust: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["api.example".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.signed_by(&key, ca).expect("a certificate").der().clone()
    }

    fn lets_in(verifier: &ClientVerifier, certificate: &CertificateDer) -> bool {
        verifier.verify_client_cert(certificate, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn the_ca_the_use_and_the_time_count() {
        let (ca, other) = (new_ca(), new_ca());
        let verifier = verifier(&ca, &[]);
        assert!(lets_in(&verifier, &client(&ca, |_| ())));
        assert!(!lets_in(&verifier, &client(&other, |_| ())), "of another CA");
        let serving = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        };
        assert!(!lets_in(&verifier, &client(&ca, serving)), "for servers");
        let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        assert!(!lets_in(&verifier, &client(&ca, expired)), "expired");

        verifier.replace(ClientCa::new(vec![other.der().clone()]).expect("a CA"));
        assert!(!lets_in(&verifier, &client(&ca, |_| ())), "of the CA before");
        assert!(lets_in(&verifier, &client(&other, |_| ())));
    }

    #[test]
    fn the_name_counts_if_names_are_given() {
        let ca = new_ca();
        let certificate = client(&ca, |_| ());
        assert!(lets_in(&verifier(&ca, &["front-proxy-client", "kube-apiserver"]), &certificate));
        assert!(lets_in(&verifier(&ca, &["api.example"]), &certificate));
        for other in ["", "kube-apiserver.", "kube", "Kube-Apiserver", "example"] {
            assert!(!lets_in(&verifier(&ca, &[other]), &certificate), "{other}");
        }
    }

    #[test]
    fn the_file_is_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("client-ca.crt");
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        let (old, new) = (new_ca(), new_ca());
        write(&old.pem());
        let (ca, mut file) = WatchedClientCa::open(&path).expect("a CA");
        let verifier = ClientVerifier::new(ca, Vec::new());
        assert!(file.look().is_none(), "nothing has changed");

        write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let error = file.look().expect("a change").expect_err("no certificate").to_string();
        assert!(error.contains("client-ca.crt: a CA certificate cannot be read"), "{error}");

        write(&format!("{}{}", old.pem(), new.pem()));
        verifier.replace(file.look().expect("a change").expect("two CAs"));
        for ca in [&old, &new] {
            assert!(lets_in(&verifier, &client(ca, |_| ())));
        }
    }
}
