//! What is kept of an object in which a controller keeps a pod template.

use serde_json::{Map, Value, json};

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{at, controller};
use crate::ownership::record::{ANNOTATION, Record};
use crate::ownership::revision::fingerprint;
use crate::ownership::stuck;
use crate::surroundings::Revision;

/// The object without its template, of which only a number is left; `None` if it is no
/// revision of a workload.
///
/// A ReplicaSet has the template of its owner with the owner's annotations; so has a
/// ControllerRevision, as a patch (kubernetes, pkg/controller/statefulset/stateful_set_utils.go
/// and pkg/controller/daemon/update.go, `getPatch`).
pub fn trimmed(object: &Value) -> Option<Value> {
    let owner = controller(object)?;
    let text = |name| owner.get(name).and_then(Value::as_str);
    let kind = Kind::of(text("apiVersion"), text("kind"))?;
    let template = at(object, &["spec", "template"]).or_else(|| at(object, &["data", "spec", "template"]))?;
    let template = without_ephemeral_metadata(template.clone(), object);
    let record = Record::read(object).ok().flatten().unwrap_or_default();
    // An undo of the others brings it back together with the template.
    let annotation = at(object, &["metadata", "annotations", ANNOTATION]);
    let annotation = annotation.filter(|_| !kind.undo_brings_annotations());
    let template = fingerprint(template, &record);
    let revision = json!({"kind": kind.name(), "name": text("name"), "template": template, "record": annotation,
        "unready": stuck::unready_revision(object)});
    let metadata = ["name", "namespace"].into_iter();
    let metadata =
        metadata.filter_map(|name| Some((name.to_owned(), at(object, &["metadata", name])?.clone())));
    Some(json!({"metadata": metadata.collect::<Map<_, _>>(), "revision": revision}))
}

/// The workload whose revision a trimmed object is, by kind and name, and the revision.
pub fn read(trimmed: &Value) -> Option<((&str, &str), Revision)> {
    let revision = trimmed.get("revision")?;
    let text = |name| revision.get(name).and_then(Value::as_str);
    let owner = (text("kind")?, text("name")?);
    let template = revision.get("template").and_then(Value::as_u64)?;
    let unready = revision.get("unready").and_then(Value::as_u64);
    Some((owner, Revision { template, record: text("record").map(str::to_owned), unready }))
}

/// Without the labels and annotations that the controller of Rollouts gives the pods of a
/// revision only while it is the canary or the stable one, and notes at the ReplicaSet
/// (argo-rollouts, utils/replicaset/replicaset.go, `SyncReplicaSetEphemeralPodMetadata`).
fn without_ephemeral_metadata(mut template: Value, replica_set: &Value) -> Value {
    let note = at(replica_set, &["metadata", "annotations", "rollout.argoproj.io/ephemeral-metadata"]);
    let note: Option<Value> = note.and_then(|note| serde_json::from_str(note.as_str()?).ok());
    for map in ["labels", "annotations"] {
        let Some(Value::Object(added)) = note.as_ref().and_then(|note| note.get(map)) else { continue };
        let fields =
            template.get_mut("metadata").and_then(|it| it.get_mut(map)).and_then(Value::as_object_mut);
        if let Some(fields) = fields {
            fields.retain(|key, _| !added.contains_key(key));
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(owner: Value, annotations: Value, template: Value) -> Value {
        json!({
            "metadata": {"name": "web-1", "namespace": "shop", "annotations": annotations, "ownerReferences": [owner]},
            "spec": {"replicas": 2, "template": template},
        })
    }

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}})
    }

    fn owner(kind: Kind, controller: bool) -> Value {
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "name": "web", "controller": controller})
    }

    #[test]
    fn a_number_is_left_of_a_template() {
        let object = revision(owner(Kind::Deployment, true), json!({}), template());
        let trimmed = trimmed(&object).unwrap();
        assert_eq!(trimmed["metadata"], json!({"name": "web-1", "namespace": "shop"}));
        let number = fingerprint(template(), &Record::default());
        assert_eq!(
            read(&trimmed),
            Some((("Deployment", "web"), Revision { template: number, record: None, unready: None }))
        );
    }

    #[test]
    fn only_what_a_workload_controls_is_its_revision() {
        let of = |owner: Value| trimmed(&revision(owner, json!({}), template()));
        assert!(of(owner(Kind::Rollout, true)).is_some());
        assert_eq!(of(owner(Kind::Deployment, false)), None);
        assert_eq!(of(json!({"apiVersion": "x/v1", "kind": "Deployment", "controller": true})), None);
        assert_eq!(trimmed(&json!({"spec": {"template": {}}})), None);
    }

    #[test]
    fn a_controller_revision_keeps_the_record_of_its_time() {
        let record = json!({"spec.template.metadata.labels[version]": "v1"}).to_string();
        let mut injected = template();
        injected["metadata"]["labels"]["version"] = json!("v1");
        injected["$patch"] = json!("replace");
        let mut object = revision(owner(Kind::StatefulSet, true), json!({ANNOTATION: record}), Value::Null);
        object["data"] = json!({"spec": {"template": injected}});
        object.as_object_mut().unwrap().remove("spec");
        let number = fingerprint(template(), &Record::default());
        let trimmed = trimmed(&object).unwrap();
        let (owner, revision) = read(&trimmed).unwrap();
        assert_eq!(owner, ("StatefulSet", "web"));
        assert_eq!(revision, Revision { template: number, record: Some(record), unready: None });
    }

    #[test]
    fn what_only_a_canary_has_is_no_part_of_its_template() {
        let mut canary = template();
        canary["metadata"]["labels"]["role"] = json!("canary");
        canary["metadata"]["annotations"] = json!({"note": "x"});
        let note = json!({"labels": {"role": "canary"}, "annotations": {"note": "x"}}).to_string();
        let annotations = json!({"rollout.argoproj.io/ephemeral-metadata": note});
        let object = revision(owner(Kind::Rollout, true), annotations, canary);
        let trimmed = trimmed(&object).unwrap();
        assert_eq!(read(&trimmed).unwrap().1.template, fingerprint(template(), &Record::default()));
    }
}
