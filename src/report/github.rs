//! For GitHub Actions: workflow commands, which appear beside the changed lines
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use super::Entry;
use super::files::Checked;
use crate::admission::Outcome;
use crate::offline::source::{Name, Place};
use crate::printable::printable_lines;

/// The report as workflow commands, and the numbers as an ordinary line. What is
/// waived is left out.
pub fn write(checked: &Checked) -> String {
    let mut text = String::new();
    for entry in &checked.report.entries {
        match entry {
            Entry::Judged(judgement) => {
                for found in &judgement.findings {
                    let level = match found.judged.outcome {
                        Outcome::Deny => "error",
                        Outcome::Warn | Outcome::Old => "warning",
                        Outcome::Audit => "notice",
                        Outcome::Waived => continue,
                    };
                    let finding = &found.judged.finding;
                    let message = format!(
                        "{} of {}: {}\nfix: {}\nwhy: gapless rules {}",
                        finding.field, judgement.subject, finding.message, finding.fix, finding.rule
                    );
                    text.push_str(&command(level, found.place.as_ref(), finding.rule, &message));
                }
                for problem in &judgement.problems {
                    let message = format!("{}: {}", judgement.subject, problem.message);
                    text.push_str(&command("warning", problem.place.as_ref(), &problem.id, &message));
                }
                for note in &judgement.notes {
                    let message = format!("{}: {}", judgement.subject, note.message);
                    text.push_str(&command("notice", note.place.as_ref(), "note", &message));
                }
            }
            Entry::Error(error) => {
                let hint = error.hint.iter().map(|hint| format!("\n{hint}"));
                let message = format!("{}{}", error.message, hint.collect::<String>());
                text.push_str(&command("error", Some(&error.place), "cannot be read", &message));
            }
            Entry::Skipped(_) => {}
        }
    }
    // A line that begins with two colons would be a command.
    let summary = checked.line();
    text + &escape(&summary) + "\n"
}

fn command(level: &str, place: Option<&Place>, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    // Only a file of the repository can be shown.
    if let Some(Place { name: Name::Path(path), position, .. }) = place {
        properties.push(("file", path.display().to_string()));
        if let Some(position) = position {
            properties.push(("line", position.line.to_string()));
            properties.push(("col", position.column.to_string()));
        }
    }
    properties.push(("title", title.to_owned()));
    let properties: Vec<_> =
        properties.iter().map(|(name, value)| format!("{name}={}", escape_property(value))).collect();
    format!("::{level} {}::{}\n", properties.join(","), escape(message))
}

/// As GitHub's own toolkit escapes a message (actions/toolkit,
/// packages/core/src/command.ts). The log shows what it gets.
fn escape(text: &str) -> String {
    printable_lines(text).replace('%', "%25").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::source::Position;

    #[test]
    fn nothing_breaks_out_of_a_command() {
        let name = Name::Path("a,b:100%\n.yaml".into());
        let place = Place { name, position: Some(Position { line: 3, column: 5 }), excerpt: None };
        assert_eq!(
            command("error", Some(&place), "a:b", "50%, x:\u{1b}y\r\n::error::z"),
            "::error file=a%2Cb%3A100%25%0A.yaml,line=3,col=5,title=a%3Ab::50%25, x:\u{fffd}y %0A::error::z\n"
        );
        let place = Place { name: Name::Stdin, ..place };
        assert_eq!(command("notice", Some(&place), "t", "m"), "::notice title=t::m\n");
    }
}
