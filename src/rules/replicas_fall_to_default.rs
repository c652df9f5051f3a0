//! The rule `replicas-fall-to-default`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::api_default;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::at;
use crate::ownership::intent::{Intent, Origin};
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "replicas-fall-to-default",
    summary: "replicas fall to 1 because the manifest no longer says how many",
    page: include_str!("replicas_fall_to_default.md"),
    kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::OldObject,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, settings: &Settings) -> Vec<Finding> {
    let Some(old) = workload.context().old_object else { return Vec::new() };
    let old_replicas = at(old.tree, &["spec", "replicas"]).and_then(serde_json::Value::as_i64);
    let (Some(1), Some(before @ 2..)) = (workload.spec().replicas, old_replicas) else { return Vec::new() };
    let origin = workload.context().origin;
    let is_proven = |view| Intent::new(view, origin).proves_replicas();
    // Whoever takes the field out of the manifest leaves the number to the API server.
    let is_dropped = origin == Origin::ApiServer && is_proven(old) && !is_proven(workload.view());
    if !is_dropped || !workload.serves(&settings.operational_port_names) {
        return Vec::new();
    }
    let message = format!(
        "the manifest no longer says how many, so that {before} replicas fall to {}: all pods but one go at once",
        api_default::REPLICAS
    );
    let fix = format!(
        "keep replicas: {before} in the manifest until another owner has the field (kubernetes docs, \
         server-side apply, transferring ownership)"
    );
    vec![Finding::required(RULE.id, FieldPath::new("spec.replicas"), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::LAST_APPLIED;
    use crate::rules::testing::web;
    use crate::workload::Context;
    use serde_json::{Value, json};

    /// The web Deployment with so many replicas, and what its manifest says of them.
    fn applied(replicas: i32, manifest: Option<i32>) -> Value {
        let mut object = web();
        object["spec"]["replicas"] = json!(replicas);
        let manifest =
            json!({"spec": {"replicas": manifest}}).to_string().replace("{\"replicas\":null}", "{}");
        object["metadata"]["annotations"] = json!({LAST_APPLIED: manifest});
        object
    }

    fn found(old: &Value, object: &Value) -> usize {
        let context =
            Context { old_object: Some(View::of(old)), ..Context::new(Kind::Deployment, Origin::ApiServer) };
        let workload = Workload::read_view(View::of(object), context).unwrap();
        check(&workload, &Settings::default()).len()
    }

    #[test]
    fn a_manifest_that_no_longer_says_how_many() {
        assert_eq!(found(&applied(5, Some(5)), &applied(1, None)), 1);
        let null = json!({"spec": {"replicas": null}}).to_string();
        let mut unset = applied(1, None);
        unset["metadata"]["annotations"][LAST_APPLIED] = Value::from(null);
        assert_eq!(found(&applied(5, Some(5)), &unset), 1, "null is nothing");
        // An autoscaler had raised it meanwhile.
        assert_eq!(found(&applied(8, Some(3)), &applied(1, None)), 1);
    }

    #[test]
    fn whoever_says_one_means_it() {
        assert_eq!(found(&applied(5, Some(5)), &applied(1, Some(1))), 0);
        assert_eq!(found(&applied(5, None), &applied(1, None)), 0, "it never said");
        assert_eq!(found(&applied(5, Some(5)), &applied(5, None)), 0, "kubectl scale has it");
        assert_eq!(found(&applied(1, Some(1)), &applied(1, None)), 0);
    }

    #[test]
    fn an_apply_entry_that_lost_the_field() {
        let with = |replicas: i32, fields: Value| {
            let mut object = web();
            object["spec"]["replicas"] = json!(replicas);
            object["metadata"]["managedFields"] =
                json!([{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": fields}}]);
            object
        };
        let owned = with(3, json!({"f:replicas": {}}));
        assert_eq!(found(&owned, &with(1, json!({}))), 1);
        assert_eq!(found(&owned, &with(1, json!({"f:replicas": {}}))), 0);
    }
}
