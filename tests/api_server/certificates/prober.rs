//! A client that opens new connections all the time, and trusts what the webhook
//! configurations say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::support::Cluster;
use crate::support::program::{Connection, client_config};

/// How long it waits after each look.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads all bundles and connects to each replica with each of them, until it is
/// told to stop.
pub struct Prober {
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What it has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: usize,
    /// Different certificates.
    pub leaves: BTreeSet<Vec<u8>>,
    /// Different CAs.
    pub cas: BTreeSet<Vec<u8>>,
    /// Connections that came to nothing, since the bundle did not fit or for any
    /// other reason.
    pub refused: Vec<String>,
}

impl Prober {
    /// The replicas are addresses, `127.0.0.1:PORT`.
    pub fn start(cluster: &Cluster, configurations: &str, replicas: Vec<String>) -> Prober {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig("admin")).expect("a kubeconfig");
        let paths = ["mutating", "validating"].map(|kind| {
            format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{configurations}")
        });
        let has_ended = Arc::new(AtomicBool::new(false));
        let end = has_ended.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
                let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
                let mut seen = Seen::default();
                while !end.load(Ordering::Relaxed) {
                    for bundle in bundles(&client, &paths).await {
                        replicas.iter().for_each(|replica| probe(replica, &bundle, &mut seen));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                seen
            })
        });
        Prober { has_ended, thread }
    }

    pub fn stop(self) -> Seen {
        self.has_ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends by itself")
    }
}

/// The different bundles of all webhooks, as PEM.
async fn bundles(client: &kube::Client, paths: &[String; 2]) -> BTreeSet<Vec<u8>> {
    let mut bundles = BTreeSet::new();
    for path in paths {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        let configuration: Value = client.request(request).await.expect("a webhook configuration");
        for webhook in configuration["webhooks"].as_array().expect("webhooks") {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            bundles.insert(STANDARD.decode(bundle).expect("base64"));
        }
    }
    bundles
}

fn probe(replica: &str, bundle: &[u8], seen: &mut Seen) {
    let cas: Vec<_> = CertificateDer::pem_slice_iter(bundle).collect::<Result<_, _>>().expect("PEM");
    seen.cas.extend(cas.iter().map(|ca| ca.to_vec()));
    match Connection::open(replica, client_config(&cas)) {
        Ok(connection) => {
            seen.leaves.insert(connection.peer().to_vec());
            seen.connections += 1;
        }
        Err(error) => seen.refused.push(format!("{replica}, {} CAs: {error}", cas.len())),
    }
}
