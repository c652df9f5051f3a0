//! `gapless ping`: whether the webhooks of a cluster answer, as its API server sees it.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime;
use tokio::time::sleep;

use super::output;
use super::sample::{REVIEW, SERVICE_REVIEW};
use crate::audit::namespaces::ENTRY;
use crate::cli::PingArguments;
use crate::client::failure::RequestError;
use crate::client::kubeconfig::{self, Choice, Connection};
use crate::client::list::Page;
use crate::client::reach::{self, Namespaces, Reach};
use crate::client::webhook::{Answer, CONFIGURATIONS, Configurations, Webhook};
use crate::exit;
use crate::printable::printable;

/// How long to wait before everything is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How many webhook configurations to read at once.
const PAGE: u32 = 500;

/// What came of calling one webhook.
struct Call {
    webhook: String,
    outcome: Outcome,
}

/// Each with what there is to say about it.
enum Outcome {
    Answers(String),
    Fails(String),
    NotAsked(String),
}

/// Calls them all, says how it went, and says so by its exit code too.
///
/// # Errors
/// If it is not known what to call, the API server does not answer, or the report
/// cannot be written.
pub fn run(arguments: &PingArguments) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = runtime.block_on(call_until_none_fails(arguments))?;
    output::print(&report(&calls))?;
    Ok(exit_code(&calls))
}

fn exit_code(calls: &[Call]) -> ExitCode {
    if has_failed(calls) {
        ExitCode::from(exit::FOUND)
    } else if calls.iter().all(|call| matches!(call.outcome, Outcome::NotAsked(_))) {
        ExitCode::from(exit::UNUSABLE)
    } else {
        ExitCode::SUCCESS
    }
}

fn has_failed(calls: &[Call]) -> bool {
    calls.iter().any(|call| matches!(call.outcome, Outcome::Fails(_)))
}

async fn call_until_none_fails(arguments: &PingArguments) -> anyhow::Result<Vec<Call>> {
    let deadline = Instant::now() + arguments.wait;
    let choice =
        Choice { kubeconfig: arguments.kubeconfig.as_deref(), context: arguments.context.as_deref() };
    let connection = kubeconfig::connect(choice).await?;
    loop {
        let calls = call_all(&connection, arguments).await?;
        if !has_failed(&calls) || Instant::now() + PAUSE > deadline {
            return Ok(calls);
        }
        sleep(PAUSE).await;
    }
}

async fn call_all(connection: &Connection, arguments: &PingArguments) -> anyhow::Result<Vec<Call>> {
    let namespaces = match arguments.direct {
        true => None,
        false => Some(Namespaces::read(connection).await?),
    };
    let mut calls = Vec::new();
    for configurations in CONFIGURATIONS {
        for webhook in webhooks(connection, configurations, arguments).await? {
            let outcome = match &namespaces {
                Some(namespaces) => {
                    through_api_server(connection, &webhook, configurations.is_mutating, namespaces).await?
                }
                None => directly(connection, &webhook).await,
            };
            calls.push(Call { webhook: webhook.name, outcome });
        }
    }
    if calls.is_empty() {
        anyhow::bail!("no webhook of gapless is installed in this cluster, none has a name in {ENTRY}");
    }
    Ok(calls)
}

/// The webhooks of gapless in the configuration that was named, or in all of this kind.
async fn webhooks(
    connection: &Connection,
    configurations: Configurations,
    arguments: &PingArguments,
) -> anyhow::Result<Vec<Webhook>> {
    if let Some(name) = &arguments.webhook_configurations {
        let object = configurations.place(name).get(connection).await?;
        let object = object.ok_or_else(|| anyhow::anyhow!("there is no {} {name}", configurations.kind))?;
        return Ok(Webhook::read_all(&object)?);
    }
    let take = |all: &mut Vec<Value>, page: Page| all.extend(page.items);
    let objects = configurations.list(PAGE).read(connection, Vec::new, take, || {}).await?;
    let mut webhooks = Vec::new();
    for object in &objects {
        webhooks.extend(Webhook::read_all(object)?);
    }
    webhooks.retain(|webhook: &Webhook| webhook.name.ends_with(ENTRY));
    Ok(webhooks)
}

async fn through_api_server(
    connection: &Connection,
    webhook: &Webhook,
    is_mutating: bool,
    namespaces: &Namespaces,
) -> Result<Outcome, RequestError> {
    let started = Instant::now();
    let reach = reach::ask(connection, webhook, is_mutating, namespaces).await?;
    let milliseconds = started.elapsed().as_millis();
    Ok(match reach {
        Reach::Answers(namespace) => Outcome::Answers(format!(
            "answers the API server in {milliseconds} ms, about a Deployment in namespace {namespace}"
        )),
        Reach::Fails(why) => Outcome::Fails(why),
        Reach::NotAsked(why) => Outcome::NotAsked(why),
    })
}

async fn directly(connection: &Connection, webhook: &Webhook) -> Outcome {
    let (review, kind) = match webhook.is_called_for_updated_services() {
        true => (SERVICE_REVIEW, "Service"),
        false => (REVIEW, "Deployment"),
    };
    let started = Instant::now();
    let answer = webhook.call(connection, review).await;
    let milliseconds = started.elapsed().as_millis();
    let does = match answer {
        Ok(Answer::Allowed) => "allows",
        Ok(Answer::Patched) => "completes",
        Ok(Answer::Denied) => "denies",
        Ok(Answer::WantsCertificate) => {
            return Outcome::Answers("is there, and answers nobody without a client certificate".to_owned());
        }
        Err(error) => return Outcome::Fails(error.to_string()),
    };
    Outcome::Answers(format!("answers in {milliseconds} ms, {does} the {kind}"))
}

/// One line for each webhook.
fn report(calls: &[Call]) -> String {
    let width = calls.iter().map(|call| call.webhook.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for Call { webhook, outcome } in calls {
        let (word, text) = match outcome {
            Outcome::Answers(text) => ("", text),
            Outcome::Fails(why) => ("FAILS: ", why),
            Outcome::NotAsked(why) => ("not asked: ", why),
        };
        // Writing to a String never fails.
        let _ = writeln!(lines, "{webhook:width$}  {word}{}", printable(text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_is_neither_well_nor_wrong() {
        let answers = || Outcome::Answers("answers".to_owned());
        let fails = || Outcome::Fails("no\nbody".to_owned());
        let not_asked = || Outcome::NotAsked("no namespace".to_owned());
        for (outcomes, code) in [
            (vec![answers(), not_asked()], ExitCode::SUCCESS),
            (vec![answers(), fails(), not_asked()], ExitCode::from(1)),
            (vec![not_asked(), not_asked()], ExitCode::from(2)),
        ] {
            let calls: Vec<Call> =
                outcomes.into_iter().map(|outcome| Call { webhook: "a".to_owned(), outcome }).collect();
            assert_eq!(exit_code(&calls), code, "{}", report(&calls));
        }
        let call = |webhook: &str, outcome| Call { webhook: webhook.to_owned(), outcome };
        assert_eq!(
            report(&[call("a.b", answers()), call("abcd", fails()), call("c", not_asked())]),
            "a.b   answers\nabcd  FAILS: no body\nc     not asked: no namespace\n"
        );
    }
}
