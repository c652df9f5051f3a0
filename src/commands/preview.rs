//! `gapless preview`: foretells rollouts.

use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use super::check::choose_profile;
use super::output;
use crate::cli::{PreviewArguments, PreviewFormat};
use crate::clock;
use crate::config;
use crate::exit;
use crate::preview::input::{self, Completed, Input};
use crate::preview::{self, Given, Rollout};
use crate::printable::printable;
use crate::report::{InputError, text};
use crate::rollout::{self, Assumed, Millis, Plan};

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
    let mut input = input::read(&arguments.files, profile, today);
    let mut errors = std::mem::take(&mut input.errors);
    let mut from = arguments.from.as_ref().map(|file| input::read(slice::from_ref(file), profile, today));
    if let Some(from) = &mut from {
        errors.append(&mut from.errors);
    }

    let mut rollouts = Vec::new();
    for workload in &input.workloads {
        match foretell(workload, &input, from.as_ref(), assumed(arguments)) {
            Ok(rollout) => rollouts.push(rollout),
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
    Ok(Rollout { kind, namespace: workload.namespace.clone(), name: name.clone(), forecast })
}

fn assumed(arguments: &PreviewArguments) -> Assumed {
    let millis = |duration: Duration| Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX);
    let default = Assumed::default();
    Assumed {
        starts_in: arguments.starts_in.map_or(default.starts_in, millis),
        stops_in: arguments.stops_in.map_or(default.stops_in, millis),
        ..default
    }
}

fn given(arguments: &PreviewArguments) -> Given {
    Given { starts_in: arguments.starts_in.is_some(), stops_in: arguments.stops_in.is_some() }
}
