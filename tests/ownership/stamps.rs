//! A second mutating webhook, as clusters have them. It changes the object after
//! gapless has seen it, so that the API server calls gapless again in the same
//! request (`reinvocationPolicy: IfNeeded`): it counts the writes of an object in
//! one of its annotations.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use axum::routing::post;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Cluster, eventually};

/// The annotation.
pub const STAMP: &str = "stamps.example/writes";

/// The label of the namespaces whose Deployments get one.
pub const LABEL: &str = "stamps";

/// Starts the webhook, which runs until this process ends, and registers it.
pub fn install(cluster: &Cluster) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = signed.cert.pem();
    let key = signed.signing_key.serialize_pem();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca_bundle = STANDARD.encode(&certificate);
    thread::spawn(move || serve(listener, &certificate, &key));
    register(cluster, port, &ca_bundle);
}

fn serve(listener: TcpListener, certificate: &str, key: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Set by whoever is first; the crate may be built with several providers.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = RustlsConfig::from_pem(certificate.into(), key.into()).await.unwrap();
        listener.set_nonblocking(true).unwrap();
        let app = Router::new().route("/", post(async |Json(review): Json<Value>| Json(stamped(&review))));
        axum_server::from_tcp_rustls(listener, tls).unwrap().serve(app.into_make_service()).await.unwrap();
    });
}

fn stamped(review: &Value) -> Value {
    let request = &review["request"];
    let annotations = &request["object"]["metadata"]["annotations"];
    let writes: u32 = annotations[STAMP].as_str().map_or(0, |count| count.parse().unwrap());
    let count = json!((writes + 1).to_string());
    let operation = if annotations.is_object() {
        json!({"op": "add", "path": format!("/metadata/annotations/{}", STAMP.replace('/', "~1")), "value": count})
    } else {
        json!({"op": "add", "path": "/metadata/annotations", "value": {STAMP: count}})
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "uid": request["uid"],
        "allowed": true,
        "patchType": "JSONPatch",
        "patch": STANDARD.encode(json!([operation]).to_string()),
    }})
}

/// Under a name that sorts behind gapless': the API server calls in that order
/// (pkg/admission/configuration/mutating_webhook_manager.go).
fn register(cluster: &Cluster, port: u16, ca_bundle: &str) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "stamps"},
        "webhooks": [{
            "name": "stamps.example.com",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": ca_bundle},
            "rules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
                "operations": ["CREATE", "UPDATE"],
            }],
            "namespaceSelector": {"matchLabels": {LABEL: "true"}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
        }],
    });
    cluster.kubectl(["create", "-f", "-"]).stdin(configuration.to_string()).ok();
    let namespace = cluster.namespace_labelled(&[(LABEL, "true")]);
    eventually("the second webhook", || {
        let create = ["create", "deployment", "web", "--image=web:v1", "--dry-run=server", "-o", "json"];
        let created = namespace.kubectl(create).run();
        if created.stdout.contains(STAMP) { Ok(()) } else { Err(created.to_string()) }
    });
}
