//! The answers of the routes, without sockets.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use futures_util::stream;
use gapless::certificates::ephemeral::Ephemeral;
use gapless::certificates::{CertificateStore, Role, ServingCertificate};
use gapless::config;
use gapless::config::reload::LiveConfig;
use gapless::defaults::DEFAULTS;
use gapless::observe::metrics::Metrics;
use gapless::policy::{Exemptions, Policy, Profile};
use gapless::rules::RULES;
use gapless::server::limits::BODY_SIZE;
use gapless::server::ops::{self, Ops};
use gapless::server::shutdown::Termination;
use gapless::server::webhooks::{self, Webhooks};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use super::reviews;

/// Both routers, with all that they share.
struct Servers {
    webhooks: Router,
    ops: Router,
    metrics: Arc<Metrics>,
    certificates: Arc<CertificateStore>,
    termination: Arc<Termination>,
    config: Arc<LiveConfig>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Servers {
    fn new() -> Self {
        Servers::with(Policy::new("production").expect("a profile"), 10)
    }

    fn with(policy: Policy, max_in_flight: usize) -> Self {
        let metrics = Arc::new(Metrics::new(&policy));
        let config = Arc::new(LiveConfig::from(policy));
        let certificate = Ephemeral::generate(None).expect("a certificate").certificate;
        let certificates = Arc::new(CertificateStore::new(certificate));
        let termination = Arc::new(Termination::default());
        let max_in_flight = NonZeroUsize::new(max_in_flight).expect("a limit");
        let ops = Ops {
            metrics: metrics.clone(),
            certificates: certificates.clone(),
            termination: termination.clone(),
            config: config.clone(),
        };
        Servers {
            webhooks: webhooks::router(
                Webhooks::new(config.clone(), metrics.clone(), max_in_flight),
                termination.clone(),
            ),
            ops: ops::router(ops),
            metrics,
            certificates,
            termination,
            config,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(&self.webhooks, request).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(post(path).body(body.into()).expect("a request")).await
    }

    async fn ops(&self, path: &str) -> Answer {
        Answer::of(&self.ops, Request::get(path).body(Body::empty()).expect("a request")).await
    }

    fn metrics(&self) -> String {
        self.metrics.encode().expect("metrics")
    }

    #[track_caller]
    fn assert_metric(&self, line: &str) {
        let metrics = self.metrics();
        assert!(metrics.lines().any(|it| it == line), "there is no {line} in\n{metrics}");
    }
}

impl Answer {
    async fn of(router: &Router, request: Request<Body>) -> Self {
        let response = router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    #[track_caller]
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The decision, which is always 200.
    #[track_caller]
    fn decision(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        let review = self.json();
        assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(review["kind"], "AdmissionReview");
        assert_eq!(review["response"]["uid"], reviews::sound()["request"]["uid"]);
        review["response"].clone()
    }

    /// An answer without a decision: a `Status` with this code, reason and
    /// message. The API server must not find a `response` in it.
    #[track_caller]
    fn assert_failure(&self, code: StatusCode, reason: &str, message: &str) {
        assert_eq!(self.status, code, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        // It would make the API server ask again (client-go, rest/with_retry.go).
        assert!(!self.headers.contains_key(header::RETRY_AFTER));
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16()
        });
        assert_eq!(self.json(), expected);
    }
}

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/json")
}

/// A body that begins and never goes on.
fn endless() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

#[tokio::test]
async fn every_route_decides() {
    let servers = Servers::new();
    let harmful = reviews::body(&reviews::harmful());
    for path in ["/mutate", "/mutate/production", "/mutate/production?timeout=10s", "/mutate/unknown-profile"]
    {
        let response = servers.post(path, harmful.clone()).await.decision();
        assert_eq!(response["allowed"], true, "{path}");
        assert_eq!(response["patchType"], "JSONPatch", "{path}");
    }
    for path in ["/validate", "/validate/production", "/validate?timeout=2s", "/validate/unknown-profile"] {
        let response = servers.post(path, harmful.clone()).await.decision();
        assert_eq!(response["allowed"], false, "{path}");
        assert_eq!(response["status"]["code"], 403, "{path}");
    }
    let response = servers.post("/validate/advisory", harmful.clone()).await.decision();
    assert_eq!(response["allowed"], true);
    assert!(!response["warnings"].as_array().expect("warnings").is_empty());
    let response = servers.post("/validate/off", harmful).await.decision();
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn the_default_profile_is_the_policys() {
    let servers = Servers::with(Policy::new("advisory").expect("a profile"), 10);
    let response = servers.post("/validate", reviews::body(&reviews::harmful())).await.decision();
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["profile"], "advisory");
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let servers = Servers::new();
    for path in ["/", "/mutate/", "/mutates", "/mutate/production/x", "/Validate", "/metrics", "/livez"] {
        servers.post(path, "{}").await.assert_failure(
            StatusCode::NOT_FOUND,
            "NotFound",
            "there is nothing here; the webhooks are /mutate, /mutate/PROFILE, /validate and /validate/PROFILE",
        );
    }
}

#[tokio::test]
async fn what_cannot_be_a_profile_is_404() {
    let servers = Servers::new();
    let sound = reviews::body(&reviews::sound());
    let long = "x".repeat(64);
    for profile in ["Production", "-a", "a_b", "a.b", "%2e%2e", "a%2fb", "%00", "%ff", "%20", &long] {
        servers.post(&format!("/validate/{profile}"), sound.clone()).await.assert_failure(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the path ends in something that is no name of a profile; write at most 63 of a-z, 0-9 and '-', \
             with a letter or digit at both ends",
        );
    }
}

#[tokio::test]
async fn another_method_is_405() {
    let servers = Servers::new();
    for path in ["/mutate", "/validate/production"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
            let answer = servers.send(request).await;
            assert_eq!(answer.headers[header::ALLOW], "POST");
            answer.assert_failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "the webhooks answer POST only",
            );
        }
    }
}

#[tokio::test]
async fn what_says_that_it_is_not_json_is_415() {
    let servers = Servers::new();
    for content_type in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/yaml",
        "application/json-patch+json",
        "",
    ] {
        let request = Request::post("/validate")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(reviews::body(&reviews::sound())))
            .expect("a request");
        servers.send(request).await.assert_failure(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "the body must be an AdmissionReview in JSON; send it with Content-Type: application/json",
        );
    }
}

#[tokio::test]
async fn json_may_be_written_in_many_ways_or_not_at_all() {
    let servers = Servers::new();
    let body = reviews::body(&reviews::sound());
    for content_type in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json ;v=1"]
    {
        let request = Request::post("/validate")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body.clone()))
            .expect("a request");
        servers.send(request).await.decision();
    }
    let request = Request::post("/validate").body(Body::from(body)).expect("a request");
    servers.send(request).await.decision();
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let servers = Servers::new();
    let (code, reason, message) =
        (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "the body is larger than 8 MiB");
    servers.post("/mutate", vec![b' '; BODY_SIZE + 1]).await.assert_failure(code, reason, message);

    // Without Content-Length, in pieces.
    let pieces =
        std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024 * 1024]))).take(9);
    let body = Body::from_stream(stream::iter(pieces));
    servers.post("/mutate", body).await.assert_failure(code, reason, message);
}

#[tokio::test]
async fn a_body_as_large_as_the_limit_is_read() {
    let servers = Servers::new();
    let mut body = reviews::body(&reviews::sound());
    body.resize(BODY_SIZE, b' ');
    servers.post("/mutate", body).await.decision();
}

#[tokio::test]
async fn a_large_body_is_judged_as_any_other() {
    let servers = Servers::new();
    let mut review = reviews::harmful();
    review["request"]["object"]["metadata"]["annotations"] =
        json!({"example.com/notes": "x".repeat(600_000)});
    let large = servers.post("/validate", reviews::body(&review)).await.decision();
    let small = servers.post("/validate", reviews::body(&reviews::harmful())).await.decision();
    assert_eq!(large, small);
}

#[tokio::test]
async fn a_malformed_body_is_400_and_never_a_decision() {
    let servers = Servers::new();
    let mut not_an_object = reviews::sound();
    not_an_object["request"]["object"] = json!([]);
    let mut wrong_type = reviews::sound();
    wrong_type["request"]["object"]["spec"]["replicas"] = json!("three");
    let mut old_version = reviews::sound();
    old_version["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let bodies = [
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe".to_vec(),
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#.to_vec(),
        "[".repeat(10_000).into_bytes(),
        reviews::body(&not_an_object),
        reviews::body(&wrong_type),
        reviews::body(&old_version),
    ];
    for path in ["/mutate", "/validate"] {
        for body in &bodies {
            let answer = servers.post(path, body.clone()).await;
            let message = answer.json()["message"].as_str().expect("a message").to_owned();
            assert!(!message.is_empty());
            answer.assert_failure(StatusCode::BAD_REQUEST, "BadRequest", &message);
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let servers = Servers::new();
    let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("the client went away"))];
    let answer = servers.post("/mutate", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.json()["message"].to_string();
    assert!(
        message.contains("the body could not be read: ") && message.contains("the client went away"),
        "{message}"
    );
}

#[tokio::test]
async fn a_body_without_end_takes_nobodys_place() {
    let servers = Servers::with(Policy::new("production").expect("a profile"), 1);
    let begin = || {
        let router = servers.webhooks.clone();
        tokio::spawn(router.oneshot(post("/mutate").body(endless()).expect("a request")))
    };
    let open = [begin(), begin()];
    tokio::task::yield_now().await;
    for path in ["/mutate", "/validate/advisory"] {
        servers.post(path, reviews::body(&reviews::sound())).await.decision();
    }
    assert!(open.iter().all(|call| !call.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_review_past_the_api_servers_timeout_is_504() {
    let servers = Servers::new();
    // (query, seconds until the answer); the clock is paused and jumps.
    for (query, seconds) in [
        ("?timeout=10s", 10.0),
        ("?timeout=1.5s", 1.5),
        ("?timeout=500ms", 0.5),
        ("", 30.0),
        ("?timeout=soon", 30.0),
        ("?timeout=1h", 30.0),
    ] {
        let started = Instant::now();
        let answer = servers.post(&format!("/validate{query}"), endless()).await;
        let limit = Duration::from_secs_f64(seconds);
        answer.assert_failure(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            &format!("there was no decision within {limit:?}"),
        );
        let elapsed = started.elapsed();
        assert!(elapsed >= limit && elapsed < limit + Duration::from_millis(10), "{query}: {elapsed:?}");
    }
}

#[tokio::test]
async fn decisions_and_errors_are_counted() {
    let servers = Servers::new();
    let (sound, harmful) = (reviews::body(&reviews::sound()), reviews::body(&reviews::harmful()));
    let mut dry_run = reviews::sound();
    dry_run["request"]["dryRun"] = json!(true);
    let mut scale = reviews::sound();
    scale["request"]["subResource"] = json!("scale");
    let mut waived = reviews::harmful();
    waived["request"]["object"]["metadata"]["annotations"] =
        json!({"gapless.dev/waive.recreate-strategy": "the database allows one writer"});

    servers.post("/mutate", sound.clone()).await.decision();
    servers.post("/mutate/unknown-profile", reviews::body(&dry_run)).await.decision();
    servers.post("/validate", harmful.clone()).await.decision();
    servers.post("/validate/advisory", harmful).await.decision();
    servers.post("/validate", reviews::body(&waived)).await.decision();
    servers.post("/validate", reviews::body(&scale)).await.decision();
    servers.post("/validate/off", sound.clone()).await.decision();
    servers.post("/validate/advisory", "{").await;
    servers.post("/validate/another-unknown-profile", "{").await;
    servers.post("/mutate/NO", sound).await;

    let requests = |webhook, profile, operation, dry_run, decision, count: u32| {
        let labels = format!(
            r#"webhook="{webhook}",profile="{profile}",operation="{operation}",dry_run="{dry_run}",decision="{decision}""#
        );
        servers.assert_metric(&format!("gapless_admission_requests_total{{{labels}}} {count}"));
    };
    requests("mutate", "production", "CREATE", "false", "patch", 1);
    requests("mutate", "production", "CREATE", "true", "patch", 1);
    requests("validate", "production", "CREATE", "false", "deny", 1);
    requests("validate", "production", "CREATE", "false", "allow", 2);
    requests("validate", "advisory", "CREATE", "false", "allow", 1);
    requests("validate", "off", "CREATE", "false", "allow", 1);
    requests("validate", "advisory", "unknown", "unknown", "error", 1);
    requests("validate", "production", "unknown", "unknown", "error", 1);
    requests("mutate", "production", "unknown", "unknown", "error", 1);
    requests("mutate", "advisory", "unknown", "unknown", "error", 0);
    assert!(!servers.metrics().contains("unknown-profile"), "names from a path must not become labels");

    servers.assert_metric(r#"gapless_findings_total{rule="recreate-strategy",action="deny"} 1"#);
    servers.assert_metric(r#"gapless_findings_total{rule="recreate-strategy",action="warn"} 1"#);
    servers.assert_metric(r#"gapless_findings_total{rule="recreate-strategy",action="waived"} 1"#);
    servers.assert_metric(r#"gapless_waivers_total{id="recreate-strategy"} 1"#);
    servers.assert_metric(r#"gapless_skips_total{reason="subresource"} 1"#);
    servers.assert_metric(r#"gapless_skips_total{reason="profile-off"} 1"#);
    servers.assert_metric(r#"gapless_defaults_applied_total{default="pre-stop-sleep"} 2"#);
    servers.assert_metric(r#"gapless_admission_duration_seconds_count{webhook="mutate"} 3"#);
    servers.assert_metric(r#"gapless_admission_duration_seconds_count{webhook="validate"} 7"#);
}

#[tokio::test]
async fn metrics_exist_before_anything_happens() {
    let servers = Servers::new();
    servers.metrics.set_certificate_not_after(Role::Ca.as_str(), 4_102_444_800);
    let answer = servers.ops("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.headers[header::CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(answer.text().ends_with("# EOF\n"));

    for rule in RULES {
        for action in ["deny", "warn", "audit", "waived", "old"] {
            let rule = rule.id;
            servers.assert_metric(&format!(r#"gapless_findings_total{{rule="{rule}",action="{action}"}} 0"#));
        }
        servers.assert_metric(&format!(r#"gapless_waivers_total{{id="{}"}} 0"#, rule.id));
    }
    for default in DEFAULTS {
        servers.assert_metric(&format!(r#"gapless_defaults_applied_total{{default="{}"}} 0"#, default.id));
        servers.assert_metric(&format!(r#"gapless_waivers_total{{id="{}"}} 0"#, default.id));
    }
    servers.assert_metric(r#"gapless_skips_total{reason="owned"} 0"#);
    for result in ["success", "failure"] {
        servers.assert_metric(&format!(r#"gapless_certificate_reloads_total{{result="{result}"}} 0"#));
    }
    servers.assert_metric("gapless_panics_total 0");
    servers.assert_metric(&format!(r#"gapless_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")));
    servers.assert_metric(r#"gapless_certificate_not_after_timestamp_seconds{role="ca"} 4102444800"#);

    let bounds: Vec<String> = servers
        .metrics()
        .lines()
        .filter(|line| {
            line.starts_with("gapless_admission_duration_seconds_bucket") && line.contains("mutate")
        })
        .filter_map(|line| Some(line.split_once("le=\"")?.1.split_once('"')?.0.to_owned()))
        .collect();
    let expected = [
        "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
        "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf",
    ];
    assert_eq!(bounds, expected);
}

#[tokio::test]
async fn ready_until_termination_alive_beyond() {
    let servers = Servers::new();
    let ready = servers.ops("/readyz").await;
    assert_eq!((ready.status, ready.text()), (StatusCode::OK, "ok"));
    let verbose = servers.ops("/readyz?verbose").await;
    assert_eq!(
        (verbose.status, verbose.text()),
        (StatusCode::OK, "[+]certificate ok\n[+]shutdown ok\n[+]configuration ok\nok\n")
    );

    servers.termination.begin();
    let ready = servers.ops("/readyz").await;
    assert_eq!(
        (ready.status, ready.text()),
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: gapless is shutting down")
    );
    let verbose = servers.ops("/readyz?verbose=true").await;
    assert_eq!(verbose.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        verbose.text(),
        "[+]certificate ok\n[-]shutdown failed: gapless is shutting down\n[+]configuration ok\n\
         not ready: gapless is shutting down\n"
    );
    let alive = servers.ops("/livez").await;
    assert_eq!((alive.status, alive.text()), (StatusCode::OK, "ok"));
    assert_eq!(servers.ops("/metrics").await.status, StatusCode::OK);
    assert_eq!(servers.ops("/mutate").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ready_with_a_configuration_that_cannot_be_used_any_more() {
    let servers = Servers::new();
    let harmful = reviews::body(&reviews::harmful());
    servers.config.apply(config::load(Some(Path::new("/nonexistent.yaml"))));
    let verbose = servers.ops("/readyz?verbose").await;
    assert_eq!(
        (verbose.status, verbose.text()),
        (
            StatusCode::OK,
            "[+]certificate ok\n[+]shutdown ok\n[!]configuration is an older one: cannot read the \
             configuration /nonexistent.yaml: No such file or directory (os error 2)\nok\n"
        )
    );
    assert_eq!(servers.ops("/readyz").await.text(), "ok");
    assert_eq!(servers.post("/validate", harmful.clone()).await.decision()["allowed"], false);

    servers.config.apply(Ok(Policy::new("advisory").expect("a profile")));
    assert!(servers.ops("/readyz?verbose").await.text().contains("[+]configuration ok\n"));
    let response = servers.post("/validate", harmful).await.decision();
    assert_eq!(
        (&response["allowed"], &response["auditAnnotations"]["profile"]),
        (&json!(true), &json!("advisory"))
    );
}

/// Neither webhook has a word for them.
#[tokio::test]
async fn exempt_users_and_namespaces_are_left_alone() {
    let exempt = |usernames: &[&str], groups: &[&str], namespaces: &[&str]| {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let exemptions =
            Exemptions { usernames: set(usernames), groups: set(groups), namespaces: set(namespaces) };
        Policy::of([Profile::production()], "production", exemptions).expect("a policy")
    };
    let table = [
        (exempt(&["jane@example.com"], &[], &[]), Some("exempt-user")),
        (exempt(&[], &["cooks", "system:authenticated"], &[]), Some("exempt-user")),
        (exempt(&[], &[], &["shop"]), Some("exempt-namespace")),
        (exempt(&["jane@example.com"], &[], &["shop"]), Some("exempt-namespace")),
        (exempt(&["jane@example.co", "Jane@example.com"], &["system"], &["shop2", "default"]), None),
        // A group is no user.
        (exempt(&["system:authenticated"], &["jane@example.com"], &[]), None),
    ];
    for (policy, reason) in table {
        let servers = Servers::with(policy, 10);
        for path in ["/mutate", "/validate", "/validate/unknown-profile"] {
            let response = servers.post(path, reviews::body(&reviews::harmful())).await.decision();
            let skipped = response["auditAnnotations"]["skipped"].as_str();
            assert_eq!(skipped, reason, "{path}: {response}");
            let is_untouched =
                response["allowed"] == true && response["patch"].is_null() && response["warnings"].is_null();
            assert_eq!(is_untouched, reason.is_some(), "{path}: {response}");
        }
        for skip in ["exempt-user", "exempt-namespace"] {
            let count = if reason == Some(skip) { 3 } else { 0 };
            servers.assert_metric(&format!("gapless_skips_total{{reason=\"{skip}\"}} {count}"));
        }
    }
}

#[tokio::test]
async fn not_ready_with_an_expired_certificate() {
    let servers = Servers::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let expired = ServingCertificate::new(vec![certificate.der().clone()], key).expect("a pair");
    servers.certificates.replace(expired);

    let ready = servers.ops("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.text(), "not ready: the certificate has expired at 2021-01-01T00:00:00Z");
}

#[tokio::test]
async fn answers_close_the_connection_after_termination_has_begun() {
    let servers = Servers::new();
    let sound = reviews::body(&reviews::sound());
    assert!(!servers.post("/mutate", sound.clone()).await.headers.contains_key(header::CONNECTION));
    servers.termination.begin();
    for (path, body) in
        [("/mutate", sound.clone()), ("/validate/advisory", b"{".to_vec()), ("/nothing", Vec::new())]
    {
        assert_eq!(servers.post(path, body).await.headers[header::CONNECTION], "close", "{path}");
    }
    // HTTP/2 forbids the header.
    let request =
        post("/mutate").version(axum::http::Version::HTTP_2).body(Body::from(sound)).expect("a request");
    assert!(!servers.send(request).await.headers.contains_key(header::CONNECTION));
}
