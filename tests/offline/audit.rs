//! `gapless audit` without a cluster, and with an API server that says odd things.

use serde_json::{Value, json};

use crate::support::audit::{audit, names};
use crate::support::deployment::deployment;
use crate::support::stand_in::fake_api_server;

#[test]
fn names_that_no_namespace_has_are_bad_usage() {
    let home = tempfile::tempdir().unwrap();
    for name in ["", "Shop", "-shop", "../secrets", "a/b", "x?limit=1", &"x".repeat(64)] {
        let audited = audit(home.path(), &[], &[&format!("--namespace={name}")]);
        assert_eq!(audited.code, 2);
        assert!(audited.stderr.contains("write lower case letters, digits and -"), "{audited:?}");
    }
}

fn in_shop(mut deployment: Value) -> Value {
    deployment["metadata"]["namespace"] = json!("shop");
    deployment
}

fn page(names: &[&str], next: &str) -> (u16, Value) {
    let items: Vec<Value> = names.iter().map(|name| in_shop(deployment(name))).collect();
    (200, json!({"kind": "DeploymentList", "items": items, "metadata": {"continue": next}}))
}

/// What the API server of Kubernetes says of a continue token that is too old.
fn expired() -> (u16, Value) {
    (
        410,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {"continue": "inconsistent"}, "status": "Failure",
            "message": "The provided continue parameter is too old to display a consistent list result.",
            "reason": "Expired", "code": 410,
        }),
    )
}

#[test]
fn a_list_that_expires_is_read_again_once() {
    let neighbours = [page(&["a", "b", "c", "d"], "")];
    let answers = [page(&["a", "b"], "x"), expired(), page(&["a", "c"], "y"), page(&["d"], "")];
    let (home, environment) = fake_api_server(neighbours.into_iter().chain(answers).collect());
    let audited = audit(home.path(), &environment, &["-A", "-f", "json"]);
    assert_eq!(audited.code, 0, "{audited:?}");
    assert_eq!(
        audited.stderr,
        "note: the API server no longer knows the rest of the list of deployments.apps (410 Gone); starting again\n"
    );
    assert_eq!(names(&audited.json()["deployments"]), ["shop/a", "shop/c", "shop/d"]);

    let (home, environment) =
        fake_api_server(vec![page(&["a"], "x"), expired(), page(&["a"], "y"), expired()]);
    audit(home.path(), &environment, &["-A"]).failed_with(
        "the list of deployments.apps takes longer than the API server remembers it (410 Gone); try again with a \
         larger --chunk-size, or for one namespace",
    );
}

#[test]
fn one_unreadable_deployment_hides_no_other() {
    let (_, mut list) = page(&["good", "broken"], "");
    list["items"][1]["spec"]["replicas"] = json!("three");
    // Once to know them as neighbours, and once to judge them.
    let (home, environment) = fake_api_server(vec![(200, list.clone()), (200, list)]);
    let audited = audit(home.path(), &environment, &["-A", "-f", "json"]);
    assert_eq!(audited.code, 2, "{audited:?}");
    let report = audited.json();
    assert_eq!(names(&report["errors"]), ["shop/broken"]);
    assert_eq!(names(&report["deployments"]), ["shop/good"]);
}

#[test]
fn what_is_no_list_is_said() {
    let (home, environment) = fake_api_server(vec![(200, json!({"hello": "proxy"}))]);
    let audited = audit(home.path(), &environment, &["-A"]);
    let start = "error: cannot list deployments.apps from the API server http://127.0.0.1:";
    assert!(
        audited.stderr.starts_with(start) && audited.stderr.contains("the answer is no list"),
        "{audited:?}"
    );
    assert_eq!(audited.code, 2);
}
