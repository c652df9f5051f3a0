//! Sockets, TLS and HTTP connections.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::net::TcpListener;

use super::ServerError;
use crate::certificates::crypto_provider;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new connection may stay without a request. The API server's pool
/// holds connections that it has opened and not yet used, for 90 s (Go's
/// `IdleConnTimeout`, as apimachinery sets it): it must be the one to close
/// them. Between requests there is no limit, for the same reason.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Listens on `address`.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let listener = match TcpListener::bind(address).await {
        // [::] means all addresses, and there may be no IPv6 in this kernel.
        Err(error) if is_any_ipv6(address) && !is_refusal(&error) => {
            let any_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(any_ipv4).await.map_err(|_| error)
        }
        result => result,
    };
    listener.map_err(|source| ServerError::Bind { address, source })
}

fn is_any_ipv6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Whether the error says that the port, not the kind of address, is the
/// problem.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

/// TLS 1.2 and 1.3. The API server speaks HTTP/1.1 to Services and HTTP/2 to
/// loopback URLs (kubernetes, apiserver/pkg/util/webhook/client.go).
///
/// With `clients`, only those that it lets in are talked to.
pub fn tls_config(
    certificates: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let config =
        ServerConfig::builder_with_provider(crypto_provider()).with_safe_default_protocol_versions()?;
    let mut config = match clients {
        None => config.with_no_client_auth().with_cert_resolver(certificates),
        Some(clients) => {
            let mut config = config.with_client_cert_verifier(clients).with_cert_resolver(certificates);
            // A resumed session would not be asked for its certificate again, which
            // may have expired by then, or its CA may be trusted no more.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves `router` over TLS until `handle` says otherwise.
pub async fn serve_tls(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    handle: Handle<SocketAddr>,
    router: Router,
) -> io::Result<()> {
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(config))
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .acceptor(NoDelayAcceptor::new());
    Server::<SocketAddr>::from_listener(listener)
        .acceptor(acceptor)
        .handle(handle)
        .first_request_timeout(FIRST_REQUEST_TIMEOUT)
        .accept_error_handler(log_accept_error)
        .serve(router.into_make_service())
        .await
}

/// Serves `router` without TLS, for good.
pub async fn serve_plain(listener: TcpListener, router: Router) -> io::Result<()> {
    Server::<SocketAddr>::from_listener(listener)
        .acceptor(NoDelayAcceptor::new())
        .first_request_timeout(FIRST_REQUEST_TIMEOUT)
        .accept_error_handler(log_accept_error)
        .serve(router.into_make_service())
        .await
}

fn log_accept_error(client: Option<&SocketAddr>, error: &io::Error) {
    let Some(client) = client else {
        tracing::warn!(%error, "cannot accept a connection");
        return;
    };
    let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls_error {
        // Such as a webhook configuration with another CA in its caBundle.
        Some(rustls::Error::AlertReceived(_)) => {
            tracing::warn!(%client, %error, "a client refuses the TLS handshake");
        }
        // Such as an API server that has not been told to show one.
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            tracing::warn!(%client, %error, "a client is turned away: it has to show a certificate of --client-ca");
        }
        // Such as a probe that connects and goes.
        _ => tracing::debug!(%client, %error, "a connection ends before its first request"),
    }
}
