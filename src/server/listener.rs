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

/// How long a connection may stay without a request, or with one whose head has no
/// end: from its beginning, or from the last answer. The API server's pool holds
/// connections that it does not use for 90 s (`IdleConnTimeout` of Go's
/// `DefaultTransport`, taken over by apimachinery, pkg/util/net/http.go): it must be
/// the one to close them, since a connection that is closed here may just have
/// been given the next call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// What is kept of a request before its body is read, at most. The API server sends
/// a few hundred bytes, and a token if its configuration says so.
const HEAD_LIMIT: usize = 64 * 1024;

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
    server(listener).acceptor(acceptor).handle(handle).serve(router.into_make_service()).await
}

/// Serves `router` without TLS, for good.
pub async fn serve_plain(listener: TcpListener, router: Router) -> io::Result<()> {
    server(listener).acceptor(NoDelayAcceptor::new()).serve(router.into_make_service()).await
}

fn server(listener: TcpListener) -> Server<SocketAddr> {
    let mut server = Server::<SocketAddr>::from_listener(listener)
        // Until the first request; hyper knows only then which version of HTTP it is.
        .first_request_timeout(IDLE_TIMEOUT)
        .accept_error_handler(log_accept_error);
    server.http_builder().http1().header_read_timeout(IDLE_TIMEOUT).max_buf_size(HEAD_LIMIT);
    server
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: gapless\r\n\r\n";

    /// How long Go keeps a connection that it does not use.
    const IDLE_IN_POOL: Duration = Duration::from_secs(90);

    async fn connect() -> TcpStream {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve_plain(listener, Router::new().route("/", get(|| async { "ok" }))));
        TcpStream::connect(address).await.expect("a connection")
    }

    /// What comes until the server closes the connection, and how long that takes.
    /// The clock is paused and jumps.
    async fn read_to_end(connection: &mut TcpStream) -> (String, Duration) {
        let started = Instant::now();
        let mut text = String::new();
        let read = timeout(10 * IDLE_TIMEOUT, connection.read_to_string(&mut text)).await;
        read.expect("an end").expect("text");
        (text, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_to_end_some_time() {
        for before in [&b""[..], REQUEST] {
            let mut connection = connect().await;
            connection.write_all(before).await.expect("a request");
            connection.write_all(b"GET / HTTP/1.1\r\nHost: gap").await.expect("a part of a head");
            let (text, time) = read_to_end(&mut connection).await;
            assert_eq!(text.matches("200 OK").count(), usize::from(!before.is_empty()), "{text}");
            assert!(time >= IDLE_TIMEOUT && time < 2 * IDLE_TIMEOUT, "{time:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_is_the_one_to_close_an_idle_connection() {
        for before in [&b""[..], REQUEST] {
            let mut connection = connect().await;
            connection.write_all(before).await.expect("a request");
            let (_, time) = read_to_end(&mut connection).await;
            assert!(time > IDLE_IN_POOL + Duration::from_secs(10), "{time:?}");
        }
    }

    #[tokio::test]
    async fn a_head_has_a_largest_size() {
        let mut connection = connect().await;
        // An error, if the answer comes first.
        let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: gapless\r\nLong: ").await;
        let _ = connection.write_all(&vec![b'a'; 2 * HEAD_LIMIT]).await;
        let mut status = [0; 12];
        connection.read_exact(&mut status).await.expect("a status line");
        assert_eq!(&status, b"HTTP/1.1 431");
    }
}
