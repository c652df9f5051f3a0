//! What is merged into the objects of the same input.
//!
//! Kustomize merges a patch into an object field by field. A probe or a hook that `fix`
//! adds to the object would stand beside that of the patch, and a probe with two handlers
//! is refused. So what a patch brings is left to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::offline::documents::Parsed;
use crate::offline::objects::{self, Object};
use crate::offline::source::{Name, Source};
use crate::offline::whole::{self, Unusable};
use crate::yaml::node::Node;

/// The kinds of documents that name patches.
const KUSTOMIZATIONS: [&str; 2] = ["Kustomization", "Component"];

/// How a kustomization may be called.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The parts of objects in one input, and what they bring.
#[derive(Debug, Default)]
pub struct Parts {
    patches: Vec<Patch>,
    /// The files that a kustomization names as patches.
    files: BTreeSet<PathBuf>,
    /// The names of the whole objects, and their files.
    names: BTreeMap<String, Vec<Option<PathBuf>>>,
}

/// A part of a Deployment, or a list of operations on one.
#[derive(Debug)]
struct Patch {
    /// The file in which it stands.
    file: Option<PathBuf>,
    /// The name of the object, if it tells.
    name: Option<String>,
    /// The ids of the defaults whose fields it writes.
    brings: BTreeSet<&'static str>,
}

impl Parts {
    /// Those in all of these files.
    pub fn of<'p, 's: 'p>(files: impl Iterator<Item = &'p Parsed<'s>> + Clone) -> Self {
        let mut parts = Parts::default();
        files.clone().for_each(|file| parts.read_kustomizations(file));
        files.for_each(|file| parts.read_objects(file));
        parts
    }

    /// Whether a kustomization names this file as a patch.
    pub fn is_patch(&self, name: &Name) -> bool {
        file_of(name).is_some_and(|path| self.files.contains(&path))
    }

    /// The defaults that patches bring to an object in `source`, each with the place of
    /// such a patch.
    pub fn brought_to(&self, object: &Object, source: &Source) -> BTreeMap<&'static str, String> {
        let mut brought = BTreeMap::new();
        for patch in self.patches.iter().filter(|patch| self.concerns(patch, object, source)) {
            let place =
                patch.file.as_ref().map_or_else(|| Name::Stdin.to_string(), |it| it.display().to_string());
            for default in &patch.brings {
                brought.entry(*default).or_insert_with(|| place.clone());
            }
        }
        brought
    }

    fn concerns(&self, patch: &Patch, object: &Object, source: &Source) -> bool {
        // Bases are beside the overlays, and these one level below.
        let around = patch.file.as_deref().and_then(|path| path.parent()?.parent()?.parent());
        let is_near = |file: &Option<PathBuf>| match (file, around) {
            (Some(file), Some(around)) => file.starts_with(around),
            _ => true,
        };
        let is_this_near = is_near(&file_of(&source.name));
        match patch.name.as_deref().and_then(|name| Some((name, self.names.get(name)?))) {
            // Of several with one name, as every team has one, those that are near.
            Some((name, files)) => {
                object.name() == Some(name) && (is_this_near || !files.iter().any(is_near))
            }
            // Its kustomization says elsewhere what it is for.
            None => is_this_near,
        }
    }

    fn read_kustomizations(&mut self, file: &Parsed) {
        let source = file.source;
        let directory =
            file_of(&source.name).and_then(|path| Some(path.parent()?.to_owned())).unwrap_or_default();
        for root in file.roots() {
            let is_named = || match &source.name {
                Name::Path(path) => {
                    path.file_name().is_some_and(|it| FILE_NAMES.iter().any(|name| it == *name))
                }
                Name::Stdin => false,
            };
            let kind = root.get("kind").and_then(Node::as_str);
            if kind.map_or_else(is_named, |kind| KUSTOMIZATIONS.contains(&kind)) {
                self.read_kustomization(&root.to_value(), source, &directory);
            }
        }
    }

    fn read_kustomization(&mut self, root: &Value, source: &Source, directory: &Path) {
        let list = |key: &str| root.get(key).and_then(Value::as_array).into_iter().flatten();
        for patch in list("patches").chain(list("patchesJson6902")) {
            let target = patch.get("target").and_then(|target| target.get("name")).and_then(Value::as_str);
            let text = |key: &str| patch.get(key).and_then(Value::as_str);
            text("path").into_iter().for_each(|path| self.name_file(directory, path));
            text("patch").into_iter().for_each(|text| self.read_inline(source, text, target));
        }
        for patch in list("patchesStrategicMerge").filter_map(Value::as_str) {
            match patch.contains('\n') {
                true => self.read_inline(source, patch, None),
                false => self.name_file(directory, patch),
            }
        }
    }

    fn name_file(&mut self, directory: &Path, path: &str) {
        self.files.insert(normal(&directory.join(path)));
    }

    fn read_inline(&mut self, source: &Source, text: &str, target: Option<&str>) {
        let inline = Source::new(source.name.clone(), text.to_owned());
        for root in Parsed::of(&inline).roots() {
            if root.items().is_some() {
                self.add(source, target.map(str::to_owned), brought_by_operations(&root.to_value()));
            }
            for object in objects::objects(root).iter().filter(|object| object.workload_kind().is_some()) {
                let name = target.or(object.name()).map(str::to_owned);
                self.add(source, name, brought_by_patch(&object.node.to_value()));
            }
        }
    }

    fn read_objects(&mut self, file: &Parsed) {
        let source = file.source;
        let is_patch = self.is_patch(&source.name);
        for root in file.roots() {
            if is_patch && root.items().is_some() {
                self.add(source, None, brought_by_operations(&root.to_value()));
            }
            let objects = objects::objects(root);
            for (object, kind) in objects.iter().filter_map(|object| Some((object, object.workload_kind()?)))
            {
                let value = object.node.to_value();
                let name = object.name().map(str::to_owned);
                match whole::examine(object, kind, &value) {
                    Err(Unusable::Part { .. }) => self.add(source, name, brought_by_patch(&value)),
                    _ if is_patch => self.add(source, name, brought_by_patch(&value)),
                    _ => self.names.entry(name.unwrap_or_default()).or_default().push(file_of(&source.name)),
                }
            }
        }
    }

    fn add(&mut self, source: &Source, name: Option<String>, brings: BTreeSet<&'static str>) {
        if !brings.is_empty() {
            self.patches.push(Patch { file: file_of(&source.name), name, brings });
        }
    }
}

/// The defaults whose fields a part of a workload writes.
fn brought_by_patch(part: &Value) -> BTreeSet<&'static str> {
    let mut brings = BTreeSet::new();
    let written = |pointer: &str| part.pointer(pointer).is_some_and(|value| !value.is_null());
    if written("/spec/strategy")
        || written("/spec/updateStrategy")
        || written("/spec/minReadySeconds")
        || written("/spec/progressDeadlineSeconds")
    {
        brings.insert("rolling-update");
    }
    if written("/spec/template/spec/terminationGracePeriodSeconds") {
        brings.insert("pre-stop-sleep");
    }
    let containers = part.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        if container.get("readinessProbe").is_some() {
            brings.insert("readiness-probe");
        }
        if container.get("lifecycle").is_some() {
            brings.insert("pre-stop-sleep");
        }
    }
    brings
}

/// The same of a list of operations (JSON Patch, RFC 6902).
fn brought_by_operations(operations: &Value) -> BTreeSet<&'static str> {
    let paths = operations.as_array().into_iter().flatten();
    let paths = paths.filter_map(|operation| operation.get("path")?.as_str());
    let fields = [
        ("/strategy", "rolling-update"),
        ("/updateStrategy", "rolling-update"),
        ("/minReadySeconds", "rolling-update"),
        ("/progressDeadlineSeconds", "rolling-update"),
        ("/readinessProbe", "readiness-probe"),
        ("/lifecycle", "pre-stop-sleep"),
        ("/terminationGracePeriodSeconds", "pre-stop-sleep"),
    ];
    paths
        .flat_map(|path| {
            fields.iter().filter(move |(field, _)| path.contains(field)).map(|(_, default)| *default)
        })
        .collect()
}

fn file_of(name: &Name) -> Option<PathBuf> {
    match name {
        Name::Path(path) => Some(normal(path)),
        Name::Stdin => None,
    }
}

/// The path without `.` and `..`, as far as it tells by itself.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source::new(Name::Path(name.into()), text.to_owned())
    }

    const BASE: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

    fn patch(name: &str, spec: &str) -> String {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    }

    /// What the other files bring to the base.
    fn brought(others: &[Source]) -> Vec<(&'static str, String)> {
        let base = source("app/base/web.yaml", BASE);
        let files: Vec<_> = others.iter().chain([&base]).map(Parsed::of).collect();
        let parts = Parts::of(files.iter());
        let root = files.last().unwrap().roots().next().unwrap();
        parts.brought_to(&objects::objects(root)[0], &base).into_iter().collect()
    }

    #[test]
    fn a_patch_brings_the_fields_that_it_writes() {
        let container =
            |fields: &str| format!("{{template: {{spec: {{containers: [{{name: web, {fields}}}]}}}}}}");
        let table = [
            (container("env: []"), vec![]),
            (container("readinessProbe: {httpGet: {port: 80}}"), vec!["readiness-probe"]),
            (container("lifecycle: {preStop: {exec: {}}}"), vec!["pre-stop-sleep"]),
            ("{template: {spec: {terminationGracePeriodSeconds: 5}}}".to_owned(), vec!["pre-stop-sleep"]),
            ("{strategy: {type: Recreate}}".to_owned(), vec!["rolling-update"]),
            ("{replicas: 3, strategy: null}".to_owned(), vec![]),
        ];
        for (spec, expected) in table {
            let found = brought(&[source("app/overlays/prod/patch.yaml", &patch("web", &spec))]);
            assert_eq!(found.iter().map(|(default, _)| *default).collect::<Vec<_>>(), expected, "{spec}");
            assert!(found.iter().all(|(_, place)| place == "app/overlays/prod/patch.yaml"));
        }
    }

    #[test]
    fn a_patch_is_for_the_object_of_its_name() {
        let recreate = "{strategy: {type: Recreate}}";
        let other = source("app/base/other.yaml", &BASE.replace("name: web}\nspec", "name: other}\nspec"));
        let found = |name: &str, file: &str| {
            !brought(&[source(file, &patch(name, recreate)), source("app/base/other.yaml", &other.text)])
                .is_empty()
        };
        assert!(found("web", "elsewhere/overlays/prod/patch.yaml"));
        let near = source("elsewhere/base/web.yaml", BASE);
        let far = source("elsewhere/overlays/prod/patch.yaml", &patch("web", recreate));
        assert!(brought(&[near, far]).is_empty(), "there is another web beside it");
        assert!(!found("other", "app/overlays/prod/patch.yaml"));
        // Its target says more than its name.
        assert!(found("any", "app/overlays/prod/patch.yaml"));
        assert!(!found("any", "shop/overlays/prod/patch.yaml"));
    }

    #[test]
    fn kustomizations_hold_and_name_patches() {
        let kustomization = |rest: &str| source("app/overlays/prod/kustomization.yaml", rest);
        let whole = source(
            "app/overlays/prod/web.yaml",
            &BASE.replace("spec:\n  sel", "spec:\n  minReadySeconds: 1\n  sel"),
        );
        assert_eq!(brought(&[source("app/overlays/prod/web.yaml", &whole.text)]), []);
        let table = [
            ("kind: Component\npatches:\n- path: ./web.yaml\n", "rolling-update"),
            ("patchesStrategicMerge: [web.yaml]\n", "rolling-update"),
            (
                "patches:\n- target: {name: web}\n  patch: |-\n    - op: add\n      path: /spec/strategy/type\n      value: Recreate\n",
                "rolling-update",
            ),
            (
                "patches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web}\n    spec: {template: {spec: {terminationGracePeriodSeconds: 5}}}\n",
                "pre-stop-sleep",
            ),
        ];
        for (text, expected) in table {
            let sources = [source("app/overlays/prod/web.yaml", &whole.text), kustomization(text)];
            let found = brought(&sources);
            assert_eq!(found.iter().map(|(default, _)| *default).collect::<Vec<_>>(), [expected], "{text}");
            let files: Vec<_> = sources.iter().map(Parsed::of).collect();
            let is_patch = Parts::of(files.iter()).is_patch(&whole.name);
            assert_eq!(is_patch, text.contains("web.yaml"), "{text}");
        }
    }
}
