//! `gapless export`, run as users run it.

use std::collections::BTreeSet;
use std::fs;

use gapless::finding::Action;
use gapless::rules::RULES;
use serde_json::Value;

use crate::support::fixtures::{configuration, repository_file};
use crate::support::ran::{self, Ran};

fn export(arguments: &[&str]) -> Ran {
    ran::gapless("export", arguments).output().unwrap().into()
}

fn export_of(body: &str, arguments: &[&str]) -> Ran {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), configuration(body)).unwrap();
    let path = file.path().display().to_string();
    export(&[&["--config", &path], arguments].concat())
}

fn documents(ran: &Ran) -> Vec<Value> {
    serde_saphyr::from_multiple(&ran.stdout).unwrap()
}

#[test]
fn each_profile_that_denies_has_a_policy_and_a_binding() {
    let exported = export_of(
        "profiles: {payments: {extends: production}, quiet: {extends: production, mode: Warn}}",
        &[],
    );
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    let documents = documents(&exported);
    let kinds: Vec<_> = documents
        .iter()
        .map(|it| (it["kind"].as_str().unwrap(), it["metadata"]["name"].as_str().unwrap()))
        .collect();
    let (policy, binding) = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding");
    let names = ["payments.gapless.dev", "production.gapless.dev"];
    assert_eq!(kinds, [(policy, names[0]), (binding, names[0]), (policy, names[1]), (binding, names[1])]);
    for pair in documents.chunks(2) {
        let [policy, binding] = pair else { panic!("{pair:?}") };
        assert_eq!(policy["apiVersion"], "admissionregistration.k8s.io/v1");
        assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
        assert_eq!(policy["spec"]["paramKind"], Value::Null);
        assert_eq!(policy["spec"]["validations"].as_array().unwrap().len(), 1);
        assert_eq!(policy["spec"]["validations"][0]["reason"], "Forbidden");
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
        assert_eq!(binding["spec"]["paramRef"], Value::Null);
    }
}

#[test]
fn names_of_files_end_as_the_api_server_wants_it() {
    let exported = export(&["--format", "static"]);
    let names: BTreeSet<String> =
        documents(&exported).iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, BTreeSet::from(["production.gapless.static.k8s.io".to_owned()]));
}

/// No name of one object is left in an expression, and each variable is there.
#[test]
fn each_variable_is_there_before_it_is_used() {
    let exported = documents(&export(&[]));
    let mut known = BTreeSet::new();
    let check = |expression: &str, known: &BTreeSet<String>| {
        for behind in expression.split("variables.").skip(1) {
            let name: String = behind.chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(known.contains(&name), "{name} is not known in {expression}");
        }
        let is_name = |it: &str| {
            it.split('}').next().is_some_and(|it| !it.is_empty() && it.chars().all(char::is_alphabetic))
        };
        assert!(!expression.split('{').skip(1).any(is_name), "{expression}");
    };
    for variable in exported[0]["spec"]["variables"].as_array().unwrap() {
        check(variable["expression"].as_str().unwrap(), &known);
        assert!(known.insert(variable["name"].as_str().unwrap().to_owned()), "{variable} is there twice");
    }
    let validation = &exported[0]["spec"]["validations"][0];
    check(validation["messageExpression"].as_str().unwrap(), &known);
    check(validation["expression"].as_str().unwrap(), &known);
}

/// An API server shows at most 5 KiB. Fields are cut at 200 characters a rule.
#[test]
fn the_longest_message_is_short_enough() {
    let denying = RULES.iter().filter_map(|rule| Some((rule.id, rule.cel?)));
    let longest: usize = denying.map(|(id, cel)| 240 + cel.message.len() + id.len() + cel.fix.len()).sum();
    assert!(longest + 300 < 5 * 1024, "{longest}");
}

#[test]
fn what_is_left_out_is_said() {
    let body = "
workloads: [Deployment, Rollout]
profiles:
  payments: {extends: production, rules: {single-replica: Deny, missing-readiness-probe: Deny}}";
    let exported = export_of(body, &[]);
    assert_eq!(
        exported.stderr,
        "note: the profile payments also denies by missing-readiness-probe, which CEL cannot \
         express: while gapless is away, nobody judges that\n\
         note: no policy judges a Rollout: what is right in one, its controller knows and the API server does not\n"
    );
    let none = export_of("profiles: {production: {mode: Audit}}", &[]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.starts_with("note: there is no policy: "), "{none:?}");
}

#[test]
fn a_configuration_that_is_of_no_use_is_an_error() {
    let exported = export_of("profiles: {payments: {extends: nobody}}", &[]);
    assert_eq!((exported.code, exported.stdout.as_str()), (2, ""));
    assert!(exported.stderr.contains("there is no profile"), "{exported:?}");
}

#[test]
fn the_chart_has_what_gapless_exports() {
    let file = fs::read_to_string(repository_file("charts/gapless/files/backstop.yaml")).unwrap();
    let exported = export(&["--format", "chart"]).stdout;
    assert!(
        file == exported,
        "the rules have changed: gapless export --format chart > charts/gapless/files/backstop.yaml"
    );
}

/// Each page of a rule with a form in CEL says what an API server does with it.
#[test]
fn the_pages_say_what_cel_judges() {
    for rule in RULES {
        let says = rule.page.contains("gapless export");
        assert_eq!(says, rule.cel.is_some(), "{}", rule.id);
        assert!(rule.production != Action::Deny || rule.cel.is_some(), "{}", rule.id);
    }
}
