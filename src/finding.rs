//! What a rule finds, and what is done about it.

use crate::field::FieldPath;

/// What happens when a rule finds something. Ordered from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
pub enum Action {
    /// The rule is not applied.
    Off,
    /// The finding goes to the audit log and the metrics.
    Audit,
    /// The finding is shown to the user as a warning.
    Warn,
    /// The request is denied.
    Deny,
}

/// One finding of one rule in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The id of the rule.
    pub rule: &'static str,
    /// The field that has to change.
    pub field: FieldPath,
    /// What kind of mistake it is, in the API's words.
    pub reason: Reason,
    /// What was found and what it does to requests, without the field.
    pub message: String,
    /// What to write instead.
    pub fix: String,
    /// The strictest action that this finding may have, whatever the profile
    /// says: some are only worth noting.
    pub at_most: Action,
}

/// The kind of a mistake, named as in `status.details.causes[].reason` of the
/// Kubernetes API (apimachinery, meta/v1 `CauseType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The field has a value that does harm.
    FieldValueInvalid,
    /// The field is missing.
    FieldValueRequired,
    /// The field names something that does not exist.
    FieldValueNotFound,
}

/// An annotation for gapless that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule or default that it should have steered.
    pub id: String,
    /// Its key.
    pub annotation: String,
    /// What is wrong with it, as the rest of a sentence.
    pub text: String,
}

impl Problem {
    /// The whole sentence.
    pub fn message(&self) -> String {
        format!("annotation {} {}", self.annotation, self.text)
    }

    /// The sentence and the id, in one line.
    pub fn line(&self) -> String {
        format!("{} ({})", self.message(), self.id)
    }
}

impl Reason {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::FieldValueInvalid => "FieldValueInvalid",
            Reason::FieldValueRequired => "FieldValueRequired",
            Reason::FieldValueNotFound => "FieldValueNotFound",
        }
    }
}

impl Finding {
    /// A value that does harm.
    pub fn invalid(
        rule: &'static str,
        field: FieldPath,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Finding {
            rule,
            field,
            reason: Reason::FieldValueInvalid,
            message: message.into(),
            fix: fix.into(),
            at_most: Action::Deny,
        }
    }

    /// Something that is missing.
    pub fn required(
        rule: &'static str,
        field: FieldPath,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Finding { reason: Reason::FieldValueRequired, ..Finding::invalid(rule, field, message, fix) }
    }

    /// A reference to something that does not exist.
    pub fn not_found(
        rule: &'static str,
        field: FieldPath,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Finding { reason: Reason::FieldValueNotFound, ..Finding::invalid(rule, field, message, fix) }
    }

    /// The same finding with an action of at most `action`.
    pub fn at_most(mut self, action: Action) -> Self {
        self.at_most = action;
        self
    }

    /// Field, what was found, and the rule's id, in one line.
    pub fn line(&self) -> String {
        format!("{}: {} ({})", self.field, self.message, self.rule)
    }
}
