//! What the cluster knows: reflectors, which keep a small row of each object that may
//! stand around a workload.
//!
//! They run beside the requests. A review reads what is known at that moment, and calls
//! nobody.

mod listed;
mod packed;
mod reflector;
mod revision;
mod rows;
mod stuck;
mod watched;

use std::future::pending;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::StringMap;
use crate::observe::metrics::Metrics;
use crate::surroundings::neighbour::{Neighbour, Role, Subject, behind, pod_labels};
use crate::surroundings::{Around, Backend, Revisions, Surroundings};
use rows::Rows;
pub use watched::Watched;
use watched::{Part, WATCHED};

/// How often stuck rollouts are counted: nobody asks more often.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// All that is known, by kind.
#[derive(Clone, Debug)]
pub struct View(Vec<Arc<Known>>);

/// What is known of one kind.
#[derive(Debug)]
pub struct Known {
    watched: &'static Watched,
    rows: RwLock<Rows>,
}

impl Known {
    /// The kind.
    pub fn watched(&self) -> &'static Watched {
        self.watched
    }

    /// Adds an object, as the API server lists it.
    pub fn put(&self, object: &Value) {
        let trimmed = listed::trimmed(object);
        self.change(|rows| rows.put(self.watched, &trimmed));
    }

    /// Says that all objects have been added.
    pub fn fill(&self) {
        self.change(Rows::end);
    }

    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> T {
        change(&mut self.rows.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for View {
    fn default() -> Self {
        let nothing = |watched| Arc::new(Known { watched, rows: RwLock::default() });
        View(WATCHED.iter().map(nothing).collect())
    }
}

impl View {
    /// A view that is empty at first and follows the cluster from now on, in a thread of its
    /// own: no review waits for it, and what the reading of lists leaves to the allocator is in
    /// one place.
    ///
    /// `runtime` is one of a single thread, in which the client has been made.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn follow(runtime: Runtime, client: &Client, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let view = View::default();
        for known in &view.0 {
            drop(runtime.spawn(reflector::run(known.clone(), client.clone(), metrics.clone())));
        }
        drop(runtime.spawn(view.clone().count_stuck_rollouts(metrics.clone())));
        thread::Builder::new().name("cluster".to_owned()).spawn(move || runtime.block_on(pending::<()>()))?;
        Ok(view)
    }

    /// The kinds that stand around workloads in their namespace, for whoever lists them once.
    pub fn neighbours(&self) -> impl Iterator<Item = &Known> {
        let is_neighbour = |known: &&Known| match known.watched.part {
            Part::Neighbour(role) => role != Role::Namespace,
            Part::Revision(_) => false,
        };
        self.all().filter(is_neighbour)
    }

    /// The kinds in which controllers keep the revisions of workloads, likewise.
    pub fn kept_revisions(&self) -> impl Iterator<Item = &Known> {
        self.all().filter(|known| matches!(known.watched.part, Part::Revision(_)))
    }

    /// What is known of this kind, if it is one of those that matter.
    pub fn of(&self, kind: &str) -> Option<&Known> {
        self.all().find(|known| known.watched.kind == kind)
    }

    fn all(&self) -> impl Iterator<Item = &Known> {
        self.0.iter().map(|known| &**known)
    }

    /// Says again and again how many rollouts may be stuck in what gapless injected.
    async fn count_stuck_rollouts(self, metrics: Arc<Metrics>) {
        let (Some(deployments), Some(replica_sets)) = (self.of("Deployment"), self.of("ReplicaSet")) else {
            return;
        };
        let mut interval = tokio::time::interval(COUNT_INTERVAL);
        loop {
            interval.tick().await;
            for (default, count) in stuck::count(&deployments.read(), &replica_sets.read()) {
                metrics.set_stuck_rollouts(default, count);
            }
        }
    }
}

impl Around for View {
    fn around(&self, kind: Kind, object: &Value, namespace: Option<&str>) -> Surroundings {
        let labels = pod_labels(object);
        let subject = Subject::of(kind, object, namespace, &labels);
        let mut objects = Vec::new();
        let mut awaits_autoscaler = false;
        for known in &self.0 {
            let Part::Neighbour(role) = known.watched.part else { continue };
            let rows = known.read();
            awaits_autoscaler |= role == Role::Autoscaler && !rows.is_filled();
            let namespace = subject.namespace_of(role);
            for clue in subject.clues(role) {
                objects.extend(rows.find(namespace, clue).map(|object| (known.watched, namespace, object)));
            }
        }
        let neighbours =
            objects.iter().filter_map(|(watched, namespace, object)| watched.neighbour(*namespace, object));
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let concerned = neighbours.iter().filter(|neighbour| neighbour.concerns(&subject));
        Surroundings { awaits_autoscaler, ..Surroundings::of(concerned) }
    }

    fn revisions(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Revisions {
        let keeps =
            |known: &&Arc<Known>| matches!(known.watched.part, Part::Revision(of) if of.contains(&kind));
        let Some(known) = self.0.iter().find(keeps) else { return Revisions::Unknown };
        let rows = known.read();
        match rows.is_filled() {
            true => Revisions::Known(rows.revisions(namespace, (kind.name(), name)).collect()),
            false => Revisions::Awaited,
        }
    }

    fn behind(&self, selector: &StringMap, namespace: Option<&str>) -> Vec<Backend> {
        let mut objects = Vec::new();
        for known in self.0.iter().filter(|known| known.watched.is_workload()) {
            let rows = known.read();
            if !rows.is_filled() {
                return Vec::new();
            }
            objects.extend(rows.of_namespace(namespace).map(|object| (known.watched, object)));
        }
        let workloads = objects.iter().filter_map(|(watched, object)| watched.neighbour(namespace, object));
        let workloads: Vec<Neighbour> = workloads.collect();
        let workloads: Vec<&Neighbour> = workloads.iter().collect();
        behind(&workloads, selector, namespace, |pods| pods.are_available)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::neighbour::trimmed;
    use serde_json::json;

    fn known<'v>(view: &'v View, kind: &str) -> &'v Known {
        view.of(kind).unwrap()
    }

    fn web() -> Value {
        json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {
            "metadata": {"labels": {"app": "web", "tier": "front"}},
            "spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]},
        }}})
    }

    fn object(kind: &str, name: &str, spec: Value) -> Value {
        let resource = known(&View::default(), kind).watched.api_resource();
        json!({"apiVersion": resource.api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn what_concerns_the_workload_is_around_it() {
        let view = View::default();
        let selector = json!({"matchLabels": {"app": "web"}});
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        for object in [
            object("Service", "web", json!({"selector": {"tier": "front"}, "ports": [{"port": 80}]})),
            object("Service", "api", json!({"selector": {"app": "api"}})),
            object("HorizontalPodAutoscaler", "web", json!({"scaleTargetRef": target, "minReplicas": 3})),
            object("PodDisruptionBudget", "all", json!({"minAvailable": 1, "selector": {}})),
            object("PersistentVolumeClaim", "data", json!({"accessModes": ["ReadWriteMany"]})),
            object("Deployment", "web", json!({"selector": selector})),
            object("Deployment", "canary", json!({"selector": selector})),
        ] {
            known(&view, object["kind"].as_str().unwrap()).put(&object);
        }
        let around = view.around(Kind::Deployment, &web(), Some("shop"));
        assert_eq!(around.services.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["web"]);
        assert_eq!(around.autoscaler.map(|it| it.min_replicas), Some(3));
        assert_eq!(around.disruption_budgets.len(), 1);
        assert_eq!(around.claims.get("data"), Some(&true));
        assert_eq!(around.overlapping, ["Deployment canary"]);
        let elsewhere = view.around(Kind::Deployment, &web(), Some("other"));
        assert_eq!(elsewhere, Surroundings { awaits_autoscaler: true, ..Surroundings::default() });
    }

    #[test]
    fn what_its_namespace_says_of_meshes_is_known() {
        let view = View::default();
        let namespace = json!({"metadata": {"name": "shop",
            "labels": {"istio-injection": "enabled", "team": "a"},
            "annotations": {"config.linkerd.io/proxy-enable-native-sidecar": "false"}}});
        known(&view, "Namespace").put(&namespace);
        let mesh = |namespace| view.around(Kind::Deployment, &web(), Some(namespace)).mesh;
        let expected =
            [("config.linkerd.io/proxy-enable-native-sidecar", "false"), ("istio-injection", "enabled")];
        assert_eq!(mesh("shop"), expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert!(mesh("other").is_empty());
    }

    #[test]
    fn the_revisions_of_a_workload_are_those_that_it_controls() {
        let view = View::default();
        let revisions = |name| view.revisions(Kind::Deployment, Some("shop"), name);
        assert_eq!(revisions("web"), Revisions::Awaited);
        let of = |name: &str, owner: &str, template: u64| {
            json!({"metadata": {"name": name, "namespace": "shop"},
                "revision": {"kind": "Deployment", "name": owner, "template": template}})
        };
        known(&view, "ReplicaSet").change(|rows| {
            rows.begin();
            for replica_set in [of("web-1", "web", 1), of("web-2", "web", 2), of("api-1", "api", 3)] {
                rows.put(known(&view, "ReplicaSet").watched, &replica_set);
            }
            rows.end();
        });
        let templates = |revisions: Revisions| {
            let Revisions::Known(revisions) = revisions else { panic!("{revisions:?}") };
            let mut templates: Vec<u64> = revisions.iter().map(|it| it.template).collect();
            templates.sort_unstable();
            templates
        };
        assert_eq!(templates(revisions("web")), [1, 2]);
        known(&view, "ReplicaSet").change(|rows| rows.remove(&of("web-1", "web", 1)));
        assert_eq!(templates(revisions("web")), [2]);
        assert_eq!(templates(view.revisions(Kind::Deployment, Some("other"), "web")), [0; 0]);
        assert_eq!(view.revisions(Kind::StatefulSet, Some("shop"), "web"), Revisions::Awaited);
    }

    #[test]
    fn who_is_behind_a_service_is_known_once_all_workloads_are() {
        let view = View::default();
        let selector = StringMap::from([("tier", "front")]);
        let behind = |namespace: &str| view.behind(&selector, Some(namespace));
        let mut web = web();
        (web["apiVersion"], web["kind"]) = (json!("apps/v1"), json!("Deployment"));
        web["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
        let kinds = Kind::ALL.map(Kind::name);
        for kind in kinds {
            assert_eq!(behind("shop"), [], "before {kind}");
            known(&view, kind).change(|rows| {
                rows.begin();
                if kind == "Deployment" {
                    rows.put(known(&view, kind).watched, &trimmed(&web));
                }
                rows.end();
            });
        }
        let found = |has_pods| vec![Backend { workload: "Deployment web".to_owned(), has_pods }];
        assert_eq!(behind("shop"), found(false));
        assert_eq!(behind("other"), []);
        web["status"] = json!({"availableReplicas": 1});
        known(&view, "Deployment").put(&web);
        assert_eq!(behind("shop"), found(true));
    }

    #[test]
    fn an_autoscaler_is_awaited_until_all_are_known() {
        let view = View::default();
        let awaits = |view: &View| view.around(Kind::Deployment, &web(), Some("shop")).awaits_autoscaler;
        assert!(awaits(&view));
        known(&view, "HorizontalPodAutoscaler").change(|rows| {
            rows.begin();
            rows.end();
        });
        assert!(!awaits(&view));
    }
}
