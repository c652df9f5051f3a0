//! What the commands of a preStop hook do to the process and how long they take.

use std::collections::HashMap;
use std::time::Duration;

use super::shell::{self, Command, List, Pipeline, Simple, Word};

/// `sleep infinity`, and sums that would overflow.
pub const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Shells that run the script after `-c`.
const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "zsh", "ksh", "mksh"];

/// Programs that neither wait nor tell anybody anything.
const SAY: [&str; 10] =
    ["echo", "printf", "date", "test", "[", "false", "pwd", "whoami", "hostname", "logger"];

/// Programs that do not wait, but may leave something for somebody to see.
const LEAVE: [&str; 20] = [
    "cd", "export", "unset", "readonly", "local", "declare", "typeset", "umask", "ulimit", "trap", "shopt",
    "touch", "mkdir", "rm", "mv", "cp", "ln", "ls", "chmod", "cat",
];

/// Programs that look up processes, also in the substitution that makes up an argument.
const LOOK_UP: [&str; 16] = [
    "cat", "pidof", "pgrep", "ps", "grep", "egrep", "awk", "head", "cut", "tr", "sed", "sort", "uniq",
    "echo", "printf", "lsof",
];

/// Programs of which a word such as `stop` says little: they send texts to servers, or are
/// builtins of the shell.
const OTHER: [&str; 15] = [
    "curl", "wget", "nc", "ncat", "http", "grpcurl", "break", "continue", "shift", "wait", "read", "type",
    "hash", "let", "jobs",
];

/// Parts of the names of what tells a process to end, in whatever way.
const TELLING: [&str; 9] =
    ["kill", "stop", "quit", "term", "shutdown", "shut-down", "drain", "graceful", "halt"];

/// Programs within programs. Deeper ones are not looked at.
const DEEPEST: usize = 8;

/// Something that a hook certainly does, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It waits.
    Sleep(Duration),
    /// It calls `sleep` in a way that fails at once.
    FailingSleep,
    /// It tells the process to end, by this command.
    Stop(String),
    /// It takes no time and has no effect at all.
    Nothing,
    /// It takes no time.
    Instant {
        /// Whether it may be what tells the process to end.
        may_stop: bool,
    },
    /// It does something else, or something that depends on what cannot be known.
    Unknown {
        /// Whether it may be what tells the process to end.
        may_stop: bool,
    },
}

/// What the command of an exec hook does. No shell is between it and its words.
pub fn of_command(command: &[&str]) -> Vec<Step> {
    let Some((program, arguments)) = command.split_first() else {
        return vec![Step::Unknown { may_stop: false }];
    };
    // No program is called `sleep 10`, or `sh -c "sleep 10"`.
    let calls_sleep =
        |text: &str| text.split_whitespace().any(|word| name_of(word.trim_matches(['"', '\''])) == "sleep");
    let is_script = |script: &&str| *script == "sleep" || script.contains(' ') && calls_sleep(script);
    let reads_sleep = SHELLS.contains(&name_of(program)) && arguments.first().is_some_and(is_script);
    if program.contains(' ') && calls_sleep(program) || reads_sleep {
        return vec![Step::FailingSleep];
    }
    let words: Vec<Word> = command.iter().map(|word| Word::literal(word)).collect();
    of_words(&words, 0)
}

/// What a script does that a shell is given these options for.
fn of_script(script: &str, options: Options, depth: usize) -> Vec<Step> {
    let Some(lists) = shell::parse(script).filter(|_| depth < DEEPEST && !options.runs_nothing) else {
        return vec![Step::Unknown { may_stop: true }];
    };
    let mut reader = Reader { options, depth, ..Reader::default() };
    for list in &lists {
        if reader.list(list) == Then::Ends {
            break;
        }
    }
    reader.steps
}

/// What a shell does when something goes wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    exits_on_error: bool,
    exits_on_unset: bool,
    runs_nothing: bool,
}

impl Options {
    /// Takes one argument such as `-eu`; `name` is the one behind `-o`.
    fn take(&mut self, argument: &str, name: Option<&str>) {
        let is_on = argument.starts_with('-');
        let mut set = |letter| match letter {
            'e' => self.exits_on_error = is_on,
            'u' => self.exits_on_unset = is_on,
            'n' => self.runs_nothing = is_on,
            _ => {}
        };
        argument.chars().skip(1).for_each(&mut set);
        match name {
            Some("errexit") => set('e'),
            Some("nounset") => set('u'),
            Some("noexec") => set('n'),
            _ => {}
        }
    }
}

/// Whether what follows certainly runs too.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    GoesOn,
    Ends,
}

/// What is hidden in a part of a script that is not looked into.
#[derive(Clone, Copy, Debug, Default)]
struct Hidden {
    may_stop: bool,
    /// Whether the script may end there, or go on in another way.
    may_end: bool,
}

impl Hidden {
    fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        // An error of one of its own builtins, such as a name that is none, ends a POSIX shell.
        const ENDINGS: [&str; 14] = [
            "exit",
            "return",
            "exec",
            "eval",
            ".",
            "source",
            "set",
            "alias",
            "$$",
            shell::FUNCTION,
            "export",
            "readonly",
            "unset",
            "shift",
        ];
        texts.fold(Hidden::default(), |hidden, text| Hidden {
            may_stop: hidden.may_stop || may_tell(text),
            may_end: hidden.may_end || ENDINGS.contains(&text),
        })
    }
}

/// Whether a text may be about telling a process to end.
fn may_tell(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    TELLING.iter().any(|word| text.contains(word))
}

#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
    functions: HashMap<String, Hidden>,
    options: Options,
    has_background: bool,
    depth: usize,
}

impl Reader {
    fn list(&mut self, list: &List) -> Then {
        let rest = || list.rest.iter().flat_map(|(_, pipeline)| &pipeline.commands);
        if list.is_background {
            let all = list.first.commands.iter().chain(rest());
            let hidden = Hidden::of(all.flat_map(Command::texts));
            self.has_background = true;
            self.steps.push(Step::Unknown { may_stop: hidden.may_stop });
            return Then::GoesOn;
        }
        let before = self.steps.len();
        if self.pipeline(&list.first) == Then::Ends {
            return Then::Ends;
        }
        let mut may_fail = may_fail(&list.first, self.steps.get(before..).unwrap_or_default());
        if !list.rest.iter().all(|(_, pipeline)| does_nothing(pipeline)) {
            let hidden = Hidden::of(rest().flat_map(Command::texts));
            may_fail = true;
            if self.hidden(hidden) == Then::Ends {
                return Then::Ends;
            }
        } else if list.rest.last().is_some_and(|(is_and, _)| !is_and) {
            may_fail = false;
        }
        let has_expansions = || list.first.commands.iter().chain(rest()).any(has_expansions);
        let may_exit =
            self.options.exits_on_error && may_fail || self.options.exits_on_unset && has_expansions();
        if may_exit {
            self.steps.push(Step::Unknown { may_stop: false });
            return Then::Ends;
        }
        Then::GoesOn
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Then {
        if let Some(command) = stops_what_it_looks_up(pipeline) {
            self.steps.push(Step::Stop(command));
            return Then::GoesOn;
        }
        match &pipeline.commands[..] {
            [command] if !pipeline.is_negated => self.command(command),
            commands => self.hidden(Hidden::of(commands.iter().flat_map(Command::texts))),
        }
    }

    fn hidden(&mut self, hidden: Hidden) -> Then {
        self.steps.push(Step::Unknown { may_stop: hidden.may_stop });
        if hidden.may_end { Then::Ends } else { Then::GoesOn }
    }

    fn command(&mut self, command: &Command) -> Then {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(texts) => self.hidden(Hidden::of(texts.iter().map(String::as_str))),
            Command::Function(name, texts) => {
                self.functions.insert(name.clone(), Hidden::of(texts.iter().map(String::as_str)));
                Then::GoesOn
            }
        }
    }

    fn simple(&mut self, simple: &Simple) -> Then {
        let mut told = Hidden::of(simple.texts());
        told.may_end = false;
        let substitutions =
            || simple.assignments.iter().chain(&simple.words).flat_map(|it| &it.substitutions);
        // What comes out of a file or a program may take its time.
        let waits = simple.reads.iter().any(|file| file.text != "/dev/null")
            || !simple.documents.is_empty()
            || !substitutions().all(|script| only_looks_up(script));
        let Some((program, arguments)) = simple.words.split_first() else {
            let leaves = simple.writes.iter().any(|file| may_tell(&file.text));
            self.steps.push(if waits {
                Step::Unknown { may_stop: told.may_stop }
            } else {
                Step::Instant { may_stop: leaves }
            });
            return Then::GoesOn;
        };
        if !program.is_literal || self.functions.contains_key(&program.text) {
            let function = self.functions.get(&program.text).copied();
            return self.hidden(function.unwrap_or(Hidden { may_stop: true, may_end: false }));
        }
        match program.text.as_str() {
            "exit" | "return" => {
                self.steps.push(if waits { Step::Unknown { may_stop: true } } else { Step::Nothing });
                return Then::Ends;
            }
            name if waits => {
                let may_end = matches!(name, "exec" | "set" | "." | "source" | "eval" | "alias");
                return self.hidden(Hidden { may_end, ..told });
            }
            "exec" if arguments.is_empty() => self.steps.push(Step::Nothing),
            "exec" => {
                self.steps.extend(of_words(without_exec_options(arguments), self.depth));
                return Then::Ends;
            }
            "set" => {
                let mut names = arguments.iter().skip(1);
                for argument in arguments.iter().take_while(|it| it.text != "--") {
                    let name = names.next().filter(|_| argument.text.ends_with('o'));
                    if argument.text.starts_with(['-', '+']) {
                        self.options.take(&argument.text, name.map(|name| name.text.as_str()));
                    }
                }
                self.steps.push(Step::Nothing);
                return if self.options.runs_nothing { Then::Ends } else { Then::GoesOn };
            }
            "." | "source" | "eval" | "alias" => {
                return self.hidden(Hidden { may_stop: true, may_end: true });
            }
            // A name that is none ends a POSIX shell.
            "export" | "readonly" | "unset" if !arguments.iter().all(is_name) => {
                return self.hidden(Hidden { may_end: true, ..told });
            }
            "kill" | "pkill" | "killall" if self.has_background => return self.hidden(told),
            _ => self.steps.extend(of_words(&simple.words, self.depth)),
        }
        let leaves = simple.writes.iter().any(|file| may_tell(&file.text));
        if let (true, Some(Step::Instant { may_stop })) = (leaves, self.steps.last_mut()) {
            *may_stop = true;
        }
        Then::GoesOn
    }
}

/// Whether a word is a variable's name, with or without a value.
fn is_name(word: &Word) -> bool {
    let name = word.text.split('=').next().unwrap_or_default();
    let is_start = |it: char| it.is_ascii_alphabetic() || it == '_';
    name.starts_with(is_start) && name.chars().all(|it| is_start(it) || it.is_ascii_digit())
}

/// `exec -a name program`
fn without_exec_options(arguments: &[Word]) -> &[Word] {
    match arguments {
        [option, _, rest @ ..] if option.text == "-a" => rest,
        [option, rest @ ..] if option.text == "-c" || option.text == "-l" => rest,
        _ => arguments,
    }
}

fn has_expansions(command: &Command) -> bool {
    match command {
        Command::Simple(simple) => {
            simple.assignments.iter().chain(&simple.words).any(|word| !word.is_literal)
        }
        _ => true,
    }
}

/// Whether a pipeline may end with an error, where it took these steps.
fn may_fail(pipeline: &Pipeline, steps: &[Step]) -> bool {
    let says_something = |command: &Command| match command {
        Command::Simple(simple) => {
            simple.words.first().is_none_or(|program| matches!(program.text.as_str(), "echo" | "printf"))
        }
        Command::Function(..) => true,
        Command::Compound(_) => false,
    };
    let goes_well = |step: &Step| matches!(step, Step::Sleep(_) | Step::Nothing);
    !steps.iter().all(goes_well) && !pipeline.commands.iter().all(says_something)
}

/// `true` and `:`, as in `sleep 5 || true`.
fn does_nothing(pipeline: &Pipeline) -> bool {
    match &pipeline.commands[..] {
        [Command::Simple(simple)] => {
            let word = simple.words.first().map(|word| word.text.as_str());
            !pipeline.is_negated && simple.words.len() == 1 && matches!(word, Some("true" | ":"))
        }
        _ => false,
    }
}

/// Whether a script only looks for something, as in `kill $(pidof nginx)`.
fn only_looks_up(script: &str) -> bool {
    let looks_up = |command: &Command| match command {
        Command::Simple(simple) => {
            let program = simple.words.first().map(|word| name_of(&word.text));
            let has_substitutions = simple.words.iter().any(|word| !word.substitutions.is_empty());
            program.is_none_or(|program| LOOK_UP.contains(&program)) && !has_substitutions
        }
        _ => false,
    };
    let is_plain =
        |list: &List| !list.is_background && list.rest.is_empty() && list.first.commands.iter().all(looks_up);
    shell::parse(script).is_some_and(|lists| lists.iter().all(is_plain))
}

/// `pidof nginx | xargs kill -QUIT`
fn stops_what_it_looks_up(pipeline: &Pipeline) -> Option<String> {
    let (Command::Simple(last), before) = pipeline.commands.split_last()? else { return None };
    let [xargs, rest @ ..] = &last.words[..] else { return None };
    let looks_up = |command: &Command| match command {
        Command::Simple(simple) => {
            simple.words.first().is_some_and(|program| LOOK_UP.contains(&name_of(&program.text)))
        }
        _ => false,
    };
    if pipeline.is_negated
        || before.is_empty()
        || name_of(&xargs.text) != "xargs"
        || !before.iter().all(looks_up)
    {
        return None;
    }
    let start = rest.iter().position(|word| name_of(&word.text) == "kill")?;
    let kill = rest.get(start..)?;
    let is_option = |word: &Word| word.text.starts_with('-') || word.text.parse::<u32>().is_ok();
    if !rest.get(..start)?.iter().all(is_option) {
        return None;
    }
    // xargs adds the processes.
    let words: Vec<Word> = kill.iter().cloned().chain([Word::literal("1")]).collect();
    matches!(stop(&words), Step::Stop(_)).then(|| shown(kill))
}

/// The name of a program without its directory.
fn name_of(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// What a program does with its arguments.
fn of_words(words: &[Word], depth: usize) -> Vec<Step> {
    let unknown = || vec![Step::Unknown { may_stop: words.iter().any(|word| may_tell(&word.text)) }];
    let Some((program, arguments)) = words.split_first().filter(|_| depth < DEEPEST) else {
        return unknown();
    };
    if !program.is_literal {
        return unknown();
    }
    let name = name_of(&program.text);
    let inner = |rest: Option<&[Word]>| rest.map_or_else(unknown, |rest| of_words(rest, depth + 1));
    match name {
        "sleep" => vec![sleep(arguments)],
        "true" | ":" => vec![Step::Nothing],
        "env" => inner(behind_env(arguments)),
        "command" | "builtin" => match arguments.first() {
            Some(option) if option.text == "-p" => inner(arguments.get(1..)),
            Some(option) if option.text.starts_with('-') => vec![Step::Instant { may_stop: false }],
            _ => inner(Some(arguments)),
        },
        "busybox" | "toybox" | "nohup" => inner(Some(arguments)),
        "nice" => match arguments.first() {
            Some(option) if option.text == "-n" => inner(arguments.get(2..)),
            Some(option) if option.text.starts_with('-') => inner(arguments.get(1..)),
            _ => inner(Some(arguments)),
        },
        "timeout" => timeout(arguments, depth).unwrap_or_else(unknown),
        shell if SHELLS.contains(&shell) => of_shell(arguments, depth).unwrap_or_else(unknown),
        "kill" | "pkill" | "killall" => vec![stop(words)],
        name if SAY.contains(&name) => vec![Step::Instant { may_stop: false }],
        name if LEAVE.contains(&name) => {
            vec![Step::Instant { may_stop: arguments.iter().any(|word| may_tell(&word.text)) }]
        }
        name if LOOK_UP.contains(&name) => vec![Step::Instant { may_stop: false }],
        name if OTHER.contains(&name) => unknown(),
        _ if asks_to_stop(arguments) => vec![Step::Stop(shown(words))],
        "nginx" if arguments.iter().any(|word| word.text == "-s") => vec![Step::Instant { may_stop: false }],
        _ => unknown(),
    }
}

/// The program behind `env` and its options. `None` if there is none to be found.
fn behind_env(arguments: &[Word]) -> Option<&[Word]> {
    let mut rest = arguments;
    loop {
        rest = match rest {
            [option, _, rest @ ..] if matches!(option.text.as_str(), "-u" | "-C") => rest,
            [option, rest @ ..] if matches!(option.text.as_str(), "-" | "-i" | "--") => rest,
            [option, ..] if option.text.starts_with('-') => return None,
            [variable, rest @ ..] if variable.text.contains('=') => rest,
            _ => return Some(rest),
        };
    }
}

/// `timeout 30 program`: what the program does, but no longer than that.
fn timeout(arguments: &[Word], depth: usize) -> Option<Vec<Step>> {
    let mut rest = arguments;
    let (limit, program) = loop {
        rest = match rest {
            [option, _, rest @ ..] if matches!(option.text.as_str(), "-s" | "-k") => rest,
            [option, rest @ ..] if matches!(option.text.as_str(), "-v" | "-p" | "-f") => rest,
            // busybox called -t what others call an operand.
            [option, ..] if option.text == "-t" => return None,
            [option, rest @ ..] if option.text.starts_with("--") => rest,
            [limit, program @ ..] if limit.is_literal => break (limit, program),
            _ => return None,
        };
    };
    let Operand::Seconds(limit) = operand(&limit.text) else { return None };
    let mut left = if limit.is_zero() { FOREVER } else { limit };
    let mut steps = Vec::new();
    for step in of_words(program, depth + 1) {
        match step {
            Step::Sleep(duration) => {
                steps.push(Step::Sleep(duration.min(left)));
                left = left.saturating_sub(duration);
                if left.is_zero() {
                    break;
                }
            }
            // It may use up the time that others would need.
            Step::Unknown { .. } => {
                steps.push(step);
                break;
            }
            _ => steps.push(step),
        }
    }
    Some(steps)
}

/// What a shell does with these arguments. `None` if it is given no script.
fn of_shell(arguments: &[Word], depth: usize) -> Option<Vec<Step>> {
    let (mut options, mut is_script) = (Options::default(), false);
    let mut rest = arguments.iter();
    loop {
        let argument = rest.next()?;
        let text = argument.text.as_str();
        match text {
            "--" | "-" => {}
            "--rcfile" | "--init-file" => drop(rest.next()),
            _ if text.starts_with("--") => {}
            _ if text.starts_with(['-', '+']) => {
                let takes_name = text.ends_with(['o', 'O']);
                let name = if takes_name { rest.next().map(|name| name.text.as_str()) } else { None };
                options.take(text, name);
                is_script |= text.starts_with('-') && text.contains('c');
            }
            script if is_script && argument.is_literal => return Some(of_script(script, options, depth + 1)),
            _ => return None,
        }
    }
}

/// Whether arguments such as `-s quit` or `stop` tell a server to end.
fn asks_to_stop(arguments: &[Word]) -> bool {
    let texts: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    let by_option = texts
        .windows(2)
        .any(|pair| matches!(pair, ["-s", "quit" | "stop" | "term"] | ["-k", "stop" | "graceful-stop"]));
    let is_stop = |text: &&str| matches!(*text, "stop" | "graceful-stop");
    let first = texts.iter().find(|text| !text.starts_with('-'));
    by_option || texts.contains(&"--stop") || first.is_some_and(is_stop) || texts.last().is_some_and(is_stop)
}

/// What `kill`, `pkill` or `killall` does.
fn stop(words: &[Word]) -> Step {
    let Some((program, arguments)) = words.split_first() else { return Step::Unknown { may_stop: true } };
    let unknown = Step::Unknown { may_stop: true };
    let is_kill = name_of(&program.text) == "kill";
    let (mut signal, mut targets): (Option<&str>, Vec<&Word>) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.text.as_str();
        let takes_signal = match text {
            "--signal" => true,
            "-s" => name_of(&program.text) != "pkill",
            "-n" => is_kill,
            _ => false,
        };
        if text == "--" {
            targets.extend(rest.by_ref());
        } else if takes_signal {
            let Some(name) = rest.next().filter(|name| name.is_literal) else { return unknown };
            signal = Some(&name.text);
        } else if let Some(name) = text.strip_prefix("--signal=") {
            signal = Some(name);
        } else if is_kill && matches!(text, "-l" | "-L" | "--list") {
            return Step::Instant { may_stop: false };
        } else if let Some(name) = text.strip_prefix('-').filter(|_| targets.is_empty()) {
            match signal {
                None if is_signal(name) => signal = Some(name),
                // A group of processes.
                Some(_) if is_kill => targets.push(argument),
                _ if is_kill || !argument.is_literal => return unknown,
                _ => {}
            }
        } else {
            targets.push(argument);
        }
    }
    // A job of the shell, or the shell itself.
    let is_other =
        |target: &&Word| target.text.starts_with('%') || matches!(target.text.as_str(), "$!" | "$$");
    if targets.is_empty() || targets.iter().any(is_other) {
        return unknown;
    }
    let name = signal.unwrap_or("TERM").to_ascii_uppercase();
    match name.strip_prefix("SIG").unwrap_or(&name) {
        "TERM" | "QUIT" | "INT" | "KILL" | "ABRT" | "15" | "3" | "2" | "9" | "6" => Step::Stop(shown(words)),
        "0" => Step::Instant { may_stop: false },
        // Servers do with the others what they like.
        _ => unknown,
    }
}

fn is_signal(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "TERM", "QUIT", "INT", "KILL", "ABRT", "HUP", "USR1", "USR2", "WINCH", "STOP", "CONT", "TSTP",
        "CHLD", "ALRM", "PIPE", "URG",
    ];
    let upper = name.to_ascii_uppercase();
    NAMES.contains(&upper.strip_prefix("SIG").unwrap_or(&upper))
        || !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A command as messages show it.
fn shown(words: &[Word]) -> String {
    const LONGEST: usize = 60;
    let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// The sum of the operands of one `sleep` (GNU coreutils; busybox does the same).
fn sleep(arguments: &[Word]) -> Step {
    let operands = match arguments {
        [separator, rest @ ..] if separator.text == "--" => rest,
        _ => arguments,
    };
    if matches!(operands, [option] if matches!(option.text.as_str(), "--help" | "--version")) {
        return Step::Instant { may_stop: false };
    }
    if operands.is_empty() {
        return Step::FailingSleep;
    }
    let mut total = Duration::ZERO;
    let mut fails = false;
    for word in operands {
        match operand(&word.text) {
            _ if !word.is_literal => return Step::Unknown { may_stop: false },
            Operand::Unknown => return Step::Unknown { may_stop: false },
            Operand::Invalid => fails = true,
            Operand::Seconds(duration) => total = total.saturating_add(duration),
        }
    }
    if fails { Step::FailingSleep } else { Step::Sleep(total.min(FOREVER)) }
}

/// What an operand of `sleep` means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operand {
    Seconds(Duration),
    /// Some programs take it and others do not, such as `1e1`.
    Unknown,
    /// Every `sleep` refuses it.
    Invalid,
}

fn operand(text: &str) -> Operand {
    if text == "infinity" || text == "inf" {
        return Operand::Seconds(FOREVER);
    }
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let factor = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        // What strtod(3) takes besides: blanks, signs, exponents, hexadecimal numbers, names.
        _ => {
            let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
            let is_exponent = unit
                .strip_prefix(['e', 'E'])
                .is_some_and(|it| it.starts_with(|it: char| it.is_ascii_digit() || "+-".contains(it)));
            let may_be_number = text.starts_with('+')
                || text.starts_with(char::is_whitespace)
                || unsigned.starts_with("0x")
                || unsigned.starts_with("inf")
                || unsigned.starts_with("nan")
                || is_exponent && !number.is_empty();
            return if may_be_number { Operand::Unknown } else { Operand::Invalid };
        }
    };
    match number.parse::<f64>() {
        Ok(seconds) => {
            Operand::Seconds(Duration::try_from_secs_f64(seconds * factor).unwrap_or(FOREVER).min(FOREVER))
        }
        Err(_) => Operand::Invalid,
    }
}
