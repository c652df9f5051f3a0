//! The documents of one file.
//!
//! A file is split before it is parsed, so that a mistake in one document hides
//! nothing in the others.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};

use super::placeholder::{self, Placeholder};
use super::source::{Name, Place, Position, Source};
use crate::yaml::node::{Node, Span};

/// Levels of lists and maps in one another; Kubernetes objects have less than
/// half as many. It protects the stack.
const MAX_DEPTH: usize = 128;

/// Keys, values and brackets that aliases may stand for in one document.
const MAX_REPLAYED: usize = 250_000;

/// One document of a file, not parsed yet.
#[derive(Debug)]
pub struct Document<'s> {
    /// Its number in the file, from 0 on; empty documents count.
    pub index: usize,
    source: &'s Source,
    text: &'s str,
    /// Where it begins in the file.
    start: usize,
    position: Position,
}

/// A file, read as far as it can be.
#[derive(Debug)]
pub struct Parsed<'s> {
    /// The file.
    pub source: &'s Source,
    /// Its documents, each with what it holds.
    pub documents: Vec<(Document<'s>, Result<Node, Unparsable>)>,
    /// What could not even be split.
    pub broken: Vec<Unparsable>,
}

/// A document that is neither YAML nor JSON.
#[derive(Clone, Debug)]
pub struct Unparsable {
    /// Where the parser gave up.
    pub place: Place,
    /// What the parser says.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
}

/// The documents of `source`, and what of it could not be split, if so.
///
/// `---` stands between documents of YAML, and between those of JSON too. JSON objects
/// may also follow one another without it.
pub fn split(source: &Source) -> (Vec<Document<'_>>, Vec<Unparsable>) {
    let is_json = matches!(&source.name, Name::Path(path) if path.extension().is_some_and(|it| it == "json"));
    let (mut ranges, mut broken) = (Vec::new(), Vec::new());
    for whole in split_yaml(&source.text) {
        let text = source.text.get(whole.clone()).unwrap_or_default();
        let start = if is_marker(text, "---") { whole.start + "---".len() } else { whole.start };
        let text = source.text.get(start..whole.end).unwrap_or_default();
        if !(is_json || text.trim_start().starts_with('{')) {
            ranges.push(whole);
            continue;
        }
        let (values, error) = split_json(text);
        match error {
            None if values.len() > 1 || is_json => {
                ranges.extend(values.into_iter().map(|it| moved(it, start)))
            }
            // A flow mapping of YAML begins with a brace too.
            Some(error) if is_json => {
                ranges.extend(values.into_iter().map(|it| moved(it, start)));
                broken.push((start, error));
            }
            _ => ranges.push(whole),
        }
    }
    let broken = broken.iter().map(|(start, error)| Unparsable::json(source, *start, error)).collect();
    (documents(source, ranges), broken)
}

fn documents(source: &Source, ranges: Vec<Range<usize>>) -> Vec<Document<'_>> {
    let mut documents = Vec::with_capacity(ranges.len());
    let (mut position, mut seen) = (Position { line: 1, column: 1 }, 0);
    for (index, range) in ranges.into_iter().enumerate() {
        position = position.after(source.text.get(seen..range.start).unwrap_or_default());
        seen = range.start;
        let text = source.text.get(range.clone()).unwrap_or_default();
        documents.push(Document { index, source, text, start: range.start, position });
    }
    documents
}

/// The values of a stream of JSON, and why it breaks off, if so.
fn split_json(text: &str) -> (Vec<Range<usize>>, Option<serde_json::Error>) {
    let mut ranges = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    while let Some(value) = values.next() {
        if let Err(error) = value {
            return (ranges, Some(error));
        }
        ranges.push(start..values.byte_offset());
        start = values.byte_offset();
    }
    (ranges, None)
}

/// The documents of a stream of YAML. Neither `---` nor `...` can stand at the
/// beginning of a line but as a marker (YAML 1.2.2, 9.1.2).
fn split_yaml(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut offset) = (0, 0);
    let mut is_begun = false;
    for line in text.split_inclusive('\n') {
        let end = offset + line.len();
        if is_marker(line, "---") {
            if is_begun {
                ranges.push(start..offset);
                start = offset;
            }
            is_begun = true;
        } else if is_marker(line, "...") {
            if is_begun {
                ranges.push(start..end);
            }
            (start, is_begun) = (end, false);
        } else {
            // Comments and directives before a document belong to it.
            let content = line.trim_start();
            is_begun |= !(content.is_empty() || content.starts_with('#') || line.starts_with('%'));
        }
        offset = end;
    }
    if is_begun {
        ranges.push(start..offset);
    }
    ranges
}

fn moved(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

impl<'s> Parsed<'s> {
    /// All of `source`.
    pub fn of(source: &'s Source) -> Self {
        let (documents, broken) = split(source);
        let parsed = |document: Document<'s>| {
            let root = document.parse();
            (document, root)
        };
        Parsed { source, documents: documents.into_iter().map(parsed).collect(), broken }
    }

    /// The documents that could be read.
    pub fn roots(&self) -> impl Iterator<Item = &Node> {
        self.documents.iter().filter_map(|(_, root)| root.as_ref().ok())
    }
}

impl<'s> Document<'s> {
    /// The document as a tree; null if it is empty.
    ///
    /// # Errors
    /// If it is not YAML. JSON is.
    pub fn parse(&self) -> Result<Node, Unparsable> {
        let options = serde_saphyr::options! {
            // As kubectl reads YAML: 0644 is a number in base 8.
            legacy_octal_numbers: true,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            with_snippet: false,
            emit_comments: false,
            // Of equal keys the last one counts, and merge keys are one case of that.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            merge_keys: MergeKeyPolicy::AsOrdinary,
            // The size of the file is limit enough for all but aliases.
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
            budget: serde_saphyr::budget! {
                max_depth: MAX_DEPTH,
                max_events: usize::MAX,
                max_nodes: usize::MAX,
                max_total_scalar_bytes: usize::MAX,
                enforce_alias_anchor_ratio: false,
            },
        };
        let root: Result<Node, _> = serde_saphyr::from_str_with_options(self.text, options);
        let mut root = root.map_err(|error| self.unparsable(&error))?;
        if self.text.contains("#{") {
            root.read_placeholders(self.text);
        }
        Ok(root)
    }

    /// The file that it is in.
    pub fn source(&self) -> &'s Source {
        self.source
    }

    /// Its text.
    pub fn text(&self) -> &'s str {
        self.text
    }

    /// Where it begins in the file, in bytes.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The place of `span`, which is relative to this document, in the file.
    pub fn place(&self, span: Span) -> Place {
        let position = self.position.relative(span.line, span.column);
        self.source.place(position, self.start + span.start, self.start + span.end)
    }

    /// The placeholder that keeps it from being read at the byte `offset`, if there is
    /// one: what stands there, or a template in that line or anywhere.
    fn hint(&self, offset: usize) -> Option<String> {
        let line_start = self.text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_start..)?.split('\n').next()?;
        let is_to_blame = |found: &Placeholder| {
            let begins = line.find(found.text).unwrap_or_default() + line_start;
            found.is_template() || (begins..begins + found.text.len()).contains(&offset)
        };
        let in_line = placeholder::find(line).filter(is_to_blame);
        let template = || {
            let opening = self.text.find("{{").into_iter().chain(self.text.find("{%")).min()?;
            placeholder::find(self.text.get(opening..)?).filter(Placeholder::is_template)
        };
        in_line.or_else(template).map(|found| found.hint())
    }

    fn unparsable(&self, error: &YamlError) -> Unparsable {
        let message = match error.without_snippet() {
            YamlError::Unexpected { expected: "string scalar", .. } | YamlError::NullIntoString { .. } => {
                "a key must be text".to_owned()
            }
            other => UserMessageFormatter.format_message(other).into_owned(),
        };
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        let (line, column) = error.location().map_or((1, 1), |it| (number(it.line()), number(it.column())));
        // Not every error of the parser comes with a byte.
        let start = byte_of(self.text, line, column);
        let end = self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(start, |character| {
            if character == '\n' || character == '\r' { start } else { start + character.len_utf8() }
        });
        let hint = self.hint(start);
        Unparsable { place: self.place(Span { start, end, line, column }), message, hint }
    }
}

impl Unparsable {
    /// The error of the JSON that begins at the byte `offset`.
    fn json(source: &Source, offset: usize, error: &serde_json::Error) -> Self {
        let (before, json) = source.text.split_at_checked(offset).unwrap_or(("", &source.text));
        let (line, column) = (error.line().max(1), error.column().max(1));
        let start = offset + byte_of(json, line, column);
        let position = Position { line: 1, column: 1 }.after(before).relative(line, column);
        let text = error.to_string();
        // serde_json writes the place at the end of the message.
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let message = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
        let line = json.lines().nth(line - 1).unwrap_or_default();
        let hint = placeholder::find(line).map(|found| found.hint());
        Unparsable { place: source.place(position, start, start), message, hint }
    }
}

/// The byte at a line and a column, both from 1 on; columns are characters.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(line - 1).map(str::len).sum();
    let within: usize = lines.next().unwrap_or_default().chars().take(column - 1).map(char::len_utf8).sum();
    before + within
}

impl Position {
    /// The position after `text`, which begins here.
    fn after(self, text: &str) -> Self {
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        let last = text.rsplit('\n').next().unwrap_or_default().chars().count();
        self.relative(lines + 1, last + 1)
    }

    /// The position at a line and a column that are counted from here.
    fn relative(self, line: usize, column: usize) -> Self {
        match line {
            1 => Position { line: self.line, column: self.column + column - 1 },
            _ => Position { line: self.line + line - 1, column },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn source(name: &str, text: &str) -> Source {
        Source::new(Name::Path(PathBuf::from(name)), text.to_owned())
    }

    /// The texts of the documents, each with the line where it begins.
    fn texts(source: &Source) -> Vec<(usize, &str)> {
        split(source).0.iter().map(|document| (document.position.line, document.text)).collect()
    }

    #[test]
    fn yaml_is_split_at_its_markers() {
        let table: [(&str, &[(usize, &str)]); 9] = [
            ("", &[]),
            ("# nothing\n", &[]),
            ("a: 1\n", &[(1, "a: 1\n")]),
            ("# license\n---\na: 1\n---\nb: 1", &[(1, "# license\n---\na: 1\n"), (4, "---\nb: 1")]),
            ("---\n# empty\n---\r\na: 1\n", &[(1, "---\n# empty\n"), (3, "---\r\na: 1\n")]),
            ("a: |\n  ---\n  text\n---x: 1\n", &[(1, "a: |\n  ---\n  text\n---x: 1\n")]),
            ("a: 1\n...\n# c\nb: 1\n", &[(1, "a: 1\n...\n"), (3, "# c\nb: 1\n")]),
            (
                "%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 1\n",
                &[(1, "%YAML 1.2\n---\na: 1\n...\n"), (5, "%YAML 1.2\n---\nb: 1\n")],
            ),
            ("--- {a: 1}\n--- {b: 1}\n", &[(1, "--- {a: 1}\n"), (2, "--- {b: 1}\n")]),
        ];
        for (text, expected) in table {
            let source = source("a.yaml", text);
            assert_eq!(texts(&source), expected, "{text:?}");
            for document in split(&source).0 {
                document.parse().unwrap();
            }
        }
    }

    #[test]
    fn json_is_split_at_its_values() {
        let source = source("a.json", "{\"a\": 1}\n\n{\"b\":\n 1} {\"c\": \"---\"}\n");
        let (documents, rest) = split(&source);
        assert!(rest.is_empty());
        let places: Vec<_> = documents
            .iter()
            .map(|document| document.place(document.parse().unwrap().beginning()).position.unwrap())
            .collect();
        let at = |line, column| Position { line, column };
        assert_eq!(places, [at(1, 2), at(3, 2), at(4, 6)]);
    }

    #[test]
    fn broken_json_hides_nothing_before_it() {
        let source = source("a.json", "{\"a\": 1}\n{\"b\": 1,}\n");
        let (documents, rest) = split(&source);
        assert_eq!(documents.len(), 1);
        let [rest] = rest.as_slice() else { panic!("{rest:?}") };
        assert_eq!(
            (rest.place.to_string().as_str(), rest.message.as_str()),
            ("a.json:2:9", "key must be a string")
        );
    }

    #[test]
    fn a_brace_may_begin_yaml() {
        let source = source("a.yaml", "{a: 1,\n b: 2}\n---\nc: 1\n");
        assert_eq!(texts(&source).len(), 2);
    }

    #[test]
    fn what_is_no_yaml_is_reported_in_the_file() {
        let table = [
            ("a: 1\n---\nb: \"x\n", "a.yaml:3:4: unclosed quote"),
            ("a: 1\n b: 2\n", "a.yaml:2:3: mapping values are not allowed in this context"),
            ("ä: *none\n", "a.yaml:1:4: reference to unknown value"),
            ("a: 1\n<<: 2\n", "a.yaml:1:1: << merges maps: it needs one, or a list of them"),
            ("{x}: 1\n", "a.yaml:1:1: a key must be text"),
        ];
        for (text, expected) in table {
            let source = source("a.yaml", text);
            let error = split(&source).0.iter().find_map(|document| document.parse().err()).unwrap();
            assert_eq!(format!("{}: {}", error.place, error.message), expected);
            assert_eq!(error.hint, None);
            assert!(error.place.excerpt.is_some());
        }
    }

    #[test]
    fn templates_are_recognised() {
        for text in ["{{- if .Values.x }}\na: 1\n{{- end }}\n", "a: {{ .Values.a }}\n", "a: {{ .a }}-b\n"] {
            let source = source("a.yaml", text);
            let error = split(&source).0.iter().find_map(|document| document.parse().err()).unwrap();
            let hint = error.hint.unwrap();
            assert!(hint.contains("render it first: helm template CHART | gapless check -"), "{hint}");
        }
    }

    #[test]
    fn a_placeholder_that_is_no_yaml_is_named() {
        let table = [
            ("a.yaml", "a: 1\nreplicas: %REPLICAS%\n", Some("%REPLICAS%")),
            ("a.yaml", "replicas: @replicas@\n", Some("@replicas@")),
            ("a.yaml", "a: {{ .Values.a }}\nb: 1\n", Some("{{ .Values.a }}")),
            ("a.yaml", "{% if a %}\na: 1\n{% endif %}\n", Some("{% if a %}")),
            ("a.json", "{\"a\": 1,\n \"replicas\": ${N}}", Some("${N}")),
            ("a.json", "{\"a\": {{ .Values.a }}}", Some("{{ .Values.a }}")),
            // That is not what is wrong.
            ("a.yaml", "a: \"$HOME <x>\nb: 1\n", None),
            ("a.yaml", "a: ${X}: b\n", None),
            ("a.json", "{\"a\": 1,}", None),
        ];
        for (name, text, expected) in table {
            let source = source(name, text);
            let (documents, broken) = split(&source);
            let errors = documents.iter().filter_map(|document| document.parse().err()).chain(broken);
            let [error] = errors.collect::<Vec<_>>().try_into().unwrap();
            let hint = error.hint.clone().unwrap_or_default();
            assert_eq!(error.hint.is_some(), expected.is_some(), "{text:?} {error:?}");
            assert!(hint.contains(expected.unwrap_or_default()), "{text:?} {hint}");
        }
    }

    #[test]
    fn a_placeholder_that_is_a_comment_is_a_text() {
        let text =
            "a: #{A}#\nb:\n- c:   #{B.c}# \r\n  d: # {D}#\n  e: 1 #{E}#\n  f: \"#{F}#\"\ng: #{G}# later\n";
        let source = source("a.yaml", text);
        let expected = serde_json::json!({
            "a": "#{A}#", "b": [{"c": "#{B.c}#", "d": null, "e": 1, "f": "#{F}#"}], "g": null,
        });
        assert_eq!(split(&source).0[0].parse().unwrap().to_value(), expected);
    }

    #[test]
    fn json_may_have_the_markers_of_yaml() {
        let whole = [
            ("a.json", "{\"a\": 1}\n---\n{\"b\": 2}\n", 2),
            ("a.json", "---\n{\"a\": 1}\n{\"b\": 2}\n---\n{\"c\": \"---\"}\n", 3),
            ("a.yaml", "{\"a\": 1} {\"b\": 2}\n---\nc: 1\n---\n{d: 1}\n", 4),
            ("a.yaml", "--- {\"a\": 1}\n--- {\"b\": 1}\n", 2),
            ("a.yaml", "{\"a\": 1}\r\n---\r\n{\"b\": 2}\r\n", 2),
            ("a.json", "", 0),
        ];
        for (name, text, count) in whole {
            let source = source(name, text);
            let (documents, broken) = split(&source);
            assert!(broken.is_empty(), "{text:?} {broken:?}");
            let values: Vec<_> =
                documents.iter().map(|document| document.parse().unwrap().to_value()).collect();
            assert_eq!(values.len(), count, "{text:?} {values:?}");
            assert!(
                values.iter().all(|value| value.as_object().is_some_and(|it| it.len() == 1)),
                "{values:?}"
            );
        }

        // What is broken hides nothing, before or behind it.
        let source = source("a.json", "{\"a\": 1}\n---\n{\"b\": 2}\n{\"c\": ,}\n---\n{\"d\": 2}\n");
        let (documents, broken) = split(&source);
        assert_eq!(documents.len(), 3);
        assert_eq!(broken.iter().map(|it| it.place.to_string()).collect::<Vec<_>>(), ["a.json:4:7"]);
        let last = &documents[2];
        assert_eq!(last.place(last.parse().unwrap().beginning()).to_string(), "a.json:6:2");
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        // As go.yaml.in/yaml/v2 reads them, which kubectl does.
        let table = [
            ("a: 1\na: 2\n", r#"{"a": 2}"#, "1:a:2"),
            ("a: 1\nb: 1\na: 2\na: 3\n", r#"{"a": 3, "b": 1}"#, "1:a:3 3:a:4"),
            ("a: {b: 1}\na: {c: 1}\n", r#"{"a": {"c": 1}}"#, "1:a:2"),
            ("a: {b: 1, b: 2}\n", r#"{"a": {"b": 2}}"#, "1:b:1"),
            ("{\"a\": [{\"b\": 1,\n\"b\": 2}]}", r#"{"a": [{"b": 2}]}"#, "1:b:2"),
            ("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n", r#"{"x": {"a": 1}, "y": {"a": 2}}"#, ""),
            ("x: &x {a: 1}\ny:\n  a: 2\n  <<: *x\n", r#"{"x": {"a": 1}, "y": {"a": 1}}"#, "3:a:4~"),
            ("<<: {a: 1}\n<<: {b: 2}\n", r#"{"a": 1, "b": 2}"#, ""),
            ("<<: {a: 1}\n<<: {a: 2}\n", r#"{"a": 2}"#, ""),
            ("<<: [{a: 1}, {a: 2, b: 3}]\n", r#"{"a": 1, "b": 3}"#, ""),
            ("\"<<\": {a: 1}\n", r#"{"<<": {"a": 1}}"#, ""),
            // The same text is read twice.
            (
                "x: &x {a: 1, a: 2}\ny: *x\nz: {<<: *x}\n",
                r#"{"x": {"a": 2}, "y": {"a": 2}, "z": {"a": 2}}"#,
                "1:a:1",
            ),
            (
                "a: 2.0\nb: -0.0\nc: 1e3\nd: 2.5\ne: '2.0'\n",
                r#"{"a": 2, "b": 0, "c": 1000, "d": 2.5, "e": "2.0"}"#,
                "",
            ),
            ("a:\nb: ~\nc: null\nd: ''\n", r#"{"a": null, "b": null, "c": null, "d": ""}"#, ""),
        ];
        for (text, value, outdone) in table {
            let source = source("a.yaml", text);
            let root = split(&source).0[0].parse().unwrap();
            assert_eq!(
                root.to_value(),
                serde_json::from_str::<serde_json::Value>(value).unwrap(),
                "{text:?}"
            );
            let found = root.all_outdone().into_iter().map(|it| {
                format!(
                    "{}:{}:{}{}",
                    it.written.line,
                    it.key,
                    it.counts.line,
                    if it.is_merged { "~" } else { "" }
                )
            });
            assert_eq!(found.collect::<Vec<_>>().join(" "), outdone, "{text:?}");
        }
        for text in ["<<:\n", "<<: [1]\n", "<<: [{a: 1}, x]\n", "a: &a [1]\nb: {<<: *a}\n"] {
            let source = source("a.yaml", text);
            let error = split(&source).0[0].parse().unwrap_err();
            assert_eq!(error.message, "<< merges maps: it needs one, or a list of them", "{text:?}");
        }
    }

    #[test]
    fn neither_depth_nor_aliases_exhaust_the_machine() {
        // Without optimisation a level takes 35 KB, and this thread has 2 MiB.
        let thread = std::thread::Builder::new().stack_size(8 << 20);
        thread.spawn(limits).unwrap().join().unwrap();
    }

    fn limits() {
        let parse =
            |text: &str| split(&source("a.yaml", text)).0[0].parse().map(|_| ()).map_err(|it| it.message);
        parse(&format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).unwrap();
        let error = parse(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).unwrap_err();
        assert_eq!(error, "recursion limit exceeded");

        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let error = parse(&bomb).unwrap_err();
        assert!(error.contains("too large or too complex"), "{error}");
    }

    #[test]
    fn what_other_tools_write_is_read_too() {
        let text = "a: !Ref b\nc: !reference [d]\ne: !!python/name:f ''\n80: x\non: y\nf: .inf\ng: 0644\n";
        let source = source("a.yaml", text);
        let value = split(&source).0[0].parse().unwrap().to_value();
        assert_eq!((&value["80"], &value["on"], &value["g"]), (&"x".into(), &true.into(), &420.into()));
    }
}
