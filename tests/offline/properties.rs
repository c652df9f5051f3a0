//! What holds for every Deployment.

use gapless::admission::{Phase, ReviewError};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::simulated::deployments::{deployment, odd_record};
use crate::support::simulated::{ApiServer, with_api_defaults};

/// Fields that a Deployment may lose or change only because nobody wrote them:
/// the API server's defaults, and the record.
const REPLACEABLE: [&str; 5] = [
    "/spec/strategy/rollingUpdate/maxUnavailable",
    "/spec/strategy/rollingUpdate/maxSurge",
    "/spec/minReadySeconds",
    "/spec/template/spec/terminationGracePeriodSeconds",
    "/metadata/annotations/gapless.dev~1injected",
];

/// The values in `written` that differ in `stored`, as JSON pointers.
fn lost(written: &Value, stored: &Value, path: &str, lost_paths: &mut Vec<String>) {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => {
            for (key, value) in written {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                match stored.get(key) {
                    Some(stored) => lost(value, stored, &path, lost_paths),
                    None if value.as_object().is_some_and(|object| object.is_empty()) => {}
                    None => lost_paths.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(stored)) if written.len() == stored.len() => {
            for (index, (written, stored)) in written.iter().zip(stored).enumerate() {
                lost(written, stored, &format!("{path}/{index}"), lost_paths);
            }
        }
        _ if written == stored => {}
        _ => lost_paths.push(path.to_owned()),
    }
}

/// A Deployment that says of itself, as `kubectl apply` does, what was written.
fn applied(mut object: Value) -> Value {
    let manifest = object.to_string();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(manifest);
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// `ApiServer` itself checks that a second call in the same request
    /// changes nothing.
    #[test]
    fn creating_and_updating_settle_at_once(object in deployment(), changed in deployment(), record in of(odd_record())) {
        let mut object = object;
        if let Some(record) = record {
            object["metadata"]["annotations"]["gapless.dev/injected"] = json!(record);
        }
        for profile in ["production", "development", "advisory", "off"] {
            let server = ApiServer::new(profile);
            let created = server.create(&object).object;
            let again = server.update(&created, &created);
            prop_assert_eq!(again.operations, Vec::<Value>::new());
            prop_assert_eq!(again.denial, None, "what is stored is never denied");
            let updated = server.update(&created, &changed).object;
            prop_assert_eq!(server.update(&updated, &updated).operations, Vec::<Value>::new());
        }
    }

    #[test]
    fn nothing_that_the_user_wrote_is_changed_or_removed(object in deployment()) {
        let applied = applied(object.clone());
        let stored = ApiServer::new("production").create(&applied).object;
        let mut paths = Vec::new();
        lost(&object, &stored, "", &mut paths);
        prop_assert_eq!(paths, Vec::<String>::new());

        // Without a proof only the API server's own defaults are replaced.
        let stored = ApiServer::new("production").create(&object).object;
        let mut paths = Vec::new();
        lost(&object, &stored, "", &mut paths);
        paths.retain(|path| !REPLACEABLE.contains(&path.as_str()));
        prop_assert_eq!(paths, Vec::<String>::new());
    }

    #[test]
    fn no_update_that_leaves_the_template_alone_changes_it(object in deployment(), replicas in 0..5i32) {
        // Stored before gapless was installed, or completed by it.
        let server = ApiServer::new("production");
        for stored in [with_api_defaults(&object), server.create(&object).object] {
            let mut scaled = stored.clone();
            scaled["spec"]["replicas"] = json!(replicas);
            scaled["metadata"]["labels"]["team"] = json!("support");
            let answer = server.update(&stored, &scaled);
            prop_assert_eq!(&answer.object["spec"]["template"], &stored["spec"]["template"]);
            prop_assert_eq!(answer.denial, None);
        }
    }

    #[test]
    fn a_put_of_what_was_created_starts_no_rollout(object in deployment()) {
        let server = ApiServer::new("production");
        let stored = server.create(&object).object;
        let replaced = server.update(&stored, &object);
        prop_assert_eq!(&replaced.object["spec"]["template"], &stored["spec"]["template"]);
    }

    #[test]
    fn an_undo_is_never_denied_and_brings_the_template_back(object in deployment(), changed in deployment()) {
        let server = ApiServer::new("production");
        let first = server.create(&object).object;
        // Only the template and the annotations go back.
        let mut changed = changed;
        changed["spec"]["strategy"] = object["spec"]["strategy"].clone();
        changed["spec"]["minReadySeconds"] = object["spec"]["minReadySeconds"].clone();
        changed["spec"]["progressDeadlineSeconds"] = object["spec"]["progressDeadlineSeconds"].clone();
        let second = server.update(&first, &changed).object;
        let undone = server.undo(&second, &first);
        prop_assert_eq!(undone.denial, None);
        prop_assert_eq!(&undone.object["spec"]["template"], &first["spec"]["template"]);
    }

    #[test]
    fn any_bytes_have_an_answer(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let answer = ApiServer::new("production").post(Phase::Validate, &body);
        let is_malformed = matches!(answer, Err(ReviewError::Malformed { .. }));
        prop_assert!(is_malformed);
    }

    /// One value anywhere in a review is replaced by one of another type.
    #[test]
    fn a_value_of_another_type_is_a_decision_or_the_senders_mistake(object in deployment(), at in any::<prop::sample::Index>(), kind in 0..5usize) {
        let mut pointers = Vec::new();
        all_pointers(&object, "", &mut pointers);
        let pointer = at.get(&pointers);
        let mut broken = object.clone();
        *broken.pointer_mut(pointer).unwrap() = [json!(null), json!([[]]), json!({"a": {}}), json!("text"), json!(-7.5)][kind].clone();
        for phase in [Phase::Mutate, Phase::Validate] {
            let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                "uid": "1", "operation": "CREATE", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "object": broken,
            }});
            if let Err(error) = ApiServer::new("production").post(phase, body.to_string().as_bytes()) {
                let is_malformed = matches!(error, ReviewError::Malformed { uid: Some(_), .. });
                prop_assert!(is_malformed, "{pointer}: {error}");
            }
        }
    }
}

fn all_pointers(value: &Value, path: &str, pointers: &mut Vec<String>) {
    pointers.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                all_pointers(
                    value,
                    &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                    pointers,
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                all_pointers(item, &format!("{path}/{index}"), pointers);
            }
        }
        _ => {}
    }
}
