//! Whether the API server reaches a webhook: it is asked to create a Deployment, as a
//! dry run, and what comes back has to show that gapless had it.

use http::Request;
use http::header::{CONTENT_TYPE, WARNING};
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};

use super::failure::{Asked, RequestError};
use super::kubeconfig::Connection;
use super::list::{self, List};
use super::webhook::Webhook;
use crate::ownership::record;
use crate::waiver;

/// What the API server has to say about a webhook.
#[derive(Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has an answer of the webhook, about a Deployment in this namespace.
    Answers(String),
    /// It has none, and this is why, as far as it says so.
    Fails(String),
    /// It has not been asked, and this is why.
    NotAsked(String),
}

/// The namespaces of a cluster, as far as they may be read.
#[derive(Debug)]
pub struct Namespaces {
    /// As the API server lists them; that of the context comes first.
    objects: Vec<Value>,
    /// Why there may be others.
    unknown: Option<RequestError>,
}

/// In how many namespaces is tried whether the user may create Deployments.
const MOST_NAMESPACES: usize = 20;

/// A waiver of nothing, about which every profile warns.
const WAIVED: &str = "ping";
/// A record that is none, which no profile leaves there.
const NO_RECORD: &str = "ping";

/// A Deployment that no built-in profile denies, with gapless or without.
fn deployment() -> Value {
    let labels = json!({"app": "gapless-ping", "app.kubernetes.io/version": "1.0.0", "version": "1.0.0"});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "generateName": "gapless-ping-",
            "labels": labels,
            "annotations": {format!("{}{WAIVED}", waiver::PREFIX): "a test", record::ANNOTATION: NO_RECORD},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "gapless-ping"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 40,
                    "containers": [{
                        "name": "app",
                        "image": "registry.example/ping:1.0.0",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 5},
                        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                    }],
                },
            },
        },
    })
}

impl Namespaces {
    /// Reads all namespaces, or that of the context where only this is allowed.
    ///
    /// # Errors
    /// If they cannot be read, for another reason than that it is not allowed.
    pub async fn read(connection: &Connection) -> Result<Self, RequestError> {
        let all = List {
            resource: "namespaces",
            root: "/api/v1",
            plural: "namespaces",
            namespace: None,
            labels: "",
            limit: 500,
        };
        let take = |objects: &mut Vec<Value>, page: list::Page| objects.extend(page.items);
        let (mut objects, unknown) = match all.read(connection, Vec::new, take, || {}).await {
            Ok(objects) => (objects, None),
            Err(error @ RequestError::Forbidden { .. }) => {
                match list::namespace(connection, &connection.namespace).await {
                    Ok(namespace) => (vec![namespace], Some(error)),
                    Err(RequestError::Forbidden { .. } | RequestError::NotFound { .. }) => {
                        (Vec::new(), Some(error))
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        objects.sort_by_key(|object| name(object) != connection.namespace);
        Ok(Namespaces { objects, unknown })
    }

    /// Those about which the API server asks this webhook. Nothing can be created in
    /// one that is being deleted.
    ///
    /// # Errors
    /// Why there are none.
    fn selected_by(&self, webhook: &Webhook) -> Result<impl Iterator<Item = &str>, String> {
        let is_kept = |object: &&Value| object.pointer("/metadata/deletionTimestamp").is_none();
        let selected = self.objects.iter().filter(is_kept).filter(|object| webhook.selects(object));
        let mut selected = selected.map(name).peekable();
        match (selected.peek(), &self.unknown) {
            (Some(_), _) => Ok(selected),
            (None, None) => Err("it selects no namespace of this cluster".to_owned()),
            (None, Some(error)) => Err(format!("it selects no namespace that is known: {error}")),
        }
    }
}

/// Has the API server ask this webhook, in the first namespace of those that it
/// selects where the user may create Deployments.
///
/// # Errors
/// If the API server does not answer.
pub async fn ask(
    connection: &Connection,
    webhook: &Webhook,
    is_mutating: bool,
    namespaces: &Namespaces,
) -> Result<Reach, RequestError> {
    if !webhook.is_called_for_new_deployments() {
        return Ok(Reach::NotAsked("it is not called for new Deployments".to_owned()));
    }
    let selected = match namespaces.selected_by(webhook) {
        Ok(selected) => selected,
        Err(why) => return Ok(Reach::NotAsked(why)),
    };
    let mut forbidden = None;
    for namespace in selected.take(MOST_NAMESPACES) {
        match create(connection, namespace).await {
            Ok(answer) => return Ok(answer.of(webhook, is_mutating, namespace)),
            Err(error @ RequestError::Forbidden { .. }) => forbidden = forbidden.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(Reach::NotAsked(forbidden.map(|error| error.to_string()).unwrap_or_default()))
}

/// What comes back.
#[derive(Debug)]
struct Answer {
    /// What anybody warns about.
    warnings: Vec<String>,
    /// The object as it would be stored, or why it would not be.
    outcome: Result<Value, String>,
}

async fn create(connection: &Connection, namespace: &str) -> Result<Answer, RequestError> {
    let asked = Asked {
        server: &connection.server,
        verb: "create",
        resource: "deployments.apps",
        namespace: Some(namespace),
    };
    let failed = |error: kube::Error| RequestError::new(&error, asked);
    let request = Request::post(format!(
        "/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All&fieldManager=gapless"
    ))
    .header(CONTENT_TYPE, "application/json")
    .body(Body::from(deployment().to_string().into_bytes()))
    .map_err(|error| asked.other(error.to_string()))?;
    // Not `Client::request`, which keeps no headers.
    let response = connection.client.send(request).await.map_err(failed)?;
    let warnings = response.headers().get_all(WARNING).iter();
    let warnings = warnings.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()).collect();
    let is_success = response.status().is_success();
    let body = response.into_body().collect_bytes().await.map_err(failed)?;
    let invalid = |error: serde_json::Error| asked.other(format!("the answer is no object: {error}"));
    if is_success {
        return Ok(Answer { warnings, outcome: Ok(serde_json::from_slice(&body).map_err(invalid)?) });
    }
    let status: Status = serde_json::from_slice(&body).map_err(invalid)?;
    if status.code == 401 || is_for_want_of_permission(&status.message) {
        return Err(failed(kube::Error::Api(status.boxed())));
    }
    Ok(Answer { warnings, outcome: Err(status.message) })
}

/// Whether the request got no further than to RBAC. Admission refuses in other words:
/// it names the object or a webhook (kubernetes,
/// apiserver/pkg/endpoints/handlers/responsewriters/errors.go).
fn is_for_want_of_permission(message: &str) -> bool {
    message.starts_with("deployments.apps is forbidden: ")
}

impl Answer {
    /// What it says about a webhook. A mutating one has rewritten the record, a
    /// validating one warns about the waiver, whatever their profile is.
    fn of(&self, webhook: &Webhook, is_mutating: bool, namespace: &str) -> Reach {
        let record = format!("/metadata/annotations/{}", record::ANNOTATION.replace('/', "~1"));
        let waiver = format!("{}{WAIVED}", waiver::PREFIX);
        let is_seen = match &self.outcome {
            Ok(object) if is_mutating => object.pointer(&record).and_then(Value::as_str) != Some(NO_RECORD),
            _ => !is_mutating && self.warnings.iter().any(|warning| warning.contains(&waiver)),
        };
        match &self.outcome {
            _ if is_seen => Reach::Answers(namespace.to_owned()),
            Ok(_) => Reach::Fails(webhook.silence(namespace)),
            // apiserver/pkg/admission/plugin/webhook, `ErrCallingWebhook` and
            // `ToStatusErr`
            Err(message) if message.contains(&format!("failed calling webhook \"{}\"", webhook.name)) => {
                Reach::Fails(message.clone())
            }
            Err(message) if message.starts_with(&format!("admission webhook \"{}\"", webhook.name)) => {
                Reach::Answers(namespace.to_owned())
            }
            Err(message) => Reach::NotAsked(format!(
                "the API server refuses the Deployment in namespace {namespace} before it can be seen: {message}"
            )),
        }
    }
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Phase, Terms, review};
    use crate::config;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    /// An entry that selects the namespaces with the label.
    fn webhook(failure_policy: &str) -> Webhook {
        let configuration = json!({"webhooks": [{
            "name": "production.validate.gapless.dev", "timeoutSeconds": 3, "failurePolicy": failure_policy,
            "clientConfig": {"url": "https://a.example/b"},
            "namespaceSelector": {"matchLabels": {"gapless.dev/profile": "production"}},
            "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "operations": ["CREATE"]}],
        }]});
        Webhook::read_all(&configuration).expect("an entry").remove(0)
    }

    fn namespace(name: &str, profile: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {"gapless.dev/profile": profile}}})
    }

    #[test]
    fn namespaces_are_those_that_the_webhook_selects() {
        let selected = |objects: Vec<Value>, unknown: Option<RequestError>| {
            let namespaces = Namespaces { objects, unknown };
            let webhook = webhook("Ignore");
            namespaces.selected_by(&webhook).map(|it| it.map(str::to_owned).collect::<Vec<_>>())
        };
        let mut leaving = namespace("leaving", "production");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T08:52:19Z");
        let objects = || vec![namespace("b", "production"), namespace("a", "off"), leaving.clone()];
        assert_eq!(selected(objects(), None), Ok(vec!["b".to_owned()]));
        assert_eq!(
            selected(vec![leaving.clone()], None),
            Err("it selects no namespace of this cluster".to_owned())
        );
        let forbidden =
            RequestError::Forbidden { permission: "list namespaces".to_owned(), message: "no".to_owned() };
        assert_eq!(
            selected(vec![namespace("a", "off")], Some(forbidden)),
            Err("it selects no namespace that is known: the permission to list namespaces is missing; the API \
                 server says: no"
                .to_owned())
        );
    }

    #[test]
    fn what_comes_back_shows_who_had_it() {
        let object =
            |record: Option<&str>| Ok(json!({"metadata": {"annotations": {"gapless.dev/injected": record}}}));
        let warned = r#"299 - "gapless: annotation gapless.dev/waive.ping has no effect""#;
        let failed =
            r#"Internal error occurred: failed calling webhook "production.validate.gapless.dev": refused"#;
        let denied = r#"admission webhook "production.validate.gapless.dev" denied the request: no"#;
        let of_other = r#"admission webhook "policy.example.com" denied the request: no"#;
        let silent = "nothing of it is heard about a Deployment in namespace shop";
        let unseen = "the API server refuses the Deployment in namespace shop before it can be seen";
        for (is_mutating, warning, outcome, expected) in [
            (true, "", object(None), "answers"),
            (true, "", object(Some("{}")), "answers"),
            (true, warned, object(Some("ping")), silent),
            (false, warned, object(Some("ping")), "answers"),
            (false, "299 - \"gapless: more\"", object(None), silent),
            (false, "", Err(failed.to_owned()), failed),
            (false, "", Err(denied.to_owned()), "answers"),
            (false, warned, Err(of_other.to_owned()), "answers"),
            (false, "", Err(of_other.to_owned()), unseen),
            (true, warned, Err(of_other.to_owned()), unseen),
        ] {
            let shown = format!("{is_mutating} {warning} {outcome:?}");
            let answer = Answer { warnings: vec![warning.to_owned()], outcome };
            match answer.of(&webhook("Fail"), is_mutating, "shop") {
                Reach::Answers(namespace) => {
                    assert_eq!((expected, namespace.as_str()), ("answers", "shop"), "{shown}")
                }
                Reach::Fails(why) => assert!(why.starts_with(expected), "{shown}: {why}"),
                Reach::NotAsked(why) => {
                    assert!(expected == unseen && why.starts_with(unseen), "{shown}: {why}")
                }
            }
        }
    }

    #[test]
    fn each_profile_leaves_its_mark_and_none_of_ours_denies() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let off = ["readiness-probe", "pre-stop-sleep", "rolling-update", "version-label"]
            .map(|default| format!("{default}: {{enabled: false}}"));
        let own = format!(
            "profiles: {{silent: {{extends: production, waivers: Forbidden, defaults: {{{}}}}}}}",
            off.join(", ")
        );
        let text = format!("apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n{own}\n");
        std::fs::write(file.path(), text).expect("a configuration");
        let policy = config::load(Some(file.path())).expect("a policy");
        for profile in ["production", "advisory", "development", "silent"] {
            let terms = Terms {
                policy: &policy,
                profile: Some(profile),
                today: jiff::civil::date(2026, 11, 23),
                surroundings: &crate::surroundings::NONE,
            };
            let response = |phase, object: &Value| {
                let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                    "uid": "1", "operation": "CREATE", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                    "object": object,
                }});
                review(terms, phase, body.to_string().as_bytes()).expect("a decision").response.response
            };
            let sent = deployment();
            let patch = response(Phase::Mutate, &sent).patch.expect("the record is not left as it is");
            let patch = BASE64_STANDARD.decode(patch).expect("base64");
            let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
            let mut completed = sent.clone();
            json_patch::patch(&mut completed, &patch).expect("a patch that applies");
            assert_ne!(completed["metadata"]["annotations"]["gapless.dev/injected"], NO_RECORD, "{profile}");
            for object in [&sent, &completed] {
                let response = response(Phase::Validate, object);
                assert!(response.allowed, "{profile}: {response:?}");
                assert!(
                    response.warnings.iter().any(|it| it.contains("gapless.dev/waive.ping")),
                    "{response:?}"
                );
            }
        }
    }
}
