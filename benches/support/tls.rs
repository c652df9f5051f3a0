//! TLS as servers of this stack speak it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// With the certificate and the key in these PEM files.
pub fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let pem = |path: &Path| fs::read(path).expect("a PEM file");
    let chain =
        CertificateDer::pem_slice_iter(&pem(certificate)).collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(&pem(key)).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3");
    let config =
        config.with_no_client_auth().with_single_cert(chain, key).expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}
