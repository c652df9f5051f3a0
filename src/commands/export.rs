//! `gapless export`: the Deny rules as policies that the API server evaluates by itself.

use std::process::ExitCode;

use super::output;
use crate::cli::{ExportArguments, ExportFormat};
use crate::config;
use crate::export::{self, Form, Omission};
use crate::yaml::render;

/// Writes the documents, and says on standard error what they leave out.
///
/// # Errors
/// If the configuration is of no use, or nothing can be written.
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
    let documents = export::documents(&policy, form);
    let texts: Vec<String> = documents.iter().map(render::document).collect();
    output::print_plain(&texts.join("---\n"))?;
    for omission in export::omissions(&policy) {
        output::print_error(&format!("note: {}\n", sentence(&omission)))?;
    }
    Ok(ExitCode::SUCCESS)
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
