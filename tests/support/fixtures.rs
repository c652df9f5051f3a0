//! The files in `tests/fixtures`, and the rest of the repository.

use std::fs;
use std::path::{Path, PathBuf};

use gapless::offline::documents::{self, Document};
use gapless::offline::objects::objects;
use gapless::offline::source::{Name, Source};
use gapless::yaml::node::Node;
use serde_json::Value;

/// The path of a file in this repository.
pub fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The path of a file in `tests/fixtures`.
pub fn path(name: &str) -> PathBuf {
    repository_file("tests/fixtures").join(name)
}

/// The text of a file in `tests/fixtures`.
#[track_caller]
pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// One of the manifests that the product was conceived for.
#[track_caller]
pub fn scenario(name: &str) -> String {
    text(&format!("scenarios/{name}"))
}

/// All of them: file name and text, by name.
pub fn scenarios() -> Vec<(String, String)> {
    let entries = fs::read_dir(path("scenarios")).expect("the scenarios");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("a name in UTF-8");
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), scenario(&name))).collect()
}

/// A configuration file: the head, and the rest.
pub fn configuration(rest: &str) -> String {
    format!("apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n{rest}\n")
}

/// A file, as gapless reads it.
pub fn source(name: &str, text: &str) -> Source {
    Source::new(Name::Path(PathBuf::from(name)), text.to_owned())
}

/// The documents of a file, as gapless reads it.
pub fn documents_of(source: &Source) -> Vec<Node> {
    let (documents, rest) = documents::split(source);
    assert!(rest.is_empty());
    documents.iter().map(Document::parse).map(Result::unwrap).collect()
}

/// The workloads of a file, as gapless reads it.
pub fn deployments(name: &str, text: &str) -> Vec<Value> {
    let documents = documents_of(&source(name, text));
    let all = documents.iter().flat_map(objects);
    all.filter(|object| object.workload_kind().is_some()).map(|object| object.node.to_value()).collect()
}
