//! The webhooks that the API server knows, and how it calls them.

use std::error::Error;
use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use kube::config::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;

use super::failure::{self, RequestError};
use super::kubeconfig::Connection;
use super::list::List;
use super::object::Place;
use crate::kubernetes::label_selector::LabelSelector;

/// A kind of webhook configuration.
#[derive(Clone, Copy, Debug)]
pub struct Configurations {
    /// The kind.
    pub kind: &'static str,
    /// Whether its webhooks may change objects.
    pub is_mutating: bool,
    resource: &'static str,
    plural: &'static str,
}

const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";

/// Both kinds.
pub const CONFIGURATIONS: [Configurations; 2] = [
    Configurations {
        kind: "MutatingWebhookConfiguration",
        is_mutating: true,
        resource: "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        plural: "mutatingwebhookconfigurations",
    },
    Configurations {
        kind: "ValidatingWebhookConfiguration",
        is_mutating: false,
        resource: "validatingwebhookconfigurations.admissionregistration.k8s.io",
        plural: "validatingwebhookconfigurations",
    },
];

impl Configurations {
    /// Where the configuration of this name is.
    pub fn place<'a>(&self, name: &'a str) -> Place<'a> {
        Place { resource: self.resource, root: ROOT, plural: self.plural, namespace: None, name }
    }

    /// All of this kind.
    pub fn list(&self, limit: u32) -> List<'static> {
        List { resource: self.resource, root: ROOT, plural: self.plural, namespace: None, labels: "", limit }
    }
}

/// One entry of a webhook configuration, as far as calling it goes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its name, such as `production.validate.gapless.dev`.
    pub name: String,
    client_config: ClientConfig,
    timeout_seconds: u64,
    failure_policy: String,
    #[serde(default)]
    namespace_selector: Value,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What a webhook is called for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    operations: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    url: Option<String>,
    service: Option<ServiceReference>,
    #[serde(default)]
    ca_bundle: String,
}

#[derive(Debug, Deserialize)]
struct ServiceReference {
    namespace: String,
    name: String,
    #[serde(default)]
    path: String,
    port: u16,
}

/// What a webhook says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request may pass as it is.
    Allowed,
    /// The request may pass, with changes.
    Patched,
    /// The request may not pass.
    Denied,
    /// Nothing: it wants a client certificate, which only the API server has.
    WantsCertificate,
}

/// Why a webhook does not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Its Service cannot be found.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Something in the way, in words.
    #[error("{0}")]
    Other(String),
}

impl Webhook {
    /// Reads the entries of a webhook configuration.
    ///
    /// # Errors
    /// If they are not what the API server lets through.
    pub fn read_all(configuration: &Value) -> Result<Vec<Webhook>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Configuration {
            #[serde(default)]
            webhooks: Vec<Webhook>,
        }
        Configuration::deserialize(configuration).map(|it| it.webhooks)
    }

    /// Whether the API server calls it for a Deployment that is created.
    pub fn is_called_for_new_deployments(&self) -> bool {
        self.is_called_for("apps", "deployments", "CREATE")
    }

    /// Whether the API server calls it for a Service that is updated.
    pub fn is_called_for_updated_services(&self) -> bool {
        self.is_called_for("", "services", "UPDATE")
    }

    fn is_called_for(&self, group: &str, resource: &str, operation: &str) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|it| it == item || it == "*");
        self.rules.iter().any(|rule| {
            has(&rule.api_groups, group) && has(&rule.resources, resource) && has(&rule.operations, operation)
        })
    }

    /// Whether the API server calls it for what is in this Namespace.
    pub fn selects(&self, namespace: &Value) -> bool {
        let labels = namespace.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
        let selector = Option::<LabelSelector>::deserialize(&self.namespace_selector);
        selector.is_ok_and(|selector| selector.is_none_or(|selector| selector.matches(&labels)))
    }

    /// Why nothing is heard of it although the API server should have called it for a
    /// Deployment in this namespace.
    pub fn silence(&self, namespace: &str) -> String {
        let unheard = format!("nothing of it is heard about a Deployment in namespace {namespace}");
        let exempt = "the configuration of gapless may exempt you or the namespace";
        match self.failure_policy.as_str() {
            "Ignore" => format!(
                "{unheard}: the API server cannot call it and goes on without (failurePolicy Ignore), its log says \
                 why; or {exempt}"
            ),
            _ => format!("{unheard}: {exempt}"),
        }
    }

    /// Calls it as the API server does: a Service by its cluster IP, under the name
    /// for which its certificate has to be valid, trusting its `caBundle` only
    /// (kubernetes, apiserver/pkg/util/webhook/client.go).
    ///
    /// # Errors
    /// If there is no answer to this review.
    pub async fn call(&self, connection: &Connection, review: &str) -> Result<Answer, CallError> {
        let target = self.client_config.target(connection).await?;
        let mut config = Config::new(target.server.clone());
        config.tls_server_name = target.tls_server_name;
        config.root_cert = self.client_config.cas()?;
        let limit = Duration::from_secs(self.timeout_seconds);
        (config.connect_timeout, config.read_timeout) = (Some(limit), Some(limit));
        let other = |why: String| CallError::Other(format!("{}{}: {why}", target.server, target.path));
        let client = kube::Client::try_from(config).map_err(|error| other(failure::cause(&error)))?;
        let request = Request::post(format!("{}?timeout={}s", target.path, self.timeout_seconds))
            .header(CONTENT_TYPE, "application/json")
            .body(review.as_bytes().to_vec())
            .map_err(|error| other(error.to_string()))?;
        match client.request::<Value>(request).await {
            Ok(answer) => understand(review, &answer).map_err(|why| other(why.to_owned())),
            Err(error) if wants_certificate(&error) => Ok(Answer::WantsCertificate),
            Err(error) => Err(other(failure::cause(&error))),
        }
    }
}

/// Where to send a call.
struct Target {
    server: Uri,
    path: String,
    tls_server_name: Option<String>,
}

impl ClientConfig {
    async fn target(&self, connection: &Connection) -> Result<Target, CallError> {
        if let Some(service) = &self.service {
            return service.target(connection).await;
        }
        let url = self.url.as_deref().unwrap_or_default();
        let invalid = || CallError::Other(format!("{url:?} is no URL"));
        let parts = url.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let (Some(authority), Some(path)) = (parts.authority, parts.path_and_query) else {
            return Err(invalid());
        };
        let server = format!("https://{authority}").parse().map_err(|_| invalid())?;
        Ok(Target { server, path: path.path().to_owned(), tls_server_name: None })
    }

    /// `None`: those that the system trusts.
    fn cas(&self) -> Result<Option<Vec<Vec<u8>>>, CallError> {
        if self.ca_bundle.is_empty() {
            return Ok(None);
        }
        let invalid = |why: String| CallError::Other(format!("its caBundle cannot be read: {why}"));
        let text = BASE64_STANDARD.decode(&self.ca_bundle).map_err(|error| invalid(error.to_string()))?;
        let cas: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let cas = cas.map_err(|error| invalid(error.to_string()))?;
        Ok(Some(cas.iter().map(|ca| ca.to_vec()).collect()))
    }
}

impl ServiceReference {
    async fn target(&self, connection: &Connection) -> Result<Target, CallError> {
        let ServiceReference { namespace, name, path, port } = self;
        let other = |why: &str| CallError::Other(format!("Service {name} in namespace {namespace} {why}"));
        let service = Place {
            resource: "services",
            root: "/api/v1",
            plural: "services",
            namespace: Some(namespace),
            name,
        };
        let service = service.get(connection).await?.ok_or_else(|| other("does not exist"))?;
        let cluster_ip = match service.pointer("/spec/clusterIP").and_then(Value::as_str) {
            None | Some("" | "None") => return Err(other("has no cluster IP")),
            Some(address) if address.contains(':') => format!("[{address}]"),
            Some(address) => address.to_owned(),
        };
        let server = format!("https://{cluster_ip}:{port}").parse();
        Ok(Target {
            server: server.map_err(|_| other("has a cluster IP that is none"))?,
            path: path.clone(),
            tls_server_name: Some(format!("{name}.{namespace}.svc")),
        })
    }
}

fn understand(review: &str, answer: &Value) -> Result<Answer, &'static str> {
    let review: Value = serde_json::from_str(review).map_err(|_| "the review is no JSON")?;
    let uid = review.pointer("/request/uid");
    if uid.is_none() || answer.pointer("/response/uid") != uid {
        return Err("the answer is no AdmissionReview for this call");
    }
    match answer.pointer("/response/allowed").and_then(Value::as_bool) {
        None => Err("the answer does not say whether the request is allowed"),
        Some(false) => Ok(Answer::Denied),
        Some(true) if answer.pointer("/response/patch").is_some() => Ok(Answer::Patched),
        Some(true) => Ok(Answer::Allowed),
    }
}

/// Whether the server has ended the TLS connection for want of a certificate.
fn wants_certificate(error: &kube::Error) -> bool {
    let mut layer: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = layer {
        // Its source is that of what it holds.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(rustls::Error::AlertReceived(alert)) = held.and_then(|it| it.downcast_ref()) {
            // TLS 1.3; TLS 1.2 has no alert of its own for it.
            return matches!(
                alert,
                rustls::AlertDescription::CertificateRequired | rustls::AlertDescription::HandshakeFailure
            );
        }
        layer = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_for_one_call() {
        let review = r#"{"request": {"uid": "u-1"}}"#;
        for (response, expected) in [
            (json!({"uid": "u-1", "allowed": true}), Ok(Answer::Allowed)),
            (json!({"uid": "u-1", "allowed": true, "patch": "W10="}), Ok(Answer::Patched)),
            (json!({"uid": "u-1", "allowed": false}), Ok(Answer::Denied)),
            (json!({"uid": "u-1"}), Err("the answer does not say whether the request is allowed")),
            (json!({"uid": "u-2", "allowed": true}), Err("the answer is no AdmissionReview for this call")),
            (json!({}), Err("the answer is no AdmissionReview for this call")),
        ] {
            assert_eq!(understand(review, &json!({"response": response})), expected, "{response}");
        }
    }

    #[test]
    fn what_the_api_server_stores_can_be_read() {
        let entry = |client_config: Value| {
            json!({"webhooks": [{"name": "a", "timeoutSeconds": 3,
            "failurePolicy": "Ignore", "clientConfig": client_config}]})
        };
        let service = json!({"namespace": "n", "name": "s", "path": "/p", "port": 443});
        for (client_config, has_ca) in [
            (json!({"service": service}), false),
            (json!({"url": "https://a.example/b", "caBundle": BASE64_STANDARD.encode("")}), false),
            (json!({"service": service, "caBundle": BASE64_STANDARD.encode("# none")}), true),
        ] {
            let webhooks = Webhook::read_all(&entry(client_config)).expect("an entry");
            let [webhook] = &webhooks[..] else { panic!("{webhooks:?}") };
            assert_eq!(webhook.client_config.cas().expect("a bundle").is_some(), has_ca);
        }
        assert!(Webhook::read_all(&json!({"metadata": {}})).expect("none").is_empty());
    }

    #[test]
    fn for_what_and_where_a_webhook_is_called() {
        let webhook = |rules: Value, selector: Value| {
            let entry = json!({"name": "a", "timeoutSeconds": 3, "failurePolicy": "Ignore",
                "clientConfig": {"url": "https://a.example/b"}, "rules": rules, "namespaceSelector": selector});
            Webhook::read_all(&json!({"webhooks": [entry]})).expect("an entry").remove(0)
        };
        let rule = |group: &str, resource: &str, operation: &str| json!([{"apiGroups": [group], "resources": [resource], "operations": [operation]}]);
        for (rules, expected) in [
            (rule("apps", "deployments", "CREATE"), true),
            (rule("*", "*", "*"), true),
            (rule("apps", "deployments", "UPDATE"), false),
            (rule("apps", "statefulsets", "CREATE"), false),
            (rule("", "services", "*"), false),
            (json!([]), false),
        ] {
            assert_eq!(
                webhook(rules.clone(), json!({})).is_called_for_new_deployments(),
                expected,
                "{rules}"
            );
        }
        let shop = json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}});
        let by_name = |operator: &str| {
            json!({"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": operator, "values": ["shop"]},
            ]})
        };
        for (selector, expected) in
            [(Value::Null, true), (json!({}), true), (by_name("In"), true), (by_name("NotIn"), false)]
        {
            assert_eq!(webhook(json!([]), selector.clone()).selects(&shop), expected, "{selector}");
        }
    }
}
