//! The pages of the rules and defaults, executed: what a page shows is what
//! gapless does. Those of the ways to release are in `patterns`, but for their form.

use std::collections::BTreeSet;
use std::fs;
use std::iter;

use gapless::admission::{self, Assessment, Outcome};
use gapless::defaults::{DEFAULTS, DefaultRule};
use gapless::finding::Action;
use gapless::kubernetes::kind::Kind;
use gapless::ownership::record::ANNOTATION;
use gapless::patterns::PATTERNS;
use gapless::policy::Profile;
use gapless::rules::{Check, Needs, RULES, Rule};
use gapless::waiver;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::support::around::around;
use crate::support::fixtures::repository_file;
use crate::support::page::Page;
use crate::support::ran;
use crate::support::simulated::ApiServer;

const TODAY: Date = jiff::civil::date(2026, 11, 23);

const RULE_SECTIONS: [&str; 8] = [
    "What it checks",
    "Why it matters",
    "What Kubernetes does",
    "Fails",
    "Passes",
    "How to fix",
    "When to waive",
    "Settings",
];

const DEFAULT_SECTIONS: [&str; 8] = [
    "What it injects",
    "Why it matters",
    "What Kubernetes does",
    "When it injects nothing",
    "Before",
    "After",
    "How to turn it off",
    "Settings",
];

const PATTERN_SECTIONS: [&str; 5] =
    ["What gapless does", "What it leaves to others", "Manifests", "What gapless says", "What to watch"];

/// What gapless makes of a new object in production, where nothing is around it.
fn assess(object: &Value) -> Assessment {
    assess_in(object, &[])
}

/// The same with these objects around it.
fn assess_in(object: &Value, others: &[Value]) -> Assessment {
    let around = around(object, others);
    let assessment =
        admission::assess(Kind::of_document(object), object, &around, &Profile::production(), TODAY)
            .expect("a valid object");
    assert_eq!(assessment.skip, None, "{object}");
    assert!(assessment.problems.is_empty(), "{object}");
    assessment
}

/// The rules that find something in what a page shows, and what comes of it.
fn outcomes(rule: &Rule, object: &Value, others: &[Value]) -> Vec<(&'static str, Outcome)> {
    if let Check::Switch(_) = rule.check {
        return outcomes_of_check(iter::once(object).chain(others));
    }
    match (rule.needs, others) {
        // The first one is what is stored.
        (Needs::OldObject, [new]) => {
            let mut findings = ApiServer::new("production").update(object, new).findings;
            // One replica that nobody wrote is one replica, too.
            findings.retain(|(found, _)| *found != "single-replica");
            findings
        }
        _ => assess_in(object, others).judged.iter().map(|it| (it.finding.rule, it.outcome)).collect(),
    }
}

/// What `gapless check` finds in a file with these documents.
fn outcomes_of_check<'o>(documents: impl Iterator<Item = &'o Value>) -> Vec<(&'static str, Outcome)> {
    let text: String = documents.map(|document| format!("---\n{document}\n")).collect();
    let report = ran::with_stdin(ran::gapless("check", &["-f", "json", "-"]), &text).json();
    let found = report["findings"].as_array().expect("findings").iter().map(|finding| {
        let rule = RULES.iter().find(|rule| finding["rule"] == rule.id).expect("a rule");
        let outcome = Outcome::ALL.into_iter().find(|it| finding["outcome"] == it.as_str());
        (rule.id, outcome.expect("an outcome"))
    });
    found.collect()
}

/// The object with one annotation more.
fn annotated(object: &Value, key: &str, value: &Value) -> Value {
    let mut object = object.clone();
    match &mut object["metadata"]["annotations"] {
        Value::Object(annotations) => drop(annotations.insert(key.to_owned(), value.clone())),
        annotations => *annotations = json!({ key: value }),
    }
    object
}

/// The waiver that a page shows: key and reason.
fn shown_waiver(page: &Page, heading: &str, id: &str) -> (String, Value) {
    let waiver = page.block(heading).as_object().expect("one annotation");
    let [(key, reason)] = waiver.iter().collect::<Vec<_>>()[..] else { panic!("{id}: {waiver:?}") };
    assert_eq!(*key, format!("{}{id}", waiver::PREFIX));
    (key.clone(), reason.clone())
}

/// Id, page and sections of each rule, default and way to release.
fn all_pages() -> impl Iterator<Item = (&'static str, &'static str, &'static [&'static str])> {
    let rules = RULES.iter().map(|rule| (rule.id, rule.page, &RULE_SECTIONS[..]));
    let defaults = DEFAULTS.iter().map(|default| (default.id, default.page, &DEFAULT_SECTIONS[..]));
    let patterns = PATTERNS.iter().map(|pattern| (pattern.id, pattern.page, &PATTERN_SECTIONS[..]));
    rules.chain(defaults).chain(patterns)
}

/// The rules whose pages say what the rollouts of their examples are going to do, and with
/// which arguments of `gapless preview`.
const FORETOLD: [(&str, &[&str]); 5] = [
    ("rollout-outage", &[]),
    ("rollout-capacity-loss", &[]),
    ("slow-readiness", &[]),
    ("surge-deadlock", &[]),
    ("tight-progress-deadline", &["--starts-in", "700s"]),
];

#[test]
fn what_a_page_foretells_is_what_preview_says() {
    for (id, arguments) in FORETOLD {
        let rule = RULES.iter().find(|rule| rule.id == id).unwrap();
        let page = Page::parse(id, rule.page);
        let said = page.section("How to fix").text.split_whitespace().collect::<Vec<_>>().join(" ");
        let command = ["gapless preview", arguments.join(" ").as_str()].join(" ");
        assert!(said.contains(&format!("What `{}` says", command.trim())), "{id}: {command}");
        for (which, heading) in [("first", "Fails"), ("second", "Passes")] {
            let preview = ran::gapless("preview", &[arguments, &["-"]].concat());
            let ran = ran::with_stdin(preview, &page.block(heading).to_string());
            let (_, forecast) = ran.stdout.split_once(": ").unwrap_or_else(|| panic!("{id}: {ran:?}"));
            // The numbers at which it stands are left out, how many pods there are at most, and
            // what a passed deadline means.
            let ends = [": hostPort", ", up to", ": the rollout is reported"];
            let end = ends.into_iter().filter_map(|end| forecast.find(end)).min().unwrap();
            let short = &forecast[..end];
            assert!(said.contains(&format!("the {which} {short}")), "{id}: {forecast}");
        }
    }
}

#[test]
fn ids_are_unique_and_in_kebab_case() {
    let mut seen = BTreeSet::new();
    for (id, ..) in all_pages() {
        assert!(seen.insert(id), "{id} twice");
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(id.split('-').all(is_word), "{id}");
    }
}

#[test]
fn each_id_has_its_page_and_each_page_its_id() {
    let files = |directory: &str| -> BTreeSet<String> {
        let directory = repository_file(directory);
        let entries = fs::read_dir(directory).expect("a directory of the sources");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.filter(|name| name.ends_with(".md")).collect()
    };
    let file = |id: &str| format!("{}.md", id.replace('-', "_"));
    assert_eq!(files("src/rules"), RULES.iter().map(|rule| file(rule.id)).collect());
    assert_eq!(files("src/patterns"), PATTERNS.iter().map(|pattern| file(pattern.id)).collect());
    assert_eq!(files("src/defaults"), DEFAULTS.iter().map(|default| file(default.id)).collect());
}

#[test]
fn summaries_fit_on_a_line() {
    let rules = RULES.iter().map(|rule| (rule.id, rule.summary));
    let defaults = DEFAULTS.iter().map(|default| (default.id, default.summary));
    let patterns = PATTERNS.iter().map(|pattern| (pattern.id, pattern.summary));
    for (id, summary) in rules.chain(defaults).chain(patterns) {
        let length = summary.chars().count();
        assert!((1..=80).contains(&length), "{id}: {length} characters");
        assert!(!summary.ends_with('.') && !summary.contains('\n'), "{id}: {summary}");
    }
}

#[test]
fn pages_are_complete_and_in_order() {
    for (id, text, sections) in all_pages() {
        let page = Page::parse(id, text);
        assert_eq!(page.title, id);
        let headings: Vec<_> = page.sections.iter().map(|section| section.heading).collect();
        assert_eq!(headings, sections, "{id}");
        let summary = page.summary.trim();
        assert!(!summary.is_empty() && !summary.contains("\n\n"), "{id}: the summary is one paragraph");
        for section in &page.sections {
            let is_empty = section.text.trim().is_empty() && section.blocks.is_empty();
            assert!(!is_empty, "{id}: nothing in {:?}", section.heading);
            let is_asked = section.heading == "What to watch";
            assert_eq!(section.queries.is_empty(), !is_asked, "{id}: queries in {:?}", section.heading);
        }
    }
}

#[test]
fn pages_fit_into_a_terminal() {
    for (id, text, _) in all_pages() {
        for line in text.lines() {
            assert!(line.chars().count() <= 100 && line.trim_end() == line, "{id}: {line:?}");
        }
        let lines = text.lines().count();
        assert!((40..=95).contains(&lines), "{id}: {lines} lines");
    }
}

#[test]
fn satisfied_rules_exist() {
    for DefaultRule { id, satisfies, .. } in DEFAULTS {
        for satisfied in *satisfies {
            assert!(RULES.iter().any(|rule| rule.id == *satisfied), "{id} satisfies {satisfied}");
        }
    }
}

#[test]
fn what_fails_fails_by_this_rule_alone() {
    for rule @ Rule { id, page, production, .. } in RULES {
        let page = Page::parse(id, page);
        let section = page.section("Fails");
        assert!(!section.blocks.is_empty(), "{id}");
        for (block, others) in section.blocks.iter().zip(&section.others) {
            let outcomes = outcomes(rule, block, others);
            let rules: BTreeSet<_> = outcomes.iter().map(|(rule, _)| *rule).collect();
            assert_eq!(rules, BTreeSet::from([*id]), "{block}");
            let expected = match production {
                Action::Deny => Outcome::Deny,
                Action::Warn => Outcome::Warn,
                Action::Audit => Outcome::Audit,
                Action::Off => panic!("{id} is off in production"),
            };
            assert!(outcomes.iter().all(|(_, outcome)| *outcome == expected), "{id}: {outcomes:?}");
        }
    }
}

#[test]
fn what_passes_is_silent() {
    for rule @ Rule { id, page, .. } in RULES {
        let page = Page::parse(id, page);
        let section = page.section("Passes");
        assert!(!section.blocks.is_empty(), "{id}");
        for (block, others) in section.blocks.iter().zip(&section.others) {
            assert_eq!(outcomes(rule, block, others), [], "{id}: {block}");
        }
    }
}

#[test]
fn the_waiver_that_a_rules_page_shows_silences_it() {
    for rule @ Rule { id, page, needs, check, .. } in RULES {
        let page = Page::parse(id, page);
        let (key, reason) = shown_waiver(&page, "When to waive", id);
        let section = page.section("Fails");
        for (block, others) in section.blocks.iter().zip(&section.others) {
            let outcomes = match (needs, &others[..]) {
                (Needs::OldObject, [new]) => outcomes(rule, block, &[annotated(new, &key, &reason)]),
                (_, [new, rest @ ..]) if matches!(check, Check::Switch(_)) => {
                    let mut others = vec![annotated(new, &key, &reason)];
                    others.extend_from_slice(rest);
                    outcomes(rule, block, &others)
                }
                _ => outcomes(rule, &annotated(block, &key, &reason), others),
            };
            assert!(!outcomes.is_empty(), "{id}");
            assert!(outcomes.iter().all(|outcome| *outcome == (id, Outcome::Waived)), "{id}: {outcomes:?}");
        }
    }
}

#[test]
fn pages_name_the_settings_that_matter() {
    for Rule { id, page, production, development, .. } in RULES {
        let page = Page::parse(id, page);
        let actions = format!(
            "`profiles.<name>.rules.{id}`: {production:?} in `production`, {development:?} in `development`."
        );
        let text = &page.section("Settings").text;
        assert!(text.contains(&actions), "{id}: {text}");
        let satisfying = gapless::defaults::satisfying(id).map(|default| default.id).next();
        assert_eq!(satisfying.is_some(), text.contains("silences this rule"), "{id}: {satisfying:?}");
    }
    for DefaultRule { id, page, .. } in DEFAULTS {
        let page = Page::parse(id, page);
        let text = &page.section("Settings").text;
        assert!(text.contains(&format!("`profiles.<name>.defaults.{id}`: `enabled`")), "{id}: {text}");
    }
}

#[test]
fn a_default_makes_of_before_what_after_shows() {
    for DefaultRule { id, page, .. } in DEFAULTS {
        let page = Page::parse(id, page);
        let (before, after) = (page.block("Before"), page.block("After"));
        let assessment = assess(before);
        assert_eq!(readable_record(&assessment.injection.object), readable_record(after), "{id}");
        let acted: Vec<_> = assessment.injection.announcements.iter().map(|(default, _)| *default).collect();
        assert_eq!(acted, [*id]);
        assert_eq!(assessment.judged, [], "{id}");

        // A second time there is nothing to do, and it is still gapless' own.
        let again = assess(&assessment.injection.object).injection;
        assert_eq!(again.object, assessment.injection.object, "{id}");
        assert_eq!(again.operations, [], "{id}");
    }
}

/// The object with its record as JSON, since a page breaks it into lines.
fn readable_record(object: &Value) -> Value {
    let record = object["metadata"]["annotations"][ANNOTATION].as_str().expect("a record");
    annotated(object, ANNOTATION, &serde_json::from_str(record).expect("JSON"))
}

#[test]
fn the_waiver_that_a_defaults_page_shows_turns_it_off() {
    for DefaultRule { id, page, .. } in DEFAULTS {
        let page = Page::parse(id, page);
        let (key, reason) = shown_waiver(&page, "How to turn it off", id);
        let waived = annotated(page.block("Before"), &key, &reason);
        let injection = assess(&waived).injection;
        let acted: Vec<_> = injection.announcements.iter().map(|(default, _)| *default).collect();
        assert!(!acted.contains(id), "{id}: {acted:?}");
    }
}
