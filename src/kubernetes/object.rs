//! An object of the API, read from its JSON once.
//!
//! What gapless looks into becomes a tree. The rest stays text that is only compared:
//! what a container's environment, resources and mounts are, for example. Most of an
//! object is of that kind, and a tree of it would cost more than all of a review.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::managed_fields::ManagedFields;
use super::pod_template::remove_defaults;

/// A workload on its way into the cluster, or as it is stored.
#[derive(Debug, Default)]
pub struct Object<'a> {
    /// What gapless looks into. Whatever it may write, and all that stands beside it,
    /// is in it.
    pub tree: Value,
    managed_fields: Option<&'a RawValue>,
    /// What is left of `spec.template`, in the order of the JSON.
    unread: Vec<Unread<'a>>,
}

/// A field that is in no tree.
#[derive(Debug)]
struct Unread<'a> {
    place: Place,
    key: Cow<'a, str>,
    text: &'a RawValue,
}

/// The object that a field belongs to: one of the pod template, and of those in a list
/// which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    object: &'static str,
    index: usize,
}

/// What gapless looks into of an object.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All but `managedFields`.
    pub tree: &'a Value,
    /// Who wrote what.
    pub managed_fields: ManagedFields<'a>,
}

impl<'a> View<'a> {
    /// An object that was read whole.
    pub fn of(tree: &'a Value) -> Self {
        View { tree, managed_fields: ManagedFields::InTree(tree) }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Object::default();
        let reader = Reader { shape: &Shape::Fields(&OBJECT), index: 0, object: &mut object };
        let tree = reader.deserialize(deserializer)?;
        Ok(Object { tree, ..object })
    }
}

impl<'a> Object<'a> {
    /// Reads an object from its JSON.
    ///
    /// # Errors
    /// If it cannot be read as JSON.
    pub fn read(text: &'a RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text.get())
    }

    /// Puts the mounts of the containers into the tree too. On them hangs whether two pods
    /// of a DaemonSet are in each other's way.
    ///
    /// # Errors
    /// If they cannot be read as JSON.
    pub fn read_volume_mounts(&mut self) -> Result<(), serde_json::Error> {
        let Some(template) = self.tree.get_mut("spec").and_then(|spec| spec.get_mut("template")) else {
            return Ok(());
        };
        let mut mounts = self.unread.iter().filter(|it| it.key == "volumeMounts");
        mounts.try_for_each(|unread| unread.put_into(template))
    }

    /// The whole pod template, as a tree; null if there is none.
    ///
    /// # Errors
    /// If a part of it cannot be read as JSON.
    pub fn whole_template(&self) -> Result<Value, serde_json::Error> {
        let mut template = at(&self.tree, &["spec", "template"]).cloned().unwrap_or_default();
        self.unread.iter().try_for_each(|unread| unread.put_into(&mut template))?;
        Ok(template)
    }

    /// What gapless looks into.
    pub fn view(&self) -> View<'_> {
        let in_tree = ManagedFields::InTree(&self.tree);
        View { tree: &self.tree, managed_fields: self.managed_fields.map_or(in_tree, ManagedFields::Text) }
    }

    /// Whether the templates of both objects are the same in what is in neither tree.
    pub fn has_same_unread_template(&self, other: &Object) -> bool {
        // The API server writes both in the same order.
        let is_in_order = self.template().zip(other.template()).all(|(left, right)| left.is_same(right));
        if is_in_order && self.template().count() == other.template().count() {
            return true;
        }
        let (left, right) = (self.sorted_template(), other.sorted_template());
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.is_same(right))
    }

    /// The same where the API server's defaults make no difference. Where the trees differ
    /// in the containers, it says nothing.
    pub fn has_same_unread_template_but_for_defaults(&self, other: &Object) -> bool {
        let Some(template) = at(&other.tree, &["spec", "template"]) else { return true };
        let whole = |object: &Object| {
            let mut template = template.clone();
            object.unread.iter().try_for_each(|unread| unread.put_into(&mut template)).ok()?;
            remove_defaults(&mut template);
            Some(template)
        };
        self.has_same_unread_template(other) || whole(self) == whole(other)
    }

    /// What is in no tree, without what is nothing to the API.
    fn template(&self) -> impl Iterator<Item = &Unread<'a>> {
        self.unread.iter().filter(|it| it.text.get() != "null")
    }

    fn sorted_template(&self) -> Vec<&Unread<'a>> {
        let mut unread: Vec<&Unread> = self.template().collect();
        unread.sort_by(|left, right| (left.place, &left.key).cmp(&(right.place, &right.key)));
        unread
    }
}

impl Place {
    /// The object itself, in the template.
    fn find(self, template: &mut Value) -> Option<&mut Map<String, Value>> {
        const LISTS: [(&str, &str); 3] = [
            (CONTAINER.name, "containers"),
            (INIT_CONTAINER.name, "initContainers"),
            (VOLUME.name, "volumes"),
        ];
        let pod = template.get_mut("spec")?;
        let list = LISTS.iter().find(|(object, _)| *object == self.object);
        let object = match list {
            Some((_, list)) => pod.get_mut(list)?.get_mut(self.index)?,
            None => pod,
        };
        object.as_object_mut()
    }
}

impl Unread<'_> {
    /// Puts it into the template's tree, where it belongs.
    fn put_into(&self, template: &mut Value) -> Result<(), serde_json::Error> {
        if let Some(fields) = self.place.find(template) {
            fields.insert(self.key.clone().into_owned(), serde_json::from_str(self.text.get())?);
        }
        Ok(())
    }

    fn is_same(&self, other: &Unread) -> bool {
        let read = |text: &RawValue| serde_json::from_str::<Value>(text.get()).ok();
        let is_same_value = || match (read(self.text), read(other.text)) {
            (Some(left), Some(right)) => same_to_the_api(&left, &right),
            _ => false,
        };
        let is_same_place = self.place == other.place && self.key == other.key;
        is_same_place && (self.text.get() == other.text.get() || is_same_value())
    }
}

/// The owner that controls an object, of which there is one at most (apimachinery, meta/v1,
/// `GetControllerOf`).
pub fn controller(object: &Value) -> Option<&Value> {
    let owners = at(object, &["metadata", "ownerReferences"])?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// The value at the end of this path of field names. Unlike [`Value::pointer`] it looks
/// for no escapes, which would cost more than the rest.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// Whether two values are the same if null counts as absent, as it does in the API.
pub fn same_to_the_api(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            // Both are sorted by key.
            let mut left = left.iter().filter(|(_, value)| !value.is_null());
            let mut right = right.iter().filter(|(_, value)| !value.is_null());
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some((key, left)), Some((other_key, right)))
                        if key == other_key && same_to_the_api(left, right) => {}
                    _ => return false,
                }
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_to_the_api(left, right))
        }
        _ => left == right,
    }
}

/// How a value is read.
enum Shape {
    /// As a tree.
    Whole,
    /// Field by field.
    Fields(&'static Fields),
    /// A list, each item of it field by field.
    Items(&'static Shape),
    /// As the text of `managedFields`.
    ManagedFields,
    /// As a tree if this stands anywhere in its text, else as text. Most containers ask
    /// for no device and for no leader election, and then nothing hangs on the rest.
    WholeIfIn(&'static str),
}

/// How the fields of an object are read.
struct Fields {
    name: &'static str,
    read: &'static [(&'static str, Shape)],
    rest: Rest,
}

/// What becomes of fields that are not listed.
enum Rest {
    /// They are read whole.
    Whole,
    /// Their text is kept, to be compared.
    Text,
    /// Nothing hangs on them.
    Skipped,
}

const OBJECT: Fields = Fields {
    name: "",
    read: &[("metadata", Shape::Fields(&METADATA)), ("spec", Shape::Fields(&SPEC))],
    rest: Rest::Skipped,
};

const METADATA: Fields = Fields {
    name: "metadata",
    read: &[
        ("name", Shape::Whole),
        ("generateName", Shape::Whole),
        ("namespace", Shape::Whole),
        ("labels", Shape::Whole),
        ("annotations", Shape::Whole),
        ("deletionTimestamp", Shape::Whole),
        ("ownerReferences", Shape::Whole),
        ("managedFields", Shape::ManagedFields),
    ],
    rest: Rest::Skipped,
};

const SPEC: Fields =
    Fields { name: "spec", read: &[("template", Shape::Fields(&TEMPLATE))], rest: Rest::Whole };

const TEMPLATE: Fields = Fields {
    name: "template",
    read: &[("metadata", Shape::Whole), ("spec", Shape::Fields(&POD))],
    rest: Rest::Whole,
};

const POD: Fields = Fields {
    name: "pod",
    read: &[
        ("containers", Shape::Items(&Shape::Fields(&CONTAINER))),
        ("initContainers", Shape::Items(&Shape::Fields(&INIT_CONTAINER))),
        ("terminationGracePeriodSeconds", Shape::Whole),
        ("hostNetwork", Shape::Whole),
        ("hostPID", Shape::Whole),
        ("hostIPC", Shape::Whole),
        ("volumes", Shape::Items(&Shape::Fields(&VOLUME))),
        ("readinessGates", Shape::Whole),
        ("affinity", Shape::Whole),
        ("resourceClaims", Shape::Whole),
    ],
    rest: Rest::Text,
};

const CONTAINER: Fields = Fields { name: "container", read: CONTAINER_FIELDS, rest: Rest::Text };
const INIT_CONTAINER: Fields = Fields { name: "initContainer", read: CONTAINER_FIELDS, rest: Rest::Text };
const CONTAINER_FIELDS: &[(&str, Shape)] = &[
    ("name", Shape::Whole),
    ("image", Shape::Whole),
    ("ports", Shape::Whole),
    ("restartPolicy", Shape::Whole),
    ("readinessProbe", Shape::Whole),
    ("livenessProbe", Shape::Whole),
    ("startupProbe", Shape::Whole),
    ("lifecycle", Shape::Whole),
    ("command", Shape::WholeIfIn("leader")),
    ("args", Shape::WholeIfIn("leader")),
    ("resources", Shape::WholeIfIn("/")),
    ("securityContext", Shape::WholeIfIn("privileged")),
];

const VOLUME: Fields = Fields {
    name: "volume",
    read: &[
        ("name", Shape::Whole),
        ("persistentVolumeClaim", Shape::Whole),
        ("ephemeral", Shape::Whole),
        ("awsElasticBlockStore", Shape::Whole),
        ("azureDisk", Shape::Whole),
        ("cinder", Shape::Whole),
        ("fc", Shape::Whole),
        ("gcePersistentDisk", Shape::Whole),
        ("hostPath", Shape::Whole),
        ("iscsi", Shape::Whole),
        ("rbd", Shape::Whole),
        ("vsphereVolume", Shape::Whole),
    ],
    rest: Rest::Text,
};

/// Reads a value into the tree, and what belongs into none into the object.
struct Reader<'r, 'a> {
    shape: &'static Shape,
    index: usize,
    object: &'r mut Object<'a>,
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for Reader<'_, 'a> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.shape {
            Shape::Whole | Shape::WholeIfIn(_) => Value::deserialize(deserializer),
            Shape::Fields(_) | Shape::Items(_) => deserializer.deserialize_any(self),
            Shape::ManagedFields => {
                self.object.managed_fields = Some(Deserialize::deserialize(deserializer)?);
                Ok(Value::Null)
            }
        }
    }
}

fn parse<E: Error>(text: &RawValue) -> Result<Value, E> {
    serde_json::from_str(text.get()).map_err(E::custom)
}

/// The name of a field, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is no object or list where one belongs is read as it is, for whoever looks into
/// the tree to complain about.
impl<'de: 'a, 'a> Visitor<'de> for Reader<'_, 'a> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Shape::Fields(fields) = self.shape else {
            return Value::deserialize(MapAccessDeserializer::new(entries));
        };
        let mut tree = Map::new();
        while let Some(Key(key)) = entries.next_key()? {
            let place = Place { object: fields.name, index: self.index };
            if let Some((_, shape)) = fields.read.iter().find(|(name, _)| *name == key) {
                if let Shape::WholeIfIn(part) = shape {
                    let text: &RawValue = entries.next_value()?;
                    match text.get().contains(part) {
                        true => drop(tree.insert(key.into_owned(), parse(text)?)),
                        false => self.object.unread.push(Unread { place, key, text }),
                    }
                    continue;
                }
                let reader = Reader { shape, index: self.index, object: &mut *self.object };
                let value = entries.next_value_seed(reader)?;
                if !matches!(shape, Shape::ManagedFields) {
                    tree.insert(key.into_owned(), value);
                }
                continue;
            }
            match fields.rest {
                Rest::Whole => drop(tree.insert(key.into_owned(), entries.next_value()?)),
                Rest::Text => {
                    self.object.unread.push(Unread { place, key, text: entries.next_value()? });
                }
                Rest::Skipped => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(tree))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let shape: &Shape = match self.shape {
            Shape::Items(shape) => shape,
            _ => &Shape::Whole,
        };
        while let Some(value) =
            items.next_element_seed(Reader { shape, index: list.len(), object: &mut *self.object })?
        {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(object: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(object).unwrap()
    }

    fn web() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "uid": "1", "labels": {"app": "web"}, "managedFields": [{"manager": "a\"b"}]},
            "spec": {
                "replicas": 2,
                "unknown": {"field": 1.5},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [
                            {"name": "app", "image": "app:v1", "env": [{"name": "A", "value": "1"}], "lifecycle": {"stopSignal": "SIGINT"}},
                            {"name": "side", "image": "side:v1", "resources": {}},
                        ],
                        "initContainers": [{"name": "init", "image": "init:v1", "env": null}],
                        "volumes": [{"name": "data", "emptyDir": {}}],
                        "dnsPolicy": "ClusterFirst",
                        "terminationGracePeriodSeconds": 30,
                    },
                },
            },
            "status": {"replicas": 2},
        })
    }

    #[test]
    fn mounts_are_read_where_they_are_asked_for() {
        let mut web = web();
        let pod = "/spec/template/spec";
        let mounts = json!([{"name": "data", "mountPath": "/data"}]);
        for container in ["containers/1", "initContainers/0"] {
            web.pointer_mut(&format!("{pod}/{container}")).unwrap()["volumeMounts"] = mounts.clone();
        }
        let text = text(&web);
        let mut object = Object::read(&text).unwrap();
        let read = |object: &Object, container: &str| {
            object.tree.pointer(&format!("{pod}/{container}/volumeMounts")).cloned()
        };
        assert_eq!(read(&object, "containers/1"), None);
        object.read_volume_mounts().unwrap();
        assert_eq!(read(&object, "containers/0"), None);
        assert_eq!(read(&object, "containers/1"), Some(mounts.clone()));
        assert_eq!(read(&object, "initContainers/0"), Some(mounts));
    }

    #[test]
    fn a_template_can_be_read_whole() {
        let text = text(&web());
        let object = Object::read(&text).unwrap();
        assert_ne!(object.tree["spec"]["template"], web()["spec"]["template"]);
        assert_eq!(object.whole_template().unwrap(), web()["spec"]["template"]);
        assert_eq!(Object::default().whole_template().unwrap(), Value::Null);
    }

    #[test]
    fn what_is_looked_into_is_a_tree_and_the_rest_is_not() {
        let text = text(&web());
        let object = Object::read(&text).unwrap();
        assert_eq!(
            object.tree,
            json!({
                "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {
                    "replicas": 2,
                    "unknown": {"field": 1.5},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {
                            "containers": [
                                {"name": "app", "image": "app:v1", "lifecycle": {"stopSignal": "SIGINT"}},
                                {"name": "side", "image": "side:v1"},
                            ],
                            "initContainers": [{"name": "init", "image": "init:v1"}],
                            "volumes": [{"name": "data"}],
                            "terminationGracePeriodSeconds": 30,
                        },
                    },
                },
            })
        );
        let entries = object.view().managed_fields.entries();
        assert_eq!(entries.iter().map(|entry| entry.manager.as_deref()).collect::<Vec<_>>(), [Some("a\"b")]);
    }

    #[test]
    fn arguments_and_resources_are_read_only_where_something_hangs_on_them() {
        let read = |container: Value| {
            let text = text(&json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
            Object::read(&text).unwrap().tree["spec"]["template"]["spec"]["containers"][0].clone()
        };
        let plain = json!({"args": ["--port=80"], "command": ["run"], "resources": {"limits": {"cpu": 1}}});
        assert_eq!(read(plain), json!({}));
        let special = json!({"args": ["--leader-elect"], "resources": {"limits": {"amd.com/gpu": 1}}});
        assert_eq!(read(special.clone()), special);
    }

    #[test]
    fn templates_differ_also_in_what_is_in_no_tree() {
        let (web, base) = (web(), text(&web()));
        let base = Object::read(&base).unwrap();
        let is_same = |pointer: &str, value: Value| {
            let mut other = web.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            let other = text(&other);
            let other = Object::read(&other).unwrap();
            assert_eq!(base.tree, other.tree, "{pointer}");
            let is_same = base.has_same_unread_template(&other);
            assert_eq!(is_same, other.has_same_unread_template(&base), "{pointer}");
            is_same
        };
        let pod = "/spec/template/spec";
        assert!(is_same(&format!("{pod}/dnsPolicy"), json!("ClusterFirst")));
        assert!(!is_same(&format!("{pod}/dnsPolicy"), json!("Default")));
        assert!(!is_same(&format!("{pod}/dnsPolicy"), json!(null)));
        let env = |items: Value| is_same(&format!("{pod}/containers/0/env"), items);
        assert!(!env(json!([{"name": "A", "value": "2"}])));
        assert!(env(json!([{"value": "1", "name": "A", "valueFrom": null}])), "null counts as absent");
        assert!(!env(json!(null)));
        assert!(!is_same(&format!("{pod}/containers/1/resources"), json!({"limits": {}})));
        assert!(!is_same(&format!("{pod}/volumes/0/emptyDir"), json!({"medium": "Memory"})));
        assert!(is_same("/status", json!({})), "it is no part of the template");
    }

    #[test]
    fn defaults_are_no_difference_where_nobody_fills_them_in() {
        let (bare, rest) =
            (web(), json!({"resources": {}, "terminationMessagePath": "/dev/termination-log"}));
        let with = |more: &Value| {
            let mut object = bare.clone();
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            text(&object)
        };
        let (bare, filled, other) =
            (text(&bare), with(&rest), with(&json!({"resources": {"limits": {"cpu": 1}}})));
        let [bare, filled, other] = [&bare, &filled, &other].map(|text| Object::read(text).unwrap());
        assert!(!bare.has_same_unread_template(&filled));
        assert!(bare.has_same_unread_template_but_for_defaults(&filled));
        assert!(filled.has_same_unread_template_but_for_defaults(&bare));
        assert!(!bare.has_same_unread_template_but_for_defaults(&other));
        assert!(!other.has_same_unread_template_but_for_defaults(&bare));
    }

    #[test]
    fn the_order_of_fields_says_nothing_and_that_of_containers_much() {
        let read = |pod: &str| {
            let json = format!(r#"{{"spec": {{"template": {{"spec": {pod}}}}}}}"#);
            RawValue::from_string(json).unwrap()
        };
        let one =
            read(r#"{"dnsPolicy": "Default", "containers": [{"env": []}, {}], "hostPID": true, "x": null}"#);
        let two = read(r#"{"hostPID": true, "containers": [{"env": []}, {}], "dnsPolicy": "Default"}"#);
        let three = read(r#"{"hostPID": true, "containers": [{}, {"env": []}], "dnsPolicy": "Default"}"#);
        let [one, two, three] = [&one, &two, &three].map(|text| Object::read(text).unwrap());
        assert!(one.has_same_unread_template(&two));
        assert!(!two.has_same_unread_template(&three));
    }

    #[test]
    fn what_has_another_type_is_left_for_others_to_complain_about() {
        for odd in [json!([]), json!("text"), json!(1), json!(-1), json!(1.5), json!(true), json!(null)] {
            for pointer in ["/metadata", "/spec", "/spec/template/spec", "/spec/template/spec/containers/0"] {
                let mut object = web();
                *object.pointer_mut(pointer).unwrap() = odd.clone();
                let text = text(&object);
                let object = Object::read(&text).unwrap();
                assert_eq!(object.tree.pointer(pointer), Some(&odd), "{pointer}");
            }
        }
        let containers =
            text(&json!({"spec": {"template": {"spec": {"containers": {"name": "app", "env": []}}}}}));
        let object = Object::read(&containers).unwrap();
        assert_eq!(object.tree.pointer("/spec/template/spec/containers/env"), Some(&json!([])));
    }
}
