//! `gapless serve`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::server::danger::ClientCertVerifier;
use tokio::runtime::{Builder, Runtime};

use super::output::shell_word;
use super::sample::REVIEW;
use crate::certificates::clients::{ClientVerifier, WatchedClientCa};
use crate::certificates::ephemeral::Ephemeral;
use crate::certificates::files::WatchedPair;
use crate::certificates::self_managed::plan::Lifetimes;
use crate::certificates::self_managed::{Keeper, Settings};
use crate::certificates::{CertificateError, CertificateStore, Role, ServingCertificate};
use crate::cli::{SelfManagedArguments, ServeArguments};
use crate::client::kubeconfig::{self, Choice};
use crate::cluster::View;
use crate::config;
use crate::config::reload::{LiveConfig, WatchedConfig};
use crate::observe::metrics::Metrics;
use crate::observe::telemetry;
use crate::server::ops::{self, Ops};
use crate::server::shutdown::{Signals, Termination};
use crate::server::webhooks::{self, Webhooks};
use crate::server::{End, Patience, Server, ServerError, Services};
use crate::watched;
use crate::watched::{Supervisor, Watched};

/// The one in which gapless runs, or that of the kubeconfig's context.
const THIS_CLUSTER: Choice = Choice { kubeconfig: None, context: None };

/// Serves until a signal ends it.
///
/// # Errors
/// If an argument, a file or an address cannot be used.
pub fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    telemetry::start_log(arguments.log_format, &arguments.log)?;
    telemetry::log_panics_without_message();
    allow_many_connections();
    let (policy, config_file) = match &arguments.config {
        Some(path) => WatchedConfig::open(path).map(|(policy, file)| (policy, Some(file)))?,
        None => (config::load(None)?, None),
    };
    let metrics = Arc::new(Metrics::new(&policy));
    let config = Arc::new(LiveConfig::from(policy));
    if let Some(file) = config_file {
        follow_config(file, arguments.config_poll_interval, config.clone(), metrics.clone())?;
    }
    let runtime = runtime()?;
    let certificates = Arc::new(CertificateStore::default());
    let ca_file = provide_certificate(arguments, &runtime, &certificates, &metrics)?;
    let clients = known_clients(arguments, &metrics)?;
    let termination = Arc::new(Termination::default());

    let mut webhooks = Webhooks::new(config.clone(), metrics.clone(), arguments.max_in_flight);
    if arguments.cluster_context {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(kubeconfig::connect_to_watch(THIS_CLUSTER))?;
        let view = View::follow(runtime, &connection.client, &metrics)?;
        webhooks = webhooks.with_surroundings(Arc::new(view));
    }
    let services = Services {
        webhooks: webhooks::router(webhooks, termination.clone()),
        certificates: certificates.clone(),
        clients,
        ops: ops::router(Ops { metrics, certificates, termination: termination.clone(), config }),
    };
    let patience = Patience { shutdown_delay: arguments.shutdown_delay, drain_limit: arguments.drain_limit };

    let end = runtime.block_on(async {
        let server = Server::bind(arguments.bind, arguments.ops_bind).await?;
        // Caught before anybody is told that gapless serves.
        let mut signals = Signals::catch()?;
        announce(&server, ca_file.as_deref())?;
        server.run(services, &termination, &mut signals, patience).await
    });
    // What is still running then is not waited for.
    runtime.shutdown_background();
    if let Some(path) = ca_file {
        // Nothing hangs on it: it is of no use to anybody any more.
        let _ = std::fs::remove_file(path);
    }
    match end? {
        End::Drained => Ok(ExitCode::SUCCESS),
        End::Interrupted(signal) => Ok(ExitCode::from(signal.exit_code())),
    }
}

/// Threads for connections and small reviews, and two for large reviews, of which the
/// second is started only if the first has outlasted its caller: glibc gives each thread a
/// heap of its own, and a heap stays as large as it once was. The pod's memory has a
/// limit, whereas the node may have any number of processors.
fn runtime() -> io::Result<Runtime> {
    const MOST_WORKERS: usize = 4;
    let workers = available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_WORKERS);
    Builder::new_multi_thread().worker_threads(workers).max_blocking_threads(2).enable_all().build()
}

/// Lets this process open as many files as it may: each connection is one.
///
/// It begins with the soft limit, 1,024 under systemd and in containers of
/// containerd 2, for the sake of programs that use select(2). gapless does not, and
/// does what Go does at each start (golang/go, src/os/rlimit.go): else a thousand idle
/// connections would keep out all others.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, files = limit.current, "cannot raise the limit on open files");
    }
}

/// Puts each change of the configuration file into force, as far as it can be
/// used.
fn follow_config(
    file: WatchedConfig,
    interval: Duration,
    config: Arc<LiveConfig>,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
    let path = file.path().display().to_string();
    let supervisor = Supervisor::new("the configuration", metrics.clone());
    watched::follow(file, interval, supervisor, move |outcome| {
        metrics.record_config_reload(outcome.is_ok());
        match &outcome {
            Ok(policy) => {
                metrics.create_profiles(policy);
                let profiles = policy.profile_names().collect::<Vec<_>>().join(",");
                let default_profile = policy.resolve(None).name();
                tracing::info!(
                    file = path,
                    default_profile,
                    profiles,
                    "the configuration has changed and is in force"
                );
            }
            Err(error) => {
                let error = watched::describe(error);
                tracing::error!(
                    file = path,
                    error,
                    "the configuration has changed and cannot be used, the older one stays in force"
                );
            }
        }
        config.apply(outcome);
    })
}

/// Serves with each change of the certificate's files, as far as it can be used.
fn follow_certificate(
    pair: WatchedPair,
    interval: Duration,
    certificates: Arc<CertificateStore>,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
    let file = pair.path().display().to_string();
    let supervisor = Supervisor::new("the certificate", metrics.clone());
    let use_it = {
        let (file, metrics) = (file.clone(), metrics.clone());
        move |certificate: ServingCertificate| {
            let not_after = certificate.validity.not_after;
            metrics.set_certificate_not_after(Role::Leaf.as_str(), not_after.as_second());
            certificates.replace(certificate);
            tracing::info!(file, %not_after, "the certificate has changed and is served");
        }
    };
    let refused = "the certificate has changed and cannot be used, the older one is still served";
    follow_pem(pair, interval, supervisor, metrics, file, refused, use_it)
}

/// Uses each change of a file that TLS depends on, as far as it can be used; if not,
/// the file and `refused` are logged. Both are counted.
fn follow_pem<T, W: Watched<Change = Result<T, CertificateError>>>(
    watched: W,
    interval: Duration,
    supervisor: Supervisor,
    metrics: Arc<Metrics>,
    file: String,
    refused: &'static str,
    mut use_it: impl FnMut(T) + Send + 'static,
) -> io::Result<()> {
    watched::follow(watched, interval, supervisor, move |outcome| {
        metrics.record_certificate_reload(outcome.is_ok());
        match outcome {
            Ok(changed) => use_it(changed),
            Err(error) => {
                let error = watched::describe(&error);
                tracing::error!(file, error, "{refused}");
            }
        }
    })
}

/// Fills the store, now or as soon as possible, and sees to it that what is in it
/// follows its source. If gapless has made a CA for this process, the path of its
/// file is returned.
fn provide_certificate(
    arguments: &ServeArguments,
    runtime: &Runtime,
    certificates: &Arc<CertificateStore>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<PathBuf>> {
    if let Some(settings) = settings(&arguments.self_managed) {
        settings.check()?;
        let connection = runtime.block_on(kubeconfig::connect(THIS_CLUSTER))?;
        let keeper = Keeper::new(settings, connection, certificates.clone(), metrics.clone());
        drop(runtime.spawn(keeper.run()));
        return Ok(None);
    }
    let (certificate, ca_file) =
        if let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
            let (certificate, files) = WatchedPair::open(certificate, key)?;
            follow_certificate(files, arguments.tls_poll_interval, certificates.clone(), metrics.clone())?;
            (certificate, None)
        } else {
            let address = arguments.bind.ip();
            let ephemeral = Ephemeral::generate((!address.is_unspecified()).then_some(address))?;
            metrics.set_certificate_not_after(Role::Ca.as_str(), ephemeral.ca_validity.not_after.as_second());
            let ca_file = ephemeral.write_ca()?;
            (ephemeral.certificate, Some(ca_file))
        };
    let validity = certificate.validity;
    metrics.set_certificate_not_after(Role::Leaf.as_str(), validity.not_after.as_second());
    if let Some(objection) = validity.objection(Timestamp::now()) {
        tracing::warn!("{objection}");
    }
    certificates.replace(certificate);
    Ok(ca_file)
}

/// Who may call, if that is not everybody. Follows the file of the CA.
fn known_clients(
    arguments: &ServeArguments,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    let Some(path) = &arguments.client_ca else { return Ok(None) };
    let (ca, watched) = WatchedClientCa::open(path)?;
    let clients = Arc::new(ClientVerifier::new(ca, arguments.client_name.clone()));
    let file = path.display().to_string();
    let use_it = {
        let (file, clients) = (file.clone(), clients.clone());
        move |ca| {
            clients.replace(ca);
            tracing::info!(file, "the CA of clients has changed and is trusted");
        }
    };
    let refused = "the CA of clients has changed and cannot be used, the older one is still trusted";
    let supervisor = Supervisor::new("the CA of clients", metrics.clone());
    let interval = arguments.tls_poll_interval;
    follow_pem(watched, interval, supervisor, metrics.clone(), file, refused, use_it)?;
    Ok(Some(clients))
}

/// What to keep in the cluster, if gapless is to.
fn settings(arguments: &SelfManagedArguments) -> Option<Settings> {
    if !arguments.self_managed_certificates {
        return None;
    }
    Some(Settings {
        // The command line insists on both names.
        secret: arguments.certificate_secret.clone()?,
        configurations: arguments.webhook_configurations.clone()?,
        namespace: arguments.certificate_secret_namespace.clone(),
        hosts: arguments.certificate_host.clone(),
        lifetimes: Lifetimes { ca: arguments.ca_lifetime, leaf: arguments.certificate_lifetime },
        interval: arguments.certificate_poll_interval,
        trust_delay: arguments.ca_trust_delay,
    })
}

/// Says on standard output where everything is. Programs read the lines up to
/// `ca`, people the last one.
fn announce(server: &Server, ca_file: Option<&Path>) -> Result<(), ServerError> {
    let webhooks = format!("https://{}", reachable(server.webhooks_address()?));
    let ops = format!("http://{}", reachable(server.ops_address()?));
    let mut lines = format!("webhooks {webhooks}\nops {ops}\n");
    if let Some(path) = ca_file {
        let path = path.display().to_string();
        // Writing to a String never fails.
        let _ = writeln!(lines, "ca {path}");
        let _ = writeln!(
            lines,
            "try: curl --cacert {} -H 'Content-Type: application/json' -d {} {}",
            shell_word(&path),
            shell_word(REVIEW),
            shell_word(&format!("{webhooks}/validate"))
        );
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
        // Not a reason to stop: the same is in the log.
        tracing::warn!(%error, "cannot write to standard output");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), webhooks, ops, "serving");
    Ok(())
}

/// Host and port of an address to connect to; `localhost` stands for all
/// addresses.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_connect_to() {
        for (bound, expected) in [
            ("[::]:9443", "localhost:9443"),
            ("0.0.0.0:80", "localhost:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(reachable(bound.parse().expect("an address")), expected);
        }
    }
}
