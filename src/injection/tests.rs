//! What the table of owners means for requests. The ways in which clients write
//! them are tried on a real API server, in `tests/api_server/ownership`.

use jiff::civil::date;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::kind::Kind;
use crate::ownership::intent::{LAST_APPLIED, Origin};
use crate::ownership::record::ANNOTATION;

const PROBE: &str = "/spec/template/spec/containers/0/readinessProbe";
const HOOK: &str = "/spec/template/spec/containers/0/lifecycle/preStop";
const GRACE: &str = "/spec/template/spec/terminationGracePeriodSeconds";
const IMAGE: &str = "/spec/template/spec/containers/0/image";
const AMOUNT: &str = "/spec/strategy/rollingUpdate/maxUnavailable";

/// A Deployment as the API server makes it of the shortest manifest.
fn naive() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{"name": "app", "image": "app:v1", "ports": [{"containerPort": 80}]}],
                },
            },
        },
    })
}

fn injected(object: &Value, old_object: Option<&Value>, is_undo: bool, profile: &Profile) -> Injection {
    let workload = Workload::read(object).unwrap();
    let waivers = ActiveWaivers::read(&workload, profile.waivers, date(2026, 11, 23), |_| true);
    let change = Change {
        kind: Kind::of_document(object),
        object: View::of(object),
        old_object: old_object.map(View::of),
        differs_unread: false,
        is_undo,
        may_be_undo_by_argo: false,
        field_manager: None,
        origin: Origin::ApiServer,
    };
    let terms = Terms {
        record_of_revision: None,
        profile,
        waivers: &waivers,
        surroundings: &crate::surroundings::NONE,
        mode: profile.injection,
    };
    let injection = inject(change, terms).unwrap();
    let again = inject(Change { object: View::of(&injection.object), ..change }, terms).unwrap();
    assert_eq!(again.operations, [], "a second call in the same request has nothing to do");
    injection
}

/// The naive one as gapless completed it.
fn stored() -> Value {
    injected(&naive(), None, false, &Profile::production()).object
}

/// A profile that sleeps longer than the one under which [`stored`] was completed.
fn longer() -> Profile {
    let mut profile = Profile::production();
    profile.settings.pre_stop_sleep.seconds = 20;
    profile
}

fn update(old_object: &Value, object: &Value) -> Injection {
    injected(object, Some(old_object), false, &Profile::production())
}

fn with(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (pointer, value) in changes {
        let pointer = json_patch::jsonptr::Pointer::parse(*pointer).unwrap();
        crate::patch::set(&mut object, pointer, value.clone()).unwrap();
    }
    object
}

/// The object without this field of its container.
fn without(object: &Value, field: &str) -> Value {
    let mut object = object.clone();
    let container = object.pointer_mut("/spec/template/spec/containers/0").unwrap();
    container.as_object_mut().unwrap().remove(field);
    object
}

fn with_annotation(object: &Value, key: &str, value: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["annotations"][key] = json!(value);
    object
}

fn applied(object: &Value, manifest: Value) -> Value {
    with_annotation(object, LAST_APPLIED, &manifest.to_string())
}

/// An object of which a server-side apply owns these fields.
fn owned(object: &Value, manager: &str, template_spec: Value) -> Value {
    let entry = json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": template_spec}}}});
    with(object, &[("/metadata/managedFields", json!([entry]))])
}

fn container(fields: Value) -> Value {
    json!({"f:containers": {"k:{\"name\":\"app\"}": fields}})
}

fn at<'v>(object: &'v Value, pointer: &str) -> &'v Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

fn entry(object: &Value, path: &str) -> Value {
    let record = object["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or("{}");
    serde_json::from_str::<Value>(record).unwrap()[path].clone()
}

fn probe_entry(object: &Value) -> Value {
    entry(object, "spec.template.spec.containers[app].readinessProbe")
}

fn grace_entry(object: &Value) -> Value {
    entry(object, "spec.template.spec.terminationGracePeriodSeconds")
}

fn announced(injection: &Injection) -> Vec<&str> {
    injection.announcements.iter().map(|(_, line)| line.as_str()).collect()
}

#[test]
fn a_last_applied_manifest_of_another_revision_proves_nothing() {
    let manifest = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 3}},
    ]}}}});
    let undone = applied(&stored(), manifest);
    let object = update(&undone, &with(&undone, &[(IMAGE, json!("app:v2"))])).object;
    assert_ne!(probe_entry(&object), Value::Null, "it is still gapless'");
}

#[test]
fn what_changes_only_managed_fields_counts_from_the_next_request_on() {
    let old = stored();
    let claimed = owned(
        &old,
        "kubectl",
        container(json!({"f:readinessProbe": {"f:tcpSocket": {"f:port": {}},
        "f:periodSeconds": {}, "f:failureThreshold": {}}})),
    );
    assert_eq!(update(&old, &claimed).operations, []);
    let stamped = with_annotation(&claimed, "example.com/stamp", "1");
    assert_eq!(update(&old, &stamped).operations, [], "the second call, after another webhook");
    let labelled = with(&claimed, &[("/metadata/labels/team", json!("shop"))]);
    let object = update(&claimed, &labelled).object;
    assert_eq!(probe_entry(&object), Value::Null);
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
}

#[test]
fn a_change_of_tools_restarts_nothing() {
    let old = stored();
    let says_30 = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
    let by_apply = owned(&old, "helm", json!({"f:terminationGracePeriodSeconds": {}}));
    for tool in [applied(&old, says_30.clone()), by_apply] {
        let waits = update(&old, &with(&tool, &[(GRACE, json!(30))])).object;
        assert_eq!(at(&waits, GRACE), 40);
        assert_eq!(grace_entry(&waits), json!([40, 30]));
        // Until the template changes, whoever asks.
        let labelled = update(&waits, &with(&waits, &[("/metadata/labels/team", json!("shop"))])).object;
        assert_eq!(grace_entry(&labelled), json!([40, 30]));
        let again = update(&waits, &with(&waits, &[(GRACE, json!(30))])).object;
        assert_eq!((at(&again, GRACE), grace_entry(&again)), (&json!(40), json!([40, 30])));
        let released = update(&waits, &with(&waits, &[(IMAGE, json!("app:v2"))])).object;
        assert_eq!((at(&released, GRACE), grace_entry(&released)), (&json!(30), Value::Null));
        // Another value is the user's at once.
        let other = update(&waits, &with(&waits, &[(GRACE, json!(60))])).object;
        assert_eq!((at(&other, GRACE), grace_entry(&other)), (&json!(60), Value::Null));
    }
    // With the template it counts at once.
    let tool = applied(&old, says_30.clone());
    let released = update(&old, &with(&tool, &[(GRACE, json!(30)), (IMAGE, json!("app:v2"))])).object;
    assert_eq!((at(&released, GRACE), grace_entry(&released)), (&json!(30), Value::Null));
    // And so does a proof of a kind that was there before.
    for tool in [applied(&old, json!({})), owned(&old, "helm", json!({"f:containers": {}}))] {
        let says_so = match tool["metadata"]["managedFields"].is_null() {
            true => applied(&tool, says_30.clone()),
            false => owned(&tool, "helm", json!({"f:terminationGracePeriodSeconds": {}})),
        };
        let object = update(&tool, &with(&says_so, &[(GRACE, json!(30))])).object;
        assert_eq!((at(&object, GRACE), grace_entry(&object)), (&json!(30), Value::Null));
    }
}

#[test]
fn an_undo_writes_what_has_been_waiting() {
    let old = owned(&stored(), "flux", json!({"f:terminationGracePeriodSeconds": {}}));
    let waits = update(&stored(), &with(&old, &[(GRACE, json!(30))])).object;
    let mut undone = with(&waits, &[(IMAGE, json!("app:v0"))]);
    undone["metadata"]["annotations"] = stored()["metadata"]["annotations"].clone();
    let object = injected(&undone, Some(&waits), true, &Profile::production()).object;
    assert_eq!((at(&object, GRACE), grace_entry(&object)), (&json!(30), Value::Null));
}

#[test]
fn an_undo_between_revisions_that_only_gapless_made_starts_no_rollout() {
    let (first, development) = (stored(), Profile::development());
    let second = injected(&with(&first, &[(IMAGE, json!("app:v2"))]), Some(&first), false, &longer()).object;
    let second =
        injected(&with(&second, &[(IMAGE, json!("app:v1"))]), Some(&second), false, &longer()).object;
    let mut undone = with(&second, &[("/spec/template", first["spec"]["template"].clone())]);
    undone["metadata"]["annotations"] = first["metadata"]["annotations"].clone();
    let object = injected(&undone, Some(&second), true, &development).object;
    assert_eq!(object["spec"]["template"], second["spec"]["template"]);
}

#[test]
fn a_second_undo_knows_what_the_first_one_filled() {
    // After an undo: gapless' probe, and a manifest of another revision that says it.
    let manifest = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}}},
    ]}}}});
    let old = applied(&stored(), manifest);
    let mut undone =
        with(&old, &[("/spec/template", naive()["spec"]["template"].clone()), (IMAGE, json!("app:v0"))]);
    undone["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION);
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert_eq!(probe_entry(&object)["periodSeconds"], 5);
}

#[test]
fn a_value_of_gapless_that_becomes_what_the_manifest_says_is_the_users() {
    let probe = json!({"httpGet": {"path": "/live", "port": 80}, "periodSeconds": 5, "failureThreshold": 3});
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "readinessProbe": probe}]}}}});
    // After an undo: the manifest speaks of another revision.
    let old = applied(&stored(), manifest);
    let liveness = json!({"httpGet": {"path": "/live", "port": 80}});
    let patched = with(&old, &[("/spec/template/spec/containers/0/livenessProbe", liveness)]);
    let object = update(&old, &patched).object;
    assert_eq!((at(&object, PROBE), probe_entry(&object)), (&probe, Value::Null));
}

#[test]
fn a_value_that_a_manifest_says_beside_a_pair_is_the_users() {
    let old = stored();
    let grace =
        |seconds: i64| json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": seconds}}}});
    let waits = update(&old, &with(&applied(&old, grace(30)), &[(GRACE, json!(30))])).object;
    for image in ["app:v1", "app:v2"] {
        let object = update(&waits, &with(&applied(&waits, grace(40)), &[(IMAGE, json!(image))])).object;
        assert_eq!((at(&object, GRACE), grace_entry(&object)), (&json!(40), Value::Null), "{image}");
    }
}

#[test]
fn outside_the_template_an_undo_takes_no_entry_away_and_brings_none_back() {
    let amount = "spec.strategy.rollingUpdate.maxUnavailable";
    let (first, profile) = (stored(), Profile::production());
    // The user has made it their own since.
    let mut second = with(&first, &[(IMAGE, json!("app:v2"))]);
    second = applied(&second, json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}}));
    second = update(&first, &second).object;
    assert_eq!(entry(&second, amount), Value::Null);
    let mut undone = with(&second, &[("/spec/template", first["spec"]["template"].clone())]);
    undone["metadata"]["annotations"][ANNOTATION] = first["metadata"]["annotations"][ANNOTATION].clone();
    let object = injected(&undone, Some(&second), true, &profile).object;
    assert_eq!((at(&object, AMOUNT), entry(&object, amount)), (&json!(0), Value::Null));
    assert_eq!(object["spec"]["template"], first["spec"]["template"]);

    // Or has written the API server's default instead.
    let says_25 = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}});
    let users = with(&applied(&first, says_25), &[(IMAGE, json!("app:v2")), (AMOUNT, json!("25%"))]);
    let users = update(&first, &users).object;
    let mut undone = with(&users, &[("/spec/template", first["spec"]["template"].clone())]);
    undone["metadata"]["annotations"][ANNOTATION] = first["metadata"]["annotations"][ANNOTATION].clone();
    let object = injected(&undone, Some(&users), true, &profile).object;
    assert_eq!((at(&object, AMOUNT), entry(&object, amount)), (&json!("25%"), Value::Null));

    // gapless filled it since.
    let mut undone =
        with(&first, &[("/spec/template", naive()["spec"]["template"].clone()), (IMAGE, json!("app:v0"))]);
    undone["metadata"]["annotations"] = json!({});
    let object = injected(&undone, Some(&first), true, &profile).object;
    assert_eq!(entry(&object, amount), 0);
}

#[test]
fn in_an_undo_a_proof_says_nothing_against_what_its_first_call_wrote() {
    // The stored manifest says what gapless fills into the older revision.
    let manifest = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 40, "containers": [
        {"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 3},
            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}}},
    ]}}}});
    let old = update(&stored(), &applied(&stored(), manifest)).object;
    assert_eq!(probe_entry(&old), Value::Null);
    let mut undone =
        with(&old, &[("/spec/template", naive()["spec"]["template"].clone()), (IMAGE, json!("app:v0"))]);
    undone["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION);
    // `injected` calls twice.
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert_ne!(probe_entry(&object), Value::Null);
}

#[test]
fn labels_that_an_undo_fills_stay_in_its_second_call() {
    let users = with(&naive(), &[("/spec/template/metadata/labels/version", json!("v1"))]);
    let manifest = json!({"spec": {"template": {"metadata": {"labels": {"app": "web", "version": "v1"}}}}});
    let old = applied(&users, manifest);
    let undone = with(&old, &[("/spec/template", naive()["spec"]["template"].clone())]);
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert_eq!(entry(&object, "metadata.labels[version]"), "v1");
}

#[test]
fn what_an_edit_takes_away_of_the_manifest_is_the_users_when_it_is_back() {
    let hook = json!({"preStop": {"sleep": {"seconds": 10}}});
    let users = with(&naive(), &[("/spec/template/spec/containers/0/lifecycle", hook.clone())]);
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "lifecycle": hook}]}}}});
    let old = injected(&applied(&users, manifest), None, false, &Profile::production()).object;
    let edited = without(&old, "lifecycle");
    let object = update(&old, &edited).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(entry(&object, "spec.template.spec.containers[app].lifecycle.preStop"), Value::Null);
}

#[test]
fn what_comes_back_of_the_manifest_finds_the_parts_beside_it() {
    let handler = json!({"tcpSocket": {"port": 80}});
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "readinessProbe": handler}]}}}});
    let old = update(&stored(), &applied(&stored(), manifest)).object;
    assert_eq!(probe_entry(&old), json!({"periodSeconds": 5}));
    let edited = without(&old, "readinessProbe");
    let object = update(&old, &edited).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(probe_entry(&object), json!({"periodSeconds": 5}));
}

#[test]
fn parts_beside_the_users_stay_until_the_template_changes() {
    let old = stored();
    let handler = container(json!({"f:readinessProbe": {"f:tcpSocket": {"f:port": {}}}}));
    let claimed = with(&owned(&old, "helm", handler), &[("/metadata/labels/team", json!("shop"))]);
    let object = update(&old, &claimed).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(probe_entry(&object), json!({"periodSeconds": 5}));
    // A PUT that does not say them finds them again.
    let mut bare = with(&object, &[(PROBE, json!({"tcpSocket": {"port": 80}, "periodSeconds": 10}))]);
    bare["metadata"]["annotations"] = json!({});
    let put = update(&object, &bare).object;
    assert_eq!(put["spec"]["template"], old["spec"]["template"]);
    assert_eq!(probe_entry(&put), json!({"periodSeconds": 5}));
    // With another template they are not put back, and go though nobody proves it.
    let released = update(&object, &with(&bare, &[(IMAGE, json!("app:v2"))])).object;
    assert_eq!(at(&released, PROBE)["periodSeconds"], 10);
    let mut unproven = with(&put, &[(IMAGE, json!("app:v2")), ("/metadata/managedFields", Value::Null)]);
    unproven = update(&put, &unproven).object;
    assert_eq!(at(&unproven, PROBE), &json!({"tcpSocket": {"port": 80}, "failureThreshold": 3}));
    // With the template they go.
    let released = update(&object, &with(&object, &[(IMAGE, json!("app:v2"))])).object;
    assert_eq!(at(&released, PROBE), &json!({"tcpSocket": {"port": 80}, "failureThreshold": 3}));
    assert_eq!(probe_entry(&released), Value::Null);
}

#[test]
fn a_value_that_somebody_took_over_is_left_alone_without_a_proof() {
    let old = stored();
    // A port changed by kubectl edit: nothing tells whose the period is.
    let edited =
        with(&old, &[(PROBE, json!({"tcpSocket": {"port": 81}, "periodSeconds": 5, "failureThreshold": 3}))]);
    let object = update(&old, &edited).object;
    assert_eq!(at(&object, PROBE), at(&edited, PROBE));
    assert_eq!(probe_entry(&object), Value::Null);
}

#[test]
fn who_proves_no_handler_proves_no_probe() {
    let seconds = container(json!({"f:readinessProbe": {"f:periodSeconds": {}, "f:failureThreshold": {}}}));
    let old = owned(&stored(), "kubectl", seconds);
    let object = update(&old, &with(&old, &[(IMAGE, json!("app:v2"))])).object;
    assert_eq!(at(&object, PROBE), at(&old, PROBE));
    assert_ne!(probe_entry(&object), Value::Null);
}

#[test]
fn a_part_of_the_users_without_a_handler_is_left_for_the_api_server_to_refuse() {
    let old = stored();
    let mut put = with(&old, &[(PROBE, json!({"periodSeconds": 7, "failureThreshold": 3}))]);
    put["metadata"]["annotations"] = json!({});
    assert_eq!(at(&update(&old, &put).object, PROBE), at(&put, PROBE));
}

#[test]
fn a_waiver_in_a_bare_manifest_says_what_it_withdraws() {
    let waived = with_annotation(&naive(), "gapless.dev/waive.readiness-probe", "checked elsewhere");
    let injection = update(&stored(), &waived);
    assert_eq!(at(&injection.object, PROBE), &Value::Null);
    let expected = "removed readiness probe from container app for gapless.dev/waive.readiness-probe; \
        to keep a value, remove its entry from gapless.dev/injected";
    assert!(announced(&injection).contains(&expected), "{:?}", announced(&injection));
}

#[test]
fn what_is_handed_back_is_not_recorded() {
    let grace =
        |seconds: i64| json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": seconds}}}});
    // After an undo: the manifest speaks of another revision.
    let old = applied(&injected(&naive(), None, false, &longer()).object, grace(40));
    let object = update(&old, &with(&old, &[(IMAGE, json!("app:v2"))])).object;
    assert_eq!((at(&object, GRACE), grace_entry(&object)), (&json!(40), Value::Null));
}

#[test]
fn a_handler_of_gapless_goes_though_a_manifest_of_another_revision_says_it() {
    let probe = at(&stored(), PROBE).clone();
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "readinessProbe": probe}]}}}});
    let fields = container(json!({"f:readinessProbe": {"f:httpGet": {"f:port": {}}}}));
    let old = applied(&stored(), manifest);
    let mut both = probe;
    both["httpGet"] = json!({"port": 80});
    let object = update(&old, &with(&owned(&old, "flux", fields), &[(PROBE, both)])).object;
    assert_eq!(at(&object, PROBE)["tcpSocket"], Value::Null);
    assert_eq!(at(&object, PROBE)["httpGet"], json!({"port": 80}));
}

#[test]
fn what_nobody_can_tell_apart_stays() {
    let old = stored();
    // A part that an edit changed: the proof does not cover the user's parts.
    let handler = container(json!({"f:readinessProbe": {"f:tcpSocket": {"f:port": {}}}}));
    let edited = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 7});
    let object = update(&old, &with(&owned(&old, "helm", handler), &[(PROBE, edited.clone())])).object;
    assert_eq!(at(&object, PROBE), &edited);
    // Without gapless' handler there would be none.
    let seconds = container(json!({"f:readinessProbe": {"f:periodSeconds": {}}}));
    let written = json!({"tcpSocket": {"port": 80}, "periodSeconds": 7, "failureThreshold": 3});
    let object = update(&old, &with(&owned(&old, "helm", seconds), &[(PROBE, written.clone())])).object;
    assert_eq!(at(&object, PROBE), &written);
}

#[test]
fn an_api_default_that_the_manifest_says_is_not_put_back() {
    let old = stored();
    let probe = json!({"tcpSocket": {"port": 80}, "periodSeconds": 10});
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "readinessProbe": probe}]}}}});
    let object = update(&old, &with(&applied(&old, manifest), &[(PROBE, probe.clone())])).object;
    assert_eq!(at(&object, PROBE), &probe);
}

#[test]
fn a_container_that_goes_takes_its_fields_along() {
    let old = stored();
    let renamed = with(&old, &[("/spec/template/spec/containers/0/name", json!("web"))]);
    let bare = without(&without(&renamed, "lifecycle"), "readinessProbe");
    let object = update(&old, &bare).object;
    assert_eq!(probe_entry(&object), Value::Null);
    assert_eq!(entry(&object, "spec.template.spec.containers[web].readinessProbe")["periodSeconds"], 5);
}

#[test]
fn an_annotation_of_others_is_a_request_like_any_other_before_there_is_a_record() {
    let object = update(&naive(), &with_annotation(&naive(), "example.com/owner", "shop")).object;
    assert_eq!(at(&object, AMOUNT), 0);
}

#[test]
fn a_record_that_is_written_otherwise_stays_as_it_is() {
    let old = stored();
    let record: Value =
        serde_json::from_str(old["metadata"]["annotations"][ANNOTATION].as_str().unwrap()).unwrap();
    let spaced = with_annotation(&old, ANNOTATION, &serde_json::to_string_pretty(&record).unwrap());
    let labelled = with(&spaced, &[("/metadata/labels/team", json!("shop"))]);
    assert_eq!(update(&spaced, &labelled).operations, []);
}

#[test]
fn a_handler_of_gapless_goes_whole() {
    let annotated = with_annotation(&naive(), "gapless.dev/readiness-path", "/live");
    let old = injected(&annotated, None, false, &Profile::production()).object;
    let both = json!({"httpGet": {"path": "/live", "port": 80, "scheme": "HTTP"}, "periodSeconds": 5,
        "failureThreshold": 3, "tcpSocket": {"port": 80}});
    let object = update(&old, &with(&old, &[(PROBE, both)])).object;
    assert_eq!(at(&object, PROBE), &json!({"tcpSocket": {"port": 80}, "failureThreshold": 3}));
}

#[test]
fn an_explicit_zero_is_not_in_the_json() {
    let unprobed = with(&naive(), &[("/spec/template/spec/hostNetwork", json!(true))]);
    let zero = applied(&unprobed, json!({"spec": {"minReadySeconds": 0}}));
    for (object, expected) in [(unprobed, json!(10)), (zero, Value::Null)] {
        let object = injected(&object, None, false, &Profile::production()).object;
        assert_eq!(object["spec"]["minReadySeconds"], expected);
    }
}

#[test]
fn what_server_side_apply_leaves_of_a_probe_is_no_probe() {
    let handler = container(json!({"f:readinessProbe": {"f:tcpSocket": {"f:port": {}}}}));
    let old = with(&owned(&stored(), "helm", handler), &[("/metadata/labels/team", json!("shop"))]);
    let old = update(&stored(), &old).object;
    let pruned = with(
        &owned(&old, "helm", container(json!({"f:image": {}}))),
        &[(PROBE, json!({"periodSeconds": 5, "failureThreshold": 3}))],
    );
    for profile in [Profile::production(), longer()] {
        let object = injected(&pruned, Some(&old), false, &profile).object;
        assert_eq!(object["spec"]["template"], old["spec"]["template"]);
        assert_eq!(probe_entry(&object)["tcpSocket"]["port"], 80, "it is gapless' again");
    }
}

#[test]
fn an_edit_takes_nothing_away_and_is_told_so() {
    let old = stored();
    let edited = without(&old, "lifecycle");
    let edited = with(&edited, &[(GRACE, json!(30)), (AMOUNT, json!("25%"))]);
    let injection = update(&old, &edited);
    assert_eq!(injection.object, old);
    assert_eq!(
        announced(&injection),
        [
            "kept preStop sleep 10s of container app, grace period 40s; waive it with gapless.dev/waive.pre-stop-sleep",
            "kept maxUnavailable 0; waive it with gapless.dev/waive.rolling-update",
        ]
    );
    let mut strict = Profile::production();
    strict.waivers = crate::policy::Waivers::Forbidden;
    let lines = injected(&edited, Some(&old), false, &strict).announcements;
    assert!(
        lines.iter().all(|(_, line)| line.ends_with("; write a value of your own to replace it")),
        "{lines:?}"
    );
}

#[test]
fn a_waiver_withdraws_with_the_next_template_and_says_how_to_keep_a_value() {
    let old = stored();
    let waived = with_annotation(&old, "gapless.dev/waive.pre-stop-sleep", "drains itself");
    let labelled = update(&old, &waived);
    assert_eq!(labelled.object["spec"]["template"], old["spec"]["template"]);
    let released = update(&labelled.object, &with(&labelled.object, &[(IMAGE, json!("app:v2"))]));
    assert_eq!(at(&released.object, HOOK), &Value::Null);
    assert!(
        announced(&released).contains(
            &"removed preStop sleep from container app, grace period 40s -> 30s for \
              gapless.dev/waive.pre-stop-sleep; to keep a value, remove its entry from gapless.dev/injected"
        ),
        "{:?}",
        announced(&released)
    );
}

#[test]
fn removing_an_entry_hands_over_what_is_there() {
    let old = stored();
    let mut taken = old.clone();
    taken["metadata"]["annotations"] = json!({});
    let object = update(&old, &taken).object;
    assert_eq!(object["metadata"]["annotations"][ANNOTATION], Value::Null);
    // What a PUT dropped with it comes back with its entry.
    taken = without(&taken, "readinessProbe");
    let object = update(&old, &taken).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_ne!(probe_entry(&object), Value::Null);
    assert_eq!(grace_entry(&object), Value::Null);
}

#[test]
fn what_the_users_hook_needs_is_not_withdrawn() {
    let old = stored();
    for (seconds, expected) in [(35, 40), (26, 40), (25, 30), (0, 30)] {
        let edited = with(&old, &[(HOOK, json!({"sleep": {"seconds": seconds}}))]);
        let object = update(&old, &edited).object;
        assert_eq!(at(&object, GRACE).as_i64().unwrap_or(30), expected, "{seconds}");
        assert_eq!(grace_entry(&object).is_null(), expected == 30, "{seconds}");
    }
    let waived = with_annotation(&old, "gapless.dev/waive.pre-stop-sleep", "we have our own");
    let edited = with(&waived, &[(HOOK, json!({"sleep": {"seconds": 35}}))]);
    assert_eq!(at(&update(&old, &edited).object, GRACE), 40, "nor by a waiver");
}

/// `kubectl argo rollouts undo` replaces the template and leaves the newer record behind.
#[test]
fn an_undo_by_argo_hands_nothing_to_the_user() {
    let named = |port: u16, image: &str| {
        let ports = json!([{"containerPort": port}]);
        let mut rollout = with(&naive(), &[(IMAGE, json!(image))]);
        (rollout["apiVersion"], rollout["kind"]) = (json!("argoproj.io/v1alpha1"), json!("Rollout"));
        rollout["spec"]["strategy"] = json!({"canary": {}});
        rollout["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
        rollout
    };
    let profile = Profile::production();
    let first = injected(&named(80, "app:v1"), None, false, &profile).object;
    let second = injected(&named(81, "app:v2"), None, false, &profile).object;
    let undone = with(&second, &[("/spec/template", first["spec"]["template"].clone())]);
    let record = Record::read(&first).unwrap().unwrap();
    let undo = |may_be_undo_by_argo: bool, record_of_revision: Option<&Record>| {
        let workload = Workload::read(&undone).unwrap();
        let waivers = ActiveWaivers::read(&workload, profile.waivers, date(2026, 11, 23), |_| true);
        let change = Change::create(Kind::Rollout, View::of(&undone), Origin::ApiServer);
        let change = Change { old_object: Some(View::of(&second)), may_be_undo_by_argo, ..change };
        let surroundings = &crate::surroundings::NONE;
        let terms = Terms {
            record_of_revision,
            profile: &profile,
            waivers: &waivers,
            surroundings,
            mode: profile.injection,
        };
        inject(change, terms).unwrap().object
    };
    let object = undo(true, Some(&record));
    assert_eq!(object["spec"]["template"], first["spec"]["template"]);
    assert_eq!(Record::read(&object).unwrap().unwrap(), record);
    // Where nobody knows its record, the labels at least.
    let object = undo(true, None);
    assert_eq!(object["spec"]["template"], first["spec"]["template"]);
    for label in ["version", "app.kubernetes.io/version"] {
        assert_eq!(object["metadata"]["labels"][label], "v1");
        assert_eq!(entry(&object, &format!("spec.template.metadata.labels[{label}]")), "v1");
        assert_eq!(
            entry(&undo(false, None), &format!("spec.template.metadata.labels[{label}]")),
            Value::Null
        );
    }
}

#[test]
fn an_undo_that_leads_to_the_stored_template_is_one_request_like_any_other() {
    let container = json!({"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}}});
    let manifest = json!({"spec": {"template": {
        "metadata": {"labels": {"version": "v1"}}, "spec": {"containers": [container]},
    }}});
    let (label, probe) =
        ("spec.template.metadata.labels[version]", "spec.template.spec.containers[app].readinessProbe");
    let record_of = |changes: &[(&str, Value)]| {
        let text = stored()["metadata"]["annotations"][ANNOTATION].as_str().unwrap().to_owned();
        let mut record: Value = serde_json::from_str(&text).unwrap();
        for (path, value) in changes {
            match value {
                Value::Null => drop(record.as_object_mut().unwrap().remove(*path)),
                value => record[*path] = value.clone(),
            }
        }
        record.to_string()
    };
    let base = applied(&stored(), manifest);
    let old = with_annotation(&base, ANNOTATION, &record_of(&[(label, Value::Null), (probe, Value::Null)]));
    let old = with(&old, &[(PROBE, json!({"tcpSocket": {"port": 80}, "periodSeconds": 10}))]);
    let undone = with_annotation(&base, ANNOTATION, &record_of(&[(probe, json!({"periodSeconds": 5}))]));
    let undone = with(&undone, &[(PROBE, json!({"tcpSocket": {"port": 80}, "periodSeconds": 5}))]);
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert!(same_at(&object, &old, TEMPLATE), "{object}");
}

#[test]
fn parts_that_waited_stay_if_nothing_else_of_the_rollout_is_left() {
    let manifest = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}}},
    ]}}}});
    let mut old = applied(&stored(), manifest);
    let text = old["metadata"]["annotations"][ANNOTATION].as_str().unwrap().to_owned();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record["spec.template.spec.containers[app].readinessProbe"] = json!({"periodSeconds": 5});
    // The user took the grace period over, and a server-side apply drops it.
    record.as_object_mut().unwrap().remove("spec.template.spec.terminationGracePeriodSeconds");
    old = with_annotation(&old, ANNOTATION, &record.to_string());
    let object = update(&old, &with(&old, &[(GRACE, json!(30))])).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
}

#[test]
fn an_undo_overwrites_no_zero_that_is_proven() {
    let manifest = json!({"spec": {"minReadySeconds": 0}});
    let bare = with_annotation(&naive(), "gapless.dev/waive.readiness-probe", "we keep our own");
    let new = injected(&bare, None, false, &Profile::production()).object;
    assert_eq!(entry(&new, "spec.minReadySeconds"), 10, "where nothing probes");
    let mut old = applied(&new, manifest.clone());
    old["spec"].as_object_mut().unwrap().remove("minReadySeconds");
    let text = old["metadata"]["annotations"][ANNOTATION].as_str().unwrap().to_owned();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record.as_object_mut().unwrap().remove("spec.minReadySeconds");
    old = with_annotation(&with(&old, &[(IMAGE, json!("app:v2"))]), ANNOTATION, &record.to_string());
    // The record of the older revision speaks of another time.
    let mut undone = applied(&new, manifest);
    undone["spec"].as_object_mut().unwrap().remove("minReadySeconds");
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert_eq!(at(&object, "/spec/minReadySeconds"), &Value::Null);
    assert_eq!(entry(&object, "spec.minReadySeconds"), Value::Null);
}

#[test]
fn a_grace_period_that_waits_does_not_come_while_a_hook_of_the_users_needs_more() {
    let manifest = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
    for (seconds, expected) in [(35, 40), (30, 40), (29, 30)] {
        let old =
            update(&stored(), &with(&stored(), &[(HOOK, json!({"sleep": {"seconds": seconds}}))])).object;
        let old = with(&old, &[(GRACE, json!(40))]);
        let record = json!({"spec.template.spec.terminationGracePeriodSeconds": [40, 30]});
        let old = applied(&with_annotation(&old, ANNOTATION, &record.to_string()), manifest.clone());
        let object = update(&old, &with(&old, &[(IMAGE, json!("app:v2"))])).object;
        assert_eq!(at(&object, GRACE), expected, "{seconds}");
        let entry = if expected == 40 { json!([40, 30]) } else { Value::Null };
        assert_eq!(grace_entry(&object), entry, "{seconds}");
    }
}

#[test]
fn an_undo_brings_back_the_grace_period_of_its_time() {
    let hook = json!({"exec": {"command": ["sleep", "35"]}});
    let old = update(&stored(), &with(&stored(), &[(HOOK, hook.clone())])).object;
    assert_eq!(grace_entry(&old), 40, "the hook needs it");
    let mut undone = with(&old, &[("/spec/template", naive()["spec"]["template"].clone()), (HOOK, hook)]);
    undone = with(&undone, &[(IMAGE, json!("app:v0"))]);
    undone["metadata"]["annotations"] = json!({});
    let object = injected(&undone, Some(&old), true, &Profile::production()).object;
    assert_eq!(at(&object, GRACE), 30);
}

#[test]
fn a_sleep_that_is_kept_up_brings_its_grace_period() {
    let manifest = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 60}}}});
    let users = applied(&with(&naive(), &[(GRACE, json!(60))]), manifest);
    let old = injected(&users, None, false, &Profile::production()).object;
    assert_eq!(grace_entry(&old), Value::Null);
    let mut advisory = Profile::advisory();
    advisory.settings.pre_stop_sleep.seconds = 40;
    let put = with(&naive(), &[(IMAGE, json!("app:v2"))]);
    let object = injected(&put, Some(&old), false, &advisory).object;
    assert_eq!((at(&object, HOOK)["sleep"]["seconds"].as_i64(), at(&object, GRACE)), (Some(40), &json!(70)));
}

#[test]
fn rolling_parameters_that_nobody_wrote_go_with_recreate() {
    let old = stored();
    let injection = update(&old, &with(&old, &[("/spec/strategy/type", json!("Recreate"))]));
    assert_eq!(injection.object["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(injection.object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(
        announced(&injection),
        ["removed rollingUpdate, which the API server rejects beside Recreate"]
    );

    let new = with(&naive(), &[("/spec/strategy/type", json!("Recreate"))]);
    let object = injected(&new, None, false, &Profile::production()).object;
    assert_eq!(object["spec"]["strategy"], new["spec"]["strategy"], "of a new object somebody wrote them");
    let users = applied(&old, json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%"}}}}));
    let object = update(&old, &with(&users, &[("/spec/strategy/type", json!("Recreate"))])).object;
    assert_eq!(
        object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%",
        "the API server says what is wrong"
    );
}

#[test]
fn where_nothing_is_injected_what_is_there_is_kept_up() {
    let (old, advisory) = (stored(), Profile::advisory());
    let mut bare = naive();
    let object = injected(&bare, Some(&old), false, &advisory).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"], "put back");
    assert_eq!(at(&object, AMOUNT), "25%", "but not filled");
    bare = with(
        &bare,
        &[(IMAGE, json!("app:v2")), ("/spec/template/spec/containers/0/ports/0/containerPort", json!(81))],
    );
    let object = injected(&bare, Some(&old), false, &advisory).object;
    assert_eq!(at(&object, PROBE)["tcpSocket"]["port"], 81, "follows the template");
    assert_eq!(object["spec"]["template"]["metadata"]["labels"]["version"], "v2");
    let new = injected(&naive(), None, false, &advisory);
    assert_eq!((new.object, new.announcements), (naive(), vec![]));
}

#[test]
fn a_value_taken_out_of_the_manifest_that_is_filled_again_starts_no_rollout() {
    let version = "spec.template.metadata.labels[version]";
    let mut record: Value =
        serde_json::from_str(stored()["metadata"]["annotations"][ANNOTATION].as_str().unwrap()).unwrap();
    record.as_object_mut().unwrap().remove(version);
    let old = with_annotation(&stored(), ANNOTATION, &record.to_string());
    let mut unlabelled = old.clone();
    unlabelled["spec"]["template"]["metadata"]["labels"].as_object_mut().unwrap().remove("version");
    let object = injected(&unlabelled, Some(&old), false, &longer()).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"], "nothing else is touched");
    assert_eq!(entry(&object, version), "v1");

    // A hook and its grace period too.
    let old = {
        let mut users = stored();
        users["metadata"]["annotations"] = json!({});
        users
    };
    let taken = without(&with(&old, &[(GRACE, json!(30))]), "lifecycle");
    let object = update(&old, &taken).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(grace_entry(&object), 40);
    assert_eq!(probe_entry(&object), Value::Null, "what was the user's stays so");
}

#[test]
fn what_is_filled_again_and_parts_that_are_put_back_lead_to_the_stored_template_together() {
    let version = "spec.template.metadata.labels[version]";
    let mut record: Value =
        serde_json::from_str(stored()["metadata"]["annotations"][ANNOTATION].as_str().unwrap()).unwrap();
    record.as_object_mut().unwrap().remove(version);
    let old = with_annotation(&stored(), ANNOTATION, &record.to_string());
    // A PUT of a manifest with our handler, as the API server completes it.
    let probe = json!({"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 3});
    let object = update(&old, &with(&naive(), &[(PROBE, probe)])).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
}

#[test]
fn what_stands_beside_a_template_that_is_recomputed_to_the_stored_one_stays() {
    let old = stored();
    let without_entries = |paths: &[&str]| {
        let text = old["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
        let mut record: Value = serde_json::from_str(text).unwrap();
        paths.iter().for_each(|path| drop(record.as_object_mut().unwrap().remove(*path)));
        with_annotation(&old, ANNOTATION, &record.to_string())
    };
    // The user took grace period and label over, and lets go of the first.
    let old = without_entries(&[
        "spec.template.spec.terminationGracePeriodSeconds",
        "spec.template.metadata.labels[version]",
    ]);
    let object = update(&old, &with(&old, &[(GRACE, json!(30))])).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(object["metadata"]["labels"]["version"], "v1");
    assert_eq!(entry(&object, "metadata.labels[version]"), "v1");
}

#[test]
fn what_is_handed_back_of_the_manifest_may_lead_to_the_stored_template() {
    let probe = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 3});
    let container = json!({"name": "app", "readinessProbe": probe});
    let manifest = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    // As the API server completes it.
    let mut stored = with(&stored(), &[(PROBE, probe)]);
    for (field, value) in [("timeoutSeconds", 1), ("successThreshold", 1)] {
        stored.pointer_mut(PROBE).unwrap()[field] = json!(value);
    }
    let old = update(&stored, &with_annotation(&applied(&stored, manifest), "note", "mine")).object;
    assert_eq!(probe_entry(&old), Value::Null, "it is the user's");
    let object = injected(&without(&old, "readinessProbe"), Some(&old), false, &longer()).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
}

#[test]
fn a_second_call_knows_what_the_first_one_filled_beside_the_template() {
    let old = {
        let mut users = stored();
        users["metadata"]["annotations"] = json!({});
        users
    };
    // A PUT of the bare manifest: all of it is filled again, as it was.
    let object = update(&old, &naive()).object;
    assert_eq!(object["spec"]["template"], old["spec"]["template"]);
    assert_eq!(entry(&object, "metadata.labels[version]"), "v1");
    assert_eq!(entry(&object, "spec.strategy.rollingUpdate.maxUnavailable"), 0);
}

#[test]
fn the_api_servers_defaults_are_kept_where_the_profile_says_so() {
    let mut profile = Profile::production();
    profile.settings.rolling_update.replace_api_defaults = false;
    let object = injected(&naive(), None, false, &profile).object;
    assert_eq!((at(&object, AMOUNT), at(&object, GRACE)), (&json!("25%"), &json!(30)));
    // A PUT still starts no rollout.
    let object = injected(&naive(), Some(&stored()), false, &profile).object;
    assert_eq!(object["spec"]["template"], stored()["spec"]["template"]);
}
