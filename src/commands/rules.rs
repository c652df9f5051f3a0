//! `gapless rules`: the rules and defaults, or one page, which may be about a way to release.

use std::fmt::Write;
use std::process::ExitCode;

use anstyle::Style;
use serde_json::json;

use super::output;
use crate::cli::{RulesArguments, RulesFormat};
use crate::defaults::DEFAULTS;
use crate::finding::Action;
use crate::nearest::nearest;
use crate::patterns::{PATTERNS, Pattern};
use crate::policy::Profile;
use crate::rules::RULES;

const BOLD: Style = Style::new().bold();

/// Width of the table: that of the terminal within these limits, and the
/// larger one where there is no terminal.
const WIDTHS: (usize, usize) = (80, 100);

/// A line of the table, and the page behind it.
struct Row {
    id: &'static str,
    kind: &'static str,
    production: &'static str,
    development: &'static str,
    summary: &'static str,
    page: &'static str,
}

/// Writes the table, or the page that was asked for.
///
/// # Errors
/// If there is no page of that id, or the output cannot be written.
pub fn run(arguments: &RulesArguments) -> anyhow::Result<ExitCode> {
    let rows: Vec<Row> = rules().chain(defaults()).collect();
    let Some(id) = &arguments.id else {
        match arguments.format {
            RulesFormat::Text => output::print(&table(&rows, width()))?,
            RulesFormat::Json => print_json(&rows.iter().map(Row::json).collect())?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let row = rows.iter().find(|row| row.id == id);
    let pattern = PATTERNS.iter().find(|pattern| pattern.id == id);
    let (page, json) = match (row, pattern) {
        (Some(row), _) => (row.page, row.json()),
        (None, Some(pattern)) => (pattern.page, json(pattern)),
        (None, None) => return Err(unknown(id, &rows)),
    };
    match arguments.format {
        RulesFormat::Text => output::print(&styled(page))?,
        RulesFormat::Json => print_json(&json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn rules() -> impl Iterator<Item = Row> {
    let profiles = (Profile::production(), Profile::development());
    RULES.iter().map(move |rule| Row {
        id: rule.id,
        kind: "rule",
        production: word(profiles.0.action(rule)),
        development: word(profiles.1.action(rule)),
        summary: rule.summary,
        page: rule.page,
    })
}

fn defaults() -> impl Iterator<Item = Row> {
    let profiles = (Profile::production(), Profile::development());
    let on = |is_enabled: bool| if is_enabled { "On" } else { "Off" };
    DEFAULTS.iter().map(move |default| Row {
        id: default.id,
        kind: "default",
        production: on((default.is_enabled)(&profiles.0.settings)),
        development: on((default.is_enabled)(&profiles.1.settings)),
        summary: default.summary,
        page: default.page,
    })
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Deny => "Deny",
        Action::Warn => "Warn",
        Action::Audit => "Audit",
        Action::Off => "Off",
    }
}

fn unknown(id: &str, rows: &[Row]) -> anyhow::Error {
    let patterns = PATTERNS.iter().map(|pattern| pattern.id);
    match nearest(id, rows.iter().map(|row| row.id).chain(patterns)) {
        Some(nearest) => anyhow::anyhow!("there is no page about {id:?}; did you mean {nearest}?"),
        None => anyhow::anyhow!("there is no page about {id:?}; gapless rules lists them"),
    }
}

fn width() -> usize {
    let (least, most) = WIDTHS;
    terminal_size::terminal_size().map_or(most, |(width, _)| usize::from(width.0).clamp(least, most))
}

/// The rules, then the defaults, then the names of the ways to release, which neither find
/// nor inject anything. The summary is broken into lines.
fn table(rows: &[Row], width: usize) -> String {
    let id_width = rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (kind, title, what) in [("rule", "RULE", "FINDS"), ("default", "DEFAULT", "INJECTS")] {
        if !text.is_empty() {
            text.push('\n');
        }
        line(&mut text, [&format!("{BOLD}{title:id_width$}"), "PROD ", "DEV  ", &format!("{what}{BOLD:#}")]);
        for row in rows.iter().filter(|row| row.kind == kind) {
            let (production, development) =
                (format!("{:5}", row.production), format!("{:5}", row.development));
            let head = format!("{:id_width$}", row.id);
            let indent = head.len() + production.len() + development.len() + 6;
            let mut lines = wrap(row.summary, width.saturating_sub(indent)).into_iter();
            let first = lines.next().unwrap_or_default();
            line(&mut text, [&head, &production, &development, &first]);
            for more in lines {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{:indent$}{more}", "");
            }
        }
    }
    text.push_str("\nPROD and DEV are the profiles production and development. More: gapless rules ID\n");
    let patterns: Vec<&str> = PATTERNS.iter().map(|pattern| pattern.id).collect();
    let more = format!("ID may be a way to release, too: {}", patterns.join(", "));
    for line in wrap(&more, width.saturating_sub(4)) {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn line(text: &mut String, columns: [&str; 4]) {
    text.push_str(&columns.join("  "));
    text.push('\n');
}

/// The words of `text` in lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A page with its headings in bold, which a pipe does not show.
fn styled(page: &str) -> String {
    let mut text = String::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        match line.starts_with('#') && !is_code {
            true => text.push_str(&format!("{BOLD}{line}{BOLD:#}\n")),
            false => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

impl Row {
    fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "kind": self.kind,
            "production": self.production,
            "development": self.development,
            "summary": self.summary,
            "page": self.page,
        })
    }
}

fn json(pattern: &Pattern) -> serde_json::Value {
    let Pattern { id, summary, page } = pattern;
    json!({"id": id, "kind": "pattern", "summary": summary, "page": page})
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    Ok(output::print_plain(&(serde_json::to_string_pretty(value)? + "\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_its_width() {
        let rows: Vec<Row> = rules().chain(defaults()).collect();
        let plain = |width| anstream::adapter::strip_str(&table(&rows, width)).to_string();
        for width in [80, 90, 100] {
            let table = plain(width);
            for line in table.lines() {
                assert!(line.chars().count() <= width && line.trim_end() == line, "{line:?}");
            }
            // No word is lost.
            let words: Vec<_> = table.split_whitespace().collect();
            for row in &rows {
                assert!(words.contains(&row.id));
                assert!(row.summary.split_whitespace().all(|word| words.contains(&word)), "{}", row.id);
            }
        }
    }

    #[test]
    fn a_comment_in_a_code_block_is_no_heading() {
        let page = "# title\n```yaml\n# comment\n```\n## more\n";
        assert_eq!(
            styled(page),
            format!("{BOLD}# title{BOLD:#}\n```yaml\n# comment\n```\n{BOLD}## more{BOLD:#}\n")
        );
    }
}
