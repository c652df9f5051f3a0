//! Writes what the webhook would inject into the manifests themselves.
//!
//! Read [`fix`] from top to bottom. It changes the text of a file and nothing
//! in it that somebody wrote: comments, order and style stay. [`syntax`] is how
//! a document is written, [`edit`] goes from one value to another by edits of
//! the text, [`render`] writes the new text, and [`diff`] shows it.

mod diff;
mod edit;
mod render;
mod syntax;

use jiff::civil::Date;
use serde_json::Value;

use crate::admission::{self, Assessment};
use crate::field::FieldPath;
use crate::finding::Problem;
use crate::injection::InjectError;
use crate::offline::documents::{self, Document, Unparsable};
use crate::offline::node::Span;
use crate::offline::objects::{self, Object};
use crate::offline::source::{Place, Source};
use crate::offline::surroundings::Neighbours;
use crate::policy::Profile;
use edit::{Edit, Unfixable};
use syntax::Syntax;

/// Where a document begins.
const BEGINNING: Span = Span { start: 0, end: 0, line: 1, column: 1 };

/// A file, with all added that can be.
#[derive(Debug)]
pub struct Fixed {
    /// Its new text, without a byte order mark.
    pub text: String,
    /// The Deployments to which something was or should be added.
    pub deployments: Vec<Deployment>,
    edits: Vec<Edit>,
}

/// A Deployment to which something was or should be added.
#[derive(Debug)]
pub struct Deployment {
    /// Namespace and name, or what is there of both.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// What was added, or why it cannot be.
    pub outcome: Result<Vec<Added>, Left>,
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

/// A Deployment is left as it is, although something should be added.
#[derive(Debug)]
pub struct Left {
    /// Where the trouble is.
    pub place: Place,
    /// Why.
    pub message: String,
}

/// A file that is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// A document is neither YAML nor JSON.
    #[error("{}", .0.message)]
    Unparsable(Unparsable),
    /// A field has the wrong type, or the injection fails.
    #[error("{error}")]
    NotInjected {
        /// Why.
        error: InjectError,
        /// Where the field stands, or the Deployment.
        place: Place,
        /// What may help.
        hint: Option<&'static str>,
    },
    /// Read again, the new text is not what it should be. A defect of gapless.
    #[error("gapless failed to write this document as it should be, please report this")]
    NotAsExpected {
        /// The document.
        place: Place,
    },
}

/// The text of `source` with everything that `profile` injects into new
/// objects. Whether the profile injects or only announces makes no difference:
/// fixing is asked for.
///
/// # Errors
/// [`FixError`], one for each document that has one. No text is returned that
/// means anything else than the old one and what was added to it.
pub fn fix(
    source: &Source,
    neighbours: &Neighbours,
    profile: &Profile,
    today: Date,
) -> Result<Fixed, Vec<FixError>> {
    let (documents, rest) = documents::split(source);
    let mut errors = Vec::new();
    let mut deployments = Vec::new();
    let mut edits = Vec::new();
    let mut expected = Vec::new();
    for document in &documents {
        match fix_document(document, neighbours, profile, today) {
            Ok(fixed) => {
                deployments.extend(fixed.deployments);
                edits.extend(fixed.edits.into_iter().map(|edit| edit.moved(document.start())));
                expected.push(fixed.value);
            }
            Err(error) => errors.push(error),
        }
    }
    errors.extend(rest.map(FixError::Unparsable));
    if !errors.is_empty() {
        return Err(errors);
    }
    if edits.is_empty() {
        return Ok(Fixed { deployments, ..Fixed::unchanged(source) });
    }

    let text = edit::apply(&source.text, edits.clone());
    let differing = match &text {
        Some(text) => first_differing(&Source::new(source.name.clone(), text.clone()), &expected),
        None => Some(0),
    };
    match (text, differing) {
        (Some(text), None) => Ok(Fixed { text, deployments, edits }),
        (_, differing) => {
            let document = differing.and_then(|index| documents.get(index)).or(documents.last());
            let place = document.map(|document| document.place(BEGINNING));
            Err(place.map(|place| FixError::NotAsExpected { place }).into_iter().collect())
        }
    }
}

impl Fixed {
    /// The file as it is.
    pub fn unchanged(source: &Source) -> Self {
        Fixed { text: source.text.clone(), deployments: Vec::new(), edits: Vec::new() }
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

/// One document, with all added that can be.
struct FixedDocument {
    edits: Vec<Edit>,
    deployments: Vec<Deployment>,
    /// What it should mean afterwards.
    value: Value,
}

fn fix_document(
    document: &Document,
    neighbours: &Neighbours,
    profile: &Profile,
    today: Date,
) -> Result<FixedDocument, FixError> {
    let root = document.parse().map_err(FixError::Unparsable)?;
    let mut fixed = FixedDocument { edits: Vec::new(), deployments: Vec::new(), value: root.to_value() };
    let mut syntax = None;
    for object in objects::objects(&root).iter().filter(|object| object.is_deployment()) {
        let from = object.node.to_value();
        let around = neighbours.around(&object.to_value(), document.source());
        let assessment = admission::assess(&from, &around, profile, today)
            .map_err(|error| not_injected(document, object, error))?;
        let Assessment { injection, problems, .. } = assessment;
        let to = without_record(&from, injection.object);
        if from == to && problems.is_empty() {
            continue;
        }

        let place = document.place(object.node.place_of(&FieldPath::new("metadata.name")));
        if syntax.is_none() {
            // The same parser has just read it.
            let failed = |_| FixError::NotAsExpected { place: place.clone() };
            syntax = Syntax::read(document.text()).map_err(failed)?;
        }
        let Some(syntax) = &syntax else { continue };
        let outcome = match edit::edits(document.text(), syntax, &object.items, &from, &to) {
            Ok(edits) => {
                fixed.edits.extend(edits);
                if let Some(value) = item_mut(&mut fixed.value, &object.items) {
                    *value = to;
                }
                let added = injection.announcements.into_iter();
                Ok(added.map(|(default, text)| Added { default, text }).collect())
            }
            Err(Unfixable { span, message }) => Err(Left { place: document.place(span), message }),
        };
        let name = object.name().unwrap_or("(without a name)");
        let name =
            object.namespace().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
        fixed.deployments.push(Deployment { name, place, outcome, problems });
    }
    Ok(fixed)
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

fn not_injected(document: &Document, object: &Object, error: InjectError) -> FixError {
    let span = match &error {
        InjectError::WrongType(error) => object.node.place_of_text(&error.path),
        InjectError::Patch(_) => object.node.beginning(),
    };
    FixError::NotInjected { error, place: document.place(span), hint: document.hint() }
}

/// The item of Lists in one another that `items` leads to.
fn item_mut<'v>(root: &'v mut Value, items: &[usize]) -> Option<&'v mut Value> {
    items.iter().try_fold(root, |value, index| value.get_mut("items")?.get_mut(*index))
}

/// The first document of `source` that does not mean what is expected.
fn first_differing(source: &Source, expected: &[Value]) -> Option<usize> {
    let (documents, rest) = documents::split(source);
    let is_as_expected = |(document, expected): (&Document, &Value)| {
        document.parse().is_ok_and(|root| root.to_value() == *expected)
    };
    let differing = documents.iter().zip(expected).position(|pair| !is_as_expected(pair));
    let is_complete = documents.len() == expected.len() && rest.is_none();
    differing.or((!is_complete).then_some(documents.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::source::Name;
    use serde_json::json;

    #[test]
    fn a_text_that_means_something_else_is_noticed() {
        let source = Source::new(Name::Stdin, "a: 1\n---\nb: 2\n".to_owned());
        let table = [
            (vec![json!({"a": 1}), json!({"b": 2})], None),
            (vec![json!({"a": 2}), json!({"b": 2})], Some(0)),
            (vec![json!({"a": 1}), json!({"b": "2"})], Some(1)),
            (vec![json!({"a": 1})], Some(2)),
            (vec![json!({"a": 1}), json!({"b": 2}), json!({})], Some(2)),
        ];
        for (expected, differing) in table {
            assert_eq!(first_differing(&source, &expected), differing, "{expected:?}");
        }
        let broken = Source::new(Name::Stdin, "a: [".to_owned());
        assert_eq!(first_differing(&broken, &[json!({"a": []})]), Some(0));
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
