//! The manifests on the pages of the ways to release, as `gapless check` and
//! `gapless preview` see them. `tests/api_server/patterns.rs` applies them.

use std::collections::BTreeSet;

use gapless::patterns::PATTERNS;
use serde_json::Value;

use crate::support::page::Page;
use crate::support::pattern::{Said, is_workload, manifests, name, said};
use crate::support::ran;

/// The objects in one file.
fn text(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// What `gapless check` says of all of them together, workload by workload.
fn checked(objects: &[Value], profile: &str) -> Vec<Said> {
    let command = ran::gapless("check", &["-f", "json", "--profile", profile, "-"]);
    let checked = ran::with_stdin(command, &text(objects));
    assert_eq!(checked.stderr, "");
    let report = checked.json();
    let is_of = |found: &Value, object: &str| {
        format!("{} {}", found["kind"].as_str().unwrap(), found["name"].as_str().unwrap()) == object
    };
    let ids = |list: &str, key: &str, object: &str, outcome: Option<&str>| {
        let found = report[list].as_array().unwrap().iter().filter(|found| is_of(found, object));
        let found = found.filter(|found| outcome.is_none_or(|outcome| found["outcome"] == outcome));
        let mut ids: Vec<String> = found.map(|found| found[key].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let workloads = objects.iter().filter(|object| is_workload(object)).map(name);
    let said: Vec<Said> = workloads
        .map(|object| Said {
            injected: ids("injections", "default", &object, None),
            denied: ids("findings", "rule", &object, Some("deny")),
            warned: ids("findings", "rule", &object, Some("warn")),
            waived: ids("findings", "rule", &object, Some("waived")),
            object,
            profile: profile.to_owned(),
        })
        .collect();
    // Nothing else is found, in a Service or for the audit log.
    let told: usize = said.iter().map(|it| it.denied.len() + it.warned.len() + it.waived.len()).sum();
    assert_eq!(report["findings"].as_array().unwrap().len(), told, "{report:#}");
    let denies = said.iter().any(|it| !it.denied.is_empty());
    assert_eq!(checked.code, i32::from(denies));
    said
}

#[test]
fn check_says_of_the_manifests_what_the_page_says() {
    for pattern in PATTERNS {
        let page = Page::parse(pattern.id, pattern.page);
        let expected = said(pattern, &page);
        let profiles: BTreeSet<&str> = expected.iter().map(|it| it.profile.as_str()).collect();
        assert!(profiles.contains("production"), "{}", pattern.id);
        for profile in profiles {
            let expected: Vec<&Said> = expected.iter().filter(|it| it.profile == profile).collect();
            let found = checked(&manifests(&page), profile);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{}", pattern.id);
        }
    }
}

#[test]
fn no_release_of_the_manifests_costs_capacity_unless_it_is_denied() {
    for pattern in PATTERNS {
        let page = Page::parse(pattern.id, pattern.page);
        let previewed =
            ran::with_stdin(ran::gapless("preview", &["-f", "json", "-"]), &text(&manifests(&page)));
        assert_eq!(previewed.code, 0, "{}: {previewed:?}", pattern.id);
        let said = said(pattern, &page);
        for rollout in previewed.json()["rollouts"].as_array().unwrap() {
            let object =
                format!("{} {}", rollout["kind"].as_str().unwrap(), rollout["name"].as_str().unwrap());
            let of_it = |it: &&Said| it.object == object && it.profile == "production";
            let is_denied = said.iter().find(of_it).is_some_and(|it| !it.denied.is_empty());
            assert_eq!(rollout["floor"] == rollout["replicas"], !is_denied, "{}: {rollout}", pattern.id);
            assert_eq!(rollout["stalls"], Value::Null, "{}", pattern.id);
        }
    }
}
