//! Reports as a page: what is in it, and what a real browser makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support;
use crate::support::audit::audit;
use crate::support::browser::Browser;
use crate::support::deployment::deployment_with;
use crate::support::fixtures;
use crate::support::ran::{Ran, gapless, with_stdin};
use crate::support::stand_in::fake_api_server;

/// What a page may weigh that tells of a thousand Deployments.
const MOST_BYTES: usize = 4 << 20;

/// How many workloads are seen, and what the filter says of it.
const SEEN: &str = "(() => {
    const all = [...document.querySelectorAll('.one')];
    const seen = all.filter((it) => it.checkVisibility()).length;
    return [seen, all.length, document.getElementById('shown').textContent];
})()";

/// How many workloads show what is inside them, and how many have anything inside.
const OPEN: &str = "(() => {
    const inside = [...document.querySelectorAll('details.one > div')];
    return [inside.filter((it) => it.checkVisibility({contentVisibilityAuto: true})).length, inside.length];
})()";

fn check(form: &str, input: &str) -> Ran {
    with_stdin(gapless("check", &["-f", form, "-"]), input)
}

fn written(directory: &Path, page: &str) -> PathBuf {
    let file = directory.join("report.html");
    fs::write(&file, page).expect("a file");
    file
}

fn filter(browser: &mut Browser, words: &str, mark: Option<&str>) -> Value {
    let mark = mark.map_or_else(|| "null".to_owned(), |mark| format!("\"{mark}\""));
    browser.evaluate(&format!(
        "document.getElementById('find').value = {words:?};
        document.querySelectorAll('#filter input[type=checkbox]').forEach((it) => it.checked = it.value === {mark});
        document.getElementById('filter').dispatchEvent(new Event('input'))"
    ));
    browser.evaluate(SEEN)
}

/// Deployments of all sorts: what gapless completes, what is denied, warned and waived.
fn a_thousand() -> Vec<Value> {
    let spec = |number: usize| match number % 4 {
        0 => json!({"replicas": 1}),
        1 => json!({"replicas": 3, "revisionHistoryLimit": 0, "strategy": {"type": "Recreate"}}),
        _ => json!({"replicas": 2 + number % 7}),
    };
    let one = |number: usize| {
        let mut deployment = deployment_with(&format!("web-{number}"), &spec(number));
        deployment["metadata"]["namespace"] = json!(format!("team-{}", number % 20));
        if number.is_multiple_of(10) {
            let reason = "a consumer of a queue, until 2999-12-31";
            deployment["metadata"]["annotations"] = json!({"gapless.dev/waive.single-replica": reason});
        }
        deployment
    };
    (0..1_000).map(one).collect()
}

#[test]
fn the_data_are_those_for_programs_and_nothing_is_loaded() {
    for name in ["check/anchors.yaml", "check/skipped.yaml", "check/tree/broken.yml"] {
        let input = fs::read_to_string(fixtures::path(name)).expect("a fixture");
        let (page, json) = (check("html", &input), check("json", &input));
        assert_eq!(page.code, json.code, "{page:?}");
        assert_eq!(page.data_of_page(), json.json(), "{name}");
        for loading in
            [" src=", "url(", "<link", "@import", "<iframe", "<img", "<object", "<base", " style=", " on"]
        {
            let markup = page.stdout.split("<script").next().expect("a page");
            let tags: Vec<&str> = markup.split('<').filter_map(|it| it.split('>').next()).collect();
            assert!(!tags.iter().any(|tag| format!("<{tag}").contains(loading)), "{loading} in {name}");
            assert!(loading.starts_with(' ') || !page.stdout.contains(loading), "{loading} in {name}");
        }
    }
}

#[test]
fn places_in_files_and_what_is_not_read_are_on_the_page() {
    let input = fs::read_to_string(fixtures::path("check/skipped.yaml")).expect("a fixture");
    let page = check("html", &format!("{input}\n---\na: b: c\n")).stdout;
    for text in ["&lt;stdin&gt;:", "Not judged", "(owned)", "Not read"] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn a_thousand_deployments_are_filtered_and_printed_in_a_browser() {
    let list = json!({"kind": "DeploymentList", "items": a_thousand(), "metadata": {}});
    // Once to know them as neighbours, and once to judge them; and all of it for programs.
    let (home, environment) = fake_api_server(vec![(200, list); 4]);
    let audited = audit(home.path(), &environment, &["-A", "-f", "html"]);
    assert_eq!(audited.code, 1, "{}", audited.stderr);
    let data = audited.data_of_page();
    let page = audited.stdout;
    assert!(page.len() <= MOST_BYTES, "{} bytes", page.len());
    let json = audit(home.path(), &environment, &["-A", "-f", "json"]);
    assert_eq!(data, json.json());

    let Some(mut browser) = support::browser() else { return };
    browser.show("screen", "light");
    let empty = browser.picture();
    let file = written(home.path(), &page);
    browser.open(&file);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(
        browser.evaluate("document.querySelector('h1').textContent"),
        "1000 of 1000 Deployments lose requests at each rollout; 750 are completed by gapless at their next one, \
         250 need a change of yours."
    );
    assert_eq!(browser.evaluate(SEEN), json!([1_000, 1_000, "1000 of 1000"]));
    assert_eq!(browser.evaluate(OPEN), json!([0, 1_000]));
    let light = browser.picture();
    assert!(light.len() > 4 * empty.len(), "{} bytes, and {} of an empty page", light.len(), empty.len());
    browser.show("screen", "dark");
    assert_ne!(browser.picture(), light);
    assert_ne!(browser.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");

    assert_eq!(filter(&mut browser, "web-7", None), json!([111, 1_000, "111 of 1000"]));
    assert_eq!(filter(&mut browser, "WEB-77 team-17", None), json!([2, 1_000, "2 of 1000"]));
    assert_eq!(filter(&mut browser, "", Some("d")), json!([250, 1_000, "250 of 1000"]));
    assert_eq!(filter(&mut browser, "recreate-strategy", Some("x")), json!([0, 1_000, "0 of 1000"]));
    let sections =
        "[...document.querySelectorAll('section.names')].filter((it) => it.checkVisibility()).length";
    assert_eq!(browser.evaluate(sections), 0);
    assert_eq!(filter(&mut browser, "team-3", Some("x")), json!([0, 1_000, "0 of 1000"]));
    assert_eq!(filter(&mut browser, "team-10", Some("x")), json!([50, 1_000, "50 of 1000"]));

    let covers = "(() => {
        const [filter, waivers] = ['filter', 'waivers'].map((id) => document.getElementById(id));
        waivers.scrollIntoView();
        return filter.getBoundingClientRect().bottom > waivers.getBoundingClientRect().top;
    })()";
    assert_eq!(browser.evaluate(covers), false, "the filter stays with the workloads");

    browser.show("print", "dark");
    let is_seen = |id: &str| format!("document.getElementById('{id}').checkVisibility()");
    assert_eq!(browser.evaluate(&is_seen("filter")), false);
    assert_eq!(browser.evaluate(OPEN), json!([50, 1_000]), "what is filtered is opened on paper");
    assert_eq!(browser.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    browser.allow_scripts(false);
    browser.show("screen", "light");
    browser.open(&file);
    assert_eq!(browser.evaluate(&is_seen("filter")), false);
    assert_eq!(browser.evaluate(&is_seen("workloads")), true);
}

#[test]
fn a_workload_is_opened_and_its_rollouts_are_drawn() {
    let Some(mut browser) = support::browser() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let page = check("html", &deployment_with("web", &json!({"replicas": 4})).to_string());
    assert_eq!(page.code, 0, "{page:?}");
    browser.show("screen", "light");
    browser.open(&written(directory.path(), &page.stdout));
    let closed = browser.picture();
    browser.evaluate("document.querySelector('details.one summary').click()");
    assert_eq!(browser.evaluate(OPEN), json!([1, 1]));
    assert_ne!(browser.picture(), closed);
    let drawn = "[...document.querySelectorAll('figure use')].map((it) => it.getBBox()).filter((it) => \
                 it.width > 300 && it.height > 80).length";
    assert_eq!(browser.evaluate(drawn), 2);
    let lines = "[...document.querySelectorAll('pre ins')].flatMap((it) => it.textContent.split('\\n'))";
    let added = browser.evaluate(lines);
    assert!(added.as_array().expect("lines").contains(&json!("+           preStop:")), "{added}");
}

#[test]
fn a_hostile_manifest_does_nothing_to_a_browser() {
    let Some(mut browser) = support::browser() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let hostile = "</script><script>hacked=1</script><img src=x onerror=hacked=2>\"'><svg onload=hacked=3>";
    let mut deployment = deployment_with("web", &json!({"replicas": 1}));
    deployment["metadata"]["name"] = json!(hostile);
    deployment["metadata"]["namespace"] = json!(hostile);
    deployment["metadata"]["annotations"] = json!({
        "gapless.dev/waive.single-replica": hostile,
        format!("gapless.dev/waive.{hostile}"): "x",
    });
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["name"] = json!(hostile);
    container["image"] = json!(format!("registry.example/{hostile}:latest"));
    let page = check("html", &deployment.to_string());
    assert!(page.stdout.contains("&lt;/script&gt;"), "{page:?}");
    browser.open(&written(directory.path(), &page.stdout));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.evaluate("typeof hacked"), "undefined");
    assert_eq!(browser.evaluate("document.querySelectorAll('script').length"), 2);
    assert_eq!(browser.evaluate("document.querySelectorAll('img, [onload], [onerror]').length"), 0);
    assert_eq!(browser.evaluate("document.querySelector('details.one b').textContent"), hostile);
}
