//! Reviews that a real API server sent, and what must come of them: whose a
//! field is.
//!
//! Each review in `fixtures/ownership` goes through the webhooks as its request
//! did: mutate, the API server's defaults again, the second call of the same
//! request, validate. `index.yaml` says what is expected, in these words. Paths
//! are written with dots; `[x]` is the list item whose `name` is x, or the key x.
//!
//! | expectation | holds if |
//! | --- | --- |
//! | `keep P` | the patched object has at P what the request has |
//! | `set P=V`, `absent P`, `at least P N` | it has V at P, nothing, a number of N or more |
//! | `recorded P`, `not recorded P` | its record names P or something below it, or nothing of that |
//! | `template as stored` | its template equals the one of `oldObject`: no rollout |
//! | `patch empty`, `again empty` | the first call has no patch, the second call has none |
//! | `allowed`, `denied R` | the validating answer; a denial names rule R |
//! | `warns R`, `no R` | a warning names rule R; neither denial nor warning does |
//! | `says T` | the denial or a warning contains T, upper or lower case |

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use gapless::admission::{Phase, Review, Terms, review};
use gapless::policy::Policy;
use gapless::surroundings::NONE;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::simulated::{TODAY, apply, patch_of, with_api_defaults};

/// One entry of the index.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// The file.
    review: String,
    /// What is asked for.
    profile: String,
    /// What the entry stands for.
    why: String,
    /// The expectations.
    want: Vec<String>,
}

/// What became of one recorded request.
struct Outcome {
    /// What the API server sent.
    requested: Value,
    /// What is stored already.
    old_object: Value,
    /// The object after both calls of the mutating webhook.
    patched: Value,
    first_patch: Vec<Value>,
    second_patch: Vec<Value>,
    warnings: Vec<String>,
    denial: Option<String>,
}

fn directory() -> PathBuf {
    fixtures::path("ownership")
}

fn index() -> Vec<Recorded> {
    serde_saphyr::from_str(&fs::read_to_string(directory().join("index.yaml")).unwrap()).unwrap()
}

/// The webhooks, as the configuration of the recorded reviews makes them.
fn policy() -> Policy {
    gapless::config::load(Some(&directory().join("config.yaml"))).unwrap()
}

impl Recorded {
    fn replay(&self, policy: &Policy) -> Outcome {
        let mut sent: Value =
            serde_json::from_slice(&fs::read(directory().join(&self.review)).unwrap()).unwrap();
        let terms = Terms { policy, profile: Some(&self.profile), today: TODAY, surroundings: &NONE };
        let call = |phase: Phase, sent: &Value| -> Review {
            review(terms, phase, sent.to_string().as_bytes()).unwrap()
        };

        let requested = sent["request"]["object"].clone();
        let first = call(Phase::Mutate, &sent);
        let patched = with_api_defaults(&apply(&requested, &patch_of(&first)));
        sent["request"]["object"] = patched.clone();
        let second = call(Phase::Mutate, &sent);
        let judged = call(Phase::Validate, &sent);
        let said = &judged.response.response;
        Outcome {
            requested,
            old_object: sent["request"]["oldObject"].clone(),
            patched,
            first_patch: patch_of(&first),
            second_patch: patch_of(&second),
            warnings: first.response.response.warnings.iter().chain(&said.warnings).cloned().collect(),
            denial: said.status.as_ref().map(|status| status.message.clone()),
        }
    }
}

impl Outcome {
    /// Says what is otherwise than `expectation` has it.
    fn check(&self, expectation: &str) -> Result<(), String> {
        let words: Vec<&str> = expectation.split(' ').collect();
        match words.as_slice() {
            ["keep", path] => self.holds(path, at(&self.requested, path)),
            ["set", assignment] => {
                let (path, value) = assignment.split_once('=').unwrap();
                self.holds(path, Some(&serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
            }
            ["absent", path] => self.holds(path, None),
            ["at", "least", path, number] => {
                let now = at(&self.patched, path);
                let is_enough = now.and_then(Value::as_u64) >= Some(number.parse().unwrap());
                found(!is_enough, || shown(now))
            }
            ["recorded", path] => found(self.recorded(path).is_empty(), || format!("only {}", self.record())),
            ["not", "recorded", path] => {
                found(!self.recorded(path).is_empty(), || self.recorded(path).join(", "))
            }
            ["template", "as", "stored"] => {
                let template = |object: &Value| object["spec"]["template"].clone();
                let (now, stored) = (template(&self.patched), template(&self.old_object));
                found(now != stored, || format!("{now}\n        stored {stored}"))
            }
            ["patch", "empty"] => found(!self.first_patch.is_empty(), || json!(self.first_patch).to_string()),
            ["again", "empty"] => {
                found(!self.second_patch.is_empty(), || json!(self.second_patch).to_string())
            }
            ["allowed"] => found(self.denial.is_some(), || self.said()),
            ["denied", rule] => {
                let is_named = self.denial.as_ref().is_some_and(|denial| names(denial, rule));
                found(!is_named, || self.said())
            }
            ["warns", rule] => {
                let is_named = self.warnings.iter().any(|warning| names(warning, rule));
                found(!is_named, || self.said())
            }
            ["no", rule] => found(names(&self.said(), rule), || self.said()),
            ["says", ..] => {
                let text = expectation.trim_start_matches("says ").to_lowercase();
                found(!self.said().to_lowercase().contains(&text), || self.said())
            }
            _ => panic!("no such expectation: {expectation}"),
        }
    }

    fn holds(&self, path: &str, wanted: Option<&Value>) -> Result<(), String> {
        let now = at(&self.patched, path);
        found(now != wanted, || format!("{}, not {}", shown(now), shown(wanted)))
    }

    /// All that the user reads.
    fn said(&self) -> String {
        self.denial.iter().chain(&self.warnings).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn record(&self) -> Value {
        let annotation = self.patched["metadata"]["annotations"]["gapless.dev/injected"].as_str();
        annotation.map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
    }

    /// What the record names at `path` and below it.
    fn recorded(&self, path: &str) -> Vec<String> {
        let record = self.record();
        let paths = record.as_object().into_iter().flat_map(|record| record.keys());
        let is_meant = |recorded: &&String| {
            recorded.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        paths.filter(is_meant).cloned().collect()
    }
}

fn names(text: &str, rule: &str) -> bool {
    text.contains(&format!("({rule})"))
}

fn found(is_wrong: bool, what: impl Fn() -> String) -> Result<(), String> {
    if is_wrong { Err(format!("found {}", what())) } else { Ok(()) }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), Value::to_string)
}

/// The value at `path`; null counts as nothing.
fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (name, behind) = bracketed.split_once(']').unwrap();
            value = match value {
                Value::Array(items) => items.iter().find(|item| item["name"] == name)?,
                other => other.get(name)?,
            };
            rest = behind.trim_start_matches('.');
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (field, behind) = rest.split_at(end);
            value = value.get(field)?;
            rest = behind.trim_start_matches('.');
        }
    }
    Some(value).filter(|value| !value.is_null())
}

#[test]
fn recorded_reviews_get_the_answers_of_the_index() {
    let policy = policy();
    let mut failures = String::new();
    for recorded in index() {
        let outcome = recorded.replay(&policy);
        let wrong: Vec<String> = recorded
            .want
            .iter()
            .filter_map(|want| Some(format!("    {want}\n        {}\n", outcome.check(want).err()?)))
            .collect();
        if !wrong.is_empty() {
            failures.push_str(&format!("{}: {}\n{}", recorded.review, recorded.why, wrong.concat()));
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn every_recorded_review_is_in_the_index() {
    let indexed: BTreeSet<String> = index().into_iter().map(|recorded| recorded.review).collect();
    let files = fs::read_dir(directory()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let recorded: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(indexed, recorded);
}
