//! `gapless audit`: judges what runs in a cluster as the webhook would.

use std::process::ExitCode;

use tokio::runtime;

use super::cluster::{add, installed_webhooks, look_around, note, of_context, restarted};
use super::progress::Progress;
use super::{live, output, reports};
use crate::audit::canaries::Canaries;
use crate::audit::namespaces::Namespaces;
use crate::audit::{self, Audit, Audited, Scope};
use crate::cli::{AuditArguments, AuditFormat};
use crate::client::failure::RequestError;
use crate::client::kubeconfig::{self, Choice, ConnectError, Connection};
use crate::client::list::{self, List, Page};
use crate::clock;
use crate::cluster::View;
use crate::config;
use crate::exit;
use crate::kubernetes::kind::Kind;
use crate::policy::Policy;

/// Judges the workloads, writes the report, and says by its exit code how it
/// went.
///
/// # Errors
/// If the configuration is of no use, the cluster cannot be read, or the report
/// cannot be written.
pub fn run(arguments: &AuditArguments) -> anyhow::Result<ExitCode> {
    let policy = config::load(arguments.config.as_deref())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    match (arguments.format, arguments.apply) {
        (AuditFormat::OpenReports, true) => return runtime.block_on(apply(arguments, &policy)),
        (_, true) => anyhow::bail!("--apply writes reports into the cluster: add -f openreports"),
        (_, false) => {}
    }
    let audited = runtime.block_on(async { audit(arguments, &policy, connect(arguments).await?).await })?;
    match arguments.format {
        AuditFormat::Text => output::print(&audit::text::write(&audited))?,
        AuditFormat::Json => output::print_plain(&audit::json::write(&audited)?)?,
        AuditFormat::Html => output::print_plain(&audit::html::write(&audited, clock::today())?)?,
        AuditFormat::OpenReports => output::print_plain(&audit::openreports::write(&audited)?)?,
    }
    Ok(match (audited.failed.is_empty(), audited.report.count().denied) {
        (false, _) => ExitCode::from(exit::UNUSABLE),
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => ExitCode::from(exit::FOUND),
    })
}

/// Keeps the reports in the cluster. What was found is no failure: they say it.
async fn apply(arguments: &AuditArguments, policy: &Policy) -> anyhow::Result<ExitCode> {
    let connection = connect(arguments).await?;
    let done = match reports::are_served(&connection).await? {
        true => {
            let audited = audit(arguments, policy, connection.clone()).await?;
            for failed in &audited.failed {
                note(&format!("{} cannot be judged, its report stays: {}", failed.subject, failed.message));
            }
            for (kind, why) in &audited.unlisted {
                note(&format!("not listed: {kind}: {why}"));
            }
            reports::apply(&connection, &audited, arguments.chunk_size).await?
        }
        false => None,
    };
    match done {
        Some(done) => output::print_plain(&format!("{done}\n"))?,
        None => note(reports::NOT_SERVED),
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(arguments: &AuditArguments) -> Result<Connection, ConnectError> {
    let choice =
        Choice { kubeconfig: arguments.kubeconfig.as_deref(), context: arguments.context.as_deref() };
    kubeconfig::connect(choice).await
}

async fn audit(
    arguments: &AuditArguments,
    policy: &Policy,
    connection: Connection,
) -> anyhow::Result<Audited> {
    let namespace = match (&arguments.namespace, arguments.all_namespaces) {
        (_, true) => None,
        (Some(namespace), false) => Some(namespace.clone()),
        (None, false) => Some(of_context(&connection)?),
    };

    let view = View::default();
    let namespaces = match &namespace {
        Some(name) => one_namespace(&connection, name, policy, &view).await?,
        None => all_namespaces(&connection, arguments.chunk_size, policy, &view).await?,
    };
    let webhooks = installed_webhooks(&connection, arguments.chunk_size, namespace.is_none()).await?;
    let namespaces = namespaces.with_webhooks(webhooks);
    let today = clock::today();
    let around =
        look_around(view.neighbours(), &connection, &[namespace.as_deref()], arguments.chunk_size).await?;
    // Workloads are listed again, and named then.
    let around = around.into_iter().filter(|(watched, _)| !watched.is_workload());
    let mut unknown = around.map(|(watched, why)| (watched.kind, why)).collect();
    let canaries = canaries(&connection, namespace.as_deref(), arguments.chunk_size, &mut unknown).await?;
    let is_page = matches!(arguments.format, AuditFormat::Html);
    let start = || {
        let audit = Audit::new(policy, today, namespaces.clone(), &view, &canaries);
        audit.foretelling(arguments.preview).detailed(is_page)
    };
    let mut audit = start();
    unknown.into_iter().for_each(|(kind, why)| audit.cannot_list(kind, why));
    for kind in Kind::ALL {
        let list = list_of(kind, namespace.as_deref(), arguments.chunk_size);
        let mut progress = Progress::new(format!("{kind}s"));
        let take = |audit: &mut Audit, page: Page| {
            page.items.iter().for_each(|object| audit.workload(kind, object));
            progress.show(audit.seen(), page.remaining());
        };
        let judged = list.read(&connection, start, take, || restarted(list.resource)).await;
        progress.clear();
        match judged {
            Ok(judged) => audit.extend(judged),
            // Without Deployments there is hardly anything to say.
            Err(error) if kind == Kind::Deployment => return Err(error.into()),
            Err(error) => {
                if let Some(why) = why_unknown(&connection, kind.root(), error).await? {
                    audit.cannot_list(kind.name(), why);
                }
            }
        }
    }
    // Reports do not say why a rollout is stuck, and who writes them need not look at pods.
    if !matches!(arguments.format, AuditFormat::OpenReports) {
        look_at_suspects(&mut audit, &connection).await?;
    }
    let Connection { server, context, .. } = connection;
    Ok(audit.report(Scope { server, context, namespace }))
}

/// Asks the pods of those whose rollout may not complete why that is.
async fn look_at_suspects(audit: &mut Audit<'_>, connection: &Connection) -> Result<(), RequestError> {
    let mut stuck = Vec::new();
    for suspect in audit.suspects() {
        let pods = live::pods(suspect.namespace(), &suspect.labels);
        let replica_sets = List {
            resource: "replicasets.apps",
            root: Kind::Deployment.root(),
            plural: "replicasets",
            ..pods
        };
        let read =
            async { Ok((list::all(&replica_sets, connection).await?, list::all(&pods, connection).await?)) };
        match read.await {
            Ok((replica_sets, pods)) => stuck.extend(suspect.diagnose(&replica_sets, &pods)),
            Err(RequestError::Forbidden { .. }) => stuck.push(suspect.unseen()),
            Err(error) => return Err(error),
        }
    }
    audit.found_stuck(stuck);
    Ok(())
}

/// Lists the Canaries of Flagger, of which there need be none; they are unknown to those who
/// may not.
async fn canaries(
    connection: &Connection,
    namespace: Option<&str>,
    limit: u32,
    unknown: &mut Vec<(&'static str, String)>,
) -> Result<Canaries, RequestError> {
    const ROOT: &str = "/apis/flagger.app/v1beta1";
    let list = List {
        resource: "canaries.flagger.app",
        root: ROOT,
        plural: "canaries",
        namespace,
        labels: "",
        limit,
    };
    let take = |all: &mut Canaries, page: Page| page.items.iter().for_each(|it| all.add(it));
    match list.read(connection, Canaries::default, take, || restarted(list.resource)).await {
        Ok(canaries) => Ok(canaries),
        Err(error) => {
            let why = why_unknown(connection, ROOT, error).await?;
            unknown.extend(why.map(|why| ("Canary", why)));
            Ok(Canaries::default())
        }
    }
}

/// Why the objects of a kind, served below `root`, are not known; `None` if there are none,
/// because it is not served.
async fn why_unknown(
    connection: &Connection,
    root: &'static str,
    error: RequestError,
) -> Result<Option<String>, RequestError> {
    match error {
        RequestError::NotFound { .. } => Ok(None),
        // Who may not ask for what is not there is told so before that it is not.
        RequestError::Forbidden { .. } => {
            Ok(list::is_served(connection, root).await?.then(|| error.to_string()))
        }
        _ => Err(error),
    }
}

fn list_of(kind: Kind, namespace: Option<&str>, limit: u32) -> List<'_> {
    let (resource, root, plural) = (kind.qualified_resource(), kind.root(), kind.resource());
    List { resource, root, plural, namespace, labels: "", limit }
}

/// The namespace with its label. Those who may not read it still learn what
/// they would hear from the default profile.
async fn one_namespace<'p>(
    connection: &Connection,
    name: &str,
    policy: &'p Policy,
    view: &View,
) -> Result<Namespaces<'p>, RequestError> {
    let mut namespaces = Namespaces::new(policy);
    match list::namespace(connection, name).await {
        Ok(namespace) => add(&mut namespaces, view, &namespace),
        Err(error @ RequestError::Forbidden { .. }) => {
            let profile = policy.resolve(None).name();
            note(&format!(
                "the profile of namespace {name} is not known, the default {profile} is taken: {error}"
            ));
        }
        Err(error) => return Err(error),
    }
    Ok(namespaces)
}

async fn all_namespaces<'p>(
    connection: &Connection,
    limit: u32,
    policy: &'p Policy,
    view: &View,
) -> Result<Namespaces<'p>, RequestError> {
    let list = List {
        resource: "namespaces",
        root: "/api/v1",
        plural: "namespaces",
        namespace: None,
        labels: "",
        limit,
    };
    let take = |namespaces: &mut Namespaces<'p>, page: Page| {
        page.items.iter().for_each(|it| add(namespaces, view, it));
    };
    list.read(connection, || Namespaces::new(policy), take, || restarted(list.resource)).await
}
