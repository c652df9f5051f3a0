//! Changes that are not to be held up: somebody is repairing something.

use serde_json::Value;

use super::envelope::Request;
use crate::workload::Workload;
use crate::workload::object::ManagedFieldsEntry;

/// Whether the request is a `kubectl rollout undo`.
///
/// It is the one verb of kubectl that gives no field manager. The API server
/// then names the manager after the User-Agent, and `managedFields` gains an
/// `Update` entry by `kubectl`, or a newer one (seen on 1.37).
pub fn is_rollback(request: &Request, workload: &Workload, old: &Workload) -> bool {
    let field_manager = request.options.as_ref().and_then(|options| options.field_manager.as_deref());
    if field_manager.is_some_and(|manager| !manager.is_empty()) {
        return false;
    }
    fn by_kubectl<'w, 'a>(workload: &'w Workload<'a>) -> impl Iterator<Item = &'w ManagedFieldsEntry<'a>> {
        let entries = workload.metadata().managed_fields.iter();
        entries.filter(|entry| {
            entry.manager == Some("kubectl")
                && entry.operation == Some("Update")
                && entry.subresource.unwrap_or_default().is_empty()
        })
    }
    // Times are RFC 3339 in UTC, so that they sort as text.
    let newest = by_kubectl(old).filter_map(|entry| entry.time).max();
    by_kubectl(workload).any(|entry| entry.time > newest)
}

/// Whether only the number of replicas changes. `minReadySeconds` does not
/// count: gapless itself may have filled it in on the way.
pub fn is_scale(object: &Value, old_object: &Value) -> bool {
    let (Some(spec), Some(old)) = (object["spec"].as_object(), old_object["spec"].as_object()) else {
        return false;
    };
    let counts = |field: &&String| *field != "replicas" && *field != "minReadySeconds";
    spec.keys().chain(old.keys()).filter(counts).all(|field| spec.get(field) == old.get(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(field_manager: Value) -> Request {
        let request = json!({
            "uid": "1", "operation": "UPDATE", "options": {"fieldManager": field_manager},
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        });
        serde_json::from_value(request).unwrap()
    }

    fn managed(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    #[test]
    fn an_undo_has_no_field_manager_and_a_newer_entry_of_kubectl() {
        let undo = |field_manager: Value, entries: Value, old_entries: Value| {
            let (object, old) = (managed(entries), managed(old_entries));
            let workload = Workload::read(&object).unwrap();
            is_rollback(&request(field_manager), &workload, &Workload::read(&old).unwrap())
        };
        let at = |time: &str| json!([{"manager": "kubectl", "operation": "Update", "time": time}]);
        let (one, two) = (at("2026-11-23T10:00:00Z"), at("2026-11-23T10:00:01Z"));
        assert!(undo(json!(null), one.clone(), json!([])));
        assert!(undo(json!(""), two.clone(), one.clone()));
        assert!(!undo(json!("kubectl-edit"), two.clone(), one.clone()), "another verb");
        assert!(!undo(json!(null), one.clone(), one), "an entry of an earlier undo");
        let restart =
            json!([{"manager": "kubectl-rollout", "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
        assert!(!undo(json!(null), restart, json!([])));
        let scale = json!([{"manager": "kubectl", "operation": "Update", "subresource": "scale", "time": "2026-11-23T10:00:00Z"}]);
        assert!(!undo(json!(null), scale, json!([])));
    }

    #[test]
    fn a_scale_changes_replicas_only() {
        let old = json!({"spec": {"replicas": 2, "strategy": {"type": "Recreate"}}});
        assert!(is_scale(
            &json!({"spec": {"replicas": 1, "strategy": {"type": "Recreate"}, "minReadySeconds": 10}}),
            &old
        ));
        assert!(!is_scale(&json!({"spec": {"replicas": 1}}), &old));
    }
}
