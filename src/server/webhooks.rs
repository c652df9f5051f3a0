//! The webhooks: `POST /mutate/{profile}` and `POST /validate/{profile}`;
//! without a profile, the default one applies.
//!
//! A decision is always 200. Everything else is a [`Failure`], which leaves it
//! to the API server what happens.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, middleware};
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::bodies::{Bodies, ReceivedBody};
use super::connections;
use super::failure::Failure;
use super::large::LargeReviews;
use super::limits::{LARGE_BODY, REVIEW_TIME};
use super::shutdown::Termination;
use crate::admission::{self, Phase, Review, ReviewError, Terms};
use crate::clock;
use crate::config::reload::LiveConfig;
use crate::kubernetes::duration;
use crate::names::is_dns_label;
use crate::observe::metrics::Metrics;
use crate::observe::telemetry;
use crate::policy::Policy;
use crate::surroundings::{Around, Surroundings};

type ReviewFunction = fn(Terms, Phase, &[u8]) -> Result<Review, ReviewError>;

/// What the webhooks decide by.
#[derive(Debug)]
pub struct Webhooks {
    config: Arc<LiveConfig>,
    metrics: Arc<Metrics>,
    surroundings: Arc<dyn Around>,
    review: ReviewFunction,
    bodies: Arc<Bodies>,
    in_flight: Semaphore,
    large: LargeReviews,
}

/// A decision, ready to be sent.
struct Answer {
    review: Review,
    body: Vec<u8>,
}

/// The routes.
pub fn router(webhooks: Webhooks, termination: Arc<Termination>) -> Router {
    Router::new()
        .merge(routes(Phase::Mutate))
        .merge(routes(Phase::Validate))
        .fallback(|| async { Failure::unknown_path() })
        .method_not_allowed_fallback(|| async { Failure::not_post() })
        .layer(middleware::from_fn_with_state(termination, connections::announce_end))
        .with_state(Arc::new(webhooks))
}

fn routes(phase: Phase) -> Router<Arc<Webhooks>> {
    type Shared = State<Arc<Webhooks>>;
    let path = format!("/{}", phase.as_str());
    let default_profile = move |State(webhooks): Shared, request: Request| async move {
        webhooks.serve(phase, None, request).await
    };
    let named_profile = move |State(webhooks): Shared,
                              profile: Result<Path<String>, PathRejection>,
                              request: Request| async move {
        // Something that is no text is no profile either.
        let profile = profile.map_or_else(|_| String::new(), |Path(profile)| profile);
        webhooks.serve(phase, Some(profile), request).await
    };
    Router::new()
        .route(&path, post(default_profile))
        .route(&format!("{path}/{{profile}}"), post(named_profile))
}

impl Webhooks {
    /// Webhooks that decide by this configuration, and have at most `max_in_flight`
    /// reviews under way at once.
    pub fn new(config: Arc<LiveConfig>, metrics: Arc<Metrics>, max_in_flight: NonZeroUsize) -> Self {
        Webhooks {
            config,
            metrics,
            surroundings: Arc::new(Surroundings::default()),
            review: admission::review,
            bodies: Arc::default(),
            in_flight: Semaphore::new(max_in_flight.get().min(Semaphore::MAX_PERMITS)),
            large: LargeReviews::default(),
        }
    }

    /// The same, which know what is around the objects.
    pub fn with_surroundings(self, surroundings: Arc<dyn Around>) -> Self {
        Webhooks { surroundings, ..self }
    }

    /// Answers one call, and counts and logs what came of it.
    async fn serve(&self, phase: Phase, profile: Option<String>, request: Request) -> Response {
        let started = Instant::now();
        let policy = self.config.policy();
        let answer = self.answer(&policy, phase, profile.as_deref(), request);
        let answer = AssertUnwindSafe(answer).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            self.metrics.record_panic();
            Err(Failure::panicked())
        });
        let elapsed = started.elapsed();
        match answer {
            Ok(Answer { review, body }) => {
                self.metrics.record_review(phase, &review, elapsed);
                telemetry::log_review(phase, &review, elapsed);
                ([(CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(failure) => {
                let profile = existing_profile(&policy, profile.as_deref());
                self.metrics.record_failure(phase, profile, elapsed);
                let (uid, code) = (failure.uid.as_deref(), failure.code.as_u16());
                telemetry::log_failure(phase, profile, uid, code, &failure.message, elapsed);
                failure.into_response()
            }
        }
    }

    async fn answer(
        &self,
        policy: &Arc<Policy>,
        phase: Phase,
        profile: Option<&str>,
        request: Request,
    ) -> Result<Answer, Failure> {
        if profile.is_some_and(|profile| !is_dns_label(profile)) {
            return Err(Failure::no_profile_name());
        }
        if !is_json(request.headers()) {
            return Err(Failure::not_json());
        }
        let limit = time_limit(request.uri());
        let answer = async {
            let body = self.bodies.receive(request.into_body()).await?;
            // Not before: else whoever begins many bodies and ends none would take
            // the place of all others.
            let _slot = self.in_flight.try_acquire().map_err(|_| Failure::overloaded())?;
            let review = self.review(policy, phase, profile, body).await?;
            let body = review
                .response
                .to_json()
                .map_err(|error| Failure::internal(format!("the answer cannot be written: {error}")))?;
            Ok(Answer { review, body })
        };
        timeout(limit, answer).await.unwrap_or_else(|_| Err(Failure::late(limit)))
    }

    async fn review(
        &self,
        policy: &Arc<Policy>,
        phase: Phase,
        profile: Option<&str>,
        body: ReceivedBody,
    ) -> Result<Review, Failure> {
        let today = clock::today();
        let review = self.review;
        if body.as_ref().len() <= LARGE_BODY {
            return Ok(review(
                Terms { policy, profile, today, surroundings: &*self.surroundings },
                phase,
                body.as_ref(),
            )?);
        }
        let (policy, surroundings) = (policy.clone(), self.surroundings.clone());
        let profile = profile.map(str::to_owned);
        let review = move |body: &[u8]| {
            review(
                Terms { policy: &policy, profile: profile.as_deref(), today, surroundings: &*surroundings },
                phase,
                body,
            )
        };
        Ok(self.large.review(body, review).await??)
    }
}

/// The profile that was asked for if it exists, else the default one: what
/// metrics may be labelled with.
fn existing_profile<'a>(policy: &'a Policy, asked: Option<&'a str>) -> &'a str {
    policy.resolve(asked).name()
}

/// Whether the body may be JSON: the header says so, or there is none.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// The time that the API server still has for this call: `?timeout=10s`.
fn time_limit(uri: &Uri) -> Duration {
    #[derive(Deserialize)]
    struct Parameters {
        timeout: String,
    }
    let parameters = Query::<Parameters>::try_from_uri(uri).ok();
    let limit = parameters.and_then(|parameters| duration::parse(&parameters.timeout).ok());
    limit.unwrap_or(REVIEW_TIME).min(REVIEW_TIME)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::http::header::CONNECTION;
    use serde_json::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};
    use tokio::time::sleep;
    use tower::ServiceExt;

    use super::super::limits::{BODY_SIZE, WEIGHT};
    use super::*;

    /// Answers a review of `size` bytes with a function that takes the place of
    /// the real one.
    async fn answer(review: ReviewFunction, size: usize) -> (StatusCode, Value, String) {
        let policy = Policy::new("production").expect("a profile");
        let metrics = Arc::new(Metrics::new(&policy));
        let config = Arc::new(LiveConfig::from(policy));
        let webhooks = Webhooks { review, ..Webhooks::new(config, metrics.clone(), NonZeroUsize::MIN) };
        let router = router(webhooks, Arc::default());
        let request =
            Request::post("/validate/advisory").body(Body::from(vec![b' '; size])).expect("a request");
        let response = router.oneshot(request).await.expect("an answer");
        let code = response.status();
        let body = to_bytes(response.into_body(), BODY_SIZE).await.expect("a body");
        (code, serde_json::from_slice(&body).expect("JSON"), metrics.encode().expect("metrics"))
    }

    #[tokio::test]
    async fn a_panic_is_no_decision() {
        for size in [0, LARGE_BODY + 1] {
            let (code, body, metrics) = answer(|_, _, _| panic!("password=hunter2"), size).await;
            assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(body["kind"], "Status");
            assert_eq!(body["message"], "gapless panicked over this review, which is a bug in gapless");
            assert!(metrics.contains("gapless_panics_total 1\n"), "{metrics}");
            let series = r#"requests_total{webhook="validate",profile="advisory",operation="unknown",dry_run="unknown",decision="error"} 1"#;
            assert!(metrics.contains(series), "{metrics}");
        }
    }

    #[tokio::test]
    async fn an_internal_error_is_no_decision() {
        let fail: ReviewFunction = |_, _, _| {
            Err(ReviewError::Internal {
                uid: "u-1".to_owned(),
                message: "the patch does not apply".to_owned(),
            })
        };
        let (code, body, metrics) = answer(fail, 0).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body["reason"], "InternalError");
        assert_eq!(body["message"], "the patch does not apply");
        assert!(metrics.contains("gapless_panics_total 0\n"), "{metrics}");
    }

    /// While a large review is under way, and another waits for its turn.
    #[tokio::test]
    async fn one_review_too_many_is_429_at_once() {
        static IS_OPEN: Mutex<bool> = Mutex::new(false);
        static OPENED: Condvar = Condvar::new();
        let wait: ReviewFunction = |_, _, body| {
            if body.len() > LARGE_BODY {
                let is_open = IS_OPEN.lock().expect("a gate");
                drop(OPENED.wait_while(is_open, |is_open| !*is_open));
            }
            Err(ReviewError::Malformed { uid: None, message: "it was reviewed".to_owned() })
        };
        let policy = Policy::new("production").expect("a profile");
        let metrics = Arc::new(Metrics::new(&policy));
        let limit = NonZeroUsize::new(2).expect("a limit");
        let webhooks = Webhooks::new(Arc::new(LiveConfig::from(policy)), metrics, limit);
        let router = router(Webhooks { review: wait, ..webhooks }, Arc::default());
        let call = |size: usize| {
            let request = Request::post("/mutate").body(Body::from(vec![b' '; size])).expect("a request");
            router.clone().oneshot(request)
        };
        let under_way = [tokio::spawn(call(LARGE_BODY + 1)), tokio::spawn(call(LARGE_BODY + 1))];
        tokio::task::yield_now().await;
        for size in [1, LARGE_BODY + 1] {
            let answer = call(size).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            assert!(!answer.headers().contains_key(CONNECTION), "the body has been read");
        }
        // What is wrong in itself takes no place.
        let wrong = Request::post("/mutate/NO").body(Body::empty()).expect("a request");
        assert_eq!(router.clone().oneshot(wrong).await.expect("an answer").status(), StatusCode::NOT_FOUND);

        *IS_OPEN.lock().expect("a gate") = true;
        OPENED.notify_all();
        for call in under_way {
            let answer = call.await.expect("no panic").expect("an answer");
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        }
        assert_eq!(call(1).await.expect("an answer").status(), StatusCode::BAD_REQUEST);
    }

    /// Large reviews that go on for as long as the test lets them, one of half the weight
    /// that there may be and one of all.
    #[tokio::test]
    async fn a_large_review_holds_its_turn_for_as_long_as_its_caller_waits() {
        static IS_OPEN: Mutex<bool> = Mutex::new(false);
        static OPENED: Condvar = Condvar::new();
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let wait: ReviewFunction = |_, _, body| {
            if body.starts_with(b"wait") {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                let is_open = IS_OPEN.lock().expect("a gate");
                drop(OPENED.wait_while(is_open, |is_open| !*is_open));
            }
            Err(ReviewError::Malformed { uid: None, message: "it was reviewed".to_owned() })
        };
        /// Opens the gate, also if the test fails: else it would never end.
        struct Opening;
        impl Drop for Opening {
            fn drop(&mut self) {
                *IS_OPEN.lock().expect("a gate") = true;
                OPENED.notify_all();
            }
        }
        let opening = Opening;
        let policy = Policy::new("production").expect("a profile");
        let metrics = Arc::new(Metrics::new(&policy));
        let limit = NonZeroUsize::new(10).expect("a limit");
        let webhooks = Webhooks::new(Arc::new(LiveConfig::from(policy)), metrics, limit);
        let router = router(Webhooks { review: wait, ..webhooks }, Arc::default());
        let call = async |what: &str, limit: &str| {
            let body = [what.as_bytes(), &vec![b' '; LARGE_BODY + 1]].concat();
            let request = Request::post(format!("/mutate?timeout={limit}")).body(Body::from(body));
            let answer = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
            answer.status()
        };
        let heavy = ",".repeat(WEIGHT / 2 / 64 + 1);
        let (late, reviewed) = (StatusCode::GATEWAY_TIMEOUT, StatusCode::BAD_REQUEST);

        // Whoever waits for a turn is answered in time.
        let (first, second) = tokio::join!(call("wait", "2s"), async {
            while BEGUN.load(Ordering::SeqCst) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
            call("", "100ms").await
        });
        assert_eq!((first, second), (late, late));
        // The first one goes on; the next one begins beside it, unless it is too heavy.
        assert_eq!(call("", "10s").await, reviewed);
        assert_eq!(call(&heavy, "100ms").await, late);
        // There is no third.
        assert_eq!(call("wait", "2s").await, late);
        assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
        assert_eq!(call("", "100ms").await, late);
        drop(opening);
        assert_eq!(call(&heavy, "10s").await, reviewed);
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_is_not_parsed() {
        let accept: ReviewFunction =
            |_, _, _| Err(ReviewError::Malformed { uid: None, message: "it was parsed".to_owned() });
        let policy = Policy::new("production").expect("a profile");
        let metrics = Arc::new(Metrics::new(&policy));
        let webhooks = Webhooks::new(Arc::new(LiveConfig::from(policy)), metrics, NonZeroUsize::MIN);
        let router = router(Webhooks { review: accept, ..webhooks }, Arc::default());
        let code = async |body: Vec<u8>| {
            let request = Request::post("/mutate").body(Body::from(body)).expect("a request");
            router.clone().oneshot(request).await.expect("an answer").status()
        };
        let maps = |count: usize| b"{},".repeat(count);
        assert_eq!(code(maps(WEIGHT / 1000)).await, StatusCode::BAD_REQUEST);
        assert_eq!(code(maps(WEIGHT / 500)).await, StatusCode::PAYLOAD_TOO_LARGE);
        // Much text weighs no more than that.
        assert_eq!(code(vec![b' '; BODY_SIZE]).await, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_api_server_says_how_long_it_waits() {
        let limit = |uri: &str| time_limit(&uri.parse().expect("a URI"));
        assert_eq!(limit("/mutate?timeout=10s"), Duration::from_secs(10));
        assert_eq!(limit("/mutate?timeout=1.5s"), Duration::from_millis(1500));
        assert_eq!(limit("/mutate?dryRun=All&timeout=500ms"), Duration::from_millis(500));
        for without in [
            "/mutate",
            "/mutate?timeout=soon",
            "/mutate?timeout=",
            "/mutate?timeout=1s&timeout=2s",
            "/mutate?timeout=1h",
        ] {
            assert_eq!(limit(without), REVIEW_TIME, "{without}");
        }
    }
}
