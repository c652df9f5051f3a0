//! `gapless fix`: writes into manifests what the webhook would inject.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anstyle::Style;
use tempfile::NamedTempFile;

use super::check::choose_profile;
use super::{output, progress};
use crate::cli::FixArguments;
use crate::clock;
use crate::config;
use crate::exit;
use crate::fix::parts::{self, Parts};
use crate::fix::{self, FixError, Fixed, Terms, Workload};
use crate::offline::documents::Parsed;
use crate::offline::inputs;
use crate::offline::source::{BYTE_ORDER_MARK, Name, Source, Unreadable};
use crate::offline::surroundings;
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
    let sources: Vec<_> = inputs::expand(&arguments.files, &arguments.exclude)
        .into_iter()
        .map(|input| input.and_then(Source::read))
        .collect();
    let kustomizations = kustomizations(&sources);
    let files: Vec<_> = progress::counted("files", sources.iter().collect())
        .map(|source| source.as_ref().map(Parsed::of))
        .collect();
    let mut objects = surroundings::Objects::default();
    files.iter().flatten().for_each(|file| objects.add(file));
    let neighbours = objects.neighbours();
    let beside: Vec<_> = kustomizations.iter().map(Parsed::of).collect();
    let parts = Parts::of(files.iter().flatten().chain(&beside));
    let terms = profile.map(|profile| Terms {
        profile,
        today: clock::today(),
        version_labels: arguments.version_labels,
        parts: &parts,
        neighbours: &neighbours,
    });
    let mut run = Run { arguments, terms, count: Count::default() };
    for file in &files {
        let errors = match file {
            Ok(file) => run.file(file)?,
            Err(unreadable) => {
                let error = InputError::from((*unreadable).clone());
                vec![InputError { message: error.message.replace(CHECK, FIX), ..error }]
            }
        };
        if !errors.is_empty() {
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

/// The kustomizations beside the files, as far as they are not among them. They tell what
/// is a patch.
fn kustomizations(sources: &[Result<Source, Unreadable>]) -> Vec<Source> {
    let paths = sources.iter().flatten().filter_map(|source| match &source.name {
        Name::Path(path) => Some(path),
        Name::Stdin => None,
    });
    let known: BTreeSet<_> = paths.clone().collect();
    let directories: BTreeSet<_> = paths.filter_map(|path| path.parent()).collect();
    let all =
        directories.into_iter().flat_map(|directory| parts::FILE_NAMES.map(|name| directory.join(name)));
    let beside = all.filter(|path| !known.contains(path) && path.is_file());
    // What cannot be read is nobody's input.
    beside.filter_map(|path| Source::read(Name::Path(path)).ok()).collect()
}

/// The work under way.
struct Run<'a> {
    arguments: &'a FixArguments,
    /// `None` if the profile is off.
    terms: Option<Terms<'a>>,
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
    /// Workloads to which not all could be added.
    left: usize,
    /// Parts of objects, which are left alone.
    parts: usize,
}

impl Run<'_> {
    /// Fixes one file. Returns what could not be read or written of it.
    fn file(&mut self, file: &Parsed) -> io::Result<Vec<InputError>> {
        let source = file.source;
        if source.name == Name::Stdin && source.text.trim().is_empty() {
            return Ok(vec![Unreadable::empty_stdin().into()]);
        }
        let mut fixed = match &self.terms {
            Some(terms) => fix::fix(file, terms),
            None => Fixed::unchanged(source),
        };
        let mut errors: Vec<_> = fixed.errors.drain(..).map(InputError::from).collect();
        if let Err(error) = self.write(source, &fixed) {
            errors.push(Unreadable::new(source.name.clone(), format!("cannot write it: {error}")).into());
            return Ok(errors);
        }
        match fixed.is_changed() {
            true => self.count.changed += 1,
            false if errors.is_empty() => self.count.unchanged += 1,
            false => {}
        }
        self.count.left += fixed.workloads.iter().filter(|it| !it.left.is_empty()).count();
        self.count.parts += fixed.parts;
        let message: String = fixed.workloads.iter().map(|workload| self.message(workload)).collect();
        output::print_error(&message)?;
        Ok(errors)
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

    /// What is done to one workload.
    fn message(&self, workload: &Workload) -> String {
        let Workload { kind, name, place, added, left, brought, problems } = workload;
        let (name, place) = (printable(name), place.to_string());
        let place = printable(&place);
        let mut message = String::new();
        let verb = if self.is_dry() { "would fix" } else { "fixed" };
        let (on, off) = (BOLD.render(), BOLD.render_reset());
        if !added.is_empty() {
            line(&mut message, &format!("{on}{place}: {verb} {kind} {name}{off}"));
        }
        for it in added {
            line(&mut message, &format!("  {} ({})", printable(&it.text), it.default));
        }
        for it in left {
            let why = format!("cannot fix {kind} {name}: {} ({})", it.message, it.default);
            let hint = format!("add it by hand, or waive it: gapless.dev/waive.{}", it.default);
            text::error(
                &InputError { place: it.place.clone(), message: why, hint: Some(hint) },
                &mut message,
            );
        }
        for (default, patch) in brought {
            let why =
                format!("{place}: {kind} {name}: left to the patch in {} ({default})", printable(patch));
            line(&mut message, &why);
        }
        for problem in problems {
            line(&mut message, &format!("{place}: {kind} {name}: {}", printable(&problem.line())));
        }
        message
    }

    fn summary(&self) -> String {
        let Count { changed, unchanged, failed, left, parts } = self.count;
        let files = |number: usize| if number == 1 { "1 file".to_owned() } else { format!("{number} files") };
        let verb = if self.is_dry() { "would change" } else { "changed" };
        let mut summary = format!("{} {verb}, {unchanged} unchanged", files(changed));
        if failed > 0 {
            summary.push_str(&format!(", {failed} with errors"));
        }
        if left > 0 {
            let workloads = if left == 1 { "workload" } else { "workloads" };
            summary.push_str(&format!("; {left} {workloads} could not be fixed in all points"));
        }
        if parts > 0 {
            let objects =
                if parts == 1 { "1 part of an object" } else { &format!("{parts} parts of objects") };
            summary.push_str(&format!("; {objects} left alone"));
        }
        if self.terms.is_none() {
            summary.push_str("; the profile is off");
        }
        summary + "\n"
    }

    fn is_dry(&self) -> bool {
        self.arguments.check || self.arguments.diff
    }
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
            FixError::Wrong { place, message, hint } => {
                InputError { place, message, hint: hint.map(|hint| hint.replace(CHECK, FIX)) }
            }
            FixError::NotInjected { error, place } => {
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
