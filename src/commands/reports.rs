//! Writes the reports of an audit into the cluster, for OpenReports.

use std::collections::BTreeMap;
use std::fmt;

use super::progress;
use crate::audit::Audited;
use crate::audit::openreports::{Changes, OWN, Stale};
use crate::client::failure::RequestError;
use crate::client::kubeconfig::Connection;
use crate::client::list::{self, List, Page};
use crate::client::object::{Place, Written};
use crate::clock;

const RESOURCE: &str = "reports.openreports.io";
const ROOT: &str = "/apis/openreports.io/v1alpha1";
const PLURAL: &str = "reports";

/// What to do where there are none.
pub const NOT_SERVED: &str = "the cluster does not know reports.openreports.io, so none are written; to have them, \
     install its CustomResourceDefinition, see https://github.com/openreports/reports-api";

/// What has been done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    written: usize,
    unchanged: usize,
    removed: usize,
    /// Those whose workload or namespace was deleted in the meantime.
    gone: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { written, unchanged, removed, gone } = self;
        write!(f, "reports: {written} written, {unchanged} unchanged, {removed} removed")?;
        if *gone > 0 {
            write!(f, ", {gone} overtaken by deletions")?;
        }
        Ok(())
    }
}

/// Why reports are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// They cannot be looked at.
    #[error("cannot read the reports: {0}; {NEEDED}")]
    Unread(RequestError),
    /// Nothing more can be written.
    #[error("only some of the reports are written: {0}; run it again")]
    Ended(RequestError),
    /// Some cannot be written or removed; those of other namespaces are.
    #[error("cannot write the reports of {}; {NEEDED}", in_namespaces(.0))]
    Unwritten(BTreeMap<String, RequestError>),
}

const NEEDED: &str = "needed are the verbs list, create, patch and delete of reports.openreports.io, which the \
     chart's value reports.enabled gives to its CronJob";

fn in_namespaces(errors: &BTreeMap<String, RequestError>) -> String {
    let all: Vec<_> = errors.iter().map(|(name, error)| format!("namespace {name}: {error}")).collect();
    all.join("; of ")
}

/// Whether the API server serves reports.
///
/// # Errors
/// If it does not answer.
pub async fn are_served(connection: &Connection) -> Result<bool, RequestError> {
    list::is_served(connection, ROOT).await
}

/// Makes the reports in the cluster those of this audit. `None` if it does not serve any.
///
/// # Errors
/// [`ReportError`]. What could be written is written.
pub async fn apply(
    connection: &Connection,
    audited: &Audited,
    limit: u32,
) -> Result<Option<Done>, ReportError> {
    let namespace = audited.scope.namespace.as_deref();
    let list = List { resource: RESOURCE, root: ROOT, plural: PLURAL, namespace, labels: OWN, limit };
    let compare =
        |changes: &mut Changes, page: Page| page.items.iter().for_each(|stored| changes.compare(stored));
    let mut changes = match list.read(connection, || Changes::new(audited), compare, || {}).await {
        Ok(changes) => changes,
        // The group is there, and reports are not.
        Err(RequestError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(ReportError::Unread(error)),
    };

    let mut writing = Writing::default();
    writing.done.unchanged = changes.unchanged;
    for (namespace, name, object) in progress::counted("reports", changes.take_to_write(clock::now())) {
        if writing.goes_on_in(&namespace) {
            let written = place(&namespace, &name).apply(connection, &object).await;
            writing.note(&namespace, written, |done| &mut done.written)?;
        }
    }
    for Stale { namespace, name, uid } in &changes.stale {
        if writing.goes_on_in(namespace) {
            let removed = place(namespace, name).delete(connection, uid).await;
            writing.note(namespace, removed, |done| &mut done.removed)?;
        }
    }
    match writing.failed.is_empty() {
        true => Ok(Some(writing.done)),
        false => Err(ReportError::Unwritten(writing.failed)),
    }
}

/// How far it is.
#[derive(Default)]
struct Writing {
    done: Done,
    /// What is in the way, by namespace.
    failed: BTreeMap<String, RequestError>,
}

impl Writing {
    /// One failure says it for its namespace.
    fn goes_on_in(&self, namespace: &str) -> bool {
        !self.failed.contains_key(namespace)
    }

    /// Notes what came of one report. What is in the way everywhere ends it all.
    fn note(
        &mut self,
        namespace: &str,
        written: Result<Written, RequestError>,
        count: fn(&mut Done) -> &mut usize,
    ) -> Result<(), ReportError> {
        match written {
            Ok(Written::Done) => *count(&mut self.done) += 1,
            Ok(Written::Outdated) => self.done.gone += 1,
            Err(error @ (RequestError::Unreachable { .. } | RequestError::Unauthorized { .. })) => {
                return Err(ReportError::Ended(error));
            }
            Err(error) => drop(self.failed.insert(namespace.to_owned(), error)),
        }
        Ok(())
    }
}

fn place<'a>(namespace: &'a str, name: &'a str) -> Place<'a> {
    Place { resource: RESOURCE, root: ROOT, plural: PLURAL, namespace: Some(namespace), name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden() -> RequestError {
        let permission = "patch reports.openreports.io in namespace shop".to_owned();
        RequestError::Forbidden { permission, message: "no".to_owned() }
    }

    #[test]
    fn what_is_in_the_way_in_one_namespace_is_not_in_another() {
        let mut writing = Writing::default();
        let written: fn(&mut Done) -> &mut usize = |done| &mut done.written;
        for (namespace, outcome) in
            [("shop", Err(forbidden())), ("bank", Ok(Written::Done)), ("gone", Ok(Written::Outdated))]
        {
            writing.note(namespace, outcome, written).expect("it goes on");
        }
        assert_eq!(["shop", "bank", "gone"].map(|it| writing.goes_on_in(it)), [false, true, true]);
        assert_eq!(writing.done, Done { written: 1, gone: 1, ..Done::default() });
        let said = "reports: 1 written, 0 unchanged, 0 removed, 1 overtaken by deletions";
        assert_eq!(writing.done.to_string(), said);
        writing.failed.insert("team".to_owned(), forbidden());
        let error = ReportError::Unwritten(writing.failed).to_string();
        assert!(
            error.starts_with("cannot write the reports of namespace shop: the permission to patch"),
            "{error}"
        );
        assert!(error.contains("no; of namespace team: the permission"), "{error}");

        let gone = RequestError::Unreachable { server: "https://a".to_owned(), why: "refused".to_owned() };
        let ended = Writing::default().note("bank", Err(gone), written);
        assert!(matches!(ended, Err(ReportError::Ended(_))), "{ended:?}");
    }
}
