//! A serving certificate from files, as cert-manager or an operator provide it.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateError, ServingCertificate};
use crate::watched::{Contents, Watched, WatchedFiles};

/// The files of a certificate and its key, and what was in them at the last
/// look.
#[derive(Debug)]
pub struct WatchedPair {
    files: WatchedFiles<2>,
    /// One that is not valid yet. Its files need not change for it to be.
    early: Option<ServingCertificate>,
}

impl WatchedPair {
    /// Reads a certificate, with the intermediate ones after it, and its key,
    /// for the first time. Whether it is valid now is for the caller to judge.
    ///
    /// # Errors
    /// If a file cannot be read, holds something else, or the two are no pair.
    pub fn open(certificate: &Path, key: &Path) -> Result<(ServingCertificate, Self), CertificateError> {
        let (contents, files) = WatchedFiles::open([certificate, key]);
        let certificate = understand([certificate, key], contents)?;
        Ok((certificate, WatchedPair { files, early: None }))
    }

    /// The file of the certificate.
    pub fn path(&self) -> &Path {
        let [certificate, _] = self.files.paths();
        certificate
    }

    /// Looks at the files; `None` if they are as they were. Each content is
    /// refused only once; and one that was, because its time had not come, is
    /// returned when it has.
    fn look_at(&mut self, now: Timestamp) -> Option<Result<ServingCertificate, CertificateError>> {
        let is_valid = |pair: &mut ServingCertificate| pair.validity.objection(now).is_none();
        let Some(contents) = self.files.look() else {
            return self.early.take_if(is_valid).map(Ok);
        };
        self.early = None;
        let pair = understand(self.files.paths(), contents);
        Some(pair.and_then(|pair| match pair.validity.objection(now) {
            None => Ok(pair),
            Some(objection) => {
                let path = self.path().to_owned();
                self.early = Some(pair);
                Err(CertificateError::NotValid { path, objection })
            }
        }))
    }
}

impl Watched for WatchedPair {
    type Change = Result<ServingCertificate, CertificateError>;

    fn look(&mut self) -> Option<Self::Change> {
        self.look_at(Timestamp::now())
    }

    fn forget(&mut self) {
        self.files.forget();
    }
}

fn understand(
    [certificate, key]: [&Path; 2],
    [chain, private_key]: Contents<2>,
) -> Result<ServingCertificate, CertificateError> {
    let chain = parse_chain(certificate, &readable(certificate, chain)?)?;
    let private_key = parse_key(key, &readable(key, private_key)?)?;
    ServingCertificate::new(chain, private_key).map_err(|problem| CertificateError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        problem,
    })
}

pub(super) fn readable(path: &Path, content: io::Result<Vec<u8>>) -> Result<Vec<u8>, CertificateError> {
    content.map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
}

pub(super) fn parse_chain(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
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

fn parse_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        malformed(
            path,
            match error {
                pem::Error::NoItemsFound if text_holds(text, "ENCRYPTED PRIVATE KEY") => {
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

pub(super) fn malformed(path: &Path, problem: String) -> CertificateError {
    CertificateError::Malformed { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_ED25519, SignatureAlgorithm};
    use tempfile::TempDir;

    use super::*;

    fn read(certificate: &Path, key: &Path) -> Result<ServingCertificate, CertificateError> {
        WatchedPair::open(certificate, key).map(|(pair, _)| pair)
    }

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

    /// A certificate that is valid on these days.
    fn valid(from: (i32, u8, u8), until: (i32, u8, u8)) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["gapless.example".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn each_change_is_looked_at_once() {
        let files = Files::new();
        let (first, second) = (valid((2026, 1, 1), (2026, 12, 31)), valid((2026, 6, 1), (2027, 5, 31)));
        let expired = valid((2024, 1, 1), (2025, 12, 31));
        let half = second.0.get(..second.0.len() / 2).expect("a half").to_owned();
        let write =
            |certificate: &str, key: &str| (files.write("tls.crt", certificate), files.write("tls.key", key));
        let (certificate, key) = write(&first.0, &first.1);
        let (_, mut watched) = WatchedPair::open(&certificate, &key).expect("a pair");
        assert_eq!(watched.path(), certificate);

        let mismatch = "the private key does not belong to the first certificate in the file";
        // What is written, and what a look in July says of it, and the next look.
        for (certificate, key, expected) in [
            (&first.0, &first.1, None),
            (&second.0, &first.1, Some(mismatch)),
            (&half, &second.1, Some("this is no PEM file of certificates")),
            (&expired.0, &expired.1, Some("tls.crt: the certificate has expired at 2025-12-31T00:00:00Z")),
            (&String::new(), &second.1, Some("there is no certificate")),
            (&second.0, &half, Some("this is no PEM file of a private key")),
            (&second.0, &second.1, Some("")),
            (&second.0, &second.1, None),
            (&first.0, &first.1, Some("")),
        ] {
            write(certificate, key);
            let july = "2026-07-01T00:00:00Z".parse().expect("a time");
            match (watched.look_at(july), expected) {
                (None, None) | (Some(Ok(_)), Some("")) => {}
                (Some(Err(error)), Some(expected)) if !expected.is_empty() => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (looked, expected) => panic!("not {expected:?}: {looked:?}"),
            }
            assert!(watched.look_at(july).is_none(), "{expected:?}");
        }
        fs::remove_file(&certificate).expect("a file");
        let error = watched.look_at(Timestamp::UNIX_EPOCH).expect("a change").expect_err("no file");
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }

    #[test]
    fn a_certificate_whose_time_has_not_come_is_kept_for_later() {
        let files = Files::new();
        let (now, later) = (valid((2026, 1, 1), (2026, 12, 31)), valid((2026, 6, 1), (2027, 5, 31)));
        let write = |(certificate, key): &(String, String)| {
            (files.write("tls.crt", certificate), files.write("tls.key", key))
        };
        let (certificate, key) = write(&now);
        let (_, mut watched) = WatchedPair::open(&certificate, &key).expect("a pair");
        let mut look = |time: &str| watched.look_at(time.parse().expect("a time"));

        write(&later);
        let error = look("2026-05-31T23:59:59Z").expect("a change").expect_err("not yet").to_string();
        assert!(error.ends_with("the certificate is not valid before 2026-06-01T00:00:00Z"), "{error}");
        assert!(look("2026-05-31T23:59:59Z").is_none());
        let pair = look("2026-06-01T00:00:00Z").expect("its time has come").expect("a pair");
        assert_eq!(pair.validity.not_after.to_string(), "2027-05-31T00:00:00Z");
        assert!(look("2026-06-01T00:00:01Z").is_none());

        // Another one has taken its place before its time came.
        write(&now);
        assert!(look("2026-05-01T00:00:00Z").expect("a change").is_ok());
        write(&later);
        assert!(look("2026-05-01T00:00:01Z").expect("a change").is_err());
        write(&now);
        assert!(look("2026-05-01T00:00:02Z").expect("a change").is_ok());
        assert!(look("2026-07-01T00:00:00Z").is_none(), "it is gone");
    }
}
