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
use super::count::plural;
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
    let title = sentence::sentence(report);
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
        "<main>\n<h1>{}.</h1>\n<p class=\"faint\">{} · default profile {} · {} · gapless {}</p>\n",
        escaped(&title),
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
    html += &namespaces::table(report, &namespaces);
    html += &tables::waivers(report);
    html += &tables::unread(report, &page.unread);
    html += &workloads(&namespaces, &pictures);
    html += &tables::skipped(report);
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
    a process that ends 1s after SIGTERM. What a rule means: <code>gapless rules ID</code>.</p></footer>\n";

/// The workloads, by namespace.
fn workloads(namespaces: &[namespaces::Namespace], pictures: &Pictures) -> String {
    let mut html = "<h2 id=\"workloads\">Workloads</h2>\n".to_owned();
    html += "<div id=\"filter\" hidden><input type=\"search\" id=\"find\" aria-label=\"Find workloads\" \
             placeholder=\"Namespace, name, rule, any text\" autocomplete=\"off\">";
    for (mark, words) in workload::MARKS {
        html += &format!("<label><input type=\"checkbox\" value=\"{mark}\">{words}</label>");
    }
    html += "<output id=\"shown\"></output></div>\n";
    for (number, namespace) in namespaces.iter().enumerate() {
        html += &format!(
            "<section class=\"names\" id=\"n{number}\">\n<h3>{} <small>profile {}, {}</small></h3>\n",
            namespaces::shown(namespace.name),
            escaped(namespace.profile),
            plural(namespace.count.judged, "workload"),
        );
        namespace.judgements.iter().for_each(|it| html += &workload::one(it, pictures));
        html += "</section>\n";
    }
    html
}
