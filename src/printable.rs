//! Text made safe to print.
//!
//! Names, images, reasons and other text of objects may come from anybody, and the API
//! server lets control characters through. A terminal obeys them, a log is broken into
//! other lines by them, and the API server drops a warning that has any. So everything
//! that gapless says goes through here where it leaves gapless.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

/// The text on one line, and nothing in it that a terminal obeys: blanks for line
/// breaks and tabs, and U+FFFD for other control characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, false)
}

/// The same for a text of several lines, which keeps its line breaks.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, true)
}

fn replaced(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    // Most texts are plain ASCII, and bytes are quicker to look at.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let is_kept = |character| !is_obeyed(character) || (keeps_lines && character == '\n');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let replace = |character| match character {
        _ if is_kept(character) => character,
        _ if character.is_whitespace() => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(replace).collect())
}

/// Control characters (C0, DEL and C1), the other line breaks of Unicode, and what
/// turns the direction of the text that follows.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON over several lines whose texts are all printable, as they are written and as
/// they are read: JSON would leave DEL and C1 as they are, and a reader gets back what
/// was escaped. Line breaks within a text stay.
///
/// # Errors
/// If the value cannot be written as JSON.
pub fn to_json<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let mut json = Vec::new();
    let formatter = PrintableFormatter(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))?;
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}

struct PrintableFormatter<'a>(PrettyFormatter<'a>);

/// What `PrettyFormatter` does otherwise than the trait's own methods, and the texts.
impl Formatter for PrintableFormatter<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        writer.write_all(printable(fragment).as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let control = match escape {
            CharEscape::LineFeed | CharEscape::Quote | CharEscape::ReverseSolidus | CharEscape::Solidus => {
                return self.0.write_char_escape(writer, escape);
            }
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(control) => control,
        };
        let mut text = [0; 4];
        writer.write_all(printable(char::from(control).encode_utf8(&mut text)).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_printed() {
        for (text, line, lines) in [
            ("registry.example/app:1.2.3", "registry.example/app:1.2.3", "registry.example/app:1.2.3"),
            (
                "gr\u{fc}n \u{1f680} \u{5e9}\u{5dc}",
                "gr\u{fc}n \u{1f680} \u{5e9}\u{5dc}",
                "gr\u{fc}n \u{1f680} \u{5e9}\u{5dc}",
            ),
            ("a\nb\tc\r\nd", "a b c  d", "a\nb c \nd"),
            (
                "\u{1b}[31mred\u{7}\0\u{8}",
                "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}",
                "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("\u{7f}\u{9b}2J\u{9d}", "\u{fffd}\u{fffd}2J\u{fffd}", "\u{fffd}\u{fffd}2J\u{fffd}"),
            ("a\u{85}b\u{2028}c\u{2029}d", "a b c d", "a b c d"),
            ("a\u{202e}b\u{2066}c", "a\u{fffd}b\u{fffd}c", "a\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!((&*printable(text), &*printable_lines(text)), (line, lines), "{text:?}");
        }
    }

    #[test]
    fn json_is_printable_as_it_is_written_and_as_it_is_read() {
        let value = json!({"k\u{9b}": ["a\n\"b\\\u{1b}\u{7f}\u{9b}", {"x": 1, "y": [], "z": {}}], "n": null});
        let text = to_json(&value).expect("JSON");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        let expected =
            json!({"k\u{fffd}": ["a\n\"b\\\u{fffd}\u{fffd}\u{fffd}", {"x": 1, "y": [], "z": {}}], "n": null});
        assert_eq!(read, expected);
        assert_eq!(text, serde_json::to_string_pretty(&expected).expect("JSON"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_obeyed_is_left(text in "(?s).*") {
            prop_assert!(!printable(&text).contains(is_obeyed));
            prop_assert!(!printable_lines(&text).replace('\n', "").contains(is_obeyed));
            let json = to_json(&text).expect("JSON");
            prop_assert!(!json.contains(char::is_control));
            let read: String = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(read, printable_lines(&text));
        }
    }
}
