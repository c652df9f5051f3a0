//! The serving certificate: where it comes from, and the one place that the
//! TLS listener reads it from. And the certificates of clients.

pub mod authority;
pub mod clients;
pub mod ephemeral;
pub mod files;
pub mod host;
pub mod self_managed;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// The cryptography of every handshake.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs others.
    Ca,
    /// It is shown to clients.
    Leaf,
}

impl Role {
    /// The role as metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Ca => "ca",
            Role::Leaf => "leaf",
        }
    }
}

/// The time in which a certificate is valid, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whole days in UTC: from yesterday on, since a client's clock may be behind,
    /// and from today on for `lifetime`, which counts in days or longer units.
    pub fn days(lifetime: Span, now: Timestamp) -> Self {
        let today = now.to_zoned(TimeZone::UTC).date();
        let midnight = |date: Date| {
            // In UTC each day has a midnight; the years that jiff knows are enough.
            date.to_zoned(TimeZone::UTC).map_or(now, |zoned| zoned.timestamp())
        };
        Validity {
            not_before: midnight(today.saturating_sub(1.day())),
            not_after: midnight(today.saturating_add(lifetime)),
        }
    }

    /// What speaks against using the certificate now.
    pub fn objection(&self, now: Timestamp) -> Option<String> {
        if now < self.not_before {
            return Some(format!("the certificate is not valid before {}", self.not_before));
        }
        if now > self.not_after {
            return Some(format!("the certificate has expired at {}", self.not_after));
        }
        None
    }
}

/// A certificate with its chain and its private key.
#[derive(Clone, Debug)]
pub struct ServingCertificate {
    key: Arc<CertifiedKey>,
    /// When the leaf is valid.
    pub validity: Validity,
}

impl ServingCertificate {
    /// Puts the two together. The leaf comes first in the chain.
    ///
    /// # Errors
    /// If the key is not the leaf's, or one of them cannot be read.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, UnusablePair> {
        let leaf = chain.first().ok_or(UnusablePair::NoCertificate)?;
        let validity = validity(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => UnusablePair::Mismatch,
            error => UnusablePair::Key(error),
        })?;
        Ok(ServingCertificate { key: Arc::new(key), validity })
    }
}

/// A certificate in PEM (RFC 7468), lines of 64 characters.
fn pem(certificate: &CertificateDer) -> String {
    let base64 = BASE64_STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + "\n-----END CERTIFICATE-----\n"
}

fn validity(leaf: &CertificateDer) -> Result<Validity, UnusablePair> {
    let (_, certificate) =
        parse_x509_certificate(leaf).map_err(|error| UnusablePair::Certificate(error.to_string()))?;
    let timestamp = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|error| UnusablePair::Certificate(error.to_string()))
    };
    let validity = certificate.validity();
    Ok(Validity { not_before: timestamp(validity.not_before)?, not_after: timestamp(validity.not_after)? })
}

/// Why a certificate and a key are not usable together.
#[derive(Debug, thiserror::Error)]
pub enum UnusablePair {
    /// There is no certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// The leaf is no X.509 certificate.
    #[error("the first certificate cannot be read: {0}")]
    Certificate(String),
    /// The key is no PEM of a private key.
    #[error("the private key cannot be read: {0}")]
    PrivateKey(String),
    /// The key cannot sign.
    #[error("the private key cannot be used: {0}; write one of type ECDSA P-256, P-384, Ed25519 or RSA")]
    Key(rustls::Error),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the first certificate in the file")]
    Mismatch,
}

/// Why there is no serving certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to write instead.
        problem: String,
    },
    /// The files do not go together.
    #[error("{} and {} are no usable pair: {problem}", certificate.display(), key.display())]
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        problem: UnusablePair,
    },
    /// The certificate in a file is one of another time.
    #[error("{}: {objection}", path.display())]
    NotValid {
        /// The file.
        path: PathBuf,
        /// From when on, or until when, it is valid.
        objection: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Generation(#[from] rcgen::Error),
    /// A certificate that was made cannot be used.
    #[error("cannot use the certificate that was just made: {0}")]
    Generated(UnusablePair),
    /// The CA cannot be handed over.
    #[error("cannot write the CA to {} (set TMPDIR, or pass --tls-cert and --tls-key)", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The certificate that new connections are served with.
#[derive(Debug, Default)]
pub struct CertificateStore {
    /// Without one, every handshake fails.
    current: ArcSwapOption<ServingCertificate>,
    obstacle: ArcSwapOption<String>,
}

impl CertificateStore {
    /// A store that holds this certificate.
    pub fn new(certificate: ServingCertificate) -> Self {
        let store = CertificateStore::default();
        store.replace(certificate);
        store
    }

    /// Serves new connections with another certificate. Open ones stay open.
    pub fn replace(&self, certificate: ServingCertificate) {
        self.current.store(Some(Arc::new(certificate)));
    }

    /// Says why the API server would not trust the certificate, until it is told
    /// that nothing is in the way.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        self.obstacle.store(obstacle.map(Arc::new));
    }

    /// What speaks against being called now.
    pub fn objection(&self, now: Timestamp) -> Option<String> {
        if let Some(obstacle) = self.obstacle.load().as_deref() {
            return Some(obstacle.clone());
        }
        match self.current.load().as_deref() {
            Some(certificate) => certificate.validity.objection(now),
            None => Some("there is no certificate yet".to_owned()),
        }
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_deref().map(|certificate| certificate.key.clone())
    }
}
