//! Containers by their names, so that a field of any of thousands is found at
//! once.

use std::collections::HashMap;

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::Value;

use super::record::InjectedField;
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
        let of = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied().map(Token::new));
        let in_container = |name: &str, tokens: &[&str]| {
            let position = self.0.get(name)?.to_string();
            Some(of(&[&["spec", "template", "spec", "containers", &position], tokens].concat()))
        };
        match field {
            InjectedField::MaxUnavailable(block) => {
                let [spec, strategy, rolling] = block.names();
                Some(of(&[spec, strategy, rolling, "maxUnavailable"]))
            }
            InjectedField::MaxSurge(block) => {
                let [spec, strategy, rolling] = block.names();
                Some(of(&[spec, strategy, rolling, "maxSurge"]))
            }
            InjectedField::MinReadySeconds => Some(of(&["spec", "minReadySeconds"])),
            InjectedField::Label(key) => Some(of(&["metadata", "labels", key])),
            InjectedField::TemplateLabel(key) => Some(of(&["spec", "template", "metadata", "labels", key])),
            InjectedField::ReadinessProbe(name) => in_container(name, &["readinessProbe"]),
            InjectedField::PreStop(name) => in_container(name, &["lifecycle", "preStop"]),
            InjectedField::GracePeriod => {
                Some(of(&["spec", "template", "spec", "terminationGracePeriodSeconds"]))
            }
        }
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
