//! Rollouts as data: what a workload says, and what happens one after the other.

use std::fmt;

use gapless::kubernetes::int_or_string::Amount;
use gapless::kubernetes::kind::Kind;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use serde_json::{Value, json};

/// A workload, and what happens to it once all of its pods are available.
#[derive(Clone, Debug)]
pub struct Case {
    pub says: Says,
    pub moves: Vec<Move>,
}

/// How many templates there may be, one after the other.
pub const TEMPLATES: usize = 4;

/// What a workload says, as far as it differs from case to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    pub kind: Kind,
    /// Of a DaemonSet the number of nodes.
    pub replicas: i32,
    pub unavailable: Amount,
    /// Not of a StatefulSet.
    pub surge: Amount,
    /// Of a StatefulSet alone.
    pub partition: i32,
    pub is_parallel: bool,
    /// More than a case lasts, or 0: how long a pod has been ready the kubelet says.
    pub min_ready: i32,
    /// Recreate of a Deployment, else OnDelete.
    pub is_other_strategy: bool,
    pub is_paused: bool,
    pub template: usize,
    /// The template whose pods never get ready.
    pub broken: Option<usize>,
}

/// What happens. A number chooses one of those to which it can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A pod gets ready, or becomes available.
    Start(u8),
    /// A pod that is ready no longer is.
    Fail(u8),
    /// The containers of a deleted pod end; or its object is gone.
    End(u8),
    /// Somebody deletes a pod.
    Remove(u8),
    /// Another template, or an older one again.
    Template(usize),
    Scale(i32),
    /// Another template and another number in one update.
    Both(usize, i32),
    Amounts(Amount, Amount),
    Partition(i32),
    OtherStrategy(bool),
    Pause(bool),
}

impl Says {
    /// One pod.
    pub fn of_one(kind: Kind) -> Says {
        let none = Amount::Count(0);
        Says {
            kind,
            replicas: 1,
            unavailable: Amount::Count(1),
            surge: none,
            partition: 0,
            is_parallel: false,
            min_ready: 0,
            is_other_strategy: false,
            is_paused: false,
            template: 0,
            broken: None,
        }
    }

    /// The same after a move that changes it.
    pub fn after(&self, change: Move) -> Says {
        let mut says = self.clone();
        match change {
            Move::Template(template) => says.template = template,
            Move::Scale(replicas) => says.replicas = replicas,
            Move::Both(template, replicas) => (says.template, says.replicas) = (template, replicas),
            Move::Amounts(unavailable, surge) => (says.unavailable, says.surge) = (unavailable, surge),
            Move::Partition(partition) => says.partition = partition,
            Move::OtherStrategy(is_other) => says.is_other_strategy = is_other,
            Move::Pause(is_paused) => says.is_paused = is_paused,
            Move::Start(_) | Move::Fail(_) | Move::End(_) | Move::Remove(_) => {}
        }
        says
    }

    /// Its manifest. Pods are on a node from the beginning, but for those of a DaemonSet, whose
    /// controller wants to have them bound.
    pub fn manifest(&self, name: &str) -> Value {
        let mut pod = json!({
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
        });
        match self.kind {
            Kind::DaemonSet => {
                pod["nodeSelector"] = json!({(selecting(self.replicas)): "true"});
                // Nobody says of the nodes that they are ready.
                pod["tolerations"] = json!([{"operator": "Exists"}]);
            }
            _ => pod["nodeName"] = json!("node-0"),
        }
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "minReadySeconds": self.min_ready,
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"template": self.template.to_string()}},
                "spec": pod,
            },
        });
        let (strategy, other) = match self.kind {
            Kind::Deployment => ("strategy", "Recreate"),
            _ => ("updateStrategy", "OnDelete"),
        };
        spec[strategy] = match self.is_other_strategy {
            true => json!({"type": other, "rollingUpdate": null}),
            false => json!({"type": "RollingUpdate", "rollingUpdate": self.rolling_update()}),
        };
        if self.kind != Kind::DaemonSet {
            spec["replicas"] = json!(self.replicas);
        }
        if self.kind == Kind::Deployment {
            spec["paused"] = json!(self.is_paused);
        }
        if self.kind == Kind::StatefulSet {
            spec["serviceName"] = json!(name);
            spec["podManagementPolicy"] = json!(if self.is_parallel { "Parallel" } else { "OrderedReady" });
        }
        json!({"apiVersion": "apps/v1", "kind": self.kind.name(), "metadata": {"name": name}, "spec": spec})
    }

    fn rolling_update(&self) -> Value {
        let amount = |amount: Amount| match amount {
            Amount::Count(count) => json!(count),
            Amount::Percent(percent) => json!(format!("{percent}%")),
        };
        match self.kind {
            Kind::StatefulSet => {
                json!({"maxUnavailable": amount(self.unavailable), "partition": self.partition})
            }
            _ => json!({"maxUnavailable": amount(self.unavailable), "maxSurge": amount(self.surge)}),
        }
    }
}

/// The label of the first so many nodes.
pub fn selecting(nodes: i32) -> String {
    format!("one-of-{nodes}")
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.says, self.moves)
    }
}

/// The most pods of a case, or nodes: each of the orders of nodes is tried.
const MOST_PODS: i32 = 8;
const MOST_NODES: i32 = 5;

/// Cases of one kind.
pub fn cases(kind: Kind) -> BoxedStrategy<Case> {
    let most = if kind == Kind::DaemonSet { MOST_NODES } else { MOST_PODS };
    let of_workload = (1..=most, amounts(kind), 0..3, any::<bool>());
    let of_time =
        (prop_oneof![3 => Just(0), 1 => Just(300)], is_rare(8), option::weighted(0.2, 1..TEMPLATES));
    let moves = vec(a_move(kind), 8..36);
    (of_workload, of_time, moves)
        .prop_map(move |(workload, time, mut moves)| {
            let (replicas, (unavailable, surge), partition, is_parallel) = workload;
            let (min_ready, is_other_strategy, broken) = time;
            // No case is about pods that only fail.
            moves.insert(0, Move::Template(1));
            let says = Says {
                kind,
                replicas,
                unavailable,
                surge,
                partition: if kind == Kind::StatefulSet { partition } else { 0 },
                is_parallel: kind == Kind::StatefulSet && is_parallel,
                min_ready,
                is_other_strategy,
                is_paused: false,
                template: 0,
                broken,
            };
            Case { says, moves }
        })
        .boxed()
}

fn is_rare(one_in: u32) -> impl Strategy<Value = bool> {
    prop_oneof![one_in - 1 => Just(false), 1 => Just(true)]
}

/// `maxUnavailable` and `maxSurge` as the API server accepts them.
fn amounts(kind: Kind) -> BoxedStrategy<(Amount, Amount)> {
    let amount = |least: i32| {
        let percents = vec![least, 1, 10, 20, 25, 33, 34, 50, 67, 75, 99, 100];
        prop_oneof![
            (least..=4).prop_map(Amount::Count),
            proptest::sample::select(percents).prop_map(Amount::Percent),
        ]
    };
    let none = Amount::Count(0);
    match kind {
        Kind::StatefulSet => amount(1).prop_map(move |unavailable| (unavailable, none)).boxed(),
        Kind::DaemonSet => (amount(1), any::<bool>())
            .prop_map(move |(one, is_surge)| if is_surge { (none, one) } else { (one, none) })
            .boxed(),
        _ => prop_oneof![(amount(0), amount(1)), (amount(1), amount(0)),].boxed(),
    }
}

fn a_move(kind: Kind) -> BoxedStrategy<Move> {
    let pods = prop_oneof![
        12 => any::<u8>().prop_map(Move::Start),
        8 => any::<u8>().prop_map(Move::End),
        2 => any::<u8>().prop_map(Move::Fail),
        2 => any::<u8>().prop_map(Move::Remove),
    ];
    let of_all = prop_oneof![
        3 => (0..TEMPLATES).prop_map(Move::Template),
        1 => amounts(kind).prop_map(|(unavailable, surge)| Move::Amounts(unavailable, surge)),
    ];
    let of_several = prop_oneof![
        3 => (0..=MOST_PODS).prop_map(Move::Scale),
        1 => (0..TEMPLATES, 0..=MOST_PODS).prop_map(|(template, replicas)| Move::Both(template, replicas)),
    ];
    let of_kind = match kind {
        Kind::StatefulSet => prop_oneof![
            4 => (0..=MOST_PODS).prop_map(Move::Partition),
            1 => is_rare(3).prop_map(Move::OtherStrategy),
            6 => of_several,
        ]
        .boxed(),
        Kind::DaemonSet => is_rare(3).prop_map(Move::OtherStrategy).boxed(),
        _ => prop_oneof![
            2 => any::<bool>().prop_map(Move::Pause),
            1 => is_rare(3).prop_map(Move::OtherStrategy),
            6 => of_several,
        ]
        .boxed(),
    };
    prop_oneof![22 => pods, 3 => of_all, 2 => of_kind].boxed()
}
