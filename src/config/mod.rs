//! The configuration file: read, checked, and turned into a [`Policy`].
//!
//! [`written`] is what its author writes, [`compile`] makes the policy of it,
//! [`reload`] notices when the file has changed.

pub mod compile;
pub mod reload;
pub mod scalars;
pub mod schema;
pub mod written;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};

use crate::nearest::nearest;
use crate::policy::{Policy, UnknownProfile};
use crate::printable::printable;
use crate::watched::read;
use crate::yaml::node::Node;
use compile::{DEFAULT_PROFILE, compile};
use written::GaplessConfiguration;

/// How every file begins. No other field is required.
const BEGINNING: &str = r#"begin with "apiVersion: gapless.dev/v1alpha1" and "kind: GaplessConfiguration""#;

/// Levels of lists and maps in one another: there are less than ten. The limit
/// protects the stack.
const MAX_DEPTH: usize = 64;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// What was found, and what to write instead. One line.
    message: String,
}

/// The policy that the file describes; without a file, the one that applies
/// everywhere by default.
///
/// # Errors
/// If the file cannot be read or understood.
pub fn load(path: Option<&Path>) -> Result<Policy, ConfigError> {
    match path {
        Some(path) => understand(path, read(path)),
        None => Ok(Policy::new(DEFAULT_PROFILE)?),
    }
}

/// The policy in the text of a configuration that comes from elsewhere, such as a ConfigMap;
/// `origin` says in messages from where.
///
/// # Errors
/// If it cannot be understood.
pub fn of_text(origin: &str, text: &str) -> Result<Policy, ConfigError> {
    parse(text).map_err(|problem| ConfigError::Invalid { path: PathBuf::from(origin), problem })
}

/// The policy in the bytes of the file, if they could be read.
fn understand(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<Policy, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let text = String::from_utf8(bytes.map_err(unreadable)?)
        .map_err(|_| unreadable(io::Error::other("it is not text in UTF-8")))?;
    parse(&text).map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })
}

fn parse(text: &str) -> Result<Policy, Problem> {
    let written = deserialize(text)?;
    compile(&written).map_err(|mistake| Problem::at_field(text, mistake.field, mistake.message))
}

fn deserialize(text: &str) -> Result<GaplessConfiguration, Problem> {
    let mut field = String::new();
    let configuration = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    configuration.map_err(|error| Problem::of_yaml(text, &error, &field))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // As kubectl reads YAML: 0644 is a number in base 8.
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    }
}

impl Problem {
    /// Something that is well-formed, and wrong where it stands.
    fn at_field(text: &str, field: String, message: String) -> Self {
        Problem::new(place_of(text, &field), &field, message)
    }

    fn of_yaml(text: &str, error: &YamlError, path: &str) -> Self {
        let message = describe(error.without_snippet());
        // `?` is a key that could not be read, `.` no path at all.
        let field = path.trim_end_matches(['.', '?']);
        let place_of_error = error.location().map(|it| (it.line().max(1), it.column().max(1)));
        let place = if field.is_empty() { None } else { place_of(text, field) };
        Problem::new(place.or(place_of_error), field, message)
    }

    fn new(place: Option<(u64, u64)>, field: &str, message: String) -> Self {
        let (line, column) = place.unwrap_or((1, 1));
        // A key may hold anything.
        Problem { line, column, field: field.escape_debug().to_string(), message }
    }
}

/// Where a field stands; `None` if the text is no YAML.
fn place_of(text: &str, field: &str) -> Option<(u64, u64)> {
    let place = serde_saphyr::from_str_with_options::<Node>(text, options()).ok()?.place_of_text(field);
    Some((place.line as u64, place.column as u64))
}

/// What is wrong in words that people who write YAML know.
fn describe(error: &YamlError) -> String {
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            match nearest(field, expected.iter().copied()) {
                Some(nearest) => format!("there is no field {field:?}; did you mean {nearest}?"),
                None => format!("there is no field {field:?}; write one of: {}", expected.join(", ")),
            }
        }
        YamlError::SerdeMissingField { field, .. } => format!("the field {field:?} is missing; {BEGINNING}"),
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            // What other programs make of a bare Off is nothing to write.
            let expected: Vec<_> =
                expected.iter().copied().filter(|it| !matches!(*it, "off" | "false")).collect();
            format!("{variant:?} is not supported; write {}", expected.join(" or "))
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {}", found(unexpected))
        }
        YamlError::Eof { .. } => format!("there is nothing; {BEGINNING}"),
        YamlError::Unexpected { expected: "mapping start", .. } => {
            "expected fields, as in `name: value`".to_owned()
        }
        YamlError::Unexpected { expected: "sequence start", .. } => {
            "expected a list, as in `[first, second]`".to_owned()
        }
        YamlError::Unexpected { expected: "string scalar", .. }
        | YamlError::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => "expected text".to_owned(),
        YamlError::InvalidScalar { ty: "boolean", .. } => "expected true or false".to_owned(),
        other => printable(&UserMessageFormatter.format_message(other)).into_owned(),
    }
}

/// What serde says it found, as people who write YAML call it.
fn found(unexpected: &str) -> String {
    match unexpected {
        "sequence" => "a list".to_owned(),
        "map" => "fields".to_owned(),
        "unit value" => "nothing".to_owned(),
        other => {
            let value = ["integer ", "floating point ", "boolean ", "string "]
                .into_iter()
                .find_map(|kind| other.strip_prefix(kind));
            value.unwrap_or(other).trim_matches('`').to_owned()
        }
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
    use std::fs;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const HEAD: &str = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n";

    /// A whole file: two lines of head, and the rest.
    fn file(rest: &str) -> String {
        format!("{HEAD}{rest}\n")
    }

    /// A file whose line 5 is about the profile `production`.
    fn production(line: &str) -> String {
        file(&format!("profiles:\n  production:\n    {line}"))
    }

    #[track_caller]
    fn problem(text: &str) -> String {
        match parse(text) {
            Ok(policy) => panic!("nothing is wrong with this:\n{text}\n{policy:?}"),
            Err(problem) => problem.to_string(),
        }
    }

    fn default_profile(text: &str) -> Option<String> {
        let policy = parse(text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        policy.default_profile().map(|profile| profile.name.clone())
    }

    #[test]
    fn names_the_default_profile() {
        for name in ["production", "advisory", "development"] {
            assert_eq!(default_profile(&file(&format!("defaultProfile: {name}"))).as_deref(), Some(name));
        }
        // Bare, quoted, and as programs write it that read YAML 1.1.
        for off in ["off", "Off", "OFF", "\"off\"", "'Off'", "false"] {
            assert_eq!(default_profile(&file(&format!("defaultProfile: {off}"))), None, "{off}");
        }
        let own = file("defaultProfile: payments\nprofiles: {payments: {extends: advisory}}");
        assert_eq!(default_profile(&own).as_deref(), Some("payments"));
    }

    #[test]
    fn is_production_where_nothing_is_said() {
        for text in [HEAD.to_owned(), format!("# mine\n---\n{HEAD}..."), file("defaultProfile:\nprofiles:")] {
            assert_eq!(default_profile(&text).as_deref(), Some("production"), "{text}");
        }
        let policy = load(None).expect("no file is fine");
        assert_eq!(policy.default_profile().map(|profile| profile.name.as_str()), Some("production"));
    }

    #[test]
    fn json_is_read_too() {
        let text = json!({"apiVersion": "gapless.dev/v1alpha1", "kind": "GaplessConfiguration",
            "defaultProfile": false, "profiles": {"production": {"rules": {"single-replica": false}}}});
        assert_eq!(default_profile(&text.to_string()), None);
    }

    /// Each with its line, its field, and what to do about it.
    #[test]
    fn points_at_each_mistake() {
        let table = [
            // The file.
            (
                String::new(),
                "1:1: there is nothing; begin with \"apiVersion: gapless.dev/v1alpha1\" and \"kind: GaplessConfiguration\"",
            ),
            (
                "# nothing".into(),
                "1:10: there is nothing; begin with \"apiVersion: gapless.dev/v1alpha1\" and \"kind: GaplessConfiguration\"",
            ),
            ("- a".into(), "1:1: expected fields, as in `name: value`"),
            (
                "kind: GaplessConfiguration".into(),
                "1:1: the field \"apiVersion\" is missing; begin with \"apiVersion: gapless.dev/v1alpha1\" and \"kind: GaplessConfiguration\"",
            ),
            (
                "apiVersion: gapless.dev/v1alpha1".into(),
                "1:1: the field \"kind\" is missing; begin with \"apiVersion: gapless.dev/v1alpha1\" and \"kind: GaplessConfiguration\"",
            ),
            (
                "apiVersion: gapless.dev/v1\nkind: GaplessConfiguration".into(),
                "1:1: apiVersion: \"gapless.dev/v1\" is not supported; write gapless.dev/v1alpha1",
            ),
            (
                "apiVersion: gapless.dev/v1alpha1\nkind: ConfigMap".into(),
                "2:1: kind: \"ConfigMap\" is not supported; write GaplessConfiguration",
            ),
            (file("defaultProfile: \"production"), "3:17: unclosed quote"),
            (file("profiles:\n\tpayments:"), "4:2: tabs disallowed within this context (block indentation)"),
            (file(&format!("---\n{HEAD}")), "4:1: only single YAML document expected but multiple found"),
            (
                file("defaultProfile: production\ndefaultProfile: advisory"),
                "4:1: duplicate mapping key `defaultProfile` is not allowed here",
            ),
            (
                production("mode: Warn\n    mode: Audit"),
                "6:5: profiles.production: duplicate mapping key `mode` is not allowed here",
            ),
            // Its fields.
            (
                file("defaultprofile: advisory"),
                "3:1: defaultprofile: there is no field \"defaultprofile\"; did you mean defaultProfile?",
            ),
            (
                file("x: advisory"),
                "3:1: x: there is no field \"x\"; write one of: apiVersion, kind, defaultProfile, workloads, profiles, exemptions",
            ),
            (
                production("maxSurge: 1"),
                "5:5: profiles.production.maxSurge: there is no field \"maxSurge\"; write one of: extends, mode, rules, settings, defaults, waivers",
            ),
            (
                production("settings: {maxCapacityLoss: 5%}"),
                "5:16: profiles.production.settings.maxCapacityLoss: there is no field \"maxCapacityLoss\"; did you mean max-capacity-loss?",
            ),
            (
                production("defaults: {readiness: {}}"),
                "5:16: profiles.production.defaults.readiness: there is no field \"readiness\"; did you mean readiness-probe?",
            ),
            (
                production("defaults: {single-replica: {}}"),
                "5:16: profiles.production.defaults.single-replica: there is no field \"single-replica\"; write one of: readiness-probe, pre-stop-sleep, rolling-update, version-label",
            ),
            (
                file("exemptions: {users: []}"),
                "3:14: exemptions.users: there is no field \"users\"; did you mean usernames?",
            ),
            // Types.
            (file("defaultProfile: [production]"), "3:1: defaultProfile: expected text"),
            (file("profiles: [payments]"), "3:1: profiles: expected fields, as in `name: value`"),
            (file("workloads: Deployment"), "3:1: workloads: expected a list, as in `[first, second]`"),
            (
                production("rules: [single-replica]"),
                "5:5: profiles.production.rules: expected fields, as in `name: value`",
            ),
            (
                production("rules: {single-replica: [Deny]}"),
                "5:13: profiles.production.rules.single-replica: expected text",
            ),
            (
                production("defaults: {pre-stop-sleep: off}"),
                "5:16: profiles.production.defaults.pre-stop-sleep: expected fields, as in `name: value`",
            ),
            (
                production("defaults: {pre-stop-sleep: {enabled: maybe}}"),
                "5:33: profiles.production.defaults.pre-stop-sleep.enabled: expected true or false",
            ),
            (
                production("settings: {mutable-tags: [1.0]}"),
                "5:31: profiles.production.settings.mutable-tags[0]: expected an image tag: at most 128 letters, digits, '_', '.' and '-', with no '.' or '-' in front, found 1.0",
            ),
            (
                file("exemptions: {groups: [on]}"),
                "3:23: exemptions.groups[0]: expected a text that is not empty, found true",
            ),
            // Names of profiles.
            (
                file("defaultProfile: prodution"),
                "3:1: defaultProfile: there is no profile \"prodution\"; did you mean production?",
            ),
            (
                file("defaultProfile: true"),
                "3:1: defaultProfile: there is no profile \"true\"; write one of: advisory, development, production, off",
            ),
            (
                file("profiles:\n  off: {}"),
                "4:3: profiles.off: off is the profile under which nothing is judged or injected, and cannot be changed; choose another name",
            ),
            (
                file("profiles:\n  false: {}"),
                "4:3: profiles.false: false is what YAML makes of a bare word such as on, off, yes or no; choose another name",
            ),
            (
                file("profiles:\n  Team.A: {}"),
                "4:3: profiles.Team.A: \"Team.A\" cannot be the name of a profile; write at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
            ),
            (
                file("profiles:\n  \"a\\nb\": {}"),
                "4:3: profiles.a\\nb: \"a\\nb\" cannot be the name of a profile; write at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
            ),
            // What they extend.
            (
                file("profiles:\n  payments: {mode: Warn}"),
                "4:3: profiles.payments: the field \"extends\" is missing; write one of: production, advisory, development",
            ),
            (file("profiles:\n  payments:"), "4:3: profiles.payments: expected fields, as in `name: value`"),
            (
                file("profiles:\n  a: {extends: produktion}"),
                "4:7: profiles.a.extends: there is no profile \"produktion\"; did you mean production?",
            ),
            (
                file("profiles:\n  a: {extends: staging}\n  b: {extends: a}"),
                "4:7: profiles.a.extends: there is no profile \"staging\"; write one of: production, advisory, development, b",
            ),
            (
                file("profiles:\n  a: {extends: off}"),
                "4:7: profiles.a.extends: there is nothing to start from in off; write one of: production, advisory, development",
            ),
            (
                production("extends: advisory"),
                "5:5: profiles.production.extends: production is built in and starts from itself; remove extends, or choose another name",
            ),
            (
                file("profiles:\n  a: {extends: a}"),
                "4:7: profiles.a.extends: the profiles extend each other: a -> a; let one of them extend production or advisory or development",
            ),
            (
                file("profiles:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: d}\n  d: {extends: b}"),
                "7:7: profiles.d.extends: the profiles extend each other: b -> c -> d -> b; let one of them extend production or advisory or development",
            ),
            // Rules and what is done about them.
            (
                production("rules:\n      single-replicas: Deny"),
                "6:7: profiles.production.rules.single-replicas: there is no rule \"single-replicas\"; did you mean single-replica?",
            ),
            (
                production("rules: {xyz: Deny}"),
                "5:13: profiles.production.rules.xyz: there is no rule \"xyz\"; gapless rules lists them",
            ),
            (
                production("rules: {pre-stop-sleep: Off}"),
                "5:13: profiles.production.rules.pre-stop-sleep: pre-stop-sleep is no rule but a default; to switch it off, write under defaults: pre-stop-sleep: {enabled: false}",
            ),
            (
                production("rules: {single-replica: deny}"),
                "5:13: profiles.production.rules.single-replica: \"deny\" is not supported; write Deny or Warn or Audit or Off",
            ),
            (
                production("rules: {single-replica: on}"),
                "5:13: profiles.production.rules.single-replica: \"on\" is not supported; write Deny or Warn or Audit or Off",
            ),
            (
                production("mode: Enforced"),
                "5:5: profiles.production.mode: \"Enforced\" is not supported; write Enforce or Warn or Audit or Off",
            ),
            (
                production("waivers: true"),
                "5:5: profiles.production.waivers: \"true\" is not supported; write Allowed or Forbidden",
            ),
            // Values that cannot be meant.
            (
                production("settings: {max-capacity-loss: 25}"),
                "5:16: profiles.production.settings.max-capacity-loss: expected a percentage from 0% to 100%, found 25",
            ),
            (
                production("settings: {max-capacity-loss: 101%}"),
                "5:16: profiles.production.settings.max-capacity-loss: expected a percentage from 0% to 100%, found \"101%\"",
            ),
            (
                production("settings: {min-drain-seconds: -1}"),
                "5:16: profiles.production.settings.min-drain-seconds: expected a whole number from 0 to 3600, found -1",
            ),
            (
                production("settings: {min-drain-seconds: 5s}"),
                "5:16: profiles.production.settings.min-drain-seconds: expected a whole number from 0 to 3600, found \"5s\"",
            ),
            (
                production("settings: {operational-port-names: [admin, a--b]}"),
                "5:48: profiles.production.settings.operational-port-names[1]: expected a port name: at most 15 of a-z, 0-9 and '-', at least one letter among them, no '-' at either end and no two in a row, found \"a--b\"",
            ),
            (
                production("defaults: {readiness-probe: {periodSeconds: 0}}"),
                "5:34: profiles.production.defaults.readiness-probe.periodSeconds: expected a whole number from 1 to 3600, found 0",
            ),
            (
                production("defaults: {readiness-probe: {failureThreshold: 0}}"),
                "5:34: profiles.production.defaults.readiness-probe.failureThreshold: expected a whole number from 1 to 1000, found 0",
            ),
            (
                production("defaults: {pre-stop-sleep: {seconds: 86400}}"),
                "5:33: profiles.production.defaults.pre-stop-sleep.seconds: expected a whole number from 1 to 3600, found 86400",
            ),
            (
                production("defaults: {rolling-update: {minReadySeconds: -1}}"),
                "5:33: profiles.production.defaults.rolling-update.minReadySeconds: expected a whole number from 0 to 3600, found -1",
            ),
            (
                production("defaults: {rolling-update: {minReadySeconds: 1.5}}"),
                "5:33: profiles.production.defaults.rolling-update.minReadySeconds: expected a whole number from 0 to 3600, found 1.5",
            ),
            (
                production("defaults: {rolling-update: {maxUnavailable: 101%}}"),
                "5:33: profiles.production.defaults.rolling-update.maxUnavailable: expected a number of pods such as 1, or a percentage from 0% to 100%, found \"101%\"",
            ),
            (
                production("defaults: {rolling-update: {maxSurge: -1}}"),
                "5:33: profiles.production.defaults.rolling-update.maxSurge: expected a number of pods such as 1, or a percentage from 0% to 1000%, found -1",
            ),
            (
                production("defaults: {rolling-update: {maxSurge: 0%}}"),
                "5:33: profiles.production.defaults.rolling-update.maxSurge: maxUnavailable is 0 here too, and the API server rejects a rolling update that may neither add a pod nor remove one; write 1 or more for one of them",
            ),
            (
                file(
                    "profiles:\n  a: {extends: production, defaults: {rolling-update: {maxSurge: 0, maxUnavailable: 1}}}\n  b: {extends: a, defaults: {rolling-update: {maxUnavailable: 0}}}",
                ),
                "5:47: profiles.b.defaults.rolling-update.maxUnavailable: maxSurge is 0 here too, and the API server rejects a rolling update that may neither add a pod nor remove one; write 1 or more for one of them",
            ),
            (
                production("defaults: {version-label: {keys: []}}"),
                "5:32: profiles.production.defaults.version-label.keys: there is no key; write one or more, or enabled: false to inject no labels",
            ),
            (
                production("defaults: {version-label: {keys: [a/b/c]}}"),
                "5:39: profiles.production.defaults.version-label.keys[0]: expected a label key such as version or example.com/version: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, after a DNS name and '/' if there is one, found \"a/b/c\"",
            ),
            (
                file("workloads: [Deployment, Rolout]"),
                "3:25: workloads[1]: gapless does not judge \"Rolout\"; did you mean Rollout?",
            ),
            (
                file("workloads: []"),
                "3:1: workloads: it is empty; write some of: Deployment, StatefulSet, DaemonSet, Rollout",
            ),
            (
                file("workloads: [CronJob]"),
                "3:13: workloads[0]: gapless does not judge \"CronJob\"; write some of: Deployment, StatefulSet, DaemonSet, Rollout",
            ),
            (
                file("exemptions: {usernames: [\"\"]}"),
                "3:26: exemptions.usernames[0]: expected a text that is not empty, found \"\"",
            ),
            (
                file("exemptions: {namespaces: [\"team-*\"]}"),
                "3:27: exemptions.namespaces[0]: expected a name of at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends, found \"team-*\"",
            ),
        ];
        for (text, expected) in &table {
            assert_eq!(problem(text), *expected, "{text}");
        }
    }

    #[test]
    fn neither_depth_nor_aliases_exhaust_the_machine() {
        let deep = problem(&file(&format!("x: {}{}", "[".repeat(100_000), "]".repeat(100_000))));
        assert!(deep.contains("x"), "{deep}");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        problem(&file(&bomb));
        // Each of these starts from the next one.
        let chain: String = (0..5_000).map(|it| format!("  a{it}: {{extends: a{}}}\n", it + 1)).collect();
        let endless = problem(&file(&format!("profiles:\n{chain}")));
        assert!(endless.contains("there is no profile \"a5000\""), "{}", &endless[..200]);
    }

    #[test]
    fn names_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let error =
            |path: &Path| format!("{:#}", anyhow::Error::from(load(Some(path)).expect_err("an error")));
        let cannot_read = format!("cannot read the configuration {}", path.display());
        assert_eq!(error(&path), format!("{cannot_read}: No such file or directory (os error 2)"));
        fs::write(&path, file("profile: x")).expect("a file");
        assert!(error(&path).starts_with(&format!("{}:3:1: profile: there is no field", path.display())));
        fs::write(&path, b"\xff").expect("a file");
        assert_eq!(error(&path), format!("{cannot_read}: it is not text in UTF-8"));
        fs::write(&path, " ".repeat(1024 * 1024 + 1)).expect("a file");
        assert_eq!(
            error(&path),
            format!("{cannot_read}: it is larger than 1 MiB, and so than any ConfigMap or Secret")
        );
    }

    /// Values of all kinds, those of real files among them.
    fn any_value() -> impl Strategy<Value = Value> {
        let words = [
            "production",
            "advisory",
            "payments",
            "off",
            "Off",
            "Deny",
            "Warn",
            "Enforce",
            "Allowed",
            "Deployment",
            "25%",
            "-1%",
            "",
            "a b",
            "single-replica",
            "\u{0}",
            "false",
            "~",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..100_i64).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(words.to_vec()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        let keys = [
            "defaultProfile",
            "workloads",
            "profiles",
            "exemptions",
            "production",
            "payments",
            "extends",
            "mode",
            "rules",
            "settings",
            "defaults",
            "waivers",
            "single-replica",
            "max-capacity-loss",
            "mutable-tags",
            "readiness-probe",
            "enabled",
            "periodSeconds",
            "rolling-update",
            "maxSurge",
            "maxUnavailable",
            "version-label",
            "keys",
            "usernames",
            "other",
        ];
        let key = prop::sample::select(keys.to_vec());
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        /// Nothing panics, and what is wrong has a place in the file.
        #[test]
        fn any_value_is_understood_or_refused(rest in any_value()) {
            let mut value = json!({"apiVersion": "gapless.dev/v1alpha1", "kind": "GaplessConfiguration"});
            match rest {
                Value::Object(fields) => value.as_object_mut().expect("an object").extend(fields),
                other => value["profiles"] = other,
            }
            let text = serde_saphyr::to_string(&value).expect("YAML");
            check(&text)?;
            check(&value.to_string())?;
        }

        #[test]
        fn any_text_is_understood_or_refused(text in ".*") {
            check(&file(&text))?;
            check(&text)?;
        }
    }

    fn check(text: &str) -> Result<(), TestCaseError> {
        if let Err(problem) = parse(text) {
            let shown = problem.to_string();
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
            // A carriage return ends a line too (YAML 1.2.2, 5.4).
            prop_assert!(problem.line as usize <= text.split(['\r', '\n']).count(), "{shown}\n{text}");
        }
        Ok(())
    }
}
