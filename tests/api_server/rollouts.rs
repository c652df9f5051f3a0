//! The simulation of rollouts, held against the real controllers: both see the same things
//! happen to pods, one after the other, and after each of them the same pods have to be there.
//!
//! `GAPLESS_TEST_ROLLOUTS` sets the number of random cases, and `GAPLESS_TEST_ROLLOUTS_SEED`
//! the seed of the first one; the others count upwards from there. Without it the clock says.

mod case;
mod fixtures;
mod stage;

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gapless::kubernetes::kind::Kind;
use gapless::rollout::{Driven, Event, Seen};
use gapless::workload::Workload;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Handle;

use self::case::{Case, Move, Says, TEMPLATES, cases};
use self::stage::{Real, Role, Roles, Stage, State};
use crate::support::{self, notice};

/// Random cases, without the variable.
const CASES: usize = 40;

/// How many are played at the same time, each in a namespace of its own.
const SIDE_BY_SIDE: usize = 16;

/// How long a failed case is made shorter.
const SHRINK_LIMIT: Duration = Duration::from_secs(60);

/// Which kind a case has, by its seed.
const KINDS: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::Deployment, Kind::DaemonSet];

#[test]
fn pods_move_as_the_real_controllers_move_them() {
    // One of its own, of the newest release: DaemonSets of other tests would find the nodes.
    let Some(cluster) = support::own_newest_cluster() else { return };
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let count = number("GAPLESS_TEST_ROLLOUTS").unwrap_or(CASES as u64);
    let clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs());
    let seed = number("GAPLESS_TEST_ROLLOUTS_SEED").unwrap_or_else(clock);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stage = runtime.block_on(Stage::set(&cluster));
    let theater = Theater { stage, played: 0.into(), compared: 0.into(), forks: 0.into(), open: 0.into() };

    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let fixtures = fixtures::all();
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let failed = || failures.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed().len() > 3 {
                        break;
                    }
                    let known = usize::try_from(turn).ok().and_then(|turn| fixtures.get(turn));
                    let outcome = match known {
                        Some(case) => {
                            theater.play(case, runtime.handle()).map_err(|it| format!("{case}\n{}", it.why))
                        }
                        None if turn < fixtures.len() as u64 + count => {
                            theater.play_random(seed + turn - fixtures.len() as u64, runtime.handle())
                        }
                        None => break,
                    };
                    if let Err(why) = outcome {
                        notice(&why);
                        failed().push(why);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let of = |number: &AtomicUsize| number.load(Ordering::Relaxed);
    println!(
        "{} fixtures and {count} cases from seed {seed}: {} plays, compared {} times, \
         {} of them with two outcomes, {} left open, in {:.0?}",
        fixtures.len(),
        of(&theater.played),
        of(&theater.compared),
        of(&theater.forks),
        of(&theater.open),
        begun.elapsed()
    );
    // A test that leaves many open says nothing.
    assert!(of(&theater.open) * 50 <= of(&theater.played) + 50, "{} are left open", of(&theater.open));
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n\n"));
}

struct Theater {
    stage: Stage,
    played: AtomicUsize,
    /// How often what is there was held against what was foretold.
    compared: AtomicUsize,
    /// How often a Deployment could come to two things, and how often it came to a third.
    forks: AtomicUsize,
    open: AtomicUsize,
}

/// Why a case fails, and the moves of it that lead there.
struct Failure {
    why: String,
    taken: Vec<Move>,
}

impl Theater {
    /// The case of a seed; if it fails, the shortest one that fails too.
    fn play_random(&self, seed: u64, runtime: &Handle) -> Result<(), String> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let kind = KINDS[(seed % KINDS.len() as u64) as usize];
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        let case = cases(kind).new_tree(&mut runner).expect("a case").current();
        let Err(failure) = self.play(&case, runtime) else { return Ok(()) };
        notice(&format!("seed {seed}: {}", failure.why));
        let (case, why) = self.shrink(case, failure, runtime);
        Err(format!(
            "GAPLESS_TEST_ROLLOUTS=1 GAPLESS_TEST_ROLLOUTS_SEED={seed} repeats it; shrunk:\n{case}\n{why}"
        ))
    }

    /// Leaves moves out as long as it fails without them too.
    fn shrink(&self, mut case: Case, mut failure: Failure, runtime: &Handle) -> (Case, String) {
        let begun = Instant::now();
        case.moves = failure.taken;
        let mut size = case.moves.len() / 2;
        while size > 0 && begun.elapsed() < SHRINK_LIMIT {
            let without = |from: usize| {
                let mut shorter = case.clone();
                shorter.moves.drain(from..from + size);
                shorter
            };
            let shorter: Vec<Case> = (0..=case.moves.len() - size).step_by(size).map(without).collect();
            let failed = thread::scope(|scope| {
                let play = |case| scope.spawn(move || self.play(case, runtime).err());
                let plays: Vec<_> = shorter.iter().map(play).collect();
                let ends: Vec<_> = plays.into_iter().map(|play| play.join().unwrap_or(None)).collect();
                ends.into_iter().zip(&shorter).find_map(|(failure, case)| Some((failure?, case.clone())))
            });
            match failed {
                Some((of_shorter, shorter)) => {
                    (failure.why, case) = (of_shorter.why, Case { moves: of_shorter.taken, ..shorter });
                }
                None => size /= 2,
            }
            size = size.min(case.moves.len());
        }
        (case, failure.why)
    }

    fn play(&self, case: &Case, runtime: &Handle) -> Result<(), Failure> {
        let number = self.played.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("rollout-{number}");
        runtime.block_on(async {
            let real = Real::create(&self.stage, namespace, case.says.kind, &case.says.manifest("web")).await;
            let mut play = Play::new(case, real);
            let outcome = play.run(&case.moves).await;
            play.real.strike().await;
            self.compared.fetch_add(play.log.len(), Ordering::Relaxed);
            self.forks.fetch_add(play.forks, Ordering::Relaxed);
            self.open.fetch_add(usize::from(play.is_open), Ordering::Relaxed);
            outcome
                .map_err(|why| Failure { why: format!("{}\n{why}", play.log.join("\n")), taken: play.taken })
        })
    }
}

/// One case, simulated and real.
struct Play<'s> {
    says: Says,
    simulated: Driven,
    real: Real<'s>,
    /// What happened, and the numbers after that.
    log: Vec<String>,
    /// The moves that could be taken.
    taken: Vec<Move>,
    /// How often a Deployment could come to two things.
    forks: usize,
    /// Whether it came to a third one then.
    is_open: bool,
}

impl<'s> Play<'s> {
    fn new(case: &Case, real: Real<'s>) -> Self {
        let manifest = case.says.manifest("web");
        let workload = Workload::read(&manifest).expect("a workload");
        let simulated = Driven::new(&workload, TEMPLATES, case.says.replicas).expect("it is foreseeable");
        Play {
            says: case.says.clone(),
            simulated,
            real,
            log: Vec::new(),
            taken: Vec::new(),
            forks: 0,
            is_open: false,
        }
    }

    async fn run(&mut self, moves: &[Move]) -> Result<(), String> {
        self.settle("created").await?;
        while let Some((pod, event)) = self.chosen(Move::Start(0)) {
            self.tell(pod, event).await;
            self.settle("starts").await?;
        }
        for one in moves {
            if self.is_open {
                break;
            }
            match self.chosen(*one) {
                Some((pod, event)) => self.tell(pod, event).await,
                None if self.says.after(*one) != self.says => self.change(self.says.after(*one)).await,
                None => continue,
            }
            self.taken.push(*one);
            self.settle(&format!("{one:?}")).await?;
        }
        Ok(())
    }

    /// Which pod a move is about, if it is about one, and what happens to it.
    fn chosen(&self, one: Move) -> Option<(Seen, Event)> {
        let pods = || self.simulated.pods();
        let choose = |number: u8, is_meant: &dyn Fn(&Seen) -> bool| {
            let roles: BTreeMap<Role, Seen> = pods().filter(is_meant).map(|pod| (role(&pod), pod)).collect();
            roles.values().cycle().nth(usize::from(number)).copied()
        };
        match one {
            Move::Start(number) => {
                let can_start = |pod: &Seen| {
                    !pod.is_terminating && !pod.is_available && Some(pod.template) != self.says.broken
                };
                let pod = choose(number, &can_start)?;
                let is_second = pod.is_ready || self.says.min_ready == 0;
                Some((pod, if is_second { Event::Available } else { Event::Ready }))
            }
            Move::Fail(number) => Some((choose(number, &|pod| pod.is_ready)?, Event::Unready)),
            Move::Remove(number) => Some((choose(number, &|pod| !pod.is_terminating)?, Event::Deleted)),
            Move::End(number) => {
                let pod = choose(number, &|pod| pod.is_terminating)?;
                let is_gone = pod.has_ended || number % 2 == 0;
                Some((pod, if is_gone { Event::Gone } else { Event::Ended }))
            }
            _ => None,
        }
    }

    /// Both are told that it happens.
    async fn tell(&mut self, pod: Seen, event: Event) {
        let role = role(&pod);
        match event {
            Event::Ready => self.real.happen(role, State::Ready).await,
            Event::Available => self.real.happen(role, State::Available).await,
            Event::Unready => self.real.happen(role, State::Unready).await,
            Event::Deleted => self.real.happen(role, State::Terminating).await,
            Event::Ended => self.real.happen(role, State::Ended).await,
            Event::Gone => self.real.remove(role).await,
        }
        if event == Event::Available {
            self.simulated.happen(pod.id, Event::Ready);
        }
        self.simulated.happen(pod.id, event);
    }

    async fn change(&mut self, says: Says) {
        let manifest = says.manifest("web");
        self.real.change(&manifest).await;
        let workload = Workload::read(&manifest).expect("a workload");
        self.simulated.change(&workload, says.template).expect("it is foreseeable");
        self.says = says;
    }

    /// Lets both do what there is to do, and compares.
    async fn settle(&mut self, what: &str) -> Result<(), String> {
        let outcomes = self.outcomes()?;
        self.forks += usize::from(self.says.kind == Kind::Deployment && outcomes.len() > 1);
        let expected: Vec<Roles> = outcomes.iter().map(roles).collect();
        match self.real.settle(&expected).await {
            Ok(place) => {
                self.simulated = outcomes.into_iter().nth(place).expect("one of them");
                self.log.push(format!("{what}: {}", numbers(&roles(&self.simulated), self.says.template)));
                Ok(())
            }
            // How late the Deployment looked at each of its ReplicaSets nobody can tell.
            Err((_, true)) if self.says.kind == Kind::Deployment && expected.len() > 1 => {
                self.is_open = true;
                Ok(())
            }
            Err((found, is_settled)) => {
                let template = self.says.template;
                let expected: Vec<String> = expected.iter().map(|it| numbers(it, template)).collect();
                Err(format!(
                    "{what}: {} foretold, but it is {}{}",
                    expected.join(" or "),
                    numbers(&found, template),
                    if is_settled { "" } else { ", and the statuses do not say so" }
                ))
            }
        }
    }

    /// What the simulation can come to: one thing, but for the order in which a DaemonSet comes
    /// to its nodes, and for whether a Deployment looks before or after its ReplicaSets act.
    fn outcomes(&self) -> Result<Vec<Driven>, String> {
        let orders = match self.says.kind {
            Kind::DaemonSet => permutations((0..self.says.replicas.into()).collect()),
            _ => vec![Vec::new()],
        };
        let mut outcomes: BTreeMap<Roles, Driven> = BTreeMap::new();
        for order in orders {
            for settle in [Driven::settle, Driven::settle_early] {
                let mut simulated = self.simulated.clone();
                simulated.walk(&order);
                if !settle(&mut simulated) {
                    return Err("the simulation never comes to an end".to_owned());
                }
                outcomes.entry(roles(&simulated)).or_insert(simulated);
            }
        }
        Ok(outcomes.into_values().collect())
    }
}

fn permutations(items: Vec<i64>) -> Vec<Vec<i64>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |first: &i64| {
        let others = items.iter().copied().filter(|item| item != first).collect();
        permutations(others).into_iter().map(|rest| [vec![*first], rest].concat()).collect::<Vec<_>>()
    };
    items.iter().flat_map(with_first).collect()
}

fn role(pod: &Seen) -> Role {
    let state = match (pod.is_terminating, pod.has_ended) {
        (true, true) => State::Ended,
        (true, false) => State::Terminating,
        _ if pod.is_available => State::Available,
        _ if pod.is_ready => State::Ready,
        _ => State::Unready,
    };
    (pod.slot, pod.template, state)
}

fn roles(simulated: &Driven) -> Roles {
    let mut roles = Roles::new();
    simulated.pods().for_each(|pod| *roles.entry(role(&pod)).or_default() += 1);
    roles
}

/// Old, new, available and terminating pods, and which ones they are.
fn numbers(roles: &Roles, template: usize) -> String {
    let sum = |is_meant: &dyn Fn(&Role) -> bool| -> usize {
        roles.iter().filter(|(role, _)| is_meant(role)).map(|(_, count)| count).sum()
    };
    let is_active = |role: &Role| role.2 < State::Terminating;
    let old = sum(&|role| is_active(role) && role.1 != template);
    let new = sum(&|role| is_active(role) && role.1 == template);
    let available = sum(&|role| role.2 == State::Available);
    let terminating = sum(&|role| !is_active(role));
    let all: Vec<String> = roles
        .iter()
        .map(|((slot, template, state), count)| format!("{count}× {slot}/{template} {state:?}"))
        .collect();
    format!("({old}, {new}, {available}, {terminating}) [{}]", all.join(", "))
}
