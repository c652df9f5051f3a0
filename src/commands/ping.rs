//! `gapless ping`: calls the webhooks as the API server does.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::time::sleep;

use super::output;
use super::sample::REVIEW;
use crate::cli::PingArguments;
use crate::cluster::kubeconfig::{self, Choice, Connection};
use crate::cluster::webhook::{Answer, CONFIGURATIONS, CallError, Webhook};
use crate::printable::printable;

/// A webhook does not answer.
const SILENT: u8 = 1;

/// How long to wait before everything is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of calling one webhook.
struct Call {
    webhook: String,
    answer: Result<Answer, CallError>,
    took: Duration,
}

/// Calls them all, says how it went, and says so by its exit code too.
///
/// # Errors
/// If it is not known what to call, or the report cannot be written.
pub fn run(arguments: &PingArguments) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = runtime.block_on(call_until_all_answer(arguments))?;
    output::print(&report(&calls))?;
    let all_answer = calls.iter().all(|call| call.answer.is_ok());
    Ok(if all_answer { ExitCode::SUCCESS } else { ExitCode::from(SILENT) })
}

async fn call_until_all_answer(arguments: &PingArguments) -> anyhow::Result<Vec<Call>> {
    let deadline = Instant::now() + arguments.wait;
    let choice =
        Choice { kubeconfig: arguments.kubeconfig.as_deref(), context: arguments.context.as_deref() };
    let connection = kubeconfig::connect(choice).await?;
    loop {
        let calls = call_all(&connection, &arguments.webhook_configurations).await?;
        let all_answer = calls.iter().all(|call| call.answer.is_ok());
        if all_answer || Instant::now() + PAUSE > deadline {
            return Ok(calls);
        }
        sleep(PAUSE).await;
    }
}

async fn call_all(connection: &Connection, name: &str) -> anyhow::Result<Vec<Call>> {
    let mut calls = Vec::new();
    for configurations in CONFIGURATIONS {
        let object = configurations.place(name).get(connection).await?;
        let object = object.ok_or_else(|| anyhow::anyhow!("there is no {} {name}", configurations.kind))?;
        for webhook in Webhook::read_all(&object)? {
            let started = Instant::now();
            let answer = webhook.call(connection, REVIEW).await;
            calls.push(Call { webhook: webhook.name, answer, took: started.elapsed() });
        }
    }
    Ok(calls)
}

/// One line for each webhook.
fn report(calls: &[Call]) -> String {
    let width = calls.iter().map(|call| call.webhook.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for Call { webhook, answer, took } in calls {
        let milliseconds = took.as_millis();
        let outcome = match answer {
            Ok(Answer::Allowed) => format!("answers in {milliseconds} ms, allows the Deployment"),
            Ok(Answer::Patched) => format!("answers in {milliseconds} ms, completes the Deployment"),
            Ok(Answer::Denied) => format!("answers in {milliseconds} ms, denies the Deployment"),
            Ok(Answer::WantsCertificate) => {
                "is there, and answers nobody without a client certificate".to_owned()
            }
            Err(error) => format!("FAILS: {error}"),
        };
        // Writing to a String never fails.
        let _ = writeln!(lines, "{webhook:width$}  {}", printable(&outcome));
    }
    lines
}
