//! Paths to fields, written the way users see them in messages:
//! `spec.template.spec.containers[app].readinessProbe`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// A path to one field of an object.
///
/// List items are named by their `name`, never by their index, so that
/// reordering containers does not make an old finding look new.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A field of a struct, such as `spec`.
    Field(Cow<'static, str>),
    /// The item of a list whose `name` is this, such as `containers[app]`.
    Item(String),
    /// A key of a map whose keys users choose, such as `labels[version]`.
    Key(String),
}

impl FieldPath {
    /// The path made of the fields in `path`, which are separated by dots.
    pub fn new(path: &'static str) -> Self {
        FieldPath(path.split('.').map(|field| Segment::Field(Cow::Borrowed(field))).collect())
    }

    /// The container `name` of a pod template.
    pub fn container(name: &str) -> Self {
        FieldPath::new("spec.template.spec.containers").item(name)
    }

    /// This path, then the list item called `name`.
    pub fn item(mut self, name: &str) -> Self {
        self.0.push(Segment::Item(name.to_owned()));
        self
    }

    /// This path, then the map key `key`.
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Segment::Key(key.to_owned()));
        self
    }

    /// This path, then the fields in `path`, which are separated by dots.
    pub fn field(mut self, path: &'static str) -> Self {
        self.0.extend(FieldPath::new(path).0);
        self
    }

    /// The steps of this path, outermost first.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether the field is in the pod template.
    pub fn is_in_template(&self) -> bool {
        matches!(&self.0[..], [spec, template, ..] if spec.as_str() == "spec" && template.as_str() == "template")
    }

    /// Where the path leads in `object`; `None` where it leads nowhere, and
    /// where the value is null, which for Kubernetes means absent.
    pub fn find<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        let found = self.0.iter().try_fold(object, |value, segment| segment.find(value))?;
        (!found.is_null()).then_some(found)
    }
}

impl Segment {
    /// The value one step down from `value`.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match self {
            Segment::Field(field) => value.get(field.as_ref()),
            Segment::Key(key) => value.get(key),
            Segment::Item(_) => value.as_array()?.get(self.index(value)?),
        }
    }

    /// The index of the list item that this segment names in `list`.
    pub fn index(&self, list: &Value) -> Option<usize> {
        let Segment::Item(name) = self else { return None };
        list.as_array()?.iter().position(|item| item.get("name").and_then(Value::as_str) == Some(name))
    }

    /// The name of a field or key; for a list item, its `name`.
    pub fn as_str(&self) -> &str {
        match self {
            Segment::Field(name) => name,
            Segment::Item(name) | Segment::Key(name) => name,
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(field) if position == 0 => f.write_str(field)?,
                Segment::Field(field) => write!(f, ".{field}")?,
                Segment::Item(name) | Segment::Key(name) => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}

/// Ordered as they are written, so that lists of findings read alphabetically.
impl Ord for FieldPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

impl PartialOrd for FieldPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_as_users_see_it() {
        let probe = FieldPath::container("app").field("readinessProbe.httpGet");
        assert_eq!(probe.to_string(), "spec.template.spec.containers[app].readinessProbe.httpGet");
        let label = FieldPath::new("metadata.labels").key("app.kubernetes.io/version");
        assert_eq!(label.to_string(), "metadata.labels[app.kubernetes.io/version]");
    }

    #[test]
    fn finds_items_by_name_whatever_their_order() {
        let object = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "proxy"}, {"name": "app", "image": "app:v1", "ports": null},
        ]}}}});
        let app = FieldPath::container("app");
        assert_eq!(app.clone().field("image").find(&object), Some(&json!("app:v1")));
        assert_eq!(app.field("ports").find(&object), None, "null means absent");
        assert_eq!(FieldPath::container("gone").find(&object), None);
    }
}
