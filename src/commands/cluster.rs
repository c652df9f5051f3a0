//! What a live cluster says of itself: namespaces, webhooks, and what stands around
//! workloads.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::progress::CLEAR;
use crate::audit::namespaces::{InstalledWebhooks, Namespaces};
use crate::cli::namespace_name;
use crate::client::failure::RequestError;
use crate::client::kubeconfig::Connection;
use crate::client::list::{List, Page};
use crate::client::webhook::CONFIGURATIONS;
use crate::cluster::{Known, View, Watched};
use crate::printable::printable;

/// The namespace of the context, which is part of paths.
///
/// # Errors
/// If it cannot be one.
pub fn of_context(connection: &Connection) -> anyhow::Result<String> {
    namespace_name(&connection.namespace).map_err(|error| {
        anyhow::anyhow!("the context's namespace {:?} cannot be one: {error}", connection.namespace)
    })
}

/// Lists what stands around workloads, in these namespaces or (`None`) in all of them. Returns
/// the kinds that may not be listed, and why: they count as unknown.
pub async fn look_around<'v>(
    known: impl Iterator<Item = &'v Known>,
    connection: &Connection,
    namespaces: &[Option<&str>],
    limit: u32,
) -> Result<Vec<(&'static Watched, String)>, RequestError> {
    let mut unknown = Vec::new();
    for known in known {
        let watched = known.watched();
        match list_known(known, connection, namespaces, limit).await {
            Ok(()) | Err(RequestError::NotFound { .. }) => known.fill(),
            Err(error @ RequestError::Forbidden { .. }) => unknown.push((watched, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(unknown)
}

async fn list_known(
    known: &Known,
    connection: &Connection,
    namespaces: &[Option<&str>],
    limit: u32,
) -> Result<(), RequestError> {
    let Watched { resource, root, plural, .. } = *known.watched();
    for namespace in namespaces {
        let list = List { resource, root, plural, namespace: *namespace, labels: "", limit };
        let put = |(): &mut (), page: Page| page.items.iter().for_each(|object| known.put(object));
        list.read(connection, || (), put, || {}).await?;
    }
    Ok(())
}

/// Takes note of a Namespace: of its profile, and of what it says of meshes.
pub fn add(namespaces: &mut Namespaces, view: &View, namespace: &Value) {
    namespaces.add(namespace);
    if let Some(known) = view.of("Namespace") {
        known.put(namespace);
    }
}

/// The webhooks of gapless in the cluster. Without the permission nothing is known of
/// them; those who ask about all namespaces are told so.
pub async fn installed_webhooks(
    connection: &Connection,
    limit: u32,
    all_namespaces: bool,
) -> Result<InstalledWebhooks, RequestError> {
    let mut webhooks = InstalledWebhooks::default();
    for configurations in CONFIGURATIONS {
        let list = configurations.list(limit);
        let take = |all: &mut Vec<Value>, page: Page| all.extend(page.items);
        match list.read(connection, Vec::new, take, || restarted(list.resource)).await {
            Ok(all) => all.iter().for_each(|it| webhooks.add(it)),
            Err(error @ (RequestError::Forbidden { .. } | RequestError::NotFound { .. })) => {
                if all_namespaces {
                    note(&format!(
                        "which namespaces the installed webhooks leave out is not known, only those of Kubernetes \
                         itself are left out: {error}"
                    ));
                }
                return Ok(InstalledWebhooks::default());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(webhooks)
}

/// Says that a list is read again.
pub fn restarted(resource: &str) {
    note(&format!(
        "the API server no longer knows the rest of the list of {resource} (410 Gone); starting again"
    ));
}

/// Says on standard error what is worth knowing beside the report.
pub fn note(text: &str) {
    let mut stderr = io::stderr();
    // A line of progress may be there.
    let clear = if stderr.is_terminal() { CLEAR } else { "" };
    // Nothing can be done about a closed standard error.
    let _ = writeln!(stderr, "{clear}note: {}", printable(text));
}
