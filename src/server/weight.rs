//! How much memory JSON takes once it is parsed.

/// About so many bytes for each pair of braces: a map's first entries have a block of
/// memory in common (of 11, in `std::collections::BTreeMap`).
const MAP: usize = 640;

/// For each pair of brackets: a list has room for four values at least.
const LIST: usize = 128;

/// For each member and each further item: the value in its place, the key, and what is
/// left free beside them.
const ITEM: usize = 64;

/// An upper bound, give or take a fifth, of the bytes that this JSON takes as a
/// `serde_json::Value`. It may be 80 times what it takes as text, or hardly more.
pub fn weight(json: &[u8]) -> usize {
    let mut weight = json.len();
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => weight += MAP,
            b'[' => weight += LIST,
            b':' | b',' => weight += ITEM,
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    weight
}

/// Goes on behind the end of a string that has begun.
fn skip_string(bytes: &mut std::slice::Iter<u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighs_what_is_parsed_and_not_what_is_in_strings() {
        assert_eq!(weight(b"1"), 1);
        assert_eq!(weight(b"{}"), 2 + MAP);
        assert_eq!(weight(br#"{"a": [1, 2, 3], "b": {}}"#), 25 + 2 * MAP + LIST + 5 * ITEM);
        let text = br#""{\"a\": [1, 2]} \\""#;
        assert_eq!(weight(text), text.len());
        assert_eq!(weight(br#"["\\", 1]"#), 9 + LIST + ITEM);
        // Not JSON, but it may come all the same.
        assert_eq!(weight(br#""\"#), 2);
    }
}
