//! The real controllers, seen as they act, and a kubelet that does what it is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gapless::client::kubeconfig::{Choice, connect};
use gapless::kubernetes::kind::Kind;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::{Client, Error};
use serde_json::{Value, json};

use super::case::{Says, selecting};
use crate::support::Cluster;

/// Each node is one more than the one before has.
const NODES: i32 = 5;

/// How long nothing moves once the controllers have nothing left to do.
const QUIET: Duration = Duration::from_millis(120);

/// If they have come to something else, it takes longer until nobody believes that they will do
/// something after all: so much time, and so often has each of them acted elsewhere meanwhile.
const LONG_QUIET: Duration = Duration::from_secs(1);
const BEATS: u64 = 4;

/// How long they may move, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(240);

/// What is watched.
const WATCHED: [(&str, &str, &str); 5] = [
    ("", "Pod", "pods"),
    ("apps", "ReplicaSet", "replicasets"),
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("apps", "DaemonSet", "daemonsets"),
];

/// The control plane.
#[derive(Clone)]
pub struct Stage {
    client: Client,
    scenes: Arc<Mutex<HashMap<String, Scene>>>,
    /// How often all controllers have been seen to act, and who waits for that.
    beats: Arc<AtomicU64>,
    listeners: Arc<AtomicUsize>,
}

/// What is in one namespace, by kind and name.
#[derive(Clone, Debug)]
struct Scene {
    objects: BTreeMap<(String, String), Value>,
    changed: Instant,
}

impl Stage {
    /// Makes the nodes, and begins to watch.
    pub async fn set(cluster: &Cluster) -> Stage {
        let kubeconfig = cluster.kubeconfig("admin");
        let choice = Choice { kubeconfig: Some(&kubeconfig), context: None };
        let client = connect(choice).await.expect("the control plane is there").client;
        let stage =
            Stage { client, scenes: Arc::default(), beats: Arc::default(), listeners: Arc::default() };
        for node in 0..NODES {
            let labels: BTreeMap<String, &str> =
                (node + 1..=NODES).map(|nodes| (selecting(nodes), "true")).collect();
            let node = json!({"metadata": {"name": format!("node-{node}"), "labels": labels}});
            stage.request("POST", "/api/v1/nodes", &node).await.expect("a node");
        }
        for (group, kind, plural) in WATCHED {
            tokio::spawn(watch(stage.client.clone(), resource(group, kind, plural), stage.scenes.clone()));
        }
        tokio::spawn(stage.clone().beat());
        stage
    }

    /// Shows that the controllers are alive: one pod of each kind of workload gets ready and is
    /// not ready again, and each time its workload has to say so. What was there to be done
    /// before has been begun then, however busy the machine is.
    async fn beat(self) {
        let mut hearts = Vec::new();
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
            let says = Says::of_one(kind);
            let namespace = format!("beat-{}", kind.name().to_lowercase());
            let heart = Real::create(&self, namespace, kind, &says.manifest(NAME)).await;
            heart.wait_for(|scene| heart.pods(scene).next().is_some()).await;
            heart.bind(&heart.scene()).await;
            hearts.push(heart);
        }
        loop {
            if self.listeners.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            for (before, after) in [(State::Unready, State::Available), (State::Available, State::Unready)] {
                for heart in &hearts {
                    heart.happen((0, 0, before), after).await;
                }
                for heart in &hearts {
                    heart.wait_for(|scene| heart.is_settled(scene)).await;
                }
            }
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body.to_string().into_bytes()).expect("a request");
        self.client.request(request).await
    }

    fn scenes(&self) -> MutexGuard<'_, HashMap<String, Scene>> {
        self.scenes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let mut resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, "v1", kind));
    (resource.api_version, resource.plural) = (api_version, plural.to_owned());
    resource
}

async fn watch(client: Client, resource: ApiResource, scenes: Arc<Mutex<HashMap<String, Scene>>>) {
    let kind = resource.kind.clone();
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    // Shorter than the client waits for an answer.
    let config = watcher::Config::default().timeout(50);
    let mut events = watcher::watcher(api, config).boxed();
    while let Some(event) = events.next().await {
        let (object, is_gone) = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => (object, false),
            Ok(watcher::Event::Delete(object)) => (object, true),
            // It connects anew by itself.
            Ok(_) | Err(_) => continue,
        };
        let object = serde_json::to_value(object).expect("JSON");
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, key) = (text("namespace"), (kind.clone(), text("name")));
        let mut scenes = scenes.lock().unwrap_or_else(PoisonError::into_inner);
        let scene = scenes
            .entry(namespace)
            .or_insert_with(|| Scene { objects: BTreeMap::new(), changed: Instant::now() });
        scene.changed = Instant::now();
        match is_gone {
            true => scene.objects.remove(&key),
            false => scene.objects.insert(key, object),
        };
    }
}

/// A workload in a namespace of its own.
pub struct Real<'s> {
    stage: &'s Stage,
    namespace: String,
    kind: Kind,
    min_ready: i32,
}

/// What distinguishes a pod from others of the same workload: node or ordinal, template, state.
pub type Role = (i64, usize, State);

/// So many pods in each role.
pub type Roles = BTreeMap<Role, usize>;

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Unready,
    Ready,
    Available,
    Terminating,
    Ended,
}

const NAME: &str = "web";

impl<'s> Real<'s> {
    /// Creates it.
    pub async fn create(stage: &'s Stage, namespace: String, kind: Kind, manifest: &Value) -> Real<'s> {
        let min_ready = manifest["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let real = Real { stage, namespace, kind, min_ready: i32::try_from(min_ready).unwrap() };
        let metadata = json!({"metadata": {"name": real.namespace}});
        stage.request("POST", "/api/v1/namespaces", &metadata).await.expect("a namespace");
        stage.request("POST", &real.workloads(), manifest).await.expect("a workload");
        real
    }

    fn workloads(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/{}s", self.namespace, self.kind.name().to_lowercase())
    }

    fn pod(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }

    /// Writes another spec. What is made from now on is younger than all that is there, by the
    /// clock of the controllers, which has whole seconds.
    pub async fn change(&self, manifest: &Value) {
        let created = |object: &Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
        let newest = self.scene().objects.values().filter_map(created).max().expect("an object");
        let newest: jiff::Timestamp = newest.parse().expect("a time");
        while jiff::Timestamp::now().as_second() <= newest.as_second() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let patch = json!({"spec": manifest["spec"]});
        let path = format!("{}/{NAME}", self.workloads());
        let answer = self.stage.request("PATCH", &path, &patch).await.expect("the change is accepted");
        let generation = answer["metadata"]["generation"].as_i64();
        let is_seen = |scene: &Scene| self.workload(scene)["metadata"]["generation"].as_i64() >= generation;
        self.wait_for(is_seen).await;
    }

    /// Makes a pod of this role one of another.
    pub async fn happen(&self, role: Role, state: State) {
        let scene = self.scene();
        let mut pods = self.pods(&scene);
        let pod = pods.find(|pod| self.role(pod) == role).expect("a pod of that role");
        let name = pod["metadata"]["name"].as_str().unwrap();
        let now = jiff::Timestamp::now();
        let ready = |is_ready: bool, phase: &str| {
            // A pod that is available has been ready for long.
            let span = if state == State::Available && self.min_ready > 0 { 3_600 } else { 0 };
            let since = jiff::Timestamp::from_second(now.as_second() - span).unwrap().to_string();
            let status = if is_ready { "True" } else { "False" };
            let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": since});
            json!({"status": {"phase": phase, "conditions": [condition]}})
        };
        let status = format!("{}/status", self.pod(name));
        let answer = match state {
            State::Unready => self.stage.request("PATCH", &status, &ready(false, "Running")).await,
            State::Ready | State::Available => {
                self.stage.request("PATCH", &status, &ready(true, "Running")).await
            }
            State::Ended => self.stage.request("PATCH", &status, &ready(false, "Succeeded")).await,
            State::Terminating => self.stage.request("DELETE", &self.pod(name), &json!({})).await,
        };
        let version = version(&answer.expect("the pod is there"));
        let key = ("Pod".to_owned(), name.to_owned());
        self.wait_for(|scene| scene.objects.get(&key).is_none_or(|pod| self::version(pod) >= version)).await;
    }

    /// The object of a deleted pod of this role goes.
    pub async fn remove(&self, role: Role) {
        let scene = self.scene();
        let pod = self.pods(&scene).find(|pod| self.role(pod) == role).expect("a pod of that role");
        let name = pod["metadata"]["name"].as_str().unwrap();
        let at_once = json!({"gracePeriodSeconds": 0});
        self.stage.request("DELETE", &self.pod(name), &at_once).await.expect("the pod is there");
        let key = ("Pod".to_owned(), name.to_owned());
        let uid = &pod["metadata"]["uid"];
        self.wait_for(|scene| scene.objects.get(&key).is_none_or(|pod| pod["metadata"]["uid"] != *uid)).await;
    }

    /// Waits until the controllers have nothing left to do, and returns which of the `expected`
    /// they have come to, or else what they have, and whether their statuses say so.
    pub async fn settle(&self, expected: &[Roles]) -> Result<usize, (Roles, bool)> {
        let begun = Instant::now();
        let mut listening = None;
        loop {
            let scene = self.scene();
            self.bind(&scene).await;
            let roles = self.roles(&scene);
            let is_settled = self.is_settled(&scene);
            let place = expected.iter().position(|expected| *expected == roles).filter(|_| is_settled);
            let quiet = scene.changed.elapsed();
            match place {
                Some(place) if quiet >= QUIET => return Ok(place),
                None if quiet >= LONG_QUIET => {
                    let listening = listening.get_or_insert_with(|| Listening::new(self.stage));
                    if listening.beats_since(scene.changed) > BEATS || begun.elapsed() > LIMIT {
                        return Err((roles, is_settled));
                    }
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// What a scheduler would do.
    async fn bind(&self, scene: &Scene) {
        for pod in self.pods(scene).filter(|pod| pod["spec"]["nodeName"].is_null()) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": format!("node-{}", node(pod))});
            let binding = json!({"metadata": {"name": name}, "target": target});
            // It may be bound already, and the watch does not know yet; or gone.
            let _ = self.stage.request("POST", &format!("{}/binding", self.pod(name)), &binding).await;
        }
    }

    /// Removes everything, without waiting for it.
    pub async fn strike(self) {
        let namespace = format!("/namespaces/{}", self.namespace);
        let at_once = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        for path in [
            format!("{}/{NAME}", self.workloads()),
            format!("/apis/apps/v1{namespace}/replicasets"),
            format!("/api/v1{namespace}/pods"),
        ] {
            let _ = self.stage.request("DELETE", &path, &at_once).await;
        }
        self.stage.scenes().remove(&self.namespace);
    }

    fn scene(&self) -> Scene {
        let scene = self.stage.scenes().get(&self.namespace).cloned();
        scene.unwrap_or_else(|| Scene { objects: BTreeMap::new(), changed: Instant::now() })
    }

    async fn wait_for(&self, is_seen: impl Fn(&Scene) -> bool) {
        let begun = Instant::now();
        while !is_seen(&self.scene()) {
            assert!(begun.elapsed() < LIMIT, "{}: the watch shows nothing", self.namespace);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn of_kind<'a>(&self, scene: &'a Scene, kind: &'static str) -> impl Iterator<Item = &'a Value> {
        scene.objects.iter().filter(move |((of, _), _)| of == kind).map(|(_, object)| object)
    }

    fn pods<'a>(&self, scene: &'a Scene) -> impl Iterator<Item = &'a Value> {
        self.of_kind(scene, "Pod")
    }

    fn workload<'a>(&self, scene: &'a Scene) -> &'a Value {
        scene.objects.get(&(self.kind.name().to_owned(), NAME.to_owned())).unwrap_or(&Value::Null)
    }

    fn roles(&self, scene: &Scene) -> Roles {
        let mut roles = Roles::new();
        self.pods(scene).for_each(|pod| *roles.entry(self.role(pod)).or_default() += 1);
        roles
    }

    fn role(&self, pod: &Value) -> Role {
        let slot = match self.kind {
            Kind::StatefulSet => {
                let name = pod["metadata"]["name"].as_str().unwrap();
                name.rsplit('-').next().unwrap().parse().unwrap()
            }
            Kind::DaemonSet => node(pod),
            _ => 0,
        };
        let template = pod["metadata"]["annotations"]["template"].as_str().unwrap().parse().unwrap();
        (slot, template, self.state(pod))
    }

    fn state(&self, pod: &Value) -> State {
        let is_terminating = !pod["metadata"]["deletionTimestamp"].is_null();
        match (is_terminating, is_terminal(pod), is_ready(pod)) {
            (true, true, _) => State::Ended,
            (true, false, _) => State::Terminating,
            (false, _, false) => State::Unready,
            (false, _, true) if self.is_available(pod) => State::Available,
            (false, _, true) => State::Ready,
        }
    }

    fn is_available(&self, pod: &Value) -> bool {
        let since = pod["status"]["conditions"].as_array().into_iter().flatten();
        let since =
            since.filter(|condition| condition["type"] == "Ready").map(|it| &it["lastTransitionTime"]);
        let since: Option<jiff::Timestamp> = since.flat_map(Value::as_str).flat_map(str::parse).next();
        let span = i64::from(self.min_ready) * 1_000;
        is_ready(pod)
            && since.is_some_and(|it| jiff::Timestamp::now().as_millisecond() >= it.as_millisecond() + span)
    }

    /// Whether the controllers have seen everything: their statuses count what is there.
    fn is_settled(&self, scene: &Scene) -> bool {
        let workload = self.workload(scene);
        let has_seen = |object: &Value| {
            object["metadata"]["generation"].as_i64() == object["status"]["observedGeneration"].as_i64()
        };
        let active: Vec<&Value> =
            self.pods(scene).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        has_seen(workload)
            && match self.kind {
                Kind::Deployment => {
                    let is_counted = |set: &Value| {
                        let owned: Vec<&Value> = active
                            .iter()
                            .copied()
                            .filter(|pod| *owner(pod) == set["metadata"]["uid"])
                            .collect();
                        let count = |name: &str| number(&set["status"], name);
                        has_seen(set)
                            && number(&set["spec"], "replicas") == owned.len()
                            && count("replicas") == owned.len()
                            && count("readyReplicas") == owned.iter().filter(|pod| is_ready(pod)).count()
                            && count("availableReplicas") == self.available(&owned)
                    };
                    let count = |name: &str| number(&workload["status"], name);
                    count("replicas") == active.len()
                        && count("availableReplicas") == self.available(&active)
                        && self.of_kind(scene, "ReplicaSet").all(is_counted)
                }
                Kind::StatefulSet => {
                    let count = |name: &str| number(&workload["status"], name);
                    let all: Vec<&Value> = self.pods(scene).collect();
                    count("replicas") == all.len()
                        && count("readyReplicas") == all.iter().filter(|pod| is_ready(pod)).count()
                        && count("availableReplicas") == self.available(&all)
                }
                _ => {
                    // Its status has the oldest pod of each node.
                    let mut oldest: BTreeMap<i64, &Value> = BTreeMap::new();
                    let is_meant =
                        |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() || !is_terminal(pod);
                    for pod in self.pods(scene).filter(is_meant) {
                        let age = |pod: &Value| {
                            let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
                            (text("creationTimestamp"), text("name"))
                        };
                        let first = oldest.entry(node(pod)).or_insert(pod);
                        if age(pod) < age(first) {
                            *first = pod;
                        }
                    }
                    let oldest: Vec<&Value> = oldest.into_values().collect();
                    let count = |name: &str| number(&workload["status"], name);
                    self.pods(scene).all(|pod| !pod["spec"]["nodeName"].is_null())
                        && count("currentNumberScheduled") == oldest.len()
                        && count("numberReady") == oldest.iter().filter(|pod| is_ready(pod)).count()
                        && count("numberAvailable") == self.available(&oldest)
                }
            }
    }

    fn available(&self, pods: &[&Value]) -> usize {
        pods.iter().filter(|pod| self.is_available(pod)).count()
    }
}

/// Somebody who counts the beats.
struct Listening<'s> {
    stage: &'s Stage,
    /// When the scene had last changed, and how many there had been when that was noticed.
    since: (Instant, u64),
}

impl<'s> Listening<'s> {
    fn new(stage: &'s Stage) -> Self {
        stage.listeners.fetch_add(1, Ordering::Relaxed);
        Listening { stage, since: (Instant::now(), 0) }
    }

    fn beats_since(&mut self, changed: Instant) -> u64 {
        let beats = self.stage.beats.load(Ordering::Relaxed);
        if self.since.0 != changed {
            self.since = (changed, beats);
        }
        beats - self.since.1
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.stage.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

fn number(of: &Value, name: &str) -> usize {
    of[name].as_u64().unwrap_or(0).try_into().unwrap()
}

fn owner(pod: &Value) -> &Value {
    &pod["metadata"]["ownerReferences"][0]["uid"]
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// The node of a DaemonSet's pod, bound or not.
fn node(pod: &Value) -> i64 {
    let affinity = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    let name = pod.pointer(affinity).and_then(Value::as_str).expect("the node of a pod");
    name.strip_prefix("node-").and_then(|number| number.parse().ok()).expect("its number")
}
