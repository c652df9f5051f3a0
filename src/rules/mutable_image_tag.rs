//! The rule `mutable-image-tag`.

use super::{Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::image::ImageReference;
use crate::workload::object::Container;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "mutable-image-tag",
    summary: "an image whose tag moves, so that pods of one revision may differ",
    page: include_str!("mutable_image_tag.md"),
    production: Action::Deny,
    development: Action::Off,
    judges_scaled_to_zero: true,
    needs: Needs::Nothing,
    check,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let regular = workload.containers().iter().map(|container| (container, "spec.template.spec.containers"));
    let init = workload
        .pod()
        .init_containers
        .iter()
        .map(|container| (container, "spec.template.spec.initContainers"));
    regular.chain(init).filter_map(|(container, list)| check_container(container, list, settings)).collect()
}

fn check_container(container: &Container, list: &'static str, settings: &Settings) -> Option<Finding> {
    let image = container.image?;
    let reference = ImageReference::parse(image);
    if reference.digest.is_some() {
        return None;
    }
    let what = match reference.tag {
        None => "has no tag, which means latest".to_owned(),
        Some(tag) if settings.mutable_tags.iter().any(|mutable| mutable == tag) => {
            format!("has the tag {tag}")
        }
        Some(_) => return None,
    };
    let message =
        format!("image {image} {what}: it changes under its name, and a rollback brings nothing back");
    let field = FieldPath::new(list).item(container.name).field("image");
    Some(Finding::invalid(
        RULE.id,
        field,
        message,
        "name a version or a digest, such as app:v1.2.3 or app@sha256:...",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web};
    use serde_json::json;

    #[test]
    fn latest_or_no_tag() {
        for (image, count) in [
            ("app", 1),
            ("app:latest", 1),
            ("registry:5000/app", 1),
            ("app:v1", 0),
            ("app:latest-v1", 0),
            ("app@sha256:0a1b", 0),
            ("app:latest@sha256:0a1b", 0),
        ] {
            let mut object = web();
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            assert_eq!(found(&RULE, &object).len(), count, "{image}");
        }
    }

    #[test]
    fn init_containers_count_too() {
        let mut object = web();
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "migrate", "image": "db"}]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(fields, ["spec.template.spec.initContainers[migrate].image"]);
    }
}
