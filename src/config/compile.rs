//! From the configuration as written to the [`Policy`].

use std::collections::{BTreeMap, BTreeSet};

use super::scalars::{Amount, Text, Whole};
use super::written::{self, GaplessConfiguration, ProfileName};
use crate::defaults::{DEFAULTS, rolling_update, version_label};
use crate::finding::Action;
use crate::kubernetes::kind::Kind;
use crate::names::is_dns_label;
use crate::nearest::nearest;
use crate::policy::{Exemptions, Mode, Policy, Profile, Waivers};
use crate::rules::RULES;
use crate::settings::{
    PreStopSleepSettings, ReadinessProbeSettings, RollingUpdateSettings, Settings, VersionLabelSettings,
};

/// The profiles that there are without any configuration, each after those
/// that it starts from.
const BUILT_IN: [&str; 3] = ["production", "advisory", "development"];

/// The profile of namespaces without a label, if nothing else is written.
pub const DEFAULT_PROFILE: &str = BUILT_IN[0];

/// A field whose value is well-formed and yet wrong.
#[derive(Debug, PartialEq)]
pub struct Mistake {
    /// The path of the field, such as `profiles.payments.extends`.
    pub field: String,
    /// What was found, and what to write instead.
    pub message: String,
}

impl Mistake {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Mistake { field: field.into(), message: message.into() }
    }
}

type Profiles = BTreeMap<ProfileName, written::Profile>;

/// The policy that the configuration describes.
///
/// # Errors
/// The first mistake.
pub fn compile(written: &GaplessConfiguration) -> Result<Policy, Mistake> {
    let workloads = written.workloads.as_deref().map(workloads).transpose()?;
    let none = Profiles::new();
    let profiles = compile_profiles(written.profiles.as_ref().unwrap_or(&none))?;
    let default_profile = match written.default_profile.as_deref() {
        None => DEFAULT_PROFILE,
        Some(name) if is_off(name) => Policy::OFF,
        Some(name) if profiles.contains_key(name) => name,
        Some(name) => {
            let known = profiles.keys().map(String::as_str).chain([Policy::OFF]);
            return Err(Mistake::new("defaultProfile", unknown_profile(name, known)));
        }
    };
    let exemptions = written.exemptions.as_ref().map(exemptions).unwrap_or_default();
    Policy::of(profiles.into_values(), default_profile, exemptions)
        .map(|policy| match workloads {
            Some(workloads) => policy.with_workloads(workloads),
            None => policy,
        })
        .map_err(|error| Mistake::new("defaultProfile", error.to_string()))
}

/// The kinds of workloads that are written there.
fn workloads(written: &[String]) -> Result<BTreeSet<Kind>, Mistake> {
    let known = || Kind::ALL.into_iter().map(Kind::name);
    let kind = |(index, name): (usize, &String)| {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let message = match nearest(name, known()) {
                Some(nearest) => format!("gapless does not judge {name:?}; did you mean {nearest}?"),
                None => format!("gapless does not judge {name:?}; write some of: {}", list(known())),
            };
            Mistake::new(format!("workloads[{index}]"), message)
        })
    };
    if written.is_empty() {
        return Err(Mistake::new("workloads", format!("it is empty; write some of: {}", list(known()))));
    }
    written.iter().enumerate().map(kind).collect()
}

/// Whether a name means the profile `off`. YAML 1.1 makes `false` of a bare
/// `off`, and programs that read and write the file pass that on.
fn is_off(name: &str) -> bool {
    name.eq_ignore_ascii_case(Policy::OFF) || name == "false"
}

fn unknown_profile<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("there is no profile {name:?}; did you mean {nearest}?"),
        None => format!("there is no profile {name:?}; write one of: {}", list(known.into_iter())),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn compile_profiles(written: &Profiles) -> Result<BTreeMap<String, Profile>, Mistake> {
    written.keys().try_for_each(|name| check_name(name))?;
    let mut compiled = built_in(written)?;
    for name in written.keys() {
        // Those that it starts from come first.
        for (name, parent) in ancestry(name, written, &compiled)?.into_iter().rev() {
            if let (Some(parent), Some(adjustments)) = (compiled.get(parent), written.get(name)) {
                let mut profile = parent.clone();
                profile.name = name.to_owned();
                let profile = adjusted(profile, adjustments, &format!("profiles.{name}"))?;
                compiled.insert(name.to_owned(), profile);
            }
        }
    }
    Ok(compiled)
}

fn check_name(name: &str) -> Result<(), Mistake> {
    let field = || format!("profiles.{name}");
    if name == Policy::OFF {
        let message = "off is the profile under which nothing is judged or injected, and cannot be changed; \
                       choose another name";
        return Err(Mistake::new(field(), message));
    }
    if name == "true" || name == "false" {
        let message = format!(
            "{name} is what YAML makes of a bare word such as on, off, yes or no; choose another name"
        );
        return Err(Mistake::new(field(), message));
    }
    if !is_dns_label(name) {
        let message = format!(
            "{name:?} cannot be the name of a profile; write at most 63 of a-z, 0-9 and '-', with a letter or \
             digit at both ends"
        );
        return Err(Mistake::new(field(), message));
    }
    Ok(())
}

/// The built-in profiles, with what is written about them.
fn built_in(written: &Profiles) -> Result<BTreeMap<String, Profile>, Mistake> {
    let mut compiled = BTreeMap::new();
    let mut production = Profile::production();
    for name in BUILT_IN {
        let mut profile = match name {
            "advisory" => production.clone().into_advisory(),
            "development" => Profile::development(),
            _ => production.clone(),
        };
        if let Some(adjustments) = written.get(name) {
            let field = format!("profiles.{name}");
            if adjustments.extends.is_some() {
                let message = format!(
                    "{name} is built in and starts from itself; remove extends, or choose another name"
                );
                return Err(Mistake::new(format!("{field}.extends"), message));
            }
            profile = adjusted(profile, adjustments, &field)?;
        }
        if name == "production" {
            production = profile.clone();
        }
        compiled.insert(name.to_owned(), profile);
    }
    Ok(compiled)
}

/// This profile and all that it starts from, up to one that is compiled, each
/// with its parent.
fn ancestry<'w>(
    name: &'w str,
    written: &'w Profiles,
    compiled: &BTreeMap<String, Profile>,
) -> Result<Vec<(&'w str, &'w str)>, Mistake> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut name = name;
    while !compiled.contains_key(name) {
        seen.insert(name);
        let parent = parent(name, written)?;
        chain.push((name, parent));
        if seen.contains(parent) {
            return Err(cycle(name, parent, &chain));
        }
        name = parent;
    }
    Ok(chain)
}

/// The profile that this one extends.
fn parent<'w>(name: &str, written: &'w Profiles) -> Result<&'w str, Mistake> {
    let parent = written.get(name).and_then(|profile| profile.extends.as_deref());
    let known = || {
        let written = written.keys().map(String::as_str);
        BUILT_IN.into_iter().chain(written.filter(|it| *it != name && !BUILT_IN.contains(it)))
    };
    match parent {
        None => Err(Mistake::new(
            format!("profiles.{name}"),
            format!("the field \"extends\" is missing; write one of: {}", list(known())),
        )),
        Some(off) if is_off(off) => Err(Mistake::new(
            format!("profiles.{name}.extends"),
            format!("there is nothing to start from in off; write one of: {}", list(known())),
        )),
        Some(parent) if BUILT_IN.contains(&parent) || written.contains_key(parent) => Ok(parent),
        Some(parent) => {
            Err(Mistake::new(format!("profiles.{name}.extends"), unknown_profile(parent, known())))
        }
    }
}

fn cycle(name: &str, parent: &str, chain: &[(&str, &str)]) -> Mistake {
    let links = chain.iter().map(|(name, _)| *name).skip_while(|link| *link != parent).chain([parent]);
    let links: Vec<&str> = links.collect();
    let message = format!(
        "the profiles extend each other: {}; let one of them extend {}",
        links.join(" -> "),
        BUILT_IN.join(" or ")
    );
    Mistake::new(format!("profiles.{name}.extends"), message)
}

/// The profile with what is written about it. `field` is the path of that.
fn adjusted(mut profile: Profile, written: &written::Profile, field: &str) -> Result<Profile, Mistake> {
    set(&mut profile.mode, written.mode.map(Mode::from));
    set(&mut profile.waivers, written.waivers.map(Waivers::from));
    for (id, action) in written.rules.iter().flatten() {
        let rule = RULES.iter().find(|rule| rule.id == id);
        let rule = rule.ok_or_else(|| Mistake::new(format!("{field}.rules.{id}"), unknown_rule(id)))?;
        profile.set_action(rule, Action::from(*action));
    }
    if let Some(written) = &written.settings {
        adjust_thresholds(&mut profile.settings, written);
    }
    if let Some(written) = &written.defaults {
        adjust_defaults(&mut profile.settings, written, &format!("{field}.defaults"))?;
    }
    Ok(profile)
}

fn unknown_rule(id: &str) -> String {
    if DEFAULTS.iter().any(|default| default.id == id) {
        return format!(
            "{id} is no rule but a default; to switch it off, write under defaults: {id}: {{enabled: false}}"
        );
    }
    match nearest(id, RULES.iter().map(|rule| rule.id)) {
        Some(nearest) => format!("there is no rule {id:?}; did you mean {nearest}?"),
        None => format!("there is no rule {id:?}; gapless rules lists them"),
    }
}

fn adjust_thresholds(settings: &mut Settings, written: &written::Settings) {
    set(&mut settings.max_capacity_loss_percent, written.max_capacity_loss.map(|it| it.get().into()));
    set(&mut settings.min_drain_seconds, written.min_drain_seconds.map(|it| it.get().into()));
    set(&mut settings.operational_port_names, written.operational_port_names.as_deref().map(texts));
    set(&mut settings.proxy_images, written.proxy_images.as_deref().map(texts));
    set(&mut settings.mutable_tags, written.mutable_tags.as_deref().map(texts));
}

fn adjust_defaults(settings: &mut Settings, written: &written::Defaults, field: &str) -> Result<(), Mistake> {
    if let Some(written) = &written.readiness_probe {
        adjust_readiness_probe(&mut settings.readiness_probe, written);
    }
    if let Some(written) = &written.pre_stop_sleep {
        adjust_pre_stop_sleep(&mut settings.pre_stop_sleep, written);
    }
    if let Some(written) = &written.rolling_update {
        let field = format!("{field}.{}", rolling_update::ID);
        adjust_rolling_update(&mut settings.rolling_update, written, &field)?;
    }
    if let Some(written) = &written.version_label {
        let field = format!("{field}.{}", version_label::ID);
        adjust_version_label(&mut settings.version_label, written, &field)?;
    }
    Ok(())
}

fn adjust_readiness_probe(settings: &mut ReadinessProbeSettings, written: &written::ReadinessProbe) {
    set(&mut settings.enabled, written.enabled);
    set(&mut settings.period_seconds, written.period_seconds.map(Whole::get));
    set(&mut settings.failure_threshold, written.failure_threshold.map(Whole::get));
}

fn adjust_pre_stop_sleep(settings: &mut PreStopSleepSettings, written: &written::PreStopSleep) {
    set(&mut settings.enabled, written.enabled);
    set(&mut settings.seconds, written.seconds.map(|it| it.get().unsigned_abs()));
    set(&mut settings.raise_grace_period, written.raise_grace_period);
}

fn adjust_rolling_update(
    settings: &mut RollingUpdateSettings,
    written: &written::RollingUpdate,
    field: &str,
) -> Result<(), Mistake> {
    set(&mut settings.enabled, written.enabled);
    set(&mut settings.max_unavailable, written.max_unavailable.map(Amount::get));
    set(&mut settings.max_surge, written.max_surge.map(Amount::get));
    set(&mut settings.min_ready_seconds, written.min_ready_seconds.map(Whole::get));
    set(&mut settings.replace_api_defaults, written.replace_api_defaults);
    if settings.max_unavailable.is_zero() && settings.max_surge.is_zero() {
        let (changed, other) = match written.max_surge {
            Some(_) => ("maxSurge", "maxUnavailable"),
            None => ("maxUnavailable", "maxSurge"),
        };
        let message = format!(
            "{other} is 0 here too, and the API server rejects a rolling update that may neither add a pod nor \
             remove one; write 1 or more for one of them"
        );
        return Err(Mistake::new(format!("{field}.{changed}"), message));
    }
    Ok(())
}

fn adjust_version_label(
    settings: &mut VersionLabelSettings,
    written: &written::VersionLabel,
    field: &str,
) -> Result<(), Mistake> {
    set(&mut settings.enabled, written.enabled);
    set(&mut settings.keys, written.keys.as_deref().map(texts));
    if settings.keys.is_empty() {
        let message = "there is no key; write one or more, or enabled: false to inject no labels";
        return Err(Mistake::new(format!("{field}.keys"), message));
    }
    Ok(())
}

fn exemptions(written: &written::Exemptions) -> Exemptions {
    let set = |texts: &Option<Vec<_>>| texts.iter().flatten().map(text).collect();
    Exemptions {
        usernames: set(&written.usernames),
        groups: set(&written.groups),
        namespaces: written.namespaces.iter().flatten().map(text).collect(),
    }
}

/// Overwrites `value` with what is written, if anything is.
fn set<T>(value: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *value = written;
    }
}

fn texts<F>(texts: &[Text<F>]) -> Vec<String> {
    texts.iter().map(text).collect()
}

fn text<F>(text: &Text<F>) -> String {
    text.as_str().to_owned()
}

impl From<written::Mode> for Mode {
    fn from(written: written::Mode) -> Self {
        match written {
            written::Mode::Enforce => Mode::Enforce,
            written::Mode::Warn => Mode::Warn,
            written::Mode::Audit => Mode::Audit,
            written::Mode::Off => Mode::Off,
        }
    }
}

impl From<written::Action> for Action {
    fn from(written: written::Action) -> Self {
        match written {
            written::Action::Deny => Action::Deny,
            written::Action::Warn => Action::Warn,
            written::Action::Audit => Action::Audit,
            written::Action::Off => Action::Off,
        }
    }
}

impl From<written::Waivers> for Waivers {
    fn from(written: written::Waivers) -> Self {
        match written {
            written::Waivers::Allowed => Waivers::Allowed,
            written::Waivers::Forbidden => Waivers::Forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::int_or_string::Amount;
    use crate::policy::InjectionMode;

    #[track_caller]
    fn policy(rest: &str) -> Policy {
        let text = format!("apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n{rest}");
        super::super::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
    }

    fn action(policy: &Policy, profile: &str, rule: &str) -> Action {
        let rule = RULES.iter().find(|it| it.id == rule).unwrap();
        policy.profile(profile).unwrap().action(rule)
    }

    /// Everything that a profile says, without its name.
    fn content(profile: &Profile) -> String {
        let mut profile = profile.clone();
        profile.name.clear();
        format!("{profile:?}")
    }

    #[test]
    fn nothing_written_is_the_built_in_policy() {
        let (policy, built_in) = (policy(""), Policy::new("production").unwrap());
        assert_eq!(format!("{policy:?}"), format!("{built_in:?}"));
    }

    #[test]
    fn every_field_is_understood() {
        let policy = policy(
            "defaultProfile: payments
workloads: [Deployment]
profiles:
  payments:
    extends: production
    mode: Warn
    rules:
      single-replica: Deny
      shell-sleep: Off
    settings:
      max-capacity-loss: 10%
      min-drain-seconds: 7
      operational-port-names: [admin, metrics]
      proxy-images: [pgbouncer, my-proxy]
      mutable-tags: [latest, edge]
    defaults:
      readiness-probe: {enabled: false, periodSeconds: 6, failureThreshold: 4}
      pre-stop-sleep: {enabled: false, seconds: 11, raiseGracePeriod: false}
      rolling-update: {enabled: false, maxUnavailable: 1, maxSurge: 50%, minReadySeconds: 12, replaceApiDefaults: false}
      version-label: {enabled: false, keys: [example.com/version]}
    waivers: Forbidden
exemptions:
  usernames: [jane]
  groups: [system:masters]
  namespaces: [flux-system]
",
        );
        let profile = policy.default_profile().unwrap();
        assert_eq!((profile.name.as_str(), profile.mode), ("payments", Mode::Warn));
        assert_eq!((profile.waivers, profile.injection), (Waivers::Forbidden, InjectionMode::Inject));
        let expected = Settings {
            max_capacity_loss_percent: 10,
            min_drain_seconds: 7,
            operational_port_names: vec!["admin".into(), "metrics".into()],
            proxy_images: vec!["pgbouncer".into(), "my-proxy".into()],
            mutable_tags: vec!["latest".into(), "edge".into()],
            readiness_probe: ReadinessProbeSettings {
                enabled: false,
                period_seconds: 6,
                failure_threshold: 4,
            },
            pre_stop_sleep: PreStopSleepSettings { enabled: false, seconds: 11, raise_grace_period: false },
            rolling_update: RollingUpdateSettings {
                enabled: false,
                max_unavailable: Amount::Count(1),
                max_surge: Amount::Percent(50),
                min_ready_seconds: 12,
                replace_api_defaults: false,
            },
            version_label: VersionLabelSettings { enabled: false, keys: vec!["example.com/version".into()] },
        };
        assert_eq!(format!("{:?}", profile.settings), format!("{expected:?}"));
        // Raised as far as the mode allows, switched off, and inherited.
        assert_eq!(action(&policy, "payments", "single-replica"), Action::Warn);
        assert_eq!(action(&policy, "payments", "shell-sleep"), Action::Off);
        assert_eq!(action(&policy, "payments", "slow-readiness"), Action::Warn);
        assert_eq!(action(&policy, "production", "single-replica"), Action::Warn);
        assert_eq!(action(&policy, "production", "shell-sleep"), Action::Audit);
        let exemptions = policy.exemptions();
        assert!(exemptions.is_user_exempt("jane", &[]));
        assert!(exemptions.is_user_exempt("joe", &["a".into(), "system:masters".into()]));
        assert!(!exemptions.is_user_exempt("jane2", &["system".into()]));
        assert!(exemptions.is_namespace_exempt("flux-system"));
        assert!(!exemptions.is_namespace_exempt("flux"));
    }

    #[test]
    fn the_mode_caps_what_the_rules_say_and_nothing_else() {
        for (mode, expected) in [
            ("Enforce", Action::Deny),
            ("Warn", Action::Warn),
            ("Audit", Action::Audit),
            ("Off", Action::Off),
            ("off", Action::Off),
            ("false", Action::Off),
        ] {
            let policy = policy(&format!("profiles: {{production: {{mode: {mode}}}}}"));
            assert_eq!(action(&policy, "production", "recreate-strategy"), expected, "{mode}");
            let production = policy.profile("production").unwrap();
            assert_eq!(production.injection, InjectionMode::Inject);
            assert_eq!(format!("{:?}", production.settings), format!("{:?}", Settings::default()));
        }
    }

    #[test]
    fn off_may_have_become_false() {
        for off in ["Off", "off", "\"Off\"", "'off'", "false"] {
            let policy = policy(&format!("profiles: {{production: {{rules: {{single-replica: {off}}}}}}}"));
            assert_eq!(action(&policy, "production", "single-replica"), Action::Off, "{off}");
        }
    }

    #[test]
    fn profiles_inherit_over_many_steps_in_any_order() {
        let policy = policy(
            "profiles:
  a: {extends: c, waivers: Forbidden}
  b: {extends: production, rules: {single-replica: Deny}, settings: {mutable-tags: [edge]}}
  c: {extends: b, rules: {single-replica: Audit}, defaults: {pre-stop-sleep: {seconds: 20}}}
  d: {extends: a}
  production: {settings: {min-drain-seconds: 9}}
",
        );
        let of = |name: &str| policy.profile(name).unwrap();
        assert_eq!(action(&policy, "b", "single-replica"), Action::Deny);
        assert_eq!(action(&policy, "c", "single-replica"), Action::Audit);
        assert_eq!(of("c").waivers, Waivers::Allowed);
        assert_eq!(of("a").waivers, Waivers::Forbidden);
        assert_eq!(of("a").settings.pre_stop_sleep.seconds, 20);
        assert!(of("a").settings.pre_stop_sleep.raise_grace_period, "what is beside it is inherited");
        assert_eq!(of("a").settings.mutable_tags, ["edge"]);
        assert_eq!(of("a").settings.min_drain_seconds, 9);
        assert_eq!(content(of("d")), content(of("a")));
        assert_eq!(of("d").name, "d");
        let names: Vec<_> = policy.profile_names().collect();
        assert_eq!(names, ["a", "advisory", "b", "c", "d", "development", "production"]);
    }

    #[test]
    fn advisory_follows_production_and_goes_on_to_its_heirs() {
        let policy = policy(
            "profiles:
  production: {rules: {single-replica: Deny, shell-sleep: Off}, defaults: {pre-stop-sleep: {seconds: 20}}}
  careful: {extends: advisory, mode: Enforce}
  tolerant: {extends: development}
",
        );
        let advisory = policy.profile("advisory").unwrap();
        assert_eq!((advisory.mode, advisory.injection), (Mode::Warn, InjectionMode::Announce));
        assert_eq!(action(&policy, "advisory", "single-replica"), Action::Warn);
        assert_eq!(action(&policy, "advisory", "shell-sleep"), Action::Off);
        assert_eq!(advisory.settings.pre_stop_sleep.seconds, 20);
        let careful = policy.profile("careful").unwrap();
        assert_eq!(careful.injection, InjectionMode::Announce);
        assert_eq!(action(&policy, "careful", "single-replica"), Action::Deny, "the cap is lifted");
        let tolerant = policy.profile("tolerant").unwrap();
        assert_eq!(content(tolerant), content(&Profile::development()));

        let muted = super::tests::policy("profiles: {production: {mode: Audit}}");
        assert_eq!(action(&muted, "advisory", "recreate-strategy"), Action::Audit, "never stricter");
    }

    #[test]
    fn every_default_can_be_configured() {
        for default in DEFAULTS {
            let policy = policy(&format!(
                "profiles: {{production: {{defaults: {{{}: {{enabled: false}}}}}}}}",
                default.id
            ));
            let enabled: Vec<_> = DEFAULTS
                .iter()
                .filter(|it| (it.is_enabled)(&policy.profile("production").unwrap().settings))
                .map(|it| it.id)
                .collect();
            let others: Vec<_> = DEFAULTS.iter().map(|it| it.id).filter(|id| *id != default.id).collect();
            assert_eq!(enabled, others);
        }
    }

    #[test]
    fn a_rolling_update_without_surge_removes_pods_first() {
        let policy =
            policy("profiles: {production: {defaults: {rolling-update: {maxSurge: 0, maxUnavailable: 1}}}}");
        let rolling_update = &policy.profile("production").unwrap().settings.rolling_update;
        assert_eq!(rolling_update.max_surge, Amount::Count(0));
        assert_eq!(rolling_update.max_unavailable, Amount::Count(1));
    }
}
