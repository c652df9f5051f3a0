//! A serving certificate from files, as cert-manager or an operator provide it.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateError, ServingCertificate};

/// Reads a certificate, with the intermediate ones after it, and its key.
///
/// # Errors
/// If a file cannot be read, holds something else, or the two are no pair.
pub fn read(certificate: &Path, key: &Path) -> Result<ServingCertificate, CertificateError> {
    let chain = read_chain(certificate)?;
    let private_key = read_key(key)?;
    ServingCertificate::new(chain, private_key).map_err(|problem| CertificateError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        problem,
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read_file(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain =
        chain.map_err(|error| malformed(path, format!("this is no PEM file of certificates: {error}")))?;
    if chain.is_empty() {
        return Err(malformed(
            path,
            "there is no certificate; write one as -----BEGIN CERTIFICATE-----".to_owned(),
        ));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        malformed(
            path,
            match error {
                pem::Error::NoItemsFound if text_holds(&text, "ENCRYPTED PRIVATE KEY") => {
                    "the private key is encrypted; write it without a passphrase".to_owned()
                }
                pem::Error::NoItemsFound => "there is no private key; write one as -----BEGIN PRIVATE KEY-----, \
                                             -----BEGIN EC PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----"
                    .to_owned(),
                error => format!("this is no PEM file of a private key: {error}"),
            },
        )
    })
}

fn text_holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
}

fn malformed(path: &Path, problem: String) -> CertificateError {
    CertificateError::Malformed { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_ED25519, SignatureAlgorithm};
    use tempfile::TempDir;

    use super::*;

    struct Files {
        directory: TempDir,
    }

    impl Files {
        fn new() -> Self {
            Files { directory: tempfile::tempdir().expect("a directory") }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        }

        /// What is wrong with the two texts, without the path.
        fn problem(&self, certificate: &str, key: &str) -> String {
            let error = read(&self.write("tls.crt", certificate), &self.write("tls.key", key));
            let message = error.expect_err("the files are unusable").to_string();
            message.replace(&format!("{}/", self.directory.path().display()), "")
        }
    }

    fn pair(algorithm: &'static SignatureAlgorithm) -> (Certificate, KeyPair) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let params = CertificateParams::new(["gapless.example".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("a certificate"), key)
    }

    fn ecdsa() -> (Certificate, KeyPair) {
        pair(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// The key as OpenSSL's `EC PRIVATE KEY`: in ring's PKCS#8, that is the last
    /// part, which has a header of 29 bytes and 109 bytes of its own.
    fn sec1(key: &KeyPair) -> String {
        let pkcs8 = key.serialize_der();
        let inner = pkcs8.get(pkcs8.len() - 109..).expect("a P-256 key");
        let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, inner);
        format!("-----BEGIN EC PRIVATE KEY-----\n{base64}\n-----END EC PRIVATE KEY-----\n")
    }

    #[test]
    fn reads_keys_in_several_formats() {
        let files = Files::new();
        let (certificate, key) = ecdsa();
        let certificate = files.write("tls.crt", &certificate.pem());
        read(&certificate, &files.write("pkcs8.key", &key.serialize_pem())).expect("PKCS#8");
        read(&certificate, &files.write("sec1.key", &sec1(&key))).expect("SEC1");

        let (certificate, key) = pair(&PKCS_ED25519);
        read(&files.write("tls.crt", &certificate.pem()), &files.write("tls.key", &key.serialize_pem()))
            .expect("Ed25519");
    }

    #[test]
    fn keeps_the_chain_in_order() {
        let files = Files::new();
        let (leaf, key) = ecdsa();
        let (intermediate, _) = ecdsa();
        let chain = format!("subject=leaf\n{}subject=CA\n{}", leaf.pem(), intermediate.pem());
        let read = read(&files.write("tls.crt", &chain), &files.write("tls.key", &key.serialize_pem()));
        assert_eq!(read.expect("a chain").key.cert, [leaf.der().clone(), intermediate.der().clone()]);
    }

    #[test]
    fn knows_when_the_leaf_is_valid() {
        let files = Files::new();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["gapless.example".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 2, 29);
        params.not_after = rcgen::date_time_ymd(2049, 12, 31);
        let certificate = params.self_signed(&key).expect("a certificate");
        let read = read(&files.write("c", &certificate.pem()), &files.write("k", &key.serialize_pem()));
        let validity = read.expect("a pair").validity;
        assert_eq!(validity.not_before.to_string(), "2020-02-29T00:00:00Z");
        assert_eq!(validity.not_after.to_string(), "2049-12-31T00:00:00Z");

        let at = |text: &str| validity.objection(text.parse().expect("a time"));
        assert_eq!(at("2020-02-29T00:00:00Z"), None);
        assert_eq!(at("2049-12-31T00:00:00Z"), None);
        assert_eq!(
            at("2020-02-28T23:59:59Z").as_deref(),
            Some("the certificate is not valid before 2020-02-29T00:00:00Z")
        );
        assert_eq!(
            at("2049-12-31T00:00:01Z").as_deref(),
            Some("the certificate has expired at 2049-12-31T00:00:00Z")
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let files = Files::new();
        let (certificate, key) = ecdsa();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let (_, other_key) = ecdsa();
        assert_eq!(
            files.problem(&certificate, &other_key.serialize_pem()),
            "tls.crt and tls.key are no usable pair: \
             the private key does not belong to the first certificate in the file"
        );
        let no_certificate = "tls.crt: there is no certificate; write one as -----BEGIN CERTIFICATE-----";
        assert_eq!(files.problem("", &key), no_certificate);
        assert_eq!(files.problem(&key, &key), no_certificate);
        let no_key = files.problem(&certificate, &certificate);
        assert!(
            no_key.starts_with("tls.key: there is no private key; write one as -----BEGIN PRIVATE"),
            "{no_key}"
        );
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(
            files.problem(&certificate, &encrypted),
            "tls.key: the private key is encrypted; write it without a passphrase"
        );
        let truncated = certificate.get(..100).expect("a certificate is longer");
        let truncated = files.problem(truncated, &key);
        assert!(truncated.starts_with("tls.crt: this is no PEM file of certificates: "), "{truncated}");
        let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let garbage = files.problem(garbage, &key);
        assert!(garbage.contains("the first certificate cannot be read: "), "{garbage}");
        let garbage = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
        let garbage = files.problem(&certificate, garbage);
        assert!(garbage.contains("the private key cannot be used: "), "{garbage}");
    }

    #[test]
    fn names_the_missing_file() {
        let missing = Path::new("/nonexistent/tls.crt");
        let error = read(missing, missing).expect_err("there is no file");
        assert_eq!(error.to_string(), "cannot read /nonexistent/tls.crt");
    }
}
