//! Whether two pod templates are one to the controller, which starts a rollout if and only
//! if they are not.

use serde_json::{Map, Value, json};

use crate::kubernetes::api_default::{GRACE_PERIOD_SECONDS, fill, fill_probe};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{at, same_to_the_api};

/// Whether both objects, which are of this kind, have the same pod template, as far as it
/// is in their trees (kubernetes, pkg/controller/deployment/util, `EqualIgnoreHash`).
///
/// The API server fills nothing into the template of a custom resource. The controller of
/// Rollouts does before it compares (argo-rollouts, utils/replicaset,
/// `PodTemplateEqualIgnoreHash`).
pub fn same_template(kind: Kind, object: &Value, old_object: &Value) -> bool {
    let [template, old_template] =
        [object, old_object].map(|object| at(object, &["spec", "template"]).unwrap_or(&Value::Null));
    same_to_the_api(template, old_template)
        || (!kind.is_defaulted_by_api_server()
            && same_to_the_api(&completed(template), &completed(old_template)))
}

/// The template with the defaults that the API server would fill into what gapless looks at
/// (kubernetes, pkg/apis/core/v1/defaults.go).
fn completed(template: &Value) -> Value {
    let mut template = template.clone();
    let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) else { return template };
    fill(pod, &[("terminationGracePeriodSeconds", json!(GRACE_PERIOD_SECONDS))]);
    for list in ["containers", "initContainers"] {
        let containers = pod.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().filter_map(Value::as_object_mut).for_each(complete_container);
    }
    template
}

fn complete_container(container: &mut Map<String, Value>) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        fill(port, &[("protocol", json!("TCP"))]);
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
        fill_probe(probe);
        if let Some(http_get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
            fill(http_get, &[("path", json!("/"))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_controller_of_rollouts_fills_in_is_no_change() {
        let with = |container: Value, grace_period: Value| {
            json!({"spec": {"template": {"spec": {
                "containers": [container], "terminationGracePeriodSeconds": grace_period,
            }}}})
        };
        let bare = json!({"name": "app", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}});
        let completed = json!({"name": "app", "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}});
        let (bare, same) = (with(bare, Value::Null), with(completed.clone(), json!(30)));
        assert!(same_template(Kind::Rollout, &bare, &same));
        assert!(!same_template(Kind::Deployment, &bare, &same), "there it is filled in before");
        assert!(!same_template(Kind::Rollout, &bare, &with(completed.clone(), json!(40))));
        let mut other = completed;
        other["readinessProbe"]["timeoutSeconds"] = json!(2);
        assert!(!same_template(Kind::Rollout, &bare, &with(other, json!(30))));
    }
}
