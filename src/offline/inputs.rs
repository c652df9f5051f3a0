//! From the arguments of the command line to the files to read.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::{Name, Unreadable};

/// The files that directories are searched for, by the end of their names.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The files that `arguments` name, in the order in which to read them: `-` is
/// standard input, and a directory stands for the manifests in it and below it,
/// sorted by name. Hidden files and directories are left out, such as `.git`.
///
/// What cannot be listed is an error in its place, and hides nothing else.
pub fn expand(arguments: &[PathBuf]) -> Vec<Result<Name, Unreadable>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            inputs.push(Ok(Name::Stdin));
        } else if argument.is_dir() {
            let before = inputs.len();
            search(argument, &mut inputs);
            if inputs.len() == before {
                let message = "there is no .yaml, .yml or .json file in this directory".to_owned();
                inputs.push(Err(Unreadable::new(named(argument), message)));
            }
        } else {
            inputs.push(Ok(named(argument)));
        }
    }
    inputs
}

fn search(directory: &Path, inputs: &mut Vec<Result<Name, Unreadable>>) {
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot list this directory: {error}");
            inputs.push(Err(Unreadable::new(Name::Path(directory.to_owned()), message)));
            return;
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // A link to a directory is not followed: it may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&path, inputs);
        } else if is_manifest(&path) && !path.is_dir() {
            inputs.push(Ok(named(&path)));
        }
    }
}

/// Without a `./` at its beginning: others compare it with their own paths.
fn named(path: &Path) -> Name {
    Name::Path(path.strip_prefix(".").unwrap_or(path).to_owned())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
