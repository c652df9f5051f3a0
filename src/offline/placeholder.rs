//! Places in a text that some tool fills in before Kubernetes sees it.

/// A placeholder in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder<'t> {
    /// As it is written, with what encloses it.
    pub text: &'t str,
    tool: Tool,
}

/// What fills placeholders of one spelling in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// Helm, and whatever else has templates like Go's.
    Template,
    /// Shells, envsubst, Flux.
    Environment,
    /// `$(X)`: Kustomize's vars, pipelines, `oc process` as `${{X}}`.
    Variables,
    /// A person, or a command in a script.
    Unknown,
}

/// How placeholders begin and end. Of those that begin at one place the first one counts.
const SPELLINGS: [(&str, &str, Tool); 12] = [
    ("${{", "}}", Tool::Variables),
    ("{{", "}}", Tool::Template),
    ("{%", "%}", Tool::Template),
    ("${", "}", Tool::Environment),
    ("$(", ")", Tool::Variables),
    ("#{", "}#", Tool::Unknown),
    ("[[", "]]", Tool::Template),
    ("((", "))", Tool::Unknown),
    ("__", "__", Tool::Unknown),
    ("@", "@", Tool::Unknown),
    ("%", "%", Tool::Unknown),
    ("<", ">", Tool::Unknown),
];

/// Longer ones are none.
const LONGEST: usize = 200;

/// The first placeholder in `text`.
pub fn find(text: &str) -> Option<Placeholder<'_>> {
    text.char_indices().find_map(|(start, _)| at(text.get(start..)?))
}

fn at(text: &str) -> Option<Placeholder<'_>> {
    for (opening, closing, tool) in SPELLINGS {
        let Some(rest) = text.strip_prefix(opening) else { continue };
        let near = rest.get(..rest.floor_char_boundary(LONGEST)).unwrap_or(rest);
        let near = near.split('\n').next().unwrap_or_default();
        let Some((name, _)) = near.split_once(closing) else { continue };
        if is_name(name, tool, opening == "<") {
            let length = opening.len() + name.len() + closing.len();
            return Some(Placeholder { text: text.get(..length)?, tool });
        }
    }
    // `$NAME`
    let name = text.strip_prefix('$')?;
    let length = name.find(|other: char| !is_word(other)).unwrap_or(name.len());
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_');
    is_name.then_some(Placeholder { text: text.get(..=length)?, tool: Tool::Environment })
}

/// Whether this between two marks is what a tool looks up, and not what stands between
/// them by chance. In the marks of templates anything may stand; what a person is to fill
/// in may be described.
fn is_name(text: &str, tool: Tool, is_prose: bool) -> bool {
    match tool {
        Tool::Template | Tool::Environment | Tool::Variables => !text.trim().is_empty(),
        Tool::Unknown => {
            text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && text
                    .chars()
                    .all(|other| is_word(other) || "-.".contains(other) || is_prose && other == ' ')
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

impl Placeholder<'_> {
    /// Whether it is a part of a template, whose parts affect what stands elsewhere.
    pub fn is_template(&self) -> bool {
        self.tool == Tool::Template
    }

    /// What it is, and what to run first.
    pub fn hint(&self) -> String {
        let text = self.text;
        match self.tool {
            Tool::Template => format!(
                "{text} looks like a part of a Helm template; render it first: \
                 helm template CHART | gapless check -"
            ),
            Tool::Environment => format!(
                "{text} is a placeholder; fill it in first, for example: envsubst < FILE | gapless check -"
            ),
            Tool::Variables => format!(
                "{text} is a placeholder; run what fills it in first, \
                 for example: kubectl kustomize DIR | gapless check -"
            ),
            Tool::Unknown => {
                format!(
                    "{text} looks like a placeholder; let what fills it in run first, or leave the file out with --exclude"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_many_tools_are_found() {
        let table = [
            ("replicas: {{ .Values.replicas }}", "{{ .Values.replicas }}", "helm template"),
            ("{{- if .Values.x }}", "{{- if .Values.x }}", "helm template"),
            ("{% if x %}", "{% if x %}", "render it first"),
            ("replicas: ${N}", "${N}", "envsubst"),
            ("replicas: ${N:-3}", "${N:-3}", "envsubst"),
            ("replicas: ${{N}}", "${{N}}", "what fills it in"),
            ("replicas: $N", "$N", "envsubst"),
            ("found \"$(GRACE)\", expected a whole number", "$(GRACE)", "kubectl kustomize"),
            ("a: <replicas>", "<replicas>", "placeholder"),
            ("a: <number of pods>", "<number of pods>", "placeholder"),
            ("a: '#{grace.period}#'", "#{grace.period}#", "placeholder"),
            ("a: x__GRACE__y", "__GRACE__", "placeholder"),
            ("a: @GRACE@", "@GRACE@", "placeholder"),
            ("a: %GRACE%", "%GRACE%", "placeholder"),
            ("a: ((grace))", "((grace))", "placeholder"),
            ("a: [[ grace ]]", "[[ grace ]]", "render it first"),
            ("a: ä{{ b }}", "{{ b }}", "render it first"),
        ];
        for (text, expected, hint) in table {
            let found = find(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.text, expected, "{text}");
            assert!(found.hint().contains(hint), "{}", found.hint());
            assert!(found.hint().contains(expected), "{}", found.hint());
        }
    }

    #[test]
    fn what_is_only_similar_is_none() {
        let none = [
            "plenty",
            "25%",
            "%a b%",
            "50% or 25%",
            "a < b > c",
            "a@b.example",
            "1 <2> 3",
            "$5",
            "{a: {b: c}}",
            "__",
            "____",
            "$()",
            "${\n}",
            "{{}",
            "a # b",
            "",
        ];
        for text in none {
            assert_eq!(find(text), None, "{text}");
        }
        assert_eq!(find(&format!("{{{{{}}}}}", "x".repeat(LONGEST + 1))), None);
    }
}
