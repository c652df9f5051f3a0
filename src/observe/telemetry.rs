//! The log, on standard error.
//!
//! One line for each decision, and one for each call that ended without. It
//! names objects and users; it never quotes the objects.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

use crate::admission::{Phase, Review, Skip};
use crate::printable::printable;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object in a line for each event.
    Json,
}

/// A log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the log filter {filter:?}: {problem}; write a level such as info, or \"info,rustls=debug\" \
     for levels of single modules"
)]
pub struct InvalidFilter {
    filter: String,
    problem: String,
}

/// Starts the log of this process. A second call changes nothing.
///
/// # Errors
/// If the filter cannot be read.
pub fn start_log(format: LogFormat, filter: &str) -> Result<(), InvalidFilter> {
    let targets = filter.parse::<Targets>();
    let targets =
        targets.map_err(|error| InvalidFilter { filter: filter.to_owned(), problem: error.to_string() })?;
    let lines = fmt::layer().with_writer(io::stderr);
    // An error means that there is a log already.
    let _ = match format {
        LogFormat::Text => {
            let text = lines.with_ansi(io::stderr().is_terminal());
            registry().with(text.with_filter(targets)).try_init()
        }
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false);
            registry().with(json.with_filter(targets)).try_init()
        }
    };
    Ok(())
}

/// Makes panics appear in the log with their place only. Their message may
/// quote an object, and objects may hold secrets.
pub fn log_panics_without_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic, which is a bug in gapless");
    }));
}

/// Logs a decision.
pub fn log_review(phase: Phase, review: &Review, elapsed: Duration) {
    let rules = review.findings.iter().map(|(rule, outcome)| format!("{rule}:{}", outcome.as_str()));
    tracing::info!(
        uid = &*shown(&review.response.response.uid),
        webhook = phase.as_str(),
        profile = review.profile,
        unknown_profile = review.is_unknown_profile.then_some(true),
        operation = review.operation.as_str(),
        namespace = &*shown(&review.namespace),
        name = &*shown(&review.name),
        user = &*shown(&review.username),
        dry_run = review.dry_run,
        decision = review.decision.as_str(),
        skip = review.skip.map(Skip::as_str),
        rules = list(rules),
        defaults = list(review.defaults.iter().map(ToString::to_string)),
        duration_ms = milliseconds(elapsed),
        "reviewed"
    );
}

/// Logs a call that ended without a decision: the review's uid, if it could be read, the
/// HTTP status code, and why.
pub fn log_failure(
    phase: Phase,
    profile: &str,
    uid: Option<&str>,
    code: u16,
    reason: &str,
    elapsed: Duration,
) {
    tracing::warn!(
        uid = uid.map(shown).as_deref(),
        webhook = phase.as_str(),
        profile,
        decision = "error",
        code,
        reason = &*shown(reason),
        duration_ms = milliseconds(elapsed),
        "no decision"
    );
}

/// Items joined by commas, each once; `None` if there are none.
fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let mut unique: Vec<String> = Vec::new();
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    (!unique.is_empty()).then(|| unique.join(","))
}

/// A text as it is logged.
fn shown(text: &str) -> Cow<'_, str> {
    printable(clipped(text))
}

/// The start of a text. Names and uids of a real API server are shorter, but
/// anybody who reaches the port can send a long one.
fn clipped(text: &str) -> &str {
    const LIMIT: usize = 512;
    text.get(..text.floor_char_boundary(LIMIT)).unwrap_or(text)
}

fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{env, panic};

    use super::*;

    #[test]
    fn a_list_has_each_item_once() {
        assert_eq!(list(["a", "b", "a"].into_iter().map(str::to_owned)), Some("a,b".to_owned()));
        assert_eq!(list(std::iter::empty()), None);
    }

    #[test]
    fn long_text_is_clipped_between_characters() {
        assert_eq!(clipped("web"), "web");
        assert_eq!(clipped(&"\u{e4}".repeat(1000)).chars().count(), 256);
        assert_eq!(clipped(&format!("x{}", "\u{e4}".repeat(1000))).len(), 511);
    }

    #[test]
    fn what_is_logged_is_printable() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{9b}\u{7f}"), "a b\u{fffd}[31m\u{fffd}\u{fffd}");
    }

    /// The hook is the whole process', so the test runs itself in another one.
    #[test]
    fn a_panic_is_logged_without_its_message() {
        const INNER: &str = "GAPLESS_TEST_PANIC";
        if env::var_os(INNER).is_some() {
            start_log(LogFormat::Text, "info").expect("a level");
            log_panics_without_message();
            let caught = panic::catch_unwind(|| panic!("password={}", "hunter2"));
            assert!(caught.is_err());
            return;
        }
        let test = "observe::telemetry::tests::a_panic_is_logged_without_its_message";
        let output = Command::new(env::current_exe().expect("this test has a path"))
            .args([test, "--exact", "--nocapture"])
            .env(INNER, "1")
            .output()
            .expect("this test can be run");
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains("ERROR") && log.contains("telemetry.rs:"), "{log}");
        assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let error = start_log(LogFormat::Text, "gapless=loud").expect_err("no such level").to_string();
        assert!(error.contains("gapless=loud") && error.contains("write a level such as info"), "{error}");
    }
}
