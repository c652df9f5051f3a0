//! When a pod is ready, when it is available, and when it is gone: what the kubelet does
//! with one pod, in spans of time.
//!
//! A manifest does not tell how fast an application is, so that is [`Assumed`]. The kubelet
//! itself is not exact either: each span has a least and a most.

use std::ops::Add;

use super::world::{Millis, millis, seconds};
use crate::kubernetes::int_or_string::IntOrString;
use crate::workload::Workload;
use crate::workload::object::{Container, Probe};

/// From a pod's creation until its containers run, with the image on the node: volumes,
/// sandbox, container. Measured on an idle node with kubelet 1.37.
const STARTED: Millis = 600;

/// The second readiness probe of a container comes so long after the first one at most: the
/// kubelet syncs a pod again after its next look at all containers, now and then the one
/// after that (kubernetes, pkg/kubelet/pod_workers.go, `podWorkerLoop`).
const SECOND_PROBE: Millis = 2_000;

/// The kubelet syncs each pod anew after 60 to 91 s, and probes one that is not ready then
/// (kubernetes, pkg/kubelet/pod_workers.go, `completeWork`).
const FIRST_RESYNC: Millis = 60_000;
const LAST_RESYNC: Millis = 91_000;

/// The start of a container counts in whole seconds for delays, and the time of getting
/// ready for `minReadySeconds`: a second may be missing.
const WHOLE_SECOND: Millis = 1_000;

/// Between SIGTERM and SIGKILL (kubernetes, pkg/kubelet/kuberuntime,
/// `minimumGracePeriodInSeconds`).
pub const LEAST_GRACE: Millis = 2_000;

/// From the end of a pod's containers until its phase is terminal, and until its object is
/// gone. Measured likewise.
const TERMINAL: Range = Range { least: 100, most: 200 };
const GONE: Range = Range { least: 500, most: 1_000 };

/// What no manifest tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// From the start of a container until it listens.
    pub starts_in: Millis,
    /// From SIGTERM to the end of a process.
    pub stops_in: Millis,
    /// How long an image is pulled.
    pub pull: Millis,
}

impl Default for Assumed {
    fn default() -> Self {
        Assumed { starts_in: 3_000, stops_in: 1_000, pull: 0 }
    }
}

/// A span of time that is not known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// It is no shorter.
    pub least: Millis,
    /// It is no longer.
    pub most: Millis,
}

impl Range {
    fn exactly(span: Millis) -> Self {
        Range { least: span, most: span }
    }

    fn at(self, pace: Pace) -> Millis {
        match pace {
            Pace::Quick => self.least,
            Pace::Slow => self.most,
        }
    }

    /// Whichever of both takes longer.
    fn max(self, other: Range) -> Range {
        Range { least: self.least.max(other.least), most: self.most.max(other.most) }
    }
}

impl Add for Range {
    type Output = Range;

    fn add(self, other: Range) -> Range {
        Range { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }
}

/// Which end of a range is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The least.
    Quick,
    /// The most.
    Slow,
}

/// What the pods of one template do: spans since their creation, and since their deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until it is ready; `None` for never.
    pub ready: Option<Millis>,
    /// Until it is available.
    pub available: Option<Millis>,
    /// Until all of its containers have ended.
    pub terminal: Millis,
    /// Until its object is gone.
    pub gone: Millis,
}

/// Why a pod never gets ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// In words.
    pub text: String,
    /// The rule that knows it.
    pub rule: &'static str,
}

/// The life of a pod, as far as it can be told.
#[derive(Clone, Debug)]
pub struct Life {
    /// From its creation until it is ready.
    pub ready: Result<Range, Obstacle>,
    /// From then on until it is available.
    pub min_ready: Range,
    /// From its deletion until all of its containers have ended.
    pub terminal: Range,
    /// From its deletion until its object is gone.
    pub gone: Range,
}

impl Life {
    /// That of the pods of a workload.
    pub fn of(workload: &Workload, assumed: &Assumed) -> Self {
        let min_ready = seconds(workload.min_ready_seconds().into());
        let (terminal, gone) = end(workload, assumed);
        Life {
            ready: ready(workload, assumed),
            min_ready: Range { least: min_ready.saturating_sub(WHOLE_SECOND), most: min_ready },
            terminal,
            gone,
        }
    }

    /// A life that begins and ends at this pace.
    pub fn timing(&self, begins: Pace, ends: Pace) -> Timing {
        let ready = self.ready.as_ref().ok().copied();
        let available = ready.map(|ready| ready + self.min_ready);
        Timing {
            ready: ready.map(|span| span.at(begins)),
            available: available.map(|span| span.at(begins)),
            terminal: self.terminal.at(ends),
            gone: self.gone.at(ends),
        }
    }
}

/// A pod is ready when all containers that stay are. Native sidecars start one after the
/// other, each when the one before has started; a regular container then.
fn ready(workload: &Workload, assumed: &Assumed) -> Result<Range, Obstacle> {
    let sidecars = workload.pod().init_containers.iter().filter(|it| it.is_native_sidecar());
    let mut running = Range::exactly(STARTED.saturating_add(assumed.pull));
    let mut all_ready = running;
    for sidecar in sidecars {
        let (started, ready) = container(sidecar, assumed)?;
        all_ready = all_ready.max(running + ready);
        running = running + started;
    }
    for regular in workload.containers() {
        let (_, ready) = container(regular, assumed)?;
        all_ready = all_ready.max(running + ready);
    }
    Ok(all_ready)
}

/// How long after it runs a container has started, and is ready.
fn container(container: &Container, assumed: &Assumed) -> Result<(Range, Range), Obstacle> {
    let (startup, readiness) = (container.startup_probe.as_ref(), container.readiness_probe.as_ref());
    obstacle(container, assumed).map_or(Ok(()), Err)?;
    let started = startup.map_or(Range::default(), |probe| startup_success(probe, assumed.starts_in));
    let Some(readiness) = readiness else { return Ok((started, started)) };
    let further = seconds(readiness.period_seconds() * (readiness.success_threshold() - 1));
    let ready = match startup {
        None => readiness_success(readiness, assumed.starts_in),
        Some(_) => readiness_after_startup(readiness, started),
    };
    Ok((started, ready + Range::exactly(further)))
}

/// What keeps a container from ever being ready.
fn obstacle(container: &Container, assumed: &Assumed) -> Option<Obstacle> {
    let (startup, liveness) = (container.startup_probe.as_ref(), container.liveness_probe.as_ref());
    let name = container.name;
    for (field, probe) in [("startupProbe", startup), ("readinessProbe", container.readiness_probe.as_ref())]
    {
        if let Some((_, IntOrString::String(port))) = probe.and_then(Probe::port)
            && !container.has_port_named(port)
        {
            let text =
                format!("the {field} of container {name} asks port {port:?}, which it does not declare");
            return Some(Obstacle { text, rule: "unknown-probe-port" });
        }
    }
    // A liveness probe is held back until the startup probe has passed.
    let (field, probe) = match startup {
        Some(startup) => ("startupProbe", startup),
        None => ("livenessProbe", liveness?),
    };
    let patience = seconds(probe.initial_delay_seconds() + probe.patience_seconds());
    (assumed.starts_in > patience).then(|| {
        let (patience, starts_in) = (patience / 1_000, assumed.starts_in / 1_000);
        let text = format!(
            "the {field} of container {name} has it killed after {patience} s, before it listens after {starts_in} s"
        );
        Obstacle { text, rule: "liveness-before-ready" }
    })
}

/// Startup probes tick from before the container's start on, so that the first one that
/// can succeed comes anywhere within a period (kubernetes, pkg/kubelet/prober/worker.go).
fn startup_success(probe: &Probe, listens: Millis) -> Range {
    let delay = seconds(probe.initial_delay_seconds());
    let least = listens.max(delay.saturating_sub(WHOLE_SECOND));
    let most = listens.max(delay).saturating_add(seconds(probe.period_seconds()));
    Range { least, most }
}

/// The first readiness probe that succeeds, of a container without a startup probe.
fn readiness_success(probe: &Probe, listens: Millis) -> Range {
    let (delay, period) = (seconds(probe.initial_delay_seconds()), seconds(probe.period_seconds()));
    let (earliest, latest) = (listens.max(delay.saturating_sub(WHOLE_SECOND)), listens.max(delay));
    let row = Range { least: first_of_row(earliest, period).least, most: first_of_row(latest, period).most };
    if row.most <= FIRST_RESYNC {
        return row;
    }
    // A sync comes in between and begins the row anew.
    let least = if row.least <= FIRST_RESYNC { row.least } else { earliest.max(FIRST_RESYNC) };
    Range { least, most: latest.saturating_add(period.min(LAST_RESYNC)).saturating_add(SECOND_PROBE) }
}

/// The first probe that is no earlier than `from`. They come when the container runs, up to
/// [`SECOND_PROBE`] later, and with each period from that one on.
fn first_of_row(from: Millis, period: Millis) -> Range {
    let period = period.max(1);
    let Some(before) = from.checked_sub(1) else { return Range::exactly(0) };
    let whole = before / period * period;
    let next = whole.saturating_add(period);
    match from - whole <= SECOND_PROBE {
        true => Range { least: from, most: from.saturating_add(period).max(SECOND_PROBE) },
        false => Range { least: next, most: next.saturating_add(SECOND_PROBE) },
    }
}

/// The success of a startup probe has the readiness probed at once, and begins its row. All
/// delays count from the container's start.
fn readiness_after_startup(readiness: &Probe, started: Range) -> Range {
    let delay = seconds(readiness.initial_delay_seconds());
    let later = match delay > started.least {
        true => delay
            .saturating_add(seconds(readiness.period_seconds()))
            .max(started.most.saturating_add(SECOND_PROBE)),
        false => started.most,
    };
    Range { least: started.least.max(delay.saturating_sub(WHOLE_SECOND)), most: later.max(started.most) }
}

/// When all containers have ended and when the object is gone. All hooks begin at once;
/// SIGTERM comes after a container's hook, for a native sidecar also after the regular
/// containers and the sidecars behind it have ended (kubernetes, pkg/kubelet/kuberuntime,
/// `killContainer` and `newTerminationOrdering`).
fn end(workload: &Workload, assumed: &Assumed) -> (Range, Range) {
    let grace = seconds(workload.grace_period_seconds());
    if grace == 0 {
        // The API server does not wait for the kubelet.
        return (Range::default(), Range::default());
    }
    let hook = |container: &Container| {
        container.lifecycle.pre_stop.as_ref().map_or(0, |hook| millis(hook.sleeps()).min(grace))
    };
    let after_signal = |told: Millis| {
        let left = grace.saturating_sub(told / 1_000 * 1_000).max(LEAST_GRACE);
        told.saturating_add(assumed.stops_in.min(left))
    };
    let regular = workload.containers().iter().map(|it| after_signal(hook(it))).max().unwrap_or(0);
    let sidecars = workload.pod().init_containers.iter().rev().filter(|it| it.is_native_sidecar());
    let ended = sidecars.fold(regular, |ended, sidecar| after_signal(hook(sidecar).max(ended.min(grace))));
    let ended = Range::exactly(ended.min(grace.saturating_add(LEAST_GRACE)));
    (ended + TERMINAL, ended + GONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn workload(pod: &Value, spec: Value) -> Value {
        let mut object = json!({"kind": "Deployment", "apiVersion": "apps/v1", "spec": spec});
        object["spec"]["template"] = json!({"spec": pod});
        object
    }

    fn life(pod: Value, starts_in: Millis) -> Life {
        let object = workload(&pod, json!({}));
        Life::of(&Workload::read(&object).unwrap(), &Assumed { starts_in, ..Assumed::default() })
    }

    /// When a pod with this one container is ready.
    fn ready(container: Value, starts_in: Millis) -> (f64, f64) {
        let ready = life(json!({"containers": [container]}), starts_in).ready.unwrap();
        (ready.least as f64 / 1e3, ready.most as f64 / 1e3)
    }

    fn probe(delay: i32, period: i32) -> Value {
        json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": delay, "periodSeconds": period})
    }

    /// Each span holds what was measured on a node with kubelet 1.37.
    #[test]
    fn a_pod_is_ready_when_the_row_of_its_probes_says_so() {
        #[rustfmt::skip]
        let table = [
            // delay, period, listens after -> least, most; measured
            (0, 5, 3_000, (5.6, 7.6), &[6.3, 7.5][..]),
            (0, 1, 3_000, (3.6, 4.6), &[3.8, 4.0]),
            (7, 5, 0, (6.6, 12.6), &[10.8]),
            (12, 10, 0, (11.6, 22.6), &[21.4]),
            (20, 60, 0, (60.6, 82.6), &[62.0]),
            (70, 200, 0, (69.6, 163.6), &[74.0, 78.0, 84.0]),
            (100, 50, 0, (99.6, 152.6), &[120.0, 133.0, 140.0]),
            (0, 10, 0, (0.6, 0.6), &[0.6]),
            (0, 10, 500, (1.1, 11.1), &[]),
            (0, 1, 500, (1.1, 2.6), &[]),
            (0, 200, 3_000, (60.6, 96.6), &[]),
            (250, 20, 3_000, (249.6, 272.6), &[]),
        ];
        for (delay, period, listens, expected, measured) in table {
            let found = ready(json!({"readinessProbe": probe(delay, period)}), listens);
            assert_eq!(found, expected, "{delay} {period} {listens}");
            for seconds in measured {
                assert!((found.0..=found.1).contains(seconds), "{delay} {period}: {seconds} {found:?}");
            }
        }
    }

    #[test]
    fn without_a_readiness_probe_a_running_container_is_ready() {
        assert_eq!(ready(json!({}), 3_000), (0.6, 0.6));
        assert_eq!(ready(json!({"startupProbe": probe(4, 5)}), 0), (3.6, 9.6));
    }

    #[test]
    fn readiness_comes_after_startup() {
        let both = |startup, readiness, starts_in| {
            ready(json!({"startupProbe": startup, "readinessProbe": readiness}), starts_in)
        };
        assert_eq!(both(probe(0, 1), probe(0, 10), 3_000), (3.6, 4.6), "at once");
        // Measured: startup at 5.3 s, ready at 16.4.
        assert_eq!(both(probe(0, 6), probe(8, 10), 0), (7.6, 18.6), "the row begins there");
    }

    #[test]
    fn several_successes_take_several_periods() {
        let mut twice = probe(0, 5);
        twice["successThreshold"] = json!(3);
        assert_eq!(ready(json!({"readinessProbe": twice}), 3_000), (15.6, 17.6));
    }

    #[test]
    fn the_slowest_container_decides_and_sidecars_come_first() {
        let pod = json!({
            "initContainers": [
                {"name": "migrate"},
                {"name": "proxy", "restartPolicy": "Always", "startupProbe": probe(0, 1)},
            ],
            "containers": [{"name": "app", "readinessProbe": probe(0, 5)}, {"name": "log"}],
        });
        // 0.6 s, then the proxy after 3 to 4 s, then the application after 5 to 7 s.
        assert_eq!(life(pod, 3_000).ready, Ok(Range { least: 8_600, most: 11_600 }));
    }

    #[test]
    fn min_ready_seconds_may_lack_a_second() {
        let object = workload(&json!({"containers": [{}]}), json!({"minReadySeconds": 10}));
        let life = Life::of(&Workload::read(&object).unwrap(), &Assumed::default());
        assert_eq!(life.timing(Pace::Quick, Pace::Quick).available, Some(9_600));
        assert_eq!(life.timing(Pace::Slow, Pace::Quick).available, Some(10_600));
    }

    #[test]
    fn probes_that_cannot_pass() {
        let named = json!({"httpGet": {"port": "http"}});
        let rule = |container: Value, starts_in| {
            let ready = life(json!({"containers": [container]}), starts_in).ready;
            ready.err().map(|obstacle| obstacle.rule)
        };
        assert_eq!(rule(json!({"readinessProbe": named}), 0), Some("unknown-probe-port"));
        assert_eq!(rule(json!({"startupProbe": named}), 0), Some("unknown-probe-port"));
        let declared = json!([{"name": "http", "containerPort": 80}]);
        assert_eq!(rule(json!({"readinessProbe": named, "ports": declared}), 0), None);
        for field in ["startupProbe", "livenessProbe"] {
            // 5 s and three times 10 s.
            assert_eq!(rule(json!({field: probe(5, 10)}), 35_000), None, "{field}");
            assert_eq!(rule(json!({field: probe(5, 10)}), 35_001), Some("liveness-before-ready"), "{field}");
        }
        let held_back = json!({"startupProbe": probe(60, 10), "livenessProbe": probe(0, 1)});
        assert_eq!(rule(held_back, 60_000), None);
    }

    #[test]
    fn a_pod_ends() {
        let ends = |pod: Value, stops_in| {
            let object = workload(&pod, json!({}));
            let assumed = Assumed { stops_in, ..Assumed::default() };
            let life = Life::of(&Workload::read(&object).unwrap(), &assumed);
            (life.terminal.most - 200, life.gone.least - 500, life.gone.most - 1_000)
        };
        let sleep = |seconds: i64| json!({"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}});
        let pod = |grace: Option<i64>, containers: Value| json!({"terminationGracePeriodSeconds": grace, "containers": containers});
        let all = |seconds: Millis| (seconds * 1_000, seconds * 1_000, seconds * 1_000);
        assert_eq!(ends(pod(None, json!([{}])), 1_000), all(1));
        assert_eq!(ends(pod(None, json!([sleep(10)])), 1_000), all(11));
        assert_eq!(ends(pod(None, json!([{}, sleep(10)])), 1_000), all(11), "the slowest");
        assert_eq!(ends(pod(None, json!([{}])), 60_000), all(30), "killed");
        assert_eq!(ends(pod(Some(10), json!([sleep(10)])), 60_000), all(12), "two more seconds");
        assert_eq!(ends(pod(Some(10), json!([sleep(60)])), 1_000), all(11), "the hook is cut off");
        let mut sidecar = sleep(3);
        sidecar["restartPolicy"] = json!("Always");
        let beside = json!({"containers": [sleep(10)], "initContainers": [sidecar]});
        assert_eq!(ends(beside, 1_000), all(12), "a sidecar's signal waits");
    }

    #[test]
    fn without_a_grace_period_the_object_goes_first() {
        let pod = json!({"terminationGracePeriodSeconds": 0, "containers": [{}]});
        let life = life(pod, 0);
        assert_eq!((life.terminal, life.gone), (Range::default(), Range::default()));
    }
}
