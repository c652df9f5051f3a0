//! Containers by their names, so that a field of any of thousands is found at
//! once.

use std::collections::HashMap;

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::Value;

use super::record::InjectedField;
use crate::kubernetes::kind::RollingBlock;
use crate::kubernetes::object::at;

/// Where the regular containers of one object are.
#[derive(Clone, Debug, Default)]
pub struct Containers(HashMap<Box<str>, usize>);

impl Containers {
    /// The containers of the pod template in `object`. Of two with one name,
    /// which the API server rejects, the first one counts.
    pub fn of(object: &Value) -> Self {
        let mut positions = HashMap::new();
        let containers = at(object, &["spec", "template", "spec", "containers"]).and_then(Value::as_array);
        for (position, container) in containers.into_iter().flatten().enumerate() {
            if let Some(name) = container.get("name").and_then(Value::as_str) {
                positions.entry(name.into()).or_insert(position);
            }
        }
        Containers(positions)
    }

    /// Whether there is a container of this name.
    pub fn contain(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of `field` in the object that this is about. Null counts as
    /// absent.
    pub fn find<'v>(&self, object: &'v Value, field: &InjectedField) -> Option<&'v Value> {
        let container = |name: &str| {
            at(object, &["spec", "template", "spec", "containers"])?.as_array()?.get(*self.0.get(name)?)
        };
        let found = match field {
            InjectedField::MaxUnavailable(block) => at(object, &block.names())?.get("maxUnavailable"),
            InjectedField::MaxSurge(block) => at(object, &block.names())?.get("maxSurge"),
            InjectedField::MinReadySeconds => at(object, &["spec", "minReadySeconds"]),
            InjectedField::Label(key) => at(object, &["metadata", "labels"])?.get(key),
            InjectedField::TemplateLabel(key) => {
                at(object, &["spec", "template", "metadata", "labels"])?.get(key)
            }
            InjectedField::ReadinessProbe(name) => container(name)?.get("readinessProbe"),
            InjectedField::PreStop(name) => container(name)?.get("lifecycle")?.get("preStop"),
            InjectedField::GracePeriod => {
                at(object, &["spec", "template", "spec", "terminationGracePeriodSeconds"])
            }
        };
        found.filter(|value| !value.is_null())
    }

    /// Where `field` is, as RFC 6901 writes it; `None` without its container.
    pub fn pointer(&self, field: &InjectedField) -> Option<PointerBuf> {
        let label = |labels: &str, key: &str| format!("{labels}/{}", Token::new(key).encoded());
        let in_container = |name: &str, field: &str| {
            Some(format!("/spec/template/spec/containers/{}/{field}", self.0.get(name)?))
        };
        let amount = |block: &RollingBlock, amount: &str| {
            let [spec, strategy, rolling] = block.names();
            format!("/{spec}/{strategy}/{rolling}/{amount}")
        };
        let pointer = match field {
            InjectedField::MaxUnavailable(block) => amount(block, "maxUnavailable"),
            InjectedField::MaxSurge(block) => amount(block, "maxSurge"),
            InjectedField::MinReadySeconds => "/spec/minReadySeconds".to_owned(),
            InjectedField::Label(key) => label("/metadata/labels", key),
            InjectedField::TemplateLabel(key) => label("/spec/template/metadata/labels", key),
            InjectedField::ReadinessProbe(name) => in_container(name, "readinessProbe")?,
            InjectedField::PreStop(name) => in_container(name, "lifecycle/preStop")?,
            InjectedField::GracePeriod => "/spec/template/spec/terminationGracePeriodSeconds".to_owned(),
        };
        PointerBuf::parse(pointer).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::tests::every_field;
    use crate::patch;
    use serde_json::json;

    #[test]
    fn a_field_is_found_where_its_pointer_and_its_path_lead() {
        for field in every_field() {
            let mut object =
                json!({"spec": {"template": {"spec": {"containers": [{"name": "side"}, {"name": "app"}]}}}});
            let containers = Containers::of(&object);
            let pointer = containers.pointer(&field).unwrap();
            assert_eq!(containers.find(&object, &field), None);
            patch::set(&mut object, &pointer, json!(null)).unwrap();
            assert_eq!(containers.find(&object, &field), None, "null counts as absent");
            patch::set(&mut object, &pointer, json!(7)).unwrap();
            assert_eq!(containers.find(&object, &field), Some(&json!(7)), "{field:?}");
            assert_eq!(field.path().find(&object), Some(&json!(7)), "{field:?}");
        }
    }

    #[test]
    fn a_field_of_no_container_is_nowhere() {
        let object = json!({"spec": {"template": {"spec": {"containers": [[], {"name": 5}, null]}}}});
        let containers = Containers::of(&object);
        let probe = InjectedField::ReadinessProbe("app".into());
        assert_eq!(containers.find(&object, &probe), None);
        assert_eq!(containers.pointer(&probe), None);
        assert!(!containers.contain("app"));
    }
}
