//! What is asked of workloads: a policy, compiled and ready to be applied.
//!
//! The configuration file, as its author writes it, is in [`crate::config`].

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Action;
use crate::kubernetes::kind::Kind;
use crate::rules::{RULES, Rule};
use crate::settings::Settings;

/// The label of a namespace that names its profile.
pub const PROFILE_LABEL: &str = "gapless.dev/profile";

/// The label by which the chart leaves namespaces out. The API server sees to it that
/// each has it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespaces of Kubernetes itself, which the chart leaves out by default.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// All profiles, which one applies where nothing is said, and who is exempt.
#[derive(Clone, Debug)]
pub struct Policy {
    default_profile: String,
    profiles: BTreeMap<String, Profile>,
    exemptions: Exemptions,
    workloads: BTreeSet<Kind>,
}

/// Whose requests pass unchanged and unjudged. Names have to be equal.
#[derive(Clone, Debug, Default)]
pub struct Exemptions {
    /// Names of users.
    pub usernames: BTreeSet<String>,
    /// Groups of users.
    pub groups: BTreeSet<String>,
    /// Names of namespaces.
    pub namespaces: BTreeSet<String>,
}

/// What is asked of the workloads of one kind of namespace.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name, as in the namespace label `gapless.dev/profile`.
    pub name: String,
    /// The strictest action that any finding may have.
    pub mode: Mode,
    /// Whether defaults are injected or only announced.
    pub injection: InjectionMode,
    /// Whether users may waive rules and defaults by annotation.
    pub waivers: Waivers,
    /// Thresholds of the rules, and values of the defaults.
    pub settings: Settings,
    actions: BTreeMap<&'static str, Action>,
}

/// The strictest action that a profile takes. Ordered from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing is judged.
    Off,
    /// Findings go to the audit log and the metrics at most.
    Audit,
    /// Findings warn at most.
    Warn,
    /// Findings may deny.
    Enforce,
}

/// What happens with the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectionMode {
    /// They are injected.
    Inject,
    /// A warning says what would be injected.
    Announce,
}

/// Whether annotations may waive rules and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waivers {
    /// They may.
    Allowed,
    /// They are ignored, and a warning says so.
    Forbidden,
}

/// The kinds that the webhooks judge if nobody says which.
fn default_workloads() -> BTreeSet<Kind> {
    BTreeSet::from([Kind::Deployment])
}

impl Policy {
    /// The name of the profile under which nothing is judged or injected.
    pub const OFF: &str = "off";

    /// The built-in profiles, with `default_profile` where nothing is said.
    ///
    /// # Errors
    /// If there is no such profile; the error lists those that exist.
    pub fn new(default_profile: &str) -> Result<Self, UnknownProfile> {
        let built_in = [Profile::production(), Profile::advisory(), Profile::development()];
        Policy::of(built_in, default_profile, Exemptions::default())
    }

    /// These profiles, with `default_profile` where nothing is said.
    ///
    /// # Errors
    /// If there is no such profile; the error lists those that exist.
    pub fn of(
        profiles: impl IntoIterator<Item = Profile>,
        default_profile: &str,
        exemptions: Exemptions,
    ) -> Result<Self, UnknownProfile> {
        let profiles: BTreeMap<_, _> =
            profiles.into_iter().map(|profile| (profile.name.clone(), profile)).collect();
        if default_profile != Policy::OFF && !profiles.contains_key(default_profile) {
            return Err(UnknownProfile {
                name: default_profile.to_owned(),
                known: profiles.into_keys().chain([Policy::OFF.to_owned()]).collect(),
            });
        }
        let workloads = default_workloads();
        Ok(Policy { default_profile: default_profile.to_owned(), profiles, exemptions, workloads })
    }

    /// A policy of one profile, which applies everywhere.
    pub fn with_profile(profile: Profile) -> Self {
        Policy {
            default_profile: profile.name.clone(),
            profiles: BTreeMap::from([(profile.name.clone(), profile)]),
            exemptions: Exemptions::default(),
            workloads: default_workloads(),
        }
    }

    /// The same, whose webhooks judge these kinds.
    pub fn with_workloads(self, workloads: impl IntoIterator<Item = Kind>) -> Self {
        Policy { workloads: workloads.into_iter().collect(), ..self }
    }

    /// Whether the webhooks judge this kind.
    pub fn judges(&self, kind: Kind) -> bool {
        self.workloads.contains(&kind)
    }

    /// The profile that applies where nothing is said; `None` for `off`.
    pub fn default_profile(&self) -> Option<&Profile> {
        self.profiles.get(&self.default_profile)
    }

    /// The profile in force where this one is asked for, by a path or by the label of a
    /// namespace. A name that does not exist is never a way out: after an upgrade of the
    /// chart the API server asks for a new profile before every replica has read about it,
    /// and no call may be lost to that.
    pub fn resolve(&self, asked: Option<&str>) -> Resolved<'_> {
        let default = Resolved { profile: self.default_profile(), is_unknown: false };
        match asked {
            None => default,
            Some(Policy::OFF) => Resolved { profile: None, is_unknown: false },
            Some(name) => match self.profile(name) {
                Some(profile) => Resolved { profile: Some(profile), is_unknown: false },
                None => Resolved { is_unknown: true, ..default },
            },
        }
    }

    /// The profile of this name.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// The names of all profiles that judge, in alphabetical order.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// Whose requests pass unchanged and unjudged.
    pub fn exemptions(&self) -> &Exemptions {
        &self.exemptions
    }
}

/// What became of a profile that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Resolved<'p> {
    /// The profile in force; `None` for `off`.
    pub profile: Option<&'p Profile>,
    /// Whether there is none of that name, so that it is the default one.
    pub is_unknown: bool,
}

impl<'p> Resolved<'p> {
    /// The name of the profile in force.
    pub fn name(self) -> &'p str {
        self.profile.map_or(Policy::OFF, |profile| profile.name.as_str())
    }
}

impl Exemptions {
    /// Whether requests of this user are exempt.
    pub fn is_user_exempt(&self, username: &str, groups: &[String]) -> bool {
        self.usernames.contains(username) || groups.iter().any(|group| self.groups.contains(group))
    }

    /// Whether requests about objects in this namespace are exempt.
    pub fn is_namespace_exempt(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }
}

/// A profile that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no profile {name:?}; write one of: {}", known.join(", "))]
pub struct UnknownProfile {
    name: String,
    known: Vec<String>,
}

impl Profile {
    /// Everything on, and enforced.
    pub fn production() -> Self {
        Profile {
            name: "production".to_owned(),
            mode: Mode::Enforce,
            injection: InjectionMode::Inject,
            waivers: Waivers::Allowed,
            settings: Settings::default(),
            actions: RULES.iter().map(|rule| (rule.id, rule.production)).collect(),
        }
    }

    /// What `production` would do, as warnings only.
    pub fn advisory() -> Self {
        Profile::production().into_advisory()
    }

    /// What this profile would do, as warnings only.
    pub fn into_advisory(self) -> Self {
        Profile {
            name: "advisory".to_owned(),
            mode: self.mode.min(Mode::Warn),
            injection: InjectionMode::Announce,
            ..self
        }
    }

    /// For workloads that nobody depends on.
    pub fn development() -> Self {
        let mut settings = Settings::default();
        settings.pre_stop_sleep.enabled = false;
        settings.rolling_update.enabled = false;
        Profile {
            name: "development".to_owned(),
            mode: Mode::Warn,
            settings,
            actions: RULES.iter().map(|rule| (rule.id, rule.development)).collect(),
            ..Profile::production()
        }
    }

    /// What a finding of `rule` leads to.
    pub fn action(&self, rule: &Rule) -> Action {
        let action = self.actions.get(rule.id).copied().unwrap_or(Action::Off);
        action.min(self.mode.strictest())
    }

    /// Says what a finding of `rule` leads to, if the mode allows as much.
    pub fn set_action(&mut self, rule: &Rule, action: Action) {
        self.actions.insert(rule.id, action);
    }
}

impl Mode {
    fn strictest(self) -> Action {
        match self {
            Mode::Off => Action::Off,
            Mode::Audit => Action::Audit,
            Mode::Warn => Action::Warn,
            Mode::Enforce => Action::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 4] = [Mode::Off, Mode::Audit, Mode::Warn, Mode::Enforce];
    const ACTIONS: [Action; 4] = [Action::Off, Action::Audit, Action::Warn, Action::Deny];

    #[test]
    fn no_action_is_stricter_than_the_mode() {
        let rule = &RULES[0];
        for (mode, strictest) in MODES.into_iter().zip(ACTIONS) {
            for action in ACTIONS {
                let mut profile = Profile { mode, ..Profile::production() };
                profile.set_action(rule, action);
                assert_eq!(profile.action(rule), action.min(strictest), "{action:?} in mode {mode:?}");
            }
        }
    }

    #[test]
    fn the_built_in_profiles_do_what_the_rules_say_of_them() {
        for rule in RULES {
            assert_eq!(Profile::production().action(rule), rule.production, "{}", rule.id);
            assert_eq!(
                Profile::development().action(rule),
                rule.development.min(Action::Warn),
                "{}",
                rule.id
            );
            assert_eq!(Profile::advisory().action(rule), rule.production.min(Action::Warn), "{}", rule.id);
        }
        let injects = |profile: Profile| profile.injection == InjectionMode::Inject;
        assert!(injects(Profile::production()) && injects(Profile::development()));
        assert!(!injects(Profile::advisory()));
    }

    #[test]
    fn a_profile_that_judges_less_does_not_become_stricter_in_advisory() {
        for (mode, expected) in MODES.into_iter().zip([Mode::Off, Mode::Audit, Mode::Warn, Mode::Warn]) {
            let profile = Profile { mode, ..Profile::production() };
            assert_eq!(profile.into_advisory().mode, expected);
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_no_way_out() {
        let policy = Policy::new("advisory").unwrap();
        for (asked, name, is_unknown) in [
            (None, "advisory", false),
            (Some("production"), "production", false),
            (Some("off"), "off", false),
            (Some("prodution"), "advisory", true),
        ] {
            let resolved = policy.resolve(asked);
            assert_eq!((resolved.name(), resolved.is_unknown), (name, is_unknown), "{asked:?}");
        }
    }

    #[test]
    fn the_default_profile_has_to_exist() {
        for (name, expected) in
            [("production", Some("production")), ("advisory", Some("advisory")), ("off", None)]
        {
            let policy = Policy::new(name).unwrap();
            assert_eq!(policy.default_profile().map(|profile| profile.name.as_str()), expected);
        }
        let error = Policy::new("prodution").unwrap_err().to_string();
        let known = "there is no profile \"prodution\"; write one of: advisory, development, production, off";
        assert_eq!(error, known);
    }
}
