//! `gapless export`: the Deny rules as policies that the API server evaluates by itself.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::output;
use crate::cli::{ExportArguments, ExportFormat};
use crate::config;
use crate::exit;
use crate::export::{self, Form, Omission, manifests};
use crate::policy::Policy;
use crate::yaml::render;

/// Writes the documents, and says on standard error what they leave out; or says what is
/// wrong with a directory of them.
///
/// # Errors
/// If the configuration is of no use, or nothing can be read or written.
pub fn run(arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let form = match arguments.format {
        ExportFormat::Cel => Form::Api,
        ExportFormat::Static => Form::Static,
        ExportFormat::Chart => {
            output::print_plain(&render::document(&export::chart::file()))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let policy = config::load(arguments.config.as_deref())?;
    if let Some(directory) = &arguments.check {
        return check(directory, &policy);
    }
    let documents = export::documents(&policy, form);
    let texts: Vec<String> = documents.iter().map(render::document).collect();
    output::print_plain(&texts.join("---\n"))?;
    for omission in export::omissions(&policy) {
        output::print_error(&format!("note: {}\n", sentence(&omission)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what keeps an API server from starting with this directory, and what is in it that
/// is not what the configuration makes.
fn check(directory: &Path, policy: &Policy) -> anyhow::Result<ExitCode> {
    let unreadable = || format!("cannot read the directory {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let extension = path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
        let is_read = extension.is_some_and(|it| manifests::EXTENSIONS.contains(&it.as_str()));
        if path.is_file() && is_read {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            files.push((name.unwrap_or_default(), text));
        }
    }
    files.sort();
    let problems = manifests::problems(&files, &export::documents(policy, Form::Static));
    for problem in &problems {
        let place = directory.join(&problem.file);
        output::print_plain(&format!("{}: {}\n", place.display(), problem.message))?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FOUND) })
}

fn sentence(omission: &Omission) -> String {
    match omission {
        Omission::NothingDenies => {
            "there is no policy: no profile denies a kind that policies judge by a rule that CEL can express"
                .to_owned()
        }
        Omission::Rules(profile, rules) => format!(
            "the profile {profile} also denies by {}, which CEL cannot express: while gapless is away, nobody \
             judges that",
            rules.join(", ")
        ),
        Omission::Kind(kind) => format!(
            "no policy judges a {kind}: what is right in one, its controller knows and the API server does not"
        ),
    }
}
