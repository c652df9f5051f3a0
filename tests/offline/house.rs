//! The arrows between the parts of the program are those that `src/lib.rs` draws.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Parts, and those that each knows.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What nothing from `admission` down may know.
const FOREIGN: [&str; 10] = [
    "axum::",
    "tokio::",
    "kube::",
    "hyper::",
    "Instant::",
    "SystemTime::",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The table in `src/lib.rs`, in its order.
fn drawn() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(sources().join("lib.rs")).expect("src/lib.rs");
    let mut rows: Vec<(String, BTreeSet<String>)> = Vec::new();
    let in_table = text.lines().skip_while(|line| *line != "//! ```text").skip(1);
    for line in in_table.take_while(|line| *line != "//! ```") {
        let line = line.trim_start_matches("//!");
        let known = match line.split_once('→') {
            Some((part, known)) => {
                rows.push((part.trim().to_owned(), BTreeSet::new()));
                known
            }
            None => line,
        };
        let row = rows.last_mut().expect("the first row has an arrow");
        row.1.extend(known.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    }
    assert!(rows.len() > 10, "{rows:?}");
    rows
}

/// The files of the program, with the part that each belongs to.
fn files() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![sources()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.strip_prefix(sources()).unwrap().display().to_string();
            let part = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let is_test = ["tests.rs", "testing.rs", "simulation.rs"].iter().any(|it| file.ends_with(it));
            if file.ends_with(".rs") && part != "lib" && part != "main" && !is_test {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((part, file, without_tests(&text)));
            }
        }
    }
    found
}

/// The code without comments and without the module of its tests.
fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |pair: &[&str]| {
        pair.first() == Some(&"#[cfg(test)]") && pair.last().is_some_and(|line| line.ends_with("mod tests {"))
    };
    let end = lines.windows(2).position(begins_tests).unwrap_or(lines.len());
    let code = lines.iter().take(end).map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The parts that the code names behind `crate::`.
fn known(code: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        let list = match behind.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => behind,
        };
        let is_group = behind.starts_with('{');
        let items = list.split(',').take(if is_group { usize::MAX } else { 1 });
        for item in items {
            let word = item.trim_start().split(|it: char| !it.is_alphanumeric() && it != '_').next();
            known.extend(word.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    known
}

fn imported() -> Arrows {
    let mut arrows = Arrows::new();
    for (part, _, code) in files() {
        let others = known(&code).into_iter().filter(|other| *other != part);
        arrows.entry(part.clone()).or_default().extend(others);
    }
    arrows.retain(|_, known| !known.is_empty());
    arrows
}

#[test]
fn the_arrows_are_those_that_are_drawn() {
    let drawn: Arrows = drawn().into_iter().collect();
    let imported = imported();
    for (part, known) in &imported {
        let drawn = drawn.get(part).cloned().unwrap_or_default();
        let more: Vec<_> = known.difference(&drawn).collect();
        assert!(more.is_empty(), "{part} imports {more:?}, against the arrows in src/lib.rs");
        let less: Vec<_> = drawn.difference(known).collect();
        assert!(less.is_empty(), "src/lib.rs draws {part} → {less:?}, and there is no such import");
    }
    assert_eq!(drawn.keys().collect::<Vec<_>>(), imported.keys().collect::<Vec<_>>());
}

#[test]
fn no_arrow_points_up() {
    let rows = drawn();
    for (place, (part, known)) in rows.iter().enumerate() {
        let above: Vec<&String> = rows.iter().take(place + 1).map(|(part, _)| part).collect();
        let up: Vec<_> = known.iter().filter(|known| above.contains(known)).collect();
        assert!(up.is_empty(), "{part} → {up:?} points up");
    }
}

#[test]
fn what_admission_knows_knows_no_network_clock_or_file() {
    let drawn: Arrows = drawn().into_iter().collect();
    let mut parts = vec!["admission".to_owned()];
    let mut pure: BTreeSet<String> = BTreeSet::new();
    while let Some(part) = parts.pop() {
        if pure.insert(part.clone()) {
            parts.extend(drawn.get(&part).into_iter().flatten().cloned());
        }
    }
    for (_, file, code) in files().into_iter().filter(|(part, ..)| pure.contains(part)) {
        for foreign in FOREIGN {
            assert!(!code.contains(foreign), "{file} names {foreign}");
        }
        assert!(!code.contains("async "), "{file} is async");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code =
        "use crate::field::FieldPath;\nuse crate::{patch, policy::Policy};\nlet x = crate::waiver::read();";
    let expected = ["field", "patch", "policy", "waiver"].map(str::to_owned);
    assert_eq!(known(code), BTreeSet::from(expected));
    assert_eq!(
        known(&without_tests("// crate::a\n#[cfg(test)]\nmod tests {\nuse crate::b;")),
        BTreeSet::new()
    );
}
