//! The Deployment `web` of one test, in a namespace of its own.

use std::cell::Cell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

use super::manifest::{CONTAINERS, Manifest, READINESS_PROBE, TEMPLATE, lost, plain};
use super::stamps;
use crate::api_server::installed::installed;
use crate::support::client::{Invocation, Output};
use crate::support::namespace::Namespace;
use crate::support::{self, Cluster, eventually};

const RECORD: &str = "gapless.dev/injected";

/// How a manifest is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// `kubectl apply`: a three-way patch, and the annotation last-applied.
    Apply,
    /// `kubectl apply --server-side --force-conflicts`, as GitOps tools do: an `Apply`
    /// entry in `managedFields`.
    ServerSide,
    /// `kubectl replace`: a PUT of the bare manifest.
    Replace,
}

impl Way {
    /// As `kubectl` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Apply => "apply",
            Way::ServerSide => "apply --server-side",
            Way::Replace => "replace",
        }
    }
}

/// The ways of sending a manifest that leave a proof of what it says.
pub const PROVING: [Way; 2] = [Way::Apply, Way::ServerSide];

pub const ALL: [Way; 3] = [Way::Apply, Way::ServerSide, Way::Replace];

/// `kubectl patch --type`
pub const PATCH_TYPES: [(&str, &str); 3] = [("json", "json"), ("merge", "merge"), ("strategic", "strategic")];

/// How often the API server calls gapless for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calls {
    One,
    /// Another webhook changes the object after gapless, as [`stamps`] does.
    Two,
}

pub struct Web<'a> {
    server: &'a Server,
    pub namespace: Namespace<'a>,
    pub way: Way,
    pub calls: Calls,
    is_created: Cell<bool>,
}

/// The API server, which calls gapless, and a second webhook where it is asked for.
struct Server {
    cluster: &'static Cluster,
    runtime: Runtime,
    client: Client,
}

impl Server {
    fn start() -> Option<Self> {
        let cluster = installed()?.cluster;
        stamps::install(cluster);

        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig("admin")).unwrap();
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            Client::try_from(config.unwrap()).unwrap()
        });
        Some(Server { cluster, runtime, client })
    }

    // Without kubectl, whose start costs more than all else here.

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap()
    }

    #[track_caller]
    fn post(&self, path: &str, object: &Value) -> Value {
        let request = http::Request::post(path).header("Content-Type", "application/json");
        let request = request.body(object.to_string().into_bytes()).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap()
    }
}

fn server() -> Option<&'static Server> {
    static SERVER: LazyLock<Option<Server>> = LazyLock::new(Server::start);
    // Asked here too, so that each skipped test says that it is.
    support::cluster()?;
    SERVER.as_ref()
}

/// Runs a sequence in profile `production`, for each of these ways with one and with
/// two calls a request, and says at the end in which of them it failed.
#[track_caller]
pub fn in_each(ways: &[Way], sequence: impl Fn(&Web)) {
    in_each_of("production", ways, sequence);
}

/// The same, in another profile.
#[track_caller]
pub fn in_each_of(profile: &str, ways: &[Way], sequence: impl Fn(&Web)) {
    for_each_of(profile, ways, &[("the sequence", ())], |web, ()| sequence(web));
}

/// The same for each of these cases, which are named.
#[track_caller]
pub fn for_each<C>(ways: &[Way], cases: &[(&str, C)], sequence: impl Fn(&Web, &C)) {
    for_each_of("production", ways, cases, sequence);
}

/// The same, in another profile.
#[track_caller]
pub fn for_each_of<C>(profile: &str, ways: &[Way], cases: &[(&str, C)], sequence: impl Fn(&Web, &C)) {
    let variants = cases.iter().flat_map(|(name, case)| ways.iter().map(move |way| (*way, *name, case)));
    for_each_variant(profile, variants, sequence);
}

/// The same for combinations of ways and cases that the caller makes.
#[track_caller]
pub fn for_each_variant<C>(
    profile: &str,
    variants: impl Iterator<Item = (Way, impl Display, C)>,
    sequence: impl Fn(&Web, C),
) where
    C: Clone,
{
    let Some(server) = server() else { return };
    let mut failed = Vec::new();
    for (way, name, case) in variants {
        for calls in [Calls::One, Calls::Two] {
            let stamps = if calls == Calls::Two { "true" } else { "false" };
            let labels = [("gapless.dev/profile", profile), (stamps::LABEL, stamps)];
            let (namespace, manifest) = server.cluster.unmade_namespace(&labels);
            server.post("/api/v1/namespaces", &manifest);
            let web = Web { server, namespace, way, calls, is_created: Cell::new(false) };
            let title = format!("{way:?} with {calls:?}: {name}");
            eprintln!("--- {title}");
            if catch_unwind(AssertUnwindSafe(|| sequence(&web, case.clone()))).is_err() {
                failed.push(title);
            }
        }
    }
    assert!(failed.is_empty(), "failed, as said above:\n{}", failed.join("\n"));
}

impl Web<'_> {
    pub fn kubectl(&self, arguments: &[&str]) -> Invocation<'_> {
        eprintln!("    $ kubectl {}", arguments.join(" "));
        self.namespace.kubectl(arguments)
    }

    /// Sends the manifest in this test's way.
    #[track_caller]
    pub fn send(&self, manifest: &Manifest) -> Output {
        self.sending(manifest).ok()
    }

    pub fn sending(&self, manifest: &Manifest) -> Invocation<'_> {
        let is_created = self.is_created.replace(true);
        let verb: &[&str] = match self.way {
            Way::Apply => &["apply", "-f", "-"],
            Way::ServerSide => &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            Way::Replace if is_created => &["replace", "-f", "-"],
            Way::Replace => &["create", "-f", "-"],
        };
        let invocation = self.kubectl(verb);
        eprintln!("      {}", difference(&plain().0, &manifest.0, ""));
        invocation.stdin(manifest.0.to_string())
    }

    /// `kubectl patch`, with `--type` json, merge or strategic.
    #[track_caller]
    pub fn patch(&self, patch_type: &str, patch: &Value) -> Output {
        self.kubectl(&["patch", "deploy/web", "--type", patch_type, "-p", &patch.to_string()]).ok()
    }

    /// Merges these fields into the container, by a patch of this type. Null takes one
    /// away.
    #[track_caller]
    pub fn patch_app(&self, patch_type: &str, fields: &Value) -> Output {
        let mut containers = self.at(CONTAINERS);
        json_patch::merge(&mut containers[0], fields);
        let in_pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        match patch_type {
            "json" => {
                let operation = |field: &String| match &containers[0][field] {
                    Value::Null => json!({"op": "remove", "path": format!("{CONTAINERS}/0/{field}")}),
                    value => json!({"op": "add", "path": format!("{CONTAINERS}/0/{field}"), "value": value}),
                };
                self.patch("json", &fields.as_object().unwrap().keys().map(operation).collect())
            }
            "merge" => self.patch("merge", &in_pod(containers)),
            _ => {
                let mut container = fields.clone();
                container["name"] = json!("app");
                self.patch("strategic", &in_pod(json!([container])))
            }
        }
    }

    /// `kubectl edit`, by a script for sed.
    #[track_caller]
    pub fn edit(&self, script: &str) -> Output {
        let output =
            self.kubectl(&["edit", "deploy/web"]).env("KUBE_EDITOR", format!("sed -i -e '{script}'")).ok();
        assert!(output.stdout.contains("edited"), "{output}");
        output
    }

    #[track_caller]
    pub fn label(&self, label: &str) {
        self.kubectl(&["label", "deploy/web", label]).ok();
    }

    #[track_caller]
    pub fn scale(&self, replicas: u32) {
        self.kubectl(&["scale", "deploy/web", &format!("--replicas={replicas}")]).ok();
    }

    /// Only the image changes, and the sender proves nothing.
    #[track_caller]
    pub fn set_image(&self, tag: &str) -> Output {
        self.kubectl(&["set", "image", "deploy/web", &format!("app=registry.example/web:{tag}")]).ok()
    }

    /// `kubectl rollout undo` to the template before the present one.
    #[track_caller]
    pub fn undo(&self) -> Output {
        self.namespace.replica_sets("web");
        self.kubectl(&["rollout", "undo", "deploy/web"]).ok()
    }

    /// Gives the namespace another profile, and waits until the API server knows.
    #[track_caller]
    pub fn enter(&self, profile: &str) {
        let label = format!("gapless.dev/profile={profile}");
        self.kubectl(&["label", "namespace", &self.namespace.name, "--overwrite", &label]).ok();
        let mut harmful = plain().with("/spec/revisionHistoryLimit", json!(0));
        harmful.0["metadata"]["name"] = json!("asks-for-the-profile");
        let sign = match profile {
            "advisory" => "would inject".to_owned(),
            "off" => "created".to_owned(),
            _ => format!("\"{profile}.validate.gapless.dev\" denied"),
        };
        eventually(profile, || {
            let create = self.kubectl(&["create", "--dry-run=server", "-f", "-"]);
            let answer = create.stdin(harmful.0.to_string()).run();
            let is_in_force = (answer.stdout.clone() + &answer.stderr).contains(&sign);
            if is_in_force { Ok(()) } else { Err(answer.to_string()) }
        });
    }

    /// The Deployment as it is stored.
    #[track_caller]
    pub fn stored(&self) -> Value {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", self.namespace.name);
        self.server.get(&path)
    }

    /// The stored value at this place; null if there is none.
    #[track_caller]
    pub fn at(&self, pointer: &str) -> Value {
        self.stored().pointer(pointer).cloned().unwrap_or_default()
    }

    /// The readiness probe without the values that the API server fills in.
    #[track_caller]
    pub fn probe(&self) -> Value {
        let mut probe = self.at(READINESS_PROBE);
        let defaults =
            [("periodSeconds", 10), ("timeoutSeconds", 1), ("successThreshold", 1), ("failureThreshold", 3)];
        for (field, value) in defaults {
            if probe[field] == value {
                probe.as_object_mut().unwrap().remove(field);
            }
        }
        probe
    }

    /// What gapless says that it injected.
    #[track_caller]
    pub fn record(&self) -> Map<String, Value> {
        record_of(&self.stored())
    }

    /// The entries of the record about this field or a part of it.
    #[track_caller]
    pub fn recorded(&self, field: &str) -> Vec<String> {
        self.record().into_iter().map(|(path, _)| path).filter(|path| path.contains(field)).collect()
    }

    #[track_caller]
    pub fn is_the_users(&self, field: &str) {
        let recorded = self.recorded(field);
        assert!(recorded.is_empty(), "still recorded as injected: {recorded:?}");
    }

    #[track_caller]
    pub fn is_ours(&self, field: &str) {
        assert!(!self.recorded(field).is_empty(), "no {field} in {:?}", self.record());
    }

    /// The annotation without the entries about this field.
    #[track_caller]
    pub fn record_without(&self, field: &str) -> String {
        let mut record = self.record();
        let before = record.len();
        record.retain(|path, _| !path.contains(field));
        assert!(record.len() < before, "no {field} in {record:?}");
        Value::from(record).to_string()
    }

    /// Takes the entries about this field out of the record.
    #[track_caller]
    pub fn hand_over(&self, field: &str) {
        let annotation = format!("{RECORD}={}", self.record_without(field));
        self.kubectl(&["annotate", "deploy/web", "--overwrite", &annotation]).ok();
    }

    /// Does something that must start no rollout.
    #[track_caller]
    pub fn without_rollout<T>(&self, what: impl FnOnce(&Self) -> T) -> T {
        let before = self.at(TEMPLATE);
        let result = what(self);
        assert_eq!(self.at(TEMPLATE), before, "this starts a rollout");
        result
    }

    /// Sends what was sent before: nothing may change.
    #[track_caller]
    pub fn settles(&self, manifest: &Manifest) {
        let before = comparable(self.stored());
        self.send(manifest);
        assert_eq!(comparable(self.stored()), before, "the same manifest once more changes something");
    }

    /// Sends a manifest: each of its values is stored, and sending it once more
    /// changes nothing.
    #[track_caller]
    pub fn send_and_keep(&self, manifest: &Manifest) -> Output {
        let output = self.send(manifest);
        self.keeps(manifest);
        self.settles(manifest);
        output
    }

    /// Each value of the manifest is stored.
    #[track_caller]
    pub fn keeps(&self, manifest: &Manifest) {
        let lost = lost(&manifest.0, &self.stored());
        assert!(lost.is_empty(), "lost {lost:?} in {}", comparable(self.stored()));
    }
}

/// What a manifest says otherwise than another one, in one line.
fn difference(from: &Value, to: &Value, path: &str) -> String {
    match (from, to) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let below =
                keys.into_iter().map(|key| difference(&from[key], &to[key], &format!("{path}/{key}")));
            below.collect()
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let below = old.iter().zip(new).enumerate();
            below.map(|(at, (old, new))| difference(old, new, &format!("{path}/{at}"))).collect()
        }
        _ if from == to => String::new(),
        _ => format!("{path}: {to}  "),
    }
}

/// The record in this object.
pub fn record_of(deployment: &Value) -> Map<String, Value> {
    let annotation = deployment["metadata"]["annotations"][RECORD].as_str();
    annotation.map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
}

/// The Deployment without what the API server, its controller and the second webhook
/// count and stamp.
fn comparable(mut deployment: Value) -> Value {
    deployment.as_object_mut().unwrap().remove("status");
    let metadata = deployment["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.remove(stamps::STAMP);
    }
    // Without the controller's there may be none yet.
    metadata.retain(|field, value| field != "annotations" || *value != json!({}));
    deployment
}
