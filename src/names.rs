//! Names, as Kubernetes takes them (apimachinery, `pkg/util/validation`).

/// Whether it is a DNS label of RFC 1123, as names of namespaces, and so of profiles,
/// are (`IsDNS1123Label`).
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_name_part(text)
}

/// Whether it is a DNS subdomain of RFC 1123, as names of most objects are
/// (`IsDNS1123Subdomain`). Its parts may be longer than labels.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_name_part)
}

/// Whether a port may have this name (`IsValidPortName`).
pub fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_name_part(text)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
}

/// Whether it is the key of a label or an annotation (`IsQualifiedName`).
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 63
        && name.bytes().all(is_inner)
        && has_alphanumeric_ends(name)
        && prefix.is_none_or(is_dns_subdomain)
}

/// The name of an object that is derived from others' names: what is longer than
/// [`is_dns_subdomain`] allows is cut, and a hash of the whole keeps it apart from others.
/// It is the same in every version of gapless.
pub fn shortened(name: &str) -> String {
    const LONGEST: usize = 253;
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let hash = format!("-{:016x}", fnv_1a(name));
    let start: String = name.chars().take(LONGEST - hash.len()).collect();
    // A part of a name ends with a letter or digit.
    start.trim_end_matches(['.', '-']).to_owned() + &hash
}

/// FNV-1a, of 64 bits.
fn fnv_1a(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn is_dns_name_part(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(is_inner) && has_alphanumeric_ends(text)
}

/// Not so if it is empty.
fn has_alphanumeric_ends(text: &str) -> bool {
    let is_alphanumeric = |character: char| character.is_ascii_alphanumeric();
    text.starts_with(is_alphanumeric) && text.ends_with(is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_name: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(is_name(text), "{text:?}");
        }
        for text in bad {
            assert!(!is_name(text), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_stays_apart_from_others() {
        let long = |end: &str| format!("{}.{end}", "x".repeat(252));
        assert_eq!(shortened(&"x".repeat(253)), "x".repeat(253));
        let (a, b) = (shortened(&long("a")), shortened(&long("b")));
        assert_ne!(a, b);
        assert_eq!(a, format!("{}-{:016x}", "x".repeat(236), fnv_1a(&long("a"))));
        let at_a_dot = format!("{}.-.{}", "x".repeat(234), "y".repeat(30));
        for name in [a, b, shortened(&at_a_dot)] {
            assert!(is_dns_subdomain(&name), "{name}");
        }
        // Those of the reference (draft-eastlake-fnv, test vectors).
        assert_eq!(fnv_1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn names_are_what_the_api_server_accepts() {
        let long_label = "x".repeat(63);
        check(
            is_dns_label,
            &["production", "off", "a", "0", "team-a", "a--b", &long_label],
            &["", "-", "-a", "a-", "A", "a.b", "a_b", "a/b", "a b", "\u{e4}", &"x".repeat(64)],
        );
        let parts = |length: usize| vec!["x".repeat(length); 4].join(".");
        let (long_name, too_long) = (parts(62), parts(63));
        check(
            is_dns_subdomain,
            &["a", "0", "a.b", "1.2", "a-b.c", &"x".repeat(64), &"x".repeat(253), &long_name],
            &["", ".", ".a", "a.", "a..b", "a-.b", "a.-b", "A.b", "a_b", "a/b", "a*", &too_long],
        );
        check(
            is_port_name,
            &["a", "http", "http-metrics", "8080-tcp", "a23456789012345"],
            &["", "80", "8-0", "A", "a--b", "-a", "a-", "a_b", "a.b", "\u{e4}", "a234567890123456"],
        );
        check(
            is_label_key,
            &[
                "version",
                "app.kubernetes.io/version",
                "A_b.c-D",
                "0/0",
                &long_label,
                &format!("{long_name}/{long_label}"),
            ],
            &[
                "",
                "/version",
                "version/",
                "a/b/c",
                "-a",
                "a-",
                "_a",
                "a b",
                "A/b",
                "a..b/c",
                "a_b/c",
                &"x".repeat(64),
                &format!("{too_long}/v"),
            ],
        );
    }
}
