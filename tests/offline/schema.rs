//! The JSON Schema of the configuration: what `gapless schema` prints, and what
//! the chart says about its value `config`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use gapless::config::schema::schema;
use gapless::defaults::DEFAULTS;
use gapless::rules::RULES;
use serde_json::{Value, json};

use crate::support::fixtures::repository_file;

/// The file that holds the schema of the chart's values.
const VALUES_SCHEMA: &str = "charts/gapless/values.schema.json";

/// Where in that file the schema of the configuration stands, and how its
/// definitions are referred to from there.
const BEGINNING: &str = "\n    \"config\": {";
const END: &str = "\n    },";
const DEFINITIONS: &str = "#/properties/config/definitions/";

#[test]
fn is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_gapless")).arg("schema").output().unwrap();
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, schema());
    assert_eq!(printed["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(printed["required"], json!(["apiVersion", "kind"]));
}

#[test]
fn describes_every_rule_and_default() {
    let schema = schema();
    let names = |properties: &Value| -> BTreeSet<String> {
        properties.as_object().unwrap().keys().cloned().collect()
    };
    let rules = &schema["definitions"]["Profile"]["properties"]["rules"]["properties"];
    assert_eq!(names(rules), RULES.iter().map(|rule| rule.id.to_owned()).collect());
    for rule in RULES {
        assert_eq!(rules[rule.id]["description"], rule.summary);
    }
    let defaults = &schema["definitions"]["Defaults"]["properties"];
    assert_eq!(names(defaults), DEFAULTS.iter().map(|default| default.id.to_owned()).collect());
    for default in DEFAULTS {
        assert_eq!(defaults[default.id]["description"], default.summary);
    }
}

/// Nobody has to guess what a field means.
#[test]
fn describes_every_field() {
    fn check(schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty() && !description.contains('\n'), "{path}.{name}: {description:?}");
        }
        for (name, definition) in schema["definitions"].as_object().into_iter().flatten() {
            check(definition, name);
        }
    }
    check(&schema(), "");
}

/// The same as the schema of the value `config`, which has neither `apiVersion`
/// nor `kind`.
fn config_schema() -> Value {
    let mut schema = schema();
    let root = schema.as_object_mut().unwrap();
    for absent in ["$schema", "title", "required"] {
        root.remove(absent).unwrap();
    }
    for added_by_the_chart in ["apiVersion", "kind"] {
        root["properties"].as_object_mut().unwrap().remove(added_by_the_chart).unwrap();
    }
    let text = schema.to_string().replace("#/definitions/", DEFINITIONS);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn is_part_of_the_schema_of_the_charts_values() {
    let path = repository_file(VALUES_SCHEMA);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGINNING).expect("the value config");
    let (_, after) = rest.split_once(END).expect("the end of the value config");
    let generated = serde_json::to_string_pretty(&config_schema()).unwrap().replace('\n', "\n    ");
    let fresh = format!("{before}\n    \"config\": {generated},{after}");
    if fresh == text {
        return;
    }
    if std::env::var_os("GAPLESS_UPDATE").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    panic!(
        "{VALUES_SCHEMA} is out of date; to update it:\n\n  GAPLESS_UPDATE=1 cargo test --test offline schema\n"
    );
}
