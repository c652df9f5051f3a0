//! Whose field is it? Every way of writing that kubectl and Helm have, on a real
//! API server. Each sequence runs twice: as it is, and with a second webhook that
//! makes the API server call gapless again in each request.

mod adopted;
mod clients;
mod dropped;
mod manifest;
mod merged;
mod stamps;
mod strategy;
mod tools;
mod undo;
mod web;

use serde_json::Value;
use web::{ALL, Calls, in_each};

/// Or no sequence would show what a second call does.
#[test]
fn the_second_webhook_makes_the_api_server_call_gapless_again() {
    in_each(&ALL, |web| {
        web.send(&manifest::plain());
        web.send(&manifest::plain().image("v2"));
        web.label("team=support");
        let second_round = "mutation.webhook.admission.k8s.io/round_1_index_";
        let is_called_again = |event: &Value| {
            let annotations = event["annotations"].as_object();
            annotations.is_some_and(|annotations| annotations.keys().any(|key| key.starts_with(second_round)))
        };
        let writes = web.namespace.audit_log();
        let count = writes.iter().filter(|event| is_called_again(event)).count();
        assert_eq!(count, if web.calls == Calls::Two { 3 } else { 0 });
    });
}
