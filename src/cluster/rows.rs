//! The objects of one kind, packed: of tens of thousands a few matter to a review.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;

use serde_json::Value;

use super::revision;
use crate::kubernetes::object::at;
use crate::surroundings::Revision;
use crate::surroundings::neighbour::{Clue, Neighbour};

/// What is known of one kind. Names are kept as hashes, with a key of this process.
#[derive(Debug, Default)]
pub struct Rows {
    hasher: RandomState,
    rows: HashMap<u64, Row>,
    /// The clue of each row, and the row.
    by_clue: BTreeSet<(u64, u64)>,
    /// The rows of the list that is being read.
    listed: Option<HashSet<u64>>,
    is_filled: bool,
}

#[derive(Debug)]
struct Row {
    clue: u64,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// The JSON of a neighbour, trimmed.
    Neighbour(Box<str>),
    /// A revision, whose clue is its workload.
    Revision(Revision),
}

impl Rows {
    /// Keeps an object, in the place of the one of its name.
    pub fn put(&mut self, object: &Value) {
        let Some(row) = self.row(object) else { return self.remove(object) };
        let (id, clue) = (self.id(object), row.clue);
        if let Some(listed) = &mut self.listed {
            listed.insert(id);
        }
        if let Some(old) = self.rows.insert(id, row) {
            self.by_clue.remove(&(old.clue, id));
        }
        self.by_clue.insert((clue, id));
    }

    /// Forgets an object.
    pub fn remove(&mut self, object: &Value) {
        let id = self.id(object);
        self.forget(id);
    }

    /// From now on the whole list is read. What is known stays until then.
    pub fn begin(&mut self) {
        self.listed = Some(HashSet::new());
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

    /// The neighbours of this namespace and clue.
    pub fn find(&self, namespace: Option<&str>, clue: Option<Clue>) -> impl Iterator<Item = Value> {
        self.kept(namespace, clue).filter_map(|kept| match kept {
            Kept::Neighbour(text) => serde_json::from_str(text).ok(),
            Kept::Revision(_) => None,
        })
    }

    /// The revisions of a workload, which is given by kind and name.
    pub fn revisions(&self, namespace: Option<&str>, workload: Clue) -> impl Iterator<Item = &Revision> {
        self.kept(namespace, Some(workload)).filter_map(|kept| match kept {
            Kept::Revision(revision) => Some(revision),
            Kept::Neighbour(_) => None,
        })
    }

    fn kept(&self, namespace: Option<&str>, clue: Option<Clue>) -> impl Iterator<Item = &Kept> {
        let clue = self.clue(namespace, clue);
        let ids = self.by_clue.range((clue, 0)..=(clue, u64::MAX)).map(|(_, id)| id);
        ids.filter_map(|id| Some(&self.rows.get(id)?.kept))
    }

    fn row(&self, object: &Value) -> Option<Row> {
        if let Some((workload, revision)) = revision::read(object) {
            let namespace = at(object, &["metadata", "namespace"]).and_then(Value::as_str);
            return Some(Row { clue: self.clue(namespace, Some(workload)), kept: Kept::Revision(revision) });
        }
        let neighbour = Neighbour::read(object)?;
        let clue = self.clue(neighbour.namespace(), neighbour.clue());
        Some(Row { clue, kept: Kept::Neighbour(object.to_string().into()) })
    }

    fn forget(&mut self, id: u64) {
        if let Some(row) = self.rows.remove(&id) {
            self.by_clue.remove(&(row.clue, id));
        }
    }

    fn id(&self, object: &Value) -> u64 {
        let text = |name| object.get("metadata")?.get(name)?.as_str();
        self.hasher.hash_one((text("namespace"), text("name")))
    }

    fn clue(&self, namespace: Option<&str>, clue: Option<Clue>) -> u64 {
        self.hasher.hash_one((namespace, clue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, app: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": app}}})
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
        rows.put(&service("one", "web"));
        rows.put(&service("two", "web"));
        assert_eq!(names(&rows, "web"), ["one", "two"]);
        rows.put(&service("two", "api"));
        assert_eq!(
            (names(&rows, "web"), names(&rows, "api")),
            (vec!["one".to_owned()], vec!["two".to_owned()])
        );
        rows.remove(&service("one", "whatever it was"));
        assert_eq!((names(&rows, "web"), rows.len()), (vec![], 1));
        // It has no pods any more.
        let mut external = service("two", "api");
        external["spec"] = json!({"type": "ExternalName"});
        rows.put(&external);
        assert_eq!((rows.len(), rows.by_clue.len()), (0, 0));
    }

    #[test]
    fn what_a_new_list_does_not_hold_is_gone() {
        let mut rows = Rows::default();
        rows.put(&service("one", "web"));
        assert!(!rows.is_filled());
        rows.begin();
        rows.put(&service("two", "web"));
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
