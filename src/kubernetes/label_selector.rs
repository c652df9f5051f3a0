//! Labels, and what selects by them (apimachinery, meta/v1 `LabelSelector`).

// The fields are the API's own, and documented there.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::from_json::{list_of_texts, objects, or_default};

/// A map of strings, such as labels.
pub type StringMap<'a> = BTreeMap<&'a str, &'a str>;

/// A map of texts, in which null is the empty text: so it is for Go's reader of JSON.
///
/// # Errors
/// If it is no map of texts.
pub fn texts<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<StringMap<'a>, D::Error> {
    let texts: Option<BTreeMap<&str, Option<&str>>> = Option::deserialize(deserializer)?;
    Ok(texts.unwrap_or_default().into_iter().map(|(key, text)| (key, text.unwrap_or_default())).collect())
}

/// Which labels an object must have.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct LabelSelector<'a> {
    #[serde(borrow, deserialize_with = "texts")]
    pub match_labels: StringMap<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub match_expressions: Vec<LabelSelectorRequirement<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, remote = "Self")]
pub struct LabelSelectorRequirement<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub key: &'a str,
    #[serde(borrow, deserialize_with = "or_default")]
    pub operator: &'a str,
    #[serde(borrow, deserialize_with = "list_of_texts")]
    pub values: Vec<&'a str>,
}

impl LabelSelector<'_> {
    /// Labels that whatever it selects has, as the query of a list writes them.
    pub fn equalities(&self) -> String {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        labels.collect::<Vec<_>>().join(",")
    }

    /// Whether `labels` are selected. An empty selector selects everything.
    pub fn matches(&self, labels: &StringMap) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(requirement.key);
                let is_listed = value.is_some_and(|value| requirement.values.contains(value));
                match requirement.operator {
                    "In" => is_listed,
                    "NotIn" => !is_listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

objects!(LabelSelector<'a>, LabelSelectorRequirement<'a>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn selectors_match_as_the_api_says() {
        let labels = StringMap::from([("app", "web"), ("tier", "front")]);
        let matches = |expression: Value| {
            let raw = json!({"matchExpressions": [expression]});
            let selector: LabelSelector = serde::Deserialize::deserialize(&raw).unwrap();
            selector.matches(&labels)
        };
        assert!(matches(json!({"key": "app", "operator": "In", "values": ["web", "api"]})));
        assert!(!matches(json!({"key": "app", "operator": "NotIn", "values": ["web"]})));
        assert!(matches(json!({"key": "gone", "operator": "NotIn", "values": ["web"]})));
        assert!(matches(json!({"key": "tier", "operator": "Exists"})));
        assert!(!matches(json!({"key": "tier", "operator": "DoesNotExist"})));
    }
}
