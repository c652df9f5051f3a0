//! Which answers close their connection.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;

use super::shutdown::Termination;

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
