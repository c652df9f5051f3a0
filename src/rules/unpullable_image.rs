//! The rule `unpullable-image`.

use super::cel::{Cel, is_image_reference, of_all_containers};
use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::image::{ImageReference, NoReference};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::images::PulledImage;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "unpullable-image",
    summary: "an image that no kubelet can pull, because its name is no reference",
    page: include_str!("unpullable_image.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Warn,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    // Triggers of OpenShift replace blanks; of which container, CEL cannot read.
    finds: || {
        let is_final = "!(c.image.trim() == '' && 'image.openshift.io/triggers' in {annotations})";
        of_all_containers("image", &format!("!{}\n  && {is_final}", is_image_reference("c.image")))
    },
    // A tag that looks unfinished is noted.
    found_before: Some(|| {
        of_all_containers(
            "image",
            &format!("!{}\n  || c.image.contains('__')", is_image_reference("c.image")),
        )
    }),
    message: "the image cannot be pulled, because it is no reference: no new pod starts",
    fix: "write registry.example/app:v1.2.3, in lower case, without blanks and with placeholders filled in",
};

const FILL_IN: &str =
    "run the tool that fills it in first, and apply or check what comes out; nothing does so in the cluster";

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let finding = |pulled: PulledImage| {
        let image = pulled.image;
        match ImageReference::parse(image) {
            Err(why) => {
                let message = format!("image {image} cannot be pulled: {why}; no new pod starts");
                Some(Finding::invalid(RULE.id, pulled.field(), message, fix(why)))
            }
            // A legal tag, which somebody may have pushed.
            Ok(reference) => reference.placeholder().map(|placeholder| {
                let message = format!(
                    "image {image} has a tag that looks unfinished: {placeholder} is a placeholder that has to be filled in first"
                );
                Finding::invalid(RULE.id, pulled.field(), message, FILL_IN).at_most(Action::Audit)
            }),
        }
    };
    workload.pulled_images().filter_map(finding).collect()
}

fn fix(why: NoReference) -> &'static str {
    match why {
        NoReference::Placeholder(_) => FILL_IN,
        NoReference::Blank => "write the image without blanks, such as registry.example/app:v1.2.3",
        NoReference::Scheme(_) => "write the registry without it, as in registry.example/app:v1.2.3",
        NoReference::UpperCase(_) => {
            "write the repository in lower case; a registry's name may have upper case"
        }
        NoReference::Domain(_) => {
            "write a host with an optional port, as in registry.example:5000/app:v1.2.3"
        }
        NoReference::Repository(_) => {
            "write a-z and 0-9, with '.', '_', '__' or '-' between them only, and '/' between the parts"
        }
        NoReference::Tag(_) => {
            "write at most 128 letters, digits, '_', '.' and '-' behind the colon, with no '.' or '-' in front (quote a number in a template)"
        }
        NoReference::Digest(_) => "write the whole digest, sha256: and 64 of 0-9 and a-f",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web, with_image};
    use serde_json::json;

    #[test]
    fn what_is_no_reference_denies_and_says_why() {
        for (image, why) in [
            ("app:2.0241101e+07", "2.0241101e+07 is no tag"),
            ("registry.example/Billing/app:v1", "the repository Billing/app has upper case letters"),
            ("app: v1", "an image reference has no blanks"),
            (" ", "an image reference has no blanks"),
            ("https://registry.example/app", "an image reference does not begin with https://"),
            ("app:", "it has a colon and no tag behind it"),
            ("app@sha256:0a1b", "sha256:0a1b is no digest"),
            ("${REGISTRY}/app:v1", "${REGISTRY} is a placeholder that has to be filled in first"),
        ] {
            let findings = found(&RULE, &with_image(image));
            assert_eq!(findings.len(), 1, "{image}");
            let expected = format!("image {image} cannot be pulled: {why}; no new pod starts");
            assert_eq!(
                (findings[0].message.as_str(), findings[0].at_most),
                (expected.as_str(), Action::Deny)
            );
            assert_eq!(findings[0].field.to_string(), "spec.template.spec.containers[app].image");
        }
    }

    #[test]
    fn a_legal_tag_that_looks_like_a_placeholder_is_only_noted() {
        let findings = found(&RULE, &with_image("app:__TAG__"));
        assert_eq!(findings[0].at_most, Action::Audit);
        assert!(findings[0].message.contains("__TAG__ is a placeholder"), "{findings:?}");
    }

    #[test]
    fn references_and_what_is_filled_in_later_are_fine() {
        for image in ["app", "app:latest", "registry:5000/app:v1", "[::1]:5000/app:v1"] {
            assert!(found(&RULE, &with_image(image)).is_empty(), "{image}");
        }
        let mut blank = with_image(" ");
        blank["metadata"]["annotations"] = json!({"image.openshift.io/triggers": "[{}]"});
        assert!(found(&RULE, &blank).is_empty());
    }

    #[test]
    fn init_containers_count_too() {
        let mut object = web();
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "migrate", "image": "DB"}]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(fields, ["spec.template.spec.initContainers[migrate].image"]);
    }
}
