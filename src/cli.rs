//! The command line: definitions, nothing else.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::audit;
use crate::certificates::host::Host;
use crate::kubernetes::duration;
use crate::names::{is_dns_label, is_dns_subdomain};
use crate::observe::telemetry::LogFormat;
use crate::offline::inputs::Exclusion;
use crate::report::json;

/// A Kubernetes admission webhook that makes zero-downtime the default for
/// workloads.
///
/// gapless rejects what is going to drop requests during a rollout, and fills
/// in what people forget: readiness probe, preStop sleep, rolling parameters,
/// version labels.
///
/// Exit code: 0 if all is fine, 1 for findings that deny, 2 for bad usage or
/// input that cannot be read.
#[derive(Debug, Parser)]
#[command(name = "gapless", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Whether to use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: ColorChoice,
}

/// Reads the command line; on bad usage, and for `--help`, the program ends.
///
/// kubectl runs the program `kubectl-gapless` for `kubectl gapless`, and then
/// the help shows what the user typed.
pub fn parse() -> Cli {
    let program = std::env::args_os().next();
    let command = match program.as_deref().map(Path::new).and_then(Path::file_stem) {
        Some(name) if name == OsStr::new("kubectl-gapless") => Cli::command().bin_name("kubectl gapless"),
        _ => Cli::command(),
    };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the mutating and the validating webhook over TLS
    ///
    /// The API server calls POST /mutate/PROFILE and POST /validate/PROFILE;
    /// without a profile, the default one applies.
    ///
    /// The certificate comes from files (--tls-cert and --tls-key), or gapless keeps
    /// it in the cluster by itself (--self-managed-certificates). Without either, a
    /// CA and a certificate for localhost are made, in memory. The CA is written to
    /// a file, and a curl command that tries it all is printed.
    ///
    /// On SIGTERM or SIGINT, /readyz fails at once. The webhooks go on until
    /// everybody has noticed, close each connection with its next answer, and
    /// finish what has begun. A second signal ends gapless at once.
    ///
    ///   gapless serve --bind 127.0.0.1:9443 --ops-bind 127.0.0.1:8080
    ///   gapless serve --config gapless.yaml --tls-cert tls.crt --tls-key tls.key
    #[command(verbatim_doc_comment)]
    Serve(Box<ServeArguments>),

    /// Judge manifests in files as the webhook would
    ///
    /// Deployments, StatefulSets, DaemonSets and Rollouts of Argo are judged as if
    /// they were created now, after gapless has injected its defaults. Lists are
    /// opened; objects of other kinds are what stands around them, skipped and
    /// counted. A Service that is there twice switches from the one to the other,
    /// which is judged if the selector differs. Nothing is changed.
    ///
    /// Files are read as kubectl reads them: of two equal keys the last one
    /// counts, which a note says. What lacks something that the API server
    /// requires (a selector, an image), or has a $patch key, is a part of an
    /// object, such as a patch for Kustomize: it is skipped. A value that the API
    /// server refuses is an error.
    ///
    /// Templates have to be rendered first, and placeholders filled in. A chart
    /// in a directory is one error, unless --exclude leaves it out:
    ///
    ///   gapless check --exclude charts deploy/
    ///   gapless check --cluster --context staging deploy/
    ///   helm template CHART | gapless check -
    ///   kubectl kustomize DIR | gapless check -
    ///
    /// Exit code: 0 if nothing would be denied, 1 if something would be, 2 if
    /// something cannot be read; what can be read is judged all the same.
    #[command(after_long_help = json::SHAPE, verbatim_doc_comment)]
    Check(CheckArguments),

    /// Write into manifests what the webhook would inject
    ///
    /// Deployments, StatefulSets, DaemonSets and Rollouts of Argo get what gapless
    /// would inject if they were created now. Nothing else in the file changes: comments, order, quotes and
    /// indentation stay. Applied, such a file leaves the webhook nothing to add but
    /// version labels.
    ///
    /// What stands in a file is yours from then on: a later run changes none of
    /// it. So version labels are written only with --version-labels: a copy of the
    /// tag has to be changed together with the image, while the webhook keeps its
    /// own right. Only in a file that kubectl get wrote are values replaced: those
    /// that the API server filled in, and those that its annotation
    /// gapless.dev/injected names.
    ///
    /// Whether a profile injects or only announces makes no difference here; with
    /// the profile off nothing changes.
    ///
    /// YAML and JSON are edited alike. Templates have to be rendered first, since
    /// they are neither:
    ///
    ///   helm template CHART | gapless fix - | kubectl apply -f -
    ///
    /// What is only a part of an object, such as a patch for Kustomize, stays as it
    /// is. A whole object does not get what a patch in the same input brings: merged,
    /// a probe would have two handlers.
    ///
    /// What cannot be written is left out, and a message says why: new fields that
    /// belong into text which other places use too (anchors with aliases, merge
    /// keys), and documents that cannot be read. All else is written.
    ///
    /// Exit code: 0 if all is well, 1 if something had to be left out, or with
    /// --check if a file would change, 2 if something cannot be read or written.
    #[command(verbatim_doc_comment)]
    Fix(FixArguments),

    /// Foretell what a rollout is going to do
    ///
    /// For each Deployment, StatefulSet, DaemonSet and Rollout of Argo in the input:
    /// how long its rollout takes, how few pods are available meanwhile, how many
    /// there are at once, and where it stalls. The workload counts as its profile
    /// completes it; only its template changes, or with --from whatever differs.
    ///
    /// What no manifest tells is asked for: how long a container takes until it
    /// listens, and its process until it ends. Durations are a range, for the
    /// kubelet is not exact either.
    ///
    ///   gapless preview --starts-in 8s deploy/web.yaml
    ///   helm template CHART | gapless preview -
    ///   gapless preview deployment/web -n shop --image app=registry.example/app:v2
    ///
    /// Of a live workload, how long a container takes until it listens is learned from
    /// its pods that are ready and never restarted, which needs the permission to list
    /// pods.
    ///
    /// Exit code: 0 if all of the input could be read, also if a rollout stalls, 2 if
    /// not; of what can be read is foretold all the same.
    #[command(verbatim_doc_comment)]
    Preview(PreviewArguments),

    /// Judge the workloads of a live cluster as the webhook would
    ///
    /// Each Deployment, StatefulSet, DaemonSet and Rollout is judged as if it were created now, by the profile of
    /// its namespace (label gapless.dev/profile), after gapless has injected
    /// its defaults. It says what would be denied, and what the next rollout
    /// would inject. No workload is changed.
    ///
    /// The cluster is found as kubectl finds it: KUBECONFIG, ~/.kube/config,
    /// or the service account of a pod. Needed are the permissions to list
    /// deployments.apps, and to get the namespace or to list all of them; other
    /// workloads and what stands around them (Services, autoscalers, disruption
    /// budgets, claims, Canaries of Flagger) are named if they cannot be listed, and
    /// count as unknown. Where
    /// gapless is installed, namespaces that its webhooks leave out are left out
    /// too; that needs the permissions to list both kinds of webhook
    /// configurations.
    ///
    ///   gapless audit -n shop --preview
    ///   gapless audit -A -f json
    ///   gapless audit -A -f html > report.html
    ///
    /// As a plugin of kubectl, which looks for a program of that name:
    ///
    ///   ln -s "$(command -v gapless)" /usr/local/bin/kubectl-gapless
    ///   kubectl gapless audit -A
    ///
    /// Where OpenReports is installed, dashboards show what is found beside what other
    /// tools find. --apply keeps the reports of the workloads looked at: it writes
    /// what has changed, with the time at which each result was first seen, and
    /// removes the reports of which nothing is left. Of what could not be listed, they
    /// stay. Needed are the verbs list, create, patch and delete of
    /// reports.openreports.io; without its CustomResourceDefinition, nothing is done.
    ///
    ///   gapless audit -A -f openreports --apply
    ///   kubectl get reports -A
    ///
    /// Exit code: 0 if nothing would be denied, 1 if something would be, 2 if
    /// the cluster cannot be read. With --apply 0, whatever was found, and 2 if the
    /// cluster cannot be read or the reports cannot be written.
    #[command(after_long_help = audit_forms(), verbatim_doc_comment)]
    Audit(AuditArguments),

    /// Make a CA and a certificate, for development and air-gapped installs
    ///
    /// Four files are written, in PEM, with ECDSA P-256 keys:
    ///
    ///   ca.crt   what the API server trusts: the chart's value webhooks.caBundle
    ///   ca.key   what signs more certificates for the same names
    ///   tls.crt  the serving certificate, valid for 1 year, its CA for 2
    ///   tls.key  its private key; the two make a Secret of type kubernetes.io/tls
    ///
    ///   gapless certs --out certificates --dns gapless.gapless-system.svc
    ///
    /// The commands that use them are printed. The CA can sign for the names that
    /// are given and for names below them, and for nothing else.
    ///
    /// Nothing renews the certificate: write a new one to another directory before
    /// it expires, and put it into the Secret. gapless serve follows the change.
    /// Where cert-manager runs, let it keep the Secret instead. A gapless in the
    /// cluster needs none of this: it makes and renews its certificates by itself.
    ///
    /// Either all four files are written or none, and none is overwritten.
    ///
    /// Exit code: 0 if all is well, 2 if not.
    #[command(verbatim_doc_comment)]
    Certs(CertsArguments),

    /// Ask whether the API server of a cluster reaches its webhooks
    ///
    /// For each webhook of gapless in the MutatingWebhookConfigurations and
    /// ValidatingWebhookConfigurations, the API server is to create a Deployment in a
    /// namespace that the webhook selects. It is a dry run: nothing is stored. The
    /// Deployment carries a waiver of nothing, about which gapless warns; a warning
    /// that does not come back means that gapless was not asked. Where nothing can be
    /// created, it says "not asked", and why.
    ///
    /// It runs anywhere. The cluster is found as kubectl finds it. Needed are the
    /// permissions to list both kinds of webhook configurations and the namespaces,
    /// and to create deployments.apps.
    ///
    /// With --direct gapless is called without the API server, as helm test does.
    ///
    ///   gapless ping --wait 30s
    ///
    /// Exit code: 0 if each webhook that was asked answers, 1 if one does not, 2 if
    /// none could be asked.
    #[command(verbatim_doc_comment)]
    Ping(PingArguments),

    /// Write the rules that deny as policies of the API server itself
    ///
    /// While gapless does not answer, failurePolicy decides: with Ignore, everything
    /// passes unjudged. A ValidatingAdmissionPolicy is evaluated by the API server, in
    /// CEL, and needs nobody else. One comes with its binding for each profile that
    /// denies:
    ///
    ///   gapless export | kubectl apply --server-side -f -
    ///
    /// (or the chart's value backstop.enabled). A policy judges as gapless does that knows
    /// nothing of what stands around an object, or milder, never harsher. The same
    /// namespaces have it by their label, the same objects and users are let be; what was
    /// there before does not deny, nor does what scales, pauses, deletes or is a kubectl
    /// rollout undo; waivers count. It denies or is silent: what only warns, and what is
    /// injected, is left to gapless.
    ///
    /// It knows no other object. So where gapless would have known better, the waiver or
    /// the undo is needed: for a rollback by anything but kubectl rollout undo (such as
    /// helm rollback), and for one replica that an autoscaler raises.
    /// Rollouts of Argo are not judged. The page of each rule says what CEL cannot tell;
    /// which rules of a configuration it cannot express at all, a note on standard error
    /// says.
    ///
    /// With --format static they are files for an API server that reads its admission
    /// configuration from a directory (ManifestBasedAdmissionControlConfig, off in
    /// Kubernetes 1.36, on from 1.37; older ones ignore the option without a word). A
    /// wrong file keeps it from starting: --check DIR finds it first, and files that the
    /// configuration would write otherwise today. Of other policies there, it does not look
    /// into expressions.
    ///
    /// Exit code: 0 if all is well, 1 if --check finds something, 2 if the configuration
    /// or the directory is of no use.
    #[command(verbatim_doc_comment)]
    Export(ExportArguments),

    /// List the rules and defaults, or explain one, or a way to release
    ///
    ///   gapless rules                        all of them, in a table
    ///   gapless rules missing-pre-stop       why it matters, and what to write instead
    ///   gapless rules blue-green             a way to release
    #[command(verbatim_doc_comment)]
    Rules(RulesArguments),

    /// Print the JSON Schema of the configuration, a GaplessConfiguration
    ///
    /// Editors complete and check a file by it:
    ///
    ///   gapless schema > gapless.schema.json
    #[command(verbatim_doc_comment)]
    Schema,

    /// Print a script with which a shell completes commands and options
    ///
    ///   source <(gapless completions bash)             in ~/.bashrc
    ///   gapless completions zsh > "${fpath[1]}/_gapless"
    ///   gapless completions fish > ~/.config/fish/completions/gapless.fish
    #[command(verbatim_doc_comment)]
    Completions(CompletionsArguments),
}

fn audit_forms() -> String {
    format!("{}\n\n{}", audit::json::SHAPE, audit::openreports::SHAPE)
}

/// The arguments of `gapless completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The arguments of `gapless export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// How the API server gets the policies: cel for kubectl apply, static for files
    #[arg(short, long, value_name = "FORMAT", default_value = "cel", hide_possible_values = true)]
    pub format: ExportFormat,

    /// Write nothing, and say what is wrong with this directory of policies, with which an
    /// API server is to start
    #[arg(long, value_name = "DIR")]
    pub check: Option<PathBuf>,

    /// Configuration, a YAML file of kind GaplessConfiguration; without it, the
    /// built-in profiles
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The forms in which policies are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExportFormat {
    /// For the API.
    Cel,
    /// For a directory that the API server reads.
    Static,
    /// What the chart puts them together from.
    #[value(hide = true)]
    Chart,
}

/// The arguments of `gapless check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// YAML or JSON files; directories, which stand for the .yaml, .yml and
    /// .json files in and below them, without hidden ones; "-" for standard
    /// input
    #[arg(value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,

    /// Leave out files and directories: a name, such as vendor or
    /// "*.tmpl.yaml", or a path with slashes, such as "charts/**/ci"; for
    /// several, repeat it
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<Exclusion>,

    /// Form of the report: text for people, json for programs, html for a page, which loads
    /// nothing from elsewhere, sarif for code scanning, github for GitHub Actions
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: CheckFormat,

    /// Say of each workload what its rollout is going to do, in a line of the text; gapless
    /// preview shows it at length
    #[arg(long)]
    pub preview: bool,

    /// Profile to judge by; without it, the default profile of the
    /// configuration
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,

    /// Configuration, a YAML file of kind GaplessConfiguration; without it, the
    /// default profile is production
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,

    /// Judge as the gapless of a live cluster would: by its configuration (or that of
    /// --config or GAPLESS_CONFIG) and the profile of each namespace, with what stands around,
    /// and what exists as a change of it. A document without a namespace is in that of the
    /// context
    #[arg(long, conflicts_with = "profile")]
    pub cluster: bool,

    /// Context of the kubeconfig; without it, the current one
    #[arg(long, value_name = "CONTEXT", requires = "cluster")]
    pub context: Option<String>,

    /// Kubeconfig file, instead of those that kubectl would read
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub kubeconfig: Option<PathBuf>,
}

/// The arguments of `gapless fix`.
#[derive(Debug, Args)]
pub struct FixArguments {
    /// YAML or JSON files; directories, which stand for the .yaml, .yml and
    /// .json files in and below them, without hidden ones; "-" for standard
    /// input, which is written to standard output
    #[arg(value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,

    /// Write nothing, and exit with 1 if a file would change
    #[arg(long)]
    pub check: bool,

    /// Write nothing but the changes, to standard output, as a unified diff
    #[arg(long)]
    pub diff: bool,

    /// Write version labels too. They are copies of the image's tag, and have to be
    /// changed with it; the webhook keeps them right by itself
    #[arg(long)]
    pub version_labels: bool,

    /// Leave out files and directories: a name, such as vendor or
    /// "*.tmpl.yaml", or a path with slashes, such as "charts/**/ci"; for
    /// several, repeat it
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<Exclusion>,

    /// Profile whose defaults to write; without it, the default profile of the
    /// configuration
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,

    /// Configuration, a YAML file of kind GaplessConfiguration; without it, the
    /// default profile is production
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The forms of the report of `gapless check`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For code scanning.
    Sarif,
    /// For GitHub Actions.
    Github,
    /// For people, as a page.
    Html,
}

/// The arguments of `gapless preview`.
#[derive(Debug, Args)]
pub struct PreviewArguments {
    /// YAML or JSON files; "-" for standard input; KIND/NAME for a workload of a live
    /// cluster, such as deployment/web, unless there is a file of that name
    #[arg(value_name = "FILE|-|KIND/NAME", required = true)]
    pub files: Vec<PathBuf>,

    /// Another image of a container of live workloads; "*" stands for all containers
    #[arg(long, value_name = "CONTAINER=IMAGE", value_parser = container_image)]
    pub image: Vec<(String, String)>,

    /// Namespace of live workloads; without it, that of the context
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace_name)]
    pub namespace: Option<String>,

    /// Context of the kubeconfig; without it, the current one
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// Kubeconfig file, instead of those that kubectl would read
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Form of the answers: text for people, json for programs, svg for a page
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: PreviewFormat,

    /// Roll from the workload of the same name in this file, whose replicas, strategy
    /// and template may be others; without it, only the template changes
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// How long a container takes until it listens; without it, 3s are assumed
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub starts_in: Option<Duration>,

    /// How long a process takes to end after SIGTERM; without it, 1s is assumed
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub stops_in: Option<Duration>,

    /// Profile that completes the workloads; without it, the default profile of the
    /// configuration
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,

    /// Configuration, a YAML file of kind GaplessConfiguration; without it, the
    /// default profile is production
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,
}

fn container_image(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((container, image)) if !container.is_empty() && !image.is_empty() => {
            Ok((container.to_owned(), image.to_owned()))
        }
        _ => Err("write CONTAINER=IMAGE, such as app=registry.example/app:v2".to_owned()),
    }
}

/// The forms of the answers of `gapless preview`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PreviewFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For a page.
    Svg,
}

/// The arguments of `gapless audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Namespace to look at; without it, that of the context
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace_name)]
    pub namespace: Option<String>,

    /// Look at all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// Form of the report: text for people, json for programs, html for a page, which loads
    /// nothing from elsewhere, openreports for OpenReports
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: AuditFormat,

    /// Keep the reports in the cluster, in place of printing them; needs -f openreports
    #[arg(long)]
    pub apply: bool,

    /// Say of each workload what its next rollout is going to do, in a line of the text; gapless
    /// preview shows it at length
    #[arg(long)]
    pub preview: bool,

    /// Configuration, a YAML file of kind GaplessConfiguration; without it, the
    /// default profile is production
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,

    /// Context of the kubeconfig; without it, the current one
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// Kubeconfig file, instead of those that kubectl would read
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// How many objects to read at once
    #[arg(long, value_name = "NUMBER", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub chunk_size: u32,
}

/// The forms of the report of `gapless audit`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AuditFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For people, as a page.
    Html,
    /// For OpenReports.
    #[value(name = "openreports")]
    OpenReports,
}

/// The arguments of `gapless certs`.
#[derive(Debug, Args)]
pub struct CertsArguments {
    /// Directory to write to; it is created if there is none
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// DNS name or IP address that the API server calls gapless by; for several,
    /// repeat it. The default is the Service of a release "gapless" in namespace
    /// gapless-system
    #[arg(long, value_name = "NAME", default_value = "gapless.gapless-system.svc")]
    pub dns: Vec<Host>,
}

/// The arguments of `gapless ping`.
#[derive(Debug, Args)]
pub struct PingArguments {
    /// Name of the MutatingWebhookConfiguration and of the
    /// ValidatingWebhookConfiguration, which then are all that has to be read of
    /// them; without it, all are looked through for webhooks of gapless
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub webhook_configurations: Option<String>,

    /// Call each webhook from here, through its Service, trusting its caBundle only.
    /// This shows whether gapless answers, not whether the API server reaches it. It
    /// has to run where cluster IPs can be reached, as in a pod, and needs the
    /// permission to get the Service in place of those on namespaces and Deployments
    #[arg(long)]
    pub direct: bool,

    /// How long to try again if one does not answer
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    pub wait: Duration,

    /// Context of the kubeconfig; without it, the current one
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// Kubeconfig file, instead of those that kubectl would read
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The arguments of `gapless rules`.
#[derive(Debug, Args)]
pub struct RulesArguments {
    /// Rule, default or way to release whose page to show
    pub id: Option<String>,

    /// Form of the output: text for people, json for programs
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: RulesFormat,
}

/// The forms of the output of `gapless rules`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RulesFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The arguments of `gapless serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Configuration, a YAML file of kind GaplessConfiguration, see "gapless
    /// schema"; without it, every namespace has the profile production
    #[arg(long, value_name = "FILE", env = "GAPLESS_CONFIG")]
    pub config: Option<PathBuf>,

    /// How often to look whether the configuration has changed. A changed one
    /// takes effect at once; if it cannot be used, the older one stays in force
    #[arg(long, value_name = "DURATION", env = "GAPLESS_CONFIG_POLL_INTERVAL", default_value = "2s", value_parser = positive)]
    pub config_poll_interval: Duration,

    /// Serving certificate, a PEM file; intermediate certificates come after it
    #[arg(long, value_name = "FILE", env = "GAPLESS_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the serving certificate, a PEM file: PKCS#8, SEC1 or
    /// PKCS#1, not encrypted
    #[arg(long, value_name = "FILE", env = "GAPLESS_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// How often to look whether these two files have changed. New connections are
    /// served with the new certificate; if it cannot be used, the older one stays
    #[arg(long, value_name = "DURATION", env = "GAPLESS_TLS_POLL_INTERVAL", default_value = "10s", value_parser = positive)]
    pub tls_poll_interval: Duration,

    /// Follow what stands around workloads in the cluster: Services, autoscalers,
    /// disruption budgets, claims and other workloads. The cluster is found as kubectl
    /// finds it
    #[arg(long, env = "GAPLESS_CLUSTER_CONTEXT")]
    pub cluster_context: bool,

    #[command(flatten)]
    /// Certificates that gapless makes and renews by itself.
    pub self_managed: SelfManagedArguments,

    /// Answer only clients that show a certificate of these CAs, a PEM file. An API
    /// server does so if it has been told to (--admission-control-config-file). The
    /// file is looked at again as often as the two above
    #[arg(long, value_name = "FILE", env = "GAPLESS_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,

    /// Of these clients, answer only the one whose certificate has this common name
    /// or DNS name; for several, repeat it
    #[arg(
        long,
        value_name = "NAME",
        env = "GAPLESS_CLIENT_NAME",
        value_delimiter = ',',
        requires = "client_ca"
    )]
    pub client_name: Vec<String>,

    /// Address of the webhooks, HTTPS; the default is every address of the host,
    /// IPv4 too, and port 0 is any free port
    #[arg(long, value_name = "ADDRESS", env = "GAPLESS_BIND", default_value = "[::]:9443", value_parser = socket_address)]
    pub bind: SocketAddr,

    /// Address of /livez, /readyz and /metrics, plain HTTP
    #[arg(long, value_name = "ADDRESS", env = "GAPLESS_OPS_BIND", default_value = "[::]:8080", value_parser = socket_address)]
    pub ops_bind: SocketAddr,

    /// How many reviews may be under way at once; one more is answered with 429
    /// right away
    // One API server lets 200 writes in at once (its
    // --max-mutating-requests-inflight), and each waits for one call at a time
    // to a mutating webhook; this is enough for three of them.
    #[arg(long, value_name = "NUMBER", env = "GAPLESS_MAX_IN_FLIGHT", default_value = "600")]
    pub max_in_flight: NonZeroUsize,

    /// How long to go on as usual after SIGTERM, until the API server has
    /// noticed that this pod is not ready any more
    #[arg(long, value_name = "DURATION", env = "GAPLESS_SHUTDOWN_DELAY", default_value = "5s", value_parser = duration::parse)]
    pub shutdown_delay: Duration,

    /// How long reviews may take to finish after that; what is left is cut off
    // The API server waits for a webhook for 30 s at most (timeoutSeconds).
    #[arg(long, value_name = "DURATION", env = "GAPLESS_DRAIN_LIMIT", default_value = "30s", value_parser = duration::parse)]
    pub drain_limit: Duration,

    /// Form of the log on standard error
    #[arg(long, value_name = "FORMAT", env = "GAPLESS_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What to log: error, warn, info, debug, trace or off, also for single
    /// modules, such as "info,rustls=debug"
    #[arg(long, value_name = "FILTER", env = "GAPLESS_LOG", default_value = "info")]
    pub log: String,
}

/// The arguments of `gapless serve` about certificates that it makes and renews by
/// itself.
#[derive(Debug, Args)]
pub struct SelfManagedArguments {
    /// Make a CA and a certificate and renew them in time. They are kept in a
    /// Secret, and the CA is kept in the caBundle of all webhooks of the webhook
    /// configurations. The cluster is found as kubectl finds it
    #[arg(
        long,
        env = "GAPLESS_SELF_MANAGED_CERTIFICATES",
        conflicts_with = "tls_cert",
        requires_all = ["certificate_secret", "certificate_host", "webhook_configurations"]
    )]
    pub self_managed_certificates: bool,

    /// Name of that Secret. One that gapless has not made is left alone
    #[arg(long, value_name = "NAME", env = "GAPLESS_CERTIFICATE_SECRET", value_parser = object_name, requires = "self_managed_certificates")]
    pub certificate_secret: Option<String>,

    /// Namespace of that Secret; without it, that of the service account or of the
    /// kubeconfig's context
    #[arg(long, value_name = "NAMESPACE", env = "GAPLESS_CERTIFICATE_SECRET_NAMESPACE", value_parser = namespace_name, requires = "self_managed_certificates")]
    pub certificate_secret_namespace: Option<String>,

    /// DNS name or IP address that the API server calls gapless by, such as
    /// gapless.gapless-system.svc; for several, repeat it
    #[arg(
        long,
        value_name = "NAME",
        env = "GAPLESS_CERTIFICATE_HOST",
        value_delimiter = ',',
        requires = "self_managed_certificates"
    )]
    pub certificate_host: Vec<Host>,

    /// Name of the MutatingWebhookConfiguration and of the
    /// ValidatingWebhookConfiguration
    #[arg(long, value_name = "NAME", env = "GAPLESS_WEBHOOK_CONFIGURATIONS", value_parser = object_name, requires = "self_managed_certificates")]
    pub webhook_configurations: Option<String>,

    /// How often to look at these three objects.
    // A wrong bundle is repaired that late, and a new webhook gets its bundle.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive, hide = true)]
    pub certificate_poll_interval: Duration,

    /// How long a new CA has to be in every bundle until a certificate of it is
    /// served.
    // API servers see a change of the configurations after fractions of a second;
    // this is for one that is busy or has just reconnected.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse, hide = true)]
    pub ca_trust_delay: Duration,

    /// How long a certificate is valid: 90 days.
    #[arg(long, value_name = "DURATION", default_value = "2160h", value_parser = positive, hide = true)]
    pub certificate_lifetime: Duration,

    /// How long a CA is valid: 2 years.
    #[arg(long, value_name = "DURATION", default_value = "17520h", value_parser = positive, hide = true)]
    pub ca_lifetime: Duration,
}

fn positive(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    if interval.is_zero() { Err("write more than 0, such as 2s".to_owned()) } else { Ok(interval) }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, such as [::]:9443 or 127.0.0.1:9443".to_owned())
}

/// A name that a namespace may have (RFC 1123 label).
///
/// # Errors
/// What such a name looks like.
pub fn namespace_name(text: &str) -> Result<String, String> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("write lower case letters, digits and -, at most 63, with a letter or digit at both ends".to_owned())
}

/// A name that an object may have (RFC 1123 subdomain).
fn object_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("write lower case letters, digits, - and ., at most 253, with a letter or digit at both ends and \
         beside each ."
        .to_owned())
}
