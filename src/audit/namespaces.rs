//! Which profile applies in which namespace.
//!
//! In a cluster the API server decides it, by the namespace selectors of the
//! chart's webhook entries; this is the same decision.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::admission::Skip;
use crate::kubernetes::label_selector::{LabelSelector, StringMap};
use crate::policy::{NAME_LABEL, PROFILE_LABEL, Policy, Profile, SYSTEM_NAMESPACES};
use crate::report::Reason;

/// The end of the name of each webhook entry of the chart.
pub const ENTRY: &str = ".gapless.dev";

/// The namespaces of a cluster, as far as they are known.
#[derive(Clone, Debug)]
pub struct Namespaces<'p> {
    policy: &'p Policy,
    /// The labels, by namespace.
    labels: BTreeMap<String, BTreeMap<String, String>>,
    webhooks: InstalledWebhooks,
}

/// The entries of gapless in the webhook configurations of a cluster.
#[derive(Clone, Debug, Default)]
pub struct InstalledWebhooks {
    /// The `namespaceSelector` of each; null selects every namespace.
    selectors: Vec<Value>,
}

impl InstalledWebhooks {
    /// Takes note of the entries of gapless in a webhook configuration as the API
    /// server lists it.
    pub fn add(&mut self, configuration: &Value) {
        let entries = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        let is_own = |entry: &&Value| {
            entry.get("name").and_then(Value::as_str).is_some_and(|name| name.ends_with(ENTRY))
        };
        self.selectors.extend(
            entries.filter(is_own).map(|entry| entry.get("namespaceSelector").cloned().unwrap_or_default()),
        );
    }

    /// Whether no entry selects a namespace with these labels, whatever its profile:
    /// that is a matter of the configuration to judge by. `None` if none is installed.
    fn leave_out(&self, labels: &StringMap) -> Option<bool> {
        let selects = |selector: &Value| {
            let Ok(Some(mut selector)) = Option::<LabelSelector>::deserialize(selector) else { return true };
            selector.match_labels.remove(PROFILE_LABEL);
            selector.match_expressions.retain(|requirement| requirement.key != PROFILE_LABEL);
            selector.matches(labels)
        };
        (!self.selectors.is_empty()).then(|| !self.selectors.iter().any(selects))
    }
}

impl<'p> Namespaces<'p> {
    /// None is known. The default profile applies to a namespace that is not.
    pub fn new(policy: &'p Policy) -> Self {
        Namespaces { policy, labels: BTreeMap::new(), webhooks: InstalledWebhooks::default() }
    }

    /// With what is known of the webhooks that are installed.
    pub fn with_webhooks(mut self, webhooks: InstalledWebhooks) -> Self {
        self.webhooks = webhooks;
        self
    }

    /// Takes note of a Namespace as the API server lists it.
    pub fn add(&mut self, namespace: &Value) {
        let metadata = namespace.get("metadata");
        let name = metadata.and_then(|it| it.get("name")).and_then(Value::as_str);
        let labels = metadata.and_then(|it| it.get("labels")).and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        if let Some(name) = name {
            self.labels.insert(name.to_owned(), labels.filter_map(text).collect());
        }
    }

    /// The profile by which Deployments in `namespace` are judged.
    ///
    /// # Errors
    /// Why they are not judged.
    pub fn profile(&self, namespace: &str) -> Result<&'p Profile, Reason> {
        let is_system = SYSTEM_NAMESPACES.contains(&namespace);
        match self.webhooks.leave_out(&self.labels_of(namespace)).unwrap_or(is_system) {
            true if is_system => return Err(Reason::SystemNamespace),
            true => return Err(Reason::ExcludedNamespace),
            false => {}
        }
        if self.policy.exemptions().is_namespace_exempt(namespace) {
            return Err(Reason::Gate(Skip::ExemptNamespace));
        }
        let asked = self.labels_of(namespace).get(PROFILE_LABEL).copied();
        self.policy.resolve(asked).profile.ok_or(Reason::Gate(Skip::ProfileOff))
    }

    /// The namespaces whose label names no profile, with what it says.
    pub fn unknown_profiles(&self) -> Vec<(String, String)> {
        let labelled =
            self.labels.iter().filter_map(|(name, labels)| Some((name, labels.get(PROFILE_LABEL)?)));
        let unknown = labelled.filter(|(_, label)| self.policy.resolve(Some(label)).is_unknown);
        unknown.map(|(name, label)| (name.clone(), label.clone())).collect()
    }

    /// What is known of the labels of a namespace: at least its name.
    fn labels_of<'n>(&'n self, namespace: &'n str) -> StringMap<'n> {
        let known = self.labels.get(namespace).into_iter().flatten();
        let known = known.map(|(key, value)| (key.as_str(), value.as_str()));
        known.chain([(NAME_LABEL, namespace)]).collect()
    }
}

/// Why a workload of a cluster is not judged, in a few words.
pub fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::SystemNamespace => "the namespace belongs to Kubernetes itself",
        Reason::ExcludedNamespace => "the installed webhooks leave its namespace out",
        Reason::Gate(Skip::ProfileOff) => "the profile of its namespace is off",
        Reason::Gate(Skip::ExemptNamespace) => "the configuration exempts its namespace",
        Reason::Gate(Skip::Owned) => "another object controls it, see its ownerReferences",
        Reason::Gate(Skip::Deleting) => "it is being deleted",
        Reason::Gate(Skip::Invalid) => "the API server would reject it today",
        _ => "it is none of gapless' business",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The entries of the chart for two profiles, and of somebody else.
    fn installed(excluded: &[&str]) -> InstalledWebhooks {
        let entry = |name: &str, operator: &str, values: &[&str]| {
            let selector = json!({"matchExpressions": [
                {"key": "gapless.dev/profile", "operator": operator, "values": values},
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": excluded},
            ]});
            json!({"name": name, "namespaceSelector": selector})
        };
        let mut webhooks = InstalledWebhooks::default();
        webhooks.add(&json!({"webhooks": [
            entry("production.validate.gapless.dev", "NotIn", &["advisory", "off"]),
            entry("advisory.validate.gapless.dev", "In", &["advisory"]),
            json!({"name": "validate.example.com"}),
        ]}));
        webhooks
    }

    fn reasons(webhooks: InstalledWebhooks) -> Vec<(&'static str, &'static str)> {
        let policy = crate::config::load(None).expect("the default policy");
        let mut namespaces = Namespaces::new(&policy).with_webhooks(webhooks);
        let names = ["shop", "gapless-system", "kube-system", "trial", "free"];
        for (name, label) in [("trial", "advisory"), ("free", "off")] {
            namespaces.add(&json!({"metadata": {"name": name, "labels": {"gapless.dev/profile": label}}}));
        }
        let reason = |name| match namespaces.profile(name) {
            Ok(profile) if profile.name == "advisory" => "judged by advisory",
            Ok(_) => "judged",
            Err(reason) => reason.as_str(),
        };
        names.map(|name| (name, reason(name))).to_vec()
    }

    #[test]
    fn namespaces_are_left_out_as_by_the_installed_webhooks() {
        let expected = |system: &'static str, own: &'static str| {
            let rest = [("trial", "judged by advisory"), ("free", "profile-off")];
            [("shop", "judged"), ("gapless-system", own), ("kube-system", system)].into_iter().chain(rest)
        };
        for (excluded, (system, own)) in [
            (Some(&["gapless-system", "kube-system"][..]), ("system-namespace", "excluded-namespace")),
            (Some(&["gapless-system"]), ("judged", "excluded-namespace")),
            (None, ("system-namespace", "judged")),
        ] {
            let webhooks = excluded.map(installed).unwrap_or_default();
            assert_eq!(reasons(webhooks), expected(system, own).collect::<Vec<_>>(), "{excluded:?}");
        }
    }

    #[test]
    fn an_entry_without_a_selector_leaves_nothing_out() {
        let mut webhooks = installed(&["shop", "gapless-system", "kube-system", "trial", "free"]);
        webhooks.add(&json!({"webhooks": [{"name": "all.validate.gapless.dev"}]}));
        assert_eq!(reasons(webhooks).iter().filter(|(_, reason)| reason.starts_with("judged")).count(), 4);
    }
}
