//! Annotations that say why a rule or default does not apply.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::finding::Problem;
use crate::policy::Waivers;
use crate::workload::Workload;

/// The annotation `gapless.dev/waive.<id>` on a Deployment or its template.
pub const PREFIX: &str = "gapless.dev/waive.";

/// A waiver that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// The rule or default that does not apply.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Its last day, if it ends.
    pub until: Option<Date>,
}

/// The waivers of one workload.
#[derive(Debug, Default)]
pub struct ActiveWaivers<'a> {
    reasons: BTreeMap<&'a str, &'a str>,
    problems: Vec<Problem>,
}

impl<'a> ActiveWaivers<'a> {
    /// The waivers that hold on the day `today` (UTC). One on the Deployment
    /// goes before one on its template.
    pub fn read(workload: &Workload<'a>, policy: Waivers, today: Date, is_id: impl Fn(&str) -> bool) -> Self {
        let template = &workload.template().metadata.annotations;
        ActiveWaivers::in_annotations(
            workload.metadata().annotations.iter().chain(template),
            policy,
            today,
            is_id,
        )
    }

    /// Those among these annotations, of which the first of each key counts.
    pub fn in_annotations<'m>(
        annotations: impl IntoIterator<Item = (&'m &'a str, &'m &'a str)>,
        policy: Waivers,
        today: Date,
        is_id: impl Fn(&str) -> bool,
    ) -> Self
    where
        'a: 'm,
    {
        let mut waivers = ActiveWaivers::default();
        for (key, reason) in annotations {
            let Some(id) = key.strip_prefix(PREFIX) else { continue };
            if waivers.reasons.contains_key(id) {
                continue;
            }
            let problem = if policy == Waivers::Forbidden {
                Some("has no effect: waivers are forbidden here".to_owned())
            } else if !is_id(id) {
                Some("has no effect: there is no rule or default of that name, see gapless rules".to_owned())
            } else if reason.trim().is_empty() {
                Some("has no effect: write the reason as its value".to_owned())
            } else {
                expiry(reason, today)
            };
            match problem {
                Some(text) => {
                    waivers.problems.push(Problem { id: id.to_owned(), annotation: (*key).to_owned(), text });
                }
                None => {
                    waivers.reasons.insert(id, reason);
                }
            }
        }
        // A broken waiver does not matter where another one for the same id holds.
        waivers.problems.retain(|problem| !waivers.reasons.contains_key(problem.id.as_str()));
        waivers
    }

    /// The reason for which `id` is waived.
    pub fn reason(&self, id: &str) -> Option<&'a str> {
        self.reasons.get(id).copied()
    }

    /// Those that hold, sorted by their ids.
    pub fn all(&self) -> impl Iterator<Item = Waiver> {
        self.reasons.iter().map(|(id, reason)| Waiver {
            id: (*id).to_owned(),
            reason: (*reason).to_owned(),
            until: last_day(reason).and_then(|written| written.parse().ok()),
        })
    }

    /// The waivers that have no effect.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// The last day of a waiver with this reason, as it is written there: `until YYYY-MM-DD`
/// anywhere in it. "until the migration is done" is a reason like any other.
fn last_day(reason: &str) -> Option<&str> {
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.windows(2).find_map(|pair| match pair {
        [until, date] if until.eq_ignore_ascii_case("until") => looks_like_date(date),
        _ => None,
    })
}

/// Why a waiver with this reason no longer holds, if so.
fn expiry(reason: &str, today: Date) -> Option<String> {
    let written = last_day(reason)?;
    match written.parse::<Date>() {
        Ok(until) if today > until => Some(format!("expired after {until}")),
        Ok(_) => None,
        Err(_) => Some(format!("has no effect: there is no day {written}")),
    }
}

/// The `YYYY-MM-DD` in a word, without the punctuation around it.
fn looks_like_date(word: &str) -> Option<&str> {
    let date = word.trim_matches(|character: char| !character.is_ascii_digit());
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = date.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
        .then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const TODAY: Date = jiff::civil::date(2026, 11, 23);

    fn read(metadata: Value, policy: Waivers) -> (bool, Vec<String>) {
        let raw = json!({"metadata": metadata});
        let workload = Workload::read(&raw).unwrap();
        let waivers = ActiveWaivers::read(&workload, policy, TODAY, |id| id == "single-replica");
        (waivers.reason("single-replica").is_some(), waivers.problems().iter().map(Problem::line).collect())
    }

    fn reason(text: &str) -> (bool, Vec<String>) {
        read(json!({"annotations": {"gapless.dev/waive.single-replica": text}}), Waivers::Allowed)
    }

    #[test]
    fn a_reason_waives_and_a_date_ends_it_after_that_day() {
        for holds in [
            "queue worker",
            "until 2026-11-23",
            "accepted Until 2027-01-01, see ticket 7",
            "(until 2027-01-01)",
            "until the migration is done",
            "until",
        ] {
            assert_eq!(reason(holds), (true, vec![]), "{holds}");
        }
        let table = [
            ("", "has no effect: write the reason as its value"),
            ("  ", "has no effect: write the reason as its value"),
            ("until 2026-11-22", "expired after 2026-11-22"),
            ("ok until 2026-02-30.", "has no effect: there is no day 2026-02-30"),
        ];
        for (text, problem) in table {
            let problem = format!("annotation gapless.dev/waive.single-replica {problem} (single-replica)");
            assert_eq!(reason(text), (false, vec![problem]), "{text:?}");
        }
    }

    #[test]
    fn unknown_ids_and_forbidden_waivers_say_so() {
        let unknown = json!({"annotations": {"gapless.dev/waive.single-replicas": "typo"}});
        let (_, problems) = read(unknown, Waivers::Allowed);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("there is no rule or default of that name"), "{problems:?}");

        let known = json!({"annotations": {"gapless.dev/waive.single-replica": "why not"}});
        let (holds, problems) = read(known, Waivers::Forbidden);
        assert!(!holds);
        assert!(problems[0].contains("forbidden"), "{problems:?}");
    }
}
