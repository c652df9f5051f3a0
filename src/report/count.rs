//! How many workloads there are of what.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Judgement, Report};
use crate::admission::Outcome;
use crate::defaults::DEFAULTS;
use crate::kubernetes::kind::Kind;

/// How many workloads there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All that were judged.
    pub judged: usize,
    /// The Deployments among them.
    pub deployments: usize,
    /// Those that would be denied if they were new.
    pub denied: usize,
    /// Those that have warnings, denied or not.
    pub warned: usize,
    /// Those that would not be denied and have no warnings.
    pub fine: usize,
    /// Those that gapless adds something to at their next rollout.
    pub completed: usize,
    /// Those about which there is nothing at all to say.
    pub clean: usize,
    /// Those of which a waiver holds.
    pub waived: usize,
}

impl Count {
    fn add(&mut self, judgement: &Judgement) {
        let is_denied = judgement.denials().next().is_some();
        let is_warned = judgement.warnings().next().is_some();
        self.judged += 1;
        self.deployments += usize::from(judgement.subject.kind == Kind::Deployment.name());
        self.denied += usize::from(is_denied);
        self.warned += usize::from(is_warned);
        self.fine += usize::from(!is_denied && !is_warned);
        self.completed += usize::from(judgement.is_completed());
        self.clean += usize::from(judgement.is_fine());
        self.waived += usize::from(!judgement.waivers.is_empty());
    }
}

impl Report {
    /// How many workloads of each kind were judged; of which there is none, it is left out.
    pub fn kinds(&self) -> Vec<(Kind, usize)> {
        let names: Vec<&str> = self.judgements().map(|it| it.subject.kind).collect();
        let of = |kind: Kind| names.iter().filter(|name| **name == kind.name()).count();
        Kind::ALL.map(|kind| (kind, of(kind))).into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// How many of all workloads are denied and warned.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        self.judgements().for_each(|judgement| count.add(judgement));
        count
    }

    /// The same for each namespace, with its profile. What a file says of no namespace is in
    /// that without a name.
    pub fn by_namespace(&self) -> BTreeMap<(&str, &str), Count> {
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        for judgement in self.judgements() {
            let namespace = judgement.subject.namespace.as_deref().unwrap_or_default();
            counts.entry((namespace, judgement.profile.as_str())).or_default().add(judgement);
        }
        counts
    }

    /// How many findings came to this.
    pub fn found(&self, outcome: Outcome) -> usize {
        self.findings().filter(|(_, found)| found.judged.outcome == outcome).count()
    }

    /// Into how many of these workloads each default would inject something; of which there
    /// is none, it is left out.
    pub fn injections(&self, counts: impl Fn(&Judgement) -> bool) -> Vec<(&'static str, usize)> {
        let injected = |id| {
            let injects = |it: &&Judgement| it.injections.iter().any(|(default, _)| *default == id);
            self.judgements().filter(|it| counts(it)).filter(injects).count()
        };
        let all = DEFAULTS.iter().map(|default| (default.id, injected(default.id)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// In how many workloads the ids that `of` finds occur, the most frequent
    /// first.
    pub fn frequencies<'r, I: Iterator<Item = &'r str>>(
        &'r self,
        of: impl Fn(&'r Judgement) -> I,
    ) -> Vec<(&'r str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for judgement in self.judgements() {
            let mut ids: Vec<_> = of(judgement).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(id, count)| (Reverse(*count), *id));
        counts
    }

    /// How many workloads were not judged, by reason.
    pub fn skips(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        self.skipped().for_each(|it| *counts.entry(it.reason.as_str()).or_default() += 1);
        counts
    }
}

/// As in `2 Deployments, 1 StatefulSet`.
pub fn counted(kinds: &[(Kind, usize)]) -> String {
    if kinds.is_empty() {
        return plural(0, Kind::Deployment.name());
    }
    kinds.iter().map(|(kind, count)| plural(*count, kind.name())).collect::<Vec<_>>().join(", ")
}

/// As in `1 file` and `2 files`.
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
