//! The syntax of shell scripts, as far as it tells what certainly runs.
//!
//! [`parse`] takes a script apart into lists, pipelines and commands (POSIX Shell Command
//! Language, with what bash adds). Compound commands and the bodies of functions are not
//! looked into: only their words are kept. What it does not understand has no parse at all.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::vec::IntoIter;

/// A word with its quotes taken off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// Its text. What the shell would expand stands there as it is written.
    pub text: String,
    /// Whether the shell takes the text as it stands.
    pub is_literal: bool,
    /// The scripts of its command substitutions.
    pub substitutions: Vec<String>,
    /// Whether any of it is quoted, so that it is no keyword.
    is_quoted: bool,
}

/// A program with its arguments, as the shell would run it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simple {
    /// Variables that are set for it, or in the shell if there are no words.
    pub assignments: Vec<Word>,
    /// Program and arguments.
    pub words: Vec<Word>,
    /// Files that it writes to.
    pub writes: Vec<Word>,
    /// Files that it reads from.
    pub reads: Vec<Word>,
    /// Its here-documents.
    pub documents: Vec<String>,
}

/// Stands among the texts of a command where a function is defined in it.
pub const FUNCTION: &str = "()";

/// What a pipeline consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A program that is run.
    Simple(Simple),
    /// A loop, a condition, a group or a subshell, as the texts in it.
    Compound(Vec<String>),
    /// A function that somebody may call later, as its name and the texts in it.
    Function(String, Vec<String>),
}

/// Commands that run at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Whether `!` turns its result around.
    pub is_negated: bool,
    /// The commands between `|`.
    pub commands: Vec<Command>,
}

/// Pipelines of which each but the first depends on how the ones before ended.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Runs in any case.
    pub first: Pipeline,
    /// What follows behind `&&` (true) or `||`.
    pub rest: Vec<(bool, Pipeline)>,
    /// Whether the shell goes on without waiting for it.
    pub is_background: bool,
}

impl Word {
    /// A word that no shell reads.
    pub fn literal(text: &str) -> Self {
        Word { text: text.to_owned(), is_literal: true, ..Word::default() }
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        !self.is_quoted && self.text == keyword
    }

    fn is_assignment(&self) -> bool {
        let Some((name, _)) = self.text.split_once('=') else { return false };
        let name = name.strip_suffix('+').unwrap_or(name);
        name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }
}

impl Command {
    /// All texts in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (simple, hidden, function) = match self {
            Command::Simple(simple) => (Some(simple), None, None),
            Command::Compound(texts) => (None, Some(texts), None),
            Command::Function(_, texts) => (None, Some(texts), Some(FUNCTION)),
        };
        let hidden = hidden.into_iter().flatten().map(String::as_str);
        simple.into_iter().flat_map(Simple::texts).chain(hidden).chain(function)
    }
}

impl Simple {
    /// All texts in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let words = [&self.assignments, &self.words, &self.writes, &self.reads].into_iter().flatten();
        words.map(|word| word.text.as_str()).chain(self.documents.iter().map(String::as_str))
    }
}

/// The lists of a script, in the order in which they run. `None` if any of it is not
/// understood.
pub fn parse(script: &str) -> Option<Vec<List>> {
    let mut lexer = Lexer { rest: script, ..Lexer::default() };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.token()? {
        tokens.push(token);
    }
    Parser { tokens: tokens.into_iter().peekable(), documents: lexer.documents }.script()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(Word),
    Operator(&'static str),
    /// What stands before the file.
    Redirection {
        reads: bool,
    },
    /// The next of the here-documents.
    Document,
}

/// Of two that begin alike the longer one stands first.
const OPERATORS: [&str; 12] = ["\n", "&&", "||", "|&", ";;&", ";;", ";&", ";", "&", "|", "(", ")"];

/// With whether they read.
const REDIRECTIONS: [(&str, bool); 8] = [
    ("<<<", true),
    ("<>", true),
    ("<&", false),
    ("<", true),
    (">>", false),
    (">&", false),
    (">|", false),
    (">", false),
];

#[derive(Default)]
struct Lexer<'a> {
    rest: &'a str,
    /// Here-documents whose text begins with the next line: the word where each ends, and
    /// whether tabs before that are left out.
    awaited: VecDeque<(Word, bool)>,
    documents: VecDeque<String>,
}

impl<'a> Lexer<'a> {
    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.eat(next.encode_utf8(&mut [0; 4]));
        Some(next)
    }

    /// Everything up to `end`, which is consumed too.
    fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    fn skip_blanks(&mut self) {
        while self.eat(" ") || self.eat("\t") || self.eat("\\\n") {}
    }

    /// The next token; within, `None` at the end. `None` if it is not understood.
    fn token(&mut self) -> Option<Option<Token>> {
        self.skip_blanks();
        if self.rest.starts_with('#') {
            self.rest = self.rest.find('\n').and_then(|end| self.rest.get(end..)).unwrap_or_default();
        }
        if self.rest.is_empty() {
            return Some(None);
        }
        // One operator for bash, two for POSIX shells.
        if self.rest.starts_with("&>") {
            return None;
        }
        let is_process_substitution = self.rest.starts_with("<(") || self.rest.starts_with(">(");
        if is_process_substitution {
            return self.word().map(|word| Some(Token::Word(word)));
        }
        if self.rest.starts_with("<<") && !self.rest.starts_with("<<<") {
            self.eat("<<");
            let strips_tabs = self.eat("-");
            self.skip_blanks();
            let end = self.word()?;
            self.awaited.push_back((end, strips_tabs));
            return Some(Some(Token::Document));
        }
        if let Some((_, reads)) = REDIRECTIONS.into_iter().find(|(sign, _)| self.eat(sign)) {
            return Some(Some(Token::Redirection { reads }));
        }
        if let Some(operator) = OPERATORS.into_iter().find(|operator| self.eat(operator)) {
            if operator == "\n" {
                self.read_documents()?;
            }
            return Some(Some(Token::Operator(operator)));
        }
        let word = self.word()?;
        // The number of a file: `2>/dev/null`.
        let is_number = !word.is_quoted && word.text.bytes().all(|byte| byte.is_ascii_digit());
        match is_number && self.rest.starts_with(['<', '>']) {
            true => self.token(),
            false => Some(Some(Token::Word(word))),
        }
    }

    /// Here-documents begin with the line behind their operators. One without an end goes
    /// on to that of the script. `None` if the shell would run what is in one.
    fn read_documents(&mut self) -> Option<()> {
        while let Some((end, strips_tabs)) = self.awaited.pop_front() {
            let mut document = String::new();
            while !self.rest.is_empty() {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                let unindented = if strips_tabs { line.trim_start_matches('\t') } else { line };
                if unindented == end.text {
                    break;
                }
                document.push_str(line);
                document.push('\n');
            }
            let is_text = end.is_quoted || !["`", "$(", "${"].iter().any(|sign| document.contains(sign));
            is_text.then(|| self.documents.push_back(document))?;
        }
        Some(())
    }

    fn word(&mut self) -> Option<Word> {
        let mut word = Word { is_literal: true, ..Word::default() };
        // What the shell may make several words or other words of.
        let mut is_pattern = false;
        if self.rest.starts_with("<(") || self.rest.starts_with(">(") {
            self.next();
            self.next();
            self.substitution(&mut word)?;
        }
        while let Some(next) = self.rest.chars().next() {
            if " \t\n;&|<>()".contains(next) {
                break;
            }
            self.next();
            match next {
                '\\' => match self.next() {
                    Some('\n') => {}
                    escaped => {
                        word.is_quoted = true;
                        word.text.extend(escaped);
                    }
                },
                '\'' => {
                    word.is_quoted = true;
                    word.text.push_str(self.until('\'')?);
                }
                '"' => self.double_quoted(&mut word)?,
                '`' => self.backquoted(&mut word)?,
                '$' if self.eat("'") => {
                    (word.is_literal, word.is_quoted) = (false, true);
                    loop {
                        match self.next()? {
                            '\'' => break,
                            '\\' => drop(self.next()),
                            _ => {}
                        }
                    }
                }
                '$' => self.expansion(&mut word)?,
                other => {
                    is_pattern |= "*?[".contains(other);
                    word.text.push(other);
                }
            }
        }
        let is_test = word.text == "[" || word.text == "[[";
        let is_list = word.text.contains('{') && (word.text.contains(',') || word.text.contains(".."));
        word.is_literal &= (is_test || !is_pattern) && (word.is_quoted || !is_list);
        Some(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Option<()> {
        word.is_quoted = true;
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    escaped @ ('$' | '`' | '"' | '\\') => word.text.push(escaped),
                    other => word.text.extend(['\\', other]),
                },
                '`' => self.backquoted(word)?,
                '$' => self.expansion(word)?,
                other => word.text.push(other),
            }
        }
    }

    fn backquoted(&mut self, word: &mut Word) -> Option<()> {
        word.is_literal = false;
        let mut script = String::new();
        loop {
            match self.next()? {
                '`' => break,
                '\\' => script.extend(self.next()),
                other => script.push(other),
            }
        }
        word.text.push_str(&script);
        word.substitutions.push(script);
        Some(())
    }

    /// What follows a `$`.
    fn expansion(&mut self, word: &mut Word) -> Option<()> {
        word.text.push('$');
        if self.eat("(") {
            return self.substitution(word);
        }
        if self.eat("{") {
            word.is_literal = false;
            let name = self.balanced('}')?;
            word.text.push_str(name);
            // `${X:-$(cat)}`
            if name.contains("$(") || name.contains('`') {
                word.substitutions.push(name.to_owned());
            }
            return Some(());
        }
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let end = self.rest.find(|it: char| !is_name(it)).unwrap_or(self.rest.len());
        let end =
            if end == 0 && self.rest.starts_with(['$', '!', '?', '#', '@', '*', '-']) { 1 } else { end };
        let (name, rest) = self.rest.split_at_checked(end)?;
        (self.rest, word.is_literal) = (rest, word.is_literal && name.is_empty());
        word.text.push_str(name);
        Some(())
    }

    fn substitution(&mut self, word: &mut Word) -> Option<()> {
        word.is_literal = false;
        let script = self.balanced(')')?;
        word.text.push_str(script);
        word.substitutions.push(script.to_owned());
        Some(())
    }

    /// Everything up to the sign that closes what is open. The sign is consumed too.
    fn balanced(&mut self, close: char) -> Option<&'a str> {
        let begin = self.rest;
        let mut open = vec![close];
        let mut before = ' ';
        while let Some(innermost) = open.last().copied() {
            let next = self.next()?;
            match next {
                '\\' => {
                    self.next()?;
                }
                '\'' if innermost != '"' => {
                    self.until('\'')?;
                }
                '#' if innermost == ')' && (before.is_whitespace() || before == '(') => {
                    self.until('\n')?;
                }
                '$' if self.eat("(") => open.push(')'),
                '$' if self.eat("{") => open.push('}'),
                '(' if innermost == ')' => open.push(')'),
                '"' | '`' if innermost != next => open.push(next),
                _ if innermost == next => drop(open.pop()),
                _ => {}
            }
            before = next;
        }
        begin.get(..begin.len() - self.rest.len() - close.len_utf8())
    }
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    documents: VecDeque<String>,
}

impl Parser {
    fn script(mut self) -> Option<Vec<List>> {
        let mut lists = Vec::new();
        loop {
            self.skip_line_ends();
            if self.tokens.peek().is_none() {
                return Some(lists);
            }
            lists.push(self.list()?);
        }
    }

    fn eat(&mut self, operator: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Operator(it) if *it == operator)).is_some()
    }

    fn skip_line_ends(&mut self) {
        while self.eat("\n") {}
    }

    /// Whether the next word is this one, without quotes.
    fn eat_keyword(&mut self, keyword: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Word(word) if word.is_keyword(keyword))).is_some()
    }

    fn list(&mut self) -> Option<List> {
        let mut list = List { first: self.pipeline()?, rest: Vec::new(), is_background: false };
        loop {
            let is_and = match self.tokens.next() {
                None | Some(Token::Operator(";" | "\n")) => return Some(list),
                Some(Token::Operator("&")) => return Some(List { is_background: true, ..list }),
                Some(Token::Operator("&&")) => true,
                Some(Token::Operator("||")) => false,
                Some(_) => return None,
            };
            self.skip_line_ends();
            list.rest.push((is_and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Option<Pipeline> {
        let is_negated = self.eat_keyword("!");
        let mut commands = vec![self.command()?];
        while self.eat("|") || self.eat("|&") {
            self.skip_line_ends();
            commands.push(self.command()?);
        }
        Some(Pipeline { is_negated, commands })
    }

    fn command(&mut self) -> Option<Command> {
        if self.begins_compound() {
            return self.compound().map(Command::Compound);
        }
        match self.tokens.peek()? {
            Token::Word(word) if !word.is_quoted => match word.text.as_str() {
                "function" => {
                    self.tokens.next();
                    let Some(Token::Word(name)) = self.tokens.next() else { return None };
                    if self.eat("(") && !self.eat(")") {
                        return None;
                    }
                    self.function(name)
                }
                "then" | "do" | "done" | "fi" | "else" | "elif" | "esac" | "}" | "coproc" | "!" => None,
                _ => self.simple(),
            },
            _ => self.simple(),
        }
    }

    fn begins_compound(&mut self) -> bool {
        const KEYWORDS: [&str; 8] = ["if", "while", "until", "for", "select", "case", "{", "[["];
        match self.tokens.peek() {
            Some(Token::Operator("(")) => true,
            Some(Token::Word(word)) => KEYWORDS.into_iter().any(|keyword| word.is_keyword(keyword)),
            _ => false,
        }
    }

    /// The body of a function.
    fn function(&mut self, name: Word) -> Option<Command> {
        self.skip_line_ends();
        let texts = self.begins_compound().then(|| self.compound())??;
        Some(Command::Function(name.text, texts))
    }

    fn simple(&mut self) -> Option<Command> {
        let mut simple = Simple::default();
        loop {
            match self.tokens.peek() {
                Some(Token::Word(_)) => {}
                Some(Token::Redirection { .. } | Token::Document) => {
                    self.redirection(&mut simple)?;
                    continue;
                }
                Some(Token::Operator("(")) if simple.words.len() == 1 && simple.assignments.is_empty() => {
                    self.tokens.next();
                    let name = simple.words.pop().filter(|name| name.is_literal && !name.is_quoted)?;
                    return if self.eat(")") { self.function(name) } else { None };
                }
                Some(Token::Operator("(")) => return None,
                None | Some(Token::Operator(_)) => break,
            }
            let Some(Token::Word(word)) = self.tokens.next() else { return None };
            match simple.words.is_empty() && word.is_assignment() {
                true => simple.assignments.push(word),
                false => simple.words.push(word),
            }
        }
        (simple != Simple::default()).then_some(Command::Simple(simple))
    }

    fn redirection(&mut self, simple: &mut Simple) -> Option<()> {
        match self.tokens.next()? {
            Token::Document => simple.documents.push(self.documents.pop_front().unwrap_or_default()),
            Token::Redirection { reads } => {
                let Some(Token::Word(file)) = self.tokens.next() else { return None };
                if reads { &mut simple.reads } else { &mut simple.writes }.push(file);
            }
            _ => return None,
        }
        Some(())
    }

    /// The texts in a compound command. It ends where everything that was opened in it
    /// is closed.
    fn compound(&mut self) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        let mut open: Vec<&'static str> = Vec::new();
        let mut place = Place::Required;
        loop {
            let in_test = open.last() == Some(&"]]");
            match self.tokens.next()? {
                Token::Word(word) => {
                    place = place.behind_word(&word, &mut open)?;
                    texts.push(word.text);
                }
                Token::Operator("(") if place == Place::Program => {
                    if !self.eat(")") {
                        return None;
                    }
                    texts.push(FUNCTION.to_owned());
                    place = Place::Body;
                }
                _ if in_test => {}
                Token::Operator(operator) => place = place.behind_operator(operator, &mut open)?,
                Token::Redirection { .. } => {
                    let Some(Token::Word(file)) = self.tokens.next() else { return None };
                    texts.push(file.text);
                    place = place.behind_redirection()?;
                }
                Token::Document => {
                    texts.extend(self.documents.pop_front());
                    place = place.behind_redirection()?;
                }
            }
            if open.is_empty() {
                break;
            }
        }
        let mut behind = Simple::default();
        while matches!(self.tokens.peek(), Some(Token::Redirection { .. } | Token::Document)) {
            self.redirection(&mut behind)?;
        }
        texts.extend(behind.texts().map(str::to_owned));
        Some(texts)
    }
}

/// What may come next in a compound command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// A command has to come.
    Required,
    /// A command has to come, without `!` before it.
    Piped,
    /// A command may come, or what closes the innermost part.
    Command,
    /// An argument, or the `()` of a function.
    Program,
    /// An argument.
    Arguments,
    /// The compound before is over.
    Closed,
    /// The body of a function.
    Body,
    /// The name of a function.
    Name,
    /// The name of the variable of a `for`.
    Variable,
    /// What stands between `case` and `in`.
    CaseWord,
    /// `in`
    In,
    /// A pattern of a `case`, or its end.
    Pattern,
    /// A pattern of a `case`.
    PatternWord,
    /// What follows a pattern.
    PatternEnd,
}

impl Place {
    /// The place behind a word; `None` if no such word may stand here.
    fn behind_word(self, word: &Word, open: &mut Vec<&'static str>) -> Option<Place> {
        let is_test = open.last() == Some(&"]]");
        match self {
            _ if is_test && !word.is_keyword("]]") => return Some(Place::Arguments),
            _ if is_test => return open.pop().map(|_| Place::Closed),
            Place::Program | Place::Arguments => return Some(Place::Arguments),
            Place::Name => return Some(Place::Body),
            Place::Variable => return Some(Place::Arguments),
            Place::CaseWord => return Some(Place::In),
            Place::In => return word.is_keyword("in").then_some(Place::Pattern),
            Place::Pattern if word.is_keyword("esac") => return open.pop().map(|_| Place::Closed),
            Place::Pattern | Place::PatternWord => return Some(Place::PatternEnd),
            Place::PatternEnd => return None,
            Place::Required | Place::Piped | Place::Command | Place::Closed | Place::Body => {}
        }
        let text = if word.is_quoted { "" } else { word.text.as_str() };
        let may_begin = self != Place::Closed;
        let opened = match text {
            "if" => Some(("then", Place::Required)),
            "while" | "until" => Some(("do", Place::Required)),
            "for" | "select" => Some(("do", Place::Variable)),
            "case" => Some(("esac", Place::CaseWord)),
            "{" => Some(("}", Place::Required)),
            "[[" => Some(("]]", Place::Arguments)),
            _ => None,
        };
        if let Some((close, place)) = opened {
            open.push(close);
            return may_begin.then_some(place);
        }
        if let "then" | "do" | "elif" | "else" | "fi" | "done" | "esac" | "}" = text {
            let may_end = matches!(self, Place::Command | Place::Closed);
            // What has to close the part then, if it has more than one.
            let next = match (open.pop().filter(|_| may_end)?, text) {
                ("then", "then") => Some("fi"),
                ("fi", "elif") => Some("then"),
                ("fi", "else") => Some("last fi"),
                ("do", "do") => Some("done"),
                ("fi" | "last fi", "fi") | ("done", "done") | ("esac", "esac") | ("}", "}") => None,
                _ => return None,
            };
            open.extend(next);
            return Some(if next.is_some() { Place::Required } else { Place::Closed });
        }
        match text {
            _ if matches!(self, Place::Closed | Place::Body) => None,
            "!" if self == Place::Piped => None,
            "!" => Some(Place::Piped),
            "function" => Some(Place::Name),
            _ if word.is_assignment() => Some(Place::Arguments),
            _ => Some(Place::Program),
        }
    }

    /// The same behind an operator.
    fn behind_operator(self, operator: &str, open: &mut Vec<&'static str>) -> Option<Place> {
        let is_command = matches!(self, Place::Program | Place::Arguments | Place::Closed);
        let innermost = open.last().copied();
        match operator {
            "\n" if is_command => Some(Place::Command),
            "\n" => matches!(
                self,
                Place::Required | Place::Piped | Place::Command | Place::Body | Place::In | Place::Pattern
            )
            .then_some(self),
            ";" | "&" => is_command.then_some(Place::Command),
            "&&" | "||" => is_command.then_some(Place::Required),
            "|" if self == Place::PatternEnd => Some(Place::PatternWord),
            "|" | "|&" => is_command.then_some(Place::Piped),
            ";;" | ";&" | ";;&" => {
                let is_end = is_command || self == Place::Command;
                (is_end && innermost == Some("esac")).then_some(Place::Pattern)
            }
            "(" if self == Place::Pattern => Some(Place::PatternWord),
            "(" => {
                open.push(")");
                let may_begin = matches!(
                    self,
                    Place::Required | Place::Piped | Place::Command | Place::Body | Place::Variable
                );
                may_begin.then_some(Place::Required)
            }
            ")" if self == Place::PatternEnd => Some(Place::Command),
            ")" => {
                let is_end = is_command || self == Place::Command;
                (is_end && open.pop() == Some(")")).then_some(Place::Closed)
            }
            _ => None,
        }
    }

    /// The same behind a redirection.
    fn behind_redirection(self) -> Option<Place> {
        match self {
            Place::Closed => Some(Place::Closed),
            Place::Required | Place::Piped | Place::Command | Place::Program | Place::Arguments => {
                Some(Place::Arguments)
            }
            _ => None,
        }
    }
}
