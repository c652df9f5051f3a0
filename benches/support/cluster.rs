//! An API server that has many objects, and says so to whoever lists or watches them.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::reviews::deployment;
use crate::tls::acceptor;

/// How many of them share a namespace.
const OF_A_NAMESPACE: usize = 50;

/// How the API server gives its lists.
#[derive(Clone, Copy, Debug)]
pub enum Lists {
    /// As events of a watch.
    Streamed,
    /// In pages, since it does not take `sendInitialEvents`.
    InPages,
}

/// The cluster, and what it runs on.
pub struct Cluster {
    _runtime: Runtime,
    /// A kubeconfig with which it is found.
    pub kubeconfig: PathBuf,
}

#[derive(Clone)]
struct Objects {
    lists: Lists,
    kinds: Arc<Vec<(&'static str, Value, usize)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    watch: Option<String>,
    send_initial_events: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    continued: Option<usize>,
}

impl Cluster {
    /// A cluster with these objects: their resource, one of them, and how many there are.
    pub fn start(directory: &Path, lists: Lists, kinds: Vec<(&'static str, Value, usize)>) -> Cluster {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Objects { lists, kinds: Arc::new(kinds) });
        // As all API servers do, which also decides how much is read at once.
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let [certificate, key] = ["crt", "key"].map(|end| directory.join(format!("{lists:?}.{end}")));
        fs::write(&certificate, own.cert.pem()).expect("a certificate");
        fs::write(&key, own.signing_key.serialize_pem()).expect("a key");
        runtime.spawn(accept(listener, acceptor(&certificate, &key), router));
        let kubeconfig = directory.join(format!("{lists:?}.yaml"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "many",
            "clusters": [{"name": "many", "cluster": {"server": server, "certificate-authority": certificate}}],
            "users": [{"name": "many", "user": {}}],
            "contexts": [{"name": "many", "context": {"cluster": "many", "user": "many"}}],
        });
        fs::write(&kubeconfig, config.to_string()).expect("a kubeconfig");
        Cluster { _runtime: runtime, kubeconfig }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            // Its end is the client's business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(State(objects): State<Objects>, uri: Uri, Query(options): Query<Options>) -> Response {
    let resource = uri.path().rsplit('/').next().unwrap_or_default();
    let found = objects.kinds.iter().position(|(name, ..)| *name == resource);
    let Some(found) = found else { return StatusCode::NOT_FOUND.into_response() };
    let (_, _, count) = objects.kinds[found];
    let object = move |number: usize| {
        let (_, object, _) = &objects.kinds[found];
        named(object, number)
    };
    match (options.watch.is_some(), options.send_initial_events.is_some(), objects.lists) {
        (true, true, Lists::InPages) => {
            let message =
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
                "reason": "Invalid", "code": 422});
            (StatusCode::UNPROCESSABLE_ENTITY, status.to_string()).into_response()
        }
        (true, true, Lists::Streamed) => {
            let added = move |number| event("ADDED", object(number));
            let bookmark = json!({"kind": "Bookmark", "apiVersion": "v1", "metadata": {"resourceVersion": "5000",
                "annotations": {"k8s.io/initial-events-end": "true"}}});
            let events =
                stream::iter((0..count).map(added)).chain(stream::iter([event("BOOKMARK", bookmark)]));
            Body::from_stream(events.map(Ok::<_, Infallible>).chain(stream::pending())).into_response()
        }
        (true, false, _) => Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()).into_response(),
        (false, ..) => {
            let first = options.continued.unwrap_or_default();
            let last = options.limit.map_or(count, |limit| count.min(first + limit));
            let next = (last < count).then(|| last.to_string());
            let items: Vec<Value> = (first..last).map(object).collect();
            let list = json!({"kind": "List", "apiVersion": "v1", "items": items,
                "metadata": {"resourceVersion": "5000", "continue": next}});
            list.to_string().into_response()
        }
    }
}

fn event(kind: &str, object: Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}

/// The object under a name of its own, in one of many namespaces.
fn named(object: &Value, number: usize) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(format!("application-{number}"));
    object["metadata"]["namespace"] = json!(format!("team-{}", number / OF_A_NAMESPACE));
    let app = json!(format!("application-{number}"));
    for pointer in [
        "/spec/selector/app",
        "/spec/selector/matchLabels/app",
        "/spec/template/metadata/labels/app",
        "/spec/scaleTargetRef/name",
        "/metadata/ownerReferences/0/name",
    ] {
        if let Some(value) = object.pointer_mut(pointer) {
            *value = app.clone();
        }
    }
    object
}

/// What the budget of the design is about: 10,000 Deployments of 3 KB, two ReplicaSets of
/// each, and 10,000 others.
pub fn large() -> Vec<(&'static str, Value, usize)> {
    let web = deployment(1, 30, "v1");
    let selector = json!({"matchLabels": {"app": "app", "app.kubernetes.io/component": "server"}});
    let mut workload = web.clone();
    workload["spec"]["selector"] = selector.clone();
    workload["status"] = json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3});
    let owner =
        |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "app", "controller": true}]);
    let mut replica_set = web.clone();
    replica_set["metadata"]["ownerReferences"] = owner("Deployment");
    let mut revision = json!({"metadata": {"ownerReferences": owner("StatefulSet")}, "revision": 1});
    revision["data"] = json!({"spec": {"template": web["spec"]["template"]}});
    let object =
        |spec: Value| json!({"metadata": {"uid": "6b640cd3-3620-46c4-8365-fc766f3e377a"}, "spec": spec});
    let ports = json!([{"name": "http", "port": 80, "targetPort": "http"}, {"name": "grpc", "port": 81, "targetPort": 9090}]);
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"});
    vec![
        ("deployments", workload.clone(), 10_000),
        ("replicasets", replica_set, 20_000),
        ("services", object(json!({"selector": selector["matchLabels"], "ports": ports})), 3_000),
        (
            "horizontalpodautoscalers",
            object(json!({"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 9})),
            1_500,
        ),
        ("poddisruptionbudgets", object(json!({"selector": selector, "minAvailable": 1})), 1_500),
        ("persistentvolumeclaims", object(json!({"accessModes": ["ReadWriteOnce"]})), 1_500),
        (
            "namespaces",
            json!({"metadata": {"labels": {"istio-injection": "enabled"}}, "spec": {"finalizers": ["kubernetes"]}}),
            500,
        ),
        ("statefulsets", workload.clone(), 500),
        ("daemonsets", workload, 500),
        ("controllerrevisions", revision, 1_500),
    ]
}
