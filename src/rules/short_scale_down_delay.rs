//! The rule `short-scale-down-delay`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "short-scale-down-delay",
    summary: "a blue/green Rollout ends its old pods while they may still get requests",
    page: include_str!("short_scale_down_delay.md"),
    kinds: &[Kind::Rollout],
    production: Action::Warn,
    development: Action::Off,
    judges_scaled_to_zero: false,
    loses_requests: true,
    needs: Needs::Nothing,
    check: Check::Workload(check),
    cel: None,
};

/// What Argo Rollouts takes where nothing is written (argo-rollouts,
/// utils/defaults/defaults.go, `DefaultScaleDownDelaySeconds`).
const ENOUGH_SECONDS: i32 = 30;

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let delay = workload.spec().strategy.blue_green.as_ref().and_then(|it| it.scale_down_delay_seconds);
    let Some(delay) = delay.filter(|delay| *delay < ENOUGH_SECONDS) else { return Vec::new() };
    let message = format!(
        "{delay} s after the switch all old pods end at once, while proxies may still send them requests"
    );
    let fix = "remove scaleDownDelaySeconds (30 count), or set it to 30 or more";
    let field = FieldPath::new("spec.strategy.blueGreen.scaleDownDelaySeconds");
    vec![Finding::invalid(RULE.id, field, message, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, of_kind};
    use serde_json::json;

    #[test]
    fn less_than_what_argo_takes_by_itself_is_short() {
        for (delay, count) in [(json!(5), 1), (json!(0), 1), (json!(29), 1), (json!(30), 0), (json!(null), 0)]
        {
            let mut object = of_kind(Kind::Rollout);
            object["spec"]["strategy"] =
                json!({"blueGreen": {"activeService": "web", "scaleDownDelaySeconds": delay}});
            assert_eq!(found(&RULE, &object).len(), count, "{delay}");
        }
        let mut canary = of_kind(Kind::Rollout);
        canary["spec"]["strategy"] = json!({"canary": {"scaleDownDelaySeconds": 5}});
        assert!(found(&RULE, &canary).is_empty());
    }
}
