//! Changes that are not to be held up: somebody is repairing something.

use std::collections::BTreeSet;

use serde_json::Value;

use super::envelope::Request;
use crate::injection;
use crate::kubernetes::managed_fields::Entry;
use crate::kubernetes::object::{Object, View, same_to_the_api};
use crate::ownership::containers::{Containers, Parents};
use crate::ownership::owners::Change;
use crate::ownership::record::{InjectedField, Record};
use crate::ownership::revision::fingerprint;
use crate::surroundings::Revision;

/// Whether the request is a `kubectl rollout undo`, which changes the template.
///
/// It is the one verb of kubectl that gives no field manager. The API server
/// then names the manager after the User-Agent, which begins with the name of the
/// program's file, and `managedFields` gains an `Update` entry by `kubectl`, or
/// one with a newer time (seen on 1.37). Times are whole seconds, so that a second
/// undo within one leaves the entry as it is.
pub fn is_undo(request: &Request, change: &Change) -> bool {
    is_written_by(is_kubectl, request, change)
}

/// Whether the request may be a `kubectl argo rollouts undo`: this plugin gives no field
/// manager either. Its `set image` cannot be told from it.
pub fn may_be_undo_by_argo(request: &Request, change: &Change) -> bool {
    is_written_by(is_plugin_of_argo, request, change)
}

/// Whether a program with such a name, which gives no field manager, changes the template.
fn is_written_by(is_program: fn(&str) -> bool, request: &Request, change: &Change) -> bool {
    let Some(old_object) = change.old_object else { return false };
    let field_manager = request.options.as_ref().and_then(|options| options.field_manager.as_deref());
    if field_manager.is_some_and(|manager| !manager.is_empty()) {
        return false;
    }
    // Times are RFC 3339 in UTC, so that they sort as text.
    let newest_by_program = |object: View| {
        let is_by_program = |entry: &Entry| {
            entry.manager.as_deref().is_some_and(is_program)
                && entry.operation.as_deref() == Some("Update")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        };
        let entries = object.managed_fields.entries().into_iter().filter(is_by_program);
        entries.filter_map(|entry| Some(entry.time?.into_owned())).max()
    };
    let newest = newest_by_program(change.object);
    newest.is_some()
        && newest >= newest_by_program(old_object)
        && !change.is_stored_template(change.object.tree)
}

/// Whether a manager's name is that of a program: `kubectl`, `oc`, `kubectl.exe`,
/// `kubectl1.30`. The field managers of kubectl's verbs, such as `kubectl-edit`,
/// are words behind a dash.
fn is_kubectl(manager: &str) -> bool {
    if is_plugin_of_argo(manager) {
        return false;
    }
    let suffix = ["kubectl", "oc"].into_iter().find_map(|program| manager.strip_prefix(program));
    suffix.is_some_and(|suffix| {
        suffix.is_empty() || suffix.starts_with('.') || suffix.contains(|it: char| it.is_ascii_digit())
    })
}

/// The same for `kubectl argo rollouts`, a file of its own: `kubectl-argo-rollouts`, or
/// `kubectl-argo-rollouts-linux-amd64` as it is downloaded.
fn is_plugin_of_argo(manager: &str) -> bool {
    manager.starts_with("kubectl-argo-rollouts")
}

/// Whether the template of `object` equals one of these, which its workload has had: then
/// somebody goes back, by whatever means.
///
/// What is injected by now is left out, as it is of the revisions: a rollback by Helm keeps
/// it, so that it never is a revision byte by byte.
pub fn is_earlier_template(object: &Object, revisions: &[Revision]) -> bool {
    let record = Record::read(&object.tree).ok().flatten().unwrap_or_default();
    let Ok(template) = object.whole_template() else { return false };
    let template = fingerprint(template, &record);
    revisions.iter().any(|revision| revision.template == template)
}

/// The record of the revision whose template `object` has, injected fields and all.
pub fn record_of_revision(object: &Object, revisions: &[Revision]) -> Option<Record> {
    let template = object.whole_template().ok()?;
    revisions.iter().find_map(|revision| {
        let record = Record::parse(revision.record.as_deref()?).ok()?;
        (fingerprint(template.clone(), &record) == revision.template).then_some(record)
    })
}

/// Whether the spec changes in the number of replicas, or in whether the rollout is
/// paused, at most, whatever gapless fills in beside it.
pub fn is_scale(change: &Change) -> bool {
    !change.differs_unread && changes_only(&["replicas", "paused"], change)
}

/// Whether only the template changes in the spec, as by a true undo, whatever
/// gapless fills in beside it. Then each new finding comes from the template, in
/// whatever field it is.
pub fn changes_only_template(change: &Change) -> bool {
    changes_only(&["template"], change)
}

/// Whether nothing else in the spec changes than these fields, and what gapless
/// wrote on either side. What a user wrote in the place of a recorded value counts.
fn changes_only(names: &[&str], change: &Change) -> bool {
    let (object, Some(old_object)) = (change.object.tree, change.old_object) else { return false };
    let old_object = old_object.tree;
    let records = [object, old_object].map(|object| Record::read(object).ok().flatten().unwrap_or_default());
    let containers = [object, old_object].map(Containers::of);
    let [new, old] = &containers;
    // What stays the same is no change, whoever owns it by now.
    let [parents, old_parents] = [object, old_object].map(Parents::of);
    let changes =
        |field: &&InjectedField| new.find_below(&parents, field) != old.find_below(&old_parents, field);
    let fields: BTreeSet<&InjectedField> = records.iter().flat_map(Record::fields).filter(changes).collect();
    let rest = |object: &Value, parents: &Parents, containers: &Containers, record: &Record| {
        let mut rest = object.clone();
        for field in &fields {
            let live = containers.find_below(parents, field);
            if record.holds(field, live) || live == field.api_default().as_ref() {
                injection::take(&mut rest, containers, field);
            }
        }
        let mut object = rest;
        let mut spec = object.get_mut("spec").map(Value::take).unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !names.contains(&name.as_str()));
        }
        spec
    };
    let [record, old_record] = &records;
    let (rest, old_rest) =
        (rest(object, &parents, new, record), rest(old_object, &old_parents, old, old_record));
    same_to_the_api(&rest, &old_rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::ownership::intent::Origin;
    use crate::ownership::record::ANNOTATION;
    use serde_json::json;

    fn request(field_manager: Value) -> Request<'static> {
        let request = json!({
            "uid": "1", "operation": "UPDATE", "options": {"fieldManager": field_manager},
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        });
        serde_json::from_str(request.to_string().leak()).unwrap()
    }

    fn update<'a>(object: &'a Value, old_object: &'a Value) -> Change<'a> {
        let change = Change::create(Kind::of_document(object), View::of(object), Origin::ApiServer);
        Change { old_object: Some(View::of(old_object)), ..change }
    }

    fn managed(image: &str, entries: Value) -> Value {
        let spec = json!({"template": {"spec": {"containers": [{"name": "app", "image": image}]}}});
        json!({"metadata": {"managedFields": entries}, "spec": spec})
    }

    #[test]
    fn an_undo_has_no_field_manager_and_an_entry_of_kubectl_that_is_not_older() {
        let undo = |field_manager: Value, entries: Value, old_entries: Value| {
            let (object, old) = (managed("app:v1", entries), managed("app:v2", old_entries));
            is_undo(&request(field_manager), &update(&object, &old))
        };
        let by = |manager: &str, second: &str| json!([{"manager": manager, "operation": "Update", "time": format!("2026-11-23T10:00:0{second}Z")}]);
        let (one, two) = (by("kubectl", "0"), by("kubectl", "1"));
        assert!(undo(json!(null), one.clone(), json!([])));
        assert!(undo(json!(""), two.clone(), one.clone()));
        assert!(undo(json!(null), one.clone(), one.clone()), "a second undo within a second");
        assert!(!undo(json!(null), one.clone(), two.clone()), "an entry of an earlier undo");
        assert!(!undo(json!("kubectl-edit"), two.clone(), one.clone()), "another verb");
        for program in ["kubectl.exe", "kubectl1.30", "kubectl-1.30", "oc", "oc.exe"] {
            assert!(undo(json!(null), by(program, "0"), json!([])), "{program}");
        }
        for other in ["kubectl-rollout", "kubectl-client-side-apply", "ocean", "helm", "my-kubectl"] {
            assert!(!undo(json!(null), by(other, "0"), json!([])), "{other}");
        }
        let scale = json!([{"manager": "kubectl", "operation": "Update", "subresource": "scale", "time": "2026-11-23T10:00:00Z"}]);
        assert!(!undo(json!(null), scale, json!([])));
    }

    #[test]
    fn an_undo_by_argo_is_written_by_its_plugin() {
        let by = |manager: &str| json!([{"manager": manager, "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
        let found = |field_manager: Value, manager: &str| {
            let (object, old) = (managed("app:v1", by(manager)), managed("app:v2", json!([])));
            let (request, change) = (request(field_manager), update(&object, &old));
            [is_undo(&request, &change), may_be_undo_by_argo(&request, &change)]
        };
        for program in ["kubectl-argo-rollouts", "kubectl-argo-rollouts-linux-amd64"] {
            assert_eq!(found(json!(null), program), [false, true], "{program}");
        }
        assert_eq!(found(json!("kubectl-argo-rollouts"), "kubectl-argo-rollouts"), [false, false]);
        assert_eq!(found(json!(null), "rollouts-controller"), [false, false]);
    }

    #[test]
    fn an_undo_changes_the_template() {
        let entries = json!([{"manager": "kubectl", "operation": "Update", "time": "2026-11-23T10:00:00Z"}]);
        let (object, old) = (managed("app:v1", entries), managed("app:v1", json!([])));
        assert!(!is_undo(&request(json!(null)), &update(&object, &old)));
        let change = Change { differs_unread: true, ..update(&object, &old) };
        assert!(is_undo(&request(json!(null)), &change), "in what is in neither tree");
    }

    #[test]
    fn a_scale_changes_replicas_only_but_for_what_gapless_filled() {
        let old = json!({"spec": {"replicas": 2, "strategy": {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}}});
        let mut scaled = old.clone();
        scaled["spec"]["replicas"] = json!(1);
        assert!(is_scale(&update(&scaled, &old)));
        scaled["spec"]["paused"] = json!(true);
        scaled["spec"]["minReadySeconds"] = json!(10);
        scaled["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(0);
        assert!(!is_scale(&update(&scaled, &old)));
        let record = json!({"spec.minReadySeconds": 10, "spec.strategy.rollingUpdate.maxUnavailable": 0});
        scaled["metadata"] = json!({"annotations": {ANNOTATION: record.to_string()}});
        assert!(is_scale(&update(&scaled, &old)));
        assert!(is_scale(&update(&old, &scaled)), "what is withdrawn counts as little");
        let mut users = scaled.clone();
        users["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("100%");
        assert!(!is_scale(&update(&users, &scaled)), "a user's value in the place of a recorded one");
        let mut handed_over = scaled.clone();
        handed_over["spec"]["replicas"] = json!(3);
        handed_over["metadata"] = json!({});
        assert!(is_scale(&update(&handed_over, &scaled)), "what is the user's from now on is as it was");
        assert!(!is_scale(&Change { differs_unread: true, ..update(&scaled, &old) }), "an environment");
        scaled["spec"]["revisionHistoryLimit"] = json!(0);
        assert!(!is_scale(&update(&scaled, &old)));
    }

    #[test]
    fn a_true_undo_changes_nothing_beside_the_template() {
        let old = json!({"spec": {"replicas": 2, "template": {"metadata": {}}}});
        let mut undone = json!({"spec": {"replicas": 2, "template": {"spec": {}}}});
        assert!(changes_only_template(&update(&undone, &old)));
        undone["spec"]["replicas"] = json!(1);
        assert!(!changes_only_template(&update(&undone, &old)));
    }

    #[test]
    fn a_rollout_is_scaled_while_its_canary_is_completed() {
        let old = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "spec": {"replicas": 2, "strategy": {"canary": {}}}});
        let mut scaled = old.clone();
        scaled["spec"]["replicas"] = json!(1);
        scaled["spec"]["strategy"]["canary"]["maxUnavailable"] = json!(0);
        let record = json!({"spec.strategy.canary.maxUnavailable": 0}).to_string();
        scaled["metadata"] = json!({"annotations": {ANNOTATION: record}});
        assert!(is_scale(&update(&scaled, &old)));
        scaled["spec"]["strategy"]["canary"]["maxUnavailable"] = json!(1);
        assert!(!is_scale(&update(&scaled, &old)), "that is the user's");
    }
}
