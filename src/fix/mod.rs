//! Writes what the webhook would inject into the manifests themselves.
//!
//! Read [`fix`] from top to bottom. It changes the text of a file and nothing
//! in it that somebody wrote: comments, order and style stay. [`crate::yaml::syntax`] is how
//! a document is written, [`edit`] goes from one value to another by edits of
//! the text, [`crate::yaml::render`] writes the new text, [`diff`] shows it, and [`parts`] knows
//! what others bring.

mod diff;
mod edit;
pub mod parts;

use jiff::civil::Date;
use serde_json::Value;

use crate::admission::{self, Assessment};
use crate::field::FieldPath;
use crate::finding::Problem;
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::offline::documents::{self, Document, Parsed, Unparsable};
use crate::offline::objects::{self, Object};
use crate::offline::source::{Place, Source};
use crate::offline::surroundings::Neighbours;
use crate::offline::whole::{self, Unusable, Wrong};
use crate::policy::Profile;
use crate::yaml::node::{Node, Span};
use crate::yaml::syntax::Syntax;
use edit::{Edit, Unfixable};
use parts::Parts;

/// The default that is only written where it is asked for.
const VERSION_LABEL: &str = "version-label";

/// Where a document begins.
const BEGINNING: Span = Span { start: 0, end: 0, line: 1, column: 1 };

/// A file, with all added that can be.
#[derive(Debug)]
pub struct Fixed {
    /// Its new text, without a byte order mark.
    pub text: String,
    /// The workloads to which something was or should be added.
    pub workloads: Vec<Workload>,
    /// What could not be read, and is as it was.
    pub errors: Vec<FixError>,
    /// How many parts of objects were left alone.
    pub parts: usize,
    edits: Vec<Edit>,
}

/// A workload to which something was or should be added.
#[derive(Debug)]
pub struct Workload {
    /// Its kind.
    pub kind: Kind,
    /// Namespace and name, or what is there of both.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// What was added.
    pub added: Vec<Added>,
    /// What could not be added.
    pub left: Vec<Left>,
    /// What is left to a patch that brings it: the id of the default, and the file of
    /// the patch.
    pub brought: Vec<(&'static str, String)>,
    /// Waivers and other annotations that have no effect, a line each.
    pub problems: Vec<Problem>,
}

/// What one default adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The id of the default.
    pub default: &'static str,
    /// What it adds, in one line.
    pub text: String,
}

/// What a default should add, and does not.
#[derive(Debug)]
pub struct Left {
    /// The id of the default.
    pub default: &'static str,
    /// Where the trouble is.
    pub place: Place,
    /// Why.
    pub message: String,
}

/// A part of a file that is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// A document is neither YAML nor JSON.
    #[error("{}", .0.message)]
    Unparsable(Unparsable),
    /// A field has a value that the API server rejects.
    #[error("{message}")]
    Wrong {
        /// Where it stands.
        place: Place,
        /// The field, and what is wrong with it.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// The injection fails. A defect of gapless.
    #[error("gapless failed, please report this: {error}")]
    NotInjected {
        /// Why.
        error: InjectError,
        /// The workload.
        place: Place,
    },
    /// Read again, the new text is not what it should be. A defect of gapless.
    #[error("gapless failed to write this document as it should be, please report this")]
    NotAsExpected {
        /// The document.
        place: Place,
    },
}

/// What to write.
#[derive(Debug)]
pub struct Terms<'t> {
    /// Its defaults. Whether it injects or only announces makes no difference: fixing is
    /// asked for.
    pub profile: &'t Profile,
    /// The day of today, for waivers.
    pub today: Date,
    /// Whether version labels too: in a file they are stale with the next release.
    pub version_labels: bool,
    /// What is merged into the objects.
    pub parts: &'t Parts,
    /// What is around the objects.
    pub neighbours: &'t Neighbours<'t>,
}

/// The text of a file with everything that is injected into new objects. What cannot
/// be read or written stays as it is. No text is returned that means anything else than
/// the old one and what was added to it.
pub fn fix(parsed: &Parsed, terms: &Terms) -> Fixed {
    let Parsed { source, documents, broken } = parsed;
    let mut fixed = Fixed::unchanged(source);
    let mut expected = Vec::new();
    for (document, root) in documents {
        let value = match root {
            Ok(root) => fix_document(document, root, source, terms, &mut fixed),
            Err(unparsable) => {
                fixed.errors.push(FixError::Unparsable(unparsable.clone()));
                None
            }
        };
        expected.push(value.map_or(Expected::Text(document.text()), Expected::Value));
    }
    fixed.errors.extend(broken.iter().cloned().map(FixError::Unparsable));
    if fixed.edits.is_empty() {
        return fixed;
    }

    let text = edit::apply(&source.text, fixed.edits.clone());
    let differing = match &text {
        Some(text) => {
            first_differing(&Source::new(source.name.clone(), text.clone()), &expected, broken.len())
        }
        None => Some(0),
    };
    match (text, differing) {
        (Some(text), None) => Fixed { text, ..fixed },
        (_, differing) => {
            let document = differing.and_then(|index| documents.get(index)).or(documents.last());
            let place = document.map(|(document, _)| document.place(BEGINNING));
            let errors = place.map(|place| FixError::NotAsExpected { place }).into_iter().collect();
            Fixed { errors, ..Fixed::unchanged(source) }
        }
    }
}

impl Fixed {
    /// The file as it is.
    pub fn unchanged(source: &Source) -> Self {
        let text = source.text.clone();
        Fixed { text, workloads: Vec::new(), errors: Vec::new(), parts: 0, edits: Vec::new() }
    }

    /// Whether the file changes.
    pub fn is_changed(&self) -> bool {
        !self.edits.is_empty()
    }

    /// What changes in `source`, which is the old file, as a unified diff.
    pub fn diff(&self, source: &Source) -> String {
        diff::unified(&source.name.to_string(), &source.text, self.edits.clone())
    }
}

/// What a document should be afterwards.
#[derive(Debug)]
enum Expected<'d> {
    /// What it was.
    Text(&'d str),
    /// Another text, with this meaning.
    Value(Value),
}

/// Fixes all objects of a document. Returns what it should mean afterwards, if it changes.
fn fix_document(
    document: &Document,
    root: &Node,
    source: &Source,
    terms: &Terms,
    fixed: &mut Fixed,
) -> Option<Value> {
    let mut writer = Writer { document, syntax: None };
    let mut changed = None;
    let objects = objects::objects(root);
    for (object, kind) in objects.iter().filter_map(|object| Some((object, object.workload_kind()?))) {
        let from = object.node.to_value();
        match whole::examine(object, kind, &from) {
            Ok(()) if terms.parts.is_patch(&source.name) => {
                fixed.parts += 1;
                continue;
            }
            Ok(()) => {}
            Err(Unusable::Part { .. }) => {
                fixed.parts += 1;
                continue;
            }
            Err(Unusable::Wrong(Wrong { span, message, hint })) => {
                fixed.errors.push(FixError::Wrong { place: document.place(span), message, hint });
                continue;
            }
        }
        match fix_object(&mut writer, (object, kind), &from, source, terms) {
            Ok((workload, written)) => {
                if let Some(Written { edits, value }) = written {
                    fixed.edits.extend(edits.into_iter().map(|edit| edit.moved(document.start())));
                    let all = changed.get_or_insert_with(|| root.to_value());
                    if let Some(item) = item_mut(all, &object.items) {
                        *item = value;
                    }
                }
                fixed.workloads.extend(workload);
            }
            Err(error) => fixed.errors.push(error),
        }
    }
    changed
}

/// The edits that make an object into `value`.
struct Written {
    edits: Vec<Edit>,
    value: Value,
}

/// Adds to one object what can be added, and says what it was, if there is anything to say.
fn fix_object(
    writer: &mut Writer,
    (object, kind): (&Object, Kind),
    from: &Value,
    source: &Source,
    terms: &Terms,
) -> Result<(Option<Workload>, Option<Written>), FixError> {
    let place = writer.document.place(object.node.place_of(&FieldPath::new("metadata.name")));
    let around = terms.neighbours.around(kind, from, source);
    let assessment = admission::assess(kind, from, &around, terms.profile, terms.today);
    let assessment = assessment.map_err(|error| match error {
        InjectError::WrongType(error) => {
            let Wrong { span, message, hint } = Wrong::of_type(object, &error);
            FixError::Wrong { place: writer.document.place(span), message, hint }
        }
        error @ InjectError::Patch(_) => FixError::NotInjected { error, place: place.clone() },
    })?;
    let Assessment { injection, problems, .. } = assessment;
    let mut whole = without_record(from, injection.object);
    let mut added = injection.announcements;
    if !terms.version_labels {
        leave_out(&mut whole, &mut added, from, VERSION_LABEL);
    }
    let mut brought = Vec::new();
    for (default, patch) in terms.parts.brought_to(object, source) {
        // Only what would be added otherwise is worth a word.
        if added.iter().any(|(id, _)| *id == default) {
            leave_out(&mut whole, &mut added, from, default);
            brought.push((default, patch));
        }
    }

    let mut left = Vec::new();
    let mut edits = writer.edits(object, from, &whole, &place)?;
    if edits.is_err() {
        // Each default by itself, so that one that cannot be written takes none with it.
        let all = added.clone();
        for (id, _) in &all {
            let (mut alone, mut only) = (whole.clone(), all.clone());
            let others = all.iter().filter(|(other, _)| other != id);
            others.for_each(|(other, _)| leave_out(&mut alone, &mut only, from, other));
            if let Err(Unfixable { span, message }) = writer.edits(object, from, &alone, &place)? {
                leave_out(&mut whole, &mut added, from, id);
                left.push(Left { default: id, place: writer.document.place(span), message });
            }
        }
        edits = writer.edits(object, from, &whole, &place)?;
    }
    let written = match edits {
        Ok(edits) => (whole != *from).then_some(Written { edits, value: whole }),
        Err(Unfixable { span, message }) => {
            let place = writer.document.place(span);
            let why = |(default, _)| Left { default, place: place.clone(), message: message.clone() };
            left.extend(added.drain(..).map(why));
            None
        }
    };
    let added: Vec<_> = added.into_iter().map(|(default, text)| Added { default, text }).collect();
    if written.is_none() && left.is_empty() && problems.is_empty() && brought.is_empty() {
        return Ok((None, None));
    }
    let name = object.name().unwrap_or("(without a name)");
    let name = object.namespace().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    Ok((Some(Workload { kind, name, place, added, left, brought, problems }), written))
}

/// Writes into one document.
struct Writer<'d> {
    document: &'d Document<'d>,
    /// How it is written, once anybody wants to know.
    syntax: Option<Syntax>,
}

impl Writer<'_> {
    /// The edits from `from` to `to`, or why there can be none.
    fn edits(
        &mut self,
        object: &Object,
        from: &Value,
        to: &Value,
        place: &Place,
    ) -> Result<Result<Vec<Edit>, Unfixable>, FixError> {
        if from == to {
            return Ok(Ok(Vec::new()));
        }
        // The same parser has read it before.
        let failed = || FixError::NotAsExpected { place: place.clone() };
        if self.syntax.is_none() {
            self.syntax = Syntax::read(self.document.text()).map_err(|_| failed())?;
        }
        let syntax = self.syntax.as_ref().ok_or_else(failed)?;
        Ok(edit::edits(self.document.text(), syntax, &object.items, from, to))
    }
}

/// The fields of each default; `*` stands for each item of a list.
const FIELDS: [(&str, &[&str]); 8] = [
    ("readiness-probe", &["spec", "template", "spec", "containers", "*", "readinessProbe"]),
    ("pre-stop-sleep", &["spec", "template", "spec", "containers", "*", "lifecycle"]),
    ("pre-stop-sleep", &["spec", "template", "spec", "terminationGracePeriodSeconds"]),
    ("rolling-update", &["spec", "strategy"]),
    ("rolling-update", &["spec", "updateStrategy"]),
    ("rolling-update", &["spec", "minReadySeconds"]),
    (VERSION_LABEL, &["metadata", "labels"]),
    (VERSION_LABEL, &["spec", "template", "metadata", "labels"]),
];

/// Takes back what a default changed in `to`, and what is said about it. What others do
/// stays, as if this one were written elsewhere.
fn leave_out(to: &mut Value, added: &mut Vec<(&'static str, String)>, from: &Value, default: &str) {
    let fields = FIELDS.iter().filter(|(id, _)| *id == default);
    fields.for_each(|(_, path)| restore(to, from, path));
    added.retain(|(id, _)| *id != default);
}

/// Makes `to` at `path` what `from` is there.
fn restore(to: &mut Value, from: &Value, path: &[&str]) {
    match (path, to, from) {
        (["*", rest @ ..], Value::Array(to), Value::Array(from)) => {
            to.iter_mut().zip(from).for_each(|(to, from)| restore(to, from, rest));
        }
        ([key, rest @ ..], Value::Object(to), Value::Object(from)) => {
            match (to.get_mut(*key), from.get(*key)) {
                (Some(to), Some(from)) => restore(to, from, rest),
                (Some(_), None) => drop(to.remove(*key)),
                (None, Some(from)) => drop(to.insert((*key).to_owned(), from.clone())),
                (None, None) => {}
            }
        }
        (_, to, from) => *to = from.clone(),
    }
}

/// `to` with the annotations of `from`: the record of what was injected is for
/// the cluster. What stands in a file is its author's own.
fn without_record(from: &Value, mut to: Value) -> Value {
    let Some(metadata) = from.get("metadata").filter(|metadata| metadata.is_object()) else {
        // The API server rejects an object without a name.
        return from.clone();
    };
    if let Some(fields) = to.get_mut("metadata").and_then(Value::as_object_mut) {
        match metadata.get("annotations") {
            Some(annotations) => drop(fields.insert("annotations".to_owned(), annotations.clone())),
            None => drop(fields.remove("annotations")),
        }
    }
    to
}

/// The item of Lists in one another that `items` leads to.
fn item_mut<'v>(root: &'v mut Value, items: &[usize]) -> Option<&'v mut Value> {
    items.iter().try_fold(root, |value, index| value.get_mut("items")?.get_mut(*index))
}

/// The first document of `source` that is not what is expected; `broken` parts of it
/// could not even be split.
fn first_differing(source: &Source, expected: &[Expected], broken: usize) -> Option<usize> {
    let (documents, rest) = documents::split(source);
    let is_as_expected = |(document, expected): (&Document, &Expected)| match expected {
        Expected::Text(text) => document.text() == *text,
        Expected::Value(value) => document.parse().is_ok_and(|root| root.to_value() == *value),
    };
    let differing = documents.iter().zip(expected).position(|pair| !is_as_expected(pair));
    let is_complete = documents.len() == expected.len() && rest.len() == broken;
    differing.or((!is_complete).then_some(documents.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::{self, DEFAULTS};
    use crate::kubernetes::kind::RollingBlock;
    use crate::offline::source::Name;
    use crate::ownership::record::InjectedField;
    use serde_json::json;

    #[test]
    fn a_text_that_means_something_else_is_noticed() {
        use Expected::{Text, Value};
        let source = Source::new(Name::Stdin, "a: 1\n---\nb: 2\n".to_owned());
        let table = [
            (vec![Value(json!({"a": 1})), Value(json!({"b": 2}))], None),
            (vec![Value(json!({"a": 2})), Value(json!({"b": 2}))], Some(0)),
            (vec![Value(json!({"a": 1})), Value(json!({"b": "2"}))], Some(1)),
            (vec![Text("a: 1\n"), Text("---\nb: 2\n")], None),
            (vec![Text("a: 1\n"), Text("---\nb: 2")], Some(1)),
            (vec![Value(json!({"a": 1}))], Some(2)),
            (vec![Value(json!({"a": 1})), Value(json!({"b": 2})), Value(json!({}))], Some(2)),
        ];
        for (expected, differing) in table {
            assert_eq!(first_differing(&source, &expected, 0), differing, "{expected:?}");
        }
        let broken = Source::new(Name::Stdin, "a: [".to_owned());
        assert_eq!(first_differing(&broken, &[Value(json!({"a": []}))], 0), Some(0));
        let json = Source::new(Name::Path("a.json".into()), "{} {".to_owned());
        assert_eq!(first_differing(&json, &[Text("{}")], 0), Some(1));
        assert_eq!(first_differing(&json, &[Text("{}")], 1), None);
    }

    #[test]
    fn every_field_of_a_default_is_known() {
        let of = |id: &str| FIELDS.into_iter().filter(|(known, _)| *known == id).collect::<Vec<_>>();
        for default in DEFAULTS {
            assert!(!of(default.id).is_empty(), "{}", default.id);
        }
        let amounts = RollingBlock::ALL.into_iter().flat_map(InjectedField::amounts);
        let fields = [
            InjectedField::MinReadySeconds,
            InjectedField::Label("version".to_owned()),
            InjectedField::TemplateLabel("version".to_owned()),
            InjectedField::ReadinessProbe("app".to_owned()),
            InjectedField::PreStop("app".to_owned()),
            InjectedField::GracePeriod,
        ];
        for field in amounts.chain(fields) {
            let path = field.path().to_string().replace("[app]", ".*");
            let is_within = |known: &[&str]| {
                let rest = path.strip_prefix(&known.join("."));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let id = defaults::of(&field).unwrap().id;
            assert!(of(id).iter().any(|(_, known)| is_within(known)), "{path} of {id}");
        }
    }

    #[test]
    fn what_is_left_out_is_as_before() {
        let from = json!({"metadata": {"labels": null}, "spec": {"template": {"spec": {"containers": [
            {"name": "a", "lifecycle": {"postStart": 1}}, {"name": "b", "readinessProbe": 1},
        ]}}}});
        let to = json!({"metadata": {"labels": {"version": "1"}}, "spec": {
            "strategy": {"rollingUpdate": {}},
            "template": {
                "metadata": {"labels": {"version": "1"}},
                "spec": {"terminationGracePeriodSeconds": 40, "containers": [
                    {"name": "a", "readinessProbe": 2, "lifecycle": {"postStart": 1, "preStop": 2}},
                    {"name": "b", "readinessProbe": 1, "lifecycle": {"preStop": 2}},
                ]},
            },
        }});
        let mut all = to.clone();
        for default in DEFAULTS {
            let (mut one, mut added) =
                (to.clone(), vec![(default.id, String::new()), ("other", String::new())]);
            leave_out(&mut one, &mut added, &from, default.id);
            assert_ne!(one, to, "{}", default.id);
            assert_eq!(added, [("other", String::new())]);
            leave_out(&mut all, &mut added, &from, default.id);
        }
        assert_eq!(all, from);
    }

    #[test]
    fn the_record_and_an_object_without_a_name_stay_out_of_it() {
        let injected =
            json!({"metadata": {"annotations": {"a": "b", "gapless.dev/injected": "{}"}, "labels": {}}});
        let table = [
            (json!({"metadata": {}}), json!({"metadata": {"labels": {}}})),
            (
                json!({"metadata": {"annotations": null}}),
                json!({"metadata": {"annotations": null, "labels": {}}}),
            ),
            (
                json!({"metadata": {"annotations": {"a": "b"}}}),
                json!({"metadata": {"annotations": {"a": "b"}, "labels": {}}}),
            ),
            (json!({"metadata": null}), json!({"metadata": null})),
            (json!({}), json!({})),
        ];
        for (from, to) in table {
            assert_eq!(without_record(&from, injected.clone()), to);
        }
    }
}
