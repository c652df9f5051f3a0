//! The chart as a release packs it: `.ci/release chart`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::bench::Bench;
use crate::support::fixtures::repository_file;

const SOURCE: &str = "https://git.example/team/gapless";

fn helm(arguments: &[&str]) -> String {
    let output = Command::new(Bench::with_helm()).arg("helm").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_release_names_its_sources_its_image_and_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let release = |source: &str| {
        let mut release = Command::new(repository_file(".ci/release"));
        release.arg("chart").arg(directory.path());
        release.env("HELM", format!("{} helm", Bench::with_helm().display()));
        release.env("GAPLESS_IMAGE", "registry.example/gapless").env("GAPLESS_SOURCE", source);
        release.output().expect("bash")
    };
    let refused = release("");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("set GAPLESS_SOURCE"), "{refused:?}");
    let packed = release(SOURCE);
    assert!(packed.status.success(), "{packed:?}");

    let version = env!("CARGO_PKG_VERSION");
    let archive = directory.path().join(format!("gapless-{version}.tgz"));
    let archive = archive.to_str().unwrap();
    let chart: Value = serde_saphyr::from_str(&helm(&["show", "chart", archive])).unwrap();
    assert_eq!(chart["home"], json!(SOURCE));
    assert_eq!(chart["sources"], json!([SOURCE]));
    assert_eq!(chart["maintainers"], json!([{"name": "gapless"}]));
    assert!(chart["icon"].as_str().unwrap().starts_with("data:image/svg+xml;base64,"));
    let annotation = |name: &str| -> Value {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        serde_saphyr::from_str(text).unwrap()
    };
    let image = format!("registry.example/gapless:{version}");
    assert_eq!(annotation("images"), json!([{"name": "gapless", "image": image}]));
    let changes = annotation("changes");
    assert!(changes.as_array().unwrap().len() > 3, "{changes}");
    let listed = fs::read_to_string(repository_file("CHANGELOG.md")).unwrap();
    for change in changes.as_array().unwrap() {
        assert_eq!(change["kind"], json!("added"));
        assert!(listed.contains(&format!("- {}\n", change["description"].as_str().unwrap())), "{change}");
    }

    let page = helm(&["show", "readme", archive]);
    assert!(page.contains(&format!("]({SOURCE}/tree/v{version}/README.md)")), "{page}");
    assert!(!page.contains("../.."), "{page}");
    assert!(page.contains("| `image.repository` | `\"registry.example/gapless\"` |"), "{page}");
    let rendered = helm(&["template", "gapless", archive, "--namespace", "gapless-system"]);
    assert!(rendered.contains(&image), "{rendered}");
    let lint = helm(&["lint", "--strict", archive]);
    assert!(!lint.contains("[WARNING]") && !lint.contains("[INFO]"), "{lint}");
}
