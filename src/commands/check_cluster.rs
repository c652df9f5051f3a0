//! What a live cluster says to a check of files: `gapless check --cluster`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};

use super::cluster::{add, installed_webhooks, look_around, note, of_context};
use super::progress;
use crate::admission::{self, Assessment, ReviewError, Terms};
use crate::audit::namespaces::Namespaces;
use crate::cli::CheckArguments;
use crate::client::failure::RequestError;
use crate::client::kubeconfig::{self, Choice, Connection};
use crate::client::list;
use crate::client::object::Place;
use crate::client::webhook::CONFIGURATIONS;
use crate::cluster::View;
use crate::config;
use crate::injection::InjectError;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::StringMap;
use crate::kubernetes::object::at;
use crate::names::{is_dns_label, is_dns_subdomain};
use crate::ownership::applied::applied;
use crate::policy::{Policy, Profile};
use crate::report::Reason;
use crate::surroundings::neighbour::{Neighbour, service_selector};
use crate::surroundings::{Around, Backend, Revisions, Surroundings};

/// How many objects are read at once.
const PAGE: u32 = 500;

/// The annotation of the webhook configurations that names the ConfigMap of gapless, as
/// NAMESPACE/NAME. The chart writes it.
const CONFIGURATION: &str = "gapless.dev/configuration";

/// The key of the ConfigMap under which the configuration is.
const CONFIG_KEY: &str = "config.yaml";

/// A way to the cluster.
pub struct Client {
    runtime: Runtime,
    connection: Connection,
    /// The namespace of what names none.
    pub namespace: String,
}

/// What the cluster says of the objects of the input.
pub struct Cluster<'p> {
    policy: &'p Policy,
    namespaces: Namespaces<'p>,
    seen: Seen,
    /// Those objects of the input that exist, as they are stored.
    live: BTreeMap<Id, Value>,
}

/// Kind, namespace and name.
type Id = (String, String, String);

/// Why nothing can be said of a workload.
#[derive(Debug)]
pub enum NotAssessed {
    /// As a new object.
    New(InjectError),
    /// As an update of what is stored.
    Update(ReviewError),
}

impl Client {
    /// Finds the cluster as kubectl does.
    ///
    /// # Errors
    /// If there is none, or its address or credentials are of no use.
    pub fn connect(arguments: &CheckArguments) -> anyhow::Result<Client> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let choice =
            Choice { kubeconfig: arguments.kubeconfig.as_deref(), context: arguments.context.as_deref() };
        let connection = runtime.block_on(kubeconfig::connect(choice))?;
        let namespace = of_context(&connection)?;
        Ok(Client { runtime, connection, namespace })
    }

    /// The configuration of the gapless that is installed.
    ///
    /// # Errors
    /// If it is not the one of exactly one ConfigMap, or that cannot be read.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        self.runtime.block_on(self.read_policy())
    }

    async fn read_policy(&self) -> anyhow::Result<Policy> {
        let mut named = BTreeSet::new();
        for configurations in CONFIGURATIONS {
            for object in list::all(&configurations.list(PAGE), &self.connection).await? {
                let name = at(&object, &["metadata", "annotations", CONFIGURATION]).and_then(Value::as_str);
                named.extend(name.map(str::to_owned));
            }
        }
        let named: Vec<String> = named.into_iter().collect();
        let name = match named.as_slice() {
            [] => anyhow::bail!(
                "no webhook configuration of {} names the ConfigMap of a gapless (annotation {CONFIGURATION}, \
                 which its chart writes); write --config FILE for the configuration to judge by",
                self.connection.server
            ),
            [one] => one,
            several => anyhow::bail!(
                "the webhook configurations of {} name several ConfigMaps of gapless: {}; write --config FILE \
                 for the one to judge by",
                self.connection.server,
                several.join(", ")
            ),
        };
        let Some((namespace, object)) = name.split_once('/') else {
            anyhow::bail!(
                "the annotation {CONFIGURATION} of a webhook configuration is {name:?}; it should be NAMESPACE/NAME"
            );
        };
        let place = Place {
            resource: "configmaps",
            root: "/api/v1",
            plural: "configmaps",
            namespace: Some(namespace),
            name: object,
        };
        let config_map = place.get(&self.connection).await?;
        let text = config_map.as_ref().and_then(|it| at(it, &["data", CONFIG_KEY])?.as_str());
        let Some(text) = text else {
            anyhow::bail!(
                "the webhook configurations name the ConfigMap {name} ({CONFIGURATION}), but it {}; \
                 write --config FILE for the configuration to judge by",
                if config_map.is_some() { format!("has no {CONFIG_KEY}") } else { "is not there".to_owned() }
            );
        };
        Ok(config::of_text(&format!("ConfigMap {name}, {CONFIG_KEY}"), text)?)
    }

    /// Reads what concerns these objects, each with its namespace.
    ///
    /// # Errors
    /// If something cannot be read whose lack would make a verdict wrong. What is only
    /// unknown is named on standard error.
    pub fn read<'p>(&self, policy: &'p Policy, objects: &[Value]) -> Result<Cluster<'p>, RequestError> {
        self.runtime.block_on(self.read_cluster(policy, objects))
    }

    async fn read_cluster<'p>(
        &self,
        policy: &'p Policy,
        objects: &[Value],
    ) -> Result<Cluster<'p>, RequestError> {
        let connection = &self.connection;
        let view = View::default();
        let judged: BTreeMap<Id, Place> =
            objects.iter().filter_map(|object| Some((id(object)?, place(object)?))).collect();
        let names: BTreeSet<&str> = judged.keys().map(|(_, namespace, _)| namespace.as_str()).collect();

        let mut namespaces = Namespaces::new(policy);
        let mut live_namespaces = BTreeMap::new();
        for name in &names {
            match list::namespace(connection, name).await {
                Ok(namespace) => {
                    add(&mut namespaces, &view, &namespace);
                    live_namespaces.insert(*name, namespace);
                }
                // It is going to be made.
                Err(RequestError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let webhooks = installed_webhooks(connection, PAGE, true).await?;
        let mut namespaces = namespaces.with_webhooks(webhooks);

        let places: Vec<_> = names.iter().map(|name| Some(*name)).collect();
        let known = view.neighbours().chain(view.kept_revisions());
        for (watched, why) in look_around(known, connection, &places, PAGE).await? {
            note(&format!("{} are not known, nor what hangs on them: {why}", watched.resource));
        }
        let mut live = BTreeMap::new();
        for (id, place) in progress::counted("objects", judged.iter().collect()) {
            if let Some(object) = place.get(connection).await? {
                live.insert(id.clone(), object);
            }
        }

        // What the input says goes before what is there.
        for object in objects.iter().filter(|object| Neighbour::read(object).is_some()) {
            let Some(kind) = kind_of(object) else { continue };
            if kind == "Namespace" {
                let name = at(object, &["metadata", "name"]).and_then(Value::as_str).unwrap_or_default();
                add(&mut namespaces, &view, &over(live_namespaces.get(name), None, object));
            } else if let Some(known) = view.of(kind) {
                let workload = workload_kind(object);
                let live = id(object).filter(|_| workload.is_some()).and_then(|id| live.get(&id));
                known.put(&over(live, workload, object));
            }
        }
        Ok(Cluster { policy, namespaces, seen: Seen(view), live })
    }
}

impl<'p> Cluster<'p> {
    /// The profile of a namespace.
    ///
    /// # Errors
    /// Why nothing is judged there.
    pub fn profile(&self, namespace: &str) -> Result<&'p Profile, Reason> {
        self.namespaces.profile(namespace)
    }

    /// Whether the webhooks of the cluster judge this kind.
    pub fn judges(&self, kind: Kind) -> bool {
        self.policy.judges(kind)
    }

    /// What is around a workload.
    pub fn around(&self, kind: Kind, object: &Value) -> Surroundings {
        self.seen.around(kind, object, namespace_of(object))
    }

    /// Judges a workload of the input: as an update, if it exists.
    ///
    /// # Errors
    /// See [`NotAssessed`].
    pub fn assess(
        &self,
        kind: Kind,
        object: &Value,
        profile: &Profile,
        today: Date,
    ) -> Result<Assessment, NotAssessed> {
        let Some(live) = id(object).and_then(|id| self.live.get(&id)) else {
            let around = self.around(kind, object);
            return admission::assess(kind, object, &around, profile, today).map_err(NotAssessed::New);
        };
        let terms = Terms { policy: self.policy, profile: None, today, surroundings: &self.seen };
        let review = update(kind, live, &applied(Some(kind), live, object)).to_string();
        admission::assess_request(terms, kind, profile, review.as_bytes()).map_err(NotAssessed::Update)
    }

    /// The workloads behind a Service of the input, if it selects other pods than the one
    /// that exists.
    pub fn switch(&self, service: &Value) -> Option<Vec<Backend>> {
        let live = self.live.get(&id(service)?)?;
        let selector: StringMap = service_selector(service)?;
        (service_selector(live).as_ref() != Some(&selector))
            .then(|| self.seen.0.behind(&selector, namespace_of(service)))
    }
}

/// What has been listed. Nothing more is going to come.
#[derive(Debug)]
struct Seen(View);

impl Around for Seen {
    fn around(&self, kind: Kind, object: &Value, namespace: Option<&str>) -> Surroundings {
        self.0.around(kind, object, namespace)
    }

    fn revisions(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Revisions {
        match self.0.revisions(kind, namespace, name) {
            Revisions::Awaited => Revisions::Unknown,
            revisions => revisions,
        }
    }
}

/// What becomes of an object if the input is applied. What that does not say of it stays, such
/// as the status, and labels of others.
fn over(live: Option<&Value>, workload: Option<Kind>, object: &Value) -> Value {
    live.map_or_else(|| object.clone(), |live| applied(workload, live, object))
}

/// The question that the API server would put to the webhooks.
fn update(kind: Kind, live: &Value, object: &Value) -> Value {
    json!({
        "apiVersion": admission::envelope::API_VERSION,
        "kind": admission::envelope::KIND,
        "request": {
            "uid": "check",
            "operation": "UPDATE",
            "kind": {"group": kind.group(), "version": kind.version(), "kind": kind.name()},
            "namespace": at(object, &["metadata", "namespace"]),
            "name": at(object, &["metadata", "name"]),
            "options": {"fieldManager": "kubectl-client-side-apply"},
            "object": object,
            "oldObject": live,
        },
    })
}

fn kind_of(object: &Value) -> Option<&str> {
    object.get("kind")?.as_str()
}

fn namespace_of(object: &Value) -> Option<&str> {
    at(object, &["metadata", "namespace"])?.as_str()
}

fn workload_kind(object: &Value) -> Option<Kind> {
    Kind::of(object.get("apiVersion").and_then(Value::as_str), kind_of(object))
}

/// `None` for an object without a name of its own, and with one that none can have: there is
/// none yet, and its name is no part of a path.
fn id(object: &Value) -> Option<Id> {
    let name = at(object, &["metadata", "name"])?.as_str().filter(|name| is_dns_subdomain(name))?;
    let namespace = namespace_of(object).filter(|namespace| is_dns_label(namespace))?;
    Some((kind_of(object)?.to_owned(), namespace.to_owned(), name.to_owned()))
}

/// Where an object is that is judged: a workload, or a Service.
fn place(object: &Value) -> Option<Place<'_>> {
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    let (resource, root, plural) = match workload_kind(object) {
        Some(kind) => (kind.qualified_resource(), kind.root(), kind.resource()),
        None if (api_version, kind_of(object)) == (Some("v1"), Some("Service")) => {
            ("services", "/api/v1", "services")
        }
        None => return None,
    };
    let name = at(object, &["metadata", "name"])?.as_str()?;
    Some(Place { resource, root, plural, namespace: namespace_of(object), name })
}
