//! A page of a rule, a default or a way to release, taken apart.

use serde_json::Value;

/// A page, taken apart.
pub struct Page<'p> {
    pub title: &'p str,
    /// The paragraph below the title.
    pub summary: String,
    pub sections: Vec<Section<'p>>,
}

pub struct Section<'p> {
    pub heading: &'p str,
    /// The prose, without code blocks.
    pub text: String,
    /// The code blocks in YAML: the first document of each.
    pub blocks: Vec<Value>,
    /// The documents that follow in each of them.
    pub others: Vec<Vec<Value>>,
    /// The code blocks in PromQL.
    pub queries: Vec<String>,
}

impl<'p> Page<'p> {
    /// Reads the Markdown that the pages are written in: headings of two
    /// levels, prose, and fenced code blocks in YAML and PromQL.
    pub fn parse(id: &str, text: &'p str) -> Self {
        let mut page = Page { title: "", summary: String::new(), sections: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let section = page.sections.last_mut().expect("a code block above the first section");
                if language == "promql" {
                    section.queries.push(code.join("\n"));
                    continue;
                }
                assert_eq!(language, "yaml", "{id}: a code block that is not executed");
                let mut documents: Vec<Value> =
                    code.split(|line| *line == "---").map(|lines| yaml(id, &lines.join("\n"))).collect();
                section.blocks.push(documents.remove(0));
                section.others.push(documents);
            } else if let Some(heading) = line.strip_prefix("## ") {
                page.sections.push(Section {
                    heading,
                    text: String::new(),
                    blocks: Vec::new(),
                    others: Vec::new(),
                    queries: Vec::new(),
                });
            } else if let Some(title) = line.strip_prefix("# ") {
                assert!(page.title.is_empty(), "{id}: a second title, {title}");
                page.title = title;
            } else {
                let text = page.sections.last_mut().map_or(&mut page.summary, |section| &mut section.text);
                text.push_str(line);
                text.push('\n');
            }
        }
        page
    }

    pub fn section(&self, heading: &str) -> &Section<'p> {
        self.sections.iter().find(|section| section.heading == heading).expect("a section of that heading")
    }

    /// The only code block of a section.
    pub fn block(&self, heading: &str) -> &Value {
        match &self.section(heading).blocks[..] {
            [only] => only,
            blocks => panic!("{}: {} code blocks in {heading:?}", self.title, blocks.len()),
        }
    }
}

/// Reads YAML as kubectl does, where 0644 is a number in base 8.
pub fn yaml(id: &str, text: &str) -> Value {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{id}: {error}\n{text}"))
}
