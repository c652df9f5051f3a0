//! `gapless rules`, run as users run it.

use std::process::{Command, Stdio};

use gapless::defaults::DEFAULTS;
use gapless::patterns::PATTERNS;
use gapless::rules::RULES;
use serde_json::{Value, json};

use crate::support::ran;

fn command(arguments: &[&str]) -> Command {
    ran::gapless("rules", arguments)
}

/// Exit code, standard output and standard error.
fn rules(arguments: &[&str]) -> (i32, String, String) {
    let output = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_table_has_all_rules_then_all_defaults() {
    let (code, table, errors) = rules(&[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(!table.contains('\u{1b}'), "a pipe is no terminal");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");

    let headings = ["RULE", "DEFAULT", "PROD"];
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let ids: Vec<_> = table
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(first)
        .filter(|word| !headings.contains(&word.as_str()))
        .collect();
    let expected = RULES.iter().map(|rule| rule.id).chain(DEFAULTS.iter().map(|default| default.id));
    assert_eq!(ids, expected.collect::<Vec<_>>());

    let line = |id: &str| {
        let line = table.lines().find(|line| first(line).as_deref() == Some(id)).unwrap();
        line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("recreate-strategy"), ["recreate-strategy", "Deny", "Off"]);
    assert_eq!(line("no-rollback-history"), ["no-rollback-history", "Deny", "Warn"]);
    assert_eq!(line("readiness-probe"), ["readiness-probe", "On", "On"]);
    assert_eq!(line("pre-stop-sleep"), ["pre-stop-sleep", "On", "Off"]);

    // Ways to release are named below.
    let rest = table.split("ID may be a way to release, too:").nth(1).unwrap();
    let named: Vec<_> = rest.split([',', ' ', '\n']).filter(|word| !word.is_empty()).collect();
    assert_eq!(named, PATTERNS.iter().map(|pattern| pattern.id).collect::<Vec<_>>());
}

#[test]
fn each_rule_default_and_way_to_release_has_its_page() {
    let pattern = &PATTERNS[1];
    for (id, page) in
        [(RULES[0].id, RULES[0].page), (DEFAULTS[0].id, DEFAULTS[0].page), (pattern.id, pattern.page)]
    {
        let (code, shown, errors) = rules(&[id]);
        assert_eq!((code, errors.as_str()), (0, ""));
        assert_eq!(shown.trim_end(), page.trim_end());
    }
}

#[test]
fn headings_are_bold_in_a_terminal() {
    let output = command(&["recreate-strategy"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.starts_with("\u{1b}[1m# recreate-strategy\u{1b}[0m\n"), "{page:?}");
}

#[test]
fn an_unknown_id_has_a_nearest_one() {
    let table = [
        (
            "recreate-stategy",
            "error: there is no page about \"recreate-stategy\"; did you mean recreate-strategy?\n",
        ),
        ("version-lable", "error: there is no page about \"version-lable\"; did you mean version-label?\n"),
        ("blue-gren", "error: there is no page about \"blue-gren\"; did you mean blue-green?\n"),
        ("x", "error: there is no page about \"x\"; gapless rules lists them\n"),
    ];
    for (id, expected) in table {
        assert_eq!(rules(&[id]), (2, String::new(), expected.to_owned()));
    }
}

#[test]
fn json() {
    let (code, text, _) = rules(&["-f", "json"]);
    assert_eq!(code, 0);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list.as_array().unwrap().len(), RULES.len() + DEFAULTS.len());
    let first = &list[0];
    assert_eq!(
        ["id", "kind", "production", "development"].map(|key| first[key].as_str().unwrap()),
        [RULES[0].id, "rule", "Deny", "Off"]
    );
    let (_, text, _) = rules(&["-f", "json", RULES[0].id]);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["page"], RULES[0].page);
    let (_, text, _) = rules(&["-f", "json", "canary"]);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&page["id"], &page["kind"]), (&json!("canary"), &json!("pattern")));
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&[][..], &["recreate-strategy"], &["-f", "json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
}
