//! A YAML document as it is written: styles, anchors and aliases, with the
//! place of every part.
//!
//! [`crate::yaml::node`] tells what a document means. Here nothing is
//! resolved, since an edit has to know which text is whose.

use std::collections::HashSet;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span as Marks, StructureStyle};

use crate::yaml::node::Span;

/// The syntax of one document.
#[derive(Debug)]
pub struct Syntax {
    /// The outermost part.
    pub root: Part,
    /// The anchors that an alias refers to.
    aliased: HashSet<usize>,
}

/// A part of a document.
#[derive(Debug)]
pub struct Part {
    /// From its first byte to the byte after its last one, without the line
    /// breaks and comments around it. What is not written has no bytes.
    pub span: Span,
    /// What is written there.
    pub content: Content,
    /// The number of its anchor; 0 for none.
    anchor: usize,
}

/// What a part is.
#[derive(Debug)]
pub enum Content {
    /// Text, a number and so on: how it is written, and the text it means.
    Scalar(Scalar, String),
    /// `*name`
    Alias,
    /// A list.
    Sequence(Vec<Part>),
    /// A map, in block style: one entry in a line.
    Block(Vec<Entry>),
    /// A map, in flow style: `{…}`.
    Flow(Vec<Entry>),
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Without quotes, perhaps with no text at all.
    Plain,
    /// `"…"`
    DoubleQuoted,
    /// `'…'`
    SingleQuoted,
    /// `|` or `>`
    Block {
        /// Whether its value ends with a line break.
        ends_line: bool,
    },
}

/// A key and its value.
#[derive(Debug)]
pub struct Entry {
    /// The key, if it is a scalar.
    pub name: Option<String>,
    /// Where the key stands, and how.
    pub key: Part,
    /// The value.
    pub value: Part,
}

impl Syntax {
    /// Reads one document; `None` if it is empty.
    ///
    /// # Errors
    /// If it is not YAML.
    pub fn read(text: &str) -> Result<Option<Self>, ScanError> {
        let options = granit_parser::options! { emit_comments: false };
        let mut reader = Reader {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            aliased: HashSet::new(),
        };
        while let Some((event, marks)) = reader.next()? {
            if let Some(root) = reader.part(event, marks)? {
                // To its end, for aliases.
                return Ok(Some(Syntax { root, aliased: reader.aliased }));
            }
        }
        Ok(None)
    }

    /// Whether other places use the text of `part` too.
    pub fn is_shared(&self, part: &Part) -> bool {
        self.aliased.contains(&part.anchor)
    }
}

impl Part {
    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Part]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Block(entries) | Content::Flow(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it stands for null without a text of its own.
    pub fn is_unwritten(&self) -> bool {
        matches!(self.content, Content::Scalar(Scalar::Plain, _)) && self.span.start == self.span.end
    }

    /// The scalar that is written last in it.
    pub fn last_scalar(&self) -> Option<Scalar> {
        match &self.content {
            Content::Scalar(scalar, _) => Some(*scalar),
            Content::Alias => None,
            Content::Sequence(items) => items.last()?.last_scalar(),
            Content::Block(entries) | Content::Flow(entries) => entries.last()?.value.last_scalar(),
        }
    }
}

impl Entry {
    /// The byte after the colon; `None` if there is no colon, as in `{a, b}`.
    pub fn after_colon(&self, text: &str) -> Option<usize> {
        let rest = text.get(self.key.span.end..)?;
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest.get(blanks..)?.starts_with(':').then_some(self.key.span.end + blanks + 1)
    }

    /// The byte after it.
    pub fn end(&self, text: &str) -> usize {
        let after_colon = self.after_colon(text).unwrap_or(self.key.span.end);
        self.value.span.end.max(after_colon)
    }
}

struct Reader<'t> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    aliased: HashSet<usize>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Marks)>, ScanError> {
        self.parser.next().transpose()
    }

    /// The part that begins with `event`; `None` if none does. It recurses as
    /// deep as the document does, which was read and found bearable before.
    fn part(&mut self, event: Event<'t>, marks: Marks) -> Result<Option<Part>, ScanError> {
        let mut span = Span::from(marks);
        let (content, anchor) = match event {
            Event::Alias(anchor) => {
                self.aliased.insert(anchor);
                (Content::Alias, 0)
            }
            Event::Scalar(value, style, anchor, _) => {
                let scalar = match style {
                    ScalarStyle::Plain => Scalar::Plain,
                    ScalarStyle::SingleQuoted => Scalar::SingleQuoted,
                    ScalarStyle::DoubleQuoted => Scalar::DoubleQuoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => {
                        span.end = self.end_of_block_scalar(span, &value);
                        Scalar::Block { ends_line: value.ends_with('\n') }
                    }
                };
                (Content::Scalar(scalar, value.into_owned()), anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                let (parts, end) = self.parts()?;
                span.end = match (style, parts.last()) {
                    (StructureStyle::Block, Some(last)) => last.span.end,
                    _ => end,
                };
                (Content::Sequence(parts), anchor)
            }
            Event::MappingStart(style, anchor, _) => {
                let (parts, end) = self.parts()?;
                let entries = entries(parts);
                span.end = match (style, entries.last()) {
                    (StructureStyle::Block, Some(last)) => last.end(self.text),
                    _ => end,
                };
                let content = match style {
                    StructureStyle::Block => Content::Block(entries),
                    StructureStyle::Flow => Content::Flow(entries),
                };
                (content, anchor)
            }
            _ => return Ok(None),
        };
        Ok(Some(Part { span, content, anchor }))
    }

    /// The parts of a collection, and the byte after its end.
    fn parts(&mut self) -> Result<(Vec<Part>, usize), ScanError> {
        let mut parts = Vec::new();
        while let Some((event, marks)) = self.next()? {
            match self.part(event, marks)? {
                Some(part) => parts.push(part),
                None => return Ok((parts, Span::from(marks).end)),
            }
        }
        Ok((parts, self.text.len()))
    }

    /// Where the last line of a block scalar ends. The parser counts all up to the next part as text of a block scalar.
    /// Line breaks at its end belong to it only where its value has them.
    fn end_of_block_scalar(&self, span: Span, value: &str) -> usize {
        let before = self.text.get(..span.end).unwrap_or_default();
        let keeps_breaks = value.ends_with("\n\n") || value == "\n";
        let trimmed = match keeps_breaks {
            true => {
                let lines = before.trim_end_matches([' ', '\t']);
                lines.strip_suffix('\n').unwrap_or(lines).trim_end_matches('\r')
            }
            false => before.trim_end_matches([' ', '\t', '\r', '\n']),
        };
        trimmed.len()
    }
}

fn entries(parts: Vec<Part>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        let name = match &key.content {
            Content::Scalar(_, name) => Some(name.clone()),
            _ => None,
        };
        entries.push(Entry { name, key, value });
    }
    entries
}

impl From<Marks> for Span {
    fn from(marks: Marks) -> Self {
        // Offsets are in bytes, since the whole text is at hand.
        let (start, end) = marks.byte_range().map_or((0, 0), |range| (range.start, range.end));
        Span { start, end, line: marks.start.line(), column: marks.start.col() + 1 }
    }
}
