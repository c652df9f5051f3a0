//! The least that a webhook can be in this stack: axum behind hyper and tokio-rustls,
//! which reads the body and answers.

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio_rustls::TlsAcceptor;

use crate::tls::acceptor;

const ANSWER: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}"#;

/// Serves until it is killed.
pub fn serve(certificate: &str, key: &str) {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(accept(acceptor(certificate.as_ref(), key.as_ref())));
}

async fn accept(tls: TlsAcceptor) {
    let answer = |body: Bytes| async move {
        assert!(!body.is_empty());
        ([("content-type", "application/json")], ANSWER)
    };
    let router = Router::new().route("/validate", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("webhooks https://{}", listener.local_addr().expect("an address"));
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            // Its end is the client's business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
