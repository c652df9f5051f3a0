//! `gapless fix`: writes into manifests what the webhook would inject.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anstyle::Style;
use jiff::civil::Date;
use tempfile::NamedTempFile;

use super::check::{choose_profile, in_plain_words};
use super::output;
use crate::cli::FixArguments;
use crate::clock;
use crate::config;
use crate::exit;
use crate::fix::{self, Deployment, FixError, Fixed};
use crate::injection::InjectError;
use crate::offline::inputs;
use crate::offline::source::{BYTE_ORDER_MARK, Name, Source, Unreadable};
use crate::offline::surroundings;
use crate::policy::Profile;
use crate::printable::printable;
use crate::report::{InputError, text};

/// The command that hints name, and the one that they should name here.
const CHECK: &str = "gapless check";
const FIX: &str = "gapless fix";

const BOLD: Style = Style::new().bold();

/// Fixes the files, says on standard error what was done, and by its exit code
/// how it went.
///
/// # Errors
/// If the configuration or the profile is of no use, or an output cannot be
/// written. What is wrong with a file is said on standard error.
pub fn run(arguments: &FixArguments) -> anyhow::Result<ExitCode> {
    let policy = config::load(arguments.config.as_deref())?;
    let profile = choose_profile(&policy, arguments.profile.as_deref())?;
    let inputs: Vec<_> =
        inputs::expand(&arguments.files).into_iter().map(|input| input.and_then(Source::read)).collect();
    let mut objects = surroundings::Objects::default();
    inputs.iter().flatten().for_each(|source| objects.add(source));
    let neighbours = objects.neighbours();
    let mut run =
        Run { arguments, profile, neighbours: &neighbours, today: clock::today(), count: Count::default() };
    for input in inputs {
        if let Err(errors) = input.map_err(one_error).and_then(|source| run.source(&source)) {
            run.count.failed += 1;
            let mut message = String::new();
            errors.iter().for_each(|error| text::error(error, &mut message));
            output::print_error(&message)?;
        }
    }
    output::print_error(&run.summary())?;
    Ok(match run.count {
        Count { failed: 1.., .. } => ExitCode::from(exit::UNUSABLE),
        Count { left: 1.., .. } => ExitCode::from(exit::FOUND),
        Count { changed: 1.., .. } if arguments.check => ExitCode::from(exit::FOUND),
        _ => ExitCode::SUCCESS,
    })
}

/// The work under way.
struct Run<'a> {
    arguments: &'a FixArguments,
    profile: Option<&'a Profile>,
    neighbours: &'a surroundings::Neighbours<'a>,
    today: Date,
    count: Count,
}

#[derive(Default)]
struct Count {
    /// Files that change.
    changed: usize,
    /// Files that do not.
    unchanged: usize,
    /// Files that could not be read or written.
    failed: usize,
    /// Deployments that could not be fixed.
    left: usize,
}

impl Run<'_> {
    /// Fixes one file.
    fn source(&mut self, source: &Source) -> Result<(), Vec<InputError>> {
        if source.name == Name::Stdin && source.text.trim().is_empty() {
            // Most likely what should have written it failed, which a pipe hides.
            let message = "there is nothing on standard input".to_owned();
            return Err(one_error(Unreadable::new(Name::Stdin, message)));
        }
        let fixed = match self.profile {
            Some(profile) => fix::fix(source, self.neighbours, profile, self.today)
                .map_err(|errors| errors.into_iter().map(InputError::from).collect::<Vec<_>>())?,
            None => Fixed::unchanged(source),
        };
        let unwritable = |error: io::Error| {
            one_error(Unreadable::new(source.name.clone(), format!("cannot write it: {error}")))
        };
        self.write(source, &fixed).map_err(unwritable)?;

        match fixed.is_changed() {
            true => self.count.changed += 1,
            false => self.count.unchanged += 1,
        }
        self.count.left += fixed.deployments.iter().filter(|it| it.outcome.is_err()).count();
        let message: String = fixed.deployments.iter().map(|deployment| self.message(deployment)).collect();
        output::print_error(&message).map_err(unwritable)
    }

    /// Writes the new text to where it belongs, or what changes.
    fn write(&self, source: &Source, fixed: &Fixed) -> io::Result<()> {
        if self.arguments.diff {
            return output::print_plain(&fixed.diff(source));
        }
        if self.arguments.check {
            return Ok(());
        }
        let mark = if source.has_byte_order_mark { BYTE_ORDER_MARK.to_string() } else { String::new() };
        let text = mark + &fixed.text;
        match &source.name {
            Name::Stdin => output::print_plain(&text),
            Name::Path(path) if fixed.is_changed() => replace_file(path, &text),
            Name::Path(_) => Ok(()),
        }
    }

    /// What is done to one Deployment.
    fn message(&self, deployment: &Deployment) -> String {
        let Deployment { name, place, outcome, problems } = deployment;
        let (name, place) = (printable(name), place.to_string());
        let place = printable(&place);
        let mut message = String::new();
        match outcome {
            Ok(added) => {
                let verb = if self.is_dry() { "would fix" } else { "fixed" };
                let (on, off) = (BOLD.render(), BOLD.render_reset());
                if !added.is_empty() {
                    line(&mut message, &format!("{on}{place}: {verb} Deployment {name}{off}"));
                }
                for it in added {
                    line(&mut message, &format!("  {} ({})", printable(&it.text), it.default));
                }
            }
            Err(left) => {
                let why = format!("cannot fix Deployment {name}: {}", left.message);
                let hint = "add the fields by hand, or waive the defaults".to_owned();
                let error = InputError { place: left.place.clone(), message: why, hint: Some(hint) };
                text::error(&error, &mut message);
            }
        }
        for problem in problems {
            line(&mut message, &format!("{place}: Deployment {name}: {}", printable(&problem.line())));
        }
        message
    }

    fn summary(&self) -> String {
        let Count { changed, unchanged, failed, left } = self.count;
        let files = |number: usize| if number == 1 { "1 file".to_owned() } else { format!("{number} files") };
        let verb = if self.is_dry() { "would change" } else { "changed" };
        let mut summary = format!("{} {verb}, {unchanged} unchanged", files(changed));
        if failed > 0 {
            summary.push_str(&format!(", {failed} with errors"));
        }
        if left > 0 {
            let deployments = if left == 1 { "Deployment" } else { "Deployments" };
            summary.push_str(&format!("; {left} {deployments} could not be fixed"));
        }
        if self.profile.is_none() {
            summary.push_str("; the profile is off");
        }
        summary + "\n"
    }

    fn is_dry(&self) -> bool {
        self.arguments.check || self.arguments.diff
    }
}

fn one_error(unreadable: Unreadable) -> Vec<InputError> {
    vec![unreadable.into()]
}

fn line(message: &mut String, text: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(message, "{text}");
}

/// Replaces the content of a file, at once: whoever reads it sees either the old
/// or the new one. A link goes on pointing at the file.
fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    let metadata = fs::metadata(&target)?;
    if metadata.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
    }
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    keep_owner(&metadata, file.path());
    file.as_file().set_permissions(metadata.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

/// As far as this user may: for root, which a container usually runs as, the
/// file would become root's otherwise.
#[cfg(unix)]
fn keep_owner(metadata: &fs::Metadata, file: &Path) {
    use std::os::unix::fs::{MetadataExt, chown};
    let _ = chown(file, Some(metadata.uid()), Some(metadata.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::Metadata, _: &Path) {}

impl From<FixError> for InputError {
    fn from(error: FixError) -> Self {
        match error {
            FixError::Unparsable(unparsable) => {
                let error = InputError::from(unparsable);
                InputError { hint: error.hint.map(|hint| hint.replace(CHECK, FIX)), ..error }
            }
            FixError::NotInjected { error: InjectError::WrongType(error), place, hint } => InputError {
                place,
                message: format!("{}: {}", error.path, in_plain_words(&error.message)),
                hint: hint.map(|hint| hint.replace(CHECK, FIX)),
            },
            FixError::NotInjected { error: InjectError::Patch(error), place, .. } => {
                let message = format!("gapless failed, please report this: {error}");
                InputError { place, message, hint: None }
            }
            FixError::NotAsExpected { place } => {
                let message = "gapless failed to write this document as it should be, please report this";
                InputError { place, message: message.to_owned(), hint: None }
            }
        }
    }
}
