//! What the user writes.

use serde_json::{Value, json};

// Where things are.
pub const LABELS: &str = "/metadata/labels";
pub const MIN_READY_SECONDS: &str = "/spec/minReadySeconds";
pub const STRATEGY: &str = "/spec/strategy";
pub const MAX_UNAVAILABLE: &str = "/spec/strategy/rollingUpdate/maxUnavailable";
pub const TEMPLATE: &str = "/spec/template";
pub const TEMPLATE_LABELS: &str = "/spec/template/metadata/labels";
pub const GRACE_PERIOD: &str = "/spec/template/spec/terminationGracePeriodSeconds";
pub const CONTAINERS: &str = "/spec/template/spec/containers";
pub const IMAGE: &str = "/spec/template/spec/containers/0/image";
pub const PORTS: &str = "/spec/template/spec/containers/0/ports";
pub const READINESS_PROBE: &str = "/spec/template/spec/containers/0/readinessProbe";
pub const LIVENESS_PROBE: &str = "/spec/template/spec/containers/0/livenessProbe";
pub const PRE_STOP: &str = "/spec/template/spec/containers/0/lifecycle/preStop";

/// The manifest of the Deployment `web`, with one container `app` that serves on
/// port 8080. Everything that can be injected is missing.
#[derive(Clone)]
pub struct Manifest(pub Value);

pub fn plain() -> Manifest {
    Manifest(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "app", "image": "registry.example/web:v1", "ports": [{"containerPort": 8080}]},
                ]},
            },
        },
    }))
}

impl Manifest {
    /// With this value at this place; what is missing on the way is made.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.0;
        for step in pointer.split('/').skip(1) {
            place = match place {
                Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                object => &mut object[step.replace("~1", "/")],
            };
        }
        *place = value;
        self
    }

    pub fn image(self, tag: &str) -> Self {
        self.with(IMAGE, json!(format!("registry.example/web:{tag}")))
    }

    pub fn port(self, port: u16) -> Self {
        self.with(PORTS, json!([{"containerPort": port}]))
    }

    pub fn grace_period(self, seconds: u32) -> Self {
        self.with(GRACE_PERIOD, json!(seconds))
    }

    /// A waiver of each of these rules and defaults.
    pub fn waiving(self, ids: &[&str]) -> Self {
        ids.iter().fold(self, |manifest, id| {
            let pointer = format!("/metadata/annotations/gapless.dev~1waive.{id}");
            manifest.with(&pointer, json!("we keep our own, as written"))
        })
    }

    // What gapless injects into this manifest, written by the user.

    pub fn our_probe(self) -> Self {
        self.with(READINESS_PROBE, json!({"tcpSocket": {"port": 8080}, "periodSeconds": 5}))
    }

    pub fn our_sleep(self) -> Self {
        self.with(PRE_STOP, json!({"sleep": {"seconds": 10}})).grace_period(40)
    }

    pub fn our_labels(self) -> Self {
        let labels = json!({"app": "web", "app.kubernetes.io/version": "v1", "version": "v1"});
        self.with(TEMPLATE_LABELS, labels.clone()).with(LABELS, labels)
    }

    pub fn our_max_unavailable(self) -> Self {
        self.with(MAX_UNAVAILABLE, json!(0))
    }

    /// All of it, as `gapless fix --version-labels` writes it.
    pub fn fixed(self) -> Self {
        self.our_probe().our_sleep().our_labels().our_max_unavailable()
    }
}

/// The values that are in `written` and not in `stored`, as JSON pointers: what the
/// user wrote and did not get. Containers and ports are in the same order in both.
pub fn lost(written: &Value, stored: &Value) -> Vec<String> {
    let pairs: Vec<(String, &Value, Option<&Value>)> = match written {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.replace('/', "~1"), value, stored.get(key))).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (at.to_string(), value, stored.get(at))).collect()
        }
        _ if written == stored => vec![],
        _ => return vec![String::new()],
    };
    let below = pairs.into_iter().flat_map(|(step, written, stored)| {
        lost(written, stored.unwrap_or(&Value::Null)).into_iter().map(move |rest| format!("/{step}{rest}"))
    });
    below.collect()
}
