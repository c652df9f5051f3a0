//! Reports for the tests of the page.

use crate::kubernetes::kind::Kind;
use crate::policy::InjectionMode;
use crate::report::loss::Loss;
use crate::report::{Entry, Judgement, Report, Subject};

/// A workload of which nothing is said.
pub fn judgement(kind: Kind, namespace: &str, name: &str) -> Judgement {
    Judgement {
        subject: Subject::live(kind, namespace, name),
        profile: "production".to_owned(),
        findings: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        injections: Vec::new(),
        injection: InjectionMode::Inject,
        loss: Loss::None,
        waivers: Vec::new(),
        forecast: None,
        details: None,
    }
}

/// A report on these.
pub fn report(judgements: Vec<Judgement>) -> Report {
    let entries = judgements.into_iter().map(|judgement| Entry::Judged(Box::new(judgement))).collect();
    Report { profile: "production".to_owned(), is_by_namespace: false, entries }
}
