//! How long a container waits before it is told to stop.

use std::time::Duration;

use super::object::LifecycleHandler;

/// `sleep infinity`, and sums that would overflow.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Shells that run the script after `-c`.
const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "zsh"];

impl LifecycleHandler<'_> {
    /// How long this hook certainly sleeps: the native action, or the `sleep`
    /// commands that an exec hook is sure to run. Zero if nothing can be told.
    pub fn sleeps(&self) -> Duration {
        if let Some(sleep) = &self.sleep {
            return Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        }
        self.exec.as_ref().map_or(Duration::ZERO, |exec| exec_sleeps(&exec.command))
    }

    /// Whether an exec hook runs `sleep`.
    pub fn sleeps_by_exec(&self) -> bool {
        self.sleep.is_none() && !self.sleeps().is_zero()
    }
}

fn exec_sleeps(command: &[&str]) -> Duration {
    let Some((program, arguments)) = command.split_first() else { return Duration::ZERO };
    match program.rsplit('/').next() {
        Some("sleep") => sleep_arguments(arguments.iter().copied()),
        Some(shell) if SHELLS.contains(&shell) => {
            let is_command_flag = |argument: &&&str| {
                argument.starts_with('-') && !argument.starts_with("--") && argument.ends_with('c')
            };
            let script = arguments.iter().skip_while(|argument| !is_command_flag(argument)).nth(1);
            script.map_or(Duration::ZERO, |script| script_sleeps(script))
        }
        _ => Duration::ZERO,
    }
}

/// Adds up the `sleep` commands that a shell script runs one after the other.
///
/// A command in the background, after `||`, or inside a compound command such
/// as `if` or `while`, may run at another time or not at all, and is left out.
fn script_sleeps(script: &str) -> Duration {
    let mut total = Duration::ZERO;
    let mut only_on_failure = false;
    for (command, end) in split_script(script) {
        let words: Vec<&str> = command.split_whitespace().skip_while(|word| *word == "exec").collect();
        let runs = !only_on_failure && !matches!(end, Separator::Background | Separator::Pipe);
        if let Some((program, arguments)) = words.split_first()
            && runs
            && program.rsplit('/').next() == Some("sleep")
        {
            total = total
                .saturating_add(sleep_arguments(arguments.iter().map(|word| word.trim_matches(['"', '\'']))));
        }
        if words.first().is_some_and(|word| *word == "exit") && runs {
            break;
        }
        only_on_failure = matches!(end, Separator::Or);
    }
    total.min(FOREVER)
}

/// What ends a command of a shell script.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Separator {
    Sequence,
    Background,
    Or,
    Pipe,
}

/// Splits a shell script at `;`, `&`, `|`, `&&`, `||` and line ends that are
/// not quoted.
fn split_script(script: &str) -> Vec<(String, Separator)> {
    let mut commands = Vec::new();
    let mut command = String::new();
    let mut quote = None;
    let mut characters = script.chars().peekable();
    while let Some(character) = characters.next() {
        let separator = match (character, quote) {
            (_, Some(open)) => {
                quote = (character != open).then_some(open);
                None
            }
            ('"' | '\'', None) => {
                quote = Some(character);
                None
            }
            (';' | '\n', None) => Some(Separator::Sequence),
            ('&', None) if characters.next_if_eq(&'&').is_some() => Some(Separator::Sequence),
            // `2>&1` is a redirection, not the end of a command.
            ('&', None) if !command.ends_with('>') => Some(Separator::Background),
            ('|', None) if characters.next_if_eq(&'|').is_some() => Some(Separator::Or),
            ('|', None) => Some(Separator::Pipe),
            _ => None,
        };
        match separator {
            Some(separator) => commands.push((std::mem::take(&mut command), separator)),
            None => command.push(character),
        }
    }
    commands.push((command, Separator::Sequence));
    commands
}

/// The sum of the arguments of one `sleep`: numbers with an optional unit `s`,
/// `m`, `h` or `d` (GNU coreutils and busybox alike). Zero if any is something
/// else, such as a variable.
fn sleep_arguments<'a>(arguments: impl Iterator<Item = &'a str>) -> Duration {
    let is_redirection = |argument: &&str| !argument.contains(['>', '<']);
    let mut total = Duration::ZERO;
    for argument in arguments.take_while(is_redirection) {
        let Some(duration) = sleep_argument(argument) else { return Duration::ZERO };
        total = total.saturating_add(duration);
    }
    total.min(FOREVER)
}

fn sleep_argument(argument: &str) -> Option<Duration> {
    if argument == "infinity" || argument == "inf" {
        return Some(FOREVER);
    }
    let (number, unit) = match argument.char_indices().last()? {
        (end, 's') => (argument.get(..end)?, 1.0),
        (end, 'm') => (argument.get(..end)?, 60.0),
        (end, 'h') => (argument.get(..end)?, 3_600.0),
        (end, 'd') => (argument.get(..end)?, 86_400.0),
        _ => (argument, 1.0),
    };
    let is_number = |character: char| character.is_ascii_digit() || character == '.';
    if !number.chars().all(is_number) {
        return None;
    }
    let seconds: f64 = number.parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds * unit).unwrap_or(FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(command: &[&str]) -> f64 {
        exec_sleeps(command).as_secs_f64()
    }

    #[test]
    fn sleeps_of_odd_commands() {
        #[rustfmt::skip]
        let table: [(&[&str], f64); 31] = [
            (&["sleep", "10"], 10.0),
            (&["/bin/sleep", "10"], 10.0),
            (&["sleep", "1m"], 60.0),
            (&["sleep", "1m", "30s"], 90.0),
            (&["sleep", "0.5"], 0.5),
            (&["sleep", "1h"], 3600.0),
            (&["sleep", "1d"], 86400.0),
            (&["sleep"], 0.0),
            (&["sleep", "$SECONDS"], 0.0),
            (&["sleep", "-5"], 0.0),
            (&["sleep", "nan"], 0.0),
            (&["sleep", "infinity"], u32::MAX as f64),
            (&[], 0.0),
            (&["nginx", "-s", "quit"], 0.0),
            (&["/bin/sh", "-c", "sleep 10"], 10.0),
            (&["/bin/bash", "-lc", "sleep 10; nginx -s quit"], 10.0),
            (&["sh", "-e", "-c", "sleep 10 && sleep 5"], 15.0),
            (&["sh", "-c", "echo bye; sleep 1m"], 60.0),
            (&["sh", "-c", "sleep 10\nsleep 20"], 30.0),
            (&["sh", "-c", "sleep 10 &"], 0.0),
            (&["sh", "-c", "sleep 10 & wait"], 0.0),
            (&["sh", "-c", "true || sleep 10"], 0.0),
            (&["sh", "-c", "sleep 10 || true"], 10.0),
            (&["sh", "-c", "echo 'sleep 10; sleep 20'"], 0.0),
            (&["sh", "-c", "exec sleep 10"], 10.0),
            (&["sh", "-c", "sleep 10 > /dev/null 2>&1"], 10.0),
            (&["sh", "-c", "sleep \"10\""], 10.0),
            (&["sh", "-c", "while true; do sleep 1; done"], 0.0),
            (&["sh", "-c", "exit 0; sleep 10"], 0.0),
            (&["sh", "-c"], 0.0),
            (&["sh", "script.sh"], 0.0),
        ];
        for (command, expected) in table {
            assert_eq!(seconds(command), expected, "{command:?}");
        }
    }

    proptest! {
        #[test]
        fn any_command_has_an_answer(words in prop::collection::vec(".{0,20}", 0..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = exec_sleeps(&words);
            let script = words.join(" ");
            prop_assert!(exec_sleeps(&["sh", "-c", &script]) <= FOREVER);
        }

        #[test]
        fn a_script_sleeps_the_sum_of_its_parts(parts in prop::collection::vec(0u32..1000, 1..5)) {
            let script = parts.iter().map(|part| format!("sleep {part}")).collect::<Vec<_>>().join("; ");
            let sum: u32 = parts.iter().sum();
            prop_assert_eq!(exec_sleeps(&["sh", "-c", &script]), Duration::from_secs(sum.into()));
        }
    }
}
