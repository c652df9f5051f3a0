//! What each default changed, in lines for the user to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Terms;
use super::draft::Draft;
use crate::defaults::{self, DEFAULTS, DefaultRule};
use crate::kubernetes::kind::Kind;
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
struct Phrases(BTreeMap<String, usize>);

impl Phrases {
    fn add(&mut self, phrase: String) {
        let position = self.0.len();
        self.0.entry(phrase).or_insert(position);
    }

    /// All in one, if there are any.
    fn joined(self) -> Option<String> {
        let mut phrases: Vec<(String, usize)> = self.0.into_iter().collect();
        phrases.sort_unstable_by_key(|(_, position)| *position);
        let phrases: Vec<String> = phrases.into_iter().map(|(phrase, _)| phrase).collect();
        (!phrases.is_empty()).then(|| phrases.join(", "))
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
    let parents = draft.parents();
    let of_defaults = fields.iter().filter_map(|field| Some((field, defaults::of(field)?)));
    for (field, default) in of_defaults {
        let (mut from, to) = (owners.find(field), draft.find_below(&parents, field));
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
            _ if is_dropped_for_strategy(field, draft, owners) => {
                did.changed.add(dropped_for_strategy(owners.kind()).to_owned());
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
        lines.extend(self.changed.joined());
        if let Some(kept) = self.kept.joined() {
            let way_out = match terms.profile.waivers {
                Waivers::Allowed => format!("waive it with {waiver}"),
                Waivers::Forbidden => "write a value of your own to replace it".to_owned(),
            };
            lines.push(format!("kept {kept}; {way_out}"));
        }
        if let Some(phrases) = self.withdrawn.joined() {
            lines
                .push(format!("{phrases} for {waiver}; to keep a value, remove its entry from {ANNOTATION}"));
        }
        lines
    }
}

fn is_dropped_for_strategy(field: &InjectedField, draft: &Draft, owners: &Owners) -> bool {
    let is_amount = matches!(field, InjectedField::MaxUnavailable(_) | InjectedField::MaxSurge(_));
    is_amount && !draft.rolls(owners.kind())
}

fn dropped_for_strategy(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "removed rollingUpdate, which the API server rejects beside Recreate",
        Kind::StatefulSet | Kind::DaemonSet => "removed rollingUpdate, which means nothing beside OnDelete",
        Kind::Rollout => "removed canary, which Argo Rollouts rejects beside blueGreen",
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::kind::RollingBlock;

    fn app() -> String {
        "app".to_owned()
    }

    #[test]
    fn a_change_is_told_with_what_was_before() {
        let (key, key_of_template) = ("version".to_owned(), "version".to_owned());
        let probe = json!({"tcpSocket": {"port": 5000}});
        let sleep = |seconds: i64| json!({"sleep": {"seconds": seconds}});
        for (field, from, to, expected) in [
            // The API server's default counts where nothing is written.
            (
                InjectedField::MaxUnavailable(RollingBlock::Strategy),
                None,
                Some(json!(0)),
                "maxUnavailable 25% -> 0",
            ),
            (
                InjectedField::MaxUnavailable(RollingBlock::Strategy),
                Some(json!(1)),
                Some(json!("10%")),
                "maxUnavailable 1 -> 10%",
            ),
            (InjectedField::MaxSurge(RollingBlock::Strategy), None, Some(json!(1)), "maxSurge 25% -> 1"),
            (InjectedField::MinReadySeconds, None, Some(json!(10)), "minReadySeconds 0 -> 10"),
            (InjectedField::GracePeriod, None, Some(json!(40)), "grace period 30s -> 40s"),
            (InjectedField::GracePeriod, Some(json!(40)), None, "grace period 40s -> 30s"),
            (InjectedField::Label(key), None, Some(json!("v2")), "label version=v2"),
            (InjectedField::TemplateLabel(key_of_template), Some(json!("v2")), None, "label version removed"),
            (
                InjectedField::ReadinessProbe(app()),
                None,
                Some(probe.clone()),
                "added readiness probe tcpSocket 5000 to container app",
            ),
            (
                InjectedField::ReadinessProbe(app()),
                Some(probe.clone()),
                Some(json!({"httpGet": {"path": "/ok", "port": "http"}})),
                "changed readiness probe httpGet /ok on port http of container app",
            ),
            (
                InjectedField::ReadinessProbe(app()),
                Some(probe),
                None,
                "removed readiness probe from container app",
            ),
            (
                InjectedField::PreStop(app()),
                None,
                Some(sleep(10)),
                "added preStop sleep 10s to container app",
            ),
            (
                InjectedField::PreStop(app()),
                Some(sleep(10)),
                Some(sleep(20)),
                "changed preStop sleep 20s of container app",
            ),
        ] {
            let default = defaults::of(&field).unwrap();
            assert_eq!((default.phrase)(&field, from.as_ref(), to.as_ref()), expected);
        }
    }

    #[test]
    fn what_is_kept_is_told_with_its_value() {
        for (field, value, expected) in [
            (InjectedField::MaxUnavailable(RollingBlock::Strategy), json!("25%"), "maxUnavailable 25%"),
            (InjectedField::MaxSurge(RollingBlock::Strategy), json!(1), "maxSurge 1"),
            (InjectedField::MinReadySeconds, json!(10), "minReadySeconds 10"),
            (InjectedField::GracePeriod, json!(40), "grace period 40s"),
            (InjectedField::Label("version".to_owned()), json!("v1"), "label version=v1"),
            (
                InjectedField::ReadinessProbe(app()),
                json!({"grpc": {"port": 9000}}),
                "readiness probe grpc 9000 of container app",
            ),
            (
                InjectedField::ReadinessProbe(app()),
                json!({"exec": {"command": ["true"]}}),
                "readiness probe exec of container app",
            ),
            (
                InjectedField::PreStop(app()),
                json!({"sleep": {"seconds": 10}}),
                "preStop sleep 10s of container app",
            ),
            // Somebody made another hook of it.
            (InjectedField::PreStop(app()), json!({"exec": {}}), "preStop sleep of container app"),
        ] {
            let default = defaults::of(&field).unwrap();
            assert_eq!((default.name)(&field, &value), expected);
        }
    }

    #[test]
    fn a_phrase_is_said_once_and_in_order() {
        let mut phrases = Phrases::default();
        for phrase in ["label version=v1", "grace period 30s -> 40s", "label version=v1"] {
            phrases.add(phrase.to_owned());
        }
        assert_eq!(phrases.joined().unwrap(), "label version=v1, grace period 30s -> 40s");
        assert_eq!(Phrases::default().joined(), None);
    }
}
