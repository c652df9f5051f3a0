//! README.md lists the rules and defaults that there are.

use std::fs;

use gapless::defaults::DEFAULTS;
use gapless::rules::RULES;

use crate::support::fixtures::repository_file;

/// The tables of README.md.
fn tables() -> String {
    let mut tables = String::from("| rule | production | development | finds |\n| --- | --- | --- | --- |\n");
    for rule in RULES {
        let row = format!(
            "| `{}` | {:?} | {:?} | {} |\n",
            rule.id, rule.production, rule.development, rule.summary
        );
        tables.push_str(&row);
    }
    tables.push_str("\n| default | injects |\n| --- | --- |\n");
    for default in DEFAULTS {
        tables.push_str(&format!("| `{}` | {} |\n", default.id, default.summary));
    }
    tables
}

#[test]
fn lists_every_rule_and_default() {
    let readme = fs::read_to_string(repository_file("README.md")).unwrap();
    let tables = tables();
    assert!(readme.contains(&tables), "put these tables into README.md:\n\n{tables}");
}
