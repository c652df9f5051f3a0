//! A second mutating webhook, as clusters have them. It changes the object after
//! gapless has seen it, so that the API server calls gapless again in the same
//! request (`reinvocationPolicy: IfNeeded`): it counts the writes of an object in
//! one of its annotations.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::{Cluster, eventually};

/// The annotation.
pub const STAMP: &str = "stamps.example/writes";

/// The label of the namespaces whose Deployments get one.
pub const LABEL: &str = "stamps";

/// Starts the webhook, which runs until this process ends, and registers it.
pub fn install(cluster: &Cluster) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls =
        tls.with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key.into()).unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(&listener, &Arc::new(tls)));
    register(cluster, port, &STANDARD.encode(signed.cert.pem()));
}

fn serve(listener: &TcpListener, tls: &Arc<ServerConfig>) {
    for stream in listener.incoming() {
        let (stream, tls) = (stream.unwrap(), Arc::clone(tls));
        // A connection that breaks off is the API server's to notice.
        thread::spawn(move || drop(converse(stream, tls)));
    }
}

/// The requests of one connection, as Go sends them: HTTP/1.1 with a Content-Length.
fn converse(stream: TcpStream, tls: Arc<ServerConfig>) -> Result<()> {
    let connection = ServerConnection::new(tls).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap();
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let answer = stamped(&serde_json::from_slice(&body).unwrap()).to_string();
        let head = format!("Content-Type: application/json\r\nContent-Length: {}", answer.len());
        write!(stream.get_mut(), "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{answer}")?;
        stream.get_mut().flush()?;
    }
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
