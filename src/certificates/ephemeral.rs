//! A CA and a certificate of its own, in memory, for trying gapless out.
//!
//! Neither private key is ever written. The CA cannot sign anything but the
//! names of this host, so that nobody who trusts it takes a risk.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use jiff::{Timestamp, ToSpan};

use super::authority::Authority;
use super::host::Host;
use super::{CertificateError, ServingCertificate, Validity};

/// What the CA calls itself.
const CA: &str = "gapless ephemeral CA";

const LOCALHOST: &str = "localhost";

/// Days until both certificates expire: longer than anybody tries things out.
const DAYS: i64 = 365;

/// What was made.
#[derive(Debug)]
pub struct Ephemeral {
    /// The certificate to serve with.
    pub certificate: ServingCertificate,
    /// The CA that signed it, in PEM.
    pub ca: String,
    /// When the CA is valid.
    pub ca_validity: Validity,
}

impl Ephemeral {
    /// Makes a CA and a certificate for `localhost`, `127.0.0.1`, `::1` and
    /// `address`.
    ///
    /// # Errors
    /// If the cryptography fails.
    pub fn generate(address: Option<IpAddr>) -> Result<Self, CertificateError> {
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        addresses.extend(address.filter(|address| !address.is_loopback()));
        let mut hosts = vec![Host::Name(LOCALHOST.to_owned())];
        hosts.extend(addresses.into_iter().map(Host::Address));

        let validity = Validity::days(DAYS.days(), Timestamp::now());
        let ca = Authority::generate(CA, hosts, validity)?;
        let certificate = ca.issue(validity)?.serving()?;
        Ok(Ephemeral { certificate, ca: ca.certificate_pem(), ca_validity: ca.validity })
    }

    /// Writes the CA to a new file in the directory for temporary files.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub fn write_ca(&self) -> Result<PathBuf, CertificateError> {
        let directory = env::temp_dir();
        let process = std::process::id();
        let mut number = 1;
        loop {
            let path = directory.join(format!("gapless-ca-{process}-{number}.pem"));
            // Only ever a file that did not exist, nor a link of that name.
            let written = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .and_then(|mut file| file.write_all(self.ca.as_bytes()));
            match written {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(CertificateError::Unwritable { path, source }),
            }
        }
    }
}
