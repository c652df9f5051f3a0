//! What has to be done next, as a pure function.
//!
//! Every replica asks it again and again, each on its own, about what it has just
//! read. What keeps the API server's trust through a change of CA is here:
//!
//! 1. A new CA is stored together with the certificate that it signs; CA and
//!    certificate before it are kept beside them.
//! 2. Every bundle gets the new CA. None loses the old one.
//! 3. A replica changes over to the new certificate when the new CA has been in
//!    every bundle for a while, so that each API server has seen it there.
//! 4. When the new CA is as old as a certificate gets, nobody can serve one of the
//!    old CA any more. Then bundles lose the old CA, and at last the Secret does.
//!
//! A replica acts on what may be outdated a moment later. That is safe: Kubernetes
//! takes a change only of the version that was read, bundles only grow by what is
//! served, and they lose only what nobody can serve.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;

/// The most CAs in a bundle. A Secret that is spoilt for ever, for example by a
/// tool that writes it too, must not make the bundles grow for ever.
const MOST_CAS: usize = 16;

/// How long before it is made a certificate is valid: a client's clock may be
/// behind.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// Certificates are renewed when a third of their life is left.
pub const RENEWED_AT: u32 = 3;

/// A CA's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// The certificate itself, by which it is known.
    pub certificate: CertificateDer<'static>,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// A serving certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate itself, by which it is known.
    pub certificate: CertificateDer<'static>,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// A serving certificate and the CA that signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The CA.
    pub ca: Ca,
    /// What it has signed last.
    pub leaf: Leaf,
}

impl Generation {
    /// Whether clients that trust the CA accept the certificate.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now <= self.leaf.not_after && now <= self.ca.not_after
    }
}

/// What the Secret holds, as far as it can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The CA that signs. `None`: its certificate or its key cannot be used.
    pub ca: Option<Ca>,
    /// That CA, which may be unable to sign, with its certificate.
    pub current: Option<Generation>,
    /// The CA before, with its last certificate.
    pub previous: Option<Generation>,
}

/// The `caBundle` of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its CAs, in order.
    pub cas: Vec<Ca>,
    /// Whether there is something else in it, too.
    pub has_garbage: bool,
}

impl Bundle {
    fn holds(&self, ca: &Ca) -> bool {
        self.cas.contains(ca)
    }
}

/// How long certificates last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// A CA.
    pub ca: Duration,
    /// A serving certificate.
    pub leaf: Duration,
}

/// What a replica knows when it decides.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The Secret; `None` if there is none.
    pub stored: Option<&'a Stored>,
    /// The bundles of all webhooks of both webhook configurations.
    pub bundles: &'a [Bundle],
    /// The CAs that every bundle has held for so long that each API server has
    /// seen it.
    pub settled: &'a [Ca],
    /// What this replica serves.
    pub served: Option<&'a Generation>,
    /// How long certificates last.
    pub lifetimes: Lifetimes,
    /// The wall clock: monotonic ones stand still during suspend.
    pub now: Timestamp,
}

/// One of the two certificates in the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Of the CA that signs.
    Current,
    /// Of the CA before.
    Previous,
}

/// A change of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new CA and a certificate of it. This generation becomes the previous one.
    NewCa(Option<Origin>),
    /// A new certificate of the CA that is there.
    NewLeaf,
    /// The previous generation goes.
    Forget,
}

/// Where a generation is known from that has to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the Secret.
    Stored,
    /// From the memory of the replica, which serves it.
    Served,
}

/// A change of every bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// What each bundle has to hold.
    pub required: Vec<Ca>,
    /// What none may hold.
    pub dropped: Vec<Ca>,
}

/// What a replica does next. The parts do not depend on each other: one that
/// fails is in nobody's way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Serve with this certificate from now on.
    pub serve: Option<Which>,
    /// Change the Secret, or create it.
    pub secret: Option<Change>,
    /// Change the bundles that [`Merge::apply`] makes different.
    pub bundles: Merge,
}

/// What to do now.
pub fn plan(view: &View) -> Plan {
    Plan { serve: serve(view), secret: secret(view), bundles: bundles(view) }
}

/// The certificate to change over to, if there is a better one than the served.
fn serve(view: &View) -> Option<Which> {
    let stored = view.stored?;
    let is_valid = |generation: &&Generation| generation.is_valid(view.now);
    let is_trusted =
        |generation: &&Generation| is_valid(generation) && is_everywhere(view.bundles, &generation.ca);
    let current = stored.current.as_ref().filter(is_valid);
    let previous = stored.previous.as_ref().filter(is_trusted);
    let served = view.served.filter(is_valid);

    // Renewed by the same CA, or by one that everybody knows by now.
    let is_safe =
        |it: &&Generation| served.is_some_and(|served| served.ca == it.ca) || view.settled.contains(&it.ca);
    let which = if current.as_ref().is_some_and(is_safe) {
        Which::Current
    } else if served.as_ref().is_some_and(is_trusted) {
        return None;
    } else if previous.is_some() {
        Which::Previous
    } else if served.is_some() {
        return None;
    } else {
        current?;
        Which::Current
    };
    let chosen = match which {
        Which::Current => current,
        Which::Previous => previous,
    };
    (chosen != view.served).then_some(which)
}

fn secret(view: &View) -> Option<Change> {
    let Some(stored) = view.stored else {
        return Some(Change::NewCa(view.served.map(|_| Origin::Served)));
    };
    let is_due = |not_after: Timestamp, lifetime: Duration| {
        // And after its end.
        let left = SignedDuration::try_from(lifetime / RENEWED_AT).unwrap_or(SignedDuration::MAX);
        not_after.duration_since(view.now) < left
    };
    match &stored.ca {
        Some(ca) if !is_due(ca.not_after, view.lifetimes.ca) => {}
        _ => {
            let kept = stored.current.as_ref().map(|_| Origin::Stored);
            return Some(Change::NewCa(kept.or(view.served.map(|_| Origin::Served))));
        }
    }
    match &stored.current {
        Some(current) if !is_due(current.leaf.not_after, view.lifetimes.leaf) => {}
        _ => return Some(Change::NewLeaf),
    }
    // Only when no bundle has its CA any more: the Secret is what says that it can go.
    let is_nowhere = |previous: &Generation| {
        is_over(view, previous) && !view.bundles.iter().any(|bundle| bundle.holds(&previous.ca))
    };
    stored.previous.as_ref().is_some_and(is_nowhere).then_some(Change::Forget)
}

fn bundles(view: &View) -> Merge {
    let mut merge = Merge::default();
    let current = view.stored.and_then(|stored| stored.current.as_ref());
    let previous = view.stored.and_then(|stored| stored.previous.as_ref());
    // The one that signs first: what it has signed may not be stored yet.
    merge.require(view.stored.and_then(|stored| stored.ca.as_ref()));
    merge.require(current.map(|current| &current.ca));
    merge.require(previous.filter(|it| !is_over(view, it)).map(|it| &it.ca));
    merge.require(view.served.filter(|it| it.is_valid(view.now)).map(|it| &it.ca));
    let unusable = previous.filter(|it| is_over(view, it)).map(|it| &it.ca);
    let expired = view.bundles.iter().flat_map(|bundle| &bundle.cas).filter(|ca| ca.not_after < view.now);
    for ca in unusable.into_iter().chain(expired) {
        if !merge.required.contains(ca) && !merge.dropped.contains(ca) {
            merge.dropped.push(ca.clone());
        }
    }
    merge
}

/// Whether nobody can serve a certificate of the previous CA any more. A replica
/// may have another one than that in the Secret, but none that was made after the CA
/// that followed.
fn is_over(view: &View, previous: &Generation) -> bool {
    let follower = view.stored.and_then(|stored| stored.ca.as_ref());
    let is_old = follower.is_some_and(|ca| {
        let lifetime = SignedDuration::try_from(view.lifetimes.leaf).unwrap_or(SignedDuration::MAX);
        view.now.duration_since(ca.not_before) > BACKDATED.saturating_add(lifetime)
    });
    previous.ca.not_after < view.now || (is_old && previous.leaf.not_after < view.now)
}

/// Whether all bundles hold this CA. It is in nobody's way that there are none:
/// then nobody calls.
pub fn is_everywhere(bundles: &[Bundle], ca: &Ca) -> bool {
    bundles.iter().all(|bundle| bundle.holds(ca))
}

impl Merge {
    fn require(&mut self, ca: Option<&Ca>) {
        if let Some(ca) = ca.filter(|ca| !self.required.contains(ca)) {
            self.required.push(ca.clone());
        }
    }

    /// The bundle as it has to be; `None` if it is so. CAs that this replica
    /// knows nothing about stay: somebody may serve with them.
    pub fn apply(&self, bundle: &Bundle) -> Option<Vec<Ca>> {
        let mut cas: Vec<Ca> = Vec::new();
        for ca in bundle.cas.iter().filter(|ca| !self.dropped.contains(ca)).chain(&self.required) {
            if !cas.contains(ca) {
                cas.push(ca.clone());
            }
        }
        while cas.len() > MOST_CAS {
            let unknown = cas.iter().enumerate().filter(|(_, ca)| !self.required.contains(ca));
            let Some((oldest, _)) = unknown.min_by_key(|(_, ca)| ca.not_after) else { break };
            cas.remove(oldest);
        }
        (bundle.has_garbage || cas != bundle.cas).then_some(cas)
    }
}

/// Since when every bundle has held which CA, as far as this replica has seen.
#[derive(Debug, Default)]
pub struct Settling {
    since: Vec<(Ca, Instant)>,
}

impl Settling {
    /// Notes what is in the bundles now.
    ///
    /// The clock is a monotonic one, since the wall clock may jump; that it stands
    /// still during suspend only makes everybody wait for longer.
    pub fn note(&mut self, bundles: &[Bundle], now: Instant) {
        self.since.retain(|(ca, _)| is_everywhere(bundles, ca));
        for ca in bundles.first().into_iter().flat_map(|bundle| &bundle.cas) {
            if is_everywhere(bundles, ca) && !self.since.iter().any(|(known, _)| known == ca) {
                self.since.push((ca.clone(), now));
            }
        }
    }

    /// The CAs that have been everywhere for `delay`.
    pub fn settled(&self, delay: Duration, now: Instant) -> Vec<Ca> {
        let is_settled = |since: Instant| now.saturating_duration_since(since) >= delay;
        self.since.iter().filter(|(_, since)| is_settled(*since)).map(|(ca, _)| ca.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from the beginning of the time of these tests.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    fn der(name: &str) -> CertificateDer<'static> {
        CertificateDer::from(name.as_bytes().to_vec())
    }

    /// A CA that lives for 1,000 s, from `born` on.
    fn ca(name: &str, born: i64) -> Ca {
        Ca { certificate: der(name), not_before: at(born) - BACKDATED, not_after: at(born + 1000) }
    }

    /// With a leaf that expires then.
    fn generation(name: &str, born: i64, leaf: &str, not_after: i64) -> Generation {
        Generation { ca: ca(name, born), leaf: Leaf { certificate: der(leaf), not_after: at(not_after) } }
    }

    fn bundle(cas: &[&Ca]) -> Bundle {
        Bundle { cas: cas.iter().map(|ca| (*ca).clone()).collect(), has_garbage: false }
    }

    fn stored(current: &Generation, previous: Option<&Generation>) -> Stored {
        Stored { ca: Some(current.ca.clone()), current: Some(current.clone()), previous: previous.cloned() }
    }

    const LIFETIMES: Lifetimes = Lifetimes { ca: Duration::from_secs(1000), leaf: Duration::from_secs(90) };

    const VIEW: View = View {
        stored: None,
        bundles: &[],
        settled: &[],
        served: None,
        lifetimes: LIFETIMES,
        now: Timestamp::UNIX_EPOCH,
    };

    #[test]
    fn what_is_served() {
        let (a, b) = (generation("A", 0, "a", 400), generation("B", 300, "b", 400));
        let renewed = generation("A", 0, "a2", 500);
        let (only_a, only_b, both) = ([bundle(&[&a.ca])], [bundle(&[&b.ca])], [bundle(&[&a.ca, &b.ca])]);
        let (b_after_a, b_alone, a_alone) = (stored(&b, Some(&a)), stored(&b, None), stored(&a, None));
        let a_renewed = stored(&renewed, None);
        let neither = [bundle(&[])];
        let (current, previous) = (Some(Which::Current), Some(Which::Previous));
        for (case, stored, served, bundles, settled, expected) in [
            ("the first", &a_alone, None, &neither, &[][..], current),
            ("it is served", &a_alone, Some(&a), &only_a, &[], None),
            ("renewed by the same CA", &a_renewed, Some(&a), &only_a, &[], current),
            ("a new CA in no bundle", &b_after_a, Some(&a), &only_a, &[], None),
            ("in every bundle since now", &b_after_a, Some(&a), &both, &[], None),
            ("and for long enough", &b_after_a, Some(&a), &both, std::slice::from_ref(&b.ca), current),
            ("and without the old one", &b_alone, Some(&a), &only_b, &[], None),
            (
                "and without the old one, settled",
                &b_alone,
                Some(&a),
                &only_b,
                std::slice::from_ref(&b.ca),
                current,
            ),
            ("a start in between", &b_after_a, None, &only_a, &[], previous),
            ("a start shortly after", &b_after_a, None, &both, &[], previous),
            ("a start with a bundle that lost the old one", &b_after_a, None, &only_b, &[], current),
            ("bundles that lost everything", &b_after_a, Some(&a), &neither, &[], None),
        ] {
            let view = View { stored: Some(stored), served, bundles, settled, now: at(310), ..VIEW };
            assert_eq!(plan(&view).serve, expected, "{case}");
        }
        // Expired: anything is better.
        let view = View { stored: Some(&b_alone), served: Some(&a), bundles: &neither, ..VIEW };
        assert_eq!(plan(&View { now: at(400), ..view.clone() }).serve, None);
        let longer = stored(&generation("B", 300, "b", 500), None);
        assert_eq!(plan(&View { now: at(401), stored: Some(&longer), ..view.clone() }).serve, current);
        assert_eq!(plan(&View { stored: None, now: at(310), ..view }).serve, None);
    }

    #[test]
    fn one_bundle_is_not_enough() {
        let (a, b) = (generation("A", 0, "a", 400), generation("B", 300, "b", 400));
        let stored = stored(&b, Some(&a));
        let mut settling = Settling::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let delay = Duration::from_secs(10);
        let both = bundle(&[&a.ca, &b.ca]);
        for (second, bundles, expected) in [
            (0, [both.clone(), bundle(&[&a.ca])], None),
            (20, [both.clone(), both.clone()], None),
            (29, [both.clone(), both.clone()], None),
            (30, [both.clone(), bundle(&[&a.ca])], None),
            (40, [both.clone(), both.clone()], None),
            (50, [both.clone(), both.clone()], Some(Which::Current)),
        ] {
            settling.note(&bundles, after(second));
            let settled = settling.settled(delay, after(second));
            let view = View {
                stored: Some(&stored),
                served: Some(&a),
                bundles: &bundles,
                settled: &settled,
                now: at(310),
                ..VIEW
            };
            assert_eq!(plan(&view).serve, expected, "{second}");
        }
    }

    #[test]
    fn what_is_stored() {
        let a = generation("A", 0, "a", 90);
        let old = generation("O", -700, "o", 50);
        let without_ca = Stored { ca: None, ..stored(&a, None) };
        let without_leaf = Stored { current: None, ..stored(&a, None) };
        let nothing = Stored::default();
        let sound = stored(&a, None);
        let with_old = stored(&generation("A", 0, "a2", 200), Some(&old));
        let of_the_end = stored(&generation("A", 0, "a", 1000), None);
        let served = Some(&old);
        let (only_a, both) = ([bundle(&[&a.ca])], [bundle(&[&a.ca]), bundle(&[&a.ca, &old.ca])]);
        let new_ca = |origin| Some(Change::NewCa(origin));
        for (case, stored, served, bundles, now, expected) in [
            ("no Secret", None, None, &only_a[..], 0, new_ca(None)),
            ("no Secret any more", None, served, &only_a, 0, new_ca(Some(Origin::Served))),
            ("an empty one", Some(&nothing), None, &only_a, 0, new_ca(None)),
            ("an empty one, spoilt", Some(&nothing), served, &only_a, 0, new_ca(Some(Origin::Served))),
            ("no key of the CA", Some(&without_ca), served, &only_a, 0, new_ca(Some(Origin::Stored))),
            ("no certificate", Some(&without_leaf), served, &only_a, 0, Some(Change::NewLeaf)),
            ("all is well", Some(&sound), None, &only_a, 0, None),
            ("before two thirds", Some(&sound), None, &only_a, 60, None),
            ("after two thirds", Some(&sound), None, &only_a, 61, Some(Change::NewLeaf)),
            ("long after its end", Some(&sound), None, &only_a, 600, Some(Change::NewLeaf)),
            ("a CA before two thirds", Some(&of_the_end), None, &only_a, 666, None),
            ("a CA after two thirds", Some(&of_the_end), None, &only_a, 667, new_ca(Some(Origin::Stored))),
            ("a CA after its end", Some(&of_the_end), None, &only_a, 2000, new_ca(Some(Origin::Stored))),
            ("one before that may be served", Some(&with_old), None, &only_a, 90, None),
            ("one before, still in a bundle", Some(&with_old), None, &both, 91, None),
            ("one before, in no bundle", Some(&with_old), None, &only_a, 91, Some(Change::Forget)),
        ] {
            let view = View { stored, served, bundles, now: at(now), ..VIEW };
            assert_eq!(plan(&view).secret, expected, "{case}");
        }
    }

    #[test]
    fn what_bundles_hold() {
        let (a, b) = (generation("A", 0, "a", 400), generation("B", 300, "b", 400));
        let (alone, after_a) = (stored(&b, None), stored(&b, Some(&a)));
        // Another replica may serve a younger certificate of that CA.
        let after_old_a = stored(&b, Some(&generation("A", 0, "a0", 310)));
        let (theirs, expired) = (ca("theirs", 0), ca("expired", -800));
        let (a_ca, b_ca) = (&a.ca, &b.ca);
        for (case, stored, served, before, now, expected) in [
            ("the first", Some(&alone), None, vec![], 310, Some(vec![b_ca])),
            ("as it has to be", Some(&alone), Some(&b), vec![b_ca], 310, None),
            ("in any order", Some(&after_a), Some(&b), vec![b_ca, a_ca], 310, None),
            ("a new one", Some(&after_a), Some(&a), vec![a_ca], 310, Some(vec![a_ca, b_ca])),
            ("all gone", Some(&after_a), Some(&b), vec![], 310, Some(vec![b_ca, a_ca])),
            ("somebody's own", Some(&alone), Some(&b), vec![&theirs], 310, Some(vec![&theirs, b_ca])),
            ("served, and not stored", Some(&alone), Some(&a), vec![b_ca], 310, Some(vec![b_ca, a_ca])),
            ("served, and nothing stored", None, Some(&a), vec![], 310, Some(vec![a_ca])),
            ("until none can be served", Some(&after_old_a), Some(&b), vec![a_ca, b_ca], 390, None),
            ("when none can be", Some(&after_old_a), Some(&b), vec![a_ca, b_ca], 391, Some(vec![b_ca])),
            ("until the last certificate expires", Some(&after_a), Some(&b), vec![a_ca, b_ca], 400, None),
            ("when it has", Some(&after_a), Some(&b), vec![a_ca, b_ca], 401, Some(vec![b_ca])),
            ("expired", Some(&alone), Some(&b), vec![&expired, b_ca], 310, Some(vec![b_ca])),
            ("twice", Some(&alone), Some(&b), vec![b_ca, b_ca], 310, Some(vec![b_ca])),
        ] {
            let before = bundle(&before);
            let bundles = [before.clone()];
            let view = View { stored, served, bundles: &bundles, now: at(now), ..VIEW };
            let expected = expected.map(|cas| bundle(&cas).cas);
            assert_eq!(plan(&view).bundles.apply(&before), expected, "{case}");
        }
    }

    #[test]
    fn garbage_goes_and_growth_has_an_end() {
        let b = generation("B", 300, "b", 400);
        let many: Vec<Ca> = (0..20).map(|number| ca(&number.to_string(), number)).collect();
        let stored = stored(&b, None);
        let view = View { stored: Some(&stored), now: at(310), ..VIEW };
        let merge = plan(&view).bundles;
        let garbage = Bundle { has_garbage: true, ..bundle(&[&b.ca]) };
        assert_eq!(merge.apply(&garbage), Some(vec![b.ca.clone()]));

        let mut expected = many[5..].to_vec();
        expected.push(b.ca.clone());
        let full = merge.apply(&Bundle { cas: many, has_garbage: false }).expect("a change");
        assert_eq!(full, expected);
        assert_eq!(merge.apply(&Bundle { cas: full, has_garbage: false }), None);
    }
}
