//! `metadata.managedFields`: who wrote which field, and how (apimachinery, meta/v1
//! `ManagedFieldsEntry`). Little hangs on them, so they are read when something does.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::object::at;

/// The `managedFields` of one object.
#[derive(Clone, Copy, Debug)]
pub enum ManagedFields<'a> {
    /// Of an object that was read whole.
    InTree(&'a Value),
    /// In JSON.
    Text(&'a RawValue),
}

/// What one manager wrote in one way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry<'a> {
    /// The name of the client.
    #[serde(borrow, deserialize_with = "text")]
    pub manager: Option<Cow<'a, str>>,
    /// `Apply` or `Update`.
    #[serde(borrow, deserialize_with = "text")]
    pub operation: Option<Cow<'a, str>>,
    /// The subresource through which it wrote, such as `scale`.
    #[serde(borrow, deserialize_with = "text")]
    pub subresource: Option<Cow<'a, str>>,
    /// When, in RFC 3339.
    #[serde(borrow, deserialize_with = "text")]
    pub time: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
    #[serde(skip)]
    fields_in_tree: Option<&'a Value>,
}

/// A text, borrowed unless it holds escapes.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::deserialize(deserializer)?.map(|Text(text)| text))
}

impl<'a> ManagedFields<'a> {
    /// The entries. What cannot be read has none.
    pub fn entries(self) -> Vec<Entry<'a>> {
        match self {
            ManagedFields::Text(text) => serde_json::from_str(text.get()).unwrap_or_default(),
            ManagedFields::InTree(tree) => {
                let entries = at(tree, &["metadata", "managedFields"]).and_then(Value::as_array);
                entries.into_iter().flatten().map(Entry::in_tree).collect()
            }
        }
    }
}

impl<'a> Entry<'a> {
    fn in_tree(entry: &'a Value) -> Self {
        let text = |name| Some(Cow::Borrowed(entry.get(name)?.as_str()?));
        Entry {
            manager: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            time: text("time"),
            fields: None,
            fields_in_tree: entry.get("fieldsV1"),
        }
    }

    /// Whether it was left by a server-side apply.
    pub fn is_apply(&self) -> bool {
        self.operation.as_deref() == Some("Apply")
    }

    /// The set of fields in the format FieldsV1.
    pub fn fields(&self) -> Option<Cow<'a, Value>> {
        match (self.fields_in_tree, self.fields) {
            (Some(fields), _) => Some(Cow::Borrowed(fields)),
            (None, Some(text)) => serde_json::from_str(text.get()).ok().map(Cow::Owned),
            (None, None) => None,
        }
    }
}
