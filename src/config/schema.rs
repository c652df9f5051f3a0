//! The JSON Schema of the configuration.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::scalars::{Form, NamespaceName};
use super::written::{Action, GaplessConfiguration};
use crate::kubernetes::kind::Kind;
use crate::rules::RULES;

/// The JSON Schema of a `GaplessConfiguration`, for editors and for Helm. It is
/// of draft 7, which all of them read.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07()
        .with_transform(RecursiveTransform(constants_to_enum))
        .with_transform(RecursiveTransform(unwrap_description));
    settings.into_generator().into_root_schema_for::<GaplessConfiguration>().to_value()
}

/// The name of a profile, or what YAML 1.1 makes of a bare `off`.
pub fn name_or_false(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "boolean", "null"], "pattern": NamespaceName::PATTERN})
}

/// The kinds of workloads that can be judged.
pub fn workload_kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["array", "null"], "minItems": 1, "items": {"enum": Kind::ALL.map(Kind::name)}})
}

/// The actions of all rules there are.
pub fn rules(generator: &mut SchemaGenerator) -> Schema {
    let mut properties = Map::new();
    for rule in RULES {
        let mut schema = generator.subschema_for::<Action>();
        schema.insert("description".to_owned(), rule.summary.into());
        properties.insert(rule.id.to_owned(), schema.into());
    }
    json_schema!({"type": ["object", "null"], "additionalProperties": false, "properties": properties})
}

/// Also allows what YAML 1.1 makes of a bare `Off` or `off`.
pub fn or_false(schema: &mut Schema) {
    if let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        variants.extend([json!({"const": "off"}), json!({"const": false})]);
    }
}

/// Makes one `enum` of the `oneOf` that a Rust enum has become, with the
/// descriptions of its variants in its own: Helm and editors then say in one
/// line what may be written.
fn constants_to_enum(schema: &mut Schema) {
    let Some(variants) = schema.get("oneOf").and_then(Value::as_array) else { return };
    let constants: Option<Vec<Value>> =
        variants.iter().map(|variant| variant.get("const").cloned()).collect();
    let Some(constants) = constants else { return };
    let meaning = |variant: &Value| {
        let meaning = variant.get("description")?.as_str()?;
        Some(format!(" {}: {meaning}", variant.get("const")?.as_str()?))
    };
    let mut description = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    if constants.len() > 1 {
        description.extend(variants.iter().filter_map(meaning));
    }
    schema.remove("oneOf");
    schema.insert("enum".to_owned(), constants.into());
    schema.insert("description".to_owned(), description.into());
}

/// Puts a description into one line: where the line ends in the source of
/// gapless means nothing to its reader.
fn unwrap_description(schema: &mut Schema) {
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        let unwrapped = description.replace('\n', " ");
        schema.insert("description".to_owned(), unwrapped.into());
    }
}
