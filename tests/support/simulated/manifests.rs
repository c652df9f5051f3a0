//! Manifests that differ in a few points: each point is a field and one of the
//! values that people write there, equal to what gapless injects or not.

use std::collections::BTreeMap;
use std::fmt;

use gapless::kubernetes::kind::Kind;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{dialect, path};

/// A field, and the values it may have, as JSON. The first is the usual one.
struct Point {
    path: &'static str,
    values: &'static [&'static str],
}

const ABSENT: &str = "";

const fn point(path: &'static str, values: &'static [&'static str]) -> Point {
    Point { path, values }
}

const VERSIONS: &[&str] = &[ABSENT, r#""v1""#, r#""v2""#, r#""blue""#];
const WAIVER: &[&str] = &[ABSENT, r#""we keep our own""#];
const READINESS: &[&str] = &[
    ABSENT,
    // What gapless injects.
    r#"{"tcpSocket":{"port":8080},"periodSeconds":5,"failureThreshold":3}"#,
    r#"{"httpGet":{"path":"/live","port":8080},"periodSeconds":5,"failureThreshold":3}"#,
    // The same handler.
    r#"{"tcpSocket":{"port":8080}}"#,
    r#"{"tcpSocket":{"port":8080},"periodSeconds":10}"#,
    r#"{"httpGet":{"path":"/live","port":8080}}"#,
    // Others.
    r#"{"httpGet":{"path":"/ready","port":8080}}"#,
    r#"{"httpGet":{"path":"/ready","port":8080},"timeoutSeconds":1}"#,
    r#"{"exec":{"command":["check"]}}"#,
];
const LIVENESS: &[&str] = &[
    ABSENT,
    r#"{"httpGet":{"path":"/live","port":8080}}"#,
    r#"{"httpGet":{"path":"/live","port":8443,"scheme":"HTTPS","host":"10.0.0.9"},"timeoutSeconds":7}"#,
    r#"{"tcpSocket":{"port":8080},"timeoutSeconds":2}"#,
    r#"{"exec":{"command":["alive"]}}"#,
];
const HOOKS: &[&str] = &[
    ABSENT,
    // What gapless injects, by one profile or the other.
    r#"{"sleep":{"seconds":10}}"#,
    r#"{"sleep":{"seconds":20}}"#,
    r#"{"sleep":{"seconds":35}}"#,
    r#"{"sleep":{"seconds":0}}"#,
    r#"{"exec":{"command":["sleep","10"]}}"#,
    r#"{"exec":{"command":["sh","-c","sleep 35"]}}"#,
];

const MAX_SURGE: &str = "spec.strategy.rollingUpdate.maxSurge";
const STRATEGY_TYPE: &str = "spec.strategy.type";

const POINTS: &[Point] = &[
    point(
        "spec.template.spec.containers[app].image",
        &[r#""app:v1""#, r#""app:v2""#, r#""app:v3""#, r#""app:latest""#],
    ),
    point("spec.template.spec.containers[app].readinessProbe", READINESS),
    point("spec.template.spec.containers[app].livenessProbe", LIVENESS),
    point("spec.template.spec.containers[app].lifecycle.preStop", HOOKS),
    point("spec.template.spec.terminationGracePeriodSeconds", &[ABSENT, "30", "40", "50", "45", "20", "7"]),
    point("spec.strategy.rollingUpdate.maxUnavailable", &[ABSENT, r#""25%""#, "0", "1", r#""50%""#]),
    point(MAX_SURGE, &[ABSENT, r#""25%""#, "0", "1"]),
    point(STRATEGY_TYPE, &[ABSENT, r#""RollingUpdate""#, r#""Recreate""#]),
    point("spec.minReadySeconds", &[ABSENT, "0", "10", "5"]),
    point("spec.progressDeadlineSeconds", &[ABSENT, "600", "10", "5"]),
    point("spec.replicas", &["2", ABSENT, "1", "4"]),
    point("spec.template.metadata.labels[version]", VERSIONS),
    point("spec.template.metadata.labels[app.kubernetes.io/version]", VERSIONS),
    point("metadata.labels[version]", VERSIONS),
    point("metadata.labels[app.kubernetes.io/version]", VERSIONS),
    point(
        "spec.template.spec.containers[app].ports",
        &[
            r#"[{"containerPort":8080}]"#,
            r#"[{"containerPort":8080,"name":"http"},{"containerPort":9090,"name":"metrics"}]"#,
            r#"[{"containerPort":9000}]"#,
            r#"[{"containerPort":8080,"hostPort":8080}]"#,
            r#"[{"containerPort":8080},{"containerPort":8081}]"#,
            ABSENT,
        ],
    ),
    point("metadata.annotations[gapless.dev/waive.readiness-probe]", WAIVER),
    point("metadata.annotations[gapless.dev/waive.pre-stop-sleep]", WAIVER),
    point("metadata.annotations[gapless.dev/waive.rolling-update]", WAIVER),
    point("metadata.annotations[gapless.dev/waive.version-label]", WAIVER),
    point("metadata.annotations[gapless.dev/readiness-path]", &[ABSENT, r#""/live""#]),
    point("metadata.annotations[gapless.dev/pre-stop-seconds]", &[ABSENT, r#""5""#, r#""12""#]),
    point(SIDE, &[ABSENT, r#""side:v1""#, r#""side:v2""#]),
    point("spec.template.spec.containers[side].ports", &[ABSENT, r#"[{"containerPort":7000}]"#]),
    point("spec.template.spec.containers[side].lifecycle.preStop", HOOKS),
];

/// The image of the second container; without it there is none.
const SIDE: &str = "spec.template.spec.containers[side].image";

/// One point, and its new value.
#[derive(Clone, PartialEq)]
pub struct Change {
    point: usize,
    value: usize,
}

impl Change {
    pub fn path(&self) -> &'static str {
        POINTS[self.point].path
    }

    /// `None` if the field is to be absent.
    pub fn value(&self) -> Option<Value> {
        let values = POINTS[self.point].values;
        let text = values[self.value % values.len()];
        let value: Option<Value> = (text != ABSENT).then(|| serde_json::from_str(text).unwrap());
        match dialect::kind() {
            Kind::Deployment => value,
            // A Rollout says by a block which strategy it is.
            Kind::Rollout => value.filter(|_| self.path() != STRATEGY_TYPE),
            Kind::StatefulSet | Kind::DaemonSet => {
                let is_missing = |path: &str| match path {
                    "spec.progressDeadlineSeconds" => true,
                    MAX_SURGE => dialect::kind() == Kind::StatefulSet,
                    "spec.replicas" => dialect::kind() == Kind::DaemonSet,
                    _ => false,
                };
                let value = value.filter(|_| !is_missing(self.path()));
                value.map(|value| if value == "Recreate" { json!("OnDelete") } else { value })
            }
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.value() {
            Some(value) => write!(f, "{}={value}", self.path()),
            None => write!(f, "{} absent", self.path()),
        }
    }
}

/// Any change.
pub fn change() -> impl Strategy<Value = Change> {
    (0..POINTS.len(), 0..9usize).prop_map(|(point, value)| Change { point, value })
}

/// A change of a field that fits, such as an annotation.
pub fn change_of(fits: fn(&str) -> bool) -> impl Strategy<Value = Change> {
    let points: Vec<usize> = (0..POINTS.len()).filter(|point| fits(POINTS[*point].path)).collect();
    (select(points), 0..9usize).prop_map(|(point, value)| Change { point, value })
}

/// A user's file.
#[derive(Clone, Debug, Default)]
pub struct Manifest(BTreeMap<usize, usize>);

impl Manifest {
    pub fn change(&mut self, change: &Change) {
        self.0.insert(change.point, change.value);
    }

    pub fn to_json(&self) -> Value {
        let kind = dialect::kind();
        let mut containers = vec![json!({"name": "app"})];
        let value_of =
            |index: usize| Change { point: index, value: *self.0.get(&index).unwrap_or(&0) }.value();
        if POINTS.iter().position(|point| point.path == SIDE).and_then(value_of).is_some() {
            containers.push(json!({"name": "side"}));
        }
        let mut object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
            },
        });
        for (index, point) in POINTS.iter().enumerate() {
            if let Some(value) = value_of(index) {
                path::put(&mut object, point.path, Some(value));
            }
        }
        if kind == Kind::Rollout && object["spec"]["strategy"]["canary"].is_null() {
            object["spec"]["strategy"]["canary"] = json!({});
        }
        object
    }
}
