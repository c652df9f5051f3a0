//! Image references as the kubelet reads them: `[domain[:port]/]path[:tag][@digest]`.
//!
//! The kubelet takes an image apart before it pulls it (kubernetes,
//! pkg/util/parsers/parsers.go), by the grammar of github.com/distribution/reference
//! (normalize.go and regexp.go). What the grammar does not know is never pulled:
//! InvalidImageName.

use std::fmt;

/// The tag and digest of an image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReference<'a> {
    /// The tag, if there is one.
    pub tag: Option<&'a str>,
    /// The digest with its algorithm, such as `sha256:…`, if there is one.
    pub digest: Option<&'a str>,
}

/// Why a text is no image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReference<'a> {
    /// This part of it stands for something that a tool fills in.
    Placeholder(&'a str),
    /// It has blanks at this place, or nothing else.
    Blank,
    /// It begins like a URL.
    Scheme(&'a str),
    /// The repository has upper case letters.
    UpperCase(&'a str),
    /// This is no domain.
    Domain(&'a str),
    /// This is no repository.
    Repository(&'a str),
    /// This is no tag.
    Tag(&'a str),
    /// This is no digest.
    Digest(&'a str),
}

/// The longest repository without its domain.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// How far a placeholder is looked for.
const LONGEST_PLACEHOLDER: usize = 1_000;

/// What templating tools write around the name of what they fill in. Of two that begin
/// alike the longer one stands first.
const PLACEHOLDERS: [(&str, &str); 21] = [
    ("${{", "}}"),
    ("${", "}"),
    ("$(", ")"),
    ("$[", "]"),
    ("{{", "}}"),
    ("{%", "%}"),
    ("{", "}"),
    ("<%", "%>"),
    ("<", ">"),
    ("#{", "}#"),
    ("#{", "}"),
    ("((", "))"),
    ("[[", "]]"),
    ("[", "]"),
    ("(", ")"),
    ("~", "~"),
    ("!", "!"),
    ("%%", "%%"),
    ("%", "%"),
    ("@", "@"),
    ("__", "__"),
];

impl<'a> ImageReference<'a> {
    /// Takes a reference apart.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(reference: &'a str) -> Result<Self, NoReference<'a>> {
        parse(reference).map_err(|error| explain(reference, error))
    }

    /// The placeholder in the tag. `__X__` is the one spelling that is a legal tag too.
    pub fn placeholder(&self) -> Option<&'a str> {
        self.tag.filter(|tag| tag.contains("__")).and_then(placeholder)
    }
}

fn parse(reference: &str) -> Result<ImageReference<'_>, NoReference<'_>> {
    // Such a name would be mistaken for the id of an image.
    if reference.len() == 64 && reference.bytes().all(is_lower_hex) {
        return Err(NoReference::Repository(reference));
    }
    let (domain, remainder) = split_domain(reference);
    let (name, digest) = match remainder.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (remainder, None),
    };
    let (repository, tag) = match name.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (name, None),
    };
    // What is no domain may still be a part of the repository.
    let part = domain.filter(|domain| !is_domain(domain));
    if let Some(part) = part.filter(|part| !is_component(part)) {
        return Err(NoReference::Domain(part));
    }
    if repository.chars().any(char::is_uppercase) {
        return Err(NoReference::UpperCase(repository));
    }
    let is_official =
        matches!(domain, None | Some("docker.io" | "index.docker.io")) && !repository.contains('/');
    let before = part.map_or(0, |part| part.len() + 1) + if is_official { "library/".len() } else { 0 };
    if before + repository.len() > LONGEST_REPOSITORY || !repository.split('/').all(is_component) {
        return Err(NoReference::Repository(repository));
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(NoReference::Tag(tag));
    }
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return Err(NoReference::Digest(digest));
    }
    Ok(ImageReference { tag, digest })
}

/// What stands before the first slash is a domain if it looks like one; else it is a
/// part of the repository. So `registry:5000` alone is a repository with a tag.
fn split_domain(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (Some(first), rest)
        }
        _ => (None, reference),
    }
}

/// The most telling reason.
fn explain<'a>(reference: &'a str, error: NoReference<'a>) -> NoReference<'a> {
    if let Some(placeholder) = placeholder(reference) {
        return NoReference::Placeholder(placeholder);
    }
    if reference.is_empty() || reference.contains(char::is_whitespace) {
        return NoReference::Blank;
    }
    match reference.split_once("://") {
        // `ko resolve` puts the image of a Go package there (ko.build).
        Some(("ko", _)) => NoReference::Placeholder(reference),
        Some((scheme, _)) => NoReference::Scheme(scheme),
        None => error,
    }
}

/// The first placeholder in the beginning of a text, with what stands around it.
fn placeholder(text: &str) -> Option<&str> {
    let end = text.char_indices().nth(LONGEST_PLACEHOLDER).map_or(text.len(), |(end, _)| end);
    let text = text.get(..end)?;
    text.char_indices().find_map(|(start, _)| {
        let found = placeholder_at(text.get(start..)?)?;
        // `a__b__c` is also what a repository or a tag may be called.
        let is_loud = |found: &str| !found.contains(|it: char| it.is_ascii_lowercase());
        let is_behind_a_word = text.get(..start)?.ends_with(|it: char| it.is_ascii_alphanumeric());
        (!found.starts_with('_') || !is_behind_a_word || is_loud(found)).then_some(found)
    })
}

fn placeholder_at(text: &str) -> Option<&str> {
    let enclosed = PLACEHOLDERS.iter().find_map(|(open, close)| {
        let behind = text.strip_prefix(open)?;
        let name = behind.get(..behind.find(close)?)?;
        // Marks that may also be something else, such as an address in brackets.
        let is_name = match open == close || matches!(*open, "[" | "(") {
            true => {
                name.starts_with(|it: char| it.is_ascii_alphabetic())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            }
            false => !name.trim().is_empty(),
        };
        is_name.then(|| text.get(..open.len() + name.len() + close.len()))?
    });
    enclosed.or_else(|| {
        let name = text.strip_prefix('$')?;
        let end = name.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(name.len());
        (end > 0).then(|| text.get(..=end))?
    })
}

fn is_domain(domain: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(bracketed) = domain.strip_prefix('[') {
        let is_address = |address: &str| {
            !address.is_empty() && address.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit())
        };
        return match bracketed.split_once(']') {
            Some((address, "")) => is_address(address),
            Some((address, port)) => is_address(address) && port.strip_prefix(':').is_some_and(is_port),
            None => false,
        };
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// A part of a repository: lower case letters and digits, and between them one dot, one
/// or two underscores or any number of dashes.
fn is_component(component: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = component.split(|it: char| it.is_ascii() && is_alphanumeric(it as u8));
    let are_legal = |separator: &str| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    };
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| is_alphanumeric(*byte));
    let bytes = component.as_bytes();
    is_edge(bytes.first()) && is_edge(bytes.last()) && separators.into_iter().all(are_legal)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// The length of those that are in use is known (opencontainers/go-digest, algorithm.go).
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, encoded)) = digest.split_once(':') else { return false };
    let is_of_length = |length| encoded.len() == length && encoded.bytes().all(is_lower_hex);
    match algorithm {
        "sha256" => is_of_length(64),
        "sha384" => is_of_length(96),
        "sha512" => is_of_length(128),
        _ => {
            let is_part = |part: &str| {
                part.starts_with(|it: char| it.is_ascii_lowercase())
                    && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            algorithm.split(['-', '_', '+', '.']).all(is_part)
                && encoded.len() >= 32
                && encoded.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// As the second half of a sentence about the image.
impl fmt::Display for NoReference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            NoReference::Placeholder(text) => {
                write!(f, "{text} is a placeholder that has to be filled in first")
            }
            NoReference::Blank => write!(f, "an image reference has no blanks"),
            NoReference::Scheme(scheme) => write!(f, "an image reference does not begin with {scheme}://"),
            NoReference::UpperCase(repository) => {
                write!(f, "the repository {repository} has upper case letters")
            }
            NoReference::Domain(domain) => write!(f, "{domain} is no registry"),
            NoReference::Repository("") => write!(f, "it has no repository"),
            NoReference::Repository(repository) => write!(f, "{repository} is no repository"),
            NoReference::Tag("") => write!(f, "it has a colon and no tag behind it"),
            NoReference::Tag(tag) => write!(f, "{tag} is no tag"),
            NoReference::Digest(digest) => write!(f, "{digest} is no digest"),
        }
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
        (Some(label), Some(tag)) => label.iter().zip(&tag).any(|(label, tag)| {
            // As numbers: 2024.01 is 2024.1.
            label.trim_start_matches('0') != tag.trim_start_matches('0')
        }),
        _ => false,
    }
}

/// The leading numbers of a version such as `v1`, `1.2.3`, `2.5.0.RELEASE` or
/// `v1.2.3-alpine`. `None` for what names no version: a commit, a build number, a branch.
fn release(text: &str) -> Option<Vec<&str>> {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let core = number.split(['-', '_', '+']).next()?;
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = core.split('.').take_while(is_number).collect();
    let is_version = parts.len() > 1 || !parts.is_empty() && number.len() < text.len();
    is_version.then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:1b2c3d4e5f60718293a4b5c6d7e8f9001b2c3d4e5f60718293a4b5c6d7e8f900";

    #[test]
    fn tags_and_digests_of_odd_references() {
        let with_digest = |name: &str| format!("{name}@{DIGEST}");
        let digest = Some(DIGEST);
        #[rustfmt::skip]
        let table: [(&str, Option<&str>, Option<&str>); 32] = [
            ("app", None, None),
            ("app:v1", Some("v1"), None),
            ("team/app:v1", Some("v1"), None),
            // Without a slash there is no domain.
            ("registry:5000", Some("5000"), None),
            ("localhost/app:v1", Some("v1"), None),
            ("localhost:5000/app", None, None),
            ("registry:5000/app", None, None),
            ("registry:5000/app:v1", Some("v1"), None),
            ("192.168.0.1:5000/app:v1", Some("v1"), None),
            ("[2001:db8::1]:5000/app", None, None),
            ("[2001:db8::1]:5000/app:v1", Some("v1"), None),
            ("[::1]/app:v1", Some("v1"), None),
            // Only the repository has to be in lower case.
            ("Registry.Example/app:V1", Some("V1"), None),
            ("REGISTRY/app:v1", Some("v1"), None),
            // No domain, but a part of a repository.
            ("my_registry.example/app:v1", Some("v1"), None),
            ("registry.example/a_b__c-d---e.f/g:v1", Some("v1"), None),
            ("docker.io/app:1.2.3-alpine", Some("1.2.3-alpine"), None),
            ("index.docker.io/library/app", None, None),
            ("app:_", Some("_"), None),
            ("app:__TAG__", Some("__TAG__"), None),
            ("app:1..2--3__", Some("1..2--3__"), None),
            ("0/1/2:3", Some("3"), None),
            (&"a".repeat(247), None, None),
            (&format!("a/{}", "a".repeat(253)), None, None),
            (&format!("app:{}", "1".repeat(128)), Some(&"1".repeat(128)), None),
            (&with_digest("app"), None, digest),
            (&with_digest("app:latest"), Some("latest"), digest),
            (&with_digest("registry:5000/team/app:1.2.3"), Some("1.2.3"), digest),
            (&with_digest("[::1]:5000/app"), None, digest),
            (&format!("app@sha384:{}", "a".repeat(96)), None, Some(&format!("sha384:{}", "a".repeat(96)))),
            (&format!("app@sha512:{}", "a".repeat(128)), None, Some(&format!("sha512:{}", "a".repeat(128)))),
            // Nobody can know what will come.
            (&format!("app@blake3+b:{}", "A".repeat(32)), None, Some(&format!("blake3+b:{}", "A".repeat(32)))),
        ];
        for (reference, tag, digest) in table {
            assert_eq!(ImageReference::parse(reference), Ok(ImageReference { tag, digest }), "{reference}");
        }
    }

    #[test]
    fn what_no_kubelet_takes_for_a_reference() {
        use NoReference::{Blank, Digest, Domain, Placeholder, Repository, Scheme, Tag, UpperCase};
        let hex = "1b2c3d4e5f60718293a4b5c6d7e8f9001b2c3d4e5f60718293a4b5c6d7e8f900";
        let upper = format!("app@sha256:{}", hex.to_uppercase());
        let part = format!("a_{}.d/b", "c".repeat(251));
        let (long, too_long) = ("a".repeat(248), format!("app:{}", "1".repeat(129)));
        #[rustfmt::skip]
        let table = [
            ("registry.example/app:2.0241101e+07", Tag("2.0241101e+07")),
            ("app:v1+build", Tag("v1+build")),
            ("app:", Tag("")),
            ("app:.1", Tag(".1")),
            ("app:-1", Tag("-1")),
            ("app:v1:v2", Tag("v1:v2")),
            ("app:v1/app", Domain("app:v1")),
            ("app:é", Tag("é")),
            (&too_long, Tag(&too_long[4..])),
            ("App", UpperCase("App")),
            ("App:v1", UpperCase("App")),
            ("team/App:v1", UpperCase("team/App")),
            ("registry.example/Billing/app", UpperCase("Billing/app")),
            ("registry.example/App@sha256:0a1b", UpperCase("App")),
            ("", Blank),
            (" ", Blank),
            ("app: v1", Blank),
            ("app :v1", Blank),
            (" app:v1", Blank),
            ("app:v1 ", Blank),
            ("app:v1\n", Blank),
            ("https://registry.example/app:v1", Scheme("https")),
            ("docker://app", Scheme("docker")),
            ("ko://example.dev/cmd/app", Placeholder("ko://example.dev/cmd/app")),
            ("registry.example/", Repository("")),
            ("/app", Repository("/app")),
            ("team//app", Repository("team//app")),
            ("team/app/", Repository("team/app/")),
            ("a..b", Repository("a..b")),
            ("a___b", Repository("a___b")),
            ("-a", Repository("-a")),
            ("a-", Repository("a-")),
            ("_a", Repository("_a")),
            ("é", Repository("é")),
            (":v1", Repository("")),
            (hex, Repository(hex)),
            (&long, Repository(&long)),
            // Its first part is no domain.
            (&part, Repository("b")),
            ("-registry.example/app", Domain("-registry.example")),
            ("registry..example/app", Domain("registry..example")),
            ("registry:/app", Domain("registry:")),
            ("registry:port/app", Domain("registry:port")),
            ("[::1/app", Domain("[::1")),
            ("[::1]5000/app", Domain("[::1]5000")),
            ("[fe80::1%eth0]/app", Domain("[fe80::1%eth0]")),
            ("app@", Digest("")),
            ("app@v1", Digest("v1")),
            ("app@sha256:0a1b", Digest("sha256:0a1b")),
            ("app@sha256", Digest("sha256")),
            ("app@md5:0a1b", Digest("md5:0a1b")),
            (&upper, Digest(&upper[4..])),
        ];
        for (reference, reason) in table {
            assert_eq!(ImageReference::parse(reference), Err(reason), "{reference}");
        }
    }

    #[test]
    fn placeholders_of_any_tool() {
        #[rustfmt::skip]
        let table = [
            ("app:${TAG}", "${TAG}"),
            ("${REGISTRY}/app:v1", "${REGISTRY}"),
            ("${REGISTRY:-docker.io}/app:${TAG}", "${REGISTRY:-docker.io}"),
            ("app:${{ env.TAG }}", "${{ env.TAG }}"),
            ("app:$(BUILD_TAG)", "$(BUILD_TAG)"),
            ("app:$[TAG]", "$[TAG]"),
            ("app:$TAG", "$TAG"),
            ("$IMAGE", "$IMAGE"),
            ("app:{{ .Values.tag }}", "{{ .Values.tag }}"),
            ("{{image}}", "{{image}}"),
            ("app:{{% tag %}}", "{{% tag %}}"),
            ("app:{% tag %}", "{% tag %}"),
            ("app:{tag}", "{tag}"),
            ("app:<tag>", "<tag>"),
            ("registry.example/<your project>/app", "<your project>"),
            ("app:<%= tag %>", "<%= tag %>"),
            ("app:#{Release}#", "#{Release}#"),
            ("app:#{Release}", "#{Release}"),
            ("app:((tag))", "((tag))"),
            ("app:[[tag]]", "[[tag]]"),
            ("app:[TAG]", "[TAG]"),
            ("app:(tag)", "(tag)"),
            ("app:~tag~", "~tag~"),
            ("app:!tag!", "!tag!"),
            ("app:$${TAG}", "${TAG}"),
            ("app:<no value>", "<no value>"),
            ("app:%TAG%", "%TAG%"),
            ("app:%%TAG%%", "%%TAG%%"),
            ("app:@TAG@", "@TAG@"),
            ("@project.image@:v1", "@project.image@"),
            ("__IMAGE__", "__IMAGE__"),
            ("__registry__/app:v1", "__registry__"),
            ("app@${DIGEST}", "${DIGEST}"),
            ("app@sha256:<digest>", "<digest>"),
        ];
        for (reference, placeholder) in table {
            let expected = Err(NoReference::Placeholder(placeholder));
            assert_eq!(ImageReference::parse(reference), expected, "{reference}");
        }
        for none in [
            "app:$",
            "app:{}",
            "[fe80::1%eth0]/app",
            "app:()",
            "app:%20%",
            "a__b__c:1+1",
            "app@sha256:0a@",
            "app:>tag<",
            "app:__+",
        ] {
            let error = ImageReference::parse(none).unwrap_err();
            assert!(!matches!(error, NoReference::Placeholder(_)), "{none}: {error:?}");
        }
    }

    #[test]
    fn a_placeholder_that_is_a_legal_tag() {
        let of = |reference: &'static str| ImageReference::parse(reference).unwrap().placeholder();
        for (reference, placeholder) in [
            ("app:__TAG__", "__TAG__"),
            ("app:__tag__", "__tag__"),
            ("app:v__VERSION__", "__VERSION__"),
            ("app:1.0-__BUILD_ID__-alpine", "__BUILD_ID__"),
        ] {
            assert_eq!(of(reference), Some(placeholder), "{reference}");
        }
        for reference in ["app", "app:_v1_", "app:1.0__beta__2", "app:____", "app:v1__2", "a__b__c:v1"] {
            assert_eq!(of(reference), None, "{reference}");
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
            (long.as_str(), Some(&long[..62])),
        ];
        for (tag, value) in table {
            assert_eq!(label_value(tag).as_deref(), value, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "[ -~é\n]{0,40}") {
            if let Err(reason) = ImageReference::parse(&text) {
                prop_assert!(!reason.to_string().is_empty());
            }
        }

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
            registry in "([a-z]{1,8}:[0-9]{1,5}/)?", path in "[a-z]{1,8}(/[a-z]{1,8}){0,2}",
            tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", digest in "(@sha256:[0-9a-f]{64})?",
        ) {
            let reference = format!("{registry}{path}:{tag}{digest}");
            prop_assert_eq!(ImageReference::parse(&reference).map(|it| it.tag), Ok(Some(tag.as_str())));
        }
    }
}
