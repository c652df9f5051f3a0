//! Controllers of others, which release by themselves, with gapless installed as its chart
//! does it unless told otherwise: it completes what they write, and is never in their way.
//!
//! They have a control plane of their own, for they act on the objects of all tests in it.

mod argo;
mod flagger;

use std::sync::LazyLock;

use super::installed::install_in;
use crate::support::namespace::Namespace;
use crate::support::{self, Cluster, Gapless, eventually};

/// The annotation that names what gapless injected.
const RECORD: &str = "gapless.dev/injected";

/// The control plane with gapless, which knows the kinds of both controllers.
struct Installed {
    cluster: Cluster,
    /// What the webhooks call.
    _gapless: Gapless,
}

/// `None` as for [`support::cluster`].
fn installed() -> Option<&'static Installed> {
    static INSTALLED: LazyLock<Option<Installed>> = LazyLock::new(|| {
        let cluster = support::own_cluster(&[])?;
        let [.., newest] = support::argo::RELEASES;
        newest.serve(&cluster);
        let (gapless, _) = install_in(&cluster, &["--cluster-context"]);
        // Each look at a kind that it does not know yet takes longer.
        eventually("the cluster's context", || {
            let metrics = gapless.ops_get("/metrics").1;
            let is_full = metrics.contains("context_synced{kind=\"Rollout\"} 1\n")
                && !metrics.lines().any(|line| line.contains("context_synced{") && line.ends_with(" 0"));
            if is_full { Ok(()) } else { Err(metrics) }
        });
        Some(Installed { cluster, _gapless: gapless })
    });
    INSTALLED.as_ref()
}

/// That gapless has refused nothing in this namespace, whoever asked: a controller would
/// only try again.
#[track_caller]
fn nothing_was_denied(namespace: &Namespace) {
    let log = namespace.audit_log();
    let is_write = |event: &&serde_json::Value| {
        event["verb"] == "create" || event["verb"] == "update" || event["verb"] == "patch"
    };
    let writes: Vec<_> = log.iter().filter(is_write).collect();
    assert!(!writes.is_empty());
    for event in writes {
        let said = event["responseStatus"]["message"].as_str().unwrap_or_default();
        assert!(!said.contains("gapless"), "{event:#}");
    }
}
