//! Listening sockets, and who gets a connection.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::ServerError;
use super::connections::{End, Protocol};
use super::limits::{LAST_HANDSHAKES, WAITING};
use super::places::Places;
use crate::certificates::crypto_provider;

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

/// Accepts connections until the end, and lets each of them be served.
pub async fn serve(listener: TcpListener, protocol: Protocol, places: Arc<Places>, end: End) {
    let begin = async |accepted| match accepted {
        Ok((stream, client)) => begin(stream, client, &protocol, &places, end.clone()).await,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            // It may be so for a while, for want of files.
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut has_end = end.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = has_end.wait_for(|has_come| *has_come) => break,
            accepted = listener.accept() => accepted,
        };
        begin(accepted).await;
    }
    // The kernel has said yes to clients that are not accepted yet, and closing the
    // listener would take that back.
    if let Err(error) = turn_away_new_clients(&listener) {
        tracing::warn!(%error, "new clients cannot be kept away from the listener");
    }
    let mut over = std::pin::pin!(sleep(LAST_HANDSHAKES));
    for _ in 0..WAITING {
        tokio::select! {
            biased;
            accepted = listener.accept() => begin(accepted).await,
            () = &mut over => break,
        }
    }
}

/// Serves a connection as soon as it has a place.
async fn begin(stream: TcpStream, client: SocketAddr, protocol: &Protocol, places: &Arc<Places>, end: End) {
    let place = places.take().await;
    let protocol = protocol.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = place.progress.has_to_leave() => {
                tracing::debug!(%client, "a connection gives way to a new one");
            }
            served = protocol.serve(stream, &place.progress, end) => {
                if let Err(error) = served {
                    log_error(client, &error);
                }
            }
        }
    });
}

/// Lets the kernel drop what begins a new connection (SYN), as if it had not arrived. The
/// client tries again after a second, when there is no listener any more. What belongs to
/// a connection that has begun still arrives.
#[cfg(target_os = "linux")]
fn turn_away_new_clients(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // linux/bpf_common.h; what a filter of a TCP socket sees begins with the TCP header.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(not(target_os = "linux"))]
fn turn_away_new_clients(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

fn log_error(client: SocketAddr, error: &io::Error) {
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
    use axum::Router;
    use axum::extract::Request;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;
    use tokio::time::{Instant, timeout};

    use super::super::limits::{GOODBYE_TIME, HEAD_SIZE, HEAD_TIME, IDLE_TIME};
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: gapless\r\n\r\n";
    const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: gap";

    /// How long Go keeps a connection that it does not use.
    const IDLE_IN_POOL: Duration = Duration::from_secs(90);

    /// A listener with so many places.
    struct Served {
        address: SocketAddr,
        end: watch::Sender<bool>,
    }

    impl Served {
        async fn start(places: usize) -> Served {
            let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let read = async |request: Request| {
                let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
                body.map_or("broken", |_| "ok")
            };
            let router = Router::new().route("/", get(|| async { "ok" })).route("/", post(read));
            let (end, is_end) = watch::channel(false);
            let protocol = Protocol { tls: None, router };
            tokio::spawn(serve(listener, protocol, Places::new(places), is_end));
            Served { address, end }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("a connection")
        }

        /// A connection on which this has been sent.
        async fn send(&self, bytes: &[u8]) -> TcpStream {
            let mut connection = self.connect().await;
            connection.write_all(bytes).await.expect("it is open");
            connection
        }
    }

    /// What comes until the server closes the connection, and how long that takes.
    /// The clock is paused and jumps.
    async fn read_to_end(connection: &mut TcpStream) -> (String, Duration) {
        let started = Instant::now();
        let mut text = Vec::new();
        let read = timeout(10 * IDLE_TIME, connection.read_to_end(&mut text)).await;
        // A connection that is cut off is at its end, too.
        let _ = read.expect("an end");
        (String::from_utf8(text).expect("text"), started.elapsed())
    }

    /// Reads the answer to a request.
    async fn read_answer(connection: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\nok") {
            let mut bytes = [0; 1024];
            let count = connection.read(&mut bytes).await.expect("an answer");
            assert!(count > 0, "it ends after {text:?}");
            text += std::str::from_utf8(&bytes[..count]).expect("text");
        }
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_has_to_end_soon() {
        for before in [&b""[..], REQUEST] {
            let served = Served::start(2).await;
            let mut connection = served.send(before).await;
            if !before.is_empty() {
                read_answer(&mut connection).await;
            }
            // Before that it may take its time.
            sleep(IDLE_TIME / 2).await;
            connection.write_all(HALF).await.expect("a part of a head");
            let (_, time) = read_to_end(&mut connection).await;
            assert!(time > HEAD_TIME / 2 && time <= HEAD_TIME + GOODBYE_TIME, "{time:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_is_the_one_to_close_an_idle_connection() {
        for before in [&b""[..], REQUEST] {
            let served = Served::start(2).await;
            let mut connection = served.send(before).await;
            let (_, time) = read_to_end(&mut connection).await;
            assert!(time > IDLE_IN_POOL + Duration::from_secs(10), "{time:?}");
            assert!(time < 2 * IDLE_TIME, "{time:?}");
        }
    }

    #[tokio::test]
    async fn a_head_has_a_largest_size() {
        let served = Served::start(2).await;
        let mut connection = served.connect().await;
        // An error, if the answer comes first.
        let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: gapless\r\nLong: ").await;
        let _ = connection.write_all(&vec![b'a'; 2 * HEAD_SIZE]).await;
        let mut status = [0; 12];
        connection.read_exact(&mut status).await.expect("a status line");
        assert_eq!(&status, b"HTTP/1.1 431");
    }

    /// More than there are places for begin and end nothing.
    #[tokio::test]
    async fn a_new_caller_is_answered_although_all_places_are_taken() {
        let served = Served::start(3).await;
        let mut regular = served.send(REQUEST).await;
        read_answer(&mut regular).await;
        let mut others = Vec::new();
        for half in [&b""[..], HALF, b"POST / HTTP/1.1\r\nHost: gapless\r\nContent-Length: 9\r\n\r\nhalf"] {
            for _ in 0..4 {
                others.push(served.send(half).await);
            }
        }
        for mut other in others.drain(..10) {
            let end = timeout(Duration::from_secs(3), read_to_end(&mut other)).await;
            end.expect("it has given way");
        }
        for _ in 0..5 {
            let mut new = served.send(REQUEST).await;
            let answer = timeout(Duration::from_secs(3), read_answer(&mut new)).await;
            assert!(answer.expect("in time").starts_with("HTTP/1.1 200"));
        }
        // Whoever calls again and again keeps the connection.
        regular.write_all(REQUEST).await.expect("it is open");
        let answer = timeout(Duration::from_secs(3), read_answer(&mut regular)).await;
        answer.expect("it has been kept");
    }

    #[tokio::test]
    async fn no_new_connection_at_the_end_but_those_that_have_begun() {
        let served = Served::start(3).await;
        let mut begun = served.connect().await;
        served.end.send_replace(true);
        begun.write_all(REQUEST).await.expect("it is open");
        read_answer(&mut begun).await;
        // The first attempt of the kernel is lost, and the next finds no listener.
        let refused = timeout(Duration::from_secs(30), TcpStream::connect(served.address)).await;
        assert!(refused.expect("an end").is_err());
        timeout(Duration::from_secs(30), served.end.closed()).await.expect("nothing is left");
    }
}
