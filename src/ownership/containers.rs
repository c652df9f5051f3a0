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

/// What the fields stand in that gapless may inject. They are looked for again and
/// again, and most of the way is the same each time.
#[derive(Clone, Copy, Debug)]
pub struct Parents<'v> {
    labels: Option<&'v Value>,
    spec: Option<&'v Value>,
    template_labels: Option<&'v Value>,
    pod: Option<&'v Value>,
    containers: Option<&'v Vec<Value>>,
}

impl<'v> Parents<'v> {
    /// Those in `object`.
    pub fn of(object: &'v Value) -> Self {
        let spec = object.get("spec");
        let template = spec.and_then(|spec| spec.get("template"));
        let pod = template.and_then(|template| template.get("spec"));
        Parents {
            labels: at(object, &["metadata", "labels"]),
            spec,
            template_labels: template.and_then(|template| at(template, &["metadata", "labels"])),
            pod,
            containers: pod.and_then(|pod| pod.get("containers")?.as_array()),
        }
    }

    fn rolling(&self, block: RollingBlock) -> Option<&'v Value> {
        let [_, strategy, rolling] = block.names();
        at(self.spec?, &[strategy, rolling])
    }
}

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
        self.find_below(&Parents::of(object), field)
    }

    /// The same, of an object whose parents of fields are known.
    pub fn find_below<'v>(&self, parents: &Parents<'v>, field: &InjectedField) -> Option<&'v Value> {
        let container = |name: &str| parents.containers?.get(*self.0.get(name)?);
        let found = match field {
            InjectedField::MaxUnavailable(block) => parents.rolling(*block)?.get("maxUnavailable"),
            InjectedField::MaxSurge(block) => parents.rolling(*block)?.get("maxSurge"),
            InjectedField::MinReadySeconds => parents.spec?.get("minReadySeconds"),
            InjectedField::Label(key) => parents.labels?.get(key),
            InjectedField::TemplateLabel(key) => parents.template_labels?.get(key),
            InjectedField::ReadinessProbe(name) => container(name)?.get("readinessProbe"),
            InjectedField::PreStop(name) => container(name)?.get("lifecycle")?.get("preStop"),
            InjectedField::GracePeriod => parents.pod?.get("terminationGracePeriodSeconds"),
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
