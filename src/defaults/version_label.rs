//! The default `version-label`: dashboards and meshes can tell old from new.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::phrases::plain;
use super::{DefaultRule, Filled};
use crate::kubernetes::image::{ImageReference, contradict, label_value};
use crate::ownership::owners::Owners;
use crate::ownership::record::{InjectedField, Record};
use crate::settings::Settings;
use crate::workload::Workload;

/// The id.
pub const ID: &str = "version-label";

/// The label whose meaning is fixed (kubernetes docs, common-labels). Others,
/// such as `version`, are the user's to define.
pub const WELL_KNOWN_KEY: &str = "app.kubernetes.io/version";

/// The record of this default.
pub const DEFAULT: DefaultRule = DefaultRule {
    id: ID,
    summary: "version labels from the image tag, so that old and new pods can be told apart",
    page: include_str!("version_label.md"),
    satisfies: &["missing-version-label"],
    fields: |field| matches!(field, InjectedField::Label(_) | InjectedField::TemplateLabel(_)),
    name,
    phrase,
    may_not_fit: false,
    in_template: true,
    is_enabled: |settings| settings.version_label.enabled,
    fill,
};

fn fill(workload: &Workload, _: &Owners, settings: &Settings, _: &Record) -> Filled {
    let written = workload.pod_labels();
    // One that contradicts the tag was left behind, and is not copied.
    let tag = tag_of_main_container(workload, settings);
    let is_true = |version: &&&str| !tag.is_some_and(|tag| contradict(version, tag));
    let version = match written.get(WELL_KNOWN_KEY).filter(is_true) {
        Some(version) => Some((*version).to_owned()),
        None => version_of_image(workload, settings),
    };
    let Some(version) = version.filter(|version| !version.is_empty()) else { return Filled::default() };

    let mut fields = BTreeMap::new();
    for key in &settings.version_label.keys {
        // A `version: blue` that the user wrote is a colour, not a version:
        // then this key says nothing about versions here.
        let is_taken = written.contains_key(key.as_str()) && key != WELL_KNOWN_KEY;
        if is_taken || workload.selects_by(key) {
            continue;
        }
        if !written.contains_key(key.as_str()) {
            fields.insert(InjectedField::TemplateLabel(key.clone()), json!(version));
        }
        if !workload.metadata().labels.contains_key(key.as_str()) {
            fields.insert(InjectedField::Label(key.clone()), json!(version));
        }
    }
    Filled { fields: fields.into_iter().collect(), problem: None }
}

/// The tag of the main container's image as a label value. A tag that moves from image to
/// image, such as `latest`, is no version, nor is one that has still to be filled in.
pub fn version_of_image(workload: &Workload, settings: &Settings) -> Option<String> {
    let tag = tag_of_main_container(workload, settings)?;
    (!settings.is_mutable_tag(tag)).then(|| label_value(tag))?
}

fn tag_of_main_container<'a>(workload: &Workload<'a>, settings: &Settings) -> Option<&'a str> {
    let container = workload.main_container(&settings.operational_port_names)?;
    let reference = ImageReference::parse(container.image?).ok()?;
    reference.tag.filter(|_| reference.placeholder().is_none())
}

fn name(field: &InjectedField, value: &Value) -> String {
    format!("label {}={}", key(field), plain(value))
}

fn phrase(field: &InjectedField, _: Option<&Value>, to: Option<&Value>) -> String {
    to.map_or_else(|| format!("label {} removed", key(field)), |to| name(field, to))
}

fn key(field: &InjectedField) -> &str {
    match field {
        InjectedField::Label(key) | InjectedField::TemplateLabel(key) => key,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::Origin;
    use crate::ownership::owners::Change;

    fn deployment(image: &str, template_labels: Value) -> Value {
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": template_labels},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        })
    }

    /// What is injected, as `template key=value` and `key=value`.
    fn filled(object: &Value) -> Vec<String> {
        let filled = fill(
            &Workload::read(object).unwrap(),
            &Owners::read(
                Change::create(Kind::of_document(object), View::of(object), Origin::ApiServer),
                true,
                Vec::new(),
            ),
            &Settings::default(),
            &Record::default(),
        );
        let text = |(field, value): (InjectedField, Value)| match field {
            InjectedField::TemplateLabel(key) => format!("template {key}={}", value.as_str().unwrap()),
            InjectedField::Label(key) => format!("{key}={}", value.as_str().unwrap()),
            other => panic!("{other:?}"),
        };
        filled.fields.into_iter().map(text).collect()
    }

    fn both(version: &str) -> Vec<String> {
        let keys = [WELL_KNOWN_KEY, "version"];
        let own = keys.map(|key| format!("{key}={version}"));
        let template = keys.map(|key| format!("template {key}={version}"));
        own.into_iter().chain(template).collect()
    }

    #[test]
    fn the_tag_becomes_the_version() {
        let plain = json!({"app": "web"});
        assert_eq!(filled(&deployment("app:v1.0", plain.clone())), both("v1.0"));
        let digest = format!("sha256:{}", "0a1b".repeat(16));
        let with_digest = format!("registry:5000/app:v2@{digest}");
        assert_eq!(filled(&deployment(&with_digest, plain.clone())), both("v2"));
        assert_eq!(filled(&deployment("app:_v3_", plain.clone())), both("v3"));
        for none in [
            "app",
            "app:latest",
            "registry:5000/app",
            &format!("app@{digest}"),
            "app:___",
            // Tags that move, by their names.
            "app:edge",
            "app:SNAPSHOT",
            // No tags.
            "app:1.0+build",
            "app: 1.0",
            "App:1.0",
            "app:1.0@sha256:0a1b",
            // Placeholders.
            "app:${TAG}",
            "${REGISTRY}/app:1.0",
            "app:__TAG__",
        ] {
            assert_eq!(filled(&deployment(none, plain.clone())), [""; 0], "{none}");
        }
    }

    #[test]
    fn a_colour_is_no_version_and_is_not_copied() {
        let object = deployment("app:v1.0", json!({"version": "blue"}));
        let key = WELL_KNOWN_KEY;
        assert_eq!(filled(&object), [format!("{key}=v1.0"), format!("template {key}=v1.0")]);
    }

    #[test]
    fn the_well_known_label_is_copied() {
        for (image, copied) in [
            ("app:v1.0.3", "1.0"),
            ("app:latest", "3.1"),
            ("app:1.0.3-alpine", "v1.0.3"),
            // It says nothing against the label.
            ("app:3f2a91c", "3.1"),
            ("${REGISTRY}/app:1.0", "3.1"),
        ] {
            let object = deployment(image, json!({WELL_KNOWN_KEY: copied}));
            let [own, version, template] = ["app.kubernetes.io/version", "version", "template version"]
                .map(|key| format!("{key}={copied}"));
            assert_eq!(filled(&object), [own, version, template], "{image}");
        }
    }

    #[test]
    fn a_well_known_label_that_contradicts_the_tag_is_not_copied() {
        for (image, label, version) in
            [("app:v1.0", "3.1", "v1.0"), ("app:7.4.2-alpine", "v7.4.0", "7.4.2-alpine")]
        {
            let object = deployment(image, json!({WELL_KNOWN_KEY: label}));
            let [own, other, template] = ["app.kubernetes.io/version", "version", "template version"]
                .map(|key| format!("{key}={version}"));
            assert_eq!(filled(&object), [own, other, template], "{image}");
        }
    }

    #[test]
    fn keys_of_the_selector_are_never_added() {
        let mut object = deployment("app:v1.0", json!({}));
        object["spec"]["selector"] =
            json!({"matchExpressions": [{"key": "version", "operator": "DoesNotExist"}]});
        let key = WELL_KNOWN_KEY;
        assert_eq!(filled(&object), [format!("{key}=v1.0"), format!("template {key}=v1.0")]);
    }
}
