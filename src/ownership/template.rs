//! Whether two pod templates are one to the controller, which starts a rollout if and only
//! if they are not.

use serde_json::Value;

use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{at, same_to_the_api};
use crate::kubernetes::pod_template::remove_defaults;

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
            && without_defaults(template) == without_defaults(old_template))
}

fn without_defaults(template: &Value) -> Value {
    let mut template = template.clone();
    remove_defaults(&mut template);
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_controller_of_rollouts_fills_in_is_no_change() {
        let with = |container: Value, grace_period: Value| {
            json!({"spec": {"template": {"spec": {
                "containers": [container], "terminationGracePeriodSeconds": grace_period,
            }}}})
        };
        let bare = json!({"name": "app", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}});
        let completed = json!({"name": "app", "resources": {}, "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}});
        let (bare, same) = (with(bare, Value::Null), with(completed.clone(), json!(30)));
        assert!(same_template(Kind::Rollout, &bare, &same));
        assert!(!same_template(Kind::Deployment, &bare, &same), "there it is filled in before");
        assert!(!same_template(Kind::Rollout, &bare, &with(completed.clone(), json!(40))));
        let mut restarted = bare.clone();
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-29T00:00:00Z"});
        restarted["spec"]["template"]["metadata"] = json!({"annotations": annotations});
        assert!(!same_template(Kind::Rollout, &bare, &restarted), "a restart is a rollout");
        let mut other = completed;
        other["readinessProbe"]["timeoutSeconds"] = json!(2);
        assert!(!same_template(Kind::Rollout, &bare, &with(other, json!(30))));
    }
}
