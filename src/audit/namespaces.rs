//! Which profile applies in which namespace.
//!
//! In a cluster the API server decides it, by the namespace selectors of the
//! chart's webhook entries; this is the same decision.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::admission::Skip;
use crate::policy::{Policy, Profile};

/// The label of a namespace that names its profile.
pub const PROFILE_LABEL: &str = "gapless.dev/profile";

/// The namespaces of Kubernetes itself, which the chart leaves out by default.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// Why a Deployment is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJudged {
    /// It is in a namespace of Kubernetes itself.
    SystemNamespace,
    /// The webhooks would not look at it.
    Gate(Skip),
}

/// The namespaces of a cluster, as far as they are known.
#[derive(Clone, Debug)]
pub struct Namespaces<'p> {
    policy: &'p Policy,
    /// The value of the label, by namespace.
    labels: BTreeMap<String, String>,
}

impl<'p> Namespaces<'p> {
    /// None is known. The default profile applies to a namespace that is not.
    pub fn new(policy: &'p Policy) -> Self {
        Namespaces { policy, labels: BTreeMap::new() }
    }

    /// Takes note of a Namespace as the API server lists it.
    pub fn add(&mut self, namespace: &Value) {
        let metadata = namespace.get("metadata");
        let name = metadata.and_then(|it| it.get("name")).and_then(Value::as_str);
        let labels = metadata.and_then(|it| it.get("labels"));
        let label = labels.and_then(|it| it.get(PROFILE_LABEL)).and_then(Value::as_str);
        if let (Some(name), Some(label)) = (name, label) {
            self.labels.insert(name.to_owned(), label.to_owned());
        }
    }

    /// The profile by which Deployments in `namespace` are judged.
    ///
    /// # Errors
    /// Why they are not judged.
    pub fn profile(&self, namespace: &str) -> Result<&'p Profile, NotJudged> {
        if SYSTEM_NAMESPACES.contains(&namespace) {
            return Err(NotJudged::SystemNamespace);
        }
        if self.policy.exemptions().is_namespace_exempt(namespace) {
            return Err(NotJudged::Gate(Skip::ExemptNamespace));
        }
        let profile = match self.labels.get(namespace).map(String::as_str) {
            Some(Policy::OFF) => None,
            // A name that does not exist is never a way out.
            Some(name) => self.policy.profile(name).or(self.policy.default_profile()),
            None => self.policy.default_profile(),
        };
        profile.ok_or(NotJudged::Gate(Skip::ProfileOff))
    }

    /// The namespaces whose label names no profile, with what it says.
    pub fn unknown_profiles(&self) -> Vec<(String, String)> {
        let is_unknown = |label: &str| label != Policy::OFF && self.policy.profile(label).is_none();
        let unknown = self.labels.iter().filter(|(_, label)| is_unknown(label));
        unknown.map(|(name, label)| (name.clone(), label.clone())).collect()
    }
}

impl NotJudged {
    /// The reason in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            NotJudged::SystemNamespace => "system-namespace",
            NotJudged::Gate(skip) => skip.as_str(),
        }
    }

    /// The reason in a few words.
    pub fn message(self) -> &'static str {
        match self {
            NotJudged::SystemNamespace => "the namespace belongs to Kubernetes itself",
            NotJudged::Gate(Skip::ProfileOff) => "the profile of its namespace is off",
            NotJudged::Gate(Skip::ExemptNamespace) => "the configuration exempts its namespace",
            NotJudged::Gate(Skip::Owned) => "another object controls it, see its ownerReferences",
            NotJudged::Gate(Skip::Deleting) => "it is being deleted",
            NotJudged::Gate(Skip::Invalid) => "the API server would reject it today",
            NotJudged::Gate(_) => "it is none of gapless' business",
        }
    }
}
