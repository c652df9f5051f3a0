//! From a workload to what its rollout is going to do.

use super::course::{self, Course, Step};
use super::daemon_set::DaemonSet;
use super::deployment::{self, Deployment};
use super::grounds::Grounds;
use super::kubelet::{Assumed, Life, Pace};
use super::stateful_set::StatefulSet;
use super::world::{Millis, World};
use super::{Controller, argo, stall};
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::workload::availability::Fenceposts;
use crate::workload::{Strategy, Workload};

/// Rollouts of more pods are not simulated: it takes time in proportion to their square.
pub const MOST_PODS: i32 = 5_000;

/// The rollouts that are run: pods that start quickly or slowly, and end so. The last one
/// is the slowest.
const PACES: [(Pace, Pace); 4] = [
    (Pace::Quick, Pace::Quick),
    (Pace::Quick, Pace::Slow),
    (Pace::Slow, Pace::Quick),
    (Pace::Slow, Pace::Slow),
];

/// A rollout that somebody is about to start.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p, 'w> {
    /// The workload, as it is going to be.
    pub workload: &'p Workload<'w>,
    /// The workload as it is; if `None`, as that, with another template.
    pub from: Option<&'p Workload<'w>>,
    /// What no manifest tells.
    pub assumed: Assumed,
    /// What leaves room for so many pods only.
    pub quota: Option<&'p Quota>,
}

/// A ResourceQuota, as far as it concerns one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its name, and what it counts.
    pub name: String,
    /// How many pods of the workload there may be.
    pub pods: usize,
}

/// What a rollout is going to do.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// How many pods there are to be; of a DaemonSet 1, as all other figures on one node.
    pub replicas: i32,
    /// Whether all figures are those of one node.
    pub is_per_node: bool,
    /// How many may be unavailable, where the strategy says so.
    pub max_unavailable: Option<i64>,
    /// How many there may be beside them, where it says so.
    pub max_surge: Option<i64>,
    /// The fewest available pods at any moment.
    pub floor: i64,
    /// The most pods at once, those that terminate included.
    pub peak: i64,
    /// The most without them.
    pub peak_of_active: i64,
    /// How often, one after another, new pods have to become available.
    pub waves: usize,
    /// Where and why it never ends.
    pub stalls: Option<String>,
    /// What somebody has to do for it to go on.
    pub waits_for: Option<String>,
    /// How long until the last new pod is available, at least and at most; `None` if it
    /// stalls.
    pub duration: Option<(Millis, Millis)>,
    /// What was assumed of the application.
    pub assumed: Assumed,
    /// What it stands on besides.
    pub grounds: Grounds,
    /// The slowest case.
    pub steps: Vec<Step>,
}

/// Why nothing can be said of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unforeseeable {
    /// Its controller does not accept it.
    #[error("its strategy, or an amount in it, is none that its controller accepts")]
    Strategy,
    /// Its pods are described elsewhere.
    #[error("another object describes its pods (spec.workloadRef)")]
    TemplateElsewhere,
    /// It would take too long.
    #[error("it has more than {MOST_PODS} pods")]
    TooManyPods,
}

/// What the rollout of `plan` is going to do.
///
/// # Errors
/// If nothing can be said of it.
pub fn foretell(plan: &Plan) -> Result<Forecast, Unforeseeable> {
    let workload = plan.workload;
    let old = plan.from.unwrap_or(workload);
    if workload.refers_to_template() || old.refers_to_template() {
        return Err(Unforeseeable::TemplateElsewhere);
    }
    if workload.replicas().max(old.replicas()) > MOST_PODS {
        return Err(Unforeseeable::TooManyPods);
    }
    let old_life = Life::of(old, &plan.assumed);
    let mut life = Life::of(workload, &plan.assumed);
    if let Some(deadlock) = stall::surge_deadlock(workload) {
        life.ready = Err(deadlock);
    }
    let template = usize::from(!has_same_template(plan));
    let mut courses = Vec::new();
    for (begins, ends) in PACES {
        let timing = life.timing(begins, ends);
        let former = if template == 0 { timing } else { old_life.timing(begins, ends) };
        let mut world = World::new(vec![former, timing], plan.quota.map(|quota| quota.pods));
        let mut controller = start(workload, old, template, &mut world)?;
        courses.push(course::run(controller.as_mut(), &mut world, template));
    }
    summarize(plan, &life, courses)
}

fn has_same_template(plan: &Plan) -> bool {
    let template = |workload: &Workload| workload.raw().pointer("/spec/template").cloned();
    plan.from.is_some_and(|from| template(from) == template(plan.workload))
}

/// The controller of the workload, with all pods as they were, when it has just been told of
/// the change.
fn start(
    workload: &Workload,
    old: &Workload,
    template: usize,
    world: &mut World,
) -> Result<Box<dyn Controller>, Unforeseeable> {
    match workload.kind() {
        Kind::Deployment => {
            let mut deployment = Deployment::settled(deployment(old, 0)?, world);
            deployment.change(self::deployment(workload, template)?);
            Ok(Box::new(deployment))
        }
        Kind::StatefulSet => {
            world.settle_all(old.replicas().into());
            Ok(Box::new(stateful_set(workload, template)?))
        }
        Kind::DaemonSet => {
            world.settle_all(1);
            Ok(Box::new(daemon_set(workload, template, 1)?))
        }
        Kind::Rollout => rollout(workload, old, template, world),
    }
}

fn rollout(
    workload: &Workload,
    old: &Workload,
    template: usize,
    world: &mut World,
) -> Result<Box<dyn Controller>, Unforeseeable> {
    let before = i64::from(old.replicas());
    match workload.strategy() {
        Strategy::RollingUpdate | Strategy::Routed => {
            world.settle_all(before);
            Ok(Box::new(argo::canary(workload, before, template)?))
        }
        Strategy::BlueGreen => {
            world.settle_all(before);
            Ok(Box::new(argo::blue_green(workload, template)?))
        }
        _ => Err(Unforeseeable::Strategy),
    }
}

/// What a Deployment says.
pub fn deployment(workload: &Workload, template: usize) -> Result<deployment::Spec, Unforeseeable> {
    let amounts = match workload.strategy() {
        Strategy::Recreate => None,
        Strategy::RollingUpdate => Some(amounts(workload)?),
        _ => return Err(Unforeseeable::Strategy),
    };
    let (replicas, is_paused) = (workload.replicas(), workload.is_paused());
    Ok(deployment::Spec { replicas, amounts, is_paused, template })
}

/// What a StatefulSet says; the one before had the template 0.
pub fn stateful_set(workload: &Workload, template: usize) -> Result<StatefulSet, Unforeseeable> {
    let is_on_delete = is_on_delete(workload)?;
    let (unavailable, _) = amounts(workload)?;
    Ok(StatefulSet {
        replicas: workload.replicas().into(),
        unavailable: unavailable.of(workload.replicas(), f64::floor).max(1),
        partition: workload.partition().into(),
        is_ordered: !workload.is_parallel(),
        is_on_delete,
        template,
        current: 0,
    })
}

/// What a DaemonSet says, on so many nodes.
pub fn daemon_set(workload: &Workload, template: usize, nodes: i32) -> Result<DaemonSet, Unforeseeable> {
    let is_on_delete = is_on_delete(workload)?;
    let (unavailable, surge) = amounts(workload)?;
    let Fenceposts { surge, unavailable, .. } = Fenceposts::on_nodes(nodes, unavailable, surge);
    Ok(DaemonSet { nodes: (0..nodes.into()).collect(), surge, unavailable, is_on_delete, template })
}

fn is_on_delete(workload: &Workload) -> Result<bool, Unforeseeable> {
    match workload.strategy() {
        Strategy::OnDelete => Ok(true),
        Strategy::RollingUpdate => Ok(false),
        _ => Err(Unforeseeable::Strategy),
    }
}

/// `maxUnavailable` and `maxSurge`.
pub fn amounts(workload: &Workload) -> Result<(Amount, Amount), Unforeseeable> {
    let parse = |amount| Amount::parse(amount).ok_or(Unforeseeable::Strategy);
    Ok((parse(workload.max_unavailable())?, parse(workload.max_surge())?))
}

fn summarize(plan: &Plan, life: &Life, courses: Vec<Course>) -> Result<Forecast, Unforeseeable> {
    let workload = plan.workload;
    let (floors, peaks) = (courses.iter().map(|it| it.floor), courses.iter().map(|it| it.peak));
    let (floor, peak) = (floors.min().unwrap_or(0), peaks.max().unwrap_or(0));
    let peak_of_active = courses.iter().map(|it| it.peak_of_active).max().unwrap_or(0);
    let ends = || courses.iter().map(|it| it.last_available);
    let duration = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
    let limits = workload.fenceposts();
    let max_unavailable = match workload.kind() {
        // Its controller does not hold it against the partition.
        Kind::StatefulSet if workload.rolls() => Some(stateful_set(workload, 0)?.unavailable),
        // Its controller counts with none.
        _ if workload.strategy() == Strategy::BlueGreen => Some(0),
        _ => limits.map(|limits| limits.unavailable),
    };
    let Some(slowest) = courses.into_iter().last() else { return Err(Unforeseeable::Strategy) };
    let stalls = stall::reason(plan, life, &slowest);
    Ok(Forecast {
        replicas: workload.replicas(),
        is_per_node: workload.kind() == Kind::DaemonSet,
        max_unavailable,
        max_surge: limits.filter(|_| workload.kind().has_surge()).map(|limits| limits.surge),
        floor,
        peak,
        peak_of_active,
        waves: waves(workload, &slowest),
        duration: stalls.is_none().then_some(duration),
        stalls,
        waits_for: slowest.waits_for,
        assumed: plan.assumed,
        grounds: Grounds::of(plan, life),
        steps: slowest.steps,
    })
}

/// Where pods of a batch come one after the other, it is the batches that count.
fn waves(workload: &Workload, course: &Course) -> usize {
    let is_ordered = workload.kind() == Kind::StatefulSet && !workload.is_parallel();
    let batch = workload.fenceposts().and_then(|limits| usize::try_from(limits.unavailable).ok());
    match batch.filter(|_| is_ordered) {
        Some(batch) => course.waves.div_ceil(batch.max(1)),
        None => course.waves,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A workload of ten pods whose container is asked for its readiness every 5 s and
    /// sleeps 10 s before it ends.
    fn object(kind: &str, spec: Value) -> Value {
        let api_version = if kind == "Rollout" { "argoproj.io/v1alpha1" } else { "apps/v1" };
        let mut object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 10,
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 40,
                        "containers": [{
                            "name": "app",
                            "ports": [{"containerPort": 80}],
                            "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5},
                            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                        }],
                    },
                },
            },
        });
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        object
    }

    fn foretold(object: &Value) -> Forecast {
        foretold_from(object, None)
    }

    fn foretold_from(object: &Value, from: Option<&Value>) -> Forecast {
        let workload = Workload::read(object).unwrap();
        let from = from.map(|from| Workload::read(from).unwrap());
        let assumed = Assumed::default();
        foretell(&Plan { workload: &workload, from: from.as_ref(), assumed, quota: None }).unwrap()
    }

    fn says(grounds: &Grounds, part: &str) -> bool {
        grounds.assumed.iter().any(|it| it.contains(part))
    }

    fn rolling(replicas: i32, max_unavailable: Value, max_surge: Value) -> Value {
        let rolling_update = json!({"maxUnavailable": max_unavailable, "maxSurge": max_surge});
        object("Deployment", json!({"replicas": replicas, "strategy": {"rollingUpdate": rolling_update}}))
    }

    #[test]
    fn ten_pods_in_four_waves() {
        let forecast = foretold(&rolling(10, json!(0), json!("25%")));
        assert_eq!((forecast.max_unavailable, forecast.max_surge), (Some(0), Some(3)));
        assert_eq!((forecast.floor, forecast.peak, forecast.peak_of_active), (10, 20, 13));
        assert_eq!((forecast.waves, forecast.duration), (4, Some((22_400, 30_400))));
        assert_eq!((forecast.stalls, forecast.waits_for), (None, None));
        let step = |at, old, new, available, terminating| Step { at, old, new, available, terminating };
        // The last old pod is gone 12 s after the last new one is available.
        let expected = [
            step(0, 10, 0, 10, 0),
            step(0, 10, 3, 10, 0),
            step(7_600, 7, 6, 10, 3),
            step(15_200, 4, 9, 10, 6),
            step(19_600, 4, 9, 10, 3),
            step(22_800, 1, 10, 10, 6),
            step(27_200, 1, 10, 10, 3),
            step(30_400, 0, 10, 10, 4),
            step(34_800, 0, 10, 10, 1),
            step(42_400, 0, 10, 10, 0),
        ];
        assert_eq!(forecast.steps, expected);
    }

    /// Measured on a node: two pods with the same probe took 12.03 to 12.63 s, one at once
    /// 6.08 to 6.61 s.
    #[test]
    fn the_range_holds_what_was_measured() {
        for (unavailable, surge, waves, measured) in [(0, 1, 2, [12_030, 12_630]), (1, 1, 1, [6_080, 6_610])]
        {
            let forecast = foretold(&rolling(2, json!(unavailable), json!(surge)));
            let (least, most) = forecast.duration.unwrap();
            assert_eq!(forecast.waves, waves);
            assert!(measured.iter().all(|it| (least..=most).contains(it)), "{forecast:?}");
        }
    }

    /// What the controller makes of the amounts: the lowest number, the most pods that
    /// stay, and the waves.
    #[test]
    fn floor_peak_and_waves() {
        #[rustfmt::skip]
        let table = [
            (1, json!(0), json!(1), 1, 2, 2, 1),
            (1, json!(1), json!(0), 0, 1, 2, 1),
            (2, json!(0), json!("25%"), 2, 3, 4, 2),
            (2, json!("1%"), json!("0%"), 1, 2, 4, 2),
            (3, json!("34%"), json!("34%"), 2, 5, 6, 1),
            (4, json!("25%"), json!("25%"), 3, 5, 8, 2),
            (4, json!("100%"), json!(0), 0, 4, 8, 1),
            (5, json!("20%"), json!("20%"), 4, 6, 10, 3),
            (10, json!("25%"), json!("25%"), 8, 13, 20, 2),
            (0, json!(0), json!(1), 0, 0, 0, 0),
        ];
        for (replicas, unavailable, surge, floor, active, peak, waves) in table {
            let forecast = foretold(&rolling(replicas, unavailable, surge));
            let found = (forecast.floor, forecast.peak_of_active, forecast.peak, forecast.waves);
            assert_eq!(found, (floor, active, peak, waves), "{replicas}");
        }
    }

    /// Pods that start quickly meet more of those that end slowly: the first old pod is
    /// there from 5.6 s to 22.6 s, and the fourth new one is available at 22.4 s.
    #[test]
    fn the_peak_is_the_greatest_over_the_range() {
        let mut object = rolling(5, json!(0), json!(1));
        object["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] =
            json!(15);
        let forecast = foretold(&object);
        let of_slowest = forecast.steps.iter().map(|step| step.old + step.new + step.terminating).max();
        assert_eq!((forecast.peak, of_slowest), (10, Some(9)));
    }

    /// What follows from the controllers' rules for any numbers, of a canary without steps
    /// likewise.
    #[test]
    fn any_amounts() {
        for replicas in 1..=9_i64 {
            for (unavailable, surge) in
                (0..=replicas).flat_map(|one| (0..=replicas + 1).map(move |other| (one, other)))
            {
                if (unavailable, surge) == (0, 0) {
                    continue;
                }
                let amounts = json!({"maxUnavailable": unavailable, "maxSurge": surge});
                let strategies = [("Deployment", "rollingUpdate"), ("Rollout", "canary")];
                let [deployment, canary] = strategies.map(|(kind, block)| {
                    foretold(&object(kind, json!({"replicas": replicas, "strategy": {block: amounts}})))
                });
                let case = format!("{replicas} {unavailable} {surge}");
                let waves = (replicas + unavailable + surge - 1) / (unavailable + surge);
                assert_eq!(
                    (deployment.floor, deployment.waves as i64),
                    (replicas - unavailable, waves),
                    "{case}"
                );
                assert_eq!(deployment.peak_of_active, replicas + surge.min(replicas), "{case}");
                assert_eq!(deployment.duration, Some((5_600 * waves as u64, 7_600 * waves as u64)), "{case}");
                assert!(deployment.peak <= 2 * replicas, "{case}");
                assert_eq!(deployment.steps, canary.steps, "{case}");
            }
        }
    }

    /// As long as the rules for batches say.
    #[test]
    fn any_stateful_set() {
        for (replicas, unavailable, partition) in (1..=6_u64)
            .flat_map(|all| (1..=all + 1).flat_map(move |one| (0..=all).map(move |other| (all, one, other))))
        {
            let rolling_update = json!({"maxUnavailable": unavailable, "partition": partition});
            let rolled = replicas - partition;
            let batches = rolled.div_ceil(unavailable);
            for (policy, starts) in [("OrderedReady", rolled), ("Parallel", batches)] {
                let mut object = stateful(policy, rolling_update.clone());
                object["spec"]["replicas"] = json!(replicas);
                let forecast = foretold(&object);
                let case = format!("{policy} {replicas} {unavailable} {partition}");
                assert_eq!(forecast.waves as u64, batches, "{case}");
                let most = batches * 12_000 + starts * 7_600;
                assert_eq!(forecast.duration.map(|(_, most)| most), Some(most), "{case}");
                assert_eq!(forecast.floor as u64, replicas - unavailable.min(rolled), "{case}");
                assert_eq!(forecast.waits_for.is_some(), partition > 0, "{case}");
            }
        }
    }

    #[test]
    fn recreate_is_an_outage_of_end_and_start() {
        let forecast = foretold(&object("Deployment", json!({"strategy": {"type": "Recreate"}})));
        assert_eq!((forecast.floor, forecast.waves), (0, 1));
        assert_eq!((forecast.max_unavailable, forecast.max_surge), (None, None));
        // 10 s of sleep, 1 s until the process ends, 0.1 to 0.2 s until that is known.
        assert_eq!(forecast.duration, Some((11_100 + 5_600, 11_200 + 7_600)));
    }

    #[test]
    fn a_paused_one_waits_where_it_is() {
        let forecast = foretold(&object("Deployment", json!({"paused": true})));
        assert_eq!(
            (forecast.stalls.as_deref(), forecast.duration, forecast.steps.len()),
            (None, Some((0, 0)), 1)
        );
        assert!(forecast.waits_for.unwrap().contains("spec.paused"));
    }

    #[test]
    fn from_another_version() {
        let mut old = rolling(4, json!(0), json!(1));
        let new = rolling(6, json!(0), json!(2));
        let scaled = foretold_from(&new, Some(&old));
        assert_eq!((scaled.floor, scaled.peak, scaled.waves), (4, 6, 1), "only more pods");
        old["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:1");
        let rolled = foretold_from(&new, Some(&old));
        assert_eq!((rolled.floor, rolled.peak_of_active, rolled.waves), (4, 8, 3));
        // The hook of the old pods counts for their end.
        old["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = json!(null);
        let last = |forecast: &Forecast| forecast.steps.last().unwrap().at;
        assert_eq!(last(&rolled) - last(&foretold_from(&new, Some(&old))), 10_000);
    }

    fn object_with_surge(kind: &str) -> Value {
        object(kind, json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}))
    }

    #[test]
    fn new_pods_that_find_no_room_beside_the_old_ones() {
        let mut object = rolling(2, json!(0), json!(1));
        object["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(80);
        let forecast = foretold(&object);
        let stalls = forecast.stalls.unwrap();
        assert!(stalls.contains("(surge-deadlock); it stands at 2 old and 1 new pods, 2"), "{stalls}");
        assert_eq!((forecast.duration, forecast.waves, forecast.floor), (None, 0, 2));
        object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(1);
        assert_eq!(foretold(&object).stalls, None, "an old one may go first");

        let mut claim = rolling(2, json!(0), json!(1));
        claim["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
        let Forecast { stalls, grounds, .. } = foretold(&claim);
        assert_eq!((stalls, says(&grounds, "(surge-deadlock)")), (None, true), "nobody knows");

        // On its own node a new pod mounts what the old one does.
        let mut daemons = object_with_surge("DaemonSet");
        daemons["spec"]["template"]["spec"]["volumes"] = claim["spec"]["template"]["spec"]["volumes"].clone();
        let Forecast { stalls, grounds, .. } = foretold(&daemons);
        assert_eq!((stalls, says(&grounds, "(surge-deadlock)")), (None, false));
        daemons["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        assert!(
            foretold(&daemons).stalls.unwrap().contains("allows one pod per node, and the old one does not")
        );

        // In each its own words.
        let stalls = |pod: Value| {
            let mut object = rolling(2, json!(0), json!(1));
            for (key, value) in pod.as_object().unwrap() {
                object["spec"]["template"]["spec"][key] = value.clone();
            }
            foretold(&object).stalls.unwrap()
        };
        let disk = stalls(json!({"volumes": [{"name": "data", "fc": {}}]}));
        assert!(disk.contains("one node mounts the volume data"), "{disk}");
        let devices = stalls(json!({"resourceClaims": [{"name": "gpu"}]}));
        assert!(devices.contains("is one pod's own"), "{devices}");
    }

    #[test]
    fn a_probe_that_cannot_pass_stops_it_at_its_first_step() {
        let mut object = rolling(4, json!(1), json!(1));
        object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"] =
            json!("web");
        let stalls = foretold(&object).stalls.unwrap();
        let stands = "(unknown-probe-port); it stands at 3 old and 2 new pods, 3 of them available";
        assert!(stalls.ends_with(stands), "{stalls}");
    }

    #[test]
    fn a_deadline_is_for_each_step() {
        let with = |delay: i32, deadline: i32| {
            let mut object = rolling(4, json!(0), json!(1));
            object["spec"]["progressDeadlineSeconds"] = json!(deadline);
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["readinessProbe"]["initialDelaySeconds"] = json!(delay);
            foretold(&object)
        };
        let fine = with(30, 60);
        assert!(!says(&fine.grounds, "reported as failed"));
        assert_eq!(fine.stalls, None, "four steps of 30 s and more");
        let late = with(60, 60);
        assert!(late.stalls.unwrap().ends_with("(unreachable-progress-deadline)"));
        assert_eq!((late.duration, late.waves), (None, 4), "the controller goes on");
        assert!(says(&with(28, 32).grounds, "reported as failed"), "27.6 to 32.6 s");
        assert!(with(0, 3).stalls.is_some(), "5 s at least");
    }

    fn stateful(policy: &str, rolling_update: Value) -> Value {
        let strategy = json!({"rollingUpdate": rolling_update});
        object(
            "StatefulSet",
            json!({"podManagementPolicy": policy, "updateStrategy": strategy, "replicas": 4}),
        )
    }

    #[test]
    fn stateful_sets() {
        // Hook 10 s, end 1 s, object gone after another 0.5 to 1 s; then 5.6 to 7.6 s.
        let (end, start) = ((11_500, 12_000), (5_600_u64, 7_600_u64));
        let takes = |batches: u64, pods: u64| {
            Some((batches * end.0 + pods * start.0, batches * end.1 + pods * start.1))
        };
        #[rustfmt::skip]
        let table = [
            ("OrderedReady", json!({}), 1, 3, 4, takes(4, 4)),
            ("OrderedReady", json!({"maxUnavailable": 2}), 2, 2, 2, takes(2, 4)),
            ("OrderedReady", json!({"maxUnavailable": "100%"}), 4, 0, 1, takes(1, 4)),
            ("Parallel", json!({}), 1, 3, 4, takes(4, 4)),
            ("Parallel", json!({"maxUnavailable": 2}), 2, 2, 2, takes(2, 2)),
            ("Parallel", json!({"maxUnavailable": 3}), 3, 1, 2, takes(2, 2)),
            ("OrderedReady", json!({"partition": 1, "maxUnavailable": 2}), 2, 2, 2, takes(2, 3)),
        ];
        for (policy, rolling_update, unavailable, floor, waves, duration) in table {
            let forecast = foretold(&stateful(policy, rolling_update.clone()));
            let found = (forecast.max_unavailable, forecast.floor, forecast.waves, forecast.duration);
            assert_eq!(found, (Some(unavailable), floor, waves, duration), "{policy} {rolling_update}");
            assert_eq!((forecast.max_surge, forecast.peak, forecast.stalls), (None, 4, None));
        }
    }

    #[test]
    fn what_a_stateful_set_waits_for() {
        let held = foretold(&stateful("Parallel", json!({"partition": 4})));
        assert_eq!((held.waves, held.duration, held.steps.len()), (0, Some((0, 0)), 1));
        assert_eq!(held.max_unavailable, Some(1));
        assert!(held.stalls.is_none() && held.waits_for.unwrap().contains("partition 4"));
        let on_delete = foretold(&object("StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}})));
        assert_eq!(
            (on_delete.max_unavailable, on_delete.max_surge, on_delete.duration),
            (None, None, Some((0, 0)))
        );
        assert!(on_delete.stalls.is_none() && on_delete.waits_for.unwrap().contains("OnDelete"));
    }

    #[test]
    fn ordered_ready_behind_a_broken_pod() {
        for (policy, is_ordered) in [("OrderedReady", true), ("Parallel", false)] {
            let mut object = stateful(policy, json!({}));
            object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"] =
                json!("web");
            let stalls = foretold(&object).stalls.unwrap();
            assert!(
                stalls.contains("(unknown-probe-port); it stands at 3 old and 1 new pods, 3"),
                "{stalls}"
            );
            assert_eq!(stalls.contains("somebody deletes"), is_ordered, "{stalls}");
        }
    }

    #[test]
    fn daemon_sets_on_one_node() {
        let daemons = |rolling_update| {
            foretold(&object("DaemonSet", json!({"updateStrategy": {"rollingUpdate": rolling_update}})))
        };
        let gap = daemons(json!({"maxUnavailable": "30%"}));
        assert_eq!((gap.replicas, gap.max_unavailable, gap.max_surge), (1, Some(1), Some(0)));
        assert_eq!((gap.floor, gap.peak, gap.waves), (0, 2, 1));
        assert_eq!(gap.duration, Some((11_100 + 5_600, 11_200 + 7_600)));
        let surge = daemons(json!({"maxUnavailable": 0, "maxSurge": 1}));
        assert_eq!((surge.max_unavailable, surge.max_surge), (Some(0), Some(1)));
        assert_eq!((surge.floor, surge.peak, surge.waves, surge.duration), (1, 2, 1, Some((5_600, 7_600))));
    }

    fn rollout(strategy: Value) -> Forecast {
        foretold(&object("Rollout", json!({"strategy": strategy, "replicas": 4})))
    }

    #[test]
    fn a_canary_goes_by_its_steps() {
        let amounts = |steps: Value| json!({"canary": {"maxUnavailable": 0, "maxSurge": 1, "steps": steps}});
        let plain = rollout(amounts(json!([])));
        assert_eq!((plain.floor, plain.peak_of_active, plain.waves), (4, 5, 4));
        assert_eq!((plain.max_unavailable, plain.max_surge), (Some(0), Some(1)));
        for (span, seconds) in [(json!("10m"), 600), (json!(90), 90), (json!("90"), 90), (json!("1m30s"), 90)]
        {
            let paused = rollout(amounts(json!([{"setWeight": 20}, {"pause": {"duration": span}}])));
            assert_eq!(
                paused.duration,
                Some((4 * 5_600 + seconds * 1_000, 4 * 7_600 + seconds * 1_000)),
                "{span}"
            );
            assert_eq!((paused.waves, paused.floor, paused.waits_for), (4, 4, None));
        }
        let waiting = rollout(amounts(json!([{"setWeight": 50}, {"pause": {}}, {"analysis": {}}])));
        assert_eq!((waiting.duration, waiting.waves), (Some((11_200, 15_200)), 2));
        assert!(waiting.stalls.is_none() && waiting.waits_for.unwrap().starts_with("step 2"));
        assert!(says(&waiting.grounds, "its analyses and experiments"));
        assert_eq!(waiting.steps.last().map(|step| (step.old, step.new)), Some((2, 2)));

        // Its first step comes before the pause.
        let strategy = amounts(json!([{"setWeight": 50}, {"pause": {}}]));
        let mut late = object("Rollout", json!({"strategy": strategy, "progressDeadlineSeconds": 30}));
        late["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["initialDelaySeconds"] =
            json!(60);
        assert!(foretold(&late).stalls.unwrap().contains("(unreachable-progress-deadline)"));
    }

    #[test]
    fn a_canary_behind_a_router_keeps_its_stable_pods() {
        let routing = json!({"trafficRouting": {}, "steps": [{"setWeight": 25}]});
        let forecast = rollout(json!({"canary": routing}));
        assert_eq!((forecast.max_unavailable, forecast.max_surge), (None, None));
        assert_eq!((forecast.floor, forecast.peak, forecast.waves), (4, 8, 2));
        // 30 s after the last new pod is available, the former ones end in 12 s.
        assert_eq!(forecast.steps.last().map(|step| step.at), Some(2 * 7_600 + 30_000 + 12_000));
    }

    #[test]
    fn blue_green_has_twice_as_many() {
        let forecast = rollout(json!({"blueGreen": {"scaleDownDelaySeconds": 60}}));
        assert_eq!((forecast.max_unavailable, forecast.max_surge), (Some(0), None));
        assert_eq!((forecast.floor, forecast.peak, forecast.waves), (4, 8, 1));
        assert_eq!(forecast.duration, Some((5_600, 7_600)));
        assert_eq!(forecast.steps.last().map(|step| step.at), Some(7_600 + 60_000 + 12_000));
        let held = rollout(json!({"blueGreen": {"autoPromotionEnabled": false}}));
        assert_eq!((held.stalls, held.duration), (None, Some((5_600, 7_600))));
        assert!(held.waits_for.unwrap().contains("autoPromotionEnabled"));
        let timed = rollout(json!({"blueGreen": {"autoPromotionEnabled": false, "autoPromotionSeconds": 5}}));
        assert_eq!(timed.waits_for, None);
    }

    #[test]
    fn new_pods_beside_all_old_ones_need_room_too() {
        for strategy in [json!({"blueGreen": {}}), json!({"canary": {"trafficRouting": {}}})] {
            let mut object = object("Rollout", json!({"strategy": strategy, "replicas": 4}));
            object["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(80);
            assert!(foretold(&object).stalls.unwrap().contains("surge-deadlock"), "{strategy}");
        }
    }

    #[test]
    fn what_nobody_can_foretell() {
        let unforeseeable = |object: &Value| {
            let workload = Workload::read(object).unwrap();
            let plan = Plan { workload: &workload, from: None, assumed: Assumed::default(), quota: None };
            foretell(&plan).unwrap_err()
        };
        let with = |kind, spec| unforeseeable(&object(kind, spec));
        assert_eq!(with("Deployment", json!({"strategy": {"type": "Blue"}})), Unforeseeable::Strategy);
        let reference = json!({"workloadRef": {}, "strategy": {"canary": {}}});
        assert_eq!(with("Rollout", reference), Unforeseeable::TemplateElsewhere);
        assert_eq!(with("Deployment", json!({"replicas": 5_001})), Unforeseeable::TooManyPods);
        let many = json!({"strategy": {"blueGreen": {"previewReplicaCount": i32::MAX}}});
        assert_eq!(with("Rollout", many), Unforeseeable::TooManyPods);
        let routed = |step: Value| json!({"strategy": {"canary": {"trafficRouting": {}, "steps": [step]}}});
        let many = routed(json!({"setCanaryScale": {"replicas": i32::MAX}}));
        assert_eq!(with("Rollout", many), Unforeseeable::TooManyPods);
        let pause = routed(json!({"pause": {"duration": "soon"}}));
        assert_eq!(with("Rollout", pause), Unforeseeable::Strategy);
    }
}
