//! The Kubernetes objects of one document.

use serde_json::Value;

use crate::yaml::node::Node;

use crate::kubernetes::kind::Kind;

/// Where workloads were before they came to `apps/v1`; no API server has served these
/// since Kubernetes 1.16.
const REMOVED: [(&str, &[&str]); 3] = [
    ("extensions/v1beta1", &["Deployment", "DaemonSet", "ReplicaSet"]),
    ("apps/v1beta1", &["Deployment", "StatefulSet"]),
    ("apps/v1beta2", &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
];

/// What a document holds: one object, an item of a List, or something else
/// that is not Kubernetes' at all.
#[derive(Debug)]
pub struct Object<'n> {
    /// The object.
    pub node: &'n Node,
    /// Where it is in the document: its index in a List, and so on for Lists in
    /// one another.
    pub items: Vec<usize>,
    api_version: Option<&'n str>,
    kind: Option<&'n str>,
}

/// The objects in the document `root`, with Lists opened as kubectl does.
pub fn objects(root: &Node) -> Vec<Object<'_>> {
    let mut objects = Vec::new();
    if !root.is_null() {
        let text = |key| root.get(key).and_then(Node::as_str);
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        open(Object { node: root, items: Vec::new(), api_version, kind }, &mut objects);
    }
    objects
}

fn open<'n>(object: Object<'n>, objects: &mut Vec<Object<'n>>) {
    let item_kind = object.kind.and_then(|kind| kind.strip_suffix("List"));
    let items = object.node.get("items").and_then(Node::items);
    let (Some(item_kind), Some(items)) = (item_kind, items) else {
        objects.push(object);
        return;
    };
    for (index, node) in items.iter().enumerate() {
        let text = |key| node.get(key).and_then(Node::as_str);
        // The API server leaves both out of the items of a DeploymentList.
        let typed = (!item_kind.is_empty()).then_some(item_kind);
        let kind = text("kind").or(typed);
        let api_version = text("apiVersion").or(typed.and(object.api_version));
        let items = object.items.iter().copied().chain([index]).collect();
        open(Object { node, items, api_version, kind }, objects);
    }
}

impl<'n> Object<'n> {
    /// The kind of workload that it is, if it is one.
    pub fn workload_kind(&self) -> Option<Kind> {
        Kind::of(self.api_version, self.kind)
    }

    /// Whether it is a Service.
    pub fn is_service(&self) -> bool {
        (self.api_version, self.kind) == (Some("v1"), Some("Service"))
    }

    /// The object as plain JSON, with what a typed List leaves out of its items.
    pub fn to_value(&self) -> Value {
        let mut value = self.node.to_value();
        if let Value::Object(fields) = &mut value {
            for (key, text) in [("apiVersion", self.api_version), ("kind", self.kind)] {
                if let Some(text) = text {
                    fields.entry(key).or_insert_with(|| Value::from(text));
                }
            }
        }
        value
    }

    /// The API version and the kind, if it is a workload of a version that no API server
    /// serves any more.
    pub fn removed(&self) -> Option<(&'static str, &'static str)> {
        let (version, kinds) = REMOVED.iter().find(|(version, _)| self.api_version == Some(version))?;
        let kind = kinds.iter().find(|kind| self.kind == Some(kind))?;
        Some((version, kind))
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> Option<&'n str> {
        self.metadata("namespace")
    }

    /// `metadata.name`, or what the API server begins the name with.
    pub fn name(&self) -> Option<&'n str> {
        self.metadata("name").or_else(|| self.metadata("generateName"))
    }

    fn metadata(&self, field: &str) -> Option<&'n str> {
        self.node.get("metadata")?.get(field)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the Deployments, and how many other objects there are.
    fn opened(text: &str) -> (Vec<String>, usize) {
        let root: Node = serde_saphyr::from_str(text).unwrap();
        let (deployments, others): (Vec<_>, Vec<_>) =
            objects(&root).into_iter().partition(|it| it.workload_kind().is_some());
        (deployments.iter().map(|it| it.name().unwrap_or("?").to_owned()).collect(), others.len())
    }

    #[test]
    fn lists_are_opened() {
        let table: [(&str, &[&str], usize); 8] = [
            ("{apiVersion: apps/v1, kind: Deployment, metadata: {generateName: a-}}", &["a-"], 0),
            (
                "{apiVersion: v1, kind: List, items: [
                    {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}},
                    {apiVersion: v1, kind: Service, metadata: {name: b}},
                    {apiVersion: v1, kind: List, items: [{apiVersion: apps/v1, kind: Deployment}]}]}",
                &["a", "?"],
                1,
            ),
            ("{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: a}}]}", &["a"], 0),
            ("{apiVersion: v1, kind: List, items: [{metadata: {name: a}}]}", &[], 1),
            ("{apiVersion: v1, kind: List, items: []}", &[], 0),
            ("{apiVersion: example.com/v1, kind: AllowList, spec: {}}", &[], 1),
            ("{apiVersion: extensions/v1beta1, kind: Deployment}", &[], 1),
            ("[1, 2]", &[], 1),
        ];
        for (text, deployments, others) in table {
            assert_eq!(
                opened(text),
                (deployments.iter().map(|it| (*it).to_owned()).collect(), others),
                "{text}"
            );
        }
    }

    #[test]
    fn removed_versions_are_known() {
        let table = [
            ("extensions/v1beta1", "DaemonSet", true),
            ("extensions/v1beta1", "Ingress", false),
            ("apps/v1beta1", "Deployment", true),
            ("apps/v1beta1", "DaemonSet", false),
            ("apps/v1beta2", "StatefulSet", true),
            ("apps/v1", "Deployment", false),
        ];
        for (version, kind, is_removed) in table {
            let node: Node =
                serde_saphyr::from_str(&format!("{{apiVersion: {version}, kind: {kind}}}")).unwrap();
            let found = objects(&node)[0].removed();
            assert_eq!(found.is_some_and(|it| it == (version, kind)), is_removed, "{version} {kind}");
        }
    }

    #[test]
    fn an_empty_document_has_no_objects() {
        assert_eq!(objects(&serde_saphyr::from_str::<Node>("---\n# empty\n").unwrap()).len(), 0);
    }
}
