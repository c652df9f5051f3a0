//! One form for all the ways to write a pod template that mean the same to the API.

use serde_json::{Map, Value, json};

use super::api_default::{
    FAILURE_THRESHOLD, GRACE_PERIOD_SECONDS, PERIOD_SECONDS, SUCCESS_THRESHOLD, TIMEOUT_SECONDS,
};
use super::image::ImageReference;
use super::object::at;
use super::quantity;

/// The labels by which controllers tell the pods of one revision from those of another.
const HASH_LABELS: [&str; 3] =
    ["pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash"];

/// What `kubectl rollout restart` writes into the annotations of a template. It says nothing
/// of what is in the pods, and tools that merge leave it there when they go back.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Fields whose entries are the user's texts, of which an empty one is one too.
const MAPS: [&str; 4] = ["labels", "annotations", "matchLabels", "nodeSelector"];

/// What the API server fills in, by the field that it stands in (kubernetes,
/// pkg/apis/core/v1/defaults.go and zz_generated.defaults.go). A list's field speaks for its
/// items.
fn api_default(parent: &str, field: &str) -> Option<Value> {
    Some(match (parent, field) {
        ("spec", "restartPolicy") => json!("Always"),
        ("spec", "terminationGracePeriodSeconds") => json!(GRACE_PERIOD_SECONDS),
        ("spec", "dnsPolicy") => json!("ClusterFirst"),
        ("spec", "schedulerName") => json!("default-scheduler"),
        ("spec", "volumeMode") => json!("Filesystem"),
        ("containers" | "initContainers", "terminationMessagePath") => json!("/dev/termination-log"),
        ("containers" | "initContainers", "terminationMessagePolicy") => json!("File"),
        ("ports", "protocol") => json!("TCP"),
        ("readinessProbe" | "livenessProbe" | "startupProbe", _) => match field {
            "initialDelaySeconds" => json!(0),
            "timeoutSeconds" => json!(TIMEOUT_SECONDS),
            "periodSeconds" => json!(PERIOD_SECONDS),
            "successThreshold" => json!(SUCCESS_THRESHOLD),
            "failureThreshold" => json!(FAILURE_THRESHOLD),
            _ => return None,
        },
        ("httpGet", "path") => json!("/"),
        ("httpGet", "scheme") => json!("HTTP"),
        ("fieldRef", "apiVersion") => json!("v1"),
        ("secret" | "configMap" | "downwardAPI" | "projected", "defaultMode") => json!(0o644),
        ("serviceAccountToken", "expirationSeconds") => json!(3600),
        ("azureDisk", "cachingMode") => json!("ReadWrite"),
        ("azureDisk", "fsType") => json!("ext4"),
        ("azureDisk", "kind") => json!("Shared"),
        ("iscsi", "iscsiInterface") => json!("default"),
        ("rbd", "pool") => json!("rbd"),
        ("rbd", "user") => json!("admin"),
        ("rbd", "keyring") => json!("/etc/ceph/keyring"),
        ("scaleIO", "storageMode") => json!("ThinProvisioned"),
        ("scaleIO", "fsType") => json!("xfs"),
        // The API server stores no `false` of these.
        ("spec", "hostNetwork" | "hostPID" | "hostIPC") => json!(false),
        ("containers" | "initContainers", "stdin" | "stdinOnce" | "tty") => json!(false),
        (_, "readOnly") => json!(false),
        _ => return None,
    })
}

/// Brings a pod template into the form that all those have which mean the same: without the
/// API server's defaults, and without what controllers write into the copies that they keep.
pub fn normalize(template: &mut Value) {
    remove(template, "$patch");
    if let Some(metadata) = template.get_mut("metadata") {
        remove(metadata, "creationTimestamp");
        if let Some(labels) = metadata.get_mut("labels") {
            HASH_LABELS.iter().for_each(|label| remove(labels, label));
        }
        if let Some(annotations) = metadata.get_mut("annotations") {
            remove(annotations, RESTARTED_AT);
        }
    }
    if let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) {
        ANTI_AFFINITY.iter().for_each(|terms| remove_terms_of_rollout(pod, terms));
    }
    remove_defaults(template);
}

/// Takes the API server's defaults away, and what is null or empty.
pub fn remove_defaults(template: &mut Value) {
    if let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) {
        remove_defaults_of_pod(pod);
    }
    prune(template, "template");
}

fn remove_defaults_of_pod(pod: &mut Map<String, Value>) {
    let is_on_host_network = pod.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in items(pod, list) {
            normalize_container(container, is_on_host_network);
        }
    }
    // One is an older name of the other.
    if let Some(name) = pod.remove("serviceAccount") {
        pod.entry("serviceAccountName").or_insert(name);
    }
}

fn normalize_container(container: &mut Map<String, Value>, is_on_host_network: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    // Without tag and digest it is the latest.
    let is_latest = ImageReference::parse(image)
        .is_ok_and(|it| it.tag.map_or(it.digest.is_none(), |tag| tag == "latest"));
    let pull_policy = if is_latest { "Always" } else { "IfNotPresent" };
    if container.get("imagePullPolicy").is_some_and(|policy| policy == pull_policy) {
        container.remove("imagePullPolicy");
    }
    if is_on_host_network {
        for port in items(container, "ports") {
            if port.get("hostPort") == port.get("containerPort") {
                port.remove("hostPort");
            }
        }
    }
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return };
    for amounts in ["limits", "requests"] {
        let amounts = resources.get_mut(amounts).and_then(Value::as_object_mut);
        for amount in amounts.into_iter().flat_map(Map::values_mut) {
            normalize_quantity(amount);
        }
    }
    // What is not requested is as much as the limit.
    let limits = resources.get("limits").cloned().unwrap_or_default();
    if let Some(requests) = resources.get_mut("requests").and_then(Value::as_object_mut) {
        requests.retain(|name, request| limits.get(name) != Some(request));
    }
}

/// `0.5`, `500m` and `"0.5"` are one; the API server stores one of them, but of a custom
/// resource what was written.
fn normalize_quantity(amount: &mut Value) {
    if let Some(billionths) = quantity::billionths(amount) {
        *amount = json!((billionths as f64 / 1e9).to_string());
    }
}

/// Where the controller of Rollouts adds a term to the anti-affinity of a ReplicaSet's pods
/// (argo-rollouts, utils/replicaset/replicaset.go, `GenerateReplicaSetAffinity`).
const ANTI_AFFINITY: [&str; 2] =
    ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"];

/// Removes the terms that tell the pods of one revision of a Rollout from those of another.
fn remove_terms_of_rollout(pod: &mut Map<String, Value>, terms: &str) {
    let anti_affinity = pod.get_mut("affinity").and_then(|affinity| affinity.get_mut("podAntiAffinity"));
    let Some(Value::Array(terms)) = anti_affinity.and_then(|it| it.get_mut(terms)) else { return };
    let is_of_rollout = |term: &Value| {
        let term = term.get("podAffinityTerm").unwrap_or(term);
        let expressions = at(term, &["labelSelector", "matchExpressions"]).and_then(Value::as_array);
        let names_hash =
            |it: &Value| it.get("key").and_then(Value::as_str).is_some_and(|key| HASH_LABELS.contains(&key));
        expressions.into_iter().flatten().any(names_hash)
    };
    terms.retain(|term| !is_of_rollout(term));
}

/// Removes what is null, empty or the API server's default, from the inside out.
fn prune(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => {
            let is_map = MAPS.contains(&name);
            fields.retain(|field, value| {
                prune(value, field);
                let is_empty = match value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty() && !is_map,
                    Value::Array(items) => items.is_empty(),
                    Value::Object(fields) => fields.is_empty(),
                    Value::Bool(_) | Value::Number(_) => false,
                };
                !is_empty && (is_map || api_default(name, field).as_ref() != Some(value))
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, name)),
        _ => {}
    }
}

fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}

fn items<'v>(
    fields: &'v mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'v mut Map<String, Value>> {
    let items = fields.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(mut template: Value) -> Value {
        normalize(&mut template);
        template
    }

    fn with_pod(pod: Value) -> Value {
        normal(json!({"spec": pod}))
    }

    fn with_container(container: Value) -> Value {
        with_pod(json!({"containers": [container]}))
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        let written = json!({"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{
                "name": "app", "image": "app:v1", "ports": [{"containerPort": 80}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": 1, "memory": "0.5Gi"}},
            }],
            "serviceAccountName": "web",
            "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}],
        }});
        let stored = json!({
            "metadata": {"labels": {"app": "web", "pod-template-hash": "1"}, "creationTimestamp": null,
                "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-29T00:00:00Z"}},
            "$patch": "replace",
            "spec": {
                "containers": [{
                    "name": "app", "image": "app:v1", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 10,
                        "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "1000m", "memory": "512Mi"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "serviceAccount": "web", "serviceAccountName": "web",
                "terminationGracePeriodSeconds": 30,
                "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
            },
        });
        assert_eq!(normal(written), normal(stored));
    }

    #[test]
    fn what_means_something_stays() {
        for container in [
            json!({"args": [""]}),
            json!({"image": "app:v1", "imagePullPolicy": "Always"}),
            json!({"image": "app:latest", "imagePullPolicy": "IfNotPresent"}),
            json!({"readinessProbe": {"periodSeconds": 5}}),
            json!({"restartPolicy": "Always"}),
            json!({"securityContext": {"allowPrivilegeEscalation": false, "runAsUser": 0}}),
            json!({"resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}}),
            json!({"ports": [{"containerPort": 80, "hostPort": 80}]}),
        ] {
            assert_eq!(with_container(container.clone()), json!({"spec": {"containers": [container]}}));
        }
        for pod in [json!({"terminationGracePeriodSeconds": 0}), json!({"nodeSelector": {"disk": ""}})] {
            assert_eq!(with_pod(pod.clone()), json!({"spec": pod}));
        }
    }

    #[test]
    fn an_image_decides_how_it_is_pulled() {
        for (image, policy) in [("app:v1", "IfNotPresent"), ("app", "Always"), ("app:latest", "Always")] {
            let of = |container: Value| with_container(container);
            assert_eq!(of(json!({"image": image, "imagePullPolicy": policy})), of(json!({"image": image})));
        }
    }

    #[test]
    fn quantities_are_numbers() {
        let of = |cpu: Value| with_container(json!({"resources": {"limits": {"cpu": cpu}}}));
        for same in
            [[json!("500m"), json!(0.5)], [json!("700m"), json!("0.7")], [json!("1Gi"), json!("1024Mi")]]
        {
            let [one, two] = same;
            assert_eq!(of(one), of(two));
        }
        assert_ne!(of(json!("500m")), of(json!("0.6")));
        assert_ne!(of(json!("1M")), of(json!("1Mi")));
        assert_eq!(of(json!("odd"))["spec"]["containers"][0]["resources"]["limits"]["cpu"], "odd");
    }

    #[test]
    fn what_stands_for_itself_on_the_host_network() {
        let pod = |port: Value, is_on_host: bool| {
            with_pod(json!({"hostNetwork": is_on_host, "containers": [{"ports": [port]}]}))
        };
        let (plain, both) = (json!({"containerPort": 80}), json!({"containerPort": 80, "hostPort": 80}));
        assert_eq!(pod(plain.clone(), true), pod(both.clone(), true));
        assert_ne!(pod(plain, false), pod(both, false));
    }

    #[test]
    fn what_a_rollout_adds_goes_and_the_users_own_stays() {
        let own = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
        let added = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [
            {"key": "rollouts-pod-template-hash", "operator": "NotIn", "values": ["1"]}]}});
        let weighted = json!({"weight": 1, "podAffinityTerm": added});
        let pod = |required: Value, preferred: Value| {
            with_pod(json!({"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": required,
                "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            }}}))
        };
        assert_eq!(pod(json!([own, added]), json!([weighted])), pod(json!([own]), json!(null)));
        assert_eq!(pod(json!([added]), json!([])), with_pod(json!({})));
    }

    #[test]
    fn nothing_odd_is_in_the_way() {
        for odd in
            [json!(null), json!([]), json!("text"), json!({"spec": []}), json!({"spec": {"containers": [1]}})]
        {
            normal(odd);
        }
    }
}
