//! One namespace of the control plane: what most tests work in.

use std::ffi::OsStr;

use serde_json::Value;

use super::client::Invocation;
use super::control_plane::Cluster;
use super::eventually;

/// A namespace that belongs to one test.
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl<'a> Namespace<'a> {
    pub(super) fn new(cluster: &'a Cluster, name: String) -> Namespace<'a> {
        Namespace { cluster, name }
    }

    /// kubectl with these arguments, in this namespace.
    pub fn kubectl<I>(&self, arguments: I) -> Invocation<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.cluster.kubectl(["--namespace", &self.name]).args(arguments)
    }

    /// kubectl under another file name, such as `kubectl.exe`.
    pub fn tool<I>(&self, name: &str, arguments: I) -> Invocation<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Invocation::new(self.cluster, name).args(["--namespace", &self.name]).args(arguments)
    }

    /// Helm with these arguments, in this namespace.
    pub fn helm<I>(&self, arguments: I) -> Invocation<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.cluster.helm(["--namespace", &self.name]).args(arguments)
    }

    /// `kubectl create -f -`
    pub fn create(&self, manifest: &str) -> Invocation<'a> {
        self.kubectl(["create", "-f", "-"]).stdin(manifest)
    }

    /// `kubectl apply -f -`: the last-applied annotation and a three-way patch.
    pub fn apply(&self, manifest: &str) -> Invocation<'a> {
        self.kubectl(["apply", "-f", "-"]).stdin(manifest)
    }

    /// `kubectl apply --server-side -f -`: ownership in `managedFields`.
    pub fn apply_server_side(&self, manifest: &str) -> Invocation<'a> {
        self.kubectl(["apply", "--server-side", "-f", "-"]).stdin(manifest)
    }

    /// Lets a user do this to this kind of resource here, for example
    /// `grant("team", &["get", "create"], "deployments.apps")`. The API server takes
    /// a moment to notice; this waits for it.
    #[track_caller]
    pub fn grant(&self, user: &str, verbs: &[&str], resource: &str) {
        let name = format!("{user}-{resource}");
        let verb = format!("--verb={}", verbs.join(","));
        let user = format!("--user={user}");
        self.kubectl(["create", "role", &name, &verb, "--resource", resource]).ok();
        self.kubectl(["create", "rolebinding", &name, "--role", &name, &user]).ok();
        let subject = user.replace("--user=", "--as=");
        for verb in verbs {
            eventually("the new role", || {
                let answer = self.kubectl(["auth", "can-i", verb, resource, &subject]).run();
                if answer.status.success() { Ok(()) } else { Err(answer.to_string()) }
            });
        }
    }

    /// An object as it is stored, `managedFields` included.
    #[track_caller]
    pub fn get_json(&self, kind: &str, name: &str) -> Value {
        self.kubectl(["get", kind, name, "--show-managed-fields", "-o", "json"]).ok().json()
    }

    /// The ReplicaSets of a Deployment, oldest revision first: one for each template
    /// that was ever rolled out. Waits until the Deployment controller has acted on
    /// the newest generation, so that a rollout which has only just been asked for counts.
    #[track_caller]
    pub fn replica_sets(&self, deployment: &str) -> Vec<Value> {
        let uid = eventually("the Deployment controller", || {
            let found = self.get_json("deployment", deployment);
            let observed = found["status"]["observedGeneration"].as_i64();
            if observed == found["metadata"]["generation"].as_i64() {
                Ok(found["metadata"]["uid"].clone())
            } else {
                Err(format!("{found:#}"))
            }
        });
        let all = self.kubectl(["get", "replicasets", "-o", "json"]).ok().json();
        let mut owned: Vec<Value> = all["items"]
            .as_array()
            .expect("a list has items")
            .iter()
            .filter(|set| set["metadata"]["ownerReferences"][0]["uid"] == uid)
            .cloned()
            .collect();
        owned.sort_by_key(revision);
        owned
    }

    /// The part of the API server's audit log about this namespace.
    pub fn audit_log(&self) -> Vec<Value> {
        let mut log = self.cluster.audit_log_with(&self.name);
        log.retain(|event| event["objectRef"]["namespace"] == *self.name);
        log
    }
}

/// The revision that the Deployment controller gave to a ReplicaSet.
fn revision(replica_set: &Value) -> u64 {
    replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
