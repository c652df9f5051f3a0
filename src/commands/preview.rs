//! `gapless preview`: foretells rollouts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;

use serde_json::Value;
use tokio::runtime;

use super::check::choose_profile;
use super::cluster::of_context;
use super::live::{Learned, Live, Target, with_images};
use super::output;
use crate::cli::{PreviewArguments, PreviewFormat};
use crate::client::kubeconfig::{self, Choice};
use crate::clock;
use crate::config;
use crate::exit;
use crate::offline::source::{Name, Source};
use crate::preview::input::{self, Completed, Input};
use crate::preview::{self, Given, Rollout};
use crate::printable::printable;
use crate::report::{InputError, text};
use crate::rollout::{self, Assumed, Plan, millis};

/// The command that hints name, and the one that they should name here.
const CHECK: &str = "gapless check";
const PREVIEW: &str = "gapless preview";

/// Foretells the rollout of each workload, and says by its exit code whether all of the
/// input could be read.
///
/// # Errors
/// If the configuration or the profile is of no use, or the answers cannot be written.
/// What is wrong with a manifest is said on standard error.
pub fn run(arguments: &PreviewArguments) -> anyhow::Result<ExitCode> {
    let policy = config::load(arguments.config.as_deref())?;
    let profile = choose_profile(&policy, arguments.profile.as_deref())?;
    let today = clock::today();
    let live = live(arguments)?;
    let old = |live: &Named| source(&live.name, &live.live.object);
    let mut texts = Vec::new();
    for file in &arguments.files {
        match live.iter().find(|live| live.name == *file) {
            Some(live) => {
                texts.push(Ok(source(&live.name, &with_images(&live.live.object, &arguments.image)?)))
            }
            None => texts.append(&mut input::sources(slice::from_ref(file))),
        }
    }
    let mut input = input::read(texts, profile, today);
    let mut errors = std::mem::take(&mut input.errors);
    let mut from = match &arguments.from {
        Some(file) => Some(input::read(input::sources(slice::from_ref(file)), profile, today)),
        // As it is, without what the rollout brings along.
        None if !arguments.image.is_empty() => {
            Some(input::read(live.iter().map(|it| Ok(old(it))).collect(), None, today))
        }
        None => None,
    };
    if let Some(from) = &mut from {
        errors.append(&mut from.errors);
    }

    let mut rollouts = Vec::new();
    for workload in &input.workloads {
        let live = live.iter().find(|live| workload.place.name == Name::Path(live.name.clone()));
        let from = from.as_ref().filter(|_| arguments.from.is_some() || live.is_some());
        let learned = live.and_then(|live| live.live.starts_in).filter(|_| arguments.starts_in.is_none());
        match foretell(workload, &input, from, assumed(arguments, learned)) {
            Ok(rollout) => {
                let learned_from = learned.map_or(0, |learned| learned.pods);
                rollouts.push(Rollout { learned_from, ..rollout });
            }
            Err(message) => errors.push(InputError { place: workload.place.clone(), message, hint: None }),
        }
    }
    let answers = match arguments.format {
        PreviewFormat::Text => preview::text::write(&rollouts, given(arguments)),
        PreviewFormat::Svg => preview::svg::write(&rollouts),
        PreviewFormat::Json => preview::json::write(&rollouts)?,
    };
    output::print_plain(&answers)?;

    let mut said = String::new();
    for (place, because) in &input.skipped {
        said += &format!("{}: nothing is foretold: {}\n", printable(&place.to_string()), printable(because));
    }
    if input.workloads.is_empty() && input.skipped.is_empty() && errors.is_empty() {
        said += "there is no workload in it: a Deployment, StatefulSet, DaemonSet or Rollout\n";
    }
    for error in &mut errors {
        error.hint = error.hint.take().map(|hint| hint.replace(CHECK, PREVIEW));
        error.message = error.message.replace(CHECK, PREVIEW);
        text::error(error, &mut said);
    }
    output::print_error(&said)?;
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::UNUSABLE) })
}

/// What the rollout of one workload is going to do, or why nothing can be said of it.
fn foretell(
    workload: &Completed,
    input: &Input,
    from: Option<&Input>,
    assumed: Assumed,
) -> Result<Rollout, String> {
    let (kind, name) = (workload.kind, &workload.name);
    let because =
        |error: &dyn std::fmt::Display| format!("nothing can be foretold of {kind} {name}: {error}");
    let old = match from {
        None => None,
        Some(from) => {
            let old = from.workloads.iter().find(|old| old.is_version_of(workload));
            Some(old.ok_or_else(|| because(&"it is not in the file of --from"))?)
        }
    };
    let old = old.map(Completed::workload).transpose().map_err(|error| because(&error))?;
    let new = workload.workload().map_err(|error| because(&error))?;
    let quota = input.quota(workload);
    let plan = Plan { workload: &new, from: old.as_ref(), assumed, quota: quota.as_ref() };
    let forecast = rollout::foretell(&plan).map_err(|error| because(&error))?;
    Ok(Rollout { kind, namespace: workload.namespace.clone(), name: name.clone(), forecast, learned_from: 0 })
}

/// A live workload, under the name by which it was asked for.
struct Named {
    name: PathBuf,
    live: Live,
}

/// The arguments that are no files, from the cluster.
fn live(arguments: &PreviewArguments) -> anyhow::Result<Vec<Named>> {
    let targets = arguments.files.iter().filter_map(|name| Some((name, Target::parse(name)?)));
    let targets: Vec<(&PathBuf, Target)> = targets.collect();
    if targets.is_empty() {
        anyhow::ensure!(arguments.image.is_empty(), "--image is for a live workload, such as deployment/web");
        return Ok(Vec::new());
    }
    let choice =
        Choice { kubeconfig: arguments.kubeconfig.as_deref(), context: arguments.context.as_deref() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = kubeconfig::connect(choice).await?;
        let namespace = match &arguments.namespace {
            Some(namespace) => namespace.clone(),
            None => of_context(&connection)?,
        };
        let mut found = Vec::new();
        for (name, target) in targets {
            let live = target.read(&connection, &namespace).await?;
            found.push(Named { name: name.clone(), live });
        }
        Ok(found)
    })
}

fn source(name: &Path, object: &Value) -> Source {
    Source::new(Name::Path(name.to_owned()), format!("{object:#}"))
}

fn assumed(arguments: &PreviewArguments, learned: Option<Learned>) -> Assumed {
    let default = Assumed::default();
    let learned = learned.map_or(default.starts_in, |learned| learned.millis);
    Assumed {
        starts_in: arguments.starts_in.map_or(learned, millis),
        stops_in: arguments.stops_in.map_or(default.stops_in, millis),
        ..default
    }
}

fn given(arguments: &PreviewArguments) -> Given {
    Given { starts_in: arguments.starts_in.is_some(), stops_in: arguments.stops_in.is_some() }
}
