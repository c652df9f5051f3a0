//! The defaults: what gapless fills in where the user wrote nothing.
//!
//! One file and one page for each; [`DEFAULTS`] lists them. [`crate::injection`]
//! decides what of it reaches an object.

mod phrases;
pub mod pre_stop_sleep;
pub mod readiness_probe;
pub mod rolling_update;
pub mod version_label;

use serde_json::Value;

use crate::finding::Problem;
use crate::ownership::owners::{FieldSet, Owners};
use crate::ownership::record::{InjectedField, Record};
use crate::settings::Settings;
use crate::workload::Workload;

/// One default.
#[derive(Debug)]
pub struct DefaultRule {
    /// Its name in the configuration, in waivers and in messages.
    pub id: &'static str,
    /// What it injects, in one line of at most 80 characters.
    pub summary: &'static str,
    /// Its page, in Markdown.
    pub page: &'static str,
    /// The rules that have nothing to say once it is injected. Waiving the
    /// default waives them too.
    pub satisfies: &'static [&'static str],
    /// The fields that it fills.
    pub fields: FieldSet,
    /// A field of its own with the value, as messages write it.
    pub name: fn(&InjectedField, &Value) -> String,
    /// What became of a field of its own, as messages write it: of the value that was
    /// there, the one that is there now.
    pub phrase: fn(&InjectedField, Option<&Value>, Option<&Value>) -> String,
    /// Whether what it injects may not fit an application, so that whoever hears of it
    /// is told how to be rid of it.
    pub may_not_fit: bool,
    /// Whether it changes the pod template, which starts a rollout.
    pub in_template: bool,
    /// Whether a profile's settings switch it on.
    pub is_enabled: fn(&Settings) -> bool,
    /// What it fills into a workload that holds nothing of gapless' own but what
    /// stays as it is. The owners say which of its values a user wrote, the record
    /// what earlier defaults fill.
    pub fill: fn(&Workload, &Owners, &Settings, &Record) -> Filled,
}

/// What one default injects into one workload.
#[derive(Debug, Default, PartialEq)]
pub struct Filled {
    /// The fields and their values.
    pub fields: Vec<(InjectedField, Value)>,
    /// What is wrong with an annotation that should have steered it.
    pub problem: Option<Problem>,
}

/// All defaults, in the order in which they are applied and documented.
pub static DEFAULTS: &[DefaultRule] =
    &[readiness_probe::DEFAULT, pre_stop_sleep::DEFAULT, rolling_update::DEFAULT, version_label::DEFAULT];

/// The default that fills `field`.
pub fn of(field: &InjectedField) -> Option<&'static DefaultRule> {
    DEFAULTS.iter().find(|default| (default.fields)(field))
}

/// The defaults that leave `rule` nothing to say.
pub fn satisfying(rule: &str) -> impl Iterator<Item = &'static DefaultRule> {
    DEFAULTS.iter().filter(move |default| default.satisfies.contains(&rule))
}
