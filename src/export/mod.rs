//! The Deny rules as policies that the API server evaluates by itself, for when gapless does
//! not answer: ValidatingAdmissionPolicies, one with its binding for each profile that denies.
//!
//! What differs between profiles is in a handful of variables at the top of a policy, and in
//! whom it selects; all else is the same text. So the chart can put the same policies
//! together: [`chart`] is the file that it reads.

pub mod chart;
pub mod manifests;
mod variables;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::finding::Action;
use crate::kubernetes::kind::Kind;
use crate::policy::{Exemptions, NAME_LABEL, PROFILE_LABEL, Policy, Profile, SYSTEM_NAMESPACES, Waivers};
use crate::rules::{RULES, Rule};

/// The group and version of the documents.
pub const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// The kinds that a policy judges. An API server does not know what is right in a Rollout:
/// only its controller does, and gapless.
const KINDS: [Kind; 3] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];

/// A sleep of a user may make the grace period so much longer, whatever the profile says of
/// its own.
const LONGEST_SLEEP_OF_USERS: u32 = 30;

/// How the documents get to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Through the API, as with `kubectl apply`.
    Api,
    /// As files that it reads when it starts.
    Static,
}

/// A part of the configuration that the policies leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Omission {
    /// No profile denies.
    NothingDenies,
    /// This profile denies by rules that have no form in CEL.
    Rules(String, Vec<&'static str>),
    /// The policies do not judge this kind.
    Kind(Kind),
}

/// The policies and bindings of all profiles that deny, by name.
pub fn documents(policy: &Policy, form: Form) -> Vec<Value> {
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|kind| policy.judges(*kind)).collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let denying = denying(policy).filter(|profile| !denies(profile).is_empty());
    denying.flat_map(|profile| of_profile(policy, profile, &kinds, form)).collect()
}

/// What the policies leave out.
pub fn omissions(policy: &Policy) -> Vec<Omission> {
    let mut omissions = Vec::new();
    if documents(policy, Form::Api).is_empty() {
        omissions.push(Omission::NothingDenies);
    }
    for profile in denying(policy) {
        let is_missing = |rule: &&Rule| rule.cel.is_none() && profile.action(rule) == Action::Deny;
        let missing: Vec<&str> = RULES.iter().filter(is_missing).map(|rule| rule.id).collect();
        if !missing.is_empty() {
            omissions.push(Omission::Rules(profile.name.clone(), missing));
        }
    }
    let judged = Kind::ALL.into_iter().filter(|kind| policy.judges(*kind));
    omissions.extend(judged.filter(|kind| !KINDS.contains(kind)).map(Omission::Kind));
    omissions
}

/// The profiles that deny by some rule.
fn denying(policy: &Policy) -> impl Iterator<Item = &Profile> {
    let profiles = policy.profile_names().filter_map(|name| policy.profile(name));
    profiles.filter(|profile| RULES.iter().any(|rule| profile.action(rule) == Action::Deny))
}

/// The rules by which a profile denies, of those that have a form in CEL, by id.
fn denies(profile: &Profile) -> Vec<&'static str> {
    let denying = variables::rules().filter(|rule| profile.action(rule) == Action::Deny);
    let mut ids: Vec<&str> = denying.map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids
}

fn of_profile(policy: &Policy, profile: &Profile, kinds: &[Kind], form: Form) -> [Value; 2] {
    let name = match form {
        Form::Api => format!("{}.gapless.dev", profile.name),
        Form::Static => format!("{}.gapless{STATIC_SUFFIX}", profile.name),
    };
    let variables = of_settings(profile).into_iter().chain(variables::all());
    let variables: Vec<Value> =
        variables.map(|(name, expression)| json!({"name": name, "expression": expression})).collect();
    let resources: Vec<&str> = kinds.iter().map(|kind| kind.resource()).collect();
    let spec = json!({
        "failurePolicy": "Ignore",
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": namespace_selector(policy, profile),
            "resourceRules": [{
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": resources,
                "scope": "Namespaced",
            }],
        },
        "matchConditions": match_conditions(policy.exemptions()),
        "variables": variables,
        "validations": [validation()],
    });
    let metadata = json!({"name": name});
    [
        json!({
            "apiVersion": API_VERSION,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": spec,
        }),
        json!({
            "apiVersion": API_VERSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }),
    ]
}

/// What the name of a policy in a file ends in.
pub const STATIC_SUFFIX: &str = ".static.k8s.io";

/// Which namespaces have this profile, as the chart's webhooks tell it: a missing or
/// misspelt label means the default one.
fn namespace_selector(policy: &Policy, profile: &Profile) -> Value {
    let is_default = policy.default_profile().is_some_and(|default| default.name == profile.name);
    let label = match is_default {
        true => {
            let mut others: Vec<&str> = policy.profile_names().filter(|name| *name != profile.name).collect();
            others.push(Policy::OFF);
            others.sort_unstable();
            json!({"key": PROFILE_LABEL, "operator": "NotIn", "values": others})
        }
        false => json!({"key": PROFILE_LABEL, "operator": "In", "values": [profile.name]}),
    };
    let mut excluded = SYSTEM_NAMESPACES;
    excluded.sort_unstable();
    let names = json!({"key": NAME_LABEL, "operator": "NotIn", "values": excluded});
    json!({"matchExpressions": [label, names]})
}

/// The gates of a review, and who is exempt.
fn match_conditions(exemptions: &Exemptions) -> Vec<Value> {
    let list = |names: &BTreeSet<String>| json!(names).to_string();
    let exempt = format!(
        "!(request.namespace in {}) && !(request.userInfo.username in {})\n\
         && !dyn(request).userInfo.?groups.orValue([]).exists(group, group in {})",
        list(&exemptions.namespaces),
        list(&exemptions.usernames),
        list(&exemptions.groups),
    );
    let mut conditions = gates();
    conditions.push(json!({"name": "not-exempt", "expression": exempt}));
    conditions
}

/// An object that goes is let go, and one that belongs to a controller is not its author's.
fn gates() -> Vec<Value> {
    vec![
        json!({"name": "not-being-deleted", "expression": "!has(object.metadata.deletionTimestamp)"}),
        json!({
            "name": "not-owned",
            "expression": "!dyn(object).metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false))",
        }),
    ]
}

/// What a profile says, as variables.
fn of_settings(profile: &Profile) -> [variables::Variable; 5] {
    let settings = &profile.settings;
    let sleep = &settings.pre_stop_sleep;
    let added = match sleep.enabled && sleep.raise_grace_period {
        true => sleep.seconds.max(LONGEST_SLEEP_OF_USERS),
        false => 0,
    };
    [
        ("denies", json!(denies(profile))),
        ("honoursWaivers", json!(profile.waivers == Waivers::Allowed)),
        ("operationalPortNames", json!(settings.operational_port_names)),
        ("mutableTags", json!(settings.mutable_tags)),
        ("addedGraceSeconds", json!(added)),
    ]
    // A list of texts in JSON is one in CEL.
    .map(|(name, value)| (name.to_owned(), value.to_string()))
}

/// One validation, because an API server shows only the first that fails.
fn validation() -> Value {
    let message = "variables.findings.join('; ')
+ ' (judged by the API server alone, which knows no autoscaler and no earlier revision; '
+ (variables.honoursWaivers
  ? 'to accept one: annotate with gapless.dev/waive.<rule>: <reason>'
  : 'waivers are forbidden here')
+ (variables.isUpdate ? '; to go back: kubectl rollout undo)' : ')')";
    json!({
        "expression": "variables.findings.size() == 0",
        "messageExpression": message,
        "message": "a rule of gapless denies this: gapless check FILE says which",
        "reason": "Forbidden",
    })
}
