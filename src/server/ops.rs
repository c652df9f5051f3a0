//! Probes and metrics, over plain HTTP: `/livez`, `/readyz`, `/metrics`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::shutdown::Termination;
use crate::certificates::CertificateStore;
use crate::config::reload::LiveConfig;
use crate::observe::metrics::{self, Metrics};

/// What the answers hang on.
#[derive(Clone, Debug)]
pub struct Ops {
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Not ready without a valid certificate.
    pub certificates: Arc<CertificateStore>,
    /// Not ready once it has begun.
    pub termination: Arc<Termination>,
    /// Ready all the same if its file cannot be used any more, with a note.
    pub config: Arc<LiveConfig>,
}

/// The routes.
pub fn router(ops: Ops) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(ops)
}

/// A condition for being ready, and what speaks against it.
type Check = (&'static str, Option<String>);

impl Ops {
    fn checks(&self) -> [Check; 2] {
        let shutdown = self.termination.has_begun().then(|| "gapless is shutting down".to_owned());
        [("certificate", self.certificates.objection(Timestamp::now())), ("shutdown", shutdown)]
    }
}

async fn readyz(
    State(ops): State<Ops>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, String) {
    let checks = ops.checks();
    let objections: Vec<&str> = checks.iter().filter_map(|(_, objection)| objection.as_deref()).collect();
    let (code, verdict) = match objections.as_slice() {
        [] => (StatusCode::OK, "ok".to_owned()),
        objections => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", objections.join("; "))),
    };
    if query.contains_key("verbose") {
        let note = note(&ops.config);
        (code, list(&checks) + &note + &verdict + "\n")
    } else {
        (code, verdict)
    }
}

/// A line about the configuration.
fn note(config: &LiveConfig) -> String {
    match config.objection() {
        None => "[+]configuration ok\n".to_owned(),
        Some(objection) => format!("[!]configuration is an older one: {objection}\n"),
    }
}

/// One line for each check, as the API server's `/readyz?verbose` has it.
fn list(checks: &[Check]) -> String {
    let mut lines = String::new();
    for (name, objection) in checks {
        // Writing to a String never fails.
        let _ = match objection {
            None => writeln!(lines, "[+]{name} ok"),
            Some(objection) => writeln!(lines, "[-]{name} failed: {objection}"),
        };
    }
    lines
}

async fn show_metrics(State(ops): State<Ops>) -> Response {
    match ops.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
