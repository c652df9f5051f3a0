//! What Helm makes of the chart.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gapless::cli::{Cli, Command, ServeArguments};
use gapless::config;
use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::client::Output;

/// The kinds of a release that runs in the cluster, and of one that does not.
pub const INSIDE: [&str; 11] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "Deployment",
    "MutatingWebhookConfiguration",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "ValidatingWebhookConfiguration",
];
/// The end of the name of each entry that is about Services.
pub const SERVICES: &str = ".services.validate.gapless.dev";

pub const OUTSIDE: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The objects of a release.
pub struct Rendered {
    yaml: String,
    objects: Vec<Value>,
    /// The objects of `helm test`.
    pub tests: Vec<Value>,
}

impl Rendered {
    pub fn new(output: &Output) -> Rendered {
        let yaml = output.stdout.clone();
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        let all: Vec<Value> = serde_saphyr::from_multiple_with_options(&yaml, options).unwrap();
        let is_test = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
        let (tests, objects) = all.into_iter().partition(is_test);
        Rendered { yaml, objects, tests }
    }

    /// A dry run with everything that the API server checks; unknown fields are
    /// errors. No webhook of another test looks at it.
    #[track_caller]
    pub fn is_accepted(&self, cluster: &Cluster, namespace: &str) {
        let metadata = json!({"name": namespace, "labels": {"gapless.dev/profile": "off"}});
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        cluster.kubectl(["apply", "--server-side", "-f", "-"]).stdin(manifest.to_string()).ok();
        let apply =
            cluster.kubectl(["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]);
        let accepted = apply.stdin(&self.yaml).ok();
        assert_eq!(accepted.stdout.lines().count(), self.objects.len() + self.tests.len(), "{accepted}");
        assert_eq!(accepted.stderr, "", "no warning either");
    }

    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> =
            self.objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        kinds
    }

    /// The objects of a kind, in the order in which they are written.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    #[track_caller]
    pub fn one(&self, kind: &str) -> &Value {
        let [one] = self.all(kind)[..] else { panic!("not one {kind}:\n{}", self.yaml) };
        one
    }

    /// The name of the Service, by which everything is called.
    pub fn name(&self) -> &str {
        self.one("Service")["metadata"]["name"].as_str().unwrap()
    }

    /// The arguments of the container.
    pub fn arguments(&self) -> Vec<&str> {
        let arguments = self.container()["args"].as_array().unwrap().iter();
        arguments.map(|argument| argument.as_str().unwrap()).collect()
    }

    /// The arguments of the container, as the program reads them.
    #[track_caller]
    pub fn serve_arguments(&self) -> Box<ServeArguments> {
        let written = ["gapless"].into_iter().chain(self.arguments());
        match Cli::parse_from(written).command {
            Command::Serve(arguments) => arguments,
            other => panic!("the container does not serve: {other:?}"),
        }
    }

    pub fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]
    }

    pub fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// The configuration file in the ConfigMap.
    pub fn configuration(&self) -> Value {
        serde_saphyr::from_str(self.one("ConfigMap")["data"]["config.yaml"].as_str().unwrap()).unwrap()
    }

    /// The default profile as gapless reads it from the ConfigMap.
    pub fn default_profile(&self) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, self.one("ConfigMap")["data"]["config.yaml"].as_str().unwrap()).unwrap();
        let policy = config::load(Some(&path)).unwrap();
        policy.default_profile().map(|profile| profile.name.clone())
    }

    /// The entries of both webhook configurations.
    pub fn entries(&self) -> impl Iterator<Item = &Value> {
        OUTSIDE.into_iter().flat_map(|kind| self.one(kind)["webhooks"].as_array().unwrap())
    }

    #[track_caller]
    pub fn entry(&self, name: &str) -> &Value {
        self.entries()
            .find(|entry| entry["name"] == name)
            .unwrap_or_else(|| panic!("no {name}:\n{}", self.yaml))
    }

    /// The profiles that have an entry in each of the two configurations.
    #[track_caller]
    pub fn profiles(&self) -> Vec<&str> {
        let of = |kind: &str, end: &str| -> Vec<&str> {
            let names = self.one(kind)["webhooks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["name"].as_str().unwrap());
            let workloads = names.filter(|name| !name.ends_with(SERVICES));
            workloads.map(|name| name.strip_suffix(end).unwrap()).collect()
        };
        let profiles = of("ValidatingWebhookConfiguration", ".validate.gapless.dev");
        assert_eq!(of("MutatingWebhookConfiguration", ".mutate.gapless.dev"), profiles);
        profiles
    }

    /// Operator and values of one requirement on the labels of a namespace, the
    /// same in all these entries.
    #[track_caller]
    fn requirement<'r>(mut entries: impl Iterator<Item = &'r Value>, key: &str) -> (&'r str, Vec<&'r str>) {
        let of = |entry: &'r Value| {
            let all = entry["namespaceSelector"]["matchExpressions"].as_array().unwrap();
            let one = all.iter().find(|expression| expression["key"] == key).unwrap();
            let values = one["values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap());
            (one["operator"].as_str().unwrap(), values.collect())
        };
        let requirement = of(entries.next().unwrap());
        for entry in entries {
            assert_eq!(of(entry), requirement);
        }
        requirement
    }

    /// Which values of the namespace label lead to this profile.
    #[track_caller]
    pub fn answers_for(&self, profile: &str) -> (&str, Vec<&str>) {
        let own =
            self.entries().filter(|entry| entry["name"].as_str().unwrap().split('.').next() == Some(profile));
        Self::requirement(own, "gapless.dev/profile")
    }

    /// The namespaces that no entry is about.
    #[track_caller]
    pub fn excluded(&self) -> Vec<&str> {
        let (operator, namespaces) = Self::requirement(self.entries(), "kubernetes.io/metadata.name");
        assert_eq!(operator, "NotIn");
        namespaces
    }

    /// What each entry says about the CA, as PEM.
    pub fn ca_bundles(&self) -> impl Iterator<Item = Option<String>> {
        self.entries().map(|entry| {
            let encoded = entry["clientConfig"]["caBundle"].as_str()?;
            Some(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
        })
    }
}
