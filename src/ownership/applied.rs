//! What an object becomes when a manifest of it is applied.

use serde_json::{Map, Value, json};

use super::intent::LAST_APPLIED;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::managed_fields::Entry;
use crate::kubernetes::object::{View, at};

/// Lists whose items are merged by this field (the `patchMergeKey` of the types in
/// kubernetes, api/core/v1). All other lists are replaced.
const MERGED_LISTS: [(&str, &str); 11] = [
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ports", "containerPort"),
    ("topologySpreadConstraints", "topologyKey"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// The object, a workload of this kind or (`None`) another of Kubernetes' own, that a client
/// sends that applies `manifest` where `live` is stored: a merge of three, as `kubectl apply` makes it. What was applied before and is not
/// in the manifest any more goes; what others wrote stays.
///
/// What was applied before is what the last `kubectl apply` left as an annotation, or what
/// the one manager owns that used server-side apply. Of several nobody knows whose the
/// manifest is, and nothing goes. That the manifest was written by somebody is proven as
/// after `kubectl apply`.
pub fn applied(kind: Option<Kind>, live: &Value, manifest: &Value) -> Value {
    let before = last_applied(live).or_else(|| owned_by_apply(live));
    let merge = Merge { merges_lists: kind.is_none_or(Kind::is_defaulted_by_api_server) };
    let object = merge.value("", live, manifest, before.as_ref());
    let proof = json!({"metadata": {"annotations": {LAST_APPLIED: manifest.to_string()}}});
    merge.value("", &object, &proof, None)
}

fn last_applied(live: &Value) -> Option<Value> {
    serde_json::from_str(at(live, &["metadata", "annotations", LAST_APPLIED])?.as_str()?).ok()
}

/// The shape of what the only manager owns that used server-side apply.
fn owned_by_apply(live: &Value) -> Option<Value> {
    let entries = View::of(live).managed_fields.entries();
    let is_whole =
        |entry: &&Entry| entry.is_apply() && entry.subresource.as_deref().unwrap_or_default().is_empty();
    let mut applied = entries.iter().filter(is_whole);
    let (only, None) = (applied.next()?, applied.next()) else { return None };
    Some(shape(&*only.fields()?))
}

/// What a set of fields (FieldsV1) is about, as an object with true in the place of each value.
fn shape(fields: &Value) -> Value {
    let fields = fields.as_object().into_iter().flatten();
    let (mut object, mut items) = (Map::new(), Vec::new());
    for (key, below) in fields {
        if let Some(name) = key.strip_prefix("f:") {
            object.insert(name.to_owned(), shape(below));
        } else if let Some(id) = key.strip_prefix("k:").and_then(|id| serde_json::from_str(id).ok()) {
            let id: Map<String, Value> = id;
            let below = shape(below).as_object().cloned().unwrap_or_default();
            items.push(Value::Object(below.into_iter().chain(id).collect()));
        }
    }
    match (items.is_empty(), object.is_empty()) {
        (false, _) => Value::Array(items),
        (true, false) => Value::Object(object),
        (true, true) => Value::Bool(true),
    }
}

/// A merge of what is stored, what is to be there, and what was applied before.
#[derive(Clone, Copy)]
struct Merge {
    /// Whether lists are merged by the ids of their items: clients do not know the lists of
    /// custom resources.
    merges_lists: bool,
}

impl Merge {
    /// The value of the field of this name.
    fn value(self, name: &str, live: &Value, new: &Value, before: Option<&Value>) -> Value {
        match (live, new) {
            (Value::Object(live), Value::Object(new)) => {
                Value::Object(self.fields(name, live, new, before.and_then(Value::as_object)))
            }
            (Value::Array(live), Value::Array(new)) if self.merges_lists => {
                let id = MERGED_LISTS.iter().find(|(list, _)| *list == name).map(|(_, id)| *id);
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                id.map_or_else(|| json!(new), |id| Value::Array(self.items(id, live, new, before)))
            }
            _ => new.clone(),
        }
    }

    fn fields(
        self,
        name: &str,
        live: &Map<String, Value>,
        new: &Map<String, Value>,
        before: Option<&Map<String, Value>>,
    ) -> Map<String, Value> {
        // A strategy of another type keeps nothing of the old one (`patchStrategy: retainKeys`).
        let is_replaced = name == "strategy"
            && new.get("type").is_some_and(|kind| live.get("type").is_some_and(|live| live != kind));
        let was_applied = |name: &String| before.is_some_and(|before| before.contains_key(name));
        let stays = |name: &String| new.contains_key(name) || !is_replaced && !was_applied(name);
        let mut fields: Map<String, Value> =
            live.clone().into_iter().filter(|(name, _)| stays(name)).collect();
        for (name, value) in new {
            if value.is_null() {
                fields.remove(name);
                continue;
            }
            let before = before.and_then(|before| before.get(name));
            let merged =
                live.get(name).map_or_else(|| value.clone(), |live| self.value(name, live, value, before));
            fields.insert(name.clone(), merged);
        }
        fields
    }

    fn items(self, id: &str, live: &[Value], new: &[Value], before: &[Value]) -> Vec<Value> {
        fn find<'i>(items: &'i [Value], id: &str, item: &Value) -> Option<&'i Value> {
            items.iter().find(|other| other.get(id).is_some() && other.get(id) == item.get(id))
        }
        let merged = new.iter().map(|item| match find(live, id, item) {
            Some(live) => self.value("", live, item, find(before, id, item)),
            None => item.clone(),
        });
        let others = |item: &&Value| find(new, id, item).is_none() && find(before, id, item).is_none();
        merged.chain(live.iter().filter(others).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a live Deployment with this template spec, which was applied before as
    /// `before`, if `manifest` is applied.
    fn spec(live: Value, before: Value, manifest: Value) -> Value {
        let object = |spec: Value| json!({"metadata": {"name": "web"}, "spec": spec});
        let mut stored = object(live);
        stored["metadata"]["annotations"] =
            json!({LAST_APPLIED: object(before).to_string(), "other": "stays"});
        let manifest = object(manifest);
        let applied = applied(Some(Kind::Deployment), &stored, &manifest);
        let annotations = &applied["metadata"]["annotations"];
        assert_eq!(annotations[LAST_APPLIED], json!(manifest.to_string()));
        assert_eq!(annotations["other"], json!("stays"));
        applied["spec"].clone()
    }

    #[test]
    fn what_others_wrote_stays_and_what_was_applied_before_goes() {
        let live = json!({"replicas": 5, "paused": true, "minReadySeconds": 3});
        let before = json!({"paused": true, "minReadySeconds": 1});
        assert_eq!(
            spec(live, before, json!({"minReadySeconds": 2})),
            json!({"replicas": 5, "minReadySeconds": 2})
        );
    }

    #[test]
    fn lists_are_merged_by_the_ids_of_their_items() {
        let live = json!({"containers": [
            {"name": "app", "image": "app:v1", "args": ["a", "b"], "readinessProbe": {"tcpSocket": {"port": 80}}},
            {"name": "injected", "image": "mesh:1"},
            {"name": "gone", "image": "gone:1"},
        ]});
        let before = json!({"containers": [{"name": "app", "args": ["a", "b"]}, {"name": "gone"}]});
        let manifest = json!({"containers": [{"name": "app", "image": "app:v2", "args": ["c"]}]});
        assert_eq!(
            spec(live, before, manifest),
            json!({"containers": [
                {"name": "app", "image": "app:v2", "args": ["c"], "readinessProbe": {"tcpSocket": {"port": 80}}},
                {"name": "injected", "image": "mesh:1"},
            ]})
        );
    }

    #[test]
    fn a_strategy_of_another_type_keeps_nothing() {
        let live = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
        let strategy = |manifest: Value| spec(live.clone(), json!({}), json!({"strategy": manifest}));
        assert_eq!(strategy(json!({"type": "Recreate"})), json!({"strategy": {"type": "Recreate"}}));
        assert_eq!(strategy(json!({"type": "RollingUpdate"})), live);
        assert_eq!(
            strategy(json!({"rollingUpdate": {"maxSurge": null, "maxUnavailable": 0}})),
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}})
        );
    }

    #[test]
    fn what_the_only_applier_owns_is_what_was_applied_before() {
        let fields = json!({"f:spec": {"f:paused": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"gone\"}": {".": {}, "f:image": {}},
            "k:{\"name\":\"app\"}": {".": {}, "f:image": {}, "f:args": {}},
        }}}}});
        let entry = |manager: &str| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let live = |entries: Value| {
            json!({"metadata": {"managedFields": entries}, "spec": {"paused": true, "replicas": 2,
                "template": {"spec": {"containers": [
                    {"name": "app", "image": "app:v1", "args": []}, {"name": "gone"}, {"name": "mesh"}]}}}})
        };
        let manifest =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:v2"}]}}}});
        let spec =
            |entries: Value| applied(Some(Kind::Deployment), &live(entries), &manifest)["spec"].clone();
        assert_eq!(
            spec(json!([entry("flux")])),
            json!({"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": "app:v2"}, {"name": "mesh"}]}}})
        );
        let of_two = spec(json!([entry("flux"), entry("helm")]));
        assert_eq!(of_two["paused"], json!(true));
        assert_eq!(of_two["template"]["spec"]["containers"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn lists_of_custom_resources_are_replaced() {
        let object = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let (live, manifest) = (object(json!([{"name": "app", "x": 1}])), object(json!([{"name": "app"}])));
        let applied = applied(Some(Kind::Rollout), &live, &manifest);
        assert_eq!(applied["spec"], manifest["spec"]);
    }
}
