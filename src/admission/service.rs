//! The update of a Service: whether it switches to pods that are not there yet.

use jiff::civil::Date;
use serde_json::Value;

use super::envelope::Request;
use super::verdict::{Judged, judge_switch};
use super::{Review, ReviewError, Terms, gates, is_id, malformed, required};
use crate::finding::Problem;
use crate::policy::Profile;
use crate::surroundings::Backend;
use crate::surroundings::neighbour::service_selector;
use crate::waiver::ActiveWaivers;
use crate::workload::object::ObjectMeta;

/// Judges the update of a Service.
pub(super) fn validate(
    review: Review,
    request: &Request,
    profile: &Profile,
    terms: Terms,
) -> Result<Review, ReviewError> {
    let service = &required(request, &request.object, "object")?.tree;
    let old = &required(request, &request.old_object, "oldObject")?.tree;
    let metadata =
        metadata(service).map_err(|error| malformed(request, format!("request.object.metadata: {error}")))?;
    if let Some(skip) = gates::skip_service(request, &metadata, terms.policy) {
        return Ok(review.skipped(request, skip));
    }
    let backends = match (service_selector(old), service_selector(service)) {
        (old, Some(new)) if old.as_ref() != Some(&new) => {
            terms.surroundings.behind(&new, request.namespace.as_deref())
        }
        _ => Vec::new(),
    };
    let waivers = waivers(&metadata, profile, terms.today);
    let judged = judge_switch(&backends, profile, &waivers);
    Ok(review.judged(request, &judged, &waivers, profile, false))
}

/// Judges a Service from a file, whose selector changes to the pods of these workloads:
/// its findings, and the annotations that have no effect.
///
/// # Errors
/// If its metadata cannot be read.
pub fn assess_switch(
    service: &Value,
    backends: &[Backend],
    profile: &Profile,
    today: Date,
) -> Result<(Vec<Judged>, Vec<Problem>), serde_json::Error> {
    let metadata = metadata(service)?;
    let waivers = waivers(&metadata, profile, today);
    Ok((judge_switch(backends, profile, &waivers), waivers.problems().to_vec()))
}

fn metadata(service: &Value) -> Result<ObjectMeta<'_>, serde_json::Error> {
    service.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)
}

fn waivers<'a>(metadata: &ObjectMeta<'a>, profile: &Profile, today: Date) -> ActiveWaivers<'a> {
    ActiveWaivers::in_annotations(&metadata.annotations, profile.waivers, today, is_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Decision, Outcome, Phase, Skip, review};
    use super::*;
    use crate::finding::Action;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::label_selector::StringMap;
    use crate::policy::{Exemptions, Policy};
    use crate::rules::RULES;
    use crate::surroundings::{Around, Revisions, Surroundings};

    const RULE: &str = "switch-to-unready";

    /// Knows the pods of one Deployment.
    #[derive(Debug)]
    struct Green {
        has_pods: bool,
    }

    impl Around for Green {
        fn around(&self, _: Kind, _: &Value, _: Option<&str>) -> Surroundings {
            Surroundings::default()
        }

        fn revisions(&self, _: Kind, _: Option<&str>, _: &str) -> Revisions {
            Revisions::Unknown
        }

        fn behind(&self, selector: &StringMap, namespace: Option<&str>) -> Vec<Backend> {
            let workload = "Deployment green".to_owned();
            match (selector.get("track"), namespace) {
                (Some(&"green"), Some("shop")) => vec![Backend { workload, has_pods: self.has_pods }],
                _ => Vec::new(),
            }
        }
    }

    fn service(spec: &Value) -> Value {
        json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    }

    fn selecting(track: &str) -> Value {
        service(&json!({"selector": {"app": "web", "track": track}}))
    }

    /// The update of a Service, with these changes to the request.
    fn update(old: &Value, new: &Value, changes: &Value) -> Vec<u8> {
        let mut request = json!({
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "namespace": "shop", "name": "web",
            "operation": "UPDATE",
            "userInfo": {"username": "jane"},
            "object": new, "oldObject": old,
        });
        for (key, value) in changes.as_object().unwrap() {
            request[key] = value.clone();
        }
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        review.to_string().into_bytes()
    }

    fn asked(policy: &Policy, around: &dyn Around, phase: Phase, body: &[u8]) -> Review {
        let today = jiff::civil::date(2026, 11, 23);
        review(Terms { policy, profile: None, today, surroundings: around }, phase, body).unwrap()
    }

    fn production() -> Policy {
        Policy::new("production").unwrap()
    }

    /// What comes of the update while no green pod is there.
    fn outcomes(old: &Value, new: &Value) -> Vec<(&'static str, Outcome)> {
        let body = update(old, new, &json!({}));
        asked(&production(), &Green { has_pods: false }, Phase::Validate, &body).findings
    }

    #[test]
    fn a_switch_to_pods_that_are_not_there_is_warned_about() {
        let body = update(&selecting("blue"), &selecting("green"), &json!({}));
        let early = asked(&production(), &Green { has_pods: false }, Phase::Validate, &body);
        assert_eq!((early.decision, early.skip), (Decision::Allow, None));
        assert_eq!(early.findings, [(RULE, Outcome::Warn)]);
        let warnings = early.response.response.warnings;
        assert_eq!(
            warnings,
            ["gapless: spec.selector: switches to pods of Deployment green, and none is available \
              (switch-to-unready)"]
        );
        let in_time = asked(&production(), &Green { has_pods: true }, Phase::Validate, &body);
        assert_eq!((in_time.findings, in_time.response.response.warnings), (vec![], vec![]));
        // Nobody knows.
        let alone = asked(&production(), &crate::surroundings::NONE, Phase::Validate, &body);
        assert_eq!(alone.findings, []);
    }

    #[test]
    fn only_a_selector_that_changes_and_selects_is_a_switch() {
        let warned = vec![(RULE, Outcome::Warn)];
        let (blue, green) = (selecting("blue"), selecting("green"));
        let mut in_other_order = service(&json!({"selector": {"track": "green", "app": "web"}}));
        in_other_order["spec"]["ports"] = json!([{"port": 80}]);
        let external = service(&json!({"type": "ExternalName", "externalName": "a.example"}));
        let mut external_green = green.clone();
        external_green["spec"]["type"] = json!("ExternalName");
        for (old, new, expected) in [
            (&blue, &green, warned.clone()),
            (&green, &in_other_order, vec![]),
            (&green, &blue, vec![]),
            (&blue, &external, vec![]),
            (&blue, &external_green, vec![]),
            (&blue, &service(&json!({})), vec![]),
            (&blue, &service(&json!({"selector": ["green"]})), vec![]),
            (&external, &green, warned.clone()),
            (&service(&json!({})), &green, warned),
        ] {
            assert_eq!(outcomes(old, new), expected, "{old} {new}");
        }
    }

    #[test]
    fn a_reason_waives_it() {
        let annotated = |reason: &str| {
            let mut green = selecting("green");
            green["metadata"]["annotations"] = json!({"gapless.dev/waive.switch-to-unready": reason});
            green
        };
        assert_eq!(outcomes(&selecting("blue"), &annotated("at night")), [(RULE, Outcome::Waived)]);
        let expired = update(&selecting("blue"), &annotated("until 2026-11-22"), &json!({}));
        let expired = asked(&production(), &Green { has_pods: false }, Phase::Validate, &expired);
        assert_eq!(expired.findings, [(RULE, Outcome::Warn)]);
        assert!(expired.response.response.warnings[1].contains("expired after 2026-11-22"));
    }

    #[test]
    fn the_profile_decides() {
        let body = update(&selecting("blue"), &selecting("green"), &json!({}));
        let found = |policy: &Policy| {
            let review = asked(policy, &Green { has_pods: false }, Phase::Validate, &body);
            (review.decision, review.findings)
        };
        for (profile, expected) in [("advisory", vec![(RULE, Outcome::Warn)]), ("development", vec![])] {
            assert_eq!(found(&Policy::new(profile).unwrap()), (Decision::Allow, expected), "{profile}");
        }
        let mut strict = Profile::production();
        let rule = RULES.iter().find(|rule| rule.id == RULE).unwrap();
        strict.set_action(rule, Action::Deny);
        let (decision, findings) = found(&Policy::with_profile(strict));
        assert_eq!((decision, findings), (Decision::Deny, vec![(RULE, Outcome::Deny)]));
    }

    #[test]
    fn nothing_else_of_a_service_is_looked_at() {
        let (blue, green) = (selecting("blue"), selecting("green"));
        let owner = json!([{"kind": "Canary", "name": "web", "controller": true}]);
        let (mut owned, mut deleted) = (green.clone(), green.clone());
        owned["metadata"]["ownerReferences"] = owner;
        deleted["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
        let exempt = Exemptions { usernames: ["jane".to_owned()].into(), ..Exemptions::default() };
        let exempt = Policy::of([Profile::production()], "production", exempt).unwrap();
        let (all, create) = (production(), json!({"operation": "CREATE", "oldObject": null}));
        let delete = json!({"operation": "DELETE", "object": null});
        let kind = |group: &str, kind: &str| json!({"kind": {"group": group, "version": "v1", "kind": kind}});
        for (policy, phase, new, changes, skip) in [
            (&all, Phase::Validate, &green, json!({}), None),
            (&all, Phase::Mutate, &green, json!({}), Some(Skip::Kind)),
            (&all, Phase::Validate, &green, create, Some(Skip::Kind)),
            (&all, Phase::Validate, &green, delete, Some(Skip::Kind)),
            (&all, Phase::Validate, &green, json!({"subResource": "status"}), Some(Skip::Kind)),
            (&all, Phase::Validate, &green, kind("serving.knative.dev", "Service"), Some(Skip::Kind)),
            (&all, Phase::Validate, &green, kind("", "ConfigMap"), Some(Skip::Kind)),
            (&all, Phase::Validate, &owned, json!({}), Some(Skip::Owned)),
            (&all, Phase::Validate, &deleted, json!({}), Some(Skip::Deleting)),
            (&exempt, Phase::Validate, &green, json!({}), Some(Skip::ExemptUser)),
        ] {
            let review = asked(policy, &Green { has_pods: false }, phase, &update(&blue, new, &changes));
            assert_eq!((review.decision, review.skip), (Decision::Allow, skip), "{changes} {new}");
            assert_eq!(review.findings.is_empty(), skip.is_some(), "{changes} {new}");
            assert!(review.response.response.patch.is_none());
        }
    }

    #[test]
    fn an_update_without_its_objects_is_malformed() {
        let green = selecting("green");
        let wrong = json!({"metadata": {"annotations": 1}});
        for (old, new, said) in [
            (&Value::Null, &green, "request.oldObject is missing"),
            (&green, &Value::Null, "request.object is missing"),
            (&green, &wrong, "request.object.metadata: invalid type"),
        ] {
            let (policy, body) = (production(), update(old, new, &json!({})));
            let today = jiff::civil::date(2026, 11, 23);
            let terms =
                Terms { policy: &policy, profile: None, today, surroundings: &crate::surroundings::NONE };
            let error = review(terms, Phase::Validate, &body).unwrap_err();
            let ReviewError::Malformed { message, .. } = error else { panic!("{error:?}") };
            assert!(message.starts_with(said), "{message}");
        }
    }
}
