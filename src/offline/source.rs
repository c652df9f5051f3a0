//! The text of one file, and places in it.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::printable::printable;

/// Bytes of a line that are shown before, in and after the marked part. More
/// is of no use to anybody, and a List in compact JSON is one single line.
const SHOWN: usize = 160;

/// What some editors put at the beginning of a text in UTF-8.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Standard input.
    Stdin,
    /// A file.
    Path(PathBuf),
}

/// The text of one file.
#[derive(Debug)]
pub struct Source {
    /// Where it comes from.
    pub name: Name,
    /// The text, without a byte order mark.
    pub text: String,
    /// Whether there was a byte order mark.
    pub has_byte_order_mark: bool,
}

/// A file or directory that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What cannot be read.
    pub name: Name,
    /// Why.
    pub message: String,
}

/// A line and a column, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A place that a message is about.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub name: Name,
    /// Where in the file, unless it is about the file as a whole.
    pub position: Option<Position>,
    /// What stands there.
    pub excerpt: Option<Box<Excerpt>>,
}

/// One line of a file, with a part of it marked. A long line is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, without its end.
    pub line: String,
    /// The byte of `line` where the marked part begins.
    pub start: usize,
    /// The byte of `line` after the marked part.
    pub end: usize,
    /// Whether the line begins earlier than `line` does.
    pub is_cut: bool,
}

impl Source {
    /// A text that may begin with a byte order mark.
    pub fn new(name: Name, text: String) -> Self {
        match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => Source { name, text: rest.to_owned(), has_byte_order_mark: true },
            None => Source { name, text, has_byte_order_mark: false },
        }
    }

    /// Reads a file or standard input.
    ///
    /// # Errors
    /// If it cannot be read, or is no text in UTF-8.
    pub fn read(name: Name) -> Result<Self, Unreadable> {
        let bytes = match &name {
            Name::Path(path) => fs::read(path),
            Name::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        let read = match bytes {
            Ok(bytes) => decode(bytes),
            Err(error) => Err(format!("cannot read it: {error}")),
        };
        match read {
            Ok(text) => Ok(Source::new(name, text)),
            Err(message) => Err(Unreadable { name, message }),
        }
    }

    /// The place of the bytes from `start` to `end`, which begin at `position`.
    pub fn place(&self, position: Position, start: usize, end: usize) -> Place {
        let excerpt = Excerpt::cut(&self.text, start, end).map(Box::new);
        Place { name: self.name.clone(), position: Some(position), excerpt }
    }
}

fn decode(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("the file is UTF-16; save it as UTF-8".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("the file is no text in UTF-8: line {line} has other bytes")
    })
}

impl Unreadable {
    /// That `name` cannot be read, and why.
    pub fn new(name: Name, message: String) -> Self {
        Unreadable { name, message }
    }

    /// That standard input is empty. Most likely what should have written it failed, which a
    /// pipe hides.
    pub fn empty_stdin() -> Self {
        Unreadable::new(Name::Stdin, "there is nothing on standard input".to_owned())
    }

    /// The file as a whole.
    pub fn place(&self) -> Place {
        Place { name: self.name.clone(), position: None, excerpt: None }
    }
}

impl Excerpt {
    /// The line around the bytes from `start` to `end`, of which the first line
    /// is marked; `None` if `text` has no such bytes.
    fn cut(text: &str, start: usize, end: usize) -> Option<Self> {
        let before = text.get(..start)?;
        let marked = text.get(start..end)?;
        let after = text.get(end..)?;

        let is_break = |character| character == '\n' || character == '\r';
        let near = before.get(before.floor_char_boundary(before.len().saturating_sub(SHOWN))..)?;
        let (head, is_cut) = match near.rfind(is_break) {
            Some(at) => (near.get(at + 1..)?.to_owned(), false),
            None if near.len() == before.len() => (near.to_owned(), false),
            None => (format!("…{near}"), true),
        };
        let is_whole = !marked.contains(is_break) && marked.len() <= SHOWN;
        let marked = marked.get(..marked.floor_char_boundary(SHOWN))?.split(is_break).next()?;
        let tail = match is_whole {
            true => {
                let near = after.get(..after.floor_char_boundary(SHOWN))?;
                let is_cut = near.len() < after.len() && !near.contains(is_break);
                format!("{}{}", near.split(is_break).next()?, if is_cut { "…" } else { "" })
            }
            false => String::new(),
        };
        let [head, marked, tail] = [head.as_str(), marked, tail.as_str()].map(printable);
        let (start, end) = (head.len(), head.len() + marked.len());
        Some(Excerpt { line: format!("{head}{marked}{tail}"), start, end, is_cut })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Stdin => f.write_str("<stdin>"),
            Name::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `file:line:column`, as far as it is known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, marked: &str) -> (String, String) {
        let start = text.find(marked).unwrap();
        let excerpt = Excerpt::cut(text, start, start + marked.len()).unwrap();
        (excerpt.line.clone(), excerpt.line[excerpt.start..excerpt.end].to_owned())
    }

    #[test]
    fn an_excerpt_is_one_line() {
        let text = "a: 1\r\nb:\r\n  c: |\r\n    text\r\n";
        assert_eq!(cut(text, "a: 1"), ("a: 1".into(), "a: 1".into()));
        assert_eq!(cut(text, "b"), ("b:".into(), "b".into()));
        assert_eq!(cut(text, "|\r\n    text"), ("  c: |".into(), "|".into()));
        assert_eq!(Excerpt::cut(text, 5, 500), None);
    }

    #[test]
    fn an_excerpt_holds_no_control_characters() {
        assert_eq!(cut("a\u{1b}: b\u{9b}c # \u{7}", "b\u{9b}c").0, "a\u{fffd}: b\u{fffd}c # \u{fffd}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_marked_part() {
        let long = "ä".repeat(5000);
        let (line, marked) = cut(&format!("{long}MARK{long}"), "MARK");
        assert_eq!(marked, "MARK");
        assert!(line.starts_with('…') && line.ends_with('…') && line.len() < 3 * SHOWN, "{line}");

        let (line, marked) = cut(&format!("x {long}"), &long);
        assert!(line.starts_with("x ä") && marked.len() <= SHOWN, "{line}");
    }

    #[test]
    fn only_utf_8_is_text() {
        let text = decode(b"\xef\xbb\xbfa: 1".to_vec()).unwrap();
        let source = Source::new(Name::Stdin, text);
        assert_eq!((source.text.as_str(), source.has_byte_order_mark), ("a: 1", true));
        assert_eq!(decode(b"\xff\xfea\0".to_vec()).unwrap_err(), "the file is UTF-16; save it as UTF-8");
        let error = decode(b"a: 1\nb: \xe4\n".to_vec()).unwrap_err();
        assert_eq!(error, "the file is no text in UTF-8: line 2 has other bytes");
    }
}
