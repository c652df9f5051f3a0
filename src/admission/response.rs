//! The one place where a response is made.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::PatchOperation;

use super::envelope::{API_VERSION, KIND, Response, ResponseReview, Status, StatusCause, StatusDetails};
use super::verdict::{Judged, Outcome};
use crate::policy::{Profile, Waivers};
use crate::printable::printable;
use crate::waiver;

/// All warnings of one request together, in characters: beyond it the API
/// server cuts and drops them (apiserver, pkg/endpoints/filters/warning.go).
const MAX_WARNINGS: usize = 4_096;

/// A response on its way.
#[derive(Debug)]
pub struct ResponseBuilder(Response);

impl ResponseBuilder {
    /// A response that allows the request.
    pub fn allow(uid: &str) -> Self {
        ResponseBuilder(Response { uid: uid.to_owned(), allowed: true, ..Response::default() })
    }

    /// Lines for the user, in addition to those there are.
    pub fn warn(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.0.warnings.extend(lines.into_iter().map(|line| said(&format!("gapless: {line}"))));
        self
    }

    /// A fact for the audit log. The API server puts the webhook's name before
    /// the key, which must not contain a slash.
    pub fn audit(mut self, key: &'static str, value: impl Into<String>) -> Self {
        let value = said(&value.into());
        if !value.is_empty() {
            self.0.audit_annotations.insert(key, value);
        }
        self
    }

    /// Changes for the object. None is no patch: the API server wants patch and
    /// type together or not at all.
    pub fn patch(mut self, operations: &[PatchOperation]) -> Self {
        if let Ok(json) = serde_json::to_vec(operations)
            && !operations.is_empty()
        {
            self.0.patch = Some(STANDARD.encode(json));
            self.0.patch_type = Some("JSONPatch");
        }
        self
    }

    /// Denies the request if any finding does; shows the others as warnings
    /// else.
    ///
    /// The code is 403: with 422 kubectl would print the causes and hide which
    /// webhook spoke (seen on 1.37).
    pub fn verdict(mut self, judged: &[Judged], subject: &Subject, profile: &Profile) -> Self {
        let denied: Vec<_> = judged.iter().filter(|it| it.outcome == Outcome::Deny).collect();
        if denied.is_empty() {
            return self.warn(judged.iter().filter(|it| it.is_shown()).map(|it| it.finding.line()));
        }
        let cause = |it: &&Judged| StatusCause {
            reason: it.finding.reason.as_str(),
            message: said(&format!("{} ({})", it.finding.message, it.finding.rule)),
            field: said(&it.finding.field.to_string()),
        };
        self.0.allowed = false;
        self.0.status = Some(Status {
            status: "Failure",
            code: 403,
            reason: "Forbidden",
            message: denial(judged, subject, profile),
            details: StatusDetails {
                name: said(subject.name),
                group: subject.group.to_owned(),
                kind: subject.kind.to_owned(),
                causes: denied.iter().map(cause).collect(),
            },
        });
        self
    }

    /// The finished response.
    pub fn build(mut self) -> ResponseReview {
        keep_within(&mut self.0.warnings, MAX_WARNINGS);
        ResponseReview { api_version: API_VERSION, kind: KIND, response: self.0 }
    }
}

/// The object that a response is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name; empty if the API server has yet to generate it.
    pub name: &'a str,
    /// Its group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Whether it is stored already, and nobody knows what it was before: the request may be a
    /// rollback.
    pub may_be_rollback: bool,
}

/// What the user reads when a request is denied. kubectl keeps line breaks.
fn denial(judged: &[Judged], subject: &Subject, profile: &Profile) -> String {
    let part = |is_denial: bool| {
        let findings =
            judged.iter().filter(move |it| it.is_shown() && (it.outcome == Outcome::Deny) == is_denial);
        findings.map(|it| {
            let finding = &it.finding;
            let (line, fix) = (said(&finding.line()), said(&finding.fix));
            format!("{line}\n    fix: {fix}\n    why: gapless rules {}", finding.rule)
        })
    };
    let denials: Vec<_> = part(true).collect();
    let warnings: Vec<_> = part(false).collect();
    let rules = if denials.len() == 1 { "a rule" } else { "rules" };
    let object = match subject.name {
        "" => format!("this {}", subject.kind),
        name => format!("{} {name:?}", subject.kind),
    };
    let mut message = format!("{object} breaks {rules} of profile {}:\n{}", profile.name, denials.join("\n"));
    if !warnings.is_empty() {
        message.push_str("\nwarnings beside:\n");
        message.push_str(&warnings.join("\n"));
    }
    let may_waive = profile.waivers == Waivers::Allowed;
    if may_waive {
        message.push_str(&format!("\nto accept one: annotate with {}<rule>: <reason>", waiver::PREFIX));
    }
    let is_in_template = |it: &Judged| it.outcome == Outcome::Deny && it.finding.field.is_in_template();
    if subject.may_be_rollback && judged.iter().any(is_in_template) {
        let by_waiver = if may_waive { ", and so does any with that annotation" } else { "" };
        message.push_str(&format!("\nto roll back: kubectl rollout undo passes{by_waiver}"));
    }
    message
}

/// On one line, and printable: the API server drops a warning with control characters
/// without a word (apimachinery, pkg/util/net/http.go), and a line break in a name would
/// let it say anything here.
fn said(text: &str) -> String {
    printable(text).into_owned()
}

/// Drops the last warnings where all together are too long, and says so.
fn keep_within(warnings: &mut Vec<String>, limit: usize) {
    let note = |dropped: usize| format!("gapless: {dropped} more warnings, gapless check shows them all");
    let mut room = limit.saturating_sub(note(warnings.len()).len());
    let total: usize = warnings.iter().map(|line| line.chars().count()).sum();
    if total <= limit {
        return;
    }
    let fits = |line: &&String| {
        let length = line.chars().count();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    };
    let kept = warnings.iter().take_while(fits).count();
    let dropped = warnings.len() - kept;
    warnings.truncate(kept);
    warnings.push(note(dropped));
}

/// Rule ids with their outcome, as the audit log has them.
pub fn audit_findings(judged: &[Judged]) -> String {
    let of = |it: &Judged| format!("{} {} {}", it.outcome.as_str(), it.finding.rule, it.finding.field);
    judged.iter().filter(|it| it.outcome != Outcome::Waived).map(of).collect::<Vec<_>>().join("; ")
}

/// Rule and default ids with the reasons for which they are waived.
pub fn audit_waived(waived: &BTreeMap<&str, &str>) -> String {
    waived.iter().map(|(id, reason)| format!("{id}: {reason}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldPath;
    use crate::finding::{Action, Finding};
    use serde_json::json;

    const SUBJECT: Subject =
        Subject { name: "web", group: "apps", kind: "Deployment", may_be_rollback: false };

    fn judged(rule: &'static str, outcome: Outcome) -> Judged {
        let finding = Finding::invalid(rule, FieldPath::new("spec.replicas"), "found\nthis", "write that");
        Judged { finding, action: Action::Deny, outcome, waived_because: None }
    }

    #[test]
    fn a_denial_says_what_why_and_what_else() {
        let judged =
            [judged("one", Outcome::Deny), judged("two", Outcome::Warn), judged("three", Outcome::Audit)];
        let review =
            ResponseBuilder::allow("uid-1").verdict(&judged, &SUBJECT, &Profile::production()).build();
        let response = serde_json::to_value(&review).unwrap();
        assert_eq!(
            response["response"]["status"]["message"],
            json!(
                "Deployment \"web\" breaks a rule of profile production:\n\
            spec.replicas: found this (one)\n    fix: write that\n    why: gapless rules one\n\
            warnings beside:\n\
            spec.replicas: found this (two)\n    fix: write that\n    why: gapless rules two\n\
            to accept one: annotate with gapless.dev/waive.<rule>: <reason>"
            )
        );
        assert_eq!(response["response"]["status"]["code"], 403);
        assert_eq!(
            response["response"]["status"]["details"]["causes"],
            json!([
                {"reason": "FieldValueInvalid", "field": "spec.replicas", "message": "found this (one)"},
            ])
        );
        assert_eq!(response["response"]["uid"], "uid-1");
        assert_eq!(response["response"].get("warnings"), None, "they are in the message");
    }

    #[test]
    fn warnings_are_single_printable_lines() {
        let judged = [judged("two", Outcome::Warn)];
        let review = ResponseBuilder::allow("1").verdict(&judged, &SUBJECT, &Profile::production()).build();
        assert_eq!(review.response.warnings, ["gapless: spec.replicas: found this (two)"]);
        assert!(review.response.allowed);
    }

    #[test]
    fn nothing_that_an_object_says_has_control_characters() {
        let (hostile, shown) =
            ("a\u{1b}[31m\u{9b}2J\u{7f}\0\tb\nc", "a\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd} b c");
        let finding = |rule| {
            let field = FieldPath::new("spec").field(hostile);
            let finding = Finding::invalid(rule, field, hostile, hostile);
            Judged { finding, action: Action::Deny, outcome: Outcome::Deny, waived_because: None }
        };
        let subject = Subject { name: hostile, ..SUBJECT };
        let judged = [finding("one"), Judged { outcome: Outcome::Warn, ..finding("two") }];
        let review = ResponseBuilder::allow("uid-1")
            .verdict(&judged, &subject, &Profile::production())
            .warn([hostile.to_owned()])
            .audit("findings", audit_findings(&judged))
            .audit("waived", audit_waived(&BTreeMap::from([("one", hostile)])))
            .build();
        let response = serde_json::to_value(&review.response).unwrap();
        let mut texts = Vec::new();
        collect(&response, &mut texts);
        for text in &texts {
            assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
        }
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("\nspec.{shown}: {shown} (one)\n    fix: {shown}\n    why: ")),
            "{message}"
        );
        assert_eq!(message.lines().count(), 9, "{message}");
        let cause = &response["status"]["details"]["causes"][0];
        assert_eq!(
            (&cause["field"], &cause["message"]),
            (&json!(format!("spec.{shown}")), &json!(format!("{shown} (one)")))
        );
        assert_eq!(response["status"]["details"]["name"], shown);
        assert_eq!(response["warnings"], json!([format!("gapless: {shown}")]));
        assert_eq!(response["auditAnnotations"]["waived"], format!("one: {shown}"));
    }

    fn collect<'v>(value: &'v serde_json::Value, texts: &mut Vec<&'v str>) {
        match value {
            serde_json::Value::String(text) => texts.push(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
            _ => {}
        }
    }

    #[test]
    fn too_many_warnings_are_cut_with_a_word() {
        let lines = (0..200).map(|number| format!("{number} {}", "x".repeat(60)));
        let review = ResponseBuilder::allow("1").warn(lines).build();
        let warnings = review.response.warnings;
        let total: usize = warnings.iter().map(|line| line.chars().count()).sum();
        assert!(total <= MAX_WARNINGS, "{total}");
        let last = warnings.last().unwrap();
        assert_eq!(
            *last,
            format!("gapless: {} more warnings, gapless check shows them all", 201 - warnings.len())
        );
    }

    #[test]
    fn an_empty_patch_is_none() {
        let review = ResponseBuilder::allow("1").patch(&[]).build();
        assert_eq!(serde_json::to_value(review).unwrap()["response"], json!({"uid": "1", "allowed": true}));
    }
}
