//! What a review costs, as a multiple of what it takes to parse the same bytes
//! with serde_json. Both are measured in turns in one run, so that a busy
//! machine slows both down.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gapless::admission::{Phase, Terms, review};
use gapless::policy::Policy;
use serde_json::{Value, json};

const ROUNDS: usize = 2_000;

/// A Deployment with so many containers; with 12 variables some 3 KB of JSON for
/// one.
fn deployment(containers: usize, variables: usize, tag: &str) -> Value {
    let container = |number: usize| {
        let environment: Vec<Value> = (0..variables)
            .map(|variable| json!({"name": format!("VARIABLE_{variable}"), "value": format!("value-{variable}-{number}")}))
            .collect();
        json!({
            "name": format!("app-{number}"),
            "image": format!("registry.example/team/app:{tag}"),
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": 8080 + number, "protocol": "TCP"}],
            "env": environment,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        })
    };
    let containers: Vec<Value> = (0..containers).map(container).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "app", "namespace": "shop", "uid": "6b640cd3-3620-46c4-8365-fc766f3e377a",
            "resourceVersion": "4711", "generation": 3, "creationTimestamp": "2026-11-23T08:52:19Z",
            "labels": {"app": "app"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1",
                "time": "2026-11-23T08:52:19Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {
                    "f:replicas": {}, "f:strategy": {"f:rollingUpdate": {"f:maxSurge": {}, "f:maxUnavailable": {}}},
                    "f:template": {"f:spec": {"f:containers": {}, "f:dnsPolicy": {}, "f:restartPolicy": {}}}}}}],
        },
        "spec": {
            "replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "app"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": containers, "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30},
            },
        },
        "status": {"observedGeneration": 3, "replicas": 3, "availableReplicas": 3},
    })
}

fn update(old_object: &Value, object: &Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "UPDATE", "name": "app", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "admin", "groups": ["system:authenticated"]},
        "object": object, "oldObject": old_object,
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-set"},
    }})
    .to_string()
    .into_bytes()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// The object as gapless stores it, with its record.
fn stored(policy: &Policy, object: &Value) -> Option<Value> {
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": "CREATE", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "object": object,
    }});
    let terms = Terms { policy, profile: None, today: jiff::civil::date(2026, 11, 23) };
    let answer = review(terms, Phase::Mutate, body.to_string().as_bytes()).ok()?.response.response;
    let patch = serde_json::from_slice::<json_patch::Patch>(&STANDARD.decode(answer.patch?).ok()?).ok()?;
    let mut stored = object.clone();
    json_patch::patch(&mut stored, &patch).ok()?;
    Some(stored)
}

/// How the cost grows with the number of containers, all of them with a record:
/// their image changes, and a bare manifest takes their place.
fn growth(policy: &Policy) -> Option<()> {
    println!("\nWith a record, per container    an image each    the bare manifest");
    for containers in [100, 800, 8_000] {
        let bare = deployment(containers, 0, "v1");
        let old_object = stored(policy, &bare)?;
        let mut released = old_object.clone();
        for container in released.pointer_mut("/spec/template/spec/containers")?.as_array_mut()? {
            *container.get_mut("image")? = json!("registry.example/team/app:v2");
        }
        let rounds = 16_000 / containers;
        let per_container = |object: &Value| {
            let [_, mutate, validate] = measure(policy, &update(&old_object, object), rounds);
            (mutate + validate) / u32::try_from(containers).unwrap_or(u32::MAX)
        };
        let (image, put) = (per_container(&released), per_container(&bare));
        println!("{containers:>5} containers               {image:>13.1?}    {put:>17.1?}");
    }
    Some(())
}

/// The medians of parsing, mutating and validating the same body.
fn measure(policy: &Policy, body: &[u8], rounds: usize) -> [Duration; 3] {
    let call = |phase| {
        let terms = Terms { policy, profile: None, today: jiff::civil::date(2026, 11, 23) };
        review(terms, phase, body).map(|review| serde_json::to_vec(&review.response))
    };
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        let [parse, mutate, validate] = &mut times;
        parse.push(timed(|| serde_json::from_slice::<Value>(body)));
        mutate.push(timed(|| call(Phase::Mutate)));
        validate.push(timed(|| call(Phase::Validate)));
    }
    times.map(median)
}

fn main() {
    let Ok(policy) = Policy::new("production") else { return };
    println!("UPDATE that changes the image      parse     mutate        validate");
    let mut totals = Vec::new();
    for containers in [1, 10, 20] {
        let body = update(&deployment(containers, 12, "v1"), &deployment(containers, 12, "v2"));
        let [parse, mutate, validate] = measure(&policy, &body, ROUNDS);
        let ratio = |time: Duration| time.as_secs_f64() / parse.as_secs_f64();
        println!(
            "{containers:>3} containers, {:>4} KB per object {parse:>8.1?} {mutate:>8.1?} {:.2} x {validate:>8.1?} {:.2} x",
            body.len() / 2 / 1024,
            ratio(mutate),
            ratio(validate),
        );
        totals.push((containers, mutate + validate));
    }
    if let [(_, one), (_, ten), ..] = totals.as_slice() {
        println!("10 times the containers take {:.1} times as long", ten.as_secs_f64() / one.as_secs_f64());
    }
    if growth(&policy).is_none() {
        println!("gapless injects nothing, so that there is no record");
    }
}
