//! Image references: `[registry[:port]/]repository[:tag][@digest]`.

/// The tag and digest of an image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReference<'a> {
    /// The tag, if there is one.
    pub tag: Option<&'a str>,
    /// The digest with its algorithm, such as `sha256:…`, if there is one.
    pub digest: Option<&'a str>,
}

impl<'a> ImageReference<'a> {
    /// Takes a reference apart. A colon before the last slash belongs to a
    /// registry's port (distribution, reference/reference.go), so
    /// `registry:5000/app` has no tag.
    pub fn parse(reference: &'a str) -> Self {
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        let last = name.rsplit('/').next().unwrap_or(name);
        let tag = last.split_once(':').map(|(_, tag)| tag).filter(|tag| !tag.is_empty());
        ImageReference { tag, digest: digest.filter(|digest| !digest.is_empty()) }
    }
}

/// Makes a tag a legal label value: at most 63 characters, alphanumeric at
/// both ends (apimachinery, pkg/api/validate/content/kube.go). The characters
/// between are legal in a tag and in a label value alike.
///
/// `None` if nothing is left.
pub fn label_value(tag: &str) -> Option<String> {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_edge = |character: char| !character.is_ascii_alphanumeric();
    let legal: String =
        tag.chars().map(|character| if is_legal(character) { character } else { '-' }).collect();
    let start = legal.trim_start_matches(is_edge);
    let short: String = start.chars().take(63).collect();
    let value = short.trim_end_matches(is_edge);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether a label and a tag name two versions that cannot both be true. 1.2
/// and v1.2.3-alpine can: one is only more exact.
pub fn contradict(label: &str, tag: &str) -> bool {
    match (release(label), release(tag)) {
        (Some(label), Some(tag)) => label.iter().zip(&tag).any(|(label, tag)| label != tag),
        _ => false,
    }
}

/// The numbers of a version such as `v1`, `1.2.3` or `v1.2.3-alpine`. `None`
/// for what names no version: a commit, a build number, a branch.
fn release(text: &str) -> Option<Vec<&str>> {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let core = number.split(['-', '_', '+']).next()?;
    let parts: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = parts.len() > 1 || number.len() < text.len();
    (is_version && parts.iter().all(is_number)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_and_digests_of_odd_references() {
        #[rustfmt::skip]
        let table = [
            ("app", None, None),
            ("app:v1", Some("v1"), None),
            ("registry:5000/app", None, None),
            ("registry:5000/app:v1", Some("v1"), None),
            ("registry.example/team/app@sha256:0a1b", None, Some("sha256:0a1b")),
            ("registry:5000/team/app:1.2.3@sha256:0a1b", Some("1.2.3"), Some("sha256:0a1b")),
            ("[2001:db8::1]:5000/app", None, None),
            ("[2001:db8::1]:5000/app:v1", Some("v1"), None),
            ("app:", None, None),
            ("app@", None, None),
            ("", None, None),
        ];
        for (reference, tag, digest) in table {
            assert_eq!(ImageReference::parse(reference), ImageReference { tag, digest }, "{reference}");
        }
    }

    #[test]
    fn label_values_of_odd_tags() {
        let long = "a".repeat(62) + ".b";
        let table = [
            ("v1.0", Some("v1.0")),
            ("_v1_", Some("v1")),
            ("1.2.3-alpine", Some("1.2.3-alpine")),
            ("___", None),
            ("", None),
            ("v1+build", Some("v1-build")),
            (long.as_str(), Some(&long[..62])),
        ];
        for (tag, value) in table {
            assert_eq!(label_value(tag).as_deref(), value, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn label_values_are_legal(tag in ".{0,140}") {
            if let Some(value) = label_value(&tag) {
                prop_assert!(value.len() <= 63);
                prop_assert!(value.starts_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(value.ends_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            }
        }

        #[test]
        fn a_tag_survives_whatever_stands_around_it(
            registry in "([a-z]{1,8}(:[0-9]{1,5})?/)?", path in "[a-z]{1,8}(/[a-z]{1,8}){0,2}",
            tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", digest in "(@sha256:[0-9a-f]{8})?",
        ) {
            let reference = format!("{registry}{path}:{tag}{digest}");
            prop_assert_eq!(ImageReference::parse(&reference).tag, Some(tag.as_str()));
        }
    }
}
