//! Workloads of a live cluster, for `gapless preview`.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::failure::RequestError;
use crate::client::kubeconfig::Connection;
use crate::client::list::{self, List};
use crate::client::object::Place;
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::{LabelSelector, texts};
use crate::kubernetes::object::at;
use crate::names::is_dns_subdomain;
use crate::offline::inputs;
use crate::rollout::Millis;

/// How many pods are read at once.
const PAGE: u32 = 500;

/// A workload that is named as kubectl names it, such as `deployment/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    name: String,
}

/// What the cluster says of it.
pub struct Live {
    /// The workload as it is.
    pub object: Value,
    /// How long its containers took until they listened.
    pub starts_in: Option<Learned>,
}

/// What running pods have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// How long it took, at best: what a probe's period added is not known.
    pub millis: Millis,
    /// How many pods have shown it.
    pub pods: usize,
}

/// Why nothing can be said of a live workload.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is none.
    #[error("there is no {0} in namespace {1}")]
    Missing(String, String),
    /// A container that is to have another image is not there.
    #[error("it has no container {0:?}; its containers are {1}")]
    NoContainer(String, String),
    /// The API server does not say.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Target {
    /// The target of an argument; `None` if it names a file, be it one that is not there.
    pub fn parse(argument: &Path) -> Option<Target> {
        if argument.exists() || inputs::is_manifest(argument) {
            return None;
        }
        let (kind, name) = argument.to_str()?.split_once('/')?;
        let kind = kind.to_lowercase();
        let is_it = |it: &Kind| {
            let short = match it {
                Kind::Deployment => "deploy",
                Kind::StatefulSet => "sts",
                Kind::DaemonSet => "ds",
                Kind::Rollout => "ro",
            };
            [it.name().to_lowercase().as_str(), it.resource(), it.qualified_resource(), short]
                .contains(&kind.as_str())
        };
        let kind = Kind::ALL.into_iter().find(is_it)?;
        is_dns_subdomain(name).then(|| Target { kind, name: name.to_owned() })
    }

    /// Reads it, and what its pods have shown.
    ///
    /// # Errors
    /// If it cannot be read, or is not there. Pods that cannot be read show nothing.
    pub async fn read(&self, connection: &Connection, namespace: &str) -> Result<Live, LiveError> {
        let (kind, name) = (self.kind, self.name.as_str());
        let place = Place {
            resource: kind.qualified_resource(),
            root: kind.root(),
            plural: kind.resource(),
            namespace: Some(namespace),
            name,
        };
        let missing = || LiveError::Missing(format!("{kind} {name}"), namespace.to_owned());
        let object = place.get(connection).await?.ok_or_else(missing)?;
        let selector = at(&object, &["spec", "selector"]).and_then(|it| LabelSelector::deserialize(it).ok());
        let labels = selector.unwrap_or_default().equalities();
        let pods = list::all(&pods(namespace, &labels), connection).await.unwrap_or_default();
        let starts_in = learned(&object, &pods);
        Ok(Live { object, starts_in })
    }
}

/// The pods in this namespace that have these labels.
pub fn pods<'l>(namespace: &'l str, labels: &'l str) -> List<'l> {
    List {
        resource: "pods",
        root: "/api/v1",
        plural: "pods",
        namespace: Some(namespace),
        labels,
        limit: PAGE,
    }
}

/// The same object with these images, by container; `*` stands for all.
///
/// # Errors
/// If there is no container of such a name.
pub fn with_images(object: &Value, images: &[(String, String)]) -> Result<Value, LiveError> {
    let mut object = object.clone();
    for (container, image) in images {
        let mut names = Vec::new();
        let mut is_set = false;
        let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
        for fields in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if *container == "*" || *container == name {
                fields.insert("image".to_owned(), json!(image));
                is_set = true;
            }
            names.push(name);
        }
        if !is_set {
            return Err(LiveError::NoContainer(container.clone(), names.join(", ")));
        }
    }
    Ok(object)
}

/// What the pods of `object` have shown that are ready and have never restarted.
fn learned(object: &Value, pods: &[Value]) -> Option<Learned> {
    let containers = at(object, &["spec", "template", "spec", "containers"])?.as_array()?;
    // Without a probe a pod is ready at once, whenever it listens.
    containers.iter().find(|container| container.get("readinessProbe").is_some())?;
    let selector = LabelSelector::deserialize(at(object, &["spec", "selector"])?).ok()?;
    let is_own = |pod: &&Value| {
        let labels = at(pod, &["metadata", "labels"]).and_then(|labels| texts(labels).ok());
        labels.is_some_and(|labels| selector.matches(&labels))
    };
    let shown: Vec<Millis> = pods.iter().filter(is_own).filter_map(time_until_ready).collect();
    Some(Learned { millis: shown.iter().min().copied()?, pods: shown.len() })
}

/// How long after the start of its last container a pod was ready, in whole seconds, as the
/// API writes times.
fn time_until_ready(pod: &Value) -> Option<Millis> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let conditions = at(pod, &["status", "conditions"])?.as_array()?;
    let is_ready = |it: &&Value| {
        let text = |field| it.get(field).and_then(Value::as_str);
        (text("type"), text("status")) == (Some("Ready"), Some("True"))
    };
    let ready = time(conditions.iter().find(is_ready)?.get("lastTransitionTime")?)?;
    let mut started = None;
    for container in at(pod, &["status", "containerStatuses"])?.as_array()? {
        if container.get("restartCount").and_then(Value::as_u64) != Some(0) {
            return None;
        }
        started = started.max(Some(time(at(container, &["state", "running", "startedAt"])?)?));
    }
    let seconds = ready.as_second().checked_sub(started?.as_second())?;
    Millis::try_from(seconds).ok()?.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_as_kubectl_names_it() {
        for (argument, kind) in [
            ("deployment/web", Kind::Deployment),
            ("Deployments/web", Kind::Deployment),
            ("deploy/web", Kind::Deployment),
            ("deployments.apps/web", Kind::Deployment),
            ("sts/web", Kind::StatefulSet),
            ("ds/web", Kind::DaemonSet),
            ("rollouts.argoproj.io/web", Kind::Rollout),
        ] {
            let target = Target { kind, name: "web".to_owned() };
            assert_eq!(Target::parse(Path::new(argument)), Some(target), "{argument}");
        }
        for file in [
            "web.yaml",
            "deploy/web.yaml",
            "deploy/web/app",
            "pod/web",
            "deploy/",
            "deploy/a?b",
            "-",
            "src/lib.rs",
        ] {
            assert_eq!(Target::parse(Path::new(file)), None, "{file}");
        }
    }

    #[test]
    fn images_are_those_of_containers() {
        let object = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": "a:1"}, {"name": "side", "image": "b:1"}]}}}});
        let images = |container: &str| {
            let images = [(container.to_owned(), "c:2".to_owned())];
            let containers =
                with_images(&object, &images).ok()?["spec"]["template"]["spec"]["containers"].take();
            Some([0, 1].map(|place| containers[place]["image"].clone()))
        };
        assert_eq!(images("side"), Some([json!("a:1"), json!("c:2")]));
        assert_eq!(images("*"), Some([json!("c:2"), json!("c:2")]));
        assert_eq!(images("other"), None);
    }

    fn pod(label: &str, ready_at: u64, restarts: u64) -> Value {
        json!({
            "metadata": {"labels": {"app": label}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True",
                    "lastTransitionTime": format!("2026-11-29T10:00:{ready_at:02}Z")}],
                "containerStatuses": [
                    {"restartCount": 0, "state": {"running": {"startedAt": "2026-11-29T10:00:01Z"}}},
                    {"restartCount": restarts, "state": {"running": {"startedAt": "2026-11-29T10:00:02Z"}}},
                ],
            },
        })
    }

    #[test]
    fn the_quickest_pod_that_never_restarted_shows_how_long_a_start_takes() {
        let object = |container: Value| {
            json!({"spec": {"selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [container]}}}})
        };
        let probed = object(json!({"readinessProbe": {}}));
        let mut waiting = pod("web", 30, 0);
        waiting["status"]["conditions"][0]["status"] = json!("False");
        let pods = [pod("web", 9, 0), pod("web", 7, 0), pod("web", 4, 1), pod("api", 3, 0), waiting];
        assert_eq!(learned(&probed, &pods), Some(Learned { millis: 5_000, pods: 2 }));
        assert_eq!(learned(&probed, &pods[2..]), None);
        assert_eq!(learned(&object(json!({})), &pods), None, "ready at once");
    }
}
