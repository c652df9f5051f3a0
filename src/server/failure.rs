//! Answers that are no decision. With any of them the API server applies the
//! webhook's failurePolicy.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::limits::BODY_SIZE;
use crate::admission::ReviewError;
use crate::printable::printable_lines;

/// Why there is no decision.
///
/// It is sent as a `Status` (apimachinery, meta/v1): the API server repeats the
/// message to the user, and in its log.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status code.
    pub code: StatusCode,
    /// What went wrong, and what would be right.
    pub message: String,
    /// The review's uid, if it could be read.
    pub uid: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

impl Failure {
    /// 404: nothing is served under this path.
    pub fn unknown_path() -> Self {
        Failure::new(
            StatusCode::NOT_FOUND,
            "there is nothing here; the webhooks are /mutate, /mutate/PROFILE, /validate and /validate/PROFILE",
        )
    }

    /// 404: the last part of the path cannot be the name of a profile.
    pub fn no_profile_name() -> Self {
        Failure::new(
            StatusCode::NOT_FOUND,
            "the path ends in something that is no name of a profile; write at most 63 of a-z, 0-9 and '-', \
             with a letter or digit at both ends",
        )
    }

    /// 405: only POST is served.
    pub fn not_post() -> Self {
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the webhooks answer POST only")
    }

    /// 413: the body is too large.
    pub fn too_large() -> Self {
        let limit = BODY_SIZE / (1024 * 1024);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} MiB"))
    }

    /// 413: parsed, the body would take too much memory.
    pub fn too_heavy() -> Self {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body has so many fields that there is not enough memory to judge it",
        )
    }

    /// 415: the body says that it is not JSON.
    pub fn not_json() -> Self {
        Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be an AdmissionReview in JSON; send it with Content-Type: application/json",
        )
    }

    /// 400: the body did not arrive completely.
    pub fn unreadable(error: &dyn std::error::Error) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))
    }

    /// 429: more reviews at once than there may be.
    ///
    /// Without Retry-After. With it, the API server would ask again until its
    /// timeout (client-go, rest/with_retry.go), and hold one of its own slots
    /// for writes all the while: overload here would become overload there.
    /// This way the failurePolicy applies at once.
    pub fn overloaded() -> Self {
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many reviews are under way at once")
    }

    /// 500: gapless has a bug.
    pub fn panicked() -> Self {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "gapless panicked over this review, which is a bug in gapless",
        )
    }

    /// 500: gapless cannot do its work.
    pub fn internal(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 504: the API server does not wait any longer.
    pub fn late(limit: Duration) -> Self {
        Failure::new(StatusCode::GATEWAY_TIMEOUT, format!("there was no decision within {limit:?}"))
    }

    /// 504: the body did not arrive in time, and others needed the memory.
    pub fn too_slow() -> Self {
        Failure::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the body came so slowly that it had to give way to those of others",
        )
    }

    fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), uid: None }
    }

    /// The code in one word, as apimachinery's `StatusReason` has it.
    fn reason(&self) -> &'static str {
        match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "UnsupportedMediaType",
            StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
            StatusCode::GATEWAY_TIMEOUT => "Timeout",
            _ => "InternalError",
        }
    }
}

impl From<ReviewError> for Failure {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::Malformed { uid, message } => {
                Failure { uid, ..Failure::new(StatusCode::BAD_REQUEST, message) }
            }
            ReviewError::Internal { uid, message } => {
                Failure { uid: Some(uid), ..Failure::internal(message) }
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = Status {
            kind: "Status",
            api_version: "v1",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: &printable_lines(&self.message),
            reason: self.reason(),
            code: self.code.as_u16(),
        };
        (self.code, Json(status)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    /// The API server shows the message to the user.
    #[tokio::test]
    async fn the_message_is_printable() {
        let response = Failure::internal("a\u{1b}[31m\nb\u{9b}").into_response();
        let body = to_bytes(response.into_body(), 1024).await.expect("a body");
        let status: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(status["message"], "a\u{fffd}[31m\nb\u{fffd}");
    }
}
