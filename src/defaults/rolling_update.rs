//! The default `rolling-update`: new pods come before old ones go.

use serde_json::{Value, json};

use super::injected::{InjectedField, Record};
use super::intent::Intent;
use super::{DefaultRule, Filled};
use crate::policy::Settings;
use crate::workload::availability::Amount;
use crate::workload::{Workload, api_default};

/// The id.
pub const ID: &str = "rolling-update";

/// The record of this default.
pub const DEFAULT: DefaultRule = DefaultRule {
    id: ID,
    summary: "maxUnavailable 0, so that new pods are available before old ones go",
    page: include_str!("rolling_update.md"),
    satisfies: &["rollout-capacity-loss"],
    in_template: false,
    is_enabled: |settings| settings.rolling_update.enabled,
    fill,
};

fn fill(workload: &Workload, intent: &Intent, settings: &Settings, injected: &Record) -> Filled {
    let mut fields = Vec::new();
    if workload.rolls() {
        fields.extend(amounts(workload, intent, settings));
    }
    let is_probed = workload.containers().iter().any(|container| container.readiness_probe.is_some())
        || injected.fields().any(|field| matches!(field, InjectedField::ReadinessProbe(_)));
    if !is_probed {
        fields.extend(min_ready_seconds(workload, intent, settings));
    }
    Filled { fields, problem: None }
}

/// `maxSurge` and `maxUnavailable`, where they are unset.
fn amounts(workload: &Workload, intent: &Intent, settings: &Settings) -> Vec<(InjectedField, Value)> {
    let written = &workload.spec().strategy.rolling_update;
    let is_unset = |field: &InjectedField, value, api_default| match value {
        None => true,
        Some(value) => {
            settings.rolling_update.replace_api_defaults
                && value == api_default
                && !intent.is_proven(&field.path())
        }
    };
    let is_surge_unset = is_unset(&InjectedField::MaxSurge, written.max_surge, api_default::MAX_SURGE);
    let is_unavailable_unset =
        is_unset(&InjectedField::MaxUnavailable, written.max_unavailable, api_default::MAX_UNAVAILABLE);
    let is_zero = |amount| Amount::parse(amount).is_some_and(Amount::is_zero);
    let wanted = &settings.rolling_update;
    let mut fields = Vec::new();

    // The API server rejects 0 for both.
    let must_surge = !is_unavailable_unset && is_zero(workload.max_unavailable());
    let mut max_surge = Amount::parse(workload.max_surge());
    if is_surge_unset && !(must_surge && wanted.max_surge.is_zero()) {
        let api_max_surge = Amount::parse(api_default::MAX_SURGE);
        max_surge = Some(wanted.max_surge);
        if max_surge != api_max_surge {
            fields.push((InjectedField::MaxSurge, wanted.max_surge.into()));
        }
    }

    // Without surge, old pods have to go first.
    let can_surge = max_surge.is_some_and(|surge| !surge.is_zero()) && workload.surge_blocker().is_none();
    if is_unavailable_unset && (can_surge || !wanted.max_unavailable.is_zero()) {
        fields.push((InjectedField::MaxUnavailable, wanted.max_unavailable.into()));
    }
    fields
}

/// `minReadySeconds` slows a rollout down where no probe can: without one a
/// container counts as ready as soon as it runs (kubernetes docs,
/// pod-lifecycle). The API server wants it below `progressDeadlineSeconds`.
fn min_ready_seconds(
    workload: &Workload,
    intent: &Intent,
    settings: &Settings,
) -> Option<(InjectedField, Value)> {
    let seconds = settings.rolling_update.min_ready_seconds;
    let is_wanted = seconds > 0
        && workload.rolls()
        && workload.serves(&settings.operational_port_names)
        && seconds < workload.progress_deadline_seconds()
        && workload.min_ready_seconds() == api_default::MIN_READY_SECONDS
        && !intent.is_proven(&InjectedField::MinReadySeconds.path());
    is_wanted.then(|| (InjectedField::MinReadySeconds, json!(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::intent::{LAST_APPLIED, Origin};

    fn deployment(strategy: Value) -> Value {
        json!({
            "metadata": {"annotations": {}},
            "spec": {"strategy": strategy, "template": {"spec": {"containers": [
                {"name": "app", "ports": [{"containerPort": 80}], "readinessProbe": {"tcpSocket": {"port": 80}}},
            ]}}},
        })
    }

    fn rolling(max_unavailable: Value, max_surge: Value) -> Value {
        let amounts = json!({"maxUnavailable": max_unavailable, "maxSurge": max_surge});
        deployment(json!({"type": "RollingUpdate", "rollingUpdate": amounts}))
    }

    fn filled(object: &Value, settings: &Settings) -> Value {
        let filled = fill(
            &Workload::read(object).unwrap(),
            &Intent::new(object, Origin::ApiServer),
            settings,
            &Record::default(),
        );
        let fields = filled.fields.into_iter().map(|(field, value)| {
            let path = field.path().to_string();
            (path.rsplit('.').next().unwrap().to_owned(), value)
        });
        Value::Object(fields.collect())
    }

    #[test]
    fn only_unset_amounts_are_filled() {
        let table = [
            (json!(null), json!(null), json!({"maxUnavailable": 0})),
            (json!("25%"), json!("25%"), json!({"maxUnavailable": 0})),
            (json!("25%"), json!(1), json!({"maxUnavailable": 0})),
            (json!("25%"), json!(0), json!({})),
            (json!("25%"), json!("0%"), json!({})),
            (json!(1), json!("25%"), json!({})),
            (json!(25), json!("25%"), json!({})),
            (json!(0), json!("25%"), json!({})),
        ];
        for (max_unavailable, max_surge, expected) in table {
            let object = rolling(max_unavailable, max_surge);
            assert_eq!(filled(&object, &Settings::default()), expected, "{object}");
        }
        assert_eq!(filled(&deployment(json!({"type": "Recreate"})), &Settings::default()), json!({}));
    }

    #[test]
    fn what_somebody_wrote_stays() {
        let mut object = rolling(json!("25%"), json!("25%"));
        let manifest = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}});
        object["metadata"]["annotations"][LAST_APPLIED] = json!(manifest.to_string());
        assert_eq!(filled(&object, &Settings::default()), json!({}));

        let mut keep = Settings::default();
        keep.rolling_update.replace_api_defaults = false;
        assert_eq!(filled(&rolling(json!("25%"), json!("25%")), &keep), json!({}));
        assert_eq!(filled(&rolling(json!(null), json!(null)), &keep), json!({"maxUnavailable": 0}));
    }

    #[test]
    fn the_profile_sets_the_surge() {
        let mut settings = Settings::default();
        settings.rolling_update.max_surge = Amount::Count(1);
        let unset = rolling(json!("25%"), json!("25%"));
        assert_eq!(filled(&unset, &settings), json!({"maxSurge": 1, "maxUnavailable": 0}));
        assert_eq!(filled(&rolling(json!(1), json!(2)), &settings), json!({}));
    }

    #[test]
    fn a_profile_may_let_old_pods_go_first() {
        let mut settings = Settings::default();
        settings.rolling_update.max_surge = Amount::Count(0);
        settings.rolling_update.max_unavailable = Amount::Count(1);
        let table = [
            (json!("25%"), json!("25%"), json!({"maxSurge": 0, "maxUnavailable": 1})),
            (json!("25%"), json!(0), json!({"maxUnavailable": 1})),
            (json!("50%"), json!("25%"), json!({"maxSurge": 0})),
            // The API server would reject 0 for both.
            (json!(0), json!("25%"), json!({})),
            (json!("0%"), json!("25%"), json!({})),
        ];
        for (max_unavailable, max_surge, expected) in table {
            let object = rolling(max_unavailable, max_surge);
            assert_eq!(filled(&object, &settings), expected, "{object}");
        }
    }

    #[test]
    fn where_surge_pods_cannot_run_old_ones_may_go_first() {
        let mut object = rolling(json!("25%"), json!("25%"));
        object["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {}}]);
        assert_eq!(filled(&object, &Settings::default()), json!({}));
    }

    #[test]
    fn min_ready_seconds_stand_in_for_a_missing_probe() {
        let mut object = rolling(json!(0), json!(1));
        let container = |object: &mut Value, field: &str, value: Value| {
            object["spec"]["template"]["spec"]["containers"][0][field] = value;
        };
        container(&mut object, "readinessProbe", json!(null));
        assert_eq!(filled(&object, &Settings::default()), json!({"minReadySeconds": 10}));
        for (field, value) in [("minReadySeconds", 3), ("progressDeadlineSeconds", 10)] {
            let mut object = object.clone();
            object["spec"][field] = json!(value);
            assert_eq!(filled(&object, &Settings::default()), json!({}), "{field}");
        }
        container(&mut object, "ports", json!([]));
        assert_eq!(filled(&object, &Settings::default()), json!({}), "nothing serves");
    }
}
