//! An object on its way into a row.

use std::borrow::Cow;

use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{revision, stuck};
use crate::kubernetes::object::at;
use crate::surroundings::neighbour;

/// An object of a list or a watch, trimmed as it arrives: a page of them is in memory at
/// once.
#[derive(Clone, Debug)]
pub struct Listed {
    metadata: ObjectMeta,
    /// What is left of it.
    pub object: Value,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let text = |name| Some(at(&object, &["metadata", name])?.as_str()?.to_owned());
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Listed { metadata, object: trimmed(&object) })
    }
}

/// What is kept of an object.
pub fn trimmed(object: &Value) -> Value {
    if let Some(revision) = revision::trimmed(object) {
        return revision;
    }
    let mut neighbour = neighbour::trimmed(object);
    if let (Some(missed), Some(fields)) = (stuck::missed_deadline(object), neighbour.as_object_mut()) {
        fields.insert(stuck::FIELD.to_owned(), missed);
    }
    neighbour
}

impl Resource for Listed {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
