//! From the arguments of the command line to the files to read.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use glob::{MatchOptions, Pattern};

use super::source::{Name, Unreadable};

/// The files that directories are searched for, by the end of their names.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What makes a directory a Helm chart, and the directories in it that Helm reads.
const CHART: &str = "Chart.yaml";
const TEMPLATES: [&str; 2] = ["templates", "charts"];

/// Files and directories to leave out.
#[derive(Clone, Debug)]
pub struct Exclusion {
    glob: Pattern,
    /// Whether it is about paths, and not about names.
    has_slash: bool,
}

/// In a path, `*` stands for a part of one name, as in .gitignore.
const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The files that `arguments` name, in the order in which to read them: `-` is
/// standard input, and a directory stands for the manifests in it and below it,
/// sorted by name. Hidden files and directories are left out, such as `.git`,
/// and what is excluded.
///
/// What cannot be listed is an error in its place, and hides nothing else. So is
/// a Helm chart, whose templates are no manifests yet.
pub fn expand(arguments: &[PathBuf], exclusions: &[Exclusion]) -> Vec<Result<Name, Unreadable>> {
    let mut search = Search { exclusions, inputs: Vec::new(), excluded: 0 };
    for argument in arguments {
        if argument.as_os_str() == "-" {
            search.inputs.push(Ok(Name::Stdin));
        } else if argument.is_dir() {
            search.argument(argument);
        } else if !search.excludes(argument, argument) {
            search.inputs.push(Ok(named(argument)));
        }
    }
    search.inputs
}

impl FromStr for Exclusion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let glob = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        if glob.is_empty() {
            return Err("write the name of a file or directory, or a path, with * and ? and [ab]".to_owned());
        }
        let pattern = Pattern::new(glob).map_err(|error| error.msg.to_owned())?;
        Ok(Exclusion { glob: pattern, has_slash: glob.contains('/') })
    }
}

impl Exclusion {
    fn matches(&self, path: &Path) -> bool {
        match self.has_slash {
            true => self.glob.matches_path_with(path, MATCH),
            false => path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|it| self.glob.matches_with(it, MATCH)),
        }
    }
}

/// A search under way.
struct Search<'e> {
    exclusions: &'e [Exclusion],
    inputs: Vec<Result<Name, Unreadable>>,
    /// How much was left out because it is excluded.
    excluded: usize,
}

impl Search<'_> {
    fn argument(&mut self, directory: &Path) {
        if self.excludes(directory, directory) {
            return;
        }
        let before = (self.inputs.len(), self.excluded);
        match chart_around(directory) {
            Some(chart) => self.chart(&chart, directory),
            None => self.directory(directory, directory),
        }
        if (self.inputs.len(), self.excluded) == before {
            let message = "there is no .yaml, .yml or .json file in this directory".to_owned();
            self.inputs.push(Err(Unreadable::new(named(directory), message)));
        }
    }

    fn directory(&mut self, directory: &Path, argument: &Path) {
        let entries: Result<Vec<_>, _> = fs::read_dir(directory).and_then(Iterator::collect);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("cannot list this directory: {error}");
                self.inputs.push(Err(Unreadable::new(Name::Path(directory.to_owned()), message)));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        let is_chart = is_chart(directory);
        if is_chart
            && !TEMPLATES
                .iter()
                .any(|it| directory.join(it).is_dir() && self.excludes(&directory.join(it), argument))
        {
            self.chart(directory, argument);
        }
        for entry in entries {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // A link to a directory is not followed: it may lead back here.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && is_chart && TEMPLATES.iter().any(|it| name == *it) {
                continue;
            }
            if !is_directory && (!is_manifest(&path) || path.is_dir()) {
                continue;
            }
            if self.excludes(&path, argument) {
                continue;
            }
            match is_directory {
                true => self.directory(&path, argument),
                false => self.inputs.push(Ok(named(&path))),
            }
        }
    }

    /// Says once of a whole chart that its templates are no manifests.
    fn chart(&mut self, chart: &Path, argument: &Path) {
        if self.excludes(chart, argument) {
            return;
        }
        let message = format!(
            "this is a Helm chart, and its templates are no manifests; render it first: \
             helm template {} | gapless check - (or leave it out with --exclude)",
            named(chart)
        );
        self.inputs.push(Err(Unreadable::new(named(chart), message)));
    }

    /// Whether `path` is excluded, by its own name or by its path, seen from here or from
    /// the directory `argument` in which it was found.
    fn excludes(&mut self, path: &Path, argument: &Path) -> bool {
        let seen = path.strip_prefix(".").unwrap_or(path);
        let within = path.strip_prefix(argument).ok().filter(|it| !it.as_os_str().is_empty());
        let is_excluded = self
            .exclusions
            .iter()
            .any(|it| it.matches(seen) || within.is_some_and(|within| it.matches(within)));
        self.excluded += usize::from(is_excluded);
        is_excluded
    }
}

/// Whether a directory is a Helm chart: one with templates, or with charts that it puts
/// together.
fn is_chart(directory: &Path) -> bool {
    directory.join(CHART).is_file() && TEMPLATES.iter().any(|it| directory.join(it).is_dir())
}

/// The chart in whose templates a directory is.
fn chart_around(directory: &Path) -> Option<PathBuf> {
    let whole = fs::canonicalize(directory).ok()?;
    let templates =
        whole.ancestors().find(|it| it.ends_with(TEMPLATES[0]) && it.parent().is_some_and(is_chart))?;
    // As the user writes it, if that reaches so far.
    let above = whole.strip_prefix(templates).ok()?.components().count() + 1;
    let written = directory.ancestors().nth(above).filter(|it| !it.as_os_str().is_empty());
    Some(written.or(templates.parent())?.to_owned())
}

/// Without a `./` at its beginning: others compare it with their own paths.
fn named(path: &Path) -> Name {
    let short = path.strip_prefix(".").unwrap_or(path);
    Name::Path(if short.as_os_str().is_empty() { path } else { short }.to_owned())
}

/// Whether a file has the name of a manifest.
pub fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_for_names_or_for_paths() {
        let table = [
            ("vendor", "vendor", true),
            ("vendor", "a/vendor", true),
            ("vendor/", "a/vendor", true),
            ("vendor", "a/vendored", false),
            ("*.tpl.yaml", "a/b.tpl.yaml", true),
            ("*.tpl.yaml", "a/b.yaml", false),
            ("./a/b.yaml", "a/b.yaml", true),
            ("a/*.yaml", "a/b.yaml", true),
            ("a/*.yaml", "a/b/c.yaml", false),
            ("a/*.yaml", "b/a/c.yaml", false),
            ("a/**", "a/b/c.yaml", true),
            ("**/ci/*.yaml", "a/b/ci/c.yaml", true),
            ("**/ci/*.yaml", "ci/c.yaml", true),
            ("a[12].yaml", "x/a1.yaml", true),
            ("A.yaml", "a.yaml", false),
        ];
        for (glob, path, expected) in table {
            let exclusion: Exclusion = glob.parse().unwrap();
            assert_eq!(exclusion.matches(Path::new(path)), expected, "{glob} {path}");
        }
        for wrong in ["", "/", "a[", "a***b"] {
            assert!(wrong.parse::<Exclusion>().is_err(), "{wrong}");
        }
    }

    /// The files in `directory` that are found, and `!` for what is an error.
    fn found(directory: &Path, arguments: &[&str], globs: &[&str]) -> Vec<String> {
        let arguments: Vec<_> = arguments.iter().map(|it| directory.join(it)).collect();
        let exclusions: Vec<_> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
        let within = |name: &Name| {
            let whole = name.to_string();
            let path = Path::new(&whole).strip_prefix(directory).unwrap_or(Path::new(&whole));
            path.display().to_string()
        };
        let input = |input: Result<Name, Unreadable>| match input {
            Ok(name) => within(&name),
            Err(error) => format!("!{}", within(&error.name)),
        };
        expand(&arguments, &exclusions).into_iter().map(input).collect()
    }

    #[test]
    fn a_chart_is_one_error_unless_it_is_excluded() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            "deploy/web.yaml",
            "charts/shop/Chart.yaml",
            "charts/shop/values.yaml",
            "charts/shop/crds/crd.yaml",
            "charts/shop/templates/web.yaml",
            "charts/shop/templates/sub/web.yaml",
            "charts/shop/charts/db/Chart.yaml",
            "charts/shop/charts/db/templates/db.yaml",
            "charts/umbrella/Chart.yaml",
            "charts/umbrella/charts/a/Chart.yaml",
            "charts/umbrella/charts/a/templates/a.yaml",
            // No chart: one of the two is not there.
            "templates/a.yaml",
            "other/Chart.yaml",
        ];
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |arguments: &[&str], globs: &[&str]| found(directory.path(), arguments, globs);
        let (deploy, other, templates) = ("deploy/web.yaml", "other/Chart.yaml", "templates/a.yaml");
        let shop = ["charts/shop/Chart.yaml", "charts/shop/crds/crd.yaml", "charts/shop/values.yaml"];
        let umbrella = "charts/umbrella/Chart.yaml";
        let all = [
            "!charts/shop",
            shop[0],
            shop[1],
            shop[2],
            "!charts/umbrella",
            umbrella,
            deploy,
            other,
            templates,
        ];
        assert_eq!(found(&[""], &[]), all);
        assert_eq!(found(&[""], &["charts"]), [deploy, other, templates]);
        assert_eq!(found(&[""], &["charts/**"]), [deploy, other, templates]);
        let without_shop = ["!charts/umbrella", umbrella, deploy, other, templates];
        assert_eq!(found(&[""], &["shop"]), without_shop);
        assert_eq!(found(&[""], &["charts/shop"]), without_shop);
        // Its templates are the trouble: without them it is a directory like others.
        let without_templates = found(&[""], &["**/shop/templates", "umbrella"]);
        assert_eq!(without_templates, [shop[0], shop[1], shop[2], deploy, other, templates]);

        for argument in ["charts/shop/templates", "charts/shop/templates/sub"] {
            assert_eq!(found(&[argument], &[]), ["!charts/shop"], "{argument}");
        }
        assert_eq!(found(&["charts/shop"], &["shop"]), [""; 0], "left out on purpose");
        assert_eq!(found(&["charts/shop/templates/web.yaml"], &[]), ["charts/shop/templates/web.yaml"]);
        assert_eq!(found(&["deploy/web.yaml", "deploy"], &["web.*"]), [""; 0]);
        fs::create_dir(directory.path().join("empty")).unwrap();
        assert_eq!(found(&["empty"], &["web.*"]), ["!empty"]);
    }
}
