//! The Secret: what its keys hold, and what they mean.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Map, Value, json};

use super::super::authority::{Authority, Issued};
use super::super::host::Host;
use super::super::{ServingCertificate, Validity, crypto_provider, pem, validity};
use super::plan::{Ca, Generation, Leaf, Stored};

/// The keys of the generation that signs: those of a Secret of type
/// kubernetes.io/tls, as cert-manager fills it, and the CA's key.
const CURRENT: Keys = Keys { ca: "ca.crt", certificate: "tls.crt", key: "tls.key" };
const CA_KEY: &str = "ca.key";

/// The keys of the generation before. Its CA cannot sign any more.
const PREVIOUS: Keys =
    Keys { ca: "previous-ca.crt", certificate: "previous-tls.crt", key: "previous-tls.key" };

/// Whose Secret it is. One without this label is somebody else's, and is left
/// alone.
const OWNER: (&str, &str) = ("app.kubernetes.io/managed-by", "gapless");

struct Keys {
    ca: &'static str,
    certificate: &'static str,
    key: &'static str,
}

/// A generation with everything that it takes to serve with it.
#[derive(Clone, Debug)]
pub struct Servable {
    /// What it is known by.
    pub generation: Generation,
    /// What the TLS listener serves.
    pub certificate: ServingCertificate,
    /// The private key, in PEM.
    key: String,
}

impl Servable {
    /// A certificate that was just made.
    ///
    /// # Errors
    /// If clients would not accept it.
    pub fn issued(authority: &Authority, issued: &Issued) -> Result<Self, String> {
        Servable::parse(
            &authority.certificate_pem(),
            &issued.certificate_pem(),
            &issued.key_pem(),
            authority.hosts(),
        )
    }

    /// Reads all three in PEM. The certificate has to be one that clients accept
    /// for all these hosts, if they trust the CA and its time has come.
    fn parse(ca: &str, certificate: &str, key: &str, hosts: &[Host]) -> Result<Self, String> {
        let ca = one_certificate(ca)?;
        let leaf = one_certificate(certificate)?;
        let private_key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| format!("the private key cannot be read: {error}"))?;
        let certificate =
            ServingCertificate::new(vec![leaf.clone()], private_key).map_err(|error| error.to_string())?;
        let ca = known_ca(ca)?;
        for host in hosts {
            accept(&ca.certificate, &leaf, host, certificate.validity.not_before)
                .map_err(|error| format!("clients do not accept the certificate for {host}: {error}"))?;
        }
        let leaf = Leaf { certificate: leaf, not_after: certificate.validity.not_after };
        Ok(Servable { generation: Generation { ca, leaf }, certificate, key: key.to_owned() })
    }
}

/// A CA's certificate, by which it is known.
///
/// # Errors
/// If it is no certificate.
pub fn known_ca(certificate: CertificateDer<'static>) -> Result<Ca, String> {
    let Validity { not_before, not_after } = validity(&certificate).map_err(|error| error.to_string())?;
    Ok(Ca { certificate, not_before, not_after })
}

fn one_certificate(text: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| format!("the certificate cannot be read: {error}"))
}

/// Whether clients that trust the CA accept the certificate for this host.
fn accept(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    host: &Host,
    time: Timestamp,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(|error| error.to_string())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().max(0).unsigned_abs()));
    let accepted = verifier.verify_server_cert(leaf, &[], &name, &[], time);
    accepted.map(|_| ()).map_err(|error| error.to_string())
}

/// What the Secret holds, as far as it can be used.
#[derive(Debug)]
pub struct Contents {
    /// What signs.
    authority: Option<Authority>,
    /// What it has signed last.
    pub current: Option<Servable>,
    /// The generation before.
    pub previous: Option<Servable>,
    /// What is wrong with the rest, if anything is.
    pub problem: Option<String>,
}

impl Contents {
    /// Reads the data of the Secret.
    pub fn read(secret: &Value, hosts: &[Host]) -> Self {
        let mut problems = Vec::new();
        let authority = authority(secret, hosts).map_err(|why| problems.push(why)).ok();
        let current = servable(secret, &CURRENT, hosts).map_err(|why| problems.push(why)).ok();
        let has_previous = !data(secret, PREVIOUS.ca).is_null();
        // There is not always one, and one that is spoilt is forgotten.
        let previous = servable(secret, &PREVIOUS, hosts).ok().filter(|_| has_previous);
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        Contents { authority, current, previous, problem }
    }

    /// A new CA with its first certificate, and the generation before.
    ///
    /// # Errors
    /// If clients would not accept the certificate.
    pub fn new(authority: Authority, issued: &Issued, previous: Option<Servable>) -> Result<Self, String> {
        let current = Some(Servable::issued(&authority, issued)?);
        Ok(Contents { authority: Some(authority), current, previous, problem: None })
    }

    /// What signs.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The same as the decision needs it.
    pub fn stored(&self) -> Stored {
        let generation = |servable: &Option<Servable>| servable.as_ref().map(|it| it.generation.clone());
        let ca = self.authority.as_ref().map(|authority| Ca {
            certificate: authority.certificate.clone(),
            not_before: authority.validity.not_before,
            not_after: authority.validity.not_after,
        });
        Stored { ca, current: generation(&self.current), previous: generation(&self.previous) }
    }

    /// The data of the Secret.
    pub fn data(&self) -> Value {
        let mut data = Map::new();
        let mut put =
            |key: &str, text: &str| data.insert(key.to_owned(), json!(BASE64_STANDARD.encode(text)));
        if let Some(authority) = &self.authority {
            put(CURRENT.ca, &authority.certificate_pem());
            put(CA_KEY, &authority.key_pem());
        }
        for (keys, servable) in [(CURRENT, &self.current), (PREVIOUS, &self.previous)] {
            if let Some(servable) = servable {
                put(keys.ca, &pem(&servable.generation.ca.certificate));
                put(keys.certificate, &pem(&servable.generation.leaf.certificate));
                put(keys.key, &servable.key);
            }
        }
        Value::Object(data)
    }
}

fn data<'a>(secret: &'a Value, key: &str) -> &'a Value {
    secret.get("data").and_then(|data| data.get(key)).unwrap_or(&Value::Null)
}

fn text(secret: &Value, key: &str) -> Result<String, String> {
    let encoded = data(secret, key).as_str().filter(|encoded| !encoded.is_empty());
    let encoded = encoded.ok_or_else(|| format!("{key} is missing"))?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|error| format!("{key}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{key} is no text"))
}

fn servable(secret: &Value, keys: &Keys, hosts: &[Host]) -> Result<Servable, String> {
    let text = |key| text(secret, key);
    Servable::parse(&text(keys.ca)?, &text(keys.certificate)?, &text(keys.key)?, hosts)
        .map_err(|why| format!("{}, {} and {}: {why}", keys.ca, keys.certificate, keys.key))
}

fn authority(secret: &Value, hosts: &[Host]) -> Result<Authority, String> {
    let (certificate, key) = (text(secret, CURRENT.ca)?, text(secret, CA_KEY)?);
    let unusable = |why: String| format!("{} and {CA_KEY}: {why}", CURRENT.ca);
    let certificate = one_certificate(&certificate).map_err(unusable)?;
    let authority =
        Authority::load(certificate, &key, hosts.to_vec()).map_err(|error| unusable(error.to_string()))?;
    // Tried out: it may be a CA for other hosts, or none at all.
    let sample = authority.issue(authority.validity).map_err(|error| unusable(error.to_string()))?;
    Servable::issued(&authority, &sample).map_err(unusable)?;
    Ok(authority)
}

/// Whether gapless has made this Secret.
pub fn is_own(secret: &Value) -> bool {
    let label = secret.pointer("/metadata/labels").and_then(|labels| labels.get(OWNER.0));
    label.and_then(Value::as_str) == Some(OWNER.1)
}

/// A new Secret.
///
/// Its type makes the API server insist on a certificate and a key
/// (kubernetes, pkg/apis/core/validation, `ValidateSecret`).
pub fn new_secret(name: &str, contents: &Contents) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {OWNER.0: OWNER.1}},
        "type": "kubernetes.io/tls",
        "data": contents.data(),
    })
}

/// The Secret with other contents; everything else in it stays, its
/// `resourceVersion` included.
pub fn with_contents(mut secret: Value, contents: &Contents) -> Value {
    if let Some(object) = secret.as_object_mut() {
        object.insert("data".to_owned(), contents.data());
    }
    secret
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const NOW: &str = "2026-11-27T10:00:00Z";

    fn validity(hours: i64) -> Validity {
        let now: Timestamp = NOW.parse().expect("a time");
        Validity { not_before: now, not_after: now + SignedDuration::from_hours(hours) }
    }

    fn hosts(names: &str) -> Vec<Host> {
        names.split(' ').map(|name| name.parse().expect("a host")).collect()
    }

    fn contents(names: &str, previous: Option<Servable>) -> Contents {
        let authority = Authority::generate("some CA", hosts(names), validity(2)).expect("a CA");
        let issued = authority.issue(validity(1)).expect("a certificate");
        Contents::new(authority, &issued, previous).expect("contents")
    }

    const HOSTS: &str = "gapless.shop.svc 127.0.0.1";

    #[test]
    fn what_is_written_is_read() {
        let old = contents(HOSTS, None);
        for previous in [None, old.current] {
            let written = contents(HOSTS, previous);
            let secret = new_secret("gapless-tls", &written);
            assert!(is_own(&secret));
            let read = Contents::read(&secret, &hosts(HOSTS));
            assert_eq!(read.problem, None);
            assert_eq!(read.stored(), written.stored());
            assert_eq!(read.stored().previous.is_some(), written.previous.is_some());
            assert_eq!(read.data(), secret["data"]);
            let now: Timestamp = NOW.parse().expect("a time");
            let current = read.current.expect("a certificate").generation;
            assert_eq!(current.leaf.not_after, now + SignedDuration::from_hours(1));
            assert_eq!(current.ca.not_after, now + SignedDuration::from_hours(2));
        }
    }

    #[test]
    fn with_other_contents_everything_else_stays() {
        let mut secret = new_secret("gapless-tls", &contents(HOSTS, None));
        secret["metadata"]["resourceVersion"] = json!("7");
        secret["metadata"]["labels"]["team"] = json!("platform");
        let other = contents(HOSTS, None);
        let changed = with_contents(secret.clone(), &other);
        assert_eq!(changed["data"], other.data());
        assert_eq!(changed["metadata"], secret["metadata"]);
        assert_eq!(changed["type"], "kubernetes.io/tls");
    }

    /// What is left of a Secret with this in the place of a key's value: whether a
    /// CA that signs, a certificate, and the one before; and what is said.
    fn left(key: &str, value: Value) -> ((bool, bool, bool), String) {
        let mut secret = new_secret("gapless-tls", &contents(HOSTS, contents(HOSTS, None).current));
        secret["data"][key] = value;
        let read = Contents::read(&secret, &hosts(HOSTS));
        let left = (read.authority.is_some(), read.current.is_some(), read.previous.is_some());
        (left, read.problem.unwrap_or_default())
    }

    #[test]
    fn what_is_spoilt_is_not_used() {
        let other = new_secret("other", &contents(HOSTS, None))["data"].clone();
        let of_others = new_secret("other", &contents("other.shop.svc", None))["data"].clone();
        let mismatch = "the private key does not belong to the first certificate in the file";
        for (key, value, expected, problem) in [
            ("ca.crt", Value::Null, (false, false, true), "ca.crt is missing; ca.crt is missing"),
            ("ca.key", json!(""), (false, true, true), "ca.key is missing"),
            ("ca.key", json!("!"), (false, true, true), "ca.key: Invalid symbol 33, offset 0."),
            (
                "ca.key",
                json!("aGVsbG8="),
                (false, true, true),
                "ca.crt and ca.key: the private key cannot be read: ",
            ),
            ("ca.key", other["ca.key"].clone(), (false, true, true), mismatch),
            ("ca.crt", other["ca.crt"].clone(), (false, false, true), mismatch),
            ("ca.crt", json!("aGVsbG8="), (false, false, true), "the certificate cannot be read: "),
            ("tls.crt", other["tls.crt"].clone(), (true, false, true), mismatch),
            ("tls.key", other["tls.key"].clone(), (true, false, true), mismatch),
            ("tls.key", Value::Null, (true, false, true), "tls.key is missing"),
            ("previous-tls.key", other["tls.key"].clone(), (true, true, false), ""),
            ("previous-ca.crt", Value::Null, (true, true, false), ""),
            ("unknown", json!("!"), (true, true, true), ""),
        ] {
            let (left, said) = left(key, value);
            assert_eq!(left, expected, "{key}: {said}");
            assert!(said.contains(problem) && said.is_empty() == problem.is_empty(), "{key}: {said}");
        }
        let read = Contents::read(&json!({"data": of_others}), &hosts(HOSTS));
        assert!(read.authority.is_none() && read.current.is_none());
        let problem = read.problem.expect("a problem");
        assert!(problem.contains("clients do not accept the certificate for gapless.shop.svc"), "{problem}");
        let nothing = Contents::read(&json!({}), &hosts(HOSTS));
        assert_eq!(nothing.stored(), Stored::default());
    }

    /// A pair that matches, of a CA that is another one.
    #[test]
    fn a_certificate_of_another_ca_is_not_used() {
        let mut secret = new_secret("gapless-tls", &contents(HOSTS, None));
        let other = new_secret("other", &contents(HOSTS, None));
        for key in ["tls.crt", "tls.key"] {
            secret["data"][key] = other["data"][key].clone();
        }
        let read = Contents::read(&secret, &hosts(HOSTS));
        assert!(read.authority.is_some() && read.current.is_none());
    }

    #[test]
    fn somebody_elses_secret_is_not_ours() {
        for labels in [json!(null), json!({}), json!({"app.kubernetes.io/managed-by": "Helm"})] {
            assert!(!is_own(&json!({"metadata": {"labels": labels}})), "{labels}");
        }
    }
}
