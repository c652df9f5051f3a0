//! The part of a workload that gapless reads, borrowed from its raw JSON.
//!
//! Field names and their meaning are those of the Kubernetes API (apps/v1 and
//! core/v1 `types.go`; of a Rollout argo-rollouts, pkg/apis/rollouts/v1alpha1). Every field may be absent: offline, nobody has filled
//! in the API's defaults yet. Fields that gapless does not read are ignored
//! here and survive in the raw JSON.

// The fields are the API's own, and documented there.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use crate::kubernetes::from_json::{list_of_texts, objects, or_default};
use crate::kubernetes::int_or_string::IntOrString;
use crate::kubernetes::label_selector::{LabelSelector, StringMap, texts};

/// A workload of any kind; of each kind only the fields that it has are ever there.
#[derive(Debug, serde::Deserialize)]
#[serde(remote = "Self")]
pub struct Object<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub metadata: ObjectMeta<'a>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub spec: Spec<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct ObjectMeta<'a> {
    #[serde(borrow)]
    pub name: Option<&'a str>,
    #[serde(borrow)]
    pub generate_name: Option<&'a str>,
    #[serde(borrow)]
    pub namespace: Option<&'a str>,
    #[serde(borrow, deserialize_with = "texts")]
    pub labels: StringMap<'a>,
    #[serde(borrow, deserialize_with = "texts")]
    pub annotations: StringMap<'a>,
    #[serde(borrow)]
    pub deletion_timestamp: Option<&'a str>,
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct OwnerReference {
    pub controller: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Spec<'a> {
    pub replicas: Option<i32>,
    pub paused: Option<bool>,
    /// Of a StatefulSet.
    #[serde(borrow)]
    pub pod_management_policy: Option<&'a str>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub selector: LabelSelector<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub strategy: Strategy<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub update_strategy: Strategy<'a>,
    pub workload_ref: Option<AnyObject>,
    pub min_ready_seconds: Option<i32>,
    pub revision_history_limit: Option<i32>,
    pub progress_deadline_seconds: Option<i32>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub template: PodTemplate<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Strategy<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a str>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub rolling_update: RollingUpdate<'a>,
    #[serde(borrow)]
    pub canary: Option<RollingUpdate<'a>>,
    pub blue_green: Option<BlueGreen>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct BlueGreen {
    pub scale_down_delay_seconds: Option<i32>,
    pub auto_promotion_enabled: Option<bool>,
    pub auto_promotion_seconds: Option<i32>,
    pub preview_replica_count: Option<i32>,
    pub pre_promotion_analysis: Option<AnyObject>,
    pub post_promotion_analysis: Option<AnyObject>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct RollingUpdate<'a> {
    #[serde(borrow)]
    pub max_unavailable: Option<IntOrString<'a>>,
    #[serde(borrow)]
    pub max_surge: Option<IntOrString<'a>>,
    /// Of a StatefulSet.
    pub partition: Option<i32>,
    /// Of a canary.
    pub traffic_routing: Option<AnyObject>,
    /// The same.
    #[serde(borrow, deserialize_with = "or_default")]
    pub steps: Vec<CanaryStep<'a>>,
    /// The same.
    pub scale_down_delay_seconds: Option<i32>,
    /// The same.
    pub dynamic_stable_scale: Option<bool>,
    /// The same.
    pub analysis: Option<AnyObject>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct CanaryStep<'a> {
    pub set_weight: Option<i32>,
    #[serde(borrow)]
    pub pause: Option<RolloutPause<'a>>,
    pub set_canary_scale: Option<SetCanaryScale>,
    pub analysis: Option<AnyObject>,
    pub experiment: Option<AnyObject>,
    pub plugin: Option<AnyObject>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct RolloutPause<'a> {
    #[serde(borrow)]
    pub duration: Option<IntOrString<'a>>,
}

#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct SetCanaryScale {
    pub weight: Option<i32>,
    pub replicas: Option<i32>,
    pub match_traffic_weight: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct PodTemplate<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: ObjectMeta<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub spec: PodSpec<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct PodSpec<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub containers: Vec<Container<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub init_containers: Vec<Container<'a>>,
    pub termination_grace_period_seconds: Option<i64>,
    pub host_network: Option<bool>,
    #[serde(rename = "hostPID")]
    pub host_pid: Option<bool>,
    #[serde(rename = "hostIPC")]
    pub host_ipc: Option<bool>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub volumes: Vec<Volume<'a>>,
    #[serde(deserialize_with = "or_default")]
    pub readiness_gates: Vec<AnyObject>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub affinity: Affinity<'a>,
    #[serde(deserialize_with = "or_default")]
    pub resource_claims: Vec<AnyObject>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Container<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub name: &'a str,
    #[serde(borrow)]
    pub image: Option<&'a str>,
    /// Only there if the word `leader` occurs in it.
    #[serde(borrow, deserialize_with = "list_of_texts")]
    pub command: Vec<&'a str>,
    /// The same.
    #[serde(borrow, deserialize_with = "list_of_texts")]
    pub args: Vec<&'a str>,
    /// Only there if a `/` occurs in it, as in the names of devices.
    #[serde(borrow, deserialize_with = "or_default")]
    pub resources: ResourceRequirements<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub ports: Vec<ContainerPort<'a>>,
    #[serde(borrow)]
    pub restart_policy: Option<&'a str>,
    /// Only there if the word `privileged` occurs in it.
    #[serde(deserialize_with = "or_default")]
    pub security_context: SecurityContext,
    /// In a review only there for a DaemonSet.
    #[serde(borrow, deserialize_with = "or_default")]
    pub volume_mounts: Vec<VolumeMount<'a>>,
    #[serde(borrow)]
    pub readiness_probe: Option<Probe<'a>>,
    #[serde(borrow)]
    pub liveness_probe: Option<Probe<'a>>,
    #[serde(borrow)]
    pub startup_probe: Option<Probe<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub lifecycle: Lifecycle<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct SecurityContext {
    pub privileged: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct VolumeMount<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub name: &'a str,
    pub read_only: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct ResourceRequirements<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub limits: ResourceList<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub requests: ResourceList<'a>,
}

/// Quantities by the name of the resource.
pub type ResourceList<'a> = BTreeMap<&'a str, Quantity>;

/// A quantity, of which only matters whether it is one. The API takes numbers and texts.
#[derive(Debug)]
pub struct Quantity {
    pub is_zero: bool,
}

impl<'de> serde::Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let is_zero = value.is_null() || value.as_f64() == Some(0.0) || value.as_str() == Some("0");
        Ok(Quantity { is_zero })
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct ContainerPort<'a> {
    #[serde(borrow)]
    pub name: Option<&'a str>,
    #[serde(deserialize_with = "or_default")]
    pub container_port: i32,
    pub host_port: Option<i32>,
    #[serde(borrow)]
    pub protocol: Option<&'a str>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Probe<'a> {
    pub initial_delay_seconds: Option<i32>,
    pub period_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub success_threshold: Option<i32>,
    pub failure_threshold: Option<i32>,
    #[serde(borrow)]
    pub exec: Option<ExecAction<'a>>,
    #[serde(borrow)]
    pub http_get: Option<HttpGetAction<'a>>,
    #[serde(borrow)]
    pub tcp_socket: Option<TcpSocketAction<'a>>,
    #[serde(borrow)]
    pub grpc: Option<GrpcAction<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Lifecycle<'a> {
    #[serde(borrow)]
    pub post_start: Option<LifecycleHandler<'a>>,
    #[serde(borrow)]
    pub pre_stop: Option<LifecycleHandler<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct LifecycleHandler<'a> {
    #[serde(borrow)]
    pub exec: Option<ExecAction<'a>>,
    #[serde(borrow)]
    pub http_get: Option<HttpGetAction<'a>>,
    pub sleep: Option<SleepAction>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct ExecAction<'a> {
    #[serde(borrow, deserialize_with = "list_of_texts")]
    pub command: Vec<&'a str>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct HttpGetAction<'a> {
    #[serde(borrow)]
    pub path: Option<&'a str>,
    #[serde(borrow)]
    pub port: Option<IntOrString<'a>>,
    #[serde(borrow)]
    pub host: Option<&'a str>,
    #[serde(borrow)]
    pub scheme: Option<&'a str>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct TcpSocketAction<'a> {
    #[serde(borrow)]
    pub port: Option<IntOrString<'a>>,
    #[serde(borrow)]
    pub host: Option<&'a str>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct GrpcAction<'a> {
    pub port: Option<i32>,
    #[serde(borrow)]
    pub service: Option<&'a str>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct SleepAction {
    #[serde(deserialize_with = "or_default")]
    pub seconds: i64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Volume<'a> {
    #[serde(borrow)]
    pub name: Option<&'a str>,
    #[serde(borrow)]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource<'a>>,
    pub ephemeral: Option<AnyObject>,
    pub aws_elastic_block_store: Option<AnyObject>,
    pub azure_disk: Option<AnyObject>,
    pub cinder: Option<AnyObject>,
    pub fc: Option<AnyObject>,
    pub gce_persistent_disk: Option<AnyObject>,
    pub host_path: Option<AnyObject>,
    pub iscsi: Option<AnyObject>,
    pub rbd: Option<AnyObject>,
    pub vsphere_volume: Option<AnyObject>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct PersistentVolumeClaimVolumeSource<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub claim_name: &'a str,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Affinity<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub pod_anti_affinity: PodAntiAffinity<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct PodAntiAffinity<'a> {
    #[serde(
        borrow,
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        deserialize_with = "or_default"
    )]
    pub required: Vec<PodAffinityTerm<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct PodAffinityTerm<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub topology_key: &'a str,
    #[serde(borrow)]
    pub label_selector: Option<LabelSelector<'a>>,
    #[serde(borrow, deserialize_with = "list_of_texts")]
    pub match_label_keys: Vec<&'a str>,
}

/// An object whose fields do not matter.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct AnyObject {}

objects!(
    Object<'a>,
    ObjectMeta<'a>,
    OwnerReference,
    Spec<'a>,
    Strategy<'a>,
    RollingUpdate<'a>,
    BlueGreen,
    CanaryStep<'a>,
    RolloutPause<'a>,
    SetCanaryScale,
    PodTemplate<'a>,
    PodSpec<'a>,
    Container<'a>,
    ContainerPort<'a>,
    Probe<'a>,
    Lifecycle<'a>,
    LifecycleHandler<'a>,
    ExecAction<'a>,
    HttpGetAction<'a>,
    TcpSocketAction<'a>,
    GrpcAction<'a>,
    SleepAction,
    SecurityContext,
    VolumeMount<'a>,
    ResourceRequirements<'a>,
    Volume<'a>,
    PersistentVolumeClaimVolumeSource<'a>,
    Affinity<'a>,
    PodAntiAffinity<'a>,
    PodAffinityTerm<'a>,
    AnyObject,
);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::workload::Workload;

    /// Every struct at least once, in fields as the API has them.
    fn everything() -> Value {
        let probe = json!({"exec": {}, "httpGet": {}, "tcpSocket": {}, "grpc": {}});
        let hook = json!({"exec": {}, "httpGet": {}, "sleep": {}});
        let container = json!({
            "ports": [{}],
            "resources": {"limits": {}, "requests": {}},
            "securityContext": {},
            "volumeMounts": [{}],
            "readinessProbe": probe,
            "livenessProbe": probe,
            "startupProbe": probe,
            "lifecycle": {"postStart": hook, "preStop": hook},
        });
        let selector = json!({"matchLabels": {}, "matchExpressions": [{}]});
        json!({
            "metadata": {"labels": {}, "annotations": {}, "ownerReferences": [{}]},
            "spec": {
                "selector": selector,
                "strategy": {"rollingUpdate": {}, "blueGreen": {"prePromotionAnalysis": {}, "postPromotionAnalysis": {}},
                    "canary": {"trafficRouting": {}, "analysis": {}, "steps": [
                        {"pause": {}, "setCanaryScale": {}, "analysis": {}, "experiment": {}, "plugin": {}},
                    ]}},
                "updateStrategy": {"rollingUpdate": {}},
                "workloadRef": {},
                "template": {
                    "metadata": {"labels": {}},
                    "spec": {
                        "containers": [container],
                        "initContainers": [container],
                        "volumes": [{"persistentVolumeClaim": {}, "ephemeral": {}, "awsElasticBlockStore": {},
                            "azureDisk": {}, "cinder": {}, "fc": {}, "gcePersistentDisk": {}, "hostPath": {}, "iscsi": {},
                            "rbd": {}, "vsphereVolume": {}}],
                        "readinessGates": [{}],
                        "resourceClaims": [{}],
                        "affinity": {"podAntiAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": selector}],
                        }},
                    },
                },
            },
        })
    }

    /// The JSON pointers of all objects in it, itself included.
    fn objects(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.push(at.clone());
                fields.iter().for_each(|(key, value)| objects(value, format!("{at}/{key}"), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| objects(item, format!("{at}/{i}"), found));
            }
            _ => {}
        }
    }

    /// As in `spec.containers[0].ports`.
    fn path(pointer: &str) -> String {
        let parts = pointer.split('/').skip(1).map(|part| match part.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!(".{part}"),
        });
        let path = parts.collect::<String>();
        path.strip_prefix('.').unwrap_or(".").to_owned()
    }

    #[test]
    fn a_list_is_no_object() {
        let sound = everything();
        Workload::read(&sound).expect("it has the API's types");
        let mut pointers = Vec::new();
        objects(&sound, String::new(), &mut pointers);
        assert!(pointers.iter().any(|it| it.ends_with("containers/0/readinessProbe/exec")), "{pointers:?}");
        for pointer in pointers {
            for list in [json!([]), json!([[]]), json!([null, null])] {
                let mut object = sound.clone();
                *object.pointer_mut(&pointer).unwrap() = list;
                let error = Workload::read(&object).expect_err("a list").to_string();
                let expected = format!("{}: invalid type: sequence, expected ", path(&pointer));
                assert!(error.starts_with(&expected), "{expected:?} {error:?}");
            }
        }
    }

    #[test]
    fn null_is_the_empty_text() {
        let sound = everything();
        for pointer in [
            "/metadata/labels/a",
            "/metadata/annotations/a",
            "/spec/selector/matchLabels/a",
            "/spec/template/metadata/labels/a",
            "/spec/selector/matchExpressions/0/key",
            "/spec/selector/matchExpressions/0/operator",
            "/spec/template/spec/containers/0/name",
            "/spec/template/spec/containers/0/image",
            "/spec/template/spec/containers/0/ports/0/containerPort",
            "/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds",
        ] {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let mut object = sound.clone();
            object.pointer_mut(parent).unwrap()[key] = Value::Null;
            let workload = Workload::read(&object).unwrap_or_else(|error| panic!("{pointer}: {error}"));
            if pointer == "/metadata/labels/a" {
                assert_eq!(workload.metadata().labels.get("a"), Some(&""));
            }
        }
        let mut object = sound.clone();
        let container = object.pointer_mut("/spec/template/spec/containers/0").unwrap();
        container["lifecycle"]["preStop"]["exec"]["command"] = json!(["a", null]);
        let workload = Workload::read(&object).unwrap();
        let hook = workload.containers()[0].lifecycle.pre_stop.as_ref().unwrap();
        assert_eq!(hook.exec.as_ref().unwrap().command, ["a", ""]);
    }

    #[test]
    fn null_is_nothing() {
        let sound = everything();
        let mut pointers = Vec::new();
        objects(&sound, String::new(), &mut pointers);
        // In a list it is no object.
        for pointer in pointers.iter().filter(|it| !it.is_empty() && !it.ends_with("/0")) {
            let mut object = sound.clone();
            *object.pointer_mut(pointer).unwrap() = Value::Null;
            Workload::read(&object).unwrap_or_else(|error| panic!("{pointer}: {error}"));
        }
    }
}
