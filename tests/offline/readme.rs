//! README.md lists the rules, defaults and ways to release that there are, and the Kubernetes releases
//! that the tests run against.

use std::fs;

use gapless::defaults::DEFAULTS;
use gapless::patterns::PATTERNS;
use gapless::rules::RULES;

use crate::support::bench::known_minor_versions;
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

#[test]
fn links_the_page_of_every_way_to_release() {
    let readme = fs::read_to_string(repository_file("README.md")).unwrap();
    let mut table = String::from("| pattern | what it is |\n| --- | --- |\n");
    for pattern in PATTERNS {
        let file = format!("src/patterns/{}.md", pattern.id.replace('-', "_"));
        assert!(repository_file(&file).is_file(), "{file}");
        table.push_str(&format!("| [`{}`]({file}) | {} |\n", pattern.id, pattern.summary));
    }
    assert!(readme.contains(&table), "put this table into README.md:\n\n{table}");
}

#[test]
fn names_the_newest_kubernetes_and_the_oldest_that_the_chart_admits() {
    let [newest, oldest] = known_minor_versions();
    for (file, text) in [
        ("README.md", format!("the newest Kubernetes, {newest}.")),
        ("README.md", format!("GAPLESS_TEST_KUBERNETES={oldest} ")),
        ("README.md", format!("[Kubernetes {oldest} or newer]")),
        ("charts/gapless/README.md", format!("[Kubernetes {oldest} or newer]")),
        ("charts/gapless/README.md", format!("have to be {oldest} or newer.")),
        ("charts/gapless/README.md", format!("against {oldest} and {newest}.")),
        ("charts/gapless/Chart.yaml", format!("kubeVersion: \">={oldest}.0-0\"\n")),
        (".ci/run", format!("GAPLESS_TEST_KUBERNETES={oldest} ")),
    ] {
        let content = fs::read_to_string(repository_file(file)).unwrap();
        assert!(content.contains(&text), "{file} does not say: {text}");
    }
}
