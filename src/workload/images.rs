//! The images of a workload.

use serde_json::Value;

use super::Workload;
use super::containers::Listed;
use super::object::Container;
use crate::field::FieldPath;

/// What OpenShift's image triggers are written in, on the workload itself (openshift docs,
/// "Triggering updates on image stream changes").
const OPENSHIFT_TRIGGERS: &str = "image.openshift.io/triggers";

/// The image that Istio's injector replaces by that of its template (istio,
/// pkg/kube/inject/inject.go, `AutoImage`).
const ISTIO_IMAGE: &str = "auto";

/// Labels and annotations of a pod that ask for Istio's injector (istio docs,
/// reference/config/labels and reference/config/annotations).
const ISTIO_INJECTION: [&str; 3] = ["sidecar.istio.io/inject", "inject.istio.io/templates", "istio.io/rev"];

/// An image that is pulled as it is written.
#[derive(Clone, Copy, Debug)]
pub struct PulledImage<'w, 'a> {
    /// What is written.
    pub image: &'a str,
    container: Listed<'w, 'a>,
}

impl PulledImage<'_, '_> {
    /// The field that holds it.
    pub fn field(&self) -> FieldPath {
        self.container.path().field("image")
    }
}

impl<'a> Workload<'a> {
    /// The images that are pulled as they are written: those of regular and init containers,
    /// but for what another component is going to write over.
    pub fn pulled_images(&self) -> impl Iterator<Item = PulledImage<'_, 'a>> {
        self.all_containers().filter_map(|listed| {
            // Without one there is nothing to pull: the API server refuses that.
            let image = listed.container.image.filter(|image| !image.is_empty())?;
            let pulled = PulledImage { image, container: listed };
            (!self.is_filled_in_later(listed.container)).then_some(pulled)
        })
    }

    /// Whether another component replaces the image of this container before it is pulled.
    fn is_filled_in_later(&self, container: &Container) -> bool {
        match container.image.unwrap_or_default() {
            ISTIO_IMAGE => self.asks_for_istio(),
            image => image.trim().is_empty() && self.is_triggered(container),
        }
    }

    fn asks_for_istio(&self) -> bool {
        let pod = &self.template().metadata;
        let value = |key| pod.labels.get(key).or_else(|| pod.annotations.get(key)).copied();
        ISTIO_INJECTION.into_iter().filter_map(value).any(|value| !matches!(value, "" | "false"))
            && value("sidecar.istio.io/inject") != Some("false")
    }

    /// Whether a trigger of OpenShift's writes the image of this container. One that
    /// cannot be read is given the benefit of the doubt.
    fn is_triggered(&self, container: &Container) -> bool {
        let Some(triggers) = self.annotation(OPENSHIFT_TRIGGERS) else { return false };
        let Ok(Value::Array(triggers)) = serde_json::from_str(triggers) else { return true };
        let path = |trigger: &Value| trigger.get("fieldPath")?.as_str().map(str::to_owned);
        let names = |path: &str| match path.split_once("@.name==") {
            Some((_, name)) => {
                let name = name.trim_start_matches(['"', '\'', '\\']);
                let end =
                    name.find(|it: char| !it.is_ascii_alphanumeric() && it != '-').unwrap_or(name.len());
                name.get(..end) == Some(container.name)
            }
            // By its index, say.
            None => true,
        };
        triggers.iter().any(|trigger| path(trigger).is_none_or(|path| names(&path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pulled(object: &Value) -> Vec<String> {
        Workload::read(object).unwrap().pulled_images().map(|it| it.field().to_string()).collect()
    }

    #[test]
    fn images_of_all_containers_that_have_one() {
        let object = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "app", "image": "app:v1"}, {"name": "none"}, {"name": "empty", "image": ""}],
            "initContainers": [{"name": "migrate", "image": "migrate:v1"}],
        }}}});
        let path = "spec.template.spec";
        assert_eq!(
            pulled(&object),
            [format!("{path}.containers[app].image"), format!("{path}.initContainers[migrate].image")]
        );
    }

    #[test]
    fn blanks_are_filled_in_by_a_trigger_of_openshift_only() {
        let trigger =
            |path: &str| json!([{"from": {"kind": "ImageStreamTag"}, "fieldPath": path}]).to_string();
        let of_app = trigger("spec.template.spec.containers[?(@.name==\"app\")].image");
        let of_other = trigger("spec.template.spec.containers[?(@.name==\"other\")].image");
        let by_index = trigger("spec.template.spec.containers[0].image");
        let object = |image: &str, key: &str, value: &str| {
            json!({
                "metadata": {"annotations": {key: value}},
                "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
            })
        };
        for (image, key, value, count) in [
            (" ", OPENSHIFT_TRIGGERS, of_app.as_str(), 0),
            ("   ", OPENSHIFT_TRIGGERS, &by_index, 0),
            (" ", OPENSHIFT_TRIGGERS, "no JSON", 0),
            (" ", OPENSHIFT_TRIGGERS, &of_other, 1),
            (" ", OPENSHIFT_TRIGGERS, "[]", 1),
            ("app:latest", OPENSHIFT_TRIGGERS, &of_app, 1),
            (" ", "note", "none", 1),
        ] {
            assert_eq!(pulled(&object(image, key, value)).len(), count, "{image:?} {key} {value}");
        }
    }

    #[test]
    fn auto_is_filled_in_where_the_pod_asks_for_istio() {
        let object = |labels: Value, annotations: Value, own: Value| {
            json!({
                "metadata": {"labels": own},
                "spec": {"template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": {"containers": [{"name": "istio-proxy", "image": "auto"}]},
                }},
            })
        };
        let none = json!({});
        let inject = |value: &str| json!({"sidecar.istio.io/inject": value});
        for (labels, annotations, own, count) in [
            (inject("true"), none.clone(), none.clone(), 0),
            (none.clone(), inject("true"), none.clone(), 0),
            (json!({"istio.io/rev": "canary"}), none.clone(), none.clone(), 0),
            (none.clone(), json!({"inject.istio.io/templates": "gateway"}), none.clone(), 0),
            (inject("false"), none.clone(), none.clone(), 1),
            (inject("false"), json!({"inject.istio.io/templates": "gateway"}), none.clone(), 1),
            // Istio looks at pods.
            (none.clone(), none.clone(), inject("true"), 1),
            (none.clone(), none.clone(), none.clone(), 1),
        ] {
            let object = object(labels, annotations, own);
            assert_eq!(pulled(&object).len(), count, "{object}");
        }
    }
}
