//! What is known of files only, and the numbers.

use jiff::civil::Date;

use super::Report;
use super::count::{counted, plural};
use super::{html, json};
use crate::admission::Outcome;
use crate::kubernetes::kind::Kind;

/// What was said of files.
#[derive(Debug)]
pub struct Checked {
    /// The workloads and the errors, in the order of the files.
    pub report: Report,
    /// The files that were read.
    pub files: usize,
    /// Objects of other kinds, and documents that are no Kubernetes objects.
    pub other_objects: usize,
}

/// How much of everything there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files that were read.
    pub files: usize,
    /// Objects that were judged, of any kind.
    pub judged: usize,
    /// Deployments that were judged.
    pub deployments: usize,
    /// How many of each kind were judged; those of which there is none are left out.
    #[serde(skip)]
    pub kinds: Vec<(Kind, usize)>,
    /// Workloads that would be denied.
    pub denied: usize,
    /// Warnings, those about annotations without effect included.
    pub warnings: usize,
    /// Findings that go to the audit log only.
    pub audited: usize,
    /// Findings that an annotation waives.
    pub waived: usize,
    /// Objects and documents that were not judged.
    pub skipped: usize,
    /// Things that could not be read.
    pub errors: usize,
    /// In how many workloads each default would inject something.
    #[serde(serialize_with = "json::as_map")]
    pub injections: Vec<(&'static str, usize)>,
}

impl Checked {
    /// The numbers in one line, as in `3 files, 2 Deployments (profile
    /// production): 1 denied, 2 warnings, would inject 2 readiness-probe`.
    pub fn line(&self) -> String {
        let Report { profile, is_by_namespace, .. } = &self.report;
        self.summary().line(&match is_by_namespace {
            true => format!("by the profiles of their namespaces, {profile} where none is named"),
            false => format!("profile {profile}"),
        })
    }

    /// All of it as a page, judged on this day.
    ///
    /// # Errors
    /// If serde_json cannot write what programs read of it, of which no case is known.
    pub fn page(&self, today: Date) -> serde_json::Result<String> {
        let others = match self.other_objects {
            0 => String::new(),
            count => format!(" with {}", plural(count, "other object")),
        };
        Ok(html::write(&html::Page {
            report: &self.report,
            scope: format!("{}{others}", plural(self.files, "file")),
            today,
            remarks: Vec::new(),
            unread: Vec::new(),
            json: &json::write(self)?,
        }))
    }

    /// The numbers.
    pub fn summary(&self) -> Summary {
        let report = &self.report;
        let count = report.count();
        Summary {
            files: self.files,
            judged: count.judged,
            deployments: count.deployments,
            kinds: report.kinds(),
            denied: count.denied,
            warnings: report.judgements().map(|it| it.warnings().count()).sum(),
            audited: report.found(Outcome::Audit),
            waived: report.found(Outcome::Waived),
            skipped: self.other_objects + report.skipped().count(),
            errors: report.errors().count(),
            injections: report.injections(|_| true),
        }
    }
}

impl Summary {
    /// The numbers in one line, judged by this.
    fn line(&self, by: &str) -> String {
        let mut parts = vec![format!("{} denied", self.denied), plural(self.warnings, "warning")];
        let optional = [
            (self.audited, plural(self.audited, "audit note")),
            (self.waived, format!("{} waived", self.waived)),
            (self.skipped, format!("{} skipped", plural(self.skipped, "object"))),
            (self.errors, plural(self.errors, "error")),
        ];
        parts.extend(optional.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text));
        if !self.injections.is_empty() {
            let injections: Vec<_> =
                self.injections.iter().map(|(id, count)| format!("{count} {id}")).collect();
            parts.push(format!("would inject {}", injections.join(", ")));
        }
        format!("{}, {} ({by}): {}", plural(self.files, "file"), counted(&self.kinds), parts.join(", "))
    }
}
