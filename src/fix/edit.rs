//! From one value of an object to another, by edits of its text.
//!
//! Nothing is ever written anew: an edit puts text between what is there, or
//! replaces one scalar. What other places use too is left alone.

use std::cmp::Reverse;

use serde_json::{Map, Value};

use crate::yaml::node::Span;
use crate::yaml::render::{self, Flow, Indents};
use crate::yaml::syntax::{Content, Entry, Part, Scalar, Syntax};

/// The key of the pod template, which is long and comes last in a
/// Deployment's spec. What is small goes before it.
const TEMPLATE: &str = "template";

/// The key that brings the entries of other maps.
const MERGE: &str = "<<";

/// A piece of text to put in the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The first byte to replace.
    pub start: usize,
    /// The byte after the last one to replace. For an insertion, `start`.
    pub end: usize,
    /// How deep in the document: of two insertions at one place, the deeper
    /// one comes first.
    depth: usize,
    /// The new text.
    pub text: String,
}

/// Why an object cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfixable {
    /// Where the trouble is.
    pub span: Span,
    /// What it is, and what can be done about it.
    pub message: String,
}

/// The edits of `text`, in no order, after which an object in it is `to`. It is
/// `from` now. `items` leads to it through Lists in one another.
///
/// # Errors
/// If an edit would change other places too, or cannot be made.
pub fn edits(
    text: &str,
    syntax: &Syntax,
    items: &[usize],
    from: &Value,
    to: &Value,
) -> Result<Vec<Edit>, Unfixable> {
    let mut editor = Editor { text, syntax, edits: Vec::new() };
    let style = Style { indents: Indents { map: 2, list: 0 }, flow: Flow::default() };
    let (part, style) = editor.item_of_lists(items, style)?;
    let root = Place { path: String::new(), depth: items.len(), style };
    editor.change(part, &root, from, to)?;
    Ok(editor.edits)
}

/// `text` after `edits`. All between them stays as it is. `None` if they
/// overlap.
pub fn apply(text: &str, edits: Vec<Edit>) -> Option<String> {
    let edits = in_order(edits);
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut edited = String::with_capacity(text.len() + added);
    let mut position = 0;
    for edit in &edits {
        edited.push_str(text.get(position..edit.start)?);
        edited.push_str(&edit.text);
        position = edit.end;
    }
    edited.push_str(text.get(position..)?);
    Some(edited)
}

/// The edits in the order of the text.
pub fn in_order(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.start, Reverse(edit.depth)));
    edits
}

impl Edit {
    /// The same edit of the part of the text that begins at `offset`.
    pub fn within(self, offset: usize) -> Self {
        Edit { start: self.start.saturating_sub(offset), end: self.end.saturating_sub(offset), ..self }
    }

    /// The same edit of a text that begins `offset` bytes earlier.
    pub fn moved(self, offset: usize) -> Self {
        Edit { start: self.start + offset, end: self.end + offset, ..self }
    }
}

struct Editor<'t> {
    text: &'t str,
    syntax: &'t Syntax,
    edits: Vec<Edit>,
}

/// Where a part is, for messages, and how the text there is written.
#[derive(Clone)]
struct Place {
    path: String,
    depth: usize,
    style: Style,
}

#[derive(Clone, Copy)]
struct Style {
    indents: Indents,
    flow: Flow,
}

impl<'t> Editor<'t> {
    /// The item of the Lists in one another that the document is.
    fn item_of_lists(&self, indices: &[usize], style: Style) -> Result<(&'t Part, Style), Unfixable> {
        let syntax = self.syntax;
        let mut part = &syntax.root;
        let mut place = Place { path: String::new(), depth: 0, style };
        for index in indices {
            place.path = format!("items[{index}]");
            self.own(part, &place)?;
            let entry = part.entries().and_then(|entries| own_entry(entries, "items"));
            let Some(items) = entry.map(|entry| &entry.value) else {
                return Err(unfixable(part, "items come from a merge key".to_owned()));
            };
            place.style = self.style_of(part, place.style);
            self.own(items, &place)?;
            part = items.items().and_then(|items| items.get(*index)).ok_or_else(|| misread(items, &place))?;
        }
        Ok((part, place.style))
    }

    /// Makes `from`, which `part` means, into `to`.
    fn change(&mut self, part: &'t Part, place: &Place, from: &Value, to: &Value) -> Result<(), Unfixable> {
        if from == to {
            return Ok(());
        }
        self.own(part, place)?;
        match (from, to) {
            (Value::Object(from), Value::Object(to)) => self.change_map(part, place, from, to),
            (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
                let items = part.items().filter(|items| items.len() == from.len());
                let items = items.ok_or_else(|| misread(part, place))?;
                for (index, (part, (from, to))) in items.iter().zip(from.iter().zip(to)).enumerate() {
                    let name = from.get("name").and_then(Value::as_str);
                    let name = name.map_or_else(|| index.to_string(), str::to_owned);
                    let path = format!("{}[{name}]", place.path);
                    self.change(part, &Place { path, depth: place.depth + 1, style: place.style }, from, to)?;
                }
                Ok(())
            }
            _ => self.replace(part, place, to),
        }
    }

    fn change_map(
        &mut self,
        part: &'t Part,
        place: &Place,
        from: &Map<String, Value>,
        to: &Map<String, Value>,
    ) -> Result<(), Unfixable> {
        let entries = part.entries().ok_or_else(|| misread(part, place))?;
        let style = self.style_of(part, place.style);
        for (key, from) in from {
            let path = if place.path.is_empty() { key.clone() } else { format!("{}.{key}", place.path) };
            let Some(to) = to.get(key) else {
                let message = format!("{path} has to be removed, which is left to you");
                return Err(unfixable(part, message));
            };
            if from == to {
                continue;
            }
            let Some(entry) = own_entry(entries, key) else {
                let message = format!("{path} comes from a merge key, whose text other places use too");
                return Err(unfixable(part, message));
            };
            let place = Place { path, depth: place.depth + 1, style };
            match entry.value.is_unwritten() && !self.syntax.is_shared(&entry.value) {
                true => self.write_value(part, entry, &place, to)?,
                false => self.change(&entry.value, &place, from, to)?,
            }
        }
        let added: Vec<_> = to.iter().filter(|(key, _)| !from.contains_key(*key)).collect();
        if added.is_empty() {
            return Ok(());
        }
        let place = Place { style, ..place.clone() };
        match &part.content {
            Content::Block(_) => self.add_to_block(entries, &place, &added, part),
            _ => self.add_to_flow(part, entries, &place, &added),
        }
    }

    /// That no other place uses the text of `part`.
    fn own(&self, part: &Part, place: &Place) -> Result<(), Unfixable> {
        let what = match part.content {
            Content::Alias => "is an alias",
            _ if self.syntax.is_shared(part) => "has an anchor that aliases refer to",
            _ => return Ok(()),
        };
        let subject = if place.path.is_empty() { "the object" } else { &place.path };
        Err(unfixable(part, format!("{subject} {what}, so a change here would change other places too")))
    }

    /// Adds entries to a map in block style, a line or more for each.
    fn add_to_block(
        &mut self,
        entries: &[Entry],
        place: &Place,
        added: &[(&String, &Value)],
        part: &Part,
    ) -> Result<(), Unfixable> {
        let first = entries.first().ok_or_else(|| misread(part, place))?;
        let indent = first.key.span.column - 1;
        let after = entry_before(entries).ok_or_else(|| misread(part, place))?;
        let lines = added
            .iter()
            .flat_map(|(key, value)| render::block_entry(key, value, indent, place.style.indents))
            .collect();
        let at = self.after_comments(after, indent);
        self.insert_lines(at, lines, place, after)
    }

    /// Puts whole lines at the beginning of the line `at`, or at the end of the
    /// text.
    fn insert_lines(
        &mut self,
        at: usize,
        lines: Vec<String>,
        place: &Place,
        after: &Entry,
    ) -> Result<(), Unfixable> {
        let before = self.text.get(..at).unwrap_or_default();
        let line_break = self.line_break(at);
        let text = if before.ends_with('\n') {
            lines.into_iter().map(|line| line + line_break).collect()
        } else {
            // Some readers take the end of the file for a line break here,
            // some do not (kubectl), so a new line could change the value.
            if after.value.last_scalar() == Some(Scalar::Block { ends_line: true }) {
                let message = "the file ends in a block scalar, without a line break; add one".to_owned();
                return Err(unfixable(&after.value, message));
            }
            lines.into_iter().map(|line| format!("{line_break}{line}")).collect()
        };
        self.edits.push(Edit { start: at, end: at, depth: place.depth, text });
        Ok(())
    }

    /// Adds entries to a map in flow style. If each entry stands on a line of
    /// its own, so does each new one.
    fn add_to_flow(
        &mut self,
        part: &Part,
        entries: &[Entry],
        place: &Place,
        added: &[(&String, &Value)],
    ) -> Result<(), Unfixable> {
        if !self.has_at(part.span.start, '{') {
            // As in `[a: 1]`.
            return Err(misread(part, place));
        }
        let style = place.style.flow;
        let comma = if style.is_compact { "," } else { ", " };
        let on_one_line =
            || added.iter().map(|(key, value)| render::flow_entry(key, value, style)).collect::<Vec<_>>();
        let Some(after) = entry_before(entries) else {
            // `{}`
            let at = part.span.start + 1;
            self.edits.push(Edit { start: at, end: at, depth: place.depth, text: on_one_line().join(comma) });
            return Ok(());
        };
        let end = after.end(self.text);
        let Some(line) = self.line_of_entry(after, end) else {
            let text: String = on_one_line().iter().map(|entry| format!("{comma}{entry}")).collect();
            // Some readers take `a:,` for text.
            let text = if after.value.is_unwritten() { format!(" {text}") } else { text };
            self.edits.push(Edit { start: end, end, depth: place.depth, text });
            return Ok(());
        };

        let indent = self.indent_of_line(after.key.span.start);
        let unit = indent.strip_prefix(self.indent_of_line(part.span.start)).unwrap_or("  ");
        let line_break = self.line_break(line.end);
        let entries: Vec<_> = match style.is_quoted {
            true => added.iter().map(|(key, value)| render::json_entry(key, value, indent, unit)).collect(),
            false => on_one_line(),
        };
        let (before, between) = if line.has_comma { ("", ",") } else { (",", "") };
        if !before.is_empty() {
            self.edits.push(Edit { start: end, end, depth: place.depth, text: before.to_owned() });
        }
        let text = entries.join(&format!(",\n{indent}"));
        let text = format!("\n{indent}{text}{between}").replace('\n', line_break);
        self.edits.push(Edit { start: line.end, end: line.end, depth: place.depth, text });
        Ok(())
    }

    /// Gives the key of `entry`, which has none, a value.
    fn write_value(&mut self, map: &Part, entry: &Entry, place: &Place, to: &Value) -> Result<(), Unfixable> {
        let end = entry.end(self.text);
        if let (Content::Block(_), Value::Object(fields)) = (&map.content, to) {
            let indent = entry.key.span.column - 1 + place.style.indents.map;
            let lines = fields
                .iter()
                .flat_map(|(key, value)| render::block_entry(key, value, indent, place.style.indents))
                .collect();
            return self.insert_lines(self.after_line(end), lines, place, entry);
        }
        let colon = if entry.after_colon(self.text).is_some() { "" } else { ":" };
        let text = format!("{colon} {}", render::flow(to, place.style.flow));
        self.edits.push(Edit { start: end, end, depth: place.depth, text });
        Ok(())
    }

    /// Replaces a scalar.
    fn replace(&mut self, part: &Part, place: &Place, to: &Value) -> Result<(), Unfixable> {
        let (Scalar::Plain | Scalar::SingleQuoted | Scalar::DoubleQuoted) = scalar(part, place)? else {
            let message = format!("{} is a block scalar, which cannot be replaced", place.path);
            return Err(unfixable(part, message));
        };
        let text = render::flow(to, place.style.flow);
        self.edits.push(Edit { start: part.span.start, end: part.span.end, depth: place.depth, text });
        Ok(())
    }

    /// How the map `part` is written, or the map around it if it does not say.
    fn style_of(&self, part: &Part, outer: Style) -> Style {
        match &part.content {
            Content::Block(entries) => {
                let indent = |entry: &Entry| entry.key.span.column - 1;
                let map = entries.iter().find_map(|entry| match &entry.value.content {
                    Content::Block(inner) => inner.first().map(indent)?.checked_sub(indent(entry)),
                    _ => None,
                });
                let list = entries.iter().find_map(|entry| match &entry.value.content {
                    Content::Sequence(_) if !self.has_at(entry.value.span.start, '[') => {
                        self.indent_of_line(entry.value.span.start).len().checked_sub(indent(entry))
                    }
                    _ => None,
                });
                let Indents { map: outer_map, list: outer_list } = outer.indents;
                let indents = Indents { map: map.unwrap_or(outer_map), list: list.unwrap_or(outer_list) };
                Style { indents, flow: Flow::default() }
            }
            Content::Flow(entries) => {
                let Some(first) = entries.first() else { return outer };
                let is_double_quoted =
                    |entry: &Entry| matches!(entry.key.content, Content::Scalar(Scalar::DoubleQuoted, _));
                let is_quoted = entries.iter().all(is_double_quoted);
                let is_compact = is_quoted && first.after_colon(self.text) == Some(first.value.span.start);
                Style { flow: Flow { is_quoted, is_compact }, ..outer }
            }
            _ => outer,
        }
    }

    /// The beginning of the line after the one with the byte `offset`.
    fn after_line(&self, offset: usize) -> usize {
        let line = self.text.get(offset..).unwrap_or_default().split_inclusive('\n').next();
        offset + line.map_or(0, str::len)
    }

    /// The beginning of the line after an entry of a map whose keys are indented by
    /// `indent`, and after the comments that belong to the entry: those within it, what
    /// was commented out of it, and what stands right below it and above nothing else.
    fn after_comments(&self, entry: &Entry, indent: usize) -> usize {
        let mut end = self.after_line(entry.end(self.text));
        let mut dashes = Vec::new();
        self.last_dashes(&entry.value, &mut dashes);
        let mut position = end;
        // The columns of the last item that was commented out: of its mark, and its dash.
        let mut item: Option<(usize, usize)> = None;
        // Behind the comments right below, of which the line that follows decides.
        let mut below = None;
        let mut is_right_below = true;
        for line in self.text.get(end..).unwrap_or_default().split_inclusive('\n') {
            position += line.len();
            let Some(comment) = CommentLine::read(line) else {
                let content = line.trim_start_matches(' ');
                if content.trim().is_empty() {
                    end = below.take().unwrap_or(end);
                    (item, is_right_below) = (None, false);
                    continue;
                }
                // The heading of the next key, or of the next item of a list around.
                let is_heading = line.len() - content.len() >= indent || content.starts_with('-');
                return below.filter(|_| !is_heading).unwrap_or(end);
            };
            let CommentLine { mark, content, is_item } = comment;
            // The mark stands where the text began, or at the beginning of the line.
            let is_further_out = mark < indent && (mark > 0 || content <= indent);
            if is_further_out {
                break;
            }
            let is_item = is_item && dashes.iter().any(|dash| comment.may_stand_at(*dash));
            let goes_on = item.is_some_and(|(of_item, dash)| mark == of_item && content >= dash + 2);
            let is_deeper = mark > indent || mark < indent && content > indent + 2;
            if is_item {
                item = Some((mark, content));
            } else if !goes_on {
                item = None;
            }
            if is_item || goes_on || is_deeper {
                end = position;
                (below, is_right_below) = (None, true);
            } else if is_right_below {
                below = Some(position);
            }
        }
        below.unwrap_or(end)
    }

    /// The columns, from 0 on, of the dashes of all lists in block style that end where
    /// `part` ends.
    fn last_dashes(&self, part: &Part, dashes: &mut Vec<usize>) {
        match &part.content {
            Content::Sequence(items) if !self.has_at(part.span.start, '[') => {
                dashes.push(self.indent_of_line(part.span.start).len());
                items.last().into_iter().for_each(|item| self.last_dashes(item, dashes));
            }
            Content::Block(entries) => {
                entries.last().into_iter().for_each(|entry| self.last_dashes(&entry.value, dashes));
            }
            _ => {}
        }
    }

    fn has_at(&self, offset: usize, character: char) -> bool {
        self.text.get(offset..).is_some_and(|text| text.starts_with(character))
    }

    /// The line of an entry of a map in flow style, which ends at `end`; `None`
    /// if it shares that line with other entries or with a bracket.
    fn line_of_entry(&self, entry: &Entry, end: usize) -> Option<LineOfEntry> {
        let start = entry.key.span.start;
        let before = self.text.get(..start)?;
        let is_first = before.rsplit('\n').next()?.chars().all(char::is_whitespace) && before.contains('\n');
        let rest = self.text.get(end..)?;
        let rest = rest.split('\n').next()?.trim_end_matches('\r');
        let trimmed = rest.trim_start();
        let has_comma = trimmed.starts_with(',');
        let tail = trimmed.trim_start_matches(',').trim_start();
        let is_last = tail.is_empty() || tail.starts_with('#');
        (is_first && is_last).then_some(LineOfEntry { end: end + rest.len(), has_comma })
    }

    /// The blanks at the beginning of the line with the byte `offset`.
    fn indent_of_line(&self, offset: usize) -> &'t str {
        let text: &'t str = self.text;
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).unwrap_or_default();
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        line.get(..blanks).unwrap_or_default()
    }

    /// The line break as in the lines before `offset`.
    fn line_break(&self, offset: usize) -> &'static str {
        let before = self.text.get(..offset).unwrap_or_default();
        let last = before.rfind('\n').and_then(|at| before.get(..at));
        if last.is_some_and(|before| before.ends_with('\r')) { "\r\n" } else { "\n" }
    }
}

/// The line of an entry of a map in flow style.
struct LineOfEntry {
    /// The byte after its last one, its line break not included.
    end: usize,
    has_comma: bool,
}

/// A line that holds nothing but a comment.
#[derive(Clone, Copy)]
struct CommentLine {
    /// The column of its mark, from 0 on.
    mark: usize,
    /// The column of the text after the mark.
    content: usize,
    /// Whether the text looks like an item of a list.
    is_item: bool,
}

impl CommentLine {
    fn read(line: &str) -> Option<Self> {
        let comment = line.trim_start_matches([' ', '\t']);
        let mark = line.len() - comment.len();
        let text = comment.strip_prefix('#')?.trim_start_matches('#');
        let item = text.trim_start();
        let content = line.len() - item.len();
        let is_item = item
            .strip_prefix('-')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        Some(CommentLine { mark, content, is_item })
    }

    /// Whether it is an item of a list whose dashes are in this column. Editors put the
    /// mark where the text of an item, or of the list's key, begins, or at the beginning
    /// of the line, and a blank after it or none.
    fn may_stand_at(self, dash: usize) -> bool {
        match self.mark {
            0 => (dash + 1..=dash + 2).contains(&self.content),
            mark => mark == dash || (dash..=dash + 2).contains(&self.content),
        }
    }
}

/// The entry of a key, if the map itself has it: of several the last one counts, and a
/// merge key after it may bring another one.
fn own_entry<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    let last = |name: &str| entries.iter().rposition(|entry| entry.name.as_deref() == Some(name));
    let index = last(key)?;
    let is_merged_later = last(MERGE).is_some_and(|merge| merge > index);
    if is_merged_later { None } else { entries.get(index) }
}

/// The entry after which new ones go.
fn entry_before(entries: &[Entry]) -> Option<&Entry> {
    let template = entries.iter().position(|entry| entry.name.as_deref() == Some(TEMPLATE));
    let before = template.and_then(|index| entries.get(index.checked_sub(1)?));
    before.or(entries.last())
}

fn scalar(part: &Part, place: &Place) -> Result<Scalar, Unfixable> {
    match part.content {
        Content::Scalar(scalar, _) => Ok(scalar),
        _ => Err(misread(part, place)),
    }
}

fn unfixable(part: &Part, message: String) -> Unfixable {
    Unfixable { span: part.span, message }
}

/// The syntax says something else than the value.
fn misread(part: &Part, place: &Place) -> Unfixable {
    unfixable(part, format!("{} is written in a way that gapless cannot edit", place.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::documents;
    use crate::offline::source::{Name, Source};
    use serde_json::json;

    /// The one document `text`, from what it means to `to`.
    fn edited(text: &str, to: &Value) -> Result<String, String> {
        let from: Value = serde_saphyr::from_str(text).unwrap();
        let syntax = Syntax::read(text).unwrap().unwrap();
        let edits = edits(text, &syntax, &[], &from, to).map_err(|unfixable| unfixable.message)?;
        let new = apply(text, edits).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&new).unwrap(), *to, "{new}");
        Ok(new)
    }

    #[test]
    fn text_is_put_where_it_belongs() {
        let table = [
            ("a: 1 # c\n", json!({"a": 1, "b": 2}), "a: 1 # c\nb: 2\n"),
            ("a: 1", json!({"a": 1, "b": {"c": "2"}}), "a: 1\nb:\n  c: \"2\""),
            ("a:\n   x: 1\n", json!({"a": {"x": 1}, "b": {"c": 2}}), "a:\n   x: 1\nb:\n   c: 2\n"),
            ("a: |\n  x\n\nc: 1\n", json!({"a": "x\n", "b": 2, "c": 1}), "a: |\n  x\n\nc: 1\nb: 2\n"),
            ("c: 1\na: |+\n  x\n\n", json!({"a": "x\n\n", "b": 2, "c": 1}), "c: 1\na: |+\n  x\n\nb: 2\n"),
            ("a: |\n\nc: >-\n", json!({"a": "", "b": 2, "c": ""}), "a: |\n\nc: >-\nb: 2\n"),
            ("a:\n- 1\n# c\n", json!({"a": [1], "b": 2}), "a:\n- 1\n# c\nb: 2\n"),
            (
                "a:\n- 1\n# c\ntemplate: 1\n",
                json!({"a": [1], "b": 2, "template": 1}),
                "a:\n- 1\nb: 2\n# c\ntemplate: 1\n",
            ),
            (
                "a:\n- 1\n# c\n\ntemplate: 1\n",
                json!({"a": [1], "b": 2, "template": 1}),
                "a:\n- 1\n# c\nb: 2\n\ntemplate: 1\n",
            ),
            ("a:\n- 1\n\n# c\n", json!({"a": [1], "b": 2}), "a:\n- 1\nb: 2\n\n# c\n"),
            ("a: {b: [], c}\n", json!({"a": {"b": [], "c": 1}}), "a: {b: [], c: 1}\n"),
            ("a: {b: ,}\n", json!({"a": {"b": null, "c": 1}}), "a: {b: , c: 1 ,}\n"),
            ("{\"a\":1}", json!({"a": 1, "b": [2]}), "{\"a\":1,\"b\":[2]}"),
            ("{a: 1 # c\n}", json!({"a": 1, "b": 2}), "{a: 1, b: 2 # c\n}"),
            ("{\n  a: 1 # c\n}", json!({"a": 1, "b": 2}), "{\n  a: 1, # c\n  b: 2\n}"),
            ("a: '25%' # c\n", json!({"a": 0}), "a: 0 # c\n"),
            ("b: 1\ntemplate: 2\n", json!({"a": 0, "b": 1, "template": 2}), "b: 1\na: 0\ntemplate: 2\n"),
            ("template: 2\nb: 1\n", json!({"a": 0, "b": 1, "template": 2}), "template: 2\nb: 1\na: 0\n"),
        ];
        for (text, to, expected) in table {
            assert_eq!(edited(text, &to).as_deref(), Ok(expected), "{text:?}");
        }
    }

    /// Where new lines go, `+` in the text, into the map that `b` is in.
    #[track_caller]
    fn assert_added_at_plus(text: &str) {
        let before = text.replace("+\n", "");
        let from: Value = serde_saphyr::from_str(&before).unwrap();
        let mut to = from.clone();
        to["c"]["l"][0]["new"] = json!(1);
        let expected = text.replace("+\n", "    new: 1\n");
        for line_break in ["\n", "\r\n"] {
            let edited = edited(&before.replace('\n', line_break), &to);
            assert_eq!(edited, Ok(expected.replace('\n', line_break)), "{text}");
        }
    }

    #[test]
    fn comments_stay_with_what_they_were_taken_from() {
        // A list in an item of a list, as ports in a container.
        let ports = [
            "",
            "    # - 2\n",
            "    # - p: 2\n    #   q: 3\n",
            "    # see below\n    # - p: 2\n    #   q: 3\n",
            "\n    # - p: 2\n",
            "    #- p: 2\n    #  q: 3\n",
            "    # -\tp: 2\n",
            "    # -\n    #   p: 2\n",
            "      # deeper\n",
            "#    - p: 2\n#      q: 3\n",
            "#     - p: 2\n",
            "#      # q: 3\n",
            "    # - p: 2\n    # - r: 3\n\n    # - t: 4\n",
        ];
        // What follows is about something else.
        let others = [
            "",
            "  # - b: 2\n  #   ports:\n  #   - p: 2\n",
            "#  - b: 2\n#    ports:\n#    - p: 2\n",
            "#   - b: 2\n#     ports:\n#     - p: 2\n",
            "\n    # prose\n",
            "# - end\n",
            "# end\n",
        ];
        for (mine, other) in ports.iter().flat_map(|mine| others.iter().map(move |other| (mine, other))) {
            for list in ["    - p: 1\n", "    - p: 1 # - x\n", "    - p: 1\n      q: 2\n"] {
                let head = format!("c:\n  l:\n  - b: 1\n    ports:\n{list}{mine}");
                for rest in ["", "  - b: 2\n", "d: 1\n"] {
                    assert_added_at_plus(&format!("{head}+\n{other}{rest}"));
                }
                // Right below the list, a comment is about it, or about what follows it.
                for prose in ["    # prose\n", "    # key: value\n    # more\n", "#    key: value\n"] {
                    assert_added_at_plus(&format!("{head}+\n{prose}  - b: 2\n"));
                    if !other.starts_with('\n') {
                        for rest in ["", "d: 1\n", "\n  - b: 2\n"] {
                            assert_added_at_plus(&format!("{head}{prose}+\n{other}{rest}"));
                        }
                    }
                }
            }
        }
        // Lists that are indented by more than their keys.
        for mine in ["      # - 2\n", "    # - 2\n", "    #   - 2\n", "#      - 2\n", "#       - 2\n"] {
            assert_added_at_plus(&format!(
                "c:\n  l:\n  - b: 1\n    ports:\n      - 1\n{mine}+\n\n    # d: 1\n"
            ));
        }
        // In flow style there are no items to comment out below it.
        assert_added_at_plus("c:\n  l:\n  - b: 1\n    ports: [1]\n+\n    # - 2\n  - b: 2\n");
        // A list at the end of a map at the end.
        assert_added_at_plus(
            "c:\n  l:\n  - b: 1\n    m:\n      n:\n      - 1\n#      - 2\n#      o: 1\n+\n# end\n",
        );
    }

    #[test]
    fn of_equal_keys_the_last_one_is_edited() {
        let table = [
            ("a: {b: 1}\na: {b: 2}\n", "a: {b: 1}\na: {b: 2, c: 3}\n"),
            ("a:\n  b: 1\na:\n  b: 2\nd: 1\n", "a:\n  b: 1\na:\n  b: 2\n  c: 3\nd: 1\n"),
            ("<<: {a: {b: 1}}\na: {b: 2}\n", "<<: {a: {b: 1}}\na: {b: 2, c: 3}\n"),
        ];
        let parse = |text: &str| {
            let source = Source::new(Name::Stdin, text.to_owned());
            documents::split(&source).0[0].parse().unwrap().to_value()
        };
        let changed = |text: &str| {
            let from = parse(text);
            let mut to = from.clone();
            to["a"]["c"] = json!(3);
            let syntax = Syntax::read(text).unwrap().unwrap();
            edits(text, &syntax, &[], &from, &to).map(|edits| apply(text, edits).unwrap())
        };
        for (text, expected) in table {
            assert_eq!(changed(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(parse(expected)["a"], json!({"b": 2, "c": 3}));
        }
        let error = changed("a: {b: 2}\n<<: {a: {b: 1}}\n").unwrap_err();
        assert!(error.message.starts_with("a comes from a merge key"), "{}", error.message);
    }

    #[test]
    fn what_cannot_be_edited_is_named() {
        let table = [
            ("a: &a {}\nb: *a\n", json!({"a": {"c": 1}, "b": {}}), "a has an anchor that aliases refer to"),
            ("a: &a {}\nb: *a\n", json!({"a": {}, "b": {"c": 1}}), "b is an alias"),
            ("<<: {a: {}}\n", json!({"a": {"c": 1}}), "a comes from a merge key"),
            ("a: 1\n", json!({}), "a has to be removed"),
            ("a: |-\n  25%\n", json!({"a": 0}), "a is a block scalar"),
            ("a: [b: 1]\n", json!({"a": [{"b": 1, "c": 2}]}), "a[0] is written in a way"),
        ];
        for (text, to, expected) in table {
            let message = edited(text, &to).unwrap_err();
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn edits_that_overlap_are_refused() {
        let edit = |start, end| Edit { start, end, depth: 0, text: "x".to_owned() };
        assert_eq!(apply("abc", vec![edit(1, 2), edit(0, 1)]).as_deref(), Some("xxc"));
        assert_eq!(apply("abc", vec![edit(0, 2), edit(1, 3)]), None);
        assert_eq!(apply("abc", vec![edit(4, 4)]), None);
    }
}
