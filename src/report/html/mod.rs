//! For people who look at it: one page, which loads nothing, and which needs no script to
//! be read.
//!
//! [`write`] reads as the page does, from top to bottom. All text goes through
//! [`crate::markup::escaped`].

mod namespaces;
mod sentence;
mod tables;
#[cfg(test)]
mod testing;
mod workload;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use ring::digest::{SHA256, digest};

use super::Report;
use super::count::counted;
use crate::markup::escaped;
use workload::Pictures;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");

/// What is on the page.
#[derive(Debug)]
pub struct Page<'r> {
    /// What was said of the workloads, with their details.
    pub report: &'r Report,
    /// What was looked at.
    pub scope: String,
    /// The day on which it was.
    pub today: Date,
    /// What comes before all else: of what, and what.
    pub remarks: Vec<(String, String)>,
    /// What could not be read or listed, and why.
    pub unread: Vec<(String, String)>,
    /// All of it as programs read it.
    pub json: &'r str,
}
/// The page.
pub fn write(page: &Page) -> String {
    let report = page.report;
    let (title, becomes) = sentence::sentence(report);
    let pictures = Pictures::of(report);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>gapless: {}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n",
        security_policy(),
        escaped(&title),
    );
    html += &pictures.symbols();
    html += &format!(
        "<main>\n<h1>{}</h1>\n<p class=\"faint\">{} in {} · default profile {} · <span class=\"day\">{}</span> · gapless {}</p>\n",
        match becomes.as_str() {
            "" => format!("{}.", escaped(&title)),
            becomes => format!("{}; <span>{}.</span>", escaped(&title), escaped(becomes)),
        },
        counted(&report.kinds()),
        escaped(&page.scope),
        escaped(&report.profile),
        page.today,
        env!("CARGO_PKG_VERSION"),
    );
    html += &tables::bar(report);
    for (of, what) in &page.remarks {
        html += &format!("<p class=\"note\"><b>{}</b>: {}</p>\n", escaped(of), escaped(what));
    }
    let namespaces = namespaces::worst_first(report);
    let parts = [
        ("namespaces", "Namespaces", namespaces::table(report, &namespaces)),
        ("workloads", "Workloads", workloads(&namespaces, &pictures)),
        ("waivers", "Waivers", tables::waivers(report)),
        ("unread", "Not read", tables::unread(report, &page.unread)),
        ("skipped", "Not judged", tables::skipped(report)),
    ];
    html += "<nav>";
    for (id, title, _) in parts.iter().filter(|(.., part)| !part.is_empty()) {
        html += &format!("<a href=\"#{id}\">{title}</a>");
    }
    html += "</nav>\n";
    for (id, title, part) in parts.iter().filter(|(.., part)| !part.is_empty()) {
        html += &format!("<h2 id=\"{id}\">{title}</h2>\n{part}");
    }
    html += FOOTER;
    html += "</main>\n";
    html += &format!("<script type=\"application/json\" id=\"report\">{}</script>\n", json(page.json));
    html += &format!("<script>{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

/// What the page may do: nothing but to use its own style and script.
fn security_policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// JSON without line breaks, which ends no script: in it `<` stands in texts only.
fn json(json: &str) -> String {
    json.lines().map(str::trim_start).collect::<String>().replace('<', "\\u003c")
}

const FOOTER: &str = "<footer><p>Denied: it would be, if it were new; what runs keeps running. Completed: gapless adds \
    what is missing when the workload next rolls out by a change of its own, and keeps a record of it in the annotation \
    gapless.dev/injected. The pictures are simulations, of the slowest case, with a container that listens after 3s and \
    a process that ends 1s after SIGTERM; a pod without a readiness \
    probe counts as available before it listens. What a rule means: <code>gapless rules ID</code>.</p></footer>\n";

/// The workloads, by namespace.
fn workloads(namespaces: &[namespaces::Namespace], pictures: &Pictures) -> String {
    if namespaces.is_empty() {
        return String::new();
    }
    let mut html =
        "<div>\n<div id=\"filter\" hidden><input type=\"search\" id=\"find\" aria-label=\"Find workloads\" \
             placeholder=\"Namespace, name, rule, any text\" autocomplete=\"off\">"
            .to_owned();
    for (mark, words) in workload::MARKS {
        html += &format!("<label><input type=\"checkbox\" value=\"{mark}\">{words}</label>");
    }
    html += "<output id=\"shown\"></output></div>\n";
    for (number, namespace) in namespaces.iter().enumerate() {
        html += &format!(
            "<section class=\"names\" id=\"n{number}\">\n<h3>{} <small>profile {}, {} judged</small></h3>\n",
            namespaces::shown(namespace.name),
            escaped(namespace.profile),
            namespace.count.judged,
        );
        namespace.judgements.iter().for_each(|it| html += &workload::one(it, pictures));
        html += "</section>\n";
    }
    html + "</div>\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{judgement, report};
    use super::*;
    use crate::admission::{Judged, Outcome};
    use crate::field::FieldPath;
    use crate::finding::{Action, Finding};
    use crate::kubernetes::kind::Kind;
    use crate::offline::source::{Name, Place};
    use crate::report::details::{Details, Picture};
    use crate::report::diff::Sign;
    use crate::report::{Entry, Found, InputError, Judgement, Note, Problem, Reason, Skipped, Subject};
    use crate::waiver::Waiver;

    /// A page in which this text stands wherever there can be any.
    fn page_of(text: &str) -> String {
        let own = || text.to_owned();
        let place = || Place { name: Name::Path(text.into()), position: None, excerpt: None };
        let found = |outcome| {
            let finding =
                Finding::invalid("single-replica", FieldPath::new("metadata.labels").key(text), own(), own());
            let waived_because = (outcome == Outcome::Waived).then(own);
            let judged = Judged { finding, action: Action::Warn, outcome, waived_because };
            Found { place: Some(place()), judged }
        };
        let picture = |svg: &str| Picture { answer: own(), svg: Some(svg.to_owned()) };
        let told = Judgement {
            profile: own(),
            findings: Outcome::ALL.map(found).into(),
            problems: vec![Problem { id: own(), message: own(), place: Some(place()) }],
            notes: vec![Note { message: own(), place: Some(place()) }],
            injections: vec![("pre-stop-sleep", own())],
            waivers: vec![Waiver { id: own(), reason: own(), until: None }],
            details: Some(Details {
                diff: vec![(Sign::Kept, own()), (Sign::Added, own()), (Sign::Removed, own())],
                now: picture("<path/>"),
                completed: Some(picture("<rect/>")),
            }),
            ..judgement(Kind::Deployment, text, text)
        };
        let clean = Judgement { profile: own(), ..judgement(Kind::DaemonSet, text, text) };
        let mut report = report(vec![told, clean]);
        report.profile = own();
        let subject = Subject::live(Kind::Rollout, text, text);
        report.entries.push(Entry::Skipped(Skipped { subject, reason: Reason::Partial, message: own() }));
        report.entries.push(Entry::Error(InputError { place: place(), message: own(), hint: Some(own()) }));
        write(&Page {
            report: &report,
            scope: own(),
            today: jiff::civil::date(2026, 11, 23),
            remarks: vec![(own(), own())],
            unread: vec![(own(), own())],
            json: &crate::printable::to_json(&text).expect("JSON"),
        })
    }

    /// Its tags with all of their attributes.
    fn tags(html: &str) -> Vec<&str> {
        html.split('<').skip(1).filter_map(|it| it.split('>').next()).collect()
    }

    #[test]
    fn what_is_markup_in_other_places_is_text_here() {
        let benign = page_of("x");
        assert!(tags(&benign).len() > 100, "{benign}");
        for hostile in
            ["</script><script>", "<!--", "\"><img src=x onerror=alert(1)>", "' x='", "]]>", "&lt;", "\0<"]
        {
            assert_eq!(tags(&page_of(hostile)), tags(&benign), "{hostile:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_text_opens_a_tag_or_leaves_an_attribute(text in "(?s)[<>\"'&/!a-z= \\-\\\\\u{0}-\u{20}]{1,12}.{0,4}") {
            let benign = page_of("x");
            let page = page_of(&text);
            prop_assert_eq!(tags(&page), tags(&benign));
        }
    }

    #[test]
    fn what_is_opened_is_closed() {
        let page = page_of("x");
        let mut open = Vec::new();
        for tag in tags(&page) {
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a name");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && !["!doctype", "meta", "input"].contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn the_policy_names_what_stands_in_the_page() {
        let page = page_of("x");
        let between = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).expect("a start");
            rest.split_once(end).expect("an end").0.to_owned()
        };
        let hash = |text: &str| BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()));
        let policy = between("Content-Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        let style = hash(&between("<style>", "</style>"));
        let script = hash(&between("<script>", "</script>"));
        assert!(policy.contains(&format!("style-src 'sha256-{style}'")), "{policy}");
        assert!(policy.contains(&format!("script-src 'sha256-{script}'")), "{policy}");
    }

    #[test]
    fn the_worst_namespace_and_the_waiver_that_ends_first_come_first() {
        let waiver = |id: &str, until| Waiver { id: id.to_owned(), reason: "r".to_owned(), until };
        let bad = Judgement {
            problems: vec![Problem { id: "bad".to_owned(), message: String::new(), place: None }],
            ..judgement(Kind::Deployment, "z-warned", "web")
        };
        let waived = Judgement {
            waivers: vec![
                waiver("no-end", None),
                waiver("late", Some(jiff::civil::date(2027, 5, 1))),
                waiver("soon", Some(jiff::civil::date(2026, 12, 1))),
            ],
            ..judgement(Kind::Deployment, "a-clean", "web")
        };
        let report = report(vec![waived, bad]);
        let page = Page {
            report: &report,
            scope: String::new(),
            today: jiff::civil::date(2026, 11, 23),
            remarks: Vec::new(),
            unread: Vec::new(),
            json: "{}",
        };
        let html = write(&page);
        let places = |texts: &[&str]| {
            texts.iter().map(|text| html.find(text).unwrap_or_else(|| panic!("{text}"))).collect::<Vec<_>>()
        };
        assert!(places(&[">z-warned</a>", ">a-clean</a>"]).is_sorted());
        assert!(places(&["<td>soon</td>", "<td>late</td>", "<td>no-end</td>"]).is_sorted());
        // Nothing is said of what there is none of.
        assert!(!html.contains("Not read") && !html.contains("Not judged"));
    }
}
