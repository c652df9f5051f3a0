//! The rule `missing-version-label`.

use super::{Check, Needs, Rule};
use crate::defaults::version_label::{WELL_KNOWN_KEY, version_of_image};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::image::ImageReference;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::containers::DEFAULT_CONTAINER;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "missing-version-label",
    summary: "no version label, and no image tag to take one from",
    page: include_str!("missing_version_label.md"),
    kinds: &Kind::ALL,
    production: Action::Audit,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let labels = workload.pod_labels();
    let keys = settings.version_label.keys.iter().map(String::as_str).chain([WELL_KNOWN_KEY]);
    let is_labelled = keys.into_iter().any(|key| labels.get(key).is_some_and(|value| !value.is_empty()));
    // Of pods that are described elsewhere nothing is known.
    if is_labelled || workload.refers_to_template() || version_of_image(workload, settings).is_some() {
        return Vec::new();
    }
    let message =
        format!("{}: old and new pods look alike to metrics and meshes", why_none(workload, settings));
    let field = FieldPath::new("spec.template.metadata.labels").key(WELL_KNOWN_KEY);
    vec![Finding::required(
        RULE.id,
        field,
        message,
        "label the pod template with its version, or tag the image",
    )]
}

/// Why no version could be derived.
fn why_none(workload: &Workload, settings: &Settings) -> String {
    let Some(container) = workload.main_container(&settings.operational_port_names) else {
        return format!("no annotation {DEFAULT_CONTAINER} says which container has the version");
    };
    match container.image.map(ImageReference::parse) {
        Some(Ok(ImageReference { tag: Some(tag), .. })) => {
            format!("the tag {tag} of container {} is no version", container.name)
        }
        Some(Err(_)) => format!("the image of container {} is no reference", container.name),
        _ => format!("the image of container {} has no tag", container.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, messages, web};
    use serde_json::{Value, json};

    fn deployment(labels: Value, image: &str) -> Value {
        let mut object = web();
        object["spec"]["template"]["metadata"]["labels"] = labels;
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        object
    }

    #[test]
    fn neither_a_label_nor_a_tag() {
        let table = [
            (
                "app@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b",
                "the image of container app has no tag",
            ),
            ("app", "the image of container app has no tag"),
            ("app:${TAG}", "the image of container app is no reference"),
            ("app:__TAG__", "the tag __TAG__ of container app is no version"),
            ("app:edge", "the tag edge of container app is no version"),
            ("app:latest", "the tag latest of container app is no version"),
            ("app:___", "the tag ___ of container app is no version"),
        ];
        for (image, why) in table {
            let expected = format!("{why}: old and new pods look alike to metrics and meshes");
            assert_eq!(messages(&RULE, &deployment(json!({"app": "web"}), image)), [expected]);
        }
        assert_eq!(messages(&RULE, &deployment(json!({"version": ""}), "app")).len(), 1);
    }

    #[test]
    fn any_version_label_will_do() {
        for labels in [json!({WELL_KNOWN_KEY: "1.2"}), json!({"version": "blue"})] {
            assert!(
                found(
                    &RULE,
                    &deployment(
                        labels,
                        "app@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"
                    )
                )
                .is_empty()
            );
        }
        // Nobody reads the Deployment's own labels beside a pod's metrics.
        let mut object = deployment(
            json!({"app": "web"}),
            "app@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b",
        );
        object["metadata"]["labels"] = json!({WELL_KNOWN_KEY: "1.2"});
        assert_eq!(found(&RULE, &object).len(), 1);
    }

    #[test]
    fn a_version_that_could_be_derived_is_not_the_users_fault() {
        assert!(found(&RULE, &deployment(json!({"app": "web"}), "app:v1.2")).is_empty());
        assert!(
            found(
                &RULE,
                &deployment(
                    json!({"app": "web"}),
                    "app:v1.2@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"
                )
            )
            .is_empty()
        );
    }

    #[test]
    fn of_several_containers_none_may_be_the_main_one() {
        let mut object = deployment(json!({"app": "web"}), "app:v1");
        let second = json!({"name": "second", "image": "second:v1", "ports": [{"containerPort": 81}]});
        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(second);
        let messages = messages(&RULE, &object);
        assert!(messages[0].contains(DEFAULT_CONTAINER), "{messages:?}");
    }
}
