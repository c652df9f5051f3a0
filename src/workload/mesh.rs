//! The sidecar that a service mesh is going to put into the pods. It is not in the
//! workload yet: meshes inject when a pod is created.

use std::time::Duration;

use super::Workload;
use crate::kubernetes::duration;

/// A mesh's sidecar, as far as labels and annotations tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Whose sidecar it is.
    pub name: &'static str,
    /// How long it carries traffic after the pod was told to stop.
    pub drain: Drain,
    /// Whether an annotation says that it is a regular container, which is told to stop
    /// together with the application. By default it is a native sidecar today.
    pub is_classic: bool,
    /// The annotation that sets how long it drains, and its value for so many seconds.
    setting: (&'static str, fn(u64) -> String),
}

/// How long a sidecar drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// For so long.
    For(Duration),
    /// As long as there are connections, or what nobody can tell from here.
    Unknown,
}

const ISTIO_CONFIG: &str = "proxy.istio.io/config";
const LINKERD_WAIT: &str = "config.alpha.linkerd.io/proxy-wait-before-exit-seconds";

/// `terminationDrainDuration` where nothing is said (istio, pkg/config/mesh/mesh.go).
const ISTIO_DRAIN: Duration = Duration::from_secs(5);

impl Mesh {
    /// The mesh whose sidecar the pods ask for.
    pub fn of(workload: &Workload) -> Option<Self> {
        Mesh::istio(workload).or_else(|| Mesh::linkerd(workload))
    }

    fn istio(workload: &Workload) -> Option<Self> {
        // Either may be a label or an annotation.
        let says = |key: &str| {
            let annotations = &workload.template().metadata.annotations;
            workload.pod_labels().get(key).or_else(|| annotations.get(key)).copied()
        };
        // Which of Istio's webhooks is asked hangs on the namespace first (istio,
        // manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml).
        let namespace = &workload.surroundings().mesh;
        let inject = says("sidecar.istio.io/inject");
        let is_injected = match namespace.get("istio-injection") {
            Some(injection) => injection == "enabled" && inject != Some("false"),
            None if namespace.contains_key("istio.io/rev") => inject != Some("false"),
            None => inject.map_or(says("istio.io/rev").is_some(), |inject| inject == "true"),
        };
        let config = says(ISTIO_CONFIG).unwrap_or_default();
        let drain = match value_of(config, "terminationDrainDuration") {
            _ if value_of(config, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS") == Some("true") => Drain::Unknown,
            Some(text) => duration::parse(text).map_or(Drain::Unknown, Drain::For),
            None => Drain::For(ISTIO_DRAIN),
        };
        is_injected.then_some(Mesh {
            name: "Istio's sidecar",
            drain,
            is_classic: says("sidecar.istio.io/nativeSidecar") == Some("false"),
            setting: (ISTIO_CONFIG, |seconds| format!("'terminationDrainDuration: {seconds}s'")),
        })
    }

    fn linkerd(workload: &Workload) -> Option<Self> {
        let own = workload.template().metadata.annotations.iter().map(|(key, value)| (*key, *value));
        let of_namespace = workload.surroundings().mesh.iter();
        let of_namespace = of_namespace.map(|(key, value)| (key.as_str(), value.as_str()));
        // What a pod says goes before what its namespace says.
        let annotations: Vec<(&str, &str)> = own.chain(of_namespace).collect();
        // The prefix was config.alpha., config.beta. and config.linkerd.io in turn.
        let says = |name: &str| {
            let is_meant = |key: &str| {
                let prefix = key.strip_suffix(name).and_then(|prefix| prefix.strip_suffix('/'));
                prefix.is_some_and(|prefix| prefix.ends_with("linkerd.io"))
            };
            annotations.iter().find(|(key, _)| is_meant(key)).map(|(_, value)| *value)
        };
        let inject = annotations.iter().find(|(key, _)| *key == "linkerd.io/inject");
        let is_injected = matches!(inject, Some((_, "enabled" | "ingress")));
        let drain = match says("proxy-wait-before-exit-seconds") {
            Some(text) => text.parse().map_or(Drain::Unknown, |wait| Drain::For(Duration::from_secs(wait))),
            None => Drain::For(Duration::ZERO),
        };
        is_injected.then_some(Mesh {
            name: "Linkerd's sidecar",
            drain,
            is_classic: says("proxy-enable-native-sidecar") == Some("false"),
            setting: (LINKERD_WAIT, |seconds| format!("\"{seconds}\"")),
        })
    }

    /// What makes it drain for at least so long.
    pub fn fix(&self, at_least: Duration) -> String {
        let (annotation, value) = self.setting;
        format!("annotate the pod template with {annotation}: {}", value(at_least.as_secs()))
    }
}

/// The value of `key` in a small YAML or JSON document, as its text.
fn value_of<'t>(document: &'t str, key: &str) -> Option<&'t str> {
    let (_, after) = document.split_once(key)?;
    let value = after.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    value.split(|it: char| it.is_whitespace() || "\"',}#".contains(it)).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kind::Kind;
    use crate::kubernetes::object::View;
    use crate::surroundings::Surroundings;
    use crate::workload::{Context, Origin};
    use serde_json::{Value, json};

    fn mesh(labels: Value, annotations: Value) -> Option<(&'static str, Drain, bool)> {
        let template = json!({"metadata": {"labels": labels, "annotations": annotations}});
        mesh_in(&[], template)
    }

    /// The mesh of pods of this template in a namespace that says this.
    fn mesh_in(namespace: &[(&str, &str)], template: Value) -> Option<(&'static str, Drain, bool)> {
        let raw = json!({"spec": {"template": template}});
        let mesh = namespace.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let surroundings = Surroundings { mesh, ..Surroundings::default() };
        let context = Context { surroundings: &surroundings, ..Context::new(Kind::Deployment, Origin::File) };
        let mesh = Mesh::of(&Workload::read_view(View::of(&raw), context).unwrap())?;
        Some((mesh.name, mesh.drain, mesh.is_classic))
    }

    fn drains(seconds: u64) -> Drain {
        Drain::For(Duration::from_secs(seconds))
    }

    #[test]
    fn istio() {
        let injected = || json!({"sidecar.istio.io/inject": "true"});
        let name = "Istio's sidecar";
        assert_eq!(mesh(injected(), json!({})), Some((name, drains(5), false)));
        assert_eq!(mesh(json!({}), injected()), Some((name, drains(5), false)));
        assert_eq!(mesh(json!({"istio.io/rev": "stable"}), json!({})), Some((name, drains(5), false)));
        assert_eq!(mesh(json!({"istio.io/rev": "x", "sidecar.istio.io/inject": "false"}), json!({})), None);
        assert_eq!(mesh(json!({}), json!({})), None);
        let classic = json!({"sidecar.istio.io/nativeSidecar": "false"});
        assert_eq!(mesh(injected(), classic), Some((name, drains(5), true)));
        for (config, drain) in [
            ("terminationDrainDuration: 20s\n", drains(20)),
            ("holdApplicationUntilProxyStarts: true\nterminationDrainDuration: \"1m30s\"", drains(90)),
            ("{\"terminationDrainDuration\":\"7s\",\"concurrency\":2}", drains(7)),
            ("terminationDrainDuration: 20s # enough", drains(20)),
            ("terminationDrainDuration: soon", Drain::Unknown),
            ("proxyMetadata:\n  EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true'\n", Drain::Unknown),
            ("concurrency: 2", drains(5)),
        ] {
            let found = mesh(injected(), json!({"proxy.istio.io/config": config}));
            assert_eq!(found, Some((name, drain, false)), "{config}");
        }
    }

    #[test]
    fn the_namespace_decides_first_whether_istio_injects() {
        let table = [
            (("istio-injection", "enabled"), None, true),
            (("istio-injection", "enabled"), Some("true"), true),
            (("istio-injection", "enabled"), Some("false"), false),
            (("istio-injection", "disabled"), None, false),
            (("istio-injection", "disabled"), Some("true"), false),
            (("istio.io/rev", "stable"), None, true),
            (("istio.io/rev", "stable"), Some("false"), false),
        ];
        for (namespace, inject, is_injected) in table {
            let template =
                json!({"metadata": {"labels": inject.map(|it| json!({"sidecar.istio.io/inject": it}))}});
            let found = mesh_in(&[namespace], template);
            assert_eq!(found.is_some(), is_injected, "{namespace:?} {inject:?}");
        }
    }

    #[test]
    fn linkerd_reads_the_annotations_of_the_namespace_after_those_of_the_pod() {
        let enabled = [
            ("linkerd.io/inject", "enabled"),
            ("config.linkerd.io/proxy-enable-native-sidecar", "false"),
            ("config.alpha.linkerd.io/proxy-wait-before-exit-seconds", "9"),
        ];
        let of = |annotations: Value| mesh_in(&enabled, json!({"metadata": {"annotations": annotations}}));
        let name = "Linkerd's sidecar";
        assert_eq!(of(json!({})), Some((name, drains(9), true)));
        assert_eq!(of(json!({"linkerd.io/inject": "disabled"})), None);
        let own = json!({"config.linkerd.io/proxy-wait-before-exit-seconds": "20"});
        assert_eq!(of(own), Some((name, drains(20), true)));
    }

    #[test]
    fn linkerd() {
        let name = "Linkerd's sidecar";
        let with =
            |key: &str, value: &str| mesh(json!({}), json!({"linkerd.io/inject": "enabled", key: value}));
        assert_eq!(with("a", "b"), Some((name, drains(0), false)));
        assert_eq!(
            with("config.alpha.linkerd.io/proxy-wait-before-exit-seconds", "15"),
            Some((name, drains(15), false))
        );
        assert_eq!(
            with("config.beta.linkerd.io/proxy-enable-native-sidecar", "false"),
            Some((name, drains(0), true))
        );
        assert_eq!(mesh(json!({}), json!({"linkerd.io/inject": "disabled"})), None);
    }
}
