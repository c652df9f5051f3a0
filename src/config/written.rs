//! The configuration as its author writes it.
//!
//! The comments on types, fields and variants are the descriptions in the JSON
//! Schema that `gapless schema` prints.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalars::{
    Amount, ImageName, ImageTag, LabelKey, NamespaceName, NonEmpty, Percentage, PortName, Text, Whole,
};
use super::schema;
use crate::defaults::{DefaultRule, pre_stop_sleep, readiness_probe, rolling_update, version_label};

/// The longest time that makes sense in any field, in seconds: an hour.
const HOUR: i32 = 3_600;

/// The name of a profile, or `off`.
pub type ProfileName = String;

/// What gapless asks of the workloads in a cluster, in one file. What is not
/// written keeps its default. A changed file takes effect without a restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GaplessConfiguration {
    /// Version of the format of this file.
    pub api_version: ApiVersion,
    /// Kind of this file.
    pub kind: Kind,
    /// Profile of every namespace without a valid label gapless.dev/profile:
    /// production, advisory, development, off, or a key of profiles. Default:
    /// production. false is what some programs make of a bare off.
    #[serde(default)]
    #[schemars(schema_with = "schema::name_or_false")]
    pub default_profile: Option<ProfileName>,
    /// Kinds of workloads that the webhooks judge. Default: [Deployment].
    #[serde(default)]
    #[schemars(schema_with = "schema::workload_kinds")]
    pub workloads: Option<Vec<String>>,
    /// Profiles by name, which is a DNS label. A namespace chooses one with its
    /// label gapless.dev/profile. The built-in profiles production, advisory and
    /// development can be adjusted; what changes production changes advisory.
    /// All others start from the profile that they extend.
    pub profiles: Option<BTreeMap<ProfileName, Profile>>,
    /// Requests that pass unchanged and unjudged. Names must be equal.
    pub exemptions: Option<Exemptions>,
}

/// Version of the format of this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "gapless.dev/v1alpha1")]
    V1Alpha1,
}

/// Kind of this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Kind {
    /// The only one.
    GaplessConfiguration,
}

/// What is asked of the workloads in the namespaces with this profile. What is
/// not written is inherited.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Profile that this one starts from: production, advisory, development, or
    /// a key of profiles. Required, but for the built-in profiles: they start
    /// from themselves. Extending advisory is the way to announce defaults
    /// instead of injecting them.
    pub extends: Option<ProfileName>,
    /// Strictest action of all rules. It has no effect on defaults.
    pub mode: Option<Mode>,
    /// Actions by id of the rule.
    #[serde(default)]
    #[schemars(schema_with = "schema::rules")]
    pub rules: Option<BTreeMap<String, Action>>,
    /// Thresholds of the rules.
    pub settings: Option<Settings>,
    /// What is injected where the user wrote nothing.
    pub defaults: Option<Defaults>,
    /// Whether annotations gapless.dev/waive.ID may waive rules and defaults.
    pub waivers: Option<Waivers>,
}

/// Strictest action of all rules. false is what some programs make of a bare
/// Off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(transform = schema::or_false)]
pub enum Mode {
    /// Findings may deny.
    Enforce,
    /// Findings warn at most.
    Warn,
    /// Findings go to the audit log and the metrics at most.
    Audit,
    /// Nothing is judged.
    #[serde(alias = "off", alias = "false")]
    Off,
}

/// What happens if a rule finds something. false is what some programs make of
/// a bare Off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(transform = schema::or_false)]
pub enum Action {
    /// The request is denied.
    Deny,
    /// The user is shown a warning.
    Warn,
    /// The finding goes to the audit log and the metrics.
    Audit,
    /// The rule is not applied.
    #[serde(alias = "off", alias = "false")]
    Off,
}

/// Whether annotations may waive rules and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Waivers {
    /// They may, with a reason as their value.
    Allowed,
    /// They have no effect, and a warning says so.
    Forbidden,
}

/// Thresholds of the rules.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Share of the replicas that may be down during a rollout without a word
    /// from rollout-capacity-loss.
    pub max_capacity_loss: Option<Percentage>,
    /// Seconds that an application needs between SIGTERM and SIGKILL.
    pub min_drain_seconds: Option<Whole<0, HOUR>>,
    /// Words, as in http-metrics, in the names of ports that serve nobody but
    /// operators. A container with such ports only is not a serving one. The list
    /// replaces the inherited one.
    pub operational_port_names: Option<Vec<Text<PortName>>>,
    /// Names of images, without registry and tag, that carry the traffic of the
    /// container beside them. The list replaces the inherited one.
    pub proxy_images: Option<Vec<Text<ImageName>>>,
    /// Image tags, besides latest, that are moved from one image to the next.
    /// The list replaces the inherited one.
    pub mutable_tags: Option<Vec<Text<ImageTag>>>,
}

/// What is injected where the user wrote nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the summaries of the defaults describe them")]
pub struct Defaults {
    #[schemars(description = summary(&readiness_probe::DEFAULT))]
    pub readiness_probe: Option<ReadinessProbe>,
    #[schemars(description = summary(&pre_stop_sleep::DEFAULT))]
    pub pre_stop_sleep: Option<PreStopSleep>,
    #[schemars(description = summary(&rolling_update::DEFAULT))]
    pub rolling_update: Option<RollingUpdate>,
    #[schemars(description = summary(&version_label::DEFAULT))]
    pub version_label: Option<VersionLabel>,
}

fn summary(default: &DefaultRule) -> &'static str {
    default.summary
}

/// The default readiness-probe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadinessProbe {
    /// Whether it is injected.
    pub enabled: Option<bool>,
    /// Seconds between two probes.
    pub period_seconds: Option<Whole<1, HOUR>>,
    /// Failures in a row after which the pod is not ready.
    pub failure_threshold: Option<Whole<1, 1_000>>,
}

/// The default pre-stop-sleep.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreStopSleep {
    /// Whether it is injected.
    pub enabled: Option<bool>,
    /// Seconds to sleep.
    pub seconds: Option<Whole<1, HOUR>>,
    /// Whether an unset terminationGracePeriodSeconds is raised by as much.
    pub raise_grace_period: Option<bool>,
}

/// The default rolling-update.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollingUpdate {
    /// Whether it is injected.
    pub enabled: Option<bool>,
    /// Value of an unset maxUnavailable: pods, or a percentage of the replicas.
    pub max_unavailable: Option<Amount<100>>,
    /// Value of an unset maxSurge: pods, or a percentage of the replicas.
    pub max_surge: Option<Amount<1_000>>,
    /// Value of an unset minReadySeconds where nothing probes the pods. 0 leaves
    /// it unset.
    pub min_ready_seconds: Option<Whole<0, HOUR>>,
    /// Whether a value that equals the API server's default counts as unset
    /// where nobody provably wrote it.
    pub replace_api_defaults: Option<bool>,
}

/// The default version-label.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionLabel {
    /// Whether it is injected.
    pub enabled: Option<bool>,
    /// Keys of the labels. The list replaces the inherited one.
    #[schemars(length(min = 1))]
    pub keys: Option<Vec<Text<LabelKey>>>,
}

/// Requests that pass unchanged and unjudged. Names must be equal.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemptions {
    /// Users, such as system:serviceaccount:flux-system:kustomize-controller.
    pub usernames: Option<Vec<Text<NonEmpty>>>,
    /// Groups of users, such as system:masters.
    pub groups: Option<Vec<Text<NonEmpty>>>,
    /// Namespaces.
    pub namespaces: Option<Vec<Text<NamespaceName>>>,
}
