//! The table of values on the chart's page.

use std::fs;

use serde_json::Value;

use crate::support::fixtures::repository_file;

/// Values that stand in one row, although they are made of several: what users replace
/// as a whole.
const WHOLE: [&str; 2] = ["resources", "nodeSelector"];

/// The values below `prefix` with their defaults, in alphabetical order.
fn leaves(prefix: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(map) if !map.is_empty() && !WHOLE.contains(&prefix) => map
            .iter()
            .flat_map(|(key, value)| {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&path, value)
            })
            .collect(),
        _ => vec![(prefix.to_owned(), value.to_string())],
    }
}

/// The first two columns of the table, without the marks of code.
fn rows(page: &str) -> Vec<(String, String)> {
    page.lines()
        .skip_while(|line| *line != "| value | default | meaning |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
            (code(cells[0]), code(cells[1]))
        })
        .collect()
}

#[test]
fn the_page_of_the_chart_lists_every_value_with_its_default() {
    let page = fs::read_to_string(repository_file("charts/gapless/README.md")).unwrap();
    let values = fs::read_to_string(repository_file("charts/gapless/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();

    let mut listed = rows(&page);
    listed.sort();
    let mut there = leaves("", &values);
    there.sort();
    assert!(there.len() > 30, "{there:?}");
    assert_eq!(listed, there, "the table of values in charts/gapless/README.md, and values.yaml");
}
