//! What changed in a file, as a unified diff.
//!
//! The edits are known, so nothing has to be compared: that would take time in
//! proportion to the square of the number of changes.

use std::fmt::Write;
use std::ops::Range;

use super::edit::{self, Edit};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Lines of the old text, and the lines in their place.
struct Change {
    old: Range<usize>,
    new: String,
}

/// The unified diff of `text` and what `edits` make of it, as `patch` reads it;
/// empty if there are none.
pub fn unified(name: &str, text: &str, edits: Vec<Edit>) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let changes = changes(text, &lines, edits);
    let mut diff = String::new();
    if !changes.is_empty() {
        diff = format!("--- {name}\n+++ {name}\n");
    }
    // Lines that the new text has more than the old one.
    let mut added = 0;
    let is_near =
        |before: &Change, after: &Change| after.old.start.saturating_sub(before.old.end) <= 2 * CONTEXT;
    for hunk in changes.chunk_by(is_near) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let old = first.old.start.saturating_sub(CONTEXT)..(last.old.end + CONTEXT).min(lines.len());
        let new_start = old.start + added;
        let mut body = String::new();
        let mut position = old.start;
        for change in hunk {
            write_lines(' ', lines.get(position..change.old.start), &mut body);
            write_lines('-', lines.get(change.old.clone()), &mut body);
            let new: Vec<_> = change.new.split_inclusive('\n').collect();
            write_lines('+', Some(&new), &mut body);
            added = added + new.len() - change.old.len();
            position = change.old.end;
        }
        write_lines(' ', lines.get(position..old.end), &mut body);
        let new = new_start..old.end + added;
        // Writing to memory does not fail.
        let _ = write!(diff, "@@ -{} +{} @@\n{body}", numbers(&old), numbers(&new));
    }
    diff
}

/// The lines that the edits change, in order.
fn changes(text: &str, lines: &[&str], edits: Vec<Edit>) -> Vec<Change> {
    let mut starts: Vec<usize> = Vec::with_capacity(lines.len());
    let mut offset = 0;
    for line in lines {
        starts.push(offset);
        offset += line.len();
    }
    let line_of = |offset: usize| starts.partition_point(|start| *start <= offset).saturating_sub(1);

    // Edits by the lines that they touch. New lines between two touch none.
    let mut groups: Vec<(Range<usize>, Vec<Edit>)> = Vec::new();
    for edit in edit::in_order(edits) {
        let is_new_line = text.get(..edit.start).is_some_and(|before| before.ends_with('\n'))
            && edit.start == edit.end
            && edit.text.ends_with('\n');
        let touched = match is_new_line {
            true if edit.start == text.len() => lines.len()..lines.len(),
            true => line_of(edit.start)..line_of(edit.start),
            false => line_of(edit.start)..line_of(edit.end) + 1,
        };
        match groups.last_mut() {
            Some((lines, group)) if touched.start < lines.end || touched == *lines => {
                lines.end = lines.end.max(touched.end);
                group.push(edit);
            }
            _ => groups.push((touched, vec![edit])),
        }
    }

    let start_of = |line: usize| starts.get(line).copied().unwrap_or(text.len());
    let change = |(old, edits): (Range<usize>, Vec<Edit>)| {
        let (start, end) = (start_of(old.start), start_of(old.end));
        let edits = edits.into_iter().map(|edit| edit.within(start)).collect();
        let new = edit::apply(text.get(start..end)?, edits)?;
        Some(Change { old, new })
    };
    groups.into_iter().filter_map(change).collect()
}

fn write_lines(sign: char, lines: Option<&[&str]>, body: &mut String) {
    for line in lines.into_iter().flatten() {
        body.push(sign);
        body.push_str(line);
        if !line.ends_with('\n') {
            body.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// The numbers of lines as a hunk's head has them: the first one, from 1 on,
/// and how many, if not one. Of no lines, the number of the line before.
fn numbers(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        many => format!("{},{many}", lines.start + 1),
    }
}
