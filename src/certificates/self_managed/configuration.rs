//! A webhook configuration, as far as `caBundle` goes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::super::pem;
use super::plan::{Bundle, Ca, Merge};
use super::secret::known_ca;

/// The bundles of a MutatingWebhookConfiguration or
/// ValidatingWebhookConfiguration.
#[derive(Debug)]
pub struct Configuration {
    resource_version: Value,
    /// By the name of the webhook.
    webhooks: Vec<(String, Bundle)>,
}

impl Configuration {
    /// Reads the object.
    pub fn read(object: &Value) -> Self {
        let webhooks = object.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        let webhooks = webhooks.filter_map(|webhook| {
            let name = webhook.get("name")?.as_str()?;
            let ca_bundle = webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
            Some((name.to_owned(), parse(ca_bundle.unwrap_or_default())))
        });
        let resource_version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        Configuration { resource_version, webhooks: webhooks.collect() }
    }

    /// The bundles of its webhooks.
    pub fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.webhooks.iter().map(|(_, bundle)| bundle)
    }

    /// A strategic merge patch with the bundles that are to be different; `None` if
    /// there are none.
    ///
    /// It touches nothing but these, so that whoever manages the rest of the
    /// configuration owns it as before. With the `resourceVersion` that was read, the
    /// API server refuses it if anything has changed since.
    pub fn patch(&self, merge: &Merge) -> Option<Value> {
        let changes = self.webhooks.iter().filter_map(|(name, bundle)| {
            let ca_bundle = encode(&merge.apply(bundle)?);
            // The name is what a strategic merge patch knows an entry by.
            Some(json!({"name": name, "clientConfig": {"caBundle": ca_bundle}}))
        });
        let webhooks: Vec<Value> = changes.collect();
        (!webhooks.is_empty())
            .then(|| json!({"metadata": {"resourceVersion": self.resource_version}, "webhooks": webhooks}))
    }
}

fn parse(ca_bundle: &str) -> Bundle {
    let mut bundle = Bundle { cas: Vec::new(), has_garbage: false };
    let Ok(text) = BASE64_STANDARD.decode(ca_bundle) else {
        return Bundle { has_garbage: true, ..bundle };
    };
    for certificate in CertificateDer::pem_slice_iter(&text) {
        match certificate.map_err(|error| error.to_string()).and_then(known_ca) {
            Ok(ca) => bundle.cas.push(ca),
            Err(_) => bundle.has_garbage = true,
        }
    }
    bundle.has_garbage |= bundle.cas.is_empty() && !text.is_empty();
    bundle
}

fn encode(cas: &[Ca]) -> String {
    BASE64_STANDARD.encode(cas.iter().map(|ca| pem(&ca.certificate)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::super::Validity;
    use super::super::super::authority::Authority;
    use super::*;
    use jiff::{Timestamp, ToSpan};

    fn ca() -> Ca {
        let validity = Validity::days(1.year(), Timestamp::now());
        let authority = Authority::generate("some CA", Vec::new(), validity).expect("a CA");
        known_ca(authority.certificate).expect("a certificate")
    }

    #[test]
    fn bundles_are_read_and_written() {
        let (one, two) = (ca(), ca());
        let text = |text: &str| BASE64_STANDARD.encode(text);
        let (first, second) = (pem(&one.certificate), pem(&two.certificate));
        let bundle =
            |cas: &[&Ca], has_garbage| Bundle { cas: cas.iter().copied().cloned().collect(), has_garbage };
        for (written, expected) in [
            (String::new(), bundle(&[], false)),
            (text(&first), bundle(&[&one], false)),
            (text(&format!("{first}{second}")), bundle(&[&one, &two], false)),
            (text(&format!("# ours\n{second}\n\n{first}")), bundle(&[&two, &one], false)),
            (text("hello"), bundle(&[], true)),
            (text("\n"), bundle(&[], true)),
            ("!".to_owned(), bundle(&[], true)),
            (text(&format!("{first}{}", &second[..100])), bundle(&[&one], true)),
            (text(&first.replace("MII", "AAA")), bundle(&[], true)),
        ] {
            assert_eq!(parse(&written), expected, "{written}");
        }
        assert_eq!(encode(&[one, two]), text(&format!("{first}{second}")));
    }

    #[test]
    fn a_patch_touches_only_what_is_to_be_different() {
        let (one, two) = (ca(), ca());
        let configuration = Configuration::read(&json!({
            "metadata": {"name": "gapless", "resourceVersion": "42"},
            "webhooks": [
                {"name": "a", "clientConfig": {"service": {"name": "gapless"}}},
                {"name": "b", "clientConfig": {"caBundle": encode(&[one.clone(), two.clone()])}},
                {"name": "c", "clientConfig": {"caBundle": encode(std::slice::from_ref(&two))}},
            ],
        }));
        assert_eq!(configuration.bundles().count(), 3);
        let merge = Merge { required: vec![one.clone()], dropped: Vec::new() };
        let expected = json!({
            "metadata": {"resourceVersion": "42"},
            "webhooks": [
                {"name": "a", "clientConfig": {"caBundle": encode(std::slice::from_ref(&one))}},
                {"name": "c", "clientConfig": {"caBundle": encode(&[two, one])}},
            ],
        });
        assert_eq!(configuration.patch(&merge), Some(expected));
        assert_eq!(configuration.patch(&Merge::default()), None);
    }
}
