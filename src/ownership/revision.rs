//! Whether a pod template is one that a workload had before.

use std::hash::{DefaultHasher, Hash, Hasher};

use json_patch::jsonptr::ResolveMut;
use serde_json::{Value, json};

use super::containers::Containers;
use super::record::Record;
use crate::kubernetes::pod_template::normalize;

/// One number for all templates that equal one another: without what `record`, which is of
/// the object around it, names as injected, and without what makes no difference to the API.
///
/// gapless compares numbers, since a cluster has tens of thousands of revisions. That two
/// templates have one number by chance would make a denial a warning.
pub fn fingerprint(template: Value, record: &Record) -> u64 {
    let mut object = json!({"spec": {"template": template}});
    let containers = Containers::of(&object);
    for field in record.fields().filter(|field| field.is_in_template()) {
        if record.holds(field, containers.find(&object, field))
            && let Some(pointer) = containers.pointer(field)
            && let Ok(value) = object.resolve_mut(&pointer)
        {
            *value = Value::Null;
        }
    }
    let mut template = object.get_mut("spec").and_then(|spec| spec.get_mut("template")).map(Value::take);
    if let Some(template) = &mut template {
        normalize(template);
    }
    let mut hasher = DefaultHasher::new();
    template.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;

    fn of(template: Value, record: Value) -> u64 {
        let object = json!({"metadata": {"annotations": {ANNOTATION: record.to_string()}}});
        fingerprint(template, &Record::read(&object).unwrap().unwrap())
    }

    fn template(fields: Value) -> Value {
        let mut container = json!({"name": "app", "image": "app:v1"});
        container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}})
    }

    #[test]
    fn what_was_injected_is_no_difference() {
        let plain = of(template(json!({})), json!({}));
        let probe = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5});
        let hook = json!({"sleep": {"seconds": 10}});
        let mut injected = template(json!({"readinessProbe": probe, "lifecycle": {"preStop": hook}}));
        injected["metadata"]["labels"]["version"] = json!("v1");
        injected["spec"]["terminationGracePeriodSeconds"] = json!(40);
        let container = "spec.template.spec.containers[app]";
        let mut record = json!({
            "spec.template.metadata.labels[version]": "v1",
            "spec.template.spec.terminationGracePeriodSeconds": 40,
            format!("{container}.readinessProbe"): probe,
            format!("{container}.lifecycle.preStop"): hook,
            "spec.minReadySeconds": 10,
        });
        assert_eq!(of(injected.clone(), record.clone()), plain);
        assert_ne!(of(injected.clone(), json!({})), plain, "the user's own");
        record["spec.template.spec.terminationGracePeriodSeconds"] = json!(50);
        assert_ne!(of(injected, record), plain, "the user changed it");
    }

    #[test]
    fn another_template_is_another() {
        let plain = of(template(json!({})), json!({}));
        for other in [json!({"image": "app:v2"}), json!({"env": [{"name": "A", "value": "1"}]})] {
            assert_ne!(of(template(other.clone()), json!({})), plain, "{other}");
        }
    }
}
