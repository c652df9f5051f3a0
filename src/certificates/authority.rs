//! A CA that can vouch for a few hosts and for nothing else, and the
//! certificates that it signs.
//!
//! Everything is ECDSA P-256 and in memory; who calls decides what is written,
//! and where.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CidrSubnet, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::host::Host;
use super::{CertificateError, ServingCertificate, UnusablePair, Validity, pem, validity};

/// The most characters of a common name (RFC 5280, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// The common name of a certificate that cannot have that of its host.
const COMMON_NAME: &str = "gapless";

/// A CA with its private key.
///
/// Clients that trust it take no risk: its certificate says for which hosts it
/// may sign. A DNS name stands for the names below it too; X.509 knows nothing
/// narrower.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    hosts: Vec<Host>,
    /// Its certificate, which clients trust.
    pub certificate: CertificateDer<'static>,
    /// When its certificate is valid.
    pub validity: Validity,
}

impl Authority {
    /// Makes a CA for these hosts, called `name`.
    ///
    /// # Errors
    /// If the cryptography fails.
    pub fn generate(name: &str, hosts: Vec<Host>, validity: Validity) -> Result<Self, CertificateError> {
        let mut params = params(name, &[], validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(name_constraints(&hosts));
        let made = CertifiedIssuer::self_signed(params, new_key()?)?;
        let key = made.key().serialize_pem();
        Authority::load(made.der().clone(), &key, hosts).map_err(CertificateError::Generated)
    }

    /// A CA that was made before, with its key in PEM. Whether it may sign for
    /// these hosts shows only in what it signs.
    ///
    /// # Errors
    /// If the key is not the certificate's, or one of them cannot be read.
    pub fn load(
        certificate: CertificateDer<'static>,
        key: &str,
        hosts: Vec<Host>,
    ) -> Result<Self, UnusablePair> {
        let key = KeyPair::from_pem(key).map_err(|error| UnusablePair::PrivateKey(error.to_string()))?;
        // Checks that the two belong together.
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let validity = ServingCertificate::new(vec![certificate.clone()], der)?.validity;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| UnusablePair::Certificate(error.to_string()))?;
        Ok(Authority { issuer, hosts, certificate, validity })
    }

    /// Signs a serving certificate for the hosts, with a new key. It expires no
    /// later than its CA, with which clients would refuse it.
    ///
    /// # Errors
    /// If the cryptography fails.
    pub fn issue(&self, mut lifetime: Validity) -> Result<Issued, CertificateError> {
        lifetime.not_after = lifetime.not_after.min(self.validity.not_after);
        let mut params = params(common_name(&self.hosts), &self.hosts, lifetime)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let validity = validity(certificate.der()).map_err(CertificateError::Generated)?;
        Ok(Issued { certificate, key, validity })
    }

    /// What it signs for.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Its certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        pem(&self.certificate)
    }

    /// Its private key, in PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// A serving certificate with its private key.
#[derive(Debug)]
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
    /// When the certificate is valid.
    pub validity: Validity,
}

impl Issued {
    /// The certificate, in PEM. It needs no others between it and its CA.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key, in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The two as the TLS listener needs them.
    ///
    /// # Errors
    /// If the TLS library does not take what was made.
    pub fn serving(&self) -> Result<ServingCertificate, CertificateError> {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        ServingCertificate::new(vec![self.certificate.der().clone()], key)
            .map_err(CertificateError::Generated)
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// The first DNS name, if it fits.
///
/// Never an address: OpenSSL takes one for a DNS name, and then the CA may not
/// sign it.
fn common_name(hosts: &[Host]) -> &str {
    let first = hosts.iter().find_map(|host| match host {
        Host::Name(name) => Some(name.as_str()),
        Host::Address(_) => None,
    });
    first.filter(|name| name.len() <= LONGEST_COMMON_NAME).unwrap_or(COMMON_NAME)
}

fn name_constraints(hosts: &[Host]) -> NameConstraints {
    let prefix = |address, bits| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits));
    let is_name = |host: &Host| matches!(host, Host::Name(_));
    let permitted_subtrees = hosts.iter().map(|host| match host {
        Host::Name(name) => GeneralSubtree::DnsName(name.clone()),
        Host::Address(address) => prefix(*address, if address.is_ipv4() { 32 } else { 128 }),
    });
    // To permit some names of one kind leaves all names of the other kind
    // permitted (RFC 5280, 4.2.1.10).
    let mut excluded_subtrees = Vec::new();
    if !hosts.iter().any(is_name) {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    if hosts.iter().all(is_name) {
        excluded_subtrees.push(prefix(Ipv4Addr::UNSPECIFIED.into(), 0));
        excluded_subtrees.push(prefix(Ipv6Addr::UNSPECIFIED.into(), 0));
    }
    NameConstraints { permitted_subtrees: permitted_subtrees.collect(), excluded_subtrees }
}

fn params(common_name: &str, hosts: &[Host], validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts.iter().map(Host::to_string).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    // X.509 counts in whole seconds.
    let since_1970 = |time: Timestamp| Duration::from_secs(time.as_second().max(0).unsigned_abs());
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(validity.not_before);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(validity.not_after);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::ToSpan;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use x509_parser::certificate::X509Certificate;
    use x509_parser::extensions::ParsedExtension;
    use x509_parser::parse_x509_certificate;
    use x509_parser::prelude::X509Extension;

    use super::*;
    use crate::certificates::crypto_provider;

    const NOW: &str = "2028-02-29T23:59:59Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn hosts(names: &str) -> Vec<Host> {
        names.split_whitespace().map(|name| name.parse().expect("a host")).collect()
    }

    fn authority(names: &str) -> Authority {
        Authority::generate("some CA", hosts(names), Validity::days(2.years(), at(NOW))).expect("a CA")
    }

    /// What a client that trusts the CA says to the certificate.
    fn verify(ca: &Authority, leaf: &Issued, name: &str, time: Timestamp) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate.clone()).expect("a CA certificate");
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider()).build();
        let name = ServerName::try_from(name).expect("a host");
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().unsigned_abs()));
        let verifier = verifier.expect("a verifier");
        verifier.verify_server_cert(leaf.certificate.der(), &[], &name, &[], time).map(|_| ())
    }

    #[test]
    fn is_trusted_for_its_hosts_and_for_its_time() {
        let ca = authority("gapless.svc ::1 192.0.2.1");
        let leaf = ca.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
        for name in ["gapless.svc", "::1", "192.0.2.1"] {
            assert_eq!(verify(&ca, &leaf, name, at(NOW)), Ok(()), "{name}");
        }
        for name in ["another.svc", "below.gapless.svc", "svc", "::2", "192.0.2.2"] {
            assert!(verify(&ca, &leaf, name, at(NOW)).is_err(), "{name}");
        }
        for (time, is_valid) in [
            ("2028-02-27T23:59:59Z", false),
            ("2028-02-28T00:00:00Z", true),
            ("2029-02-28T00:00:00Z", true),
            ("2029-02-28T00:00:01Z", false),
        ] {
            assert_eq!(verify(&ca, &leaf, "gapless.svc", at(time)).is_ok(), is_valid, "{time}");
        }
        let validity = |until| Validity { not_before: at("2028-02-28T00:00:00Z"), not_after: at(until) };
        assert_eq!(ca.validity, validity("2030-02-28T00:00:00Z"));
        assert_eq!(leaf.validity, validity("2029-02-28T00:00:00Z"));
        assert_eq!(leaf.serving().expect("a pair").validity, leaf.validity);
    }

    #[test]
    fn cannot_vouch_for_others() {
        for (own, others, is_trusted) in [
            ("gapless.svc", "gapless.svc", true),
            ("gapless.svc", "below.gapless.svc", true),
            ("gapless.svc", "notgapless.svc", false),
            ("gapless.svc", "gapless.svc another.svc", false),
            ("gapless.svc", "svc", false),
            ("gapless.svc", "192.0.2.1", false),
            ("gapless.svc", "gapless.svc ::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", false),
            ("192.0.2.1", "gapless.svc", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
            ("::1", "127.0.0.1", false),
            ("::1", "localhost ::1", false),
            ("localhost ::1", "localhost ::1", true),
            ("localhost ::1", "localhost 127.0.0.1", false),
            ("", "localhost", false),
            ("", "::1", false),
        ] {
            let mut ca = authority(own);
            // As somebody would do who has the CA's private key.
            ca.hosts = hosts(others);
            let leaf = ca.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
            for name in others.split_whitespace() {
                let outcome = verify(&ca, &leaf, name, at(NOW));
                assert_eq!(outcome.is_ok(), is_trusted, "{own} for {others}: {outcome:?}");
                if let Err(error) = outcome {
                    assert!(format!("{error:?}").contains("NameConstraintViolation"), "{error:?}");
                }
            }
        }
    }

    #[test]
    fn another_ca_of_the_same_name_is_not_trusted() {
        let (ca, other) = (authority("gapless.svc"), authority("gapless.svc"));
        let leaf = other.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
        assert!(verify(&ca, &leaf, "gapless.svc", at(NOW)).is_err());
        assert_eq!(verify(&other, &leaf, "gapless.svc", at(NOW)), Ok(()));
    }

    #[test]
    fn goes_on_after_it_was_loaded() {
        let ca = authority("gapless.svc ::1");
        let load = |certificate, key: &str| Authority::load(certificate, key, hosts("gapless.svc ::1"));
        let loaded = load(ca.certificate.clone(), &ca.key_pem()).expect("a CA");
        assert_eq!((loaded.validity, loaded.key_pem()), (ca.validity, ca.key_pem()));
        let leaf = loaded.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
        assert_eq!(verify(&ca, &leaf, "gapless.svc", at(NOW)), Ok(()));
        assert_eq!(verify(&ca, &leaf, "::1", at(NOW)), Ok(()));

        let other = authority("gapless.svc").key_pem();
        for (key, problem) in [
            (other.as_str(), "the private key does not belong to the first certificate in the file"),
            ("", "the private key cannot be read: "),
        ] {
            let error = load(ca.certificate.clone(), key).expect_err("no CA").to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        assert!(load(CertificateDer::from(vec![0; 100]), &other).is_err());
    }

    #[test]
    fn no_certificate_outlives_its_ca() {
        let ca = authority("gapless.svc");
        for (years, end) in
            [(1, "2029-02-28T00:00:00Z"), (2, "2030-02-28T00:00:00Z"), (3, "2030-02-28T00:00:00Z")]
        {
            let leaf = ca.issue(Validity::days(years.years(), at(NOW))).expect("a certificate");
            assert_eq!(leaf.validity.not_after, at(end), "{years}");
        }
    }

    #[test]
    fn may_be_valid_for_seconds() {
        let validity =
            Validity { not_before: at("2026-11-27T10:00:00Z"), not_after: at("2026-11-27T10:00:07Z") };
        let ca = Authority::generate("some CA", hosts("gapless.svc"), validity).expect("a CA");
        assert_eq!(ca.validity, validity);
        assert_eq!(ca.issue(validity).expect("a certificate").validity, validity);
    }

    #[test]
    fn each_certificate_has_a_key_of_its_own() {
        let ca = authority("gapless.svc");
        let issue = || ca.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
        let (first, second) = (issue(), issue());
        assert_ne!(first.key_pem(), second.key_pem());
        assert_ne!(first.key_pem(), ca.key_pem());
        assert_ne!(first.certificate_pem(), second.certificate_pem());
    }

    /// The extensions, as far as they matter here, in words.
    fn extensions(certificate: &X509Certificate) -> Vec<String> {
        let word = |extension: &X509Extension| {
            let word = match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(it) => format!("ca {} {:?}", it.ca, it.path_len_constraint),
                ParsedExtension::KeyUsage(it) => it.to_string(),
                ParsedExtension::ExtendedKeyUsage(it) => {
                    let others = it.any || it.client_auth || it.code_signing || !it.other.is_empty();
                    format!("server {} others {others}", it.server_auth)
                }
                ParsedExtension::AuthorityKeyIdentifier(it) => {
                    format!("issuer {:x}", it.key_identifier.as_ref()?)
                }
                ParsedExtension::SubjectKeyIdentifier(it) => format!("own {it:x}"),
                ParsedExtension::NameConstraints(_) => "names".to_owned(),
                _ => return None,
            };
            Some(if extension.critical { word + " critical" } else { word })
        };
        let mut words: Vec<String> = certificate.extensions().iter().filter_map(word).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn says_what_it_is_for() {
        let long = format!("{}.svc", "a".repeat(61));
        let ca = authority(&long);
        let leaf = ca.issue(Validity::days(1.year(), at(NOW))).expect("a certificate");
        let (_, ca) = parse_x509_certificate(&ca.certificate).expect("a certificate");
        let (_, leaf) = parse_x509_certificate(leaf.certificate.der()).expect("a certificate");
        assert_eq!(ca.subject().to_string(), "CN=some CA");
        assert_eq!(ca.issuer(), ca.subject());
        assert_eq!(leaf.issuer(), ca.subject());
        assert_eq!(leaf.subject().to_string(), "CN=gapless");

        let (leaf, ca) = (extensions(&leaf), extensions(&ca));
        let [usage, basic, names, own] = ca.as_slice() else { panic!("{ca:?}") };
        assert_eq!(usage, "Key Cert Sign, CRL Sign critical");
        assert_eq!([basic, names], ["ca true Some(0) critical", "names critical"]);
        let issuer = own.replace("own", "issuer");
        assert_eq!(leaf, ["Digital Signature critical", &issuer, "server true others false"]);
    }

    #[test]
    fn the_common_name() {
        let longest = format!("{}.svc", "a".repeat(60));
        let too_long = format!("a{longest}");
        for (names, expected) in [
            ("gapless.svc another.svc", "gapless.svc"),
            ("192.0.2.1 gapless.svc", "gapless.svc"),
            (&longest, &longest),
            (&too_long, "gapless"),
            (&format!("{too_long} gapless.svc"), "gapless"),
            ("192.0.2.1", "gapless"),
            ("", "gapless"),
        ] {
            assert_eq!(common_name(&hosts(names)), expected, "{names}");
        }
    }
}
