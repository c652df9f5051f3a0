//! Deployments as the API server lists them.

use jiff::civil::date;
use serde_json::{Value, json};

use super::canaries::Canaries;
use super::namespaces::Namespaces;
use super::{Audit, Audited, Scope};
use crate::config;
use crate::kubernetes::kind::Kind;
use crate::surroundings::NONE;

/// A stored Deployment, filled in by the API server, that every rule likes;
/// with these fields of `spec` on top.
pub fn live(namespace: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}")},
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{
                        "name": "app",
                        "image": "registry.example/app:1.2.3",
                        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    }],
                },
            },
        },
    });
    for (field, value) in spec.as_object().expect("fields") {
        object["spec"][field] = value.clone();
    }
    object
}

/// What is said of these Deployments. Namespaces come with the value of their
/// label.
pub fn audited(namespaces: &[(&str, Option<&str>)], deployments: &[Value]) -> Audited {
    audited_as(&Canaries::default(), namespaces, deployments, false)
}

/// The same where there are these Canaries.
pub fn audited_with(
    canaries: &Canaries,
    namespaces: &[(&str, Option<&str>)],
    deployments: &[Value],
) -> Audited {
    audited_as(canaries, namespaces, deployments, false)
}

/// The same with what their rollouts are going to do.
pub fn foretold(deployments: &[Value]) -> Audited {
    audited_as(&Canaries::default(), &[], deployments, true)
}

fn audited_as(
    canaries: &Canaries,
    namespaces: &[(&str, Option<&str>)],
    deployments: &[Value],
    foretells: bool,
) -> Audited {
    let policy = config::load(None).expect("the default policy");
    let mut known = Namespaces::new(&policy);
    for (name, label) in namespaces {
        let labels = label.map(|label| json!({"gapless.dev/profile": label}));
        known.add(&json!({"metadata": {"name": name, "labels": labels}}));
    }
    let audit = Audit::new(&policy, date(2026, 11, 23), known, &NONE, canaries);
    let mut audit = audit.foretelling(foretells);
    deployments.iter().for_each(|object| audit.workload(Kind::of_document(object), object));
    let scope =
        Scope { server: "https://127.0.0.1:6443".into(), context: Some("bench".into()), namespace: None };
    audit.report(scope)
}
