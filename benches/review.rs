//! What a review costs: time and allocations (divan), and times as multiples of what
//! it takes to read the same bytes with serde_json, in time of the processor, measured
//! in turns in one run, so that a busy machine slows both down. See README.md.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot do its work is best ended"
)]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/reviews.rs"]
mod reviews;

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use gapless::admission::{Phase, review};
use gapless::policy::{Exemptions, Policy, Profile};
use serde_json::{Value, json};

use clock::in_turns;
use reviews::{Case, cases, create, deployment, policy, stored, terms, update, with_image};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

static POLICY: LazyLock<Policy> = LazyLock::new(policy);
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| cases(&POLICY));

/// What the webhook does with a body, the answer's bytes included.
fn answer(policy: &Policy, phase: Phase, body: &[u8]) -> Vec<u8> {
    review(terms(policy), phase, body).expect("a decision").response.to_json().expect("an answer")
}

fn names() -> impl Iterator<Item = String> {
    CASES.iter().map(|case| format!("{}, {}", case.operation, case.name))
}

fn body(name: &str) -> &'static [u8] {
    let case = CASES.iter().find(|case| *name == format!("{}, {}", case.operation, case.name));
    &case.expect("a case of this name").body
}

#[divan::bench(args = names())]
fn from_slice(bencher: Bencher, name: &str) {
    let body = body(name);
    bencher.counter(BytesCount::of_slice(body)).bench(|| serde_json::from_slice::<Value>(black_box(body)));
}

#[divan::bench(args = names())]
fn mutate(bencher: Bencher, name: &str) {
    let body = body(name);
    bencher.counter(BytesCount::of_slice(body)).bench(|| answer(&POLICY, Phase::Mutate, black_box(body)));
}

#[divan::bench(args = names())]
fn validate(bencher: Bencher, name: &str) {
    let body = body(name);
    bencher.counter(BytesCount::of_slice(body)).bench(|| answer(&POLICY, Phase::Validate, black_box(body)));
}

/// As many as fit into half a second, but not so few that one disturbance shows.
fn rounds(body: &[u8], is_test: bool) -> usize {
    if is_test { 1 } else { (40_000_000 / body.len()).clamp(9, 4_000) }
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

/// Against reading the bytes into a tree.
fn print_ratios(is_test: bool) {
    println!("\n| body | bytes | from_slice::<Value> | mutate | validate |\n| --- | --- | --- | --- | --- |");
    for Case { name, operation, body } in CASES.iter() {
        let read = || drop(black_box(serde_json::from_slice::<Value>(black_box(body))));
        let mutate = || drop(black_box(answer(&POLICY, Phase::Mutate, black_box(body))));
        let validate = || drop(black_box(answer(&POLICY, Phase::Validate, black_box(body))));
        let [read, mutate, validate] =
            in_turns(rounds(body, is_test), [(1, &read), (1, &mutate), (1, &validate)]);
        let (bytes, mutate, validate) = (body.len(), ratio(mutate, read), ratio(validate, read));
        println!("| {operation}, {name} | {bytes} | {read:.1?} | {mutate:.2} x | {validate:.2} x |");
    }
}

/// One thing of which there may be more and more.
struct Growth {
    of: &'static str,
    /// Each a multiple of the one before.
    sizes: [usize; 4],
    case: fn(usize) -> (Policy, Vec<u8>),
}

const GROWTH: [Growth; 5] = [
    Growth {
        of: "containers with a record, a new image each",
        sizes: [10, 100, 1_000, 8_000],
        case: |containers| {
            let old_object = stored(&POLICY, &deployment(containers, 0, "v1"));
            (policy(), update(&old_object, &with_image(&old_object, "registry.example/team/app:v2")))
        },
    },
    Growth {
        of: "containers with a record, a PUT of the bare manifest",
        sizes: [10, 100, 1_000, 8_000],
        case: |containers| {
            let bare = deployment(containers, 0, "v1");
            (policy(), update(&stored(&POLICY, &bare), &bare))
        },
    },
    Growth {
        of: "containers with two findings each, new in an update",
        sizes: [10, 100, 1_000, 8_000],
        case: |containers| {
            let bare = deployment(containers, 0, "v1");
            (policy(), update(&bare, &with_image(&bare, "registry.example/team/app:latest")))
        },
    },
    Growth {
        of: "waivers, each second one of nothing",
        sizes: [1, 10, 100, 1_000],
        case: |waivers| {
            let mut object = deployment(1, 0, "v1");
            for number in 0..waivers {
                let id = if number % 2 == 0 { format!("rule-{number}") } else { "short-drain".to_owned() };
                let place = if number % 2 == 0 { "/metadata" } else { "/spec/template/metadata" };
                let metadata = object.pointer_mut(place).expect("metadata");
                metadata["annotations"][format!("gapless.dev/waive.{id}")] = json!("a reason");
                metadata["annotations"][format!("example.com/{number}")] = json!("of somebody else");
            }
            (policy(), create(&object))
        },
    },
    Growth {
        of: "profiles",
        sizes: [1, 10, 100, 1_000],
        case: |profiles| {
            let named = |number: usize| {
                let mut profile = Profile::production();
                profile.name = format!("profile-{number}");
                profile
            };
            let profiles = (1..profiles).map(named).chain([Profile::production()]);
            let policy =
                Policy::of(profiles, "production", Exemptions::default()).expect("a default profile");
            (policy, create(&deployment(1, 0, "v1")))
        },
    },
];

/// How the cost grows with the number of something: linear is 1.0, no growth 0.1.
fn print_growth(is_test: bool) {
    println!(
        "\n| of | how many | mutate + validate | against the line before, per item |\n| --- | --- | --- | --- |"
    );
    for Growth { of, sizes, case } in GROWTH {
        let sizes = sizes.map(|size| if is_test { size.min(10) } else { size });
        let cases = sizes.map(case);
        let both = |(policy, body): &(Policy, Vec<u8>)| {
            black_box(answer(policy, Phase::Mutate, black_box(body)));
            black_box(answer(policy, Phase::Validate, black_box(body)));
        };
        let work: [&dyn Fn(); 4] =
            [&|| both(&cases[0]), &|| both(&cases[1]), &|| both(&cases[2]), &|| both(&cases[3])];
        // Of the smaller ones about a quarter of the time of the largest.
        let repeats =
            cases.each_ref().map(|(_, body)| (cases[3].1.len() / body.len() / 4).clamp(1, 1_000) as u32);
        let rounds = if is_test { 1 } else { 5 };
        let times: [Duration; 4] =
            in_turns(rounds, std::array::from_fn(|index| (repeats[index], work[index])));
        for (index, (size, time)) in sizes.into_iter().zip(times).enumerate() {
            let growth = index.checked_sub(1).map(|before| {
                let growth = ratio(time, times[before]) * sizes[before] as f64 / size as f64;
                format!("{growth:.2} x")
            });
            println!("| {of} | {size} | {time:.1?} | {} |", growth.unwrap_or_default());
        }
    }
}

fn main() {
    divan::main();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    // As divan has it: one iteration with --test, and with `cargo test --bench review`.
    let is_test = has("--test") || !has("--bench");
    // What `cargo bench -- NAME` asks for is among the others.
    if arguments.iter().all(|argument| ["--bench", "--test"].contains(&argument.as_str())) {
        print_ratios(is_test);
        print_growth(is_test);
    }
}
