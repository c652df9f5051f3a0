//! The rule `version-label-mismatch`.

use super::{Check, Needs, Rule};
use crate::defaults::version_label::WELL_KNOWN_KEY;
use crate::finding::{Action, Finding};
use crate::kubernetes::image::{ImageReference, contradict};
use crate::kubernetes::kind::Kind;
use crate::ownership::record::InjectedField;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "version-label-mismatch",
    summary: "a version label that contradicts the image tag",
    page: include_str!("version_label_mismatch.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let main = workload.main_container(&settings.operational_port_names);
    let image = main.and_then(|container| container.image);
    let Some(tag) = image.and_then(|image| ImageReference::parse(image).ok()?.tag) else { return Vec::new() };
    let key = WELL_KNOWN_KEY.to_owned();
    let is_selected = workload.selects_by(WELL_KNOWN_KEY);
    let labels = [
        (workload.pod_labels().get(WELL_KNOWN_KEY), InjectedField::TemplateLabel(key.clone())),
        (workload.metadata().labels.get(WELL_KNOWN_KEY), InjectedField::Label(key)),
    ];
    let finding = |(label, field): (Option<&&str>, InjectedField)| {
        let label = *label?;
        if workload.is_injected(&field) || !contradict(label, tag) {
            return None;
        }
        let message =
            format!("{label} contradicts the image tag {tag}: metrics and meshes report the wrong version");
        let fix = match (&field, is_selected) {
            (_, false) => {
                "write the version of the image, or remove the label: gapless takes it from the tag"
            }
            (InjectedField::TemplateLabel(_), true) => {
                "keep it, for the selector holds this key and cannot be changed; tell releases apart by the label version, and select by other labels when the workload is created anew"
            }
            (_, true) => "write the version of the image: this label is not the one that the selector holds",
        };
        Some(Finding::invalid(RULE.id, field.path(), message, fix))
    };
    labels.into_iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::record::ANNOTATION;
    use crate::rules::testing::{found, messages, web};
    use serde_json::{Value, json};

    fn deployment(label: &str, image: &str) -> Value {
        let mut object = web();
        object["spec"]["template"]["metadata"]["labels"][WELL_KNOWN_KEY] = json!(label);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        object
    }

    #[test]
    fn two_versions_that_cannot_both_be_true() {
        for (label, image) in [
            ("1.2.2", "app:1.2.3"),
            ("v1", "app:v2"),
            ("1.2.3", "app:v1.2.4-alpine"),
            (
                "v2.0",
                "registry:5000/team/app:1.9@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b",
            ),
            ("1.2.3-rc1", "app:1.3.0-rc1"),
            ("2.5.0.RELEASE", "app:2.6.1.RELEASE"),
            ("2.2.0", "app:2.1.0rc1"),
            ("1.2.3", "app:1.3.x"),
        ] {
            assert_eq!(messages(&RULE, &deployment(label, image)).len(), 1, "{label} {image}");
        }
    }

    #[test]
    fn the_same_version_in_other_words() {
        for (label, image) in [
            ("1.2.3", "app:1.2.3"),
            ("1.2.3", "app:v1.2.3"),
            ("v1.2.3", "app:1.2.3-alpine"),
            ("1.2.3-debian", "app:1.2.3-alpine3.19"),
            ("1.2", "app:1.2.3"),
            ("1.2.3", "app:v1.2"),
            ("1.2.3_build4", "app:1.2.3"),
            ("v2.1.0", "app:2.1.0-alpine"),
            ("2024.1", "app:2024.01"),
            ("2.5.0", "app:2.5.0.RELEASE"),
            ("1.2.3", "app:1.2.x"),
        ] {
            assert!(messages(&RULE, &deployment(label, image)).is_empty(), "{label} {image}");
        }
    }

    #[test]
    fn what_names_no_version_contradicts_nothing() {
        for (label, image) in [
            ("1.2.3", "app:3f2a91c"),
            ("1.2.3", "app:1234567"),
            ("1.2.3", "app:20261123"),
            ("1.2.3", "app:main"),
            ("1.2.3", "app:1.9.0+build"),
            ("1.2.3", "${REGISTRY}/app:1.9.0"),
            ("1.2.3", "app:__TAG__"),
            ("1.2.3", "app:latest"),
            ("1.2.3", "app"),
            ("1.2.3", "registry:5000/app"),
            ("1.2.3", "app@sha256:0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"),
            ("1.2.3", "app:alpine-3.19"),
            ("blue", "app:v2.0"),
            ("", "app:v2.0"),
            ("v", "app:v2.0"),
            ("vnext", "app:v2.0"),
        ] {
            assert!(messages(&RULE, &deployment(label, image)).is_empty(), "{label} {image}");
        }
    }

    #[test]
    fn the_deployments_own_label_counts_and_another_key_does_not() {
        let mut object = deployment("v1", "app:v1");
        object["metadata"]["labels"] = json!({WELL_KNOWN_KEY: "v2"});
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(fields, ["metadata.labels[app.kubernetes.io/version]"]);
        object["metadata"]["labels"] = json!({"version": "v2"});
        object["spec"]["template"]["metadata"]["labels"]["version"] = json!("v2");
        assert!(found(&RULE, &object).is_empty());
    }

    #[test]
    fn advice_that_can_be_followed_where_the_selector_holds_the_key() {
        let mut object = deployment("1.18", "app:1.19.4");
        object["metadata"]["labels"] = json!({WELL_KNOWN_KEY: "1.18"});
        let fixes = |object: &Value| -> Vec<String> {
            found(&RULE, object).into_iter().map(|finding| finding.fix).collect()
        };
        assert!(fixes(&object).iter().all(|fix| fix.contains("remove the label")), "{:?}", fixes(&object));
        for selector in [
            json!({"matchLabels": {"app": "web", WELL_KNOWN_KEY: "1.18"}}),
            json!({"matchExpressions": [{"key": WELL_KNOWN_KEY, "operator": "Exists"}]}),
        ] {
            object["spec"]["selector"] = selector;
            let fixes = fixes(&object);
            assert!(fixes[0].starts_with("keep it, for the selector holds this key"), "{fixes:?}");
            assert!(fixes[1].starts_with("write the version of the image: this label is not"), "{fixes:?}");
        }
    }

    #[test]
    fn of_several_containers_only_the_main_one_counts() {
        let mut object = deployment("v1", "app:v1");
        let sidecar = json!({"name": "sidecar", "image": "sidecar:v9"});
        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
        assert!(found(&RULE, &object).is_empty());
        object["spec"]["template"]["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/default-container": "sidecar"});
        assert_eq!(found(&RULE, &object).len(), 1);
    }

    #[test]
    fn an_injected_label_is_not_blamed_on_the_user() {
        let mut object = deployment("v1", "app:v2");
        let record = json!({"spec.template.metadata.labels[app.kubernetes.io/version]": "v1"});
        object["metadata"]["annotations"] = json!({ANNOTATION: record.to_string()});
        assert!(found(&RULE, &object).is_empty());
    }
}
