//! A YAML or JSON document as a tree that knows where each part stands.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Spanned};

use crate::field::{FieldPath, Segment};

/// Beyond this a float stands for more than one whole number.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The key that brings the entries of other maps.
const MERGE: &str = "<<";

/// A part of a document. Aliases and merge keys are resolved: what they bring
/// stands where it was written, at the anchor. Of equal keys only the last one
/// is there.
#[derive(Debug)]
pub struct Node {
    span: Span,
    content: Content,
}

/// Where a part of a document stands, relative to the document's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The line of the first byte, from 1 on.
    pub line: usize,
    /// The column of the first byte in characters, from 1 on.
    pub column: usize,
}

#[derive(Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Map),
}

#[derive(Debug, Default)]
struct Map {
    /// No two of them have the same key.
    entries: Vec<Entry>,
    /// Entries of the same map that do not count.
    outdone: Vec<Outdone>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    key_span: Span,
    value: Node,
}

/// An entry that does not count, since another one with the same key comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdone {
    /// The key.
    pub key: String,
    /// Where the entry stands.
    pub written: Span,
    /// Where the key stands that counts, or the merge key that brings it.
    pub counts: Span,
    /// Whether a merge key brings it.
    pub is_merged: bool,
}

impl Node {
    /// The same as plain JSON.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Node::to_value).collect(),
            Content::Map(map) => {
                map.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect()
            }
        }
    }

    /// Whether there is nothing, as in an empty document.
    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(map) => map.entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The keys and values, if it is a map.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let entries = match &self.content {
            Content::Map(map) => map.entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| (entry.key.as_str(), &entry.value))
    }

    /// The entries in this map itself that do not count, since a later one has the
    /// same key.
    pub fn outdone(&self) -> &[Outdone] {
        match &self.content {
            Content::Map(map) => &map.outdone,
            _ => &[],
        }
    }

    /// The same in all of it, in the order of the text. What several aliases
    /// stand for is in it once.
    pub fn all_outdone(&self) -> Vec<&Outdone> {
        let mut all = Vec::new();
        let mut parts = vec![self];
        while let Some(part) = parts.pop() {
            all.extend(part.outdone());
            match &part.content {
                Content::Map(map) => parts.extend(map.entries.iter().map(|entry| &entry.value)),
                Content::List(items) => parts.extend(items),
                Content::Scalar(_) => {}
            }
        }
        all.sort_by_key(|it| (it.written.start, it.counts.start));
        all.dedup();
        all
    }

    /// Takes placeholders for texts that YAML takes for comments, as in `replicas: #{N}#`:
    /// the line is written for who fills it in. `text` is that of the document.
    pub fn read_placeholders(&mut self, text: &str) {
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.read_placeholders(text)),
            Content::Map(map) => {
                for Entry { key_span, value, .. } in &mut map.entries {
                    let rest =
                        text.get(key_span.end..).and_then(|rest| rest.lines().next()).unwrap_or_default();
                    let rest = rest.trim_start_matches([' ', '\t', ':']).trim_end();
                    let is_placeholder = rest.starts_with("#{") && rest.ends_with("}#");
                    match value.is_null() && is_placeholder {
                        true => value.content = Content::Scalar(rest.into()),
                        false => value.read_placeholders(text),
                    }
                }
            }
        }
    }

    /// Where it begins.
    pub fn beginning(&self) -> Span {
        match &self.content {
            Content::Map(map) => map.entries.first().map_or(self.span, Entry::place),
            Content::List(items) => items.first().map_or(self.span, Node::beginning),
            Content::Scalar(_) => self.span,
        }
    }

    /// Where the field at `path` stands, or the nearest of its parents that
    /// exists. A list item stands at its name.
    pub fn place_of(&self, path: &FieldPath) -> Span {
        let mut place = self.beginning();
        let mut node = self;
        for segment in path.segments() {
            let Some((found, child)) = node.step(segment) else { break };
            (place, node) = (found, child);
        }
        place
    }

    /// Whether the field at `path` exists.
    pub fn has(&self, path: &FieldPath) -> bool {
        path.segments().iter().try_fold(self, |node, segment| Some(node.step(segment)?.1)).is_some()
    }

    fn step(&self, segment: &Segment) -> Option<(Span, &Node)> {
        match segment {
            Segment::Field(_) | Segment::Key(_) => {
                let entry = self.entry(segment.as_str())?;
                Some((entry.place(), &entry.value))
            }
            Segment::Item(name) => {
                let is_named = |item: &&Node| item.get("name").and_then(Node::as_str) == Some(name);
                let item = self.items()?.iter().find(is_named)?;
                Some((item.entry("name")?.place(), item))
            }
        }
    }

    /// Where the field at `path` stands, or the nearest of its parents that
    /// exists. The path is written as `spec.containers[0].image`; a key with
    /// dots in it is found too.
    pub fn place_of_text(&self, path: &str) -> Span {
        let mut place = self.beginning();
        let (mut node, mut rest) = (self, path);
        while let Some((found, child, after)) = node.text_step(rest) {
            (place, node, rest) = (found, child, after);
        }
        place
    }

    fn text_step<'p>(&self, path: &'p str) -> Option<(Span, &Node, &'p str)> {
        if let Some((index, rest)) = path.strip_prefix('[').and_then(|path| path.split_once(']')) {
            let item = self.items()?.get(index.parse::<usize>().ok()?)?;
            return Some((item.beginning(), item, rest));
        }
        let Content::Map(map) = &self.content else { return None };
        let path = path.strip_prefix('.').unwrap_or(path);
        let named = map.entries.iter().filter_map(|entry| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some((entry, rest))
        });
        let (entry, rest) = named.max_by_key(|(entry, _)| entry.key.len())?;
        Some((entry.place(), &entry.value, rest))
    }
}

impl Entry {
    /// The key, and its value if that is short and stands beside it. If the
    /// value is an alias, the place of what it stands for.
    fn place(&self) -> Span {
        let value = self.value.span;
        if value.start < self.key_span.end {
            // Only an anchor stands before the key of its value.
            return self.value.beginning();
        }
        match self.value.content {
            Content::Scalar(_) if value.line == self.key_span.line => {
                Span { end: value.end, ..self.key_span }
            }
            _ => self.key_span,
        }
    }
}

impl From<Location> for Span {
    fn from(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // Only documents beyond 4 GiB have no byte offsets.
        let start = number(location.span().byte_offset().unwrap_or_default());
        let end = start.saturating_add(number(location.span().byte_len().unwrap_or_default()));
        Span { start, end, line: number(location.line()), column: number(location.column()) }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::deserialize(deserializer)?;
        Ok(Node { span: defined.into(), content: value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
                // kubectl turns YAML into JSON, and there 2.0 is written 2.
                if value.fract() == 0.0 && value.abs() <= LARGEST_EXACT {
                    return Ok(Content::Scalar((value as i64).into()));
                }
                Ok(Content::Scalar(Number::from_f64(value).into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_string<E>(self, value: String) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Content::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                let mut builder = MapBuilder::default();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
                    let entry = Entry { key: key.value, key_span: key.defined.into(), value };
                    builder.add(entry).map_err(A::Error::custom)?;
                }
                Ok(Content::Map(builder.map))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A map under construction. Entries come in the order of the text, and each takes
/// the place of an earlier one with the same key, whether it is written here or
/// brought by a merge key: so does kubectl's reader (go.yaml.in/yaml/v2, decode.go,
/// mapping and merge).
#[derive(Default)]
struct MapBuilder {
    map: Map,
    /// The index of each key, and whether the entry is written in the map itself.
    keys: HashMap<String, (usize, bool)>,
}

impl MapBuilder {
    fn add(&mut self, entry: Entry) -> Result<(), &'static str> {
        // In quotes it is a key like others.
        let is_merge = entry.key == MERGE && entry.key_span.end - entry.key_span.start == MERGE.len();
        if !is_merge {
            let place = entry.key_span;
            self.put(entry, place, true);
            return Ok(());
        }
        let maps = match entry.value.content {
            Content::List(items) => items,
            _ => vec![entry.value],
        };
        // Of several maps, the first one that has a key counts.
        for map in maps.into_iter().rev() {
            let Content::Map(map) = map.content else {
                return Err("<< merges maps: it needs one, or a list of them");
            };
            self.map.outdone.extend(map.outdone);
            map.entries.into_iter().for_each(|merged| self.put(merged, entry.key_span, false));
        }
        Ok(())
    }

    /// `place` is that of the key, or of the merge key that brings the entry.
    fn put(&mut self, entry: Entry, place: Span, is_written: bool) {
        match self.keys.entry(entry.key.clone()) {
            Slot::Vacant(slot) => {
                slot.insert((self.map.entries.len(), is_written));
                self.map.entries.push(entry);
            }
            Slot::Occupied(mut slot) => {
                let (index, was_written) = *slot.get();
                let Some(old) = self.map.entries.get_mut(index) else { return };
                // To write what a merge key brought before is what merge keys are for.
                if was_written {
                    let written = old.place();
                    let key = entry.key.clone();
                    self.map.outdone.push(Outdone { key, written, counts: place, is_merged: !is_written });
                }
                *old = entry;
                slot.insert((index, is_written));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = "\
x-common: &common
  revisionHistoryLimit: 0
spec:
  <<: *common
  replicas: &few 1
  minReadySeconds: *few
  strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}
  more: &more
    one: 1
  alias: *more
  text: |
    long
  containers:
  - image: a
    name: first
  - name: second
    labels: {app.io/x: 'y'}
";

    fn parse(text: &str) -> Node {
        serde_saphyr::from_str(text).unwrap()
    }

    fn marked(span: Span) -> (usize, &'static str) {
        (span.line, &TEXT[span.start..span.end])
    }

    #[test]
    fn fields_stand_where_their_values_were_written() {
        let node = parse(TEXT);
        let table = [
            ("spec", (3, "spec")),
            ("spec.replicas", (5, "replicas: &few 1")),
            ("spec.minReadySeconds", (5, "1")),
            ("spec.revisionHistoryLimit", (2, "revisionHistoryLimit: 0")),
            ("spec.strategy", (7, "strategy")),
            ("spec.strategy.type", (7, "type: Recreate")),
            ("spec.strategy.rollingUpdate", (7, "rollingUpdate")),
            ("spec.strategy.rollingUpdate.maxSurge", (7, "maxSurge: 1")),
            ("spec.alias", (9, "one: 1")),
            ("spec.alias.one", (9, "one: 1")),
            ("spec.text", (11, "text")),
        ];
        for (path, place) in table {
            assert_eq!(marked(node.place_of(&FieldPath::new(path))), place, "{path}");
            assert_eq!(marked(node.place_of_text(path)), place, "{path}");
        }
    }

    #[test]
    fn list_items_are_found_by_name_or_by_index() {
        let node = parse(TEXT);
        let second = FieldPath::new("spec.containers").item("second");
        assert_eq!(marked(node.place_of(&second)), (16, "name: second"));
        let label = second.clone().field("labels").key("app.io/x");
        assert_eq!(marked(node.place_of(&label)), (17, "app.io/x: 'y'"));
        assert_eq!(marked(node.place_of_text("spec.containers[1].labels.app.io/x")), (17, "app.io/x: 'y'"));
        assert_eq!(marked(node.place_of_text("spec.containers[0]")), (14, "image: a"));
    }

    #[test]
    fn what_does_not_exist_stands_at_its_nearest_parent() {
        let node = parse(TEXT);
        let absent = FieldPath::new("spec.containers").item("first").field("readinessProbe.httpGet");
        assert_eq!(marked(node.place_of(&absent)), (15, "name: first"));
        assert_eq!(marked(node.place_of(&FieldPath::new("metadata.name"))), (1, "x-common"));
        assert_eq!(marked(node.place_of_text("spec.containers[7].name")), (13, "containers"));
        assert_eq!(marked(node.place_of_text("")), (1, "x-common"));
    }

    #[test]
    fn the_value_is_what_the_text_means() {
        let value = parse(TEXT).to_value();
        assert_eq!(value["spec"]["revisionHistoryLimit"], 0);
        assert_eq!(value["spec"]["alias"], json!({"one": 1}));
        let text = r#"{"a": [1, -2, 1.5, true, null, "\u00e4\ud83d\ude00\n\/\"", {}], "b\\": []}"#;
        assert_eq!(parse(text).to_value(), serde_json::from_str::<Value>(text).unwrap());
    }
}
