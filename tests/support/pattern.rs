//! What the page of a way to release says of its manifests.

use gapless::kubernetes::kind::Kind;
use gapless::patterns::Pattern;
use serde_json::Value;

use super::page::Page;

/// What gapless is to say of one object in one profile. Lists are sorted.
#[derive(Debug, PartialEq)]
pub struct Said {
    /// `Deployment web`
    pub object: String,
    pub profile: String,
    /// Ids of defaults.
    pub injected: Vec<String>,
    /// Ids of rules.
    pub denied: Vec<String>,
    pub warned: Vec<String>,
    pub waived: Vec<String>,
}

/// The manifests of a page, in its order. An object that is there twice changes.
pub fn manifests(page: &Page) -> Vec<Value> {
    let section = page.section("Manifests");
    let blocks = section.blocks.iter().zip(&section.others);
    blocks.flat_map(|(first, others)| std::iter::once(first).chain(others)).cloned().collect()
}

/// The name by which a page knows an object.
pub fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Whether gapless judges it as a workload.
pub fn is_workload(object: &Value) -> bool {
    Kind::of(object["apiVersion"].as_str(), object["kind"].as_str()).is_some()
}

/// The items of the section *What gapless says*, each of which is like
/// "- `Deployment web` in `production`. Injected: `a`, `b`. Warned of: `c`."
pub fn said(pattern: &Pattern, page: &Page) -> Vec<Said> {
    let text = page.section("What gapless says").text.split_whitespace().collect::<Vec<_>>().join(" ");
    let items = text.strip_prefix("- ").expect("a list").split(" - ");
    items.map(|item| Said::parse(item).unwrap_or_else(|| panic!("{}: {item}", pattern.id))).collect()
}

impl Said {
    fn parse(item: &str) -> Option<Said> {
        let mut sentences = item.strip_suffix('.')?.split(". ");
        let (object, profile) = sentences.next()?.split_once(" in ")?;
        let mut said = Said {
            object: quoted(object)?,
            profile: quoted(profile)?,
            injected: Vec::new(),
            denied: Vec::new(),
            warned: Vec::new(),
            waived: Vec::new(),
        };
        for sentence in sentences {
            let (what, ids) = sentence.split_once(": ")?;
            let list = match what {
                "Injected" => &mut said.injected,
                "Denied by" => &mut said.denied,
                "Warned of" => &mut said.warned,
                "Waived" => &mut said.waived,
                _ => return None,
            };
            *list = ids.split(", ").map(quoted).collect::<Option<_>>()?;
            list.sort();
        }
        Some(said)
    }
}

fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('`')?.strip_suffix('`')?.to_owned())
}
