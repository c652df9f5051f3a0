//! A constant stream of requests to the API server, each of which asks gapless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use serde_json::json;

use super::Cluster;
use super::deployment::deployment_with;

/// How many clients ask at the same time.
const CLIENTS: usize = 8;

/// How long each client waits after an answer.
const PAUSE: Duration = Duration::from_millis(25);

/// Clients that create Deployments in a server-side dry run until they are told to stop.
pub struct Load {
    has_ended: Arc<AtomicBool>,
    clients: JoinHandle<Outcome>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests that gapless was asked about, and completed or denied.
    pub judged: usize,
    /// Requests that passed without gapless, as failurePolicy Ignore lets them.
    pub unjudged: usize,
    /// Requests that failed for any other reason than a denial, with the answer.
    pub failed: Vec<String>,
}

impl Outcome {
    /// # Panics
    /// If a call to gapless failed, or if there were fewer than `least` requests.
    #[track_caller]
    pub fn assert_no_call_was_lost(&self, least: usize) {
        let answered = self.judged;
        assert!(
            self.failed.is_empty() && self.unjudged == 0,
            "{answered} calls were answered, {} were not; {} requests failed: {:#?}",
            self.unjudged,
            self.failed.len(),
            self.failed
        );
        assert!(answered >= least, "only {answered} calls: that was no load");
    }
}

impl Load {
    /// Starts them, in the namespace `default`.
    pub fn start(cluster: &Cluster) -> Load {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig("admin")).expect("a kubeconfig");
        let has_ended = Arc::new(AtomicBool::new(false));
        let end = has_ended.clone();
        let clients = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(all_clients(kubeconfig, end))
        });
        Load { has_ended, clients }
    }

    /// Lets them finish what they have begun.
    pub fn stop(self) -> Outcome {
        self.has_ended.store(true, Ordering::Relaxed);
        self.clients.join().expect("the clients end by themselves")
    }
}

async fn all_clients(kubeconfig: Kubeconfig, has_ended: Arc<AtomicBool>) -> Outcome {
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(kubeconfig.clone(), has_ended.clone()))).collect();
    let mut all = Outcome::default();
    for client in clients {
        let seen = client.await.expect("a client ends by itself");
        all.judged += seen.judged;
        all.unjudged += seen.unjudged;
        all.failed.extend(seen.failed);
    }
    all
}

/// Something to complete and something to deny, by turns.
async fn client(kubeconfig: Kubeconfig, has_ended: Arc<AtomicBool>) -> Outcome {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    // A client of its own, hence connections of its own.
    let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let sound = deployment(10);
    let harmful = deployment(0);

    let mut outcome = Outcome::default();
    while !has_ended.load(Ordering::Relaxed) {
        match deployments.create(&dry_run, &sound).await {
            Ok(created) if is_completed(&created) => outcome.judged += 1,
            Ok(_) => outcome.unjudged += 1,
            Err(error) => outcome.failed.push(describe(&error)),
        }
        tokio::time::sleep(PAUSE).await;
        match deployments.create(&dry_run, &harmful).await {
            Err(kube::Error::Api(status)) if status.message.contains("(no-rollback-history)") => {
                outcome.judged += 1;
            }
            Ok(_) => outcome.unjudged += 1,
            Err(error) => outcome.failed.push(describe(&error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
    outcome
}

/// What the API server says, without the rest of the Status.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

fn is_completed(deployment: &DynamicObject) -> bool {
    deployment.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("gapless.dev/injected"))
}

fn deployment(revision_history_limit: u32) -> DynamicObject {
    let limit = json!({"revisionHistoryLimit": revision_history_limit});
    serde_json::from_value(deployment_with("load", &limit)).expect("a Deployment")
}
