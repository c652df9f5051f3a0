//! The objects of one kind, packed: of tens of thousands a few matter to a review.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;

use serde_json::Value;

use super::packed::{Packed, Place};
use super::revision;
use super::watched::Watched;
use crate::kubernetes::object::at;
use crate::surroundings::Revision;
use crate::surroundings::neighbour::Clue;

/// What is known of one kind. Names are kept as hashes, with a key of this process.
#[derive(Debug, Default)]
pub struct Rows {
    hasher: RandomState,
    rows: BTreeMap<u64, Row>,
    texts: Packed,
    /// The clue of each row, and the row.
    by_clue: BTreeSet<(u64, u64)>,
    /// The rows of the list that is being read, unless there were none before it.
    listed: Option<HashSet<u64>>,
    is_filled: bool,
}

/// What is left of an object: the JSON of a neighbour, or a revision, whose clue is its
/// workload.
#[derive(Debug)]
struct Row {
    clue: u64,
    text: Place,
}

impl Rows {
    /// Keeps an object, in the place of the one of its name.
    pub fn put(&mut self, watched: &Watched, object: &Value) {
        let id = self.id(object);
        if let Some(listed) = &mut self.listed {
            listed.insert(id);
        }
        let Some((clue, text)) = self.packed(watched, object) else { return self.forget(id) };
        // Most changes are of a status.
        let is_same = |row: &Row| row.clue == clue && self.texts.get(row.text) == text;
        if self.rows.get(&id).is_some_and(is_same) {
            return;
        }
        self.forget(id);
        let Some(text) = self.texts.add(&text) else { return };
        self.rows.insert(id, Row { clue, text });
        self.by_clue.insert((clue, id));
        if self.texts.is_sparse() {
            self.texts.compact(self.rows.values_mut().map(|row| &mut row.text));
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, object: &Value) {
        self.forget(self.id(object));
    }

    /// From now on the whole list is read. What is known stays until then.
    pub fn begin(&mut self) {
        self.listed = (!self.rows.is_empty()).then(HashSet::new);
    }

    /// The list has been read: what was not in it is gone.
    pub fn end(&mut self) {
        if let Some(listed) = self.listed.take() {
            let gone: Vec<u64> = self.rows.keys().filter(|id| !listed.contains(id)).copied().collect();
            gone.into_iter().for_each(|id| self.forget(id));
        }
        self.is_filled = true;
    }

    /// The cluster does not serve the kind: there are none.
    pub fn clear(&mut self) {
        *self = Rows { is_filled: true, ..Rows::default() };
    }

    /// Whether all objects have been read once.
    pub fn is_filled(&self) -> bool {
        self.is_filled
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The neighbours of this namespace and clue, without their kind and namespace.
    pub fn find(&self, namespace: Option<&str>, clue: Option<Clue>) -> impl Iterator<Item = Value> {
        self.texts(namespace, clue).filter_map(neighbour)
    }

    /// All neighbours of this namespace, without their kind and namespace.
    pub fn of_namespace(&self, namespace: Option<&str>) -> impl Iterator<Item = Value> {
        let first = self.namespace(namespace);
        self.texts_between(first, first | CLUE).filter_map(neighbour)
    }

    /// The neighbours with this field, which has to be the first in alphabetical order; without
    /// their namespace and kind.
    pub fn with_first_field(&self, field: &str) -> impl Iterator<Item = Value> {
        let start = format!("{{\"{field}\":");
        let texts = self.rows.values().map(|row| self.texts.get(row.text));
        let has_field = move |text: &&[u8]| text.starts_with(start.as_bytes());
        texts.filter(has_field).filter_map(neighbour)
    }

    /// The revisions of a workload, which is given by kind and name.
    pub fn revisions(&self, namespace: Option<&str>, workload: Clue) -> impl Iterator<Item = Revision> {
        self.texts(namespace, Some(workload)).filter_map(unpacked)
    }

    fn texts(&self, namespace: Option<&str>, clue: Option<Clue>) -> impl Iterator<Item = &[u8]> {
        let clue = self.clue(namespace, clue);
        self.texts_between(clue, clue)
    }

    fn texts_between(&self, first: u64, last: u64) -> impl Iterator<Item = &[u8]> {
        let ids = self.by_clue.range((first, 0)..=(last, u64::MAX)).map(|(_, id)| id);
        ids.filter_map(|id| Some(self.texts.get(self.rows.get(id)?.text)))
    }

    /// The clue of an object, and what is kept of it.
    fn packed(&self, watched: &Watched, object: &Value) -> Option<(u64, Vec<u8>)> {
        let namespace = at(object, &["metadata", "namespace"]).and_then(Value::as_str);
        if let Some((workload, revision)) = revision::read(object) {
            let numbers = [revision.template, revision.unready.unwrap_or(NO_REVISION)];
            let [template, unready] = numbers.map(u64::to_ne_bytes);
            let record = revision.record.unwrap_or_default();
            let text = [&template, &unready, record.as_bytes()].concat();
            return Some((self.clue(namespace, Some(workload)), text));
        }
        let clue = self.clue(namespace, watched.neighbour(namespace, object)?.clue());
        let mut rest = object.clone();
        if let Some(fields) = rest.as_object_mut() {
            fields.retain(|name, _| !TYPE.contains(&name.as_str()));
        }
        if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
        Some((clue, rest.to_string().into_bytes()))
    }

    fn forget(&mut self, id: u64) {
        if let Some(row) = self.rows.remove(&id) {
            self.by_clue.remove(&(row.clue, id));
            self.texts.forget(row.text);
        }
    }

    fn id(&self, object: &Value) -> u64 {
        let text = |name| object.get("metadata")?.get(name)?.as_str();
        self.hasher.hash_one((text("namespace"), text("name")))
    }

    /// The greater part of it is the namespace, so that those of one namespace stand together,
    /// and of no other. Whoever finds an object asks whether it concerns them.
    fn clue(&self, namespace: Option<&str>, clue: Option<Clue>) -> u64 {
        self.namespace(namespace) | (self.hasher.hash_one(clue) & CLUE)
    }

    fn namespace(&self, namespace: Option<&str>) -> u64 {
        self.hasher.hash_one(namespace) & !CLUE
    }
}

/// The part of a hash that is the clue itself.
const CLUE: u64 = (1 << 24) - 1;

/// What all objects of one kind share.
const TYPE: [&str; 2] = ["apiVersion", "kind"];

/// The neighbour of which this is left.
fn neighbour(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok()
}

/// The first revision of a Deployment is 1.
const NO_REVISION: u64 = 0;

fn unpacked(revision: &[u8]) -> Option<Revision> {
    let (template, rest) = revision.split_first_chunk()?;
    let (unready, record) = rest.split_first_chunk()?;
    let record = std::str::from_utf8(record).ok().filter(|record| !record.is_empty());
    Some(Revision {
        template: u64::from_ne_bytes(*template),
        record: record.map(str::to_owned),
        unready: Some(u64::from_ne_bytes(*unready)).filter(|number| *number != NO_REVISION),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::watched::WATCHED;
    use serde_json::json;

    fn service(name: &str, app: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": app}}})
    }

    fn services() -> &'static Watched {
        WATCHED.iter().find(|watched| watched.kind == "Service").unwrap()
    }

    fn names(rows: &Rows, app: &str) -> Vec<String> {
        let found = rows.find(Some("shop"), Some(("app", app)));
        let mut names: Vec<String> =
            found.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn objects_are_found_by_their_clue_as_they_are_now() {
        let mut rows = Rows::default();
        rows.put(services(), &service("one", "web"));
        rows.put(services(), &service("two", "web"));
        assert_eq!(names(&rows, "web"), ["one", "two"]);
        rows.put(services(), &service("two", "api"));
        assert_eq!(
            (names(&rows, "web"), names(&rows, "api")),
            (vec!["one".to_owned()], vec!["two".to_owned()])
        );
        rows.remove(&service("one", "whatever it was"));
        assert_eq!((names(&rows, "web"), rows.len()), (vec![], 1));
        // It has no pods any more.
        let mut external = service("two", "api");
        external["spec"] = json!({"type": "ExternalName"});
        rows.put(services(), &external);
        assert_eq!((rows.len(), rows.by_clue.len()), (0, 0));
    }

    #[test]
    fn those_of_a_namespace_are_found() {
        let mut rows = Rows::default();
        rows.put(services(), &service("one", "web"));
        let mut elsewhere = service("two", "web");
        elsewhere["metadata"]["namespace"] = json!("shop-2");
        rows.put(services(), &elsewhere);
        let names = |namespace: &str| -> Vec<Value> {
            rows.of_namespace(Some(namespace)).map(|object| object["metadata"]["name"].clone()).collect()
        };
        assert_eq!(
            (names("shop"), names("shop-2"), names("sho")),
            (vec![json!("one")], vec![json!("two")], vec![])
        );
    }

    #[test]
    fn what_a_new_list_does_not_hold_is_gone() {
        let mut rows = Rows::default();
        rows.put(services(), &service("one", "web"));
        assert!(!rows.is_filled());
        rows.begin();
        rows.put(services(), &service("two", "web"));
        assert_eq!(names(&rows, "web"), ["one", "two"], "the old list counts until the new one is read");
        rows.end();
        assert_eq!(names(&rows, "web"), ["two"]);
        assert!(rows.is_filled());
        rows.begin();
        assert!(rows.is_filled(), "known once, known for good");
        rows.clear();
        assert_eq!((rows.len(), rows.is_filled()), (0, true));
    }
}
