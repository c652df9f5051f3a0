//! What each default changed, in lines for the user to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Terms;
use super::draft::Draft;
use crate::defaults::{self, DEFAULTS, DefaultRule};
use crate::ownership::owner::Owner;
use crate::ownership::owners::Owners;
use crate::ownership::parts::same_value;
use crate::ownership::record::{ANNOTATION, InjectedField};
use crate::policy::Waivers;
use crate::waiver;

/// What one default did.
#[derive(Default)]
struct Did {
    /// What it filled, refreshed or removed.
    changed: Phrases,
    /// What is there again although somebody took it away.
    kept: Phrases,
    /// What a waiver took away.
    withdrawn: Phrases,
}

/// Phrases in their order, each once: a label of the Deployment is one of its
/// template too.
#[derive(Default)]
struct Phrases {
    list: Vec<String>,
    seen: BTreeSet<String>,
}

impl Phrases {
    fn add(&mut self, phrase: String) {
        if self.seen.insert(phrase.clone()) {
            self.list.push(phrase);
        }
    }
}

/// What each default changed in `fields` on the way from the request's object to
/// the draft.
///
/// With a PUT of the bare manifest, which drops the record too, it is no news
/// that everything is still as it is stored. Whoever takes one field away is told
/// that it is back, and how to be rid of it.
pub(super) fn announce(
    owners: &Owners,
    draft: &Draft,
    fields: &BTreeSet<InjectedField>,
    terms: Terms,
) -> Vec<(&'static str, String)> {
    let is_waived = |default: &DefaultRule| terms.waivers.reason(default.id).is_some();
    let mut by_default: BTreeMap<&str, Did> = BTreeMap::new();
    let of_defaults = fields.iter().filter_map(|field| Some((field, defaults::of(field)?)));
    for (field, default) in of_defaults {
        let (mut from, to) = (owners.find(field), draft.find(field));
        // A bare PUT that waives a default does not hold what it withdraws.
        if owners.is_withdrawn(field) && same(from, to) && owners.changes_template() {
            from = owners.stored(field);
        }
        let is_as_stored = owners.old_object().is_some() && same(owners.stored(field), to);
        if same(from, to) || (is_as_stored && owners.record().is_none()) {
            continue;
        }
        let did = by_default.entry(default.id).or_default();
        match to {
            Some(to) if is_as_stored && (owners.is_in_record(field) || draft.is_handed_back(field)) => {
                did.kept.add((default.name)(field, to));
            }
            _ if is_dropped_for_recreate(field, draft) => {
                let phrase = "removed rollingUpdate, which the API server rejects beside Recreate";
                did.changed.add(phrase.to_owned());
            }
            _ if owners.is_withdrawn(field) || (draft.is_released(field) && is_waived(default)) => {
                did.withdrawn.add((default.phrase)(field, from, to));
            }
            Some(_) if field.has_parts() && owners.owner(field) == Owner::User => {
                did.changed.add(handed_over(field));
            }
            _ => did.changed.add((default.phrase)(field, from, to)),
        }
    }
    let in_order = DEFAULTS.iter().filter_map(|default| Some((default.id, by_default.remove(default.id)?)));
    in_order.flat_map(|(id, did)| did.lines(id, terms).into_iter().map(move |line| (id, line))).collect()
}

impl Did {
    fn lines(self, id: &str, terms: Terms) -> Vec<String> {
        let waiver = format!("{}{id}", waiver::PREFIX);
        let mut lines = Vec::new();
        if !self.changed.list.is_empty() {
            lines.push(self.changed.list.join(", "));
        }
        if !self.kept.list.is_empty() {
            let way_out = match terms.profile.waivers {
                Waivers::Allowed => format!("waive it with {waiver}"),
                Waivers::Forbidden => "write a value of your own to replace it".to_owned(),
            };
            lines.push(format!("kept {}; {way_out}", self.kept.list.join(", ")));
        }
        if !self.withdrawn.list.is_empty() {
            let phrases = self.withdrawn.list.join(", ");
            lines
                .push(format!("{phrases} for {waiver}; to keep a value, remove its entry from {ANNOTATION}"));
        }
        lines
    }
}

fn is_dropped_for_recreate(field: &InjectedField, draft: &Draft) -> bool {
    let is_amount = matches!(field, InjectedField::MaxUnavailable | InjectedField::MaxSurge);
    is_amount && draft.is_recreate()
}

fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same_value(left, right),
        (left, right) => left == right,
    }
}

fn handed_over(field: &InjectedField) -> String {
    let (what, container) = match field {
        InjectedField::PreStop(container) => ("preStop hook", container.as_str()),
        field => ("readiness probe", field.container().unwrap_or_default()),
    };
    format!("left the {what} of container {container} to you, without what had been injected into it")
}
