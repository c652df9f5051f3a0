//! What gapless says of a preStop script is what the shell does.
//!
//! The scripts are put together at random and run by the `sh` of this machine. Where
//! its commands are looked up there is nothing but a `sleep` and a `pkill` that write
//! down how they were called. With `GAPLESS_TEST_SCRIPTS` as many others are tried.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use gapless::workload::object::LifecycleHandler;
use gapless::workload::shutdown::StopsFirst;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

const PROGRAMS: [(&str, &str); 2] = [
    // As strict about its operands as the real one.
    (
        "sleep",
        r#"[ $# -eq 0 ] && exit 1
for operand; do case $operand in ''|*[!0-9]*) exit 1;; esac; done
for operand; do echo "$operand" >> "$LOG"; done"#,
    ),
    ("pkill", r#"echo STOP >> "$LOG""#),
];

/// Commands that wait or stop, or would if they were right.
const CALLS: [&str; 16] = [
    "sleep 1",
    "sleep 3 4",
    "sleep '5'",
    "\\sleep 6",
    "A=b sleep 7",
    "sleep \\\n 8",
    ">/dev/null sleep 9 2>&1",
    "command sleep 3",
    "sh -c 'sleep 4; sleep 5'",
    "sleep",
    "sleep x",
    "sleep 0",
    "pkill x",
    "pkill -TERM x >/dev/null",
    "sh -c 'pkill x'",
    "exec sleep 2",
];

/// Other commands. All of them end at once.
const COMMANDS: [&str; 26] = [
    "sleep $n",
    "exec pkill x",
    "true",
    "false",
    ":",
    "echo 'a; b'",
    "echo \"it's\" `echo x` $(echo y)",
    "[ -e /x ]",
    "x=1",
    "x=$(echo 1)",
    "exit",
    "return 0",
    "f",
    "set -e",
    "set +e",
    "set -u",
    "set -n",
    "echo $undefined",
    "exec >/dev/null",
    ". /x",
    "eval 'sleep 9'",
    "unset sleep 9",
    "alias sleep=true",
    "echo sleep 9",
    "nosuchprogram",
    "sleep() { true; }",
];

/// What commands are put into, as A and B.
const FORMS: [&str; 19] = [
    "if A; then B; fi",
    "if A\nthen\nB\nelse A\nfi",
    "while false; do A; done",
    "until true\ndo B\ndone",
    "for i in 1 2\ndo A; done",
    "case x in y) A;; (x|z) B ;; esac",
    "case x in\n  q) A\n ;;\n  *) B\nesac",
    "(A; B)",
    "{ A\n}",
    "A && B",
    "A || B",
    "A || true",
    "A | B",
    "! A",
    "A &\nwait",
    "f() { A; }",
    "f()\n(\nA\n)",
    "cat <<EOF\nA\nEOF",
    "cat <<-'X Y' >/dev/null; A\n\tB\n\tX Y",
];

/// The same, wrong for every shell.
const WRONG_FORMS: [&str; 4] = ["if A then B; fi", "A; ; B", "A 'it", "{ A &; }"];

/// A script of such commands, one within another.
fn script() -> impl Strategy<Value = String> {
    let command = prop_oneof![3 => select(&CALLS[..]), 2 => select(&COMMANDS[..])].prop_map(str::to_owned);
    let nested = command.clone().prop_recursive(3, 12, 2, |inner| {
        let form = prop_oneof![30 => select(&FORMS[..]), 1 => select(&WRONG_FORMS[..])];
        (form, inner.clone(), inner).prop_map(|(form, a, b)| {
            form.chars().fold(String::new(), |mut script, character| {
                match character {
                    'A' => script.push_str(&a),
                    'B' => script.push_str(&b),
                    other => script.push(other),
                }
                script
            })
        })
    });
    let end = select(&["\n", "\n\n", " # it's sleep 5\n"][..]);
    let part = (prop_oneof![command, nested], end).prop_map(|(part, end)| part + end);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
}

/// What was called, in this order, when `sh` ran the script.
fn called(directory: &Path, options: &str, script: &str) -> Vec<String> {
    // What an earlier script left in the background goes on to write into another file.
    let log = tempfile::Builder::new().prefix("log").tempfile_in(directory).expect("a file");
    let status = Command::new("/bin/sh")
        .args([options, script])
        .env_clear()
        .env("PATH", directory)
        .env("LOG", log.path())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("a shell");
    fs::read_to_string(log.path()).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_certain_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in PROGRAMS {
        let file = directory.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("that can be run");
    }
    for name in ["sh", "cat"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), directory.path().join(name)).expect("a link");
    }
    let options = select(&["-c", "-ec", "-uc", "-eufc"][..]);
    let wanted = std::env::var("GAPLESS_TEST_SCRIPTS").ok().map(|text| text.parse().expect("a number"));
    let cases = wanted.unwrap_or(1_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    // The same ones each time, unless somebody goes looking for more.
    let mut runner = match wanted {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let (slept, stopped) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&(options, script()), |(options, script)| {
        let raw = json!({"exec": {"command": ["sh", options, script]}});
        let hook = LifecycleHandler::deserialize(&raw).expect("a hook");
        let (sleeps, stops) = (hook.sleeps().as_secs(), hook.stops_first());
        if sleeps == 0 && stops.is_none() {
            return Ok(());
        }
        slept.set(slept.get() + u32::from(sleeps > 0));
        stopped.set(stopped.get() + u32::from(stops.is_some()));
        let called = called(directory.path(), options, &script);
        let actual: u64 = called.iter().filter_map(|it| it.parse::<u64>().ok()).sum();
        prop_assert!(actual >= sleeps, "{sleeps} s of {actual} s: {called:?}");
        let first = called.iter().map(String::as_str).find(|it| *it != "0");
        match stops {
            Some(StopsFirst::By(_)) => prop_assert_eq!(first, Some("STOP")),
            Some(StopsFirst::SleepFails { .. }) => prop_assert_eq!(first, None),
            None => {}
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Else this says nothing.
    assert!(slept.get() > 50 && stopped.get() > 20, "{slept:?} {stopped:?}");
}
