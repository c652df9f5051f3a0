//! Replicas that act at random moments, on what they read a while ago, while
//! certificates expire and somebody meddles.
//!
//! Only the requests are simulated; what follows from their answers is what
//! [`plan`] and [`Settling`] decide. What must hold after each step: the CA of what
//! a ready replica serves is in every bundle, as every API server knows it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::plan::{
    BACKDATED, Bundle, Ca, Change, Generation, Leaf, Lifetimes, Merge, Origin, Plan, Settling, Stored, View,
    Which, is_everywhere, plan,
};

/// Seconds.
const CA_LIFETIME: u64 = 360;
const LEAF_LIFETIME: u64 = 90;
/// How long a CA has to be in the bundles before it is used.
const TRUST_DELAY: u64 = 10;
/// How far an API server may be behind.
const LAG: u64 = 9;

/// An object with its version.
#[derive(Clone, Debug)]
struct Versioned<T> {
    version: u64,
    value: T,
}

/// What is stored in Kubernetes, and the time.
struct World {
    second: u64,
    start: Instant,
    /// The names of certificates: each is made once.
    made: u64,
    secret: Option<Versioned<Stored>>,
    versions: u64,
    configurations: [Versioned<Bundle>; 2],
    /// The bundles of before, until when each was in force.
    before: VecDeque<(u64, Bundle)>,
    replicas: [Replica; 2],
    /// Whether somebody has taken a CA away.
    is_spoilt: bool,
}

/// What it does next.
#[derive(Clone, Debug, Default)]
enum Doing {
    #[default]
    ReadSecret,
    ReadConfiguration {
        secret: Option<Versioned<Stored>>,
        read: Vec<Versioned<Bundle>>,
    },
    Write {
        secret: Option<Versioned<Stored>>,
        read: Vec<Versioned<Bundle>>,
        plan: Plan,
        written: usize,
    },
}

#[derive(Default)]
struct Replica {
    doing: Doing,
    served: Option<Generation>,
    settling: Settling,
    ready_since: Option<u64>,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A replica makes its next request.
    Step(usize),
    Wait(u64),
    Restart(usize),
    DeleteSecret,
    SpoilCa,
    SpoilLeaf,
    EmptyBundle(usize),
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_000_000 + i64::try_from(second).expect("a small number")).expect("a time")
}

impl World {
    fn new() -> Self {
        let empty = || Versioned { version: 0, value: Bundle { cas: Vec::new(), has_garbage: false } };
        World {
            second: 0,
            start: Instant::now(),
            made: 0,
            secret: None,
            versions: 0,
            configurations: [empty(), empty()],
            before: VecDeque::new(),
            replicas: [Replica::default(), Replica::default()],
            is_spoilt: false,
        }
    }

    fn now(&self) -> Timestamp {
        at(self.second)
    }

    fn certificate(&mut self) -> CertificateDer<'static> {
        self.made += 1;
        CertificateDer::from(self.made.to_be_bytes().to_vec())
    }

    fn leaf(&mut self, ca: &Ca) -> Leaf {
        Leaf { not_after: at(self.second + LEAF_LIFETIME).min(ca.not_after), certificate: self.certificate() }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Step(replica) => self.step(*replica),
            Event::Wait(seconds) => self.second += seconds,
            Event::Restart(replica) => self.replicas[*replica] = Replica::default(),
            Event::DeleteSecret => self.secret = None,
            Event::SpoilCa => self.spoil(|stored| stored.ca = None),
            Event::SpoilLeaf => self.spoil(|stored| stored.current = None),
            Event::EmptyBundle(configuration) => {
                self.is_spoilt = true;
                self.put(*configuration, Vec::new());
            }
        }
    }

    fn spoil(&mut self, spoil: impl FnOnce(&mut Stored)) {
        self.versions += 1;
        if let Some(secret) = &mut self.secret {
            secret.version = self.versions;
            spoil(&mut secret.value);
        }
    }

    fn put(&mut self, configuration: usize, cas: Vec<Ca>) {
        self.versions += 1;
        let after = Versioned { version: self.versions, value: Bundle { cas, has_garbage: false } };
        let before = std::mem::replace(&mut self.configurations[configuration], after);
        self.before.push_back((self.second, before.value));
    }

    /// One request of a replica, and what it concludes from the answer.
    fn step(&mut self, number: usize) {
        let doing = std::mem::take(&mut self.replicas[number].doing);
        self.replicas[number].doing = match doing {
            Doing::ReadSecret => Doing::ReadConfiguration { secret: self.secret.clone(), read: Vec::new() },
            Doing::ReadConfiguration { secret, mut read } => {
                read.push(self.configurations[read.len()].clone());
                if read.len() == 2 {
                    let plan = self.conclude(number, secret.as_ref(), &read);
                    Doing::Write { secret, read, plan, written: 0 }
                } else {
                    Doing::ReadConfiguration { secret, read }
                }
            }
            Doing::Write { secret, read, plan, written: 2 } => {
                if let Some(change) = plan.secret {
                    self.write_secret(number, secret, &change);
                }
                drop(read);
                Doing::ReadSecret
            }
            Doing::Write { secret, read, plan, written } => {
                self.write_bundle(written, &read[written], &plan.bundles);
                Doing::Write { secret, read, plan, written: written + 1 }
            }
        };
    }

    fn conclude(
        &mut self,
        number: usize,
        secret: Option<&Versioned<Stored>>,
        read: &[Versioned<Bundle>],
    ) -> Plan {
        let now = self.now();
        let instant = self.start + Duration::from_secs(self.second);
        let bundles: Vec<Bundle> = read.iter().map(|it| it.value.clone()).collect();
        let replica = &mut self.replicas[number];
        replica.settling.note(&bundles, instant);
        let settled = replica.settling.settled(Duration::from_secs(TRUST_DELAY), instant);
        let stored = secret.map(|secret| &secret.value);
        let plan = plan(&View {
            stored,
            bundles: &bundles,
            settled: &settled,
            served: replica.served.as_ref(),
            lifetimes: Lifetimes {
                ca: Duration::from_secs(CA_LIFETIME),
                leaf: Duration::from_secs(LEAF_LIFETIME),
            },
            now,
        });
        let chosen = stored.zip(plan.serve).and_then(|(stored, which)| match which {
            Which::Current => stored.current.clone(),
            Which::Previous => stored.previous.clone(),
        });
        if chosen.is_some() {
            let is_expired = replica.served.as_ref().is_some_and(|served| !served.is_valid(now));
            if is_expired {
                // Nobody could call it any more: it begins anew.
                replica.ready_since = None;
            }
            replica.served = chosen;
        }
        let is_trusted = replica.served.as_ref().is_some_and(|served| is_everywhere(&bundles, &served.ca));
        if is_trusted && replica.ready_since.is_none() {
            replica.ready_since = Some(self.second);
        }
        plan
    }

    fn write_bundle(&mut self, configuration: usize, read: &Versioned<Bundle>, merge: &Merge) {
        if let Some(cas) = merge.apply(&read.value)
            && self.configurations[configuration].version == read.version
        {
            self.put(configuration, cas);
        }
    }

    fn write_secret(&mut self, number: usize, read: Option<Versioned<Stored>>, change: &Change) {
        if self.secret.as_ref().map(|it| it.version) != read.as_ref().map(|it| it.version) {
            return;
        }
        let stored = read.map(|it| it.value);
        let value = match (change, stored) {
            (Change::NewLeaf, Some(mut stored)) => {
                let ca = stored.ca.clone().expect("a CA that signs");
                let leaf = self.leaf(&ca);
                stored.current = Some(Generation { ca, leaf });
                stored
            }
            (Change::Forget, Some(stored)) => Stored { previous: None, ..stored },
            (Change::NewCa(origin), stored) => {
                let previous = match origin {
                    Some(Origin::Stored) => stored.and_then(|stored| stored.current),
                    Some(Origin::Served) => self.replicas[number].served.clone(),
                    None => None,
                };
                let ca = Ca {
                    not_before: self.now() - BACKDATED,
                    not_after: at(self.second + CA_LIFETIME),
                    certificate: self.certificate(),
                };
                let leaf = self.leaf(&ca);
                Stored { ca: Some(ca.clone()), current: Some(Generation { ca, leaf }), previous }
            }
            (change, None) => panic!("{change:?} without a Secret"),
        };
        self.versions += 1;
        self.secret = Some(Versioned { version: self.versions, value });
    }

    /// What a ready replica serves, and nobody trusts.
    fn untrusted(&self) -> Option<String> {
        self.replicas.iter().find_map(|replica| {
            let ready_since = replica.ready_since?;
            let served = replica.served.as_ref().filter(|served| served.is_valid(self.now()))?;
            // An API server that is behind knows what was in force this long ago.
            let since = self.second.saturating_sub(LAG).max(ready_since);
            let former = self.before.iter().filter(|(until, _)| *until > since).map(|(_, bundle)| bundle);
            let mut in_force = former.chain(self.configurations.iter().map(|it| &it.value));
            let without = in_force.find(|bundle| !bundle.cas.contains(&served.ca))?;
            Some(format!("at {} s {served:?} is served, and there is {without:?}", self.second))
        })
    }

    /// What is not as it has to be.
    fn unsound(&self) -> Option<&'static str> {
        let stored = self.secret.as_ref().map(|secret| &secret.value);
        let Some(current) = stored.and_then(|stored| stored.current.as_ref()) else {
            return Some("there is no certificate");
        };
        let is_served = |replica: &Replica| replica.served.as_ref() == Some(current);
        let knows = |configuration: &Versioned<Bundle>| configuration.value.cas.contains(&current.ca);
        if !current.is_valid(self.now()) {
            return Some("the certificate has expired");
        }
        if !self.replicas.iter().all(|replica| is_served(replica) && replica.ready_since.is_some()) {
            return Some("a replica does not serve it");
        }
        (!self.configurations.iter().all(knows)).then_some("a bundle has not its CA")
    }
}

fn ordinary() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..2_usize).prop_map(Event::Step),
        3 => (0..4_u64).prop_map(Event::Wait),
        // Suspended, or without a connection.
        1 => (10..40_u64).prop_map(Event::Wait),
    ]
}

fn meddling() -> impl Strategy<Value = Event> {
    prop_oneof![
        40 => ordinary(),
        1 => (0..2_usize).prop_map(Event::Restart),
        1 => Just(Event::DeleteSecret),
        1 => Just(Event::SpoilCa),
        1 => Just(Event::SpoilLeaf),
    ]
}

fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        40 => meddling(),
        1 => (0..2_usize).prop_map(Event::EmptyBundle),
    ]
}

/// All is as it has to be, after a while in which nobody meddles.
fn assert_becomes_sound(world: &mut World) -> Result<(), TestCaseError> {
    for step in 0..400 {
        if world.unsound().is_none() {
            return Ok(());
        }
        world.step(step % 2);
        world.second += u64::from(step % 8 == 0);
    }
    prop_assert_eq!(world.unsound(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Through many changes of certificate and CA.
    #[test]
    fn what_is_served_is_trusted(events in prop::collection::vec(meddling(), 0..600)) {
        let mut world = World::new();
        for event in &events {
            world.happens(event);
            prop_assert_eq!(world.untrusted(), None);
        }
        assert_becomes_sound(&mut world)?;
        prop_assert_eq!(world.untrusted(), None);
    }

    #[test]
    fn all_is_repaired(events in prop::collection::vec(anything(), 0..400)) {
        let mut world = World::new();
        for event in &events {
            world.happens(event);
            prop_assert!(world.is_spoilt || world.untrusted().is_none());
        }
        assert_becomes_sound(&mut world)?;
    }
}

/// Left to themselves, replicas change the CA again and again, bundles get rid of
/// the old ones, and so does the Secret.
#[test]
fn bundles_do_not_grow() {
    let mut world = World::new();
    let mut cas = 0;
    let mut newest = None;
    for round in 0..40_000 {
        world.step(round % 2);
        world.second += u64::from(round % 12 == 0);
        assert_eq!(world.untrusted(), None);
        let current = world.secret.as_ref().and_then(|it| it.value.ca.clone());
        if current != newest {
            (newest, cas) = (current, cas + 1);
        }
        let most = world.configurations.iter().map(|it| it.value.cas.len()).max();
        assert!(most <= Some(2), "{most:?} CAs after {cas}");
    }
    // 3,333 s, and a new one every 240 s.
    assert!((13..=15).contains(&cas), "{cas} CAs");
}
