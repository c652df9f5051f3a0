//! The file from which the chart puts the same policies together: Helm cannot run gapless.

use serde_json::{Map, Value, json};

use super::{gates, validation, variables};
use crate::policy::{Mode, Profile, Waivers};

/// What all policies have in common, and the built-in profiles from which others start, in
/// the words of the configuration.
pub fn file() -> Value {
    let variables: Vec<Value> = variables::all()
        .into_iter()
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .collect();
    let profiles = [Profile::production(), Profile::development()];
    let profiles: Map<String, Value> =
        profiles.iter().map(|profile| (profile.name.clone(), written(profile))).collect();
    json!({
        "matchConditions": gates(),
        "profiles": profiles,
        "validations": [validation()],
        "variables": variables,
    })
}

/// A profile as its author would write it, as far as policies hang on it.
fn written(profile: &Profile) -> Value {
    let actions: Map<String, Value> =
        variables::rules().map(|rule| (rule.id.to_owned(), json!(profile.action(rule)))).collect();
    let sleep = &profile.settings.pre_stop_sleep;
    json!({
        "mode": match profile.mode {
            Mode::Enforce => "Enforce",
            Mode::Warn => "Warn",
            Mode::Audit => "Audit",
            Mode::Off => "Off",
        },
        "waivers": match profile.waivers {
            Waivers::Allowed => "Allowed",
            Waivers::Forbidden => "Forbidden",
        },
        "rules": actions,
        "settings": {
            "operational-port-names": profile.settings.operational_port_names,
            "mutable-tags": profile.settings.mutable_tags,
        },
        "defaults": {"pre-stop-sleep": {
            "enabled": sleep.enabled,
            "seconds": sleep.seconds,
            "raiseGracePeriod": sleep.raise_grace_period,
        }},
    })
}
