//! The configuration file: read, checked, and turned into a [`Policy`].

pub mod written;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_saphyr::{Error as YamlError, Location, MessageFormatter, UserMessageFormatter};

use crate::policy::{Policy, UnknownProfile};
use written::GaplessConfiguration;

/// The profile that applies where nothing is said, and nothing is configured.
const DEFAULT_PROFILE: &str = "production";

/// How every file begins.
const HEAD: &str = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that gapless does not understand.
    #[error("{}:{problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it is.
        problem: Problem,
    },
    /// There is no such profile. A bug: it is not written by the user.
    #[error(transparent)]
    UnknownProfile(#[from] UnknownProfile),
}

/// What is wrong with a configuration.
#[derive(Debug, PartialEq)]
pub struct Problem {
    /// The line, from 1 on.
    line: u64,
    /// The column, from 1 on.
    column: u64,
    /// The path of the field; empty if it is about the file as a whole.
    field: String,
    /// What was found, and what to write instead.
    message: String,
}

/// The policy that the file describes; without a file, the one that applies
/// everywhere by default.
///
/// # Errors
/// If the file cannot be read or understood.
pub fn load(path: Option<&Path>) -> Result<Policy, ConfigError> {
    let Some(path) = path else { return Ok(Policy::new(DEFAULT_PROFILE)?) };
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })
}

fn parse(text: &str) -> Result<Policy, Problem> {
    let written = read(text)?;
    match written.default_profile {
        None => Policy::new(DEFAULT_PROFILE)
            .map_err(|error| Problem::new(Location::UNKNOWN, "", error.to_string())),
        Some(profile) => Policy::new(&profile.value)
            .map_err(|error| Problem::new(profile.referenced, "defaultProfile", error.to_string())),
    }
}

fn read(text: &str) -> Result<GaplessConfiguration, Problem> {
    // As kubectl reads YAML: 0644 is a number in base 8.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let mut field = String::new();
    let configuration = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    configuration.map_err(|error| Problem::of_yaml(&error, &field))
}

impl Problem {
    fn new(location: Location, field: &str, message: String) -> Self {
        // Only errors about the file as a whole have no place.
        let (line, column) = (location.line().max(1), location.column().max(1));
        Problem { line, column, field: field.to_owned(), message }
    }

    fn of_yaml(error: &YamlError, path: &str) -> Self {
        let message = match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                format!("there is no field {field:?}; write one of: {}", expected.join(", "))
            }
            YamlError::SerdeMissingField { field, .. } => format!("the field {field:?} is missing"),
            YamlError::SerdeUnknownVariant { variant, expected, .. } => {
                format!("{variant:?} is not supported; write {}", expected.join(" or "))
            }
            YamlError::Eof { .. } => format!("there is nothing; start with:\n{HEAD}"),
            YamlError::Unexpected { expected: "mapping start", .. } => {
                "expected fields, as in `name: value`".to_owned()
            }
            YamlError::Unexpected { expected: "string scalar", .. }
            | YamlError::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => "expected text".to_owned(),
            other => UserMessageFormatter.format_message(other).escape_debug().to_string(),
        };
        // Of a [`serde_saphyr::Spanned`], the path has a part of its own.
        let path = path.trim_end_matches(".value");
        let field = match path {
            "" | "." | "?" => "",
            path => path,
        };
        Problem::new(error.location().unwrap_or(Location::UNKNOWN), field, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { line, column, field, message } = self;
        if field.is_empty() {
            write!(f, "{line}:{column}: {message}")
        } else {
            write!(f, "{line}:{column}: {field}: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole file: the head, and the rest.
    fn file(rest: &str) -> String {
        format!("{HEAD}\n{rest}\n")
    }

    #[track_caller]
    fn problem(text: &str) -> String {
        parse(text).expect_err("the configuration is wrong").to_string()
    }

    fn default_profile(text: &str) -> Option<String> {
        let policy = parse(text).expect("the configuration is right");
        policy.default_profile().map(|profile| profile.name.clone())
    }

    #[test]
    fn names_the_default_profile() {
        for name in ["production", "advisory", "development"] {
            assert_eq!(default_profile(&file(&format!("defaultProfile: {name}"))).as_deref(), Some(name));
        }
        assert_eq!(default_profile(&file("defaultProfile: off")), None);
        assert_eq!(default_profile(&file("defaultProfile: \"off\"")), None);
    }

    #[test]
    fn is_production_where_nothing_is_said() {
        assert_eq!(default_profile(HEAD).as_deref(), Some("production"));
        assert_eq!(default_profile(&format!("# mine\n---\n{HEAD}")).as_deref(), Some("production"));
        let policy = load(None).expect("no file is fine");
        assert_eq!(policy.default_profile().map(|profile| profile.name.as_str()), Some("production"));
    }

    #[test]
    fn points_at_each_mistake() {
        let mistakes = [
            (
                file("defaultprofile: advisory"),
                r#"3:1: defaultprofile: there is no field "defaultprofile"; write one of: apiVersion, kind, defaultProfile"#,
            ),
            (
                file("defaultProfile: staging"),
                r#"3:17: defaultProfile: there is no profile "staging"; write one of: advisory, development, production, off"#,
            ),
            (file("defaultProfile: [production]"), "3:17: defaultProfile: expected text"),
            (
                file("defaultProfile: production\ndefaultProfile: advisory"),
                "4:1: duplicate mapping key `defaultProfile` is not allowed here",
            ),
            (file(&format!("---\n{HEAD}")), "4:1: only single YAML document expected but multiple found"),
            (file("defaultProfile: \"production"), "3:17: unclosed quote"),
            ("kind: GaplessConfiguration".to_owned(), r#"1:1: the field "apiVersion" is missing"#),
            ("apiVersion: gapless.dev/v1alpha1".to_owned(), r#"1:1: the field "kind" is missing"#),
            (
                "apiVersion: gapless.dev/v1\nkind: GaplessConfiguration".to_owned(),
                r#"1:13: apiVersion: "gapless.dev/v1" is not supported; write gapless.dev/v1alpha1"#,
            ),
            (
                "apiVersion: gapless.dev/v1alpha1\nkind: Deployment".to_owned(),
                r#"2:7: kind: "Deployment" is not supported; write GaplessConfiguration"#,
            ),
            ("apiVersion: []".to_owned(), "1:13: apiVersion: expected text"),
            (
                "# nothing".to_owned(),
                "1:10: there is nothing; start with:\napiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration",
            ),
            ("- a".to_owned(), "1:1: expected fields, as in `name: value`"),
        ];
        for (text, expected) in &mistakes {
            assert_eq!(problem(text), *expected, "{text}");
        }
    }

    #[test]
    fn names_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let missing = load(Some(&path)).expect_err("there is no file").to_string();
        assert_eq!(missing, format!("cannot read the configuration {}", path.display()));

        fs::write(&path, file("profile: x")).expect("a file");
        let wrong = load(Some(&path)).expect_err("the file is wrong").to_string();
        assert!(wrong.starts_with(&format!("{}:3:1: profile: there is no field", path.display())), "{wrong}");
    }
}
