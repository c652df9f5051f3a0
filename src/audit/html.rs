//! For people who look at it: what was said of a cluster, as a page.

use jiff::civil::Date;

use super::canaries::WARNING;
use super::{Audited, json};
use crate::report::html::{self, Page};

/// All of it as a page, judged on this day.
///
/// # Errors
/// If serde_json cannot write what programs read of it, of which no case is known.
pub fn write(audited: &Audited, today: Date) -> serde_json::Result<String> {
    let stuck = audited.stuck.iter().map(|it| {
        (
            format!("{} is stuck", it.subject),
            format!("{} ({}). Fix: {}", it.message, it.defaults.join(", "), it.fix),
        )
    });
    let copied = audited.copied().map(|(it, _)| (it.subject.to_string(), WARNING.to_owned()));
    let unknown = audited.unknown_profiles.iter().map(|(namespace, label)| {
        (format!("Namespace {namespace}"), audited.unknown_profile(namespace, label))
    });
    let failed = audited.failed.iter().map(|it| (it.subject.to_string(), it.message.clone()));
    let unlisted = audited.unlisted.iter().map(|(kind, why)| ((*kind).to_owned(), why.clone()));
    Ok(html::write(&Page {
        report: &audited.report,
        scope: audited.scope.in_words(),
        today,
        remarks: stuck.chain(copied).chain(unknown).collect(),
        unread: failed.chain(unlisted).collect(),
        json: &json::write(audited)?,
    }))
}
