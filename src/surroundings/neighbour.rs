//! Objects that may stand around a workload, and which of them concern it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Autoscaler, Backend, Budget, DisruptionBudget, Service, ServicePort, Surroundings, Target};
use crate::kubernetes::from_json::{objects, or_default};
use crate::kubernetes::int_or_string::{Amount, IntOrString};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::{LabelSelector, StringMap, texts};
use crate::kubernetes::object::at;

/// The workload around which is looked.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// `metadata.name`, empty if it has none.
    pub name: &'a str,
    /// `metadata.namespace`, if it says so.
    pub namespace: Option<&'a str>,
    /// `spec.template.metadata.labels`
    pub pod_labels: &'a StringMap<'a>,
    /// The names of the claims that its pods mount.
    pub claims: Vec<&'a str>,
}

/// What a workload has to have for a neighbour to concern it: a label with its value, or the
/// kind and the name of what is scaled, or the name of a claim. It tells those that may
/// concern a workload from thousands that do not.
pub type Clue<'a> = (&'a str, &'a str);

impl<'a> Subject<'a> {
    /// The subject that `object` is, whose pods have these labels.
    pub fn of(
        kind: Kind,
        object: &'a Value,
        namespace: Option<&'a str>,
        pod_labels: &'a StringMap<'a>,
    ) -> Self {
        let volumes = at(object, &["spec", "template", "spec", "volumes"]).and_then(Value::as_array);
        let claim = |volume: &'a Value| at(volume, &["persistentVolumeClaim", "claimName"])?.as_str();
        Subject {
            kind: kind.name(),
            name: at(object, &["metadata", "name"]).and_then(Value::as_str).unwrap_or_default(),
            namespace,
            pod_labels,
            claims: volumes.into_iter().flatten().filter_map(claim).collect(),
        }
    }

    /// The clues by which neighbours of this kind may be found; those without one too.
    pub fn clues(&self, role: Role) -> Vec<Option<Clue<'a>>> {
        match role {
            Role::Service | Role::DisruptionBudget | Role::Workload => {
                let labels = self.pod_labels.iter().map(|(key, value)| Some((*key, *value)));
                labels.chain([None]).collect()
            }
            Role::Autoscaler => vec![Some((self.kind, self.name))],
            Role::Claim => self.claims.iter().map(|claim| Some(("", *claim))).collect(),
            Role::Namespace => self.namespace.iter().map(|name| Some(("", *name))).collect(),
        }
    }

    /// The namespace in which neighbours of this kind are.
    pub fn namespace_of(&self, role: Role) -> Option<&'a str> {
        self.namespace.filter(|_| role != Role::Namespace)
    }
}

/// The labels of the pods of `object`; none if they are no texts.
pub fn pod_labels(object: &Value) -> StringMap<'_> {
    let labels = at(object, &["spec", "template", "metadata", "labels"]);
    labels.and_then(|labels| texts(labels).ok()).unwrap_or_default()
}

/// What [`Neighbour::read`] reads of an object, so that the rest need not be kept.
pub fn trimmed(object: &Value) -> Value {
    const METADATA: [&str; 2] = ["name", "namespace"];
    const SPEC: [&str; 9] = [
        "selector",
        "replicas",
        "workloadRef",
        "ports",
        "scaleTargetRef",
        "minReplicas",
        "minAvailable",
        "maxUnavailable",
        "accessModes",
    ];
    let part = |name: &str, fields: &[&str]| -> Map<String, Value> {
        let of = |field: &&str| Some(((*field).to_owned(), at(object, &[name, field])?.clone()));
        fields.iter().filter_map(of).collect()
    };
    let types = ["apiVersion", "kind"].into_iter();
    let types = types.filter_map(|name| Some((name.to_owned(), object.get(name)?.clone())));
    let mut trimmed: Map<String, Value> = types.collect();
    let mut spec = part("spec", &SPEC);
    spec.retain(|field, value| field != "replicas" || *value == json!(0));
    let labels = labels_beside_selector(object);
    if !labels.is_empty() {
        spec.insert("template".to_owned(), json!({"metadata": {"labels": labels}}));
    }
    // Whether there are any is all that is asked. So most changes of a status change nothing.
    let counts = ["availableReplicas", "numberAvailable", "readyReplicas"];
    let count = |field: &str| Some((field.to_owned(), at(object, &["status", field])?.as_i64()?.min(1)));
    if let Some((field, count)) = counts.into_iter().find_map(count) {
        trimmed.insert("status".to_owned(), json!({ field: count }));
    }
    let mut metadata = part("metadata", &METADATA);
    if !metadata.contains_key("namespace") {
        for field in MESH_FIELDS {
            let texts: Map<String, Value> =
                mesh_texts(object, field).map(|(key, value)| (key.to_owned(), value.into())).collect();
            if !texts.is_empty() {
                metadata.insert(field.to_owned(), texts.into());
            }
        }
    }
    trimmed.insert("metadata".to_owned(), metadata.into());
    trimmed.insert("spec".to_owned(), spec.into());
    Value::Object(trimmed)
}

/// The labels of the pods that the selector does not name. Pods have those that it names
/// in any case: the API server sees to that.
fn labels_beside_selector(object: &Value) -> Map<String, Value> {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let selected = at(object, &["spec", "selector", "matchLabels"]);
    let is_selected = |key: &str, value: &Value| selected.and_then(|it| it.get(key)) == Some(value);
    let labels = labels.into_iter().flatten().filter(|(key, value)| !is_selected(key, value));
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Where a Namespace says something to a service mesh.
const MESH_FIELDS: [&str; 2] = ["labels", "annotations"];

/// Those of the labels or annotations of a Namespace that a service mesh reads.
fn mesh_texts<'o>(namespace: &'o Value, field: &str) -> impl Iterator<Item = (&'o str, &'o str)> {
    let is_of_mesh = |key: &str| {
        key == "istio-injection" || key == "istio.io/rev" || key.split('/').next().is_some_and(is_linkerd)
    };
    let all = at(namespace, &["metadata", field]).and_then(Value::as_object).into_iter().flatten();
    let texts = all.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    texts.filter(move |(key, _)| is_of_mesh(key))
}

fn is_linkerd(prefix: &str) -> bool {
    prefix == "linkerd.io" || prefix.ends_with(".linkerd.io")
}

/// The labels by which a Service selects pods; `None` if it selects none, as one of type
/// ExternalName or one with endpoints of its own.
pub fn service_selector(service: &Value) -> Option<StringMap<'_>> {
    let spec = service.get("spec")?;
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return None;
    }
    texts(spec.get("selector")?).ok().filter(|selector| !selector.is_empty())
}

/// Whether a Service that selects by these labels selects pods with those.
fn selects(selector: &StringMap, labels: &StringMap) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// An object that may stand around a workload.
#[derive(Debug)]
pub struct Neighbour<'a> {
    /// `metadata.name`, empty if it has none.
    name: &'a str,
    namespace: Option<&'a str>,
    what: What<'a>,
}

/// The kinds of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends requests to pods.
    Service,
    /// Decides how many pods there are.
    Autoscaler,
    /// Keeps pods from being evicted.
    DisruptionBudget,
    /// Is a disk that pods mount.
    Claim,
    /// Has pods of its own.
    Workload,
    /// Is where the workload is.
    Namespace,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 6] = [
        Role::Service,
        Role::Autoscaler,
        Role::DisruptionBudget,
        Role::Claim,
        Role::Workload,
        Role::Namespace,
    ];

    /// That of objects of this version and kind, if they are neighbours.
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Service") => Some(Role::Service),
            ("", "PersistentVolumeClaim") => Some(Role::Claim),
            ("", "Namespace") => Some(Role::Namespace),
            ("autoscaling", "HorizontalPodAutoscaler") => Some(Role::Autoscaler),
            ("policy", "PodDisruptionBudget") => Some(Role::DisruptionBudget),
            _ => Kind::of(Some(api_version), Some(kind)).map(|_| Role::Workload),
        }
    }
}

#[derive(Debug)]
enum What<'a> {
    Service { selector: StringMap<'a>, ports: Vec<ServicePort> },
    Autoscaler { target: TargetRef<'a>, min_replicas: i32 },
    DisruptionBudget { selector: LabelSelector<'a>, wants: Budget },
    Claim { is_shared: bool },
    Workload { kind: &'a str, selector: LabelSelector<'a>, object: &'a Value },
    Namespace { mesh: Vec<(&'a str, &'a str)> },
}

/// What is known of the pods of a workload.
#[derive(Debug)]
pub struct Pods<'a> {
    labels: StringMap<'a>,
    /// Kind and name of the workload whose template a Rollout uses, if it is not its own.
    template_of: Option<(&'a str, &'a str)>,
    /// Whether it may have any.
    pub are_wanted: bool,
    /// Whether one is available, as its status says.
    pub are_available: bool,
}

impl<'a> Pods<'a> {
    fn read(kind: &str, object: &'a Value, selector: &LabelSelector<'a>) -> Self {
        let mut labels = pod_labels(object);
        labels.extend(selector.match_labels.iter().map(|(key, value)| (*key, *value)));
        let reference = at(object, &["spec", "workloadRef"]);
        let text = |field| reference?.get(field)?.as_str();
        let count = |field| at(object, &["status", field])?.as_i64();
        let available = match kind {
            "DaemonSet" => count("numberAvailable"),
            // Once it only said which are ready.
            "StatefulSet" => count("availableReplicas").or_else(|| count("readyReplicas")),
            _ => count("availableReplicas"),
        };
        Pods {
            labels,
            template_of: text("kind").zip(text("name")),
            are_wanted: at(object, &["spec", "replicas"]).is_none_or(|replicas| *replicas != json!(0)),
            are_available: available.is_some_and(|count| count > 0),
        }
    }
}

/// The access modes with which several nodes can mount a volume.
const SHARED_MODES: [&str; 2] = ["ReadWriteMany", "ReadOnlyMany"];

impl<'a> Neighbour<'a> {
    /// The neighbour that `object` is, if it is one. What has a wrong type is none: it
    /// will not stand in a cluster like that.
    pub fn read(object: &'a Value) -> Option<Self> {
        let text = |field| object.get(field).and_then(Value::as_str);
        let (api_version, kind) = (text("apiVersion")?, text("kind")?);
        let namespace = at(object, &["metadata", "namespace"]).and_then(Value::as_str);
        Neighbour::read_as(Role::of(api_version, kind)?, kind, namespace, object)
    }

    /// The neighbour of this role and kind that `object` is, which need say neither, nor its
    /// namespace.
    pub fn read_as(role: Role, kind: &'a str, namespace: Option<&'a str>, object: &'a Value) -> Option<Self> {
        let Written { metadata, spec } = Written::deserialize(object).ok()?;
        let what = match role {
            Role::Service => {
                let selector = service_selector(object)?;
                let is_tcp = |port: &&Port| port.protocol.unwrap_or("TCP") == "TCP";
                let ports = spec.ports.iter().filter(is_tcp).map(Port::read).collect();
                What::Service { selector, ports }
            }
            Role::Autoscaler => What::Autoscaler {
                target: spec.scale_target_ref,
                min_replicas: spec.min_replicas.unwrap_or(1),
            },
            Role::DisruptionBudget => What::DisruptionBudget {
                // Without a selector it selects nothing; with an empty one everything.
                selector: LabelSelector::deserialize(object.get("spec")?.get("selector")?).ok()?,
                wants: match (spec.min_available, spec.max_unavailable) {
                    (Some(min), None) => Budget::MinAvailable(Amount::parse(min)?),
                    (None, Some(max)) => Budget::MaxUnavailable(Amount::parse(max)?),
                    _ => return None,
                },
            },
            Role::Claim if spec.access_modes.is_empty() => return None,
            Role::Claim => {
                What::Claim { is_shared: spec.access_modes.iter().any(|mode| SHARED_MODES.contains(mode)) }
            }
            Role::Namespace => {
                let mesh = MESH_FIELDS.into_iter().flat_map(|field| mesh_texts(object, field)).collect();
                What::Namespace { mesh }
            }
            Role::Workload => {
                let selector = LabelSelector::deserialize(object.get("spec")?.get("selector")?).ok()?;
                What::Workload { kind, selector, object }
            }
        };
        Some(Neighbour { name: metadata.name, namespace, what })
    }

    /// `metadata.name`, empty if it has none.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// `metadata.namespace`, if it says so.
    pub fn namespace(&self) -> Option<&'a str> {
        self.namespace
    }

    /// What kind of neighbour it is.
    pub fn role(&self) -> Role {
        match self.what {
            What::Service { .. } => Role::Service,
            What::Autoscaler { .. } => Role::Autoscaler,
            What::DisruptionBudget { .. } => Role::DisruptionBudget,
            What::Claim { .. } => Role::Claim,
            What::Workload { .. } => Role::Workload,
            What::Namespace { .. } => Role::Namespace,
        }
    }

    /// What a workload has to have to be concerned; `None` if everything may be.
    pub fn clue(&self) -> Option<Clue<'a>> {
        let first = |labels: &StringMap<'a>| labels.iter().next().map(|(key, value)| (*key, *value));
        match &self.what {
            What::Service { selector, .. } => first(selector),
            What::Autoscaler { target, .. } => Some((target.kind, target.name)),
            What::DisruptionBudget { selector, .. } | What::Workload { selector, .. } => {
                first(&selector.match_labels)
            }
            What::Claim { .. } | What::Namespace { .. } => Some(("", self.name)),
        }
    }

    /// Whether it has to do with `subject`, which only what is in the same namespace has.
    /// Where neither says one, that is the same.
    pub fn concerns(&self, subject: &Subject) -> bool {
        if self.namespace != subject.namespace_of(self.role()) {
            return false;
        }
        match &self.what {
            What::Service { selector, .. } => selects(selector, subject.pod_labels),
            What::Autoscaler { target, .. } => target.kind == subject.kind && target.name == subject.name,
            What::DisruptionBudget { selector, .. } => selector.matches(subject.pod_labels),
            What::Claim { .. } => subject.claims.contains(&self.name),
            What::Namespace { .. } => subject.namespace == Some(self.name),
            What::Workload { kind, selector, .. } => {
                // Of one name it is a copy, or the workload itself.
                (*kind, self.name) != (subject.kind, subject.name) && selector.matches(subject.pod_labels)
            }
        }
    }
}

/// The workloads among these neighbours whose pods `selector`, of a Service in this
/// namespace, selects. The pods of a Rollout with the template of another workload count
/// as that one's too.
pub fn behind(
    neighbours: &[&Neighbour],
    selector: &StringMap,
    namespace: Option<&str>,
    has_pods: fn(&Pods) -> bool,
) -> Vec<Backend> {
    let workloads = neighbours.iter().filter_map(|neighbour| match &neighbour.what {
        What::Workload { kind, selector, object } if neighbour.namespace == namespace => {
            Some(((*kind, neighbour.name), Pods::read(kind, object, selector)))
        }
        _ => None,
    });
    let workloads: Vec<_> = workloads.collect();
    let uses = |pods: &Pods, workload| pods.template_of == Some(workload);
    let selected = workloads.iter().filter(|(_, pods)| selects(selector, &pods.labels));
    let found = selected.map(|(workload, pods)| {
        let has_others = || workloads.iter().any(|(_, other)| uses(other, *workload) && has_pods(other));
        let (kind, name) = workload;
        Backend { workload: format!("{kind} {name}"), has_pods: has_pods(pods) || has_others() }
    });
    let mut found: Vec<Backend> = found.collect();
    found.sort_by(|left, right| left.workload.cmp(&right.workload));
    found
}

impl Surroundings {
    /// What these neighbours, all of which concern one workload, are to it.
    pub fn of<'n, 'a: 'n>(neighbours: impl IntoIterator<Item = &'n Neighbour<'a>>) -> Self {
        let mut around = Surroundings::default();
        let mut overlapping = BTreeSet::new();
        for neighbour in neighbours {
            let name = neighbour.name.to_owned();
            match &neighbour.what {
                What::Service { ports, .. } => {
                    let service = Service { name, ports: ports.clone() };
                    if !around.services.contains(&service) {
                        around.services.push(service);
                    }
                }
                What::Autoscaler { min_replicas, .. } => {
                    // Of several the one that leaves the fewest pods.
                    let fewest = around.autoscaler.as_ref().map(|it| it.min_replicas);
                    if fewest.is_none_or(|fewest| *min_replicas < fewest) {
                        around.autoscaler = Some(Autoscaler { name, min_replicas: *min_replicas });
                    }
                }
                What::DisruptionBudget { wants, .. } => {
                    let budget = DisruptionBudget { name, wants: *wants };
                    if !around.disruption_budgets.contains(&budget) {
                        around.disruption_budgets.push(budget);
                    }
                }
                What::Claim { is_shared } => {
                    // Where copies disagree, the stricter one counts.
                    let known = around.claims.entry(name).or_insert(true);
                    *known &= is_shared;
                }
                What::Namespace { mesh } => {
                    let texts = mesh.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
                    around.mesh.extend(texts);
                }
                What::Workload { kind, .. } => drop(overlapping.insert(format!("{kind} {name}"))),
            }
        }
        around.overlapping = overlapping.into_iter().collect();
        around
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
struct Written<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    metadata: Metadata<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    spec: Spec<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
struct Metadata<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    name: &'a str,
}

/// The fields of all kinds of neighbours that have one type wherever they occur.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
struct Spec<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    ports: Vec<Port<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    scale_target_ref: TargetRef<'a>,
    min_replicas: Option<i32>,
    #[serde(borrow)]
    min_available: Option<IntOrString<'a>>,
    #[serde(borrow)]
    max_unavailable: Option<IntOrString<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    access_modes: Vec<&'a str>,
}

/// A port of a Service.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
struct Port<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    name: &'a str,
    port: i32,
    #[serde(borrow)]
    target_port: Option<IntOrString<'a>>,
    #[serde(borrow)]
    protocol: Option<&'a str>,
}

impl Port<'_> {
    fn read(&self) -> ServicePort {
        let target = match self.target_port {
            // The API server fills in the port for either.
            None | Some(IntOrString::Int(0) | IntOrString::String("")) => Target::Number(self.port),
            Some(IntOrString::Int(number)) => Target::Number(number),
            Some(IntOrString::String(name)) => Target::Name(name.to_owned()),
        };
        ServicePort { name: self.name.to_owned(), target }
    }
}

/// `scaleTargetRef`, without its version.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
struct TargetRef<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    kind: &'a str,
    #[serde(borrow, deserialize_with = "or_default")]
    name: &'a str,
}

objects!(Written<'a>, Metadata<'a>, Spec<'a>, Port<'a>, TargetRef<'a>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels() -> StringMap<'static> {
        StringMap::from([("app", "web"), ("tier", "front")])
    }

    /// What the object is to the Deployment `web` with these labels, which mounts the
    /// claim `data`.
    fn around(object: Value, namespace: Option<&str>) -> Option<Surroundings> {
        let labels = labels();
        let subject =
            Subject { kind: "Deployment", name: "web", namespace, pod_labels: &labels, claims: vec!["data"] };
        let neighbour = Neighbour::read(&object)?;
        neighbour.concerns(&subject).then(|| Surroundings::of([&neighbour]))
    }

    fn service(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    }

    #[test]
    fn a_service_without_pods_of_its_own_selects_none() {
        let selects = |spec: Value| service_selector(&service(spec)).is_some();
        assert!(selects(json!({"selector": {"app": "web"}})));
        assert!(selects(json!({"selector": {"app": "web"}, "type": "NodePort"})));
        for spec in [
            json!({}),
            json!({"selector": null}),
            json!({"selector": {}}),
            json!({"selector": {"app": 1}}),
            // The API takes a selector there and leaves it out of account.
            json!({"selector": {"app": "web"}, "type": "ExternalName", "externalName": "a.example"}),
        ] {
            assert!(!selects(spec.clone()), "{spec}");
        }
    }

    fn workload(kind: &str, labels: Value, rest: &Value) -> Value {
        let kind = Kind::ALL.into_iter().find(|it| it.name() == kind).unwrap();
        let mut object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
        });
        if !labels.is_null() {
            object["spec"]["template"] = json!({"metadata": {"labels": labels}, "spec": {"containers": []}});
        }
        for (field, value) in rest.as_object().unwrap() {
            object.pointer_mut(if field == "status" { "" } else { "/spec" }).unwrap()[field] = value.clone();
        }
        object
    }

    /// What is behind a Service that selects `app: web` and `track: green`: who, whether
    /// pods are wanted, and whether one is available.
    fn found_behind(objects: &[Value]) -> Vec<(String, bool, bool)> {
        // A second time nothing is left to trim.
        let trimmed: Vec<Value> = objects.iter().map(trimmed).map(|object| trimmed(&object)).collect();
        let neighbours: Vec<Neighbour> = trimmed.iter().filter_map(Neighbour::read).collect();
        let neighbours: Vec<&Neighbour> = neighbours.iter().collect();
        let selector = StringMap::from([("app", "web"), ("track", "green")]);
        let [wanted, available] = [|pods: &Pods| pods.are_wanted, |pods: &Pods| pods.are_available]
            .map(|has_pods| behind(&neighbours, &selector, Some("shop"), has_pods));
        let both = wanted.into_iter().zip(available);
        both.map(|(wanted, available)| (wanted.workload, wanted.has_pods, available.has_pods)).collect()
    }

    #[test]
    fn a_service_sends_requests_to_the_pods_with_all_of_its_labels() {
        let is_behind =
            |labels: Value| !found_behind(&[workload("Deployment", labels, &json!({}))]).is_empty();
        assert!(is_behind(json!({"app": "web", "track": "green"})));
        assert!(is_behind(json!({"app": "web", "track": "green", "more": "labels"})));
        assert!(!is_behind(json!({"app": "web", "track": "blue"})));
        assert!(!is_behind(json!({"app": "web"})));
        assert!(!is_behind(json!(null)));
        let mut elsewhere = workload("Deployment", json!({"app": "web", "track": "green"}), &json!({}));
        elsewhere["metadata"]["namespace"] = json!("other");
        assert!(found_behind(&[elsewhere]).is_empty());
    }

    #[test]
    fn each_kind_says_in_its_own_words_how_many_pods_there_are() {
        for (kind, rest, expected) in [
            ("Deployment", json!({}), (true, false)),
            ("Deployment", json!({"replicas": 0}), (false, false)),
            ("Deployment", json!({"replicas": "${REPLICAS}"}), (true, false)),
            ("Deployment", json!({"replicas": 2, "status": {"availableReplicas": 1}}), (true, true)),
            // Without any, the API leaves the field out.
            ("Deployment", json!({"status": {"readyReplicas": 2, "unavailableReplicas": 2}}), (true, false)),
            ("StatefulSet", json!({"status": {"availableReplicas": 0, "readyReplicas": 2}}), (true, false)),
            ("StatefulSet", json!({"status": {"readyReplicas": 2}}), (true, true)),
            ("StatefulSet", json!({"replicas": 0, "status": {"availableReplicas": 1}}), (false, true)),
            ("DaemonSet", json!({"status": {"numberReady": 2}}), (true, false)),
            ("DaemonSet", json!({"status": {"numberAvailable": 1}}), (true, true)),
            ("Rollout", json!({"status": {"availableReplicas": 1}}), (true, true)),
            ("Rollout", json!({"replicas": 0, "status": {}}), (false, false)),
        ] {
            let object = workload(kind, json!({"app": "web", "track": "green"}), &rest);
            let (wanted, available) = expected;
            assert_eq!(found_behind(&[object]), [(format!("{kind} web"), wanted, available)], "{rest}");
        }
    }

    #[test]
    fn a_rollout_has_the_pods_of_the_deployment_whose_template_it_uses() {
        let labels = || json!({"app": "web", "track": "green"});
        // Its controller scales it down.
        let deployment = workload("Deployment", labels(), &json!({"replicas": 0}));
        let rollout = |reference: &str, available: i32| {
            let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": reference});
            let status = json!({"availableReplicas": available});
            workload("Rollout", json!(null), &json!({"workloadRef": reference, "status": status}))
        };
        let of = |rollout| found_behind(&[deployment.clone(), rollout]);
        let found = |wanted, available| vec![("Deployment web".to_owned(), wanted, available)];
        assert_eq!(of(rollout("web", 2)), found(true, true));
        assert_eq!(of(rollout("web", 0)), found(true, false));
        assert_eq!(of(rollout("other", 2)), found(false, false));
    }

    #[test]
    fn a_status_that_says_the_same_of_pods_is_kept_as_the_same() {
        let kept = |rest: Value| trimmed(&workload("Deployment", json!({"app": "web"}), &rest));
        let status =
            |available: i32| json!({"readyReplicas": 9, "availableReplicas": available, "replicas": 9});
        let one = kept(json!({"replicas": 1, "status": status(1)}));
        assert_eq!(one, kept(json!({"replicas": 9, "status": status(8)})));
        assert_eq!(one["status"], json!({"availableReplicas": 1}));
        assert_ne!(one, kept(json!({"replicas": 9, "status": status(0)})));
        assert_ne!(one, kept(json!({"replicas": 0, "status": status(1)})));
    }

    #[test]
    fn labels_that_the_selector_names_are_kept_once() {
        let object = workload("Deployment", json!({"app": "web", "track": "green"}), &json!({}));
        let expected = json!({"metadata": {"labels": {"track": "green"}}});
        assert_eq!(trimmed(&object)["spec"]["template"], expected);
        let object = workload("Deployment", json!({"app": "web"}), &json!({}));
        assert_eq!(trimmed(&object)["spec"].get("template"), None);
    }

    #[test]
    fn a_service_selects_by_all_of_its_labels() {
        let selects = |selector: Value| around(service(json!({"selector": selector})), None).is_some();
        assert!(selects(json!({"app": "web"})));
        assert!(selects(json!({"app": "web", "tier": "front"})));
        assert!(!selects(json!({"app": "web", "tier": "back"})));
        assert!(!selects(json!({"app": "web", "version": "v1"})));
        assert!(!selects(json!({})), "endpoints of its own");
        assert!(!selects(json!(null)));
        assert!(Neighbour::read(&service(json!({"selector": ["app"]}))).is_none(), "a wrong type");
    }

    #[test]
    fn where_a_service_sends_requests() {
        let ports = json!([
            {"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}, {"name": "same", "port": 82},
            {"port": 53, "protocol": "UDP"}, {"port": 83, "targetPort": 0},
        ]);
        let around = around(service(json!({"selector": {"app": "web"}, "ports": ports})), None).unwrap();
        let targets: Vec<_> = around.services[0].ports.iter().map(|port| port.target.clone()).collect();
        let name = Target::Name("web".to_owned());
        assert_eq!(targets, [Target::Number(8080), name, Target::Number(82), Target::Number(83)]);
    }

    #[test]
    fn only_the_same_namespace_counts() {
        let with = |namespace: Value| {
            let mut object = service(json!({"selector": {"app": "web"}}));
            object["metadata"]["namespace"] = namespace;
            object
        };
        assert!(around(with(json!(null)), None).is_some());
        assert!(around(with(json!("shop")), Some("shop")).is_some());
        assert!(around(with(json!("shop")), None).is_none());
        assert!(around(with(json!(null)), Some("shop")).is_none());
        assert!(around(with(json!("shop")), Some("default")).is_none());
    }

    #[test]
    fn an_autoscaler_follows_kind_and_name() {
        let autoscaler = |version: &str, kind: &str, name: &str, min: Value| {
            let target = json!({"apiVersion": "apps/v1", "kind": kind, "name": name});
            let spec = json!({"scaleTargetRef": target, "minReplicas": min});
            let object = json!({"apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": spec});
            around(object, None)?.autoscaler.map(|it| it.min_replicas)
        };
        assert_eq!(autoscaler("autoscaling/v2", "Deployment", "web", json!(3)), Some(3));
        assert_eq!(autoscaler("autoscaling/v1", "Deployment", "web", json!(0)), Some(0));
        assert_eq!(autoscaler("autoscaling/v2", "Deployment", "web", json!(null)), Some(1));
        assert_eq!(autoscaler("autoscaling/v2", "StatefulSet", "web", json!(3)), None);
        assert_eq!(autoscaler("autoscaling/v2", "Deployment", "api", json!(3)), None);
        assert_eq!(autoscaler("keda.sh/v1", "Deployment", "web", json!(3)), None);
    }

    #[test]
    fn a_budget_without_selector_is_over_nothing_and_with_an_empty_one_over_all() {
        let budget = |spec: Value| {
            let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {}, "spec": spec});
            around(object, None).map(|around| around.disruption_budgets[0].wants)
        };
        let min = Some(Budget::MinAvailable(Amount::Count(1)));
        assert_eq!(budget(json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}})), min);
        assert_eq!(budget(json!({"minAvailable": 1, "selector": {}})), min);
        assert_eq!(budget(json!({"minAvailable": 1})), None);
        assert_eq!(budget(json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "api"}}})), None);
        assert_eq!(budget(json!({"selector": {}})), None, "it wants nothing");
        let max = Some(Budget::MaxUnavailable(Amount::Percent(10)));
        assert_eq!(budget(json!({"maxUnavailable": "10%", "selector": {}})), max);
    }

    #[test]
    fn a_claim_is_shared_if_one_of_its_modes_is() {
        let claim = |name: &str, modes: Value| {
            let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name}, "spec": {"accessModes": modes}});
            around(object, None).map(|around| around.claims["data"])
        };
        assert_eq!(claim("data", json!(["ReadWriteOnce"])), Some(false));
        assert_eq!(claim("data", json!(["ReadWriteOncePod"])), Some(false));
        assert_eq!(claim("data", json!(["ReadWriteOnce", "ReadWriteMany"])), Some(true));
        assert_eq!(claim("data", json!(["ReadOnlyMany"])), Some(true));
        assert_eq!(claim("data", json!([])), None, "nothing is known");
        assert_eq!(claim("other", json!(["ReadWriteOnce"])), None);
    }

    #[test]
    fn another_workload_that_selects_the_pods() {
        let workload = |kind: &str, name: &str, app: &str| {
            let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": {"app": app}}}});
            around(object, None).map(|around| around.overlapping)
        };
        assert_eq!(workload("Deployment", "canary", "web"), Some(vec!["Deployment canary".to_owned()]));
        assert_eq!(workload("StatefulSet", "web", "web"), Some(vec!["StatefulSet web".to_owned()]));
        assert_eq!(workload("Deployment", "web", "web"), None, "itself, or a copy");
        assert_eq!(workload("Deployment", "canary", "other"), None);
        assert_eq!(workload("Job", "canary", "web"), None);
    }
}
