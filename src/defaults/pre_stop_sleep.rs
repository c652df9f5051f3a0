//! The default `pre-stop-sleep`: a pod keeps serving until nobody sends it
//! requests any more.

use serde_json::{Value, json};

use super::phrases::{part, plain, plain_or_default};
use super::{DefaultRule, Filled};
use crate::finding::Problem;
use crate::kubernetes::api_default;
use crate::ownership::owner::Owner;
use crate::ownership::owners::Owners;
use crate::ownership::record::{InjectedField, Record};
use crate::settings::Settings;
use crate::workload::Workload;
use crate::workload::object::Container;

/// The id.
pub const ID: &str = "pre-stop-sleep";

/// The annotation that sets the seconds for one workload.
pub const SECONDS_ANNOTATION: &str = "gapless.dev/pre-stop-seconds";

/// The record of this default.
pub const DEFAULT: DefaultRule = DefaultRule {
    id: ID,
    summary: "a preStop sleep, and the grace period for it, so that a pod leaves last",
    page: include_str!("pre_stop_sleep.md"),
    satisfies: &["missing-pre-stop"],
    fields: |field| matches!(field, InjectedField::GracePeriod | InjectedField::PreStop(_)),
    name,
    phrase,
    may_not_fit: false,
    in_template: true,
    is_enabled: |settings| settings.pre_stop_sleep.enabled,
    fill,
};

/// How long serving containers should sleep, and under which grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// Seconds of the sleep; 0 for none.
    pub seconds: i64,
    /// The new grace period in seconds, if it has to change.
    pub grace_period: Option<i64>,
}

/// The sleep for a workload whose containers have none. `is_grace_period_unset`
/// says whether no user wrote the grace period.
///
/// An unset grace period grows by the sleep, because its countdown starts
/// before the hook (kubernetes docs, pod-lifecycle), so that the application
/// keeps the time it had to drain. One that the user wrote is a budget.
///
/// # Errors
/// What is wrong with the annotation.
pub fn choose(
    workload: &Workload,
    is_grace_period_unset: bool,
    settings: &Settings,
) -> Result<Sleep, Problem> {
    let wanted = wanted_seconds(workload, settings)?;
    Ok(fit(workload, wanted, is_grace_period_unset, settings))
}

/// The seconds that the annotation asks for, else the profile.
fn wanted_seconds(workload: &Workload, settings: &Settings) -> Result<i64, Problem> {
    let wanted = match workload.annotation(SECONDS_ANNOTATION) {
        None => settings.pre_stop_sleep.seconds,
        Some(text) => text.trim().parse().map_err(|_| Problem {
            id: ID.to_owned(),
            annotation: SECONDS_ANNOTATION.to_owned(),
            text: format!("has no effect: {text:?} is no number of seconds"),
        })?,
    };
    Ok(i64::from(wanted))
}

/// As much of the wanted sleep as the grace period leaves room for.
fn fit(workload: &Workload, wanted: i64, is_grace_period_unset: bool, settings: &Settings) -> Sleep {
    if wanted == 0 {
        return Sleep { seconds: 0, grace_period: None };
    }
    if settings.pre_stop_sleep.raise_grace_period && is_grace_period_unset {
        return Sleep { seconds: wanted, grace_period: Some(api_default::GRACE_PERIOD_SECONDS + wanted) };
    }
    // A sleep as long as the grace period would leave no SIGTERM in time.
    let budget = workload.grace_period_seconds() - settings.min_drain_seconds.max(1);
    Sleep { seconds: wanted.min(budget).max(0), grace_period: None }
}

fn fill(workload: &Workload, owners: &Owners, settings: &Settings, _: &Record) -> Filled {
    if !workload.hands_over() {
        return Filled::default();
    }
    let unhooked = |container: &&Container| container.lifecycle.pre_stop.is_none();
    let serving: Vec<_> = workload.serving(&settings.operational_port_names).filter(unhooked).collect();
    // What carries their traffic has to be there as long as they are. Where one of them
    // sleeps by a hook of the user, for as long as that.
    let is_serving = |container: &&Container| serving.iter().any(|it| it.name == container.name);
    let proxies: Vec<_> = workload
        .containers()
        .iter()
        .filter(|container| container.carries_traffic(&settings.proxy_images))
        .filter(|container| unhooked(container) && !is_serving(container))
        .collect();
    let by_users = longest_sleep_beside_proxies(workload, settings);
    if serving.is_empty() && (proxies.is_empty() || by_users == 0) {
        return Filled::default();
    }
    let wanted = match wanted_seconds(workload, settings) {
        Ok(wanted) => wanted,
        Err(problem) => return Filled { fields: Vec::new(), problem: Some(problem) },
    };
    let is_grace_period_unset = owners.owner(&InjectedField::GracePeriod) != Owner::User;
    let fit = |seconds| fit(workload, seconds, is_grace_period_unset, settings);
    let of_serving = fit(if serving.is_empty() { 0 } else { wanted });
    let of_proxies = fit(if proxies.is_empty() { 0 } else { by_users.max(of_serving.seconds) });

    let hooks = |containers: &[&Container], sleep: Sleep| -> Vec<(InjectedField, Value)> {
        let hook = json!({"sleep": {"seconds": sleep.seconds}});
        let hooked = containers.iter().filter(|_| sleep.seconds > 0);
        hooked.map(|container| (InjectedField::PreStop(container.name.to_owned()), hook.clone())).collect()
    };
    let mut fields = hooks(&serving, of_serving);
    fields.extend(hooks(&proxies, of_proxies));
    // The proxies sleep the longest, if there are any.
    let grace_period = of_proxies.grace_period.or(of_serving.grace_period);
    fields.extend(grace_period.map(|seconds| (InjectedField::GracePeriod, json!(seconds))));
    Filled { fields, problem: None }
}

/// How long the containers whose traffic proxies carry certainly sleep by hooks of the
/// user, in seconds. A hook that the grace period cuts off is a mistake, and no measure.
fn longest_sleep_beside_proxies(workload: &Workload, settings: &Settings) -> i64 {
    let others = workload.containers().iter().filter(|it| !it.carries_traffic(&settings.proxy_images));
    let hooks = others.filter_map(|container| container.lifecycle.pre_stop.as_ref());
    let seconds = hooks.filter_map(|hook| i64::try_from(hook.sleeps().as_secs()).ok());
    seconds.filter(|seconds| *seconds < workload.grace_period_seconds()).max().unwrap_or(0)
}

fn name(field: &InjectedField, value: &Value) -> String {
    match field.container() {
        Some(container) => format!("preStop sleep{} of container {container}", seconds(value)),
        None => format!("grace period {}s", plain(value)),
    }
}

fn phrase(field: &InjectedField, from: Option<&Value>, to: Option<&Value>) -> String {
    if let Some(container) = field.container() {
        return part("preStop sleep", container, from, to, seconds);
    }
    format!("grace period {}s -> {}s", plain_or_default(field, from), plain_or_default(field, to))
}

/// The seconds of a native sleep, such as ` 10s`.
fn seconds(hook: &Value) -> String {
    let seconds = hook.pointer("/sleep/seconds").and_then(Value::as_i64);
    seconds.map(|seconds| format!(" {seconds}s")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::View;
    use crate::ownership::intent::{LAST_APPLIED, Origin};
    use crate::ownership::owners::Change;

    fn deployment(grace: Value) -> Value {
        json!({
            "metadata": {"annotations": {}},
            "spec": {"template": {"spec": {
                "terminationGracePeriodSeconds": grace,
                "containers": [{"name": "app", "ports": [{"containerPort": 80}]}],
            }}},
        })
    }

    fn filled(object: &Value) -> Filled {
        fill(
            &Workload::read(object).unwrap(),
            &Owners::read(
                Change::create(Kind::of_document(object), View::of(object), Origin::ApiServer),
                true,
                Vec::new(),
            ),
            &Settings::default(),
            &Record::default(),
        )
    }

    /// The seconds of the sleep and the new grace period.
    fn seconds(object: &Value) -> (Option<i64>, Option<i64>) {
        let fields = filled(object).fields;
        let sleep = fields.iter().find(|(field, _)| matches!(field, InjectedField::PreStop(_)));
        let grace = fields.iter().find(|(field, _)| *field == InjectedField::GracePeriod);
        (
            sleep.and_then(|(_, hook)| hook.pointer("/sleep/seconds")?.as_i64()),
            grace.and_then(|(_, value)| value.as_i64()),
        )
    }

    #[test]
    fn an_unset_grace_period_grows_and_a_written_one_is_a_budget() {
        let table = [
            (json!(null), (Some(10), Some(40))),
            (json!(30), (Some(10), Some(40))),
            (json!(60), (Some(10), None)),
            (json!(15), (Some(10), None)),
            (json!(14), (Some(9), None)),
            (json!(6), (Some(1), None)),
            (json!(5), (None, None)),
            (json!(0), (None, None)),
            (json!(-1), (None, None)),
        ];
        for (grace, expected) in table {
            assert_eq!(seconds(&deployment(grace.clone())), expected, "grace period {grace}");
        }
    }

    #[test]
    fn the_sleep_never_takes_all_of_the_grace_period() {
        let settings = Settings { min_drain_seconds: 0, ..Settings::default() };
        let object = deployment(json!(10));
        let sleep = choose(&Workload::read(&object).unwrap(), false, &settings);
        assert_eq!(sleep, Ok(Sleep { seconds: 9, grace_period: None }));
    }

    #[test]
    fn thirty_seconds_that_somebody_wrote_stay() {
        let mut object = deployment(json!(30));
        let manifest = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
        object["metadata"]["annotations"][LAST_APPLIED] = json!(manifest.to_string());
        assert_eq!(seconds(&object), (Some(10), None));
    }

    #[test]
    fn the_annotation_sets_the_seconds() {
        let with = |text: &str| {
            let mut object = deployment(json!(30));
            object["metadata"]["annotations"][SECONDS_ANNOTATION] = json!(text);
            object
        };
        assert_eq!(seconds(&with("25")), (Some(25), Some(55)));
        assert_eq!(seconds(&with("0")), (None, None));
        for unusable in ["ten", "-1", "1.5", "", "99999999999"] {
            let filled = filled(&with(unusable));
            assert!(filled.fields.is_empty());
            assert!(filled.problem.unwrap().message().contains(SECONDS_ANNOTATION), "{unusable}");
        }
    }

    #[test]
    fn only_serving_containers_without_a_hook_get_one() {
        let mut object = deployment(json!(30));
        object["spec"]["template"]["spec"]["containers"] = json!([
            {"name": "app", "ports": [{"containerPort": 80}], "lifecycle": {"postStart": {"exec": {}}}},
            {"name": "opted-out", "ports": [{"containerPort": 81}], "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}},
            {"name": "worker"},
        ]);
        let hooks: Vec<_> = filled(&object).fields.into_iter().map(|(field, _)| field).collect();
        assert_eq!(hooks, [InjectedField::PreStop("app".into()), InjectedField::GracePeriod]);
    }

    /// The seconds of each sleep by container, and the new grace period.
    fn sleeps(containers: Value, grace: Value) -> (Vec<(String, i64)>, Option<i64>) {
        let mut object = deployment(grace);
        object["spec"]["template"]["spec"]["containers"] = containers;
        let (grace, hooks): (Vec<_>, Vec<_>) =
            filled(&object).fields.into_iter().partition(|(field, _)| *field == InjectedField::GracePeriod);
        let seconds = |(field, hook): (InjectedField, Value)| {
            (field.container().unwrap().to_owned(), hook["sleep"]["seconds"].as_i64().unwrap())
        };
        (hooks.into_iter().map(seconds).collect(), grace.first().and_then(|(_, value)| value.as_i64()))
    }

    #[test]
    fn what_carries_the_traffic_of_a_sleeping_container_sleeps_as_long() {
        let app = |lifecycle: Value| json!({"name": "app", "ports": [{"containerPort": 80}], "lifecycle": lifecycle});
        let proxy = json!({"name": "proxy", "image": "registry.example/mirror/pgbouncer:1.24.1"});
        let slept = |seconds: i64| json!({"preStop": {"sleep": {"seconds": seconds}}});
        let both = |seconds: i64| vec![("app".to_owned(), seconds), ("proxy".to_owned(), seconds)];
        let alone = |seconds: i64| vec![("proxy".to_owned(), seconds)];
        let unset = || json!(30);
        assert_eq!(sleeps(json!([app(json!({})), proxy]), unset()), (both(10), Some(40)));
        assert_eq!(
            sleeps(json!([app(json!({})), proxy]), json!(12)),
            (both(7), None),
            "what there is room for"
        );
        assert_eq!(
            sleeps(json!([app(slept(15)), proxy]), unset()),
            (alone(15), Some(45)),
            "as the user's hook"
        );
        assert_eq!(sleeps(json!([app(slept(30)), proxy]), unset()), (vec![], None), "it is cut off");
        // An opt-out, a hook that nobody understands, or a hook of its own.
        assert_eq!(sleeps(json!([app(slept(0)), proxy]), unset()), (vec![], None));
        let drains = json!({"preStop": {"exec": {"command": ["drain"]}}});
        assert_eq!(sleeps(json!([app(drains), proxy]), unset()), (vec![], None));
        let mut hooked = proxy.clone();
        hooked["lifecycle"] = slept(3);
        assert_eq!(
            sleeps(json!([app(json!({})), hooked]), unset()),
            (vec![("app".to_owned(), 10)], Some(40))
        );
        assert_eq!(sleeps(json!([{"name": "worker"}, proxy]), unset()), (vec![], None), "nothing serves");
    }

    #[test]
    fn with_recreate_a_sleep_would_only_move_the_outage() {
        let mut object = deployment(json!(30));
        object["spec"]["strategy"] = json!({"type": "Recreate"});
        assert_eq!(filled(&object), Filled::default());
    }
}
