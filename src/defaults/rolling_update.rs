//! The default `rolling-update`: new pods come before old ones go.

use serde_json::{Value, json};

use super::phrases::{plain, plain_or_default};
use super::{DefaultRule, Filled};
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::int_or_string::IntOrString;
use crate::kubernetes::kind::Kind;
use crate::ownership::owner::Owner;
use crate::ownership::owners::Owners;
use crate::ownership::record::{InjectedField, Record};
use crate::settings::Settings;
use crate::workload::Workload;

/// The id.
pub const ID: &str = "rolling-update";

/// The record of this default.
pub const DEFAULT: DefaultRule = DefaultRule {
    id: ID,
    summary: "maxUnavailable 0, so that new pods are available before old ones go",
    page: include_str!("rolling_update.md"),
    satisfies: &["rollout-capacity-loss"],
    fields: |field| {
        use InjectedField::{MaxSurge, MaxUnavailable, MinReadySeconds};
        matches!(field, MaxUnavailable(_) | MaxSurge(_) | MinReadySeconds)
    },
    name,
    phrase,
    may_not_fit: false,
    in_template: false,
    is_enabled: |settings| settings.rolling_update.enabled,
    fill,
};

fn fill(workload: &Workload, owners: &Owners, settings: &Settings, injected: &Record) -> Filled {
    let mut fields = Vec::new();
    // Of pods that are described elsewhere nothing is known.
    if workload.rolls() && workload.kind().has_surge() && !workload.refers_to_template() {
        fields.extend(amounts(workload, owners, settings));
    }
    let is_probed = workload.containers().iter().any(|container| container.readiness_probe.is_some())
        || injected.fields().any(|field| matches!(field, InjectedField::ReadinessProbe(_)));
    if !is_probed {
        fields.extend(min_ready_seconds(workload, owners, settings));
    }
    Filled { fields, problem: None }
}

/// `maxUnavailable` and `maxSurge`, where they are unset: the profile's, as far as
/// the API server takes them together and they leave pods available.
fn amounts(workload: &Workload, owners: &Owners, settings: &Settings) -> Vec<(InjectedField, Value)> {
    let wanted = &settings.rolling_update;
    let choices = |field: &InjectedField, wanted: Amount, live: IntOrString| {
        let live = Amount::parse(live);
        let is_unset = owners.owner(field) != Owner::User;
        // Unset is what the API server makes of it, and needs no writing.
        let wanted = Some(wanted).filter(|wanted| is_unset && Some(*wanted) != live);
        wanted.into_iter().chain(live).collect::<Vec<_>>()
    };
    let (unavailable_field, surge_field) = (workload.max_unavailable_field(), workload.max_surge_field());
    let wanted_surge = match workload.kind() {
        // One node after the other, as the API server has it without a surge.
        Kind::DaemonSet => Amount::Count(1),
        _ => wanted.max_surge,
    };
    let unavailable = choices(&unavailable_field, wanted.max_unavailable, workload.max_unavailable());
    let surge = choices(&surge_field, wanted_surge, workload.max_surge());
    let pairs =
        unavailable.iter().flat_map(|unavailable| surge.iter().map(move |surge| (*unavailable, *surge)));

    let is_possible = |pair: &(Amount, Amount)| match workload.kind() {
        Kind::DaemonSet => can_roll_on_a_node(workload, *pair, &settings.operational_port_names),
        _ => can_roll(workload, *pair),
    };
    let Some((max_unavailable, max_surge)) = pairs.into_iter().find(is_possible) else { return Vec::new() };
    let mut fields = Vec::new();
    if Some(max_surge) != Amount::parse(workload.max_surge()) {
        fields.push((surge_field, max_surge.into()));
    }
    if Some(max_unavailable) != Amount::parse(workload.max_unavailable()) {
        fields.push((unavailable_field, max_unavailable.into()));
    }
    fields
}

/// Whether a rollout can go on with these amounts, and leaves pods available.
/// The API server rejects 0 for both.
fn can_roll(workload: &Workload, (max_unavailable, max_surge): (Amount, Amount)) -> bool {
    // Scaled to zero, it is going to be scaled up again.
    let replicas = workload.replicas().max(1);
    let fenceposts = workload.fenceposts_with(replicas, max_unavailable, max_surge);
    let needs_surge = fenceposts.unavailable == 0;
    !(max_unavailable.is_zero() && max_surge.is_zero())
        && fenceposts.available > 0
        && !(needs_surge && workload.surge_blocker().is_some())
}

/// Whether a rollout can go on with these amounts: the API server wants exactly one of
/// them not 0. A second pod on the node is worth something only if the pods serve, and not
/// through a port of the node, which only one of them can have.
fn can_roll_on_a_node(
    workload: &Workload,
    (max_unavailable, max_surge): (Amount, Amount),
    operational_port_names: &[String],
) -> bool {
    let is_new = Amount::parse(workload.max_surge()) != Some(max_surge);
    max_unavailable.is_zero() != max_surge.is_zero()
        && (max_surge.is_zero()
            || !is_new
            || (workload.surge_blocker().is_none() && workload.serves(operational_port_names)))
}

/// `minReadySeconds` slows a rollout down where no probe can: without one a
/// container counts as ready as soon as it runs (kubernetes docs,
/// pod-lifecycle). The API server wants it below `progressDeadlineSeconds`.
fn min_ready_seconds(
    workload: &Workload,
    owners: &Owners,
    settings: &Settings,
) -> Option<(InjectedField, Value)> {
    let seconds = settings.rolling_update.min_ready_seconds;
    let is_wanted = seconds > 0
        && workload.rolls()
        && workload.serves(&settings.operational_port_names)
        && (!workload.kind().has_progress_deadline() || seconds < workload.progress_deadline_seconds())
        && workload.min_ready_seconds() == api_default::MIN_READY_SECONDS
        && owners.owner(&InjectedField::MinReadySeconds) != Owner::User;
    is_wanted.then(|| (InjectedField::MinReadySeconds, json!(seconds)))
}

fn name(field: &InjectedField, value: &Value) -> String {
    format!("{} {}", word(field), plain(value))
}

fn phrase(field: &InjectedField, from: Option<&Value>, to: Option<&Value>) -> String {
    format!("{} {} -> {}", word(field), plain_or_default(field, from), plain_or_default(field, to))
}

fn word(field: &InjectedField) -> &'static str {
    match field {
        InjectedField::MaxUnavailable(_) => "maxUnavailable",
        InjectedField::MaxSurge(_) => "maxSurge",
        _ => "minReadySeconds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::{LAST_APPLIED, Origin};
    use crate::ownership::owners::Change;

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
            &Owners::read(
                Change::create(Kind::of_document(object), View::of(object), Origin::ApiServer),
                settings.rolling_update.replace_api_defaults,
                Vec::new(),
            ),
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
        assert_eq!(filled(&rolling(json!(null), json!(null)), &keep), json!({}), "absent is the same");
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
            let mut object = rolling(max_unavailable, max_surge);
            object["spec"]["replicas"] = json!(4);
            assert_eq!(filled(&object, &settings), expected, "{object}");
        }
    }

    #[test]
    fn what_is_scaled_to_zero_is_going_to_be_scaled_up_again() {
        let mut object = rolling(json!("25%"), json!("25%"));
        object["spec"]["replicas"] = json!(0);
        assert_eq!(filled(&object, &Settings::default()), json!({"maxUnavailable": 0}));
    }

    #[test]
    fn amounts_that_leave_nothing_available_are_not_filled() {
        let mut settings = Settings::default();
        settings.rolling_update.max_unavailable = Amount::Count(1);
        for (replicas, expected) in [(0, json!({})), (1, json!({})), (2, json!({"maxUnavailable": 1}))] {
            let mut object = rolling(json!("25%"), json!("25%"));
            object["spec"]["replicas"] = json!(replicas);
            assert_eq!(filled(&object, &settings), expected, "{replicas}");
        }
        // 25% of one replica is nobody, so that one would have to go.
        settings.rolling_update.max_unavailable = Amount::Percent(25);
        settings.rolling_update.max_surge = Amount::Count(0);
        assert_eq!(filled(&rolling(json!("25%"), json!("25%")), &settings), json!({}));
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
