//! Follows the objects of one kind.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client};

use super::Known;
use super::listed::Listed;
use super::rows::Rows;
use super::watched::Watched;
use crate::observe::metrics::Metrics;

/// How many objects a page of a list has, where the API server cannot stream it.
const PAGE: u32 = 25;

/// How long one watch lasts, in seconds; the next one goes on where it ended. It is shorter
/// than the time for which a connection may be silent, so that one that is dead is noticed
/// and one that is quiet is not taken for dead.
const WATCH_SECONDS: u32 = 50;

/// Follows one kind for ever.
pub async fn run(known: Arc<Known>, client: Client, metrics: Arc<Metrics>) {
    let (kind, resource) = (known.watched.kind, known.watched.api_resource());
    let report = |rows: &Rows| metrics.set_context(kind, Some((rows.is_filled(), rows.len())));
    report(&known.read());
    let api = Api::<Listed>::all_with(client, &resource);
    let in_pages = Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
    let mut config = in_pages.clone().streaming_lists();
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list that has only begun says nothing of a kind that may be absent.
                    let is_news = !matches!(event, Event::Init);
                    known.change(|rows| {
                        take(rows, event, known.watched);
                        if is_news {
                            report(rows);
                        }
                    });
                }
                // Those of 1.30, 1.31 and 1.33 by default.
                Err(error) if is_refused(&error) && config != in_pages => break,
                Err(error) if known.watched.is_optional && is_missing(&error) => {
                    known.change(Rows::clear);
                    metrics.set_context(kind, None);
                }
                Err(error) => tracing::warn!(kind, %error, "cannot follow these objects, trying again"),
            }
        }
        config = in_pages.clone();
    }
}

fn take(rows: &mut Rows, event: Event<Listed>, watched: &Watched) {
    match event {
        Event::Init => rows.begin(),
        Event::InitApply(listed) | Event::Apply(listed) => rows.put(watched, &listed.object),
        Event::InitDone => rows.end(),
        Event::Delete(listed) => rows.remove(&listed.object),
    }
}

/// The code of the API server's answer, if it gave one.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// Whether the API server does not take `sendInitialEvents`.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(code(error), Some(400 | 422))
}

fn is_missing(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}
