//! The namespaces, the worst first.

use std::cmp::Reverse;

use super::workload;
use crate::markup::escaped;
use crate::report::count::Count;
use crate::report::{Judgement, Report};

/// A namespace, and what is in it.
pub struct Namespace<'r> {
    /// Its name; empty where a file names none.
    pub name: &'r str,
    /// The profile by which it was judged.
    pub profile: &'r str,
    /// The numbers.
    pub count: Count,
    /// The workloads, the worst first.
    pub judgements: Vec<&'r Judgement>,
}

/// All of them, the worst first.
pub fn worst_first(report: &Report) -> Vec<Namespace<'_>> {
    let mut namespaces: Vec<_> = report
        .by_namespace()
        .into_iter()
        .map(|((name, profile), count)| Namespace { name, profile, count, judgements: Vec::new() })
        .collect();
    // As by_namespace has them: sorted by name and profile.
    for judgement in report.judgements() {
        let key = (judgement.subject.namespace.as_deref().unwrap_or_default(), judgement.profile.as_str());
        let found = namespaces.binary_search_by_key(&key, |it| (it.name, it.profile));
        if let Some(namespace) = found.ok().and_then(|place| namespaces.get_mut(place)) {
            namespace.judgements.push(judgement);
        }
    }
    for namespace in &mut namespaces {
        namespace.judgements.sort_by_key(|it| {
            let rank = workload::marks(it).first().map_or(usize::MAX, |(rank, _)| *rank);
            (rank, Reverse(it.denials().count()), Reverse(it.warnings().count()))
        });
    }
    namespaces.sort_by_key(|it| {
        let Count { denied, warned, completed, .. } = it.count;
        (Reverse(denied), Reverse(warned), Reverse(completed), it.name)
    });
    namespaces
}

/// The name as the page shows it, escaped.
pub fn shown(name: &str) -> String {
    if name.is_empty() { "(no namespace)".to_owned() } else { escaped(name) }
}

/// What becomes of the workloads of each namespace.
pub fn table(report: &Report, namespaces: &[Namespace]) -> String {
    if namespaces.is_empty() {
        return String::new();
    }
    let mut html = "<div class=\"wide\"><table>\n<caption>How many workloads there are of what; one that is \
                    denied may have warnings too, and be completed all the same.</caption>\n<thead><tr><th scope=\"col\">Namespace</th>\
                    <th scope=\"col\">Profile</th>"
        .to_owned();
    let heads = ["Judged", "Denied", "Warned", "Completed next time", "Clean", "Waived"];
    heads.iter().for_each(|head| html += &format!("<th scope=\"col\" class=\"num\">{head}</th>"));
    html += "</tr></thead>\n<tbody>\n";
    for (number, namespace) in namespaces.iter().enumerate() {
        html += &format!(
            "<tr><th scope=\"row\"><a href=\"#n{number}\">{}</a></th><td>{}</td>{}</tr>\n",
            shown(namespace.name),
            escaped(namespace.profile),
            numbers(&namespace.count)
        );
    }
    let all = numbers(&report.count());
    html + &format!(
        "</tbody>\n<tfoot><tr><th scope=\"row\">All</th><td></td>{all}</tr></tfoot>\n</table></div>\n"
    )
}

fn numbers(count: &Count) -> String {
    let Count { judged, denied, warned, completed, clean, waived, .. } = *count;
    let cells =
        [(judged, ""), (denied, " d"), (warned, " w"), (completed, " n"), (clean, ""), (waived, " x")];
    let cell = |(number, class): (usize, &str)| {
        let zero = if number == 0 { " zero" } else { "" };
        format!("<td class=\"num{class}{zero}\">{number}</td>")
    };
    cells.map(cell).concat()
}
