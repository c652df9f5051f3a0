//! The rule `mutable-image-tag`.

use super::cel::{Cel, is_image_reference, of_all_containers};
use super::{Check, Needs, Rule};
use crate::finding::{Action, Finding};
use crate::kubernetes::image::ImageReference;
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::images::PulledImage;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "mutable-image-tag",
    summary: "an image whose tag moves, so that pods of one revision may differ",
    page: include_str!("mutable_image_tag.md"),
    kinds: &Kind::ALL,
    production: Action::Deny,
    development: Action::Off,
    judges_scaled_to_zero: true,
    loses_requests: false,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: Some(CEL),
};

const CEL: Cel = Cel {
    // Istio's injector replaces the image auto.
    finds: || {
        let is_latest = "c.image.matches(r'^([^@]*/)?[^/:@]+(:latest)?$')\n  \
                         && !(c.image == 'auto' && variables.asksForIstio)";
        of_all_containers("image", &format!("{is_latest}\n  && {}", is_image_reference("c.image")))
    },
    found_before: Some(|| {
        let moves = "!c.image.contains('@') && (c.image.matches(r'^(.*/)?[^/:]*(:latest)?$')\n  \
                     || variables.mutableTags.exists(tag, c.image.lowerAscii().endsWith(':' + tag.lowerAscii())))";
        of_all_containers("image", moves)
    }),
    message: "no tag, or the tag latest: the image changes under its name, and a rollback brings nothing back",
    fix: "name a version or a digest, such as app:v1.2.3 or app@sha256:...",
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    workload.pulled_images().filter_map(|pulled| check_image(pulled, settings)).collect()
}

fn check_image(pulled: PulledImage, settings: &Settings) -> Option<Finding> {
    let image = pulled.image;
    // unpullable-image judges what is no reference.
    let reference = ImageReference::parse(image).ok().filter(|reference| reference.digest.is_none())?;
    let (what, at_most) = match reference.tag {
        None => ("has no tag, which means latest".to_owned(), Action::Deny),
        Some("latest") => ("has the tag latest".to_owned(), Action::Deny),
        // By its name only: somebody may well use it for one image for ever.
        Some(tag) if settings.is_mutable_tag(tag) => (format!("has the tag {tag}"), Action::Warn),
        Some(_) => return None,
    };
    let message =
        format!("image {image} {what}: it changes under its name, and a rollback brings nothing back");
    let fix = "name a version or a digest, such as app:v1.2.3 or app@sha256:...";
    Some(Finding::invalid(RULE.id, pulled.field(), message, fix).at_most(at_most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, web, with_image};
    use serde_json::json;

    #[test]
    fn latest_or_no_tag_denies_and_other_moving_tags_warn() {
        let digest = format!("sha256:{}", "0a1b".repeat(16));
        for (image, expected) in [
            ("app", Some(Action::Deny)),
            ("auto", Some(Action::Deny)),
            ("app:latest", Some(Action::Deny)),
            ("registry:5000/app", Some(Action::Deny)),
            ("[::1]:5000/app", Some(Action::Deny)),
            ("app:main", Some(Action::Warn)),
            ("app:master", Some(Action::Warn)),
            ("app:trunk", Some(Action::Warn)),
            ("app:develop", Some(Action::Warn)),
            ("app:dev", Some(Action::Warn)),
            ("registry:5000/app:edge", Some(Action::Warn)),
            ("app:nightly", Some(Action::Warn)),
            ("app:SNAPSHOT", Some(Action::Warn)),
            // Another tag for the registry, and for the API server's imagePullPolicy.
            ("app:Latest", Some(Action::Warn)),
            ("app:v1", None),
            ("app:latest-v1", None),
            ("app:dev-3f2a91c", None),
            (&format!("app@{digest}"), None),
            (&format!("app:latest@{digest}"), None),
            (&format!("app:edge@{digest}"), None),
        ] {
            let actions: Vec<_> =
                found(&RULE, &with_image(image)).iter().map(|finding| finding.at_most).collect();
            assert_eq!(actions, expected.into_iter().collect::<Vec<_>>(), "{image}");
        }
    }

    #[test]
    fn what_is_no_reference_has_no_tag_that_could_move() {
        for image in ["App", "${IMAGE}", "app:", " ", "app@sha256:0a1b", "registry.example/app :latest"] {
            assert!(found(&RULE, &with_image(image)).is_empty(), "{image}");
        }
    }

    #[test]
    fn the_profile_says_which_tags_move() {
        let object = with_image("app:stable");
        let workload = Workload::read(&object).unwrap();
        let settings = Settings { mutable_tags: vec!["stable".to_owned()], ..Settings::default() };
        let findings = check(&workload, &settings);
        assert_eq!(findings.iter().map(|it| it.at_most).collect::<Vec<_>>(), [Action::Warn]);
        let latest = with_image("app:latest");
        assert_eq!(check(&Workload::read(&latest).unwrap(), &settings).len(), 1, "latest always does");
    }

    #[test]
    fn an_image_that_istio_replaces_is_not_pulled() {
        let mut object = with_image("auto");
        object["spec"]["template"]["metadata"]["annotations"] =
            json!({"inject.istio.io/templates": "gateway"});
        assert!(found(&RULE, &object).is_empty());
    }

    #[test]
    fn init_containers_count_too() {
        let mut object = web();
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "migrate", "image": "db"}]);
        let fields: Vec<_> = found(&RULE, &object).iter().map(|finding| finding.field.to_string()).collect();
        assert_eq!(fields, ["spec.template.spec.initContainers[migrate].image"]);
    }
}
