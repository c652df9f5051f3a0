//! kubectl's verbs, as requests to a [`Cluster`] (kubectl, pkg/cmd).

use gapless::kubernetes::kind::Kind;
use serde_json::{Value, json};

use super::cluster::{Cluster, Exchange, REVISION, Sender};
use super::{dialect, managed_fields, merge};

/// The annotation in which a client-side apply keeps the manifest.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where `managedFields` name it.
const LAST_APPLIED_PATH: [&str; 3] =
    ["f:metadata", "f:annotations", "f:kubectl.kubernetes.io/last-applied-configuration"];

fn by(manager: &'static str) -> Sender {
    Sender { field_manager: Some(manager) }
}

/// `kubectl create`
pub fn create(cluster: &mut Cluster, manifest: &Value) -> Exchange {
    cluster.write(by("kubectl-create"), manifest.clone(), Vec::new())
}

/// `kubectl apply`; `None` if there is nothing to send.
pub fn apply(cluster: &mut Cluster, manifest: &Value) -> Option<Exchange> {
    let sender = by("kubectl-client-side-apply");
    let mut manifest = manifest.clone();
    let annotations = &mut manifest["metadata"]["annotations"];
    if annotations.is_null() {
        *annotations = json!({});
    }
    let mut modified = manifest.clone();
    modified["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{manifest}\n"));
    let Some(stored) = cluster.stored.clone() else {
        return Some(cluster.write(sender, modified, Vec::new()));
    };
    let live = &stored.object;
    let original = live["metadata"]["annotations"].get(LAST_APPLIED).and_then(Value::as_str);
    let original = original.map_or(json!({}), |original| serde_json::from_str(original).unwrap());
    let merged = merge::three_way(&original, &modified, live);
    (merged != *live).then(|| cluster.write(sender, merged, stored.managers))
}

/// `kubectl apply --server-side --force-conflicts`, with the move from
/// client-side apply that it makes where it finds one.
pub fn apply_server_side(cluster: &mut Cluster, manifest: &Value) -> Vec<Exchange> {
    let mut exchanges = vec![cluster.apply("kubectl", manifest)];
    if !exchanges[0].is_stored() {
        return exchanges;
    }
    let stored = cluster.stored.clone().unwrap();
    let last_applied = stored.object["metadata"]["annotations"].get(LAST_APPLIED);
    let owns = |manager: &managed_fields::Manager| {
        manager.operation == "Apply" && manager.fields.names(&LAST_APPLIED_PATH)
    };
    if let Some(text) = last_applied
        && !stored.managers.iter().any(owns)
    {
        let annotation = json!({
            "apiVersion": stored.object["apiVersion"], "kind": stored.object["kind"],
            "metadata": {"name": "web", "annotations": {LAST_APPLIED: text}},
        });
        exchanges.push(cluster.apply("kubectl-last-applied", &annotation));
    }
    let Some(stored) = cluster.stored.clone() else { return exchanges };
    let mut managers = stored.managers;
    if managed_fields::move_to_apply(&mut managers, &LAST_APPLIED_PATH) {
        exchanges.push(cluster.write(by("kubectl"), stored.object, managers));
        exchanges.push(cluster.apply("kubectl", manifest));
    }
    exchanges
}

/// `kubectl replace`: a PUT of the bare manifest.
pub fn replace(cluster: &mut Cluster, manifest: &Value) -> Exchange {
    let managers = cluster.stored.clone().map(|stored| stored.managers).unwrap_or_default();
    cluster.write(by("kubectl-replace"), manifest.clone(), managers)
}

/// A verb that changes a live object here and there: edit, label, annotate,
/// set image, patch, rollout restart, pause and resume.
pub fn change(
    cluster: &mut Cluster,
    manager: &'static str,
    change: impl FnOnce(&mut Value),
) -> Option<Exchange> {
    let stored = cluster.stored.clone()?;
    let mut object = stored.object.clone();
    change(&mut object);
    (object != stored.object).then(|| cluster.write(by(manager), object, stored.managers))
}

/// `kubectl rollout undo`: the template of an older revision; of a Deployment also its
/// annotations in the place of all but those of kubectl and the controller.
pub fn undo(
    cluster: &mut Cluster,
    template: &Value,
    annotations: &serde_json::Map<String, Value>,
) -> Option<Exchange> {
    let stored = cluster.stored.clone()?;
    if stored.object["spec"]["paused"] == true || stored.object["spec"]["template"] == *template {
        return None;
    }
    let mut object = stored.object.clone();
    object["spec"]["template"] = template.clone();
    if dialect::kind() != Kind::Deployment {
        return Some(cluster.write(Sender { field_manager: None }, object, stored.managers));
    }
    let mut replaced = annotations.clone();
    for key in [LAST_APPLIED, REVISION] {
        if let Some(value) = stored.object["metadata"]["annotations"].get(key) {
            replaced.insert(key.to_owned(), value.clone());
        }
    }
    object["metadata"]["annotations"] = Value::Object(replaced);
    Some(cluster.write(Sender { field_manager: None }, object, stored.managers))
}
