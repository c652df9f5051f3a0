//! How many pods a rolling update leaves available, with the arithmetic of each kind's
//! controller (kubernetes, pkg/controller/deployment/util/deployment_util.go,
//! pkg/controller/statefulset/stateful_set_utils.go, pkg/controller/daemon/util;
//! argo-rollouts, utils/replicaset/replicaset.go).

use super::Workload;
use crate::kubernetes::api_default;
use crate::kubernetes::int_or_string::Amount;
use crate::kubernetes::kind::Kind;
use crate::ownership::intent::Intent;

/// The limits of one rolling update, in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenceposts {
    /// How many pods there may be above `replicas`.
    pub surge: i64,
    /// How many of the `replicas` may be unavailable.
    pub unavailable: i64,
    /// How many stay available.
    pub available: i64,
}

impl Fenceposts {
    /// Those of a Deployment and of a Rollout's canary. Surge is rounded up and
    /// unavailable down; if both come to 0, unavailable becomes 1, so that the rollout
    /// can move at all; never more than `replicas` are unavailable.
    pub fn resolve(replicas: i32, max_unavailable: Amount, max_surge: Amount) -> Self {
        let unavailable = max_unavailable.of(replicas, f64::floor);
        Fenceposts::movable(replicas, unavailable, max_surge.of(replicas, f64::ceil))
    }

    /// Those of a StatefulSet, whose pods have names, so that none comes before the old
    /// one of its name is gone: unavailable is rounded down, but at least 1. Pods below
    /// the partition stay.
    pub fn in_order(replicas: i32, max_unavailable: Amount, partition: i32) -> Self {
        let unavailable = max_unavailable.of(replicas, f64::floor).max(1);
        let (replicas, partition) = (i64::from(replicas), i64::from(partition));
        let unavailable = unavailable.min((replicas - partition).max(0));
        Fenceposts { surge: 0, unavailable, available: replicas - unavailable }
    }

    /// Those of a DaemonSet on so many nodes: both are rounded up, and if both come to 0,
    /// unavailable becomes 1.
    pub fn on_nodes(nodes: i32, max_unavailable: Amount, max_surge: Amount) -> Self {
        let unavailable = max_unavailable.of(nodes, f64::ceil);
        Fenceposts::movable(nodes, unavailable, max_surge.of(nodes, f64::ceil))
    }

    /// Those under which a rollout can move at all.
    fn movable(replicas: i32, unavailable: i64, surge: i64) -> Self {
        let replicas = i64::from(replicas);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        let unavailable = unavailable.min(replicas);
        Fenceposts { surge, unavailable, available: replicas - unavailable }
    }

    /// Those of a DaemonSet on one node: a second pod comes before the first one goes,
    /// or the first one goes.
    pub fn on_one_node(max_surge: Amount) -> Self {
        match max_surge.is_zero() {
            true => Fenceposts { surge: 0, unavailable: 1, available: 0 },
            false => Fenceposts { surge: 1, unavailable: 0, available: 1 },
        }
    }
}

/// Who says how many replicas there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicasFrom {
    /// The user, provably.
    Manifest,
    /// The autoscaler, which keeps at least so many.
    Autoscaler,
    /// Perhaps nobody: the API server fills in 1.
    Nobody,
}

impl Workload<'_> {
    /// How many pods there are at least: `minReplicas` of the autoscaler, else
    /// `spec.replicas`, else 1. Of a DaemonSet it is 1, on each node.
    pub fn replicas(&self) -> i32 {
        if !self.kind().has_replicas() {
            return 1;
        }
        let written = self.spec().replicas.unwrap_or(api_default::REPLICAS);
        self.surroundings().autoscaler.as_ref().map_or(written, |autoscaler| autoscaler.min_replicas)
    }

    /// Who says so.
    pub fn replicas_from(&self) -> ReplicasFrom {
        if self.surroundings().autoscaler.is_some() {
            return ReplicasFrom::Autoscaler;
        }
        let intent = Intent::new(self.view(), self.context().origin);
        let is_written = self.spec().replicas.is_some() && intent.proves_replicas();
        if is_written { ReplicasFrom::Manifest } else { ReplicasFrom::Nobody }
    }

    /// The limits of this workload's rolling updates, of a DaemonSet's on one node. `None`
    /// if its strategy is another one, or its amounts are invalid.
    pub fn fenceposts(&self) -> Option<Fenceposts> {
        if !self.rolls() {
            return None;
        }
        let max_unavailable = Amount::parse(self.max_unavailable())?;
        let max_surge = Amount::parse(self.max_surge())?;
        Some(self.fenceposts_with(self.replicas(), max_unavailable, max_surge))
    }

    /// The limits that it would have with these numbers.
    pub fn fenceposts_with(&self, replicas: i32, max_unavailable: Amount, max_surge: Amount) -> Fenceposts {
        match self.kind() {
            Kind::Deployment | Kind::Rollout => Fenceposts::resolve(replicas, max_unavailable, max_surge),
            Kind::StatefulSet => Fenceposts::in_order(replicas, max_unavailable, self.partition()),
            Kind::DaemonSet => Fenceposts::on_one_node(max_surge),
        }
    }

    /// Whether a rolling update takes all pods down however many there are.
    pub fn takes_all_down(&self) -> bool {
        let all = |amount| matches!(amount, Amount::Percent(100..));
        self.rolls() && Amount::parse(self.max_unavailable()).is_some_and(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::int_or_string::IntOrString::{Int, String as Text};
    use serde_json::{Value, json};

    /// Values of ResolveFenceposts, MaxUnavailable and MinAvailable in the
    /// controller's own code and tests.
    #[test]
    fn fenceposts_are_those_of_the_deployment_controller() {
        #[rustfmt::skip]
        let table = [
            // replicas, maxUnavailable, maxSurge -> surge, unavailable, available
            (1, Text("25%"), Text("25%"), 1, 0, 1),
            (1, Int(1), Int(1), 1, 1, 0),
            (1, Int(1), Int(0), 0, 1, 0),
            (1, Text("25%"), Int(0), 0, 1, 0),
            (1, Int(0), Int(1), 1, 0, 1),
            (2, Text("25%"), Text("25%"), 1, 0, 2),
            (3, Text("25%"), Text("25%"), 1, 0, 3),
            (3, Text("25%"), Int(0), 0, 1, 2),
            (3, Text("25%"), Text("0%"), 0, 1, 2),
            (4, Text("25%"), Text("25%"), 1, 1, 3),
            (2, Text("50%"), Text("50%"), 1, 1, 1),
            (5, Text("50%"), Text("50%"), 3, 2, 3),
            (10, Text("25%"), Text("25%"), 3, 2, 8),
            (10, Text("100%"), Int(1), 1, 10, 0),
            (3, Int(5), Int(1), 1, 3, 0),
            (2, Int(0), Text("100%"), 2, 0, 2),
            (7, Text("99%"), Text("1%"), 1, 6, 1),
            (100, Text("1%"), Text("0%"), 0, 1, 99),
            (3, Int(0), Text("150%"), 5, 0, 3),
            (2, Int(0), Text("4294967296%"), 42_949_673, 0, 2),
            (i32::MAX, Text("4294967296%"), Text("4294967296%"), 46_116_860_141_324_208, 2_147_483_647, 0),
            (0, Int(1), Int(1), 1, 0, 0),
            (0, Text("25%"), Text("25%"), 0, 0, 0),
        ];
        for (replicas, max_unavailable, max_surge, surge, unavailable, available) in table {
            let resolved = Fenceposts::resolve(
                replicas,
                Amount::parse(max_unavailable).unwrap(),
                Amount::parse(max_surge).unwrap(),
            );
            let expected = Fenceposts { surge, unavailable, available };
            assert_eq!(resolved, expected, "{replicas} replicas, {max_unavailable}/{max_surge}");
        }
    }

    /// As getStatefulSetMaxUnavailable has them.
    #[test]
    fn fenceposts_are_those_of_the_stateful_set_controller() {
        #[rustfmt::skip]
        let table = [
            // replicas, maxUnavailable, partition -> unavailable, available
            (1, Int(1), 0, 1, 0),
            (2, Int(1), 0, 1, 1),
            (3, Text("100%"), 0, 3, 0),
            (3, Int(5), 0, 3, 0),
            (5, Text("40%"), 0, 2, 3),
            (5, Text("39%"), 0, 1, 4),
            (5, Text("1%"), 0, 1, 4),
            (3, Int(1), 3, 0, 3),
            (3, Int(1), 9, 0, 3),
            (3, Int(3), 2, 1, 2),
            (0, Int(1), 0, 0, 0),
        ];
        for (replicas, max_unavailable, partition, unavailable, available) in table {
            let resolved = Fenceposts::in_order(replicas, Amount::parse(max_unavailable).unwrap(), partition);
            let expected = Fenceposts { surge: 0, unavailable, available };
            assert_eq!(resolved, expected, "{replicas} replicas, {max_unavailable}, {partition}");
        }
    }

    #[test]
    fn each_kind_has_its_own_arithmetic() {
        let limits = |kind: &str, api_version: &str, spec: Value| {
            let raw = json!({"apiVersion": api_version, "kind": kind, "spec": spec});
            let found = Workload::read(&raw).unwrap().fenceposts();
            found.map(|it| (it.surge, it.unavailable, it.available))
        };
        let apps = "apps/v1";
        assert_eq!(limits("StatefulSet", apps, json!({"replicas": 4})), Some((0, 1, 3)));
        let half = json!({"replicas": 4, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}});
        assert_eq!(limits("StatefulSet", apps, half), Some((0, 2, 2)));
        assert_eq!(limits("StatefulSet", apps, json!({"updateStrategy": {"type": "OnDelete"}})), None);
        assert_eq!(limits("DaemonSet", apps, json!({})), Some((0, 1, 0)));
        let surge = json!({"replicas": 7, "updateStrategy": {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}});
        assert_eq!(limits("DaemonSet", apps, surge), Some((1, 0, 1)));
        let argo = "argoproj.io/v1alpha1";
        assert_eq!(
            limits("Rollout", argo, json!({"replicas": 10, "strategy": {"canary": {}}})),
            Some((3, 2, 8))
        );
        let one = json!({"replicas": 1, "strategy": {"canary": {"maxUnavailable": 1, "maxSurge": 0}}});
        assert_eq!(limits("Rollout", argo, one), Some((0, 1, 0)));
        let routed = json!({"strategy": {"canary": {"trafficRouting": {"nginx": {}}}}});
        assert_eq!(limits("Rollout", argo, routed), None);
        assert_eq!(limits("Rollout", argo, json!({"strategy": {"blueGreen": {}}})), None);
    }
}
