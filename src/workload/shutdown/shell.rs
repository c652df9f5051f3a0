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
        let (simple, hidden) = match self {
            Command::Simple(simple) => (Some(simple), None),
            Command::Compound(texts) | Command::Function(_, texts) => (None, Some(texts)),
        };
        simple.into_iter().flat_map(Simple::texts).chain(hidden.into_iter().flatten().map(String::as_str))
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

/// With whether they read. `&>` is none: a POSIX shell takes it for `&` and `>`.
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
    /// Here-documents whose text begins with the next line: where each ends, and whether
    /// tabs before that are left out.
    awaited: VecDeque<(String, bool)>,
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
        let is_process_substitution = self.rest.starts_with("<(") || self.rest.starts_with(">(");
        if is_process_substitution {
            return self.word().map(|word| Some(Token::Word(word)));
        }
        if self.rest.starts_with("<<") && !self.rest.starts_with("<<<") {
            self.eat("<<");
            let strips_tabs = self.eat("-");
            self.skip_blanks();
            let end = self.word()?;
            self.awaited.push_back((end.text, strips_tabs));
            return Some(Some(Token::Document));
        }
        if let Some((_, reads)) = REDIRECTIONS.into_iter().find(|(sign, _)| self.eat(sign)) {
            return Some(Some(Token::Redirection { reads }));
        }
        if let Some(operator) = OPERATORS.into_iter().find(|operator| self.eat(operator)) {
            if operator == "\n" {
                self.read_documents();
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
    /// on to that of the script.
    fn read_documents(&mut self) {
        while let Some((end, strips_tabs)) = self.awaited.pop_front() {
            let mut document = String::new();
            while !self.rest.is_empty() {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                let unindented = if strips_tabs { line.trim_start_matches('\t') } else { line };
                if unindented == end {
                    break;
                }
                document.push_str(line);
                document.push('\n');
            }
            self.documents.push_back(document);
        }
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
        if self.eat_keyword("time") {
            self.eat_keyword("-p");
        }
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
                "then" | "do" | "done" | "fi" | "else" | "elif" | "esac" | "}" | "coproc" => None,
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
                    let name = simple.words.pop()?;
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
        let mut place = Place::Command;
        loop {
            let innermost = open.last().copied();
            match self.tokens.next()? {
                Token::Word(word) if innermost == Some("]]") => {
                    if word.is_keyword("]]") {
                        open.pop();
                        place = Place::Arguments;
                    }
                    texts.push(word.text);
                }
                _ if innermost == Some("]]") => {}
                Token::Word(word) => {
                    place = place.behind(&word, &mut open)?;
                    texts.push(word.text);
                }
                Token::Operator("(") if place == Place::Pattern => {}
                Token::Operator("(") => {
                    open.push(")");
                    place = Place::Command;
                }
                Token::Operator(")") if place == Place::Pattern => place = Place::Command,
                Token::Operator(")") => {
                    (open.pop() == Some(")")).then_some(())?;
                    place = Place::Command;
                }
                Token::Operator(";;" | ";&" | ";;&") => {
                    (innermost == Some("esac")).then_some(())?;
                    place = Place::Pattern;
                }
                Token::Operator(_) if place == Place::Pattern || place == Place::CaseWord => {}
                Token::Operator(_) => place = Place::Command,
                Token::Redirection { .. } => {
                    let Some(Token::Word(file)) = self.tokens.next() else { return None };
                    texts.push(file.text);
                }
                Token::Document => texts.extend(self.documents.pop_front()),
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

/// What the next word of a compound command may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// A keyword or a program.
    Command,
    /// Neither.
    Arguments,
    /// The name of a function.
    Name,
    /// What stands between `case` and `in`.
    CaseWord,
    /// A pattern of a `case`.
    Pattern,
}

impl Place {
    /// The place behind a word; `None` if a keyword stands where none may.
    fn behind(self, word: &Word, open: &mut Vec<&'static str>) -> Option<Place> {
        match self {
            Place::Arguments => return Some(Place::Arguments),
            Place::Name => return Some(Place::Command),
            Place::CaseWord if word.is_keyword("in") => return Some(Place::Pattern),
            Place::CaseWord => return Some(Place::CaseWord),
            Place::Pattern if word.is_keyword("esac") => {}
            Place::Pattern => return Some(Place::Pattern),
            Place::Command if word.is_quoted => return Some(Place::Arguments),
            Place::Command => {}
        }
        let (opens, place) = match word.text.as_str() {
            "if" => (Some("fi"), Place::Command),
            "while" | "until" => (Some("done"), Place::Command),
            "for" | "select" => (Some("done"), Place::Arguments),
            "case" => (Some("esac"), Place::CaseWord),
            "{" => (Some("}"), Place::Command),
            "[[" => (Some("]]"), Place::Arguments),
            "then" | "do" | "else" | "elif" | "!" | "time" => (None, Place::Command),
            "function" => (None, Place::Name),
            close @ ("fi" | "done" | "esac" | "}") => {
                return (open.pop() == Some(close)).then_some(Place::Arguments);
            }
            _ => (None, Place::Arguments),
        };
        open.extend(opens);
        Some(place)
    }
}
