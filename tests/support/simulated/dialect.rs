//! The kind of workload with which a thread walks. Walks speak of fields as a Deployment has
//! them; where a kind has them elsewhere, their paths are translated here.

use std::borrow::Cow;
use std::cell::Cell;

use gapless::kubernetes::kind::Kind;

thread_local! {
    static KIND: Cell<Kind> = const { Cell::new(Kind::Deployment) };
}

/// The block with the amounts of a Deployment.
pub const ROLLING_UPDATE: &str = "spec.strategy.rollingUpdate";

/// From now on this thread walks with this kind.
pub fn walk_with(kind: Kind) {
    KIND.set(kind);
}

/// The kind with which this thread walks.
pub fn kind() -> Kind {
    KIND.get()
}

/// Where the kind has the field that a Deployment has at `path`.
pub fn path(path: &str) -> Cow<'_, str> {
    translated(path, ROLLING_UPDATE, kind().rolling_block().path())
        .or_else(|| translated(path, "spec.strategy", kind().strategy_field()))
        .unwrap_or(Cow::Borrowed(path))
}

/// Where a Deployment has the field that the kind has at `path`.
pub fn canonical(path: &str) -> Cow<'_, str> {
    translated(path, kind().rolling_block().path(), ROLLING_UPDATE)
        .or_else(|| translated(path, kind().strategy_field(), "spec.strategy"))
        .unwrap_or(Cow::Borrowed(path))
}

fn translated<'p>(path: &'p str, from: &str, to: &str) -> Option<Cow<'p, str>> {
    let rest = path.strip_prefix(from)?;
    let is_within = rest.is_empty() || rest.starts_with(['.', '[']);
    is_within.then(|| if from == to { Cow::Borrowed(path) } else { Cow::Owned(format!("{to}{rest}")) })
}
