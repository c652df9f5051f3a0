//! What stands around an object.

use gapless::kubernetes::kind::Kind;
use gapless::offline::documents::Parsed;
use gapless::offline::source::{Name, Source};
use gapless::offline::surroundings::Objects;
use gapless::surroundings::Surroundings;
use serde_json::Value;

/// What these objects are to `object`, if all of them are in one file.
pub fn around(object: &Value, others: &[Value]) -> Surroundings {
    let text: String = others.iter().map(|other| format!("---\n{other}\n")).collect();
    let source = Source::new(Name::Stdin, text);
    let mut objects = Objects::default();
    objects.add(&Parsed::of(&source));
    objects.neighbours().around(Kind::of_document(object), object, &source)
}
