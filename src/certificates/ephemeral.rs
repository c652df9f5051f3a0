//! A CA and a certificate of its own, in memory, for trying gapless out.
//!
//! Neither private key is ever written. The CA cannot sign anything but the
//! names of this host, so that nobody who trusts it takes a risk.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;

use super::{CertificateError, ServingCertificate, Validity};

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

        let ca = CertifiedIssuer::self_signed(ca_params(&addresses)?, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = leaf_params(&addresses)?.signed_by(&key, &ca)?;

        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let certificate =
            ServingCertificate::new(vec![leaf.der().clone()], key).map_err(CertificateError::Generated)?;
        // Both are valid for the same time.
        let ca_validity = certificate.validity;
        Ok(Ephemeral { certificate, ca: ca.pem(), ca_validity })
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

fn ca_params(addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params("gapless ephemeral CA", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let hosts = addresses.iter().map(|address| {
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, all_bits))
    });
    let permitted_subtrees = hosts.chain([GeneralSubtree::DnsName(LOCALHOST.to_owned())]).collect();
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    Ok(params)
}

fn leaf_params(addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let names = addresses.iter().map(IpAddr::to_string).chain([LOCALHOST.to_owned()]).collect();
    let mut params = params(LOCALHOST, names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let midnight = |date: Date| {
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    // From yesterday on: a client's clock may be behind.
    params.not_before = midnight(today.saturating_sub(1.day()));
    params.not_after = midnight(today.saturating_add(DAYS.days()));
    Ok(params)
}
