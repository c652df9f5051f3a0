//! One connection, from its handshake to its end.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::limits::{
    FIRST_REQUEST_TIME, GOODBYE_TIME, HANDSHAKE_TIME, HEAD_SIZE, HEAD_TIME, IDLE_TIME, READ_SIZE, STREAMS,
};
use super::places::{Arriving, Progress, Stage};
use super::shutdown::Termination;

/// Whether the end has come: no new connection is accepted, and those that there are end
/// with what they are doing.
pub type End = watch::Receiver<bool>;

/// How the connections of a listener are served.
#[derive(Clone)]
pub struct Protocol {
    /// `None`: without TLS.
    pub tls: Option<TlsAcceptor>,
    /// What answers.
    pub router: Router,
}

impl Protocol {
    /// Serves one connection to its end.
    ///
    /// # Errors
    /// If it ends before it can bring a request.
    pub async fn serve(self, stream: TcpStream, progress: &Arc<Progress>, end: End) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match self.tls {
            None => serve_http(stream, false, progress, self.router, end).await,
            Some(tls) => {
                let stream = timeout(HANDSHAKE_TIME, tls.accept(stream)).await??;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_http(stream, is_http2, progress, self.router, end).await;
            }
        }
        Ok(())
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    progress: &Arc<Progress>,
    router: Router,
    end: End,
) {
    progress.open();
    let io = TokioIo::new(Watched { stream, progress: progress.clone(), is_http2 });
    let service = service_fn({
        let progress = progress.clone();
        let router = TowerToHyperService::new(router);
        move |request: hyper::Request<Incoming>| {
            let (under_way, arriving) = progress.begin_request();
            let body = |incoming| axum::body::Body::new(IncomingBody { incoming, _arriving: arriving });
            let answer = router.call(request.map(body));
            async move {
                let answer = answer.await;
                drop(under_way);
                answer
            }
        }
    });
    if is_http2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).max_header_list_size(HEAD_SIZE as u32).max_concurrent_streams(STREAMS);
        // On the heap, so that it makes the others no larger.
        Box::pin(drive(http.serve_connection(io, service), true, progress, end)).await;
    } else {
        let mut http = http1::Builder::new();
        // hyper's time for a head begins with the last answer: it is none for heads.
        http.header_read_timeout(None).max_header_size(HEAD_SIZE).max_buf_size(READ_SIZE);
        drive(http.serve_connection(io, service), false, progress, end).await;
    }
}

/// Lets a connection live until it ends by itself, does one thing for too long, or the
/// end has come and it has done what it was about to do.
async fn drive(connection: impl GracefulConnection, is_http2: bool, progress: &Progress, mut end: End) {
    let mut connection = pin!(connection);
    let mut end = pin!(end.wait_for(|has_come| *has_come));
    let mut has_end = false;
    let mut goodbye = None;
    let mut timer = pin!(sleep_until(Instant::now() + IDLE_TIME));
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            has_end = has_end || end.as_mut().poll(context).is_ready();
            let (stage, since) = progress.stage();
            // A first request, or the rest of a head, may be on its way. HTTP/2 has a
            // goodbye that lets them in; that of HTTP/1 is in the answer.
            let may_end = is_http2 || !matches!(stage, Stage::Open | Stage::Head);
            if goodbye.is_none() && has_end && may_end {
                goodbye = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let limit = match (stage, goodbye) {
                // Reviews have limits of their own, and bodies with them.
                (Stage::Body | Stage::Answer, _) => return Poll::Pending,
                (Stage::Head, _) => since + HEAD_TIME,
                (_, Some(goodbye)) => goodbye.max(since) + GOODBYE_TIME,
                (Stage::Open, None) if has_end => since + FIRST_REQUEST_TIME,
                (_, None) => since + IDLE_TIME,
            };
            if timer.deadline() != limit {
                timer.as_mut().reset(limit);
            }
            ready!(timer.as_mut().poll(context));
            if goodbye.is_some() || stage == Stage::Head {
                return Poll::Ready(());
            }
            goodbye = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}

/// A stream that tells what arrives.
struct Watched<S> {
    stream: S,
    progress: Arc<Progress>,
    is_http2: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.progress.receive(self.is_http2);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A body that counts as unfinished until it is dropped, which is when it has been read.
struct IncomingBody {
    incoming: Incoming,
    _arriving: Arriving,
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Says `Connection: close` where the connection has no future:
///
/// * once termination has begun, so that the next call goes to another pod;
/// * if the body has not been read. hyper closes the connection then, and a
///   client that was not told would lose its next call to that.
///
/// HTTP/2 forbids the header and needs none: it announces its end (GOAWAY), and
/// a stream may end early.
pub async fn announce_end(
    State(termination): State<Arc<Termination>>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    let has_end = termination.has_begun() || leaves_body_unread(response.status());
    if has_end && version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn leaves_body_unread(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::super::places::Places;
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: gapless\r\n\r\n";
    const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: gap";
    const REST: &[u8] = b"less\r\n\r\n";

    /// How a client of HTTP/2 begins (RFC 9113, 3.4).
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// GET of `/`, in fields of the static table of RFC 7541.
    const HTTP2_REQUEST: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x87";

    /// Longer than a client may take for anything but to have no request.
    const LONG: Duration = Duration::from_secs(25);

    struct Client {
        stream: DuplexStream,
        end: watch::Sender<bool>,
    }

    impl Client {
        fn connect(is_http2: bool) -> Client {
            let router =
                Router::new().route("/", get(|| async { "ok" })).route("/slow", post(|_: Bytes| sleep(LONG)));
            let (stream, its_stream) = duplex(64 * 1024);
            let (end, is_end) = watch::channel(false);
            tokio::spawn(async move {
                let place = Places::new(1).take().await;
                serve_http(its_stream, is_http2, &place.progress, router, is_end).await;
            });
            Client { stream, end }
        }

        async fn send(&mut self, bytes: &[u8]) {
            self.stream.write_all(bytes).await.expect("the connection is open");
            // Time in which it is read.
            sleep(Duration::from_millis(1)).await;
        }

        /// All that comes until the server closes the connection, and how long that takes.
        async fn read_to_end(mut self) -> (String, Duration) {
            let begin = Instant::now();
            let mut bytes = Vec::new();
            let read = timeout(10 * IDLE_TIME, self.stream.read_to_end(&mut bytes)).await;
            read.expect("an end").expect("bytes");
            (String::from_utf8_lossy(&bytes).into_owned(), begin.elapsed())
        }
    }

    #[track_caller]
    fn assert_about(time: Duration, expected: Duration) {
        assert!(time + GOODBYE_TIME >= expected && time <= expected + GOODBYE_TIME, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_of_http_2_is_closed() {
        let mut client = Client::connect(true);
        client.send(PREFACE).await;
        client.send(HTTP2_REQUEST).await;
        let (text, time) = client.read_to_end().await;
        assert!(text.contains("ok"), "{text:?}");
        assert!(time >= IDLE_TIME - GOODBYE_TIME && time <= IDLE_TIME + GOODBYE_TIME, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_an_idle_connection_busy_is_requests_only() {
        const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0gapless!";
        let mut client = Client::connect(true);
        client.send(PREFACE).await;
        client.send(HTTP2_REQUEST).await;
        for _ in 0..3 {
            sleep(IDLE_TIME / 4).await;
            client.send(PING).await;
        }
        assert_about(client.read_to_end().await.1, IDLE_TIME / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_of_http_2_has_to_follow_soon() {
        let mut client = Client::connect(true);
        client.send(PREFACE).await;
        assert_about(client.read_to_end().await.1, HEAD_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_no_limit_here() {
        let mut client = Client::connect(false);
        client.send(b"POST /slow HTTP/1.1\r\nHost: gapless\r\nContent-Length: 4\r\n\r\nbo").await;
        sleep(LONG).await;
        client.end.send_replace(true);
        client.send(b"dy").await;
        let (text, time) = client.read_to_end().await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text:?}");
        assert_about(time, LONG);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_idle_connections_are_closed_also_if_they_do_not_say_goodbye() {
        for (is_http2, requests) in [(false, REQUEST.to_vec()), (true, [PREFACE, HTTP2_REQUEST].concat())] {
            let mut client = Client::connect(is_http2);
            client.send(&requests).await;
            sleep(LONG).await;
            client.end.send_replace(true);
            let (text, time) = client.read_to_end().await;
            assert!(text.contains("ok"), "{text:?}");
            assert!(time <= GOODBYE_TIME, "{time:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_a_first_request_and_the_rest_of_a_head_are_waited_for() {
        for (is_http2, before, after) in
            [(false, &b""[..], REQUEST), (false, HALF, REST), (true, PREFACE, HTTP2_REQUEST)]
        {
            let mut client = Client::connect(is_http2);
            client.send(before).await;
            client.end.send_replace(true);
            sleep(GOODBYE_TIME / 2).await;
            client.send(after).await;
            let (text, time) = client.read_to_end().await;
            assert!(text.contains("ok"), "{is_http2} {text:?}");
            assert!(time <= GOODBYE_TIME, "{time:?}");
        }
        // But not for long.
        for (before, limit) in [(&b""[..], FIRST_REQUEST_TIME), (HALF, HEAD_TIME)] {
            let mut client = Client::connect(false);
            client.send(before).await;
            client.end.send_replace(true);
            assert_about(client.read_to_end().await.1, limit);
        }
    }
}
