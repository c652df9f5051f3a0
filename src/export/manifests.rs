//! A directory of policies that an API server reads when it starts: what it would refuse, and
//! whether it holds what gapless exports. With one wrong file the API server does not start
//! (kubernetes, pkg/admission/plugin/policy/manifest/loader; apiserver,
//! pkg/admission/plugin/policy/manifest/loader and pkg/admission/plugin/manifest).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{API_VERSION, STATIC_SUFFIX};
use crate::names::is_dns_subdomain;
use crate::printable::printable;

/// The ends of the names of files that are read.
pub const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

const POLICY: &str = "ValidatingAdmissionPolicy";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";

/// What is wrong with a file, or with the directory as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file; empty if it is about the directory.
    pub file: String,
    /// What was found, and what comes of it or what to do.
    pub message: String,
}

/// What an API server makes of a document.
struct Read {
    file: String,
    name: String,
    value: Value,
}

/// What is wrong with these files, given by name and text in the order of their names, where
/// the documents in `expected` are those that the configuration makes.
pub fn problems(files: &[(String, String)], expected: &[Value]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut policies, mut bindings) = (Vec::new(), Vec::new());
    for (file, text) in files {
        let found = read_file(text);
        problems.extend(
            found
                .iter()
                .filter_map(|it| it.as_ref().err())
                .map(|message| Problem { file: file.clone(), message: message.clone() }),
        );
        for value in found.into_iter().flatten() {
            let text =
                |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let name = text("/metadata/name");
            let list = if text("/kind") == BINDING { &mut bindings } else { &mut policies };
            list.push(Read { file: file.clone(), name, value });
        }
    }
    for list in [&policies, &bindings] {
        problems.extend(duplicates(list));
    }
    let names: BTreeSet<&str> = policies.iter().map(|it| it.name.as_str()).collect();
    for binding in &bindings {
        let policy = policy_of(&binding.value);
        if !names.contains(policy) {
            problems.push(Problem {
                file: binding.file.clone(),
                message: format!(
                    "the binding {} names the policy {policy}, which is in no file here: put both into one directory",
                    binding.name
                ),
            });
        }
    }
    let bound: BTreeSet<&str> = bindings.iter().map(|it| policy_of(&it.value)).collect();
    for policy in policies.iter().filter(|policy| !bound.contains(policy.name.as_str())) {
        problems.push(Problem {
            file: policy.file.clone(),
            message: format!("the policy {} has no binding, so that it judges nothing", policy.name),
        });
    }
    problems.extend(differences(&policies, &bindings, expected));
    problems
}

fn policy_of(binding: &Value) -> &str {
    binding.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default()
}

fn duplicates(list: &[Read]) -> Vec<Problem> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for Read { file, name, .. } in list {
        if let Some(first) = seen.insert(name, file) {
            let message = format!("the name {name} is there already, in {first}");
            problems.push(Problem { file: file.clone(), message });
        }
    }
    problems
}

/// What of the exported documents is not there, or is another one.
fn differences(policies: &[Read], bindings: &[Read], expected: &[Value]) -> Vec<Problem> {
    let write_again = "write it again with gapless export --format static";
    let differences = expected.iter().filter_map(|document| {
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (text("/kind")?, text("/metadata/name")?);
        let list = if kind == BINDING { bindings } else { policies };
        match list.iter().find(|it| it.name == name) {
            None => Some(Problem {
                file: String::new(),
                message: format!("there is no {kind} {name}: {write_again}"),
            }),
            Some(found) if found.value != *document => Some(Problem {
                file: found.file.clone(),
                message: format!(
                    "the {kind} {name} is not the one that this configuration makes, by this version of gapless: \
                     {write_again}"
                ),
            }),
            Some(_) => None,
        }
    });
    let is_own = |it: &Read| it.name.strip_suffix(STATIC_SUFFIX).is_some_and(|it| it.ends_with(".gapless"));
    let is_expected = |it: &Read| {
        expected.iter().any(|document| {
            document.pointer("/metadata/name").and_then(Value::as_str) == Some(it.name.as_str())
        })
    };
    let left = policies.iter().chain(bindings).filter(|it| is_own(it) && !is_expected(it));
    let left = left.map(|it| Problem {
        file: it.file.clone(),
        message: format!(
            "{} is of a profile that this configuration does not deny by: take it away",
            it.name
        ),
    });
    differences.chain(left).collect()
}

/// The documents of a file, each as it is or what is wrong with it.
fn read_file(text: &str) -> Vec<Result<Value, String>> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("---"), documents.last_mut()) {
            (Some(rest), _) if rest.trim().is_empty() || rest.trim().starts_with('#') => {
                documents.push(String::new());
            }
            (Some(rest), _) => {
                return vec![Err(format!("nothing may follow ---, and here is {}", printable(rest.trim())))];
            }
            (None, Some(document)) => document.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    let filled = documents.iter().filter(|document| !document.trim().is_empty());
    filled.flat_map(|document| read_document(document)).collect()
}

fn read_document(text: &str) -> Vec<Result<Value, String>> {
    let value: Value = match serde_saphyr::from_str(text) {
        Ok(value) => value,
        Err(error) => return vec![Err(error_of(&error))],
    };
    if value.is_null() {
        return vec![Err("a document holds only comments: no --- may stand below them".to_owned())];
    }
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let is_list =
        kind == "List" || kind.strip_suffix("List").is_some_and(|kind| kind == POLICY || kind == BINDING);
    match value.get("items").and_then(Value::as_array).filter(|_| is_list) {
        Some(items) => {
            let of_list = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
            items.iter().map(|item| checked(completed(item, of_list))).collect()
        }
        None => vec![checked(value)],
    }
}

/// Items of a list of one kind need not repeat what they are.
fn completed(item: &Value, kind: Option<&str>) -> Value {
    let mut item = item.clone();
    if let (Some(kind), Some(fields)) = (kind, item.as_object_mut()) {
        fields.entry("apiVersion").or_insert_with(|| API_VERSION.into());
        fields.entry("kind").or_insert_with(|| kind.into());
    }
    item
}

fn error_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    printable(text.lines().next().unwrap_or_default()).into_owned()
}

/// The document, if an API server takes it.
fn checked(value: Value) -> Result<Value, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version != API_VERSION || (kind != POLICY && kind != BINDING) {
        let found = match (version, kind) {
            ("", _) | (_, "") => "a document without apiVersion or kind".to_owned(),
            _ => format!("a {} of {}", printable(kind), printable(version)),
        };
        return Err(format!("{found}: only {POLICY} and {BINDING} of {API_VERSION} may stand here"));
    }
    if name.is_empty() {
        return Err(format!("a {kind} has no name"));
    }
    if !name.ends_with(STATIC_SUFFIX) || !is_dns_subdomain(name) {
        return Err(format!(
            "the name {} has to be a DNS name that ends in {STATIC_SUFFIX}",
            printable(name)
        ));
    }
    let wrong = if kind == POLICY { wrong_policy(&value) } else { wrong_binding(&value) };
    match wrong {
        Some(wrong) => Err(format!("{kind} {name}: {wrong}")),
        None => Ok(value),
    }
}

fn wrong_policy(value: &Value) -> Option<String> {
    let policy: Document<PolicySpec> = match read(value) {
        Ok(policy) => policy,
        Err(error) => return Some(error),
    };
    let spec = policy.spec;
    if spec.param_kind.is_some() {
        return Some("spec.paramKind is not supported in files".to_owned());
    }
    let rules = spec.match_constraints.resource_rules;
    if rules.is_empty() {
        return Some("spec.matchConstraints.resourceRules is empty".to_owned());
    }
    if spec.validations.is_empty() && spec.audit_annotations.is_empty() {
        return Some("there is neither a validation nor an audit annotation".to_owned());
    }
    let mut seen = BTreeSet::new();
    spec.variables
        .iter()
        .find(|it| !seen.insert(it.name.as_str()))
        .map(|twice| format!("the variable {} is there twice", printable(&twice.name)))
}

fn wrong_binding(value: &Value) -> Option<String> {
    let binding: Document<BindingSpec> = match read(value) {
        Ok(binding) => binding,
        Err(error) => return Some(error),
    };
    let spec = binding.spec;
    if !spec.policy_name.ends_with(STATIC_SUFFIX) {
        return Some(format!("spec.policyName has to end in {STATIC_SUFFIX}"));
    }
    if spec.param_ref.is_some() {
        return Some("spec.paramRef is not supported in files".to_owned());
    }
    if spec.validation_actions.is_empty() {
        return Some("spec.validationActions is empty".to_owned());
    }
    let both = [Action::Deny, Action::Warn].iter().all(|it| spec.validation_actions.contains(it));
    both.then(|| "spec.validationActions may not hold both Deny and Warn".to_owned())
}

fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| printable(&format!("{}: {}", error.path(), error.inner())).into_owned())
}

/// The types of the API (admissionregistration/v1 `types.go`), as strict as an API server
/// reads them. What gapless does not look into may be anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct Document<S> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: S,
    status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct ObjectMeta {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    namespace: Option<String>,
    generate_name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<Value>>,
    managed_fields: Option<Vec<Value>>,
    self_link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct PolicySpec {
    param_kind: Option<Value>,
    match_constraints: MatchResources,
    #[serde(default)]
    validations: Vec<Validation>,
    failure_policy: Option<FailurePolicy>,
    #[serde(default)]
    audit_annotations: Vec<AuditAnnotation>,
    #[serde(default)]
    match_conditions: Vec<Named>,
    #[serde(default)]
    variables: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct BindingSpec {
    policy_name: String,
    param_ref: Option<Value>,
    match_resources: Option<MatchResources>,
    #[serde(default)]
    validation_actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct MatchResources {
    namespace_selector: Option<LabelSelector>,
    object_selector: Option<LabelSelector>,
    #[serde(default)]
    resource_rules: Vec<Rule>,
    #[serde(default)]
    exclude_resource_rules: Vec<Rule>,
    match_policy: Option<MatchPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct Rule {
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    operations: Vec<Operation>,
    resources: Vec<String>,
    scope: Option<Scope>,
    #[serde(default)]
    resource_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct LabelSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct Requirement {
    key: String,
    operator: Operator,
    values: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct Validation {
    expression: String,
    message: Option<String>,
    reason: Option<Reason>,
    message_expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct AuditAnnotation {
    key: String,
    value_expression: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "that a field is known is enough")]
struct Named {
    name: String,
    expression: String,
}

#[derive(Deserialize)]
enum FailurePolicy {
    Fail,
    Ignore,
}

#[derive(Deserialize)]
enum MatchPolicy {
    Exact,
    Equivalent,
}

#[derive(Deserialize)]
enum Operation {
    #[serde(rename = "*")]
    All,
    #[serde(rename = "CREATE")]
    Create,
    #[serde(rename = "UPDATE")]
    Update,
    #[serde(rename = "DELETE")]
    Delete,
    #[serde(rename = "CONNECT")]
    Connect,
}

#[derive(Deserialize)]
enum Scope {
    Cluster,
    Namespaced,
    #[serde(rename = "*")]
    All,
}

#[derive(Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Deserialize)]
enum Reason {
    Unauthorized,
    Forbidden,
    Invalid,
    RequestEntityTooLarge,
}

#[derive(Deserialize, PartialEq)]
enum Action {
    Deny,
    Warn,
    Audit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Form, documents};
    use crate::policy::Policy;
    use crate::yaml::render;

    fn exported() -> Vec<Value> {
        documents(&Policy::new("production").unwrap(), Form::Static)
    }

    fn text_of(documents: &[Value]) -> String {
        documents.iter().map(render::document).collect::<Vec<_>>().join("---\n")
    }

    fn messages(texts: &[&str], expected: &[Value]) -> Vec<String> {
        let files: Vec<(String, String)> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| (format!("{number}.yaml"), (*text).to_owned()))
            .collect();
        problems(&files, expected).into_iter().map(|it| format!("{}: {}", it.file, it.message)).collect()
    }

    #[test]
    fn what_is_exported_is_fine_in_one_file_or_several_or_as_a_list() {
        let exported = exported();
        assert_eq!(messages(&[&text_of(&exported)], &exported), Vec::<String>::new());
        let [policy, binding] = [&exported[..1], &exported[1..]].map(text_of);
        assert_eq!(messages(&[&binding, &policy], &exported), Vec::<String>::new());
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": exported}).to_string();
        assert_eq!(messages(&[&list], &exported), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_or_another_one_is_found() {
        let exported = exported();
        let name = "production.gapless.static.k8s.io";
        let again = "write it again with gapless export --format static";
        assert_eq!(
            messages(&[], &exported),
            [
                format!(": there is no ValidatingAdmissionPolicy {name}: {again}"),
                format!(": there is no ValidatingAdmissionPolicyBinding {name}: {again}")
            ]
        );
        let changed = text_of(&exported).replace("failurePolicy: Ignore", "failurePolicy: Fail");
        let expected = format!(
            "0.yaml: the ValidatingAdmissionPolicy {name} is not the one that this configuration makes, by this \
             version of gapless: {again}"
        );
        assert_eq!(messages(&[&changed], &exported), [expected]);
    }

    #[test]
    fn what_is_left_of_a_profile_that_is_gone_is_found() {
        let left = messages(&[&text_of(&exported())], &[]);
        assert!(
            left.len() >= 2 && left.iter().all(|it| it.ends_with("does not deny by: take it away")),
            "{left:?}"
        );
        let of_others = text_of(&exported()).replace(".gapless.static", ".others.static");
        assert_eq!(messages(&[&of_others], &[]), [""; 0]);
    }

    #[test]
    fn what_keeps_an_api_server_from_starting_is_found() {
        let text = text_of(&exported());
        for (from, to, expected) in [
            (
                "kind: ValidatingAdmissionPolicy\n",
                "kind: MutatingAdmissionPolicy\n",
                "a MutatingAdmissionPolicy of admissionregistration.k8s.io/v1: only",
            ),
            ("failurePolicy: Ignore", "failurePolicies: Ignore", "unknown field `failurePolicies`"),
            ("failurePolicy: Ignore", "failurePolicy: ignore", "unknown variant `ignore`"),
            ("failurePolicy: Ignore", "failurePolicy: Ignore\n  failurePolicy: Ignore", "duplicate"),
            (
                "failurePolicy: Ignore",
                "failurePolicy: Ignore\n  paramKind: {kind: ConfigMap, apiVersion: v1}",
                "spec.paramKind is not supported",
            ),
            (
                ".gapless.static.k8s.io\nspec:\n  failure",
                ".gapless.dev\nspec:\n  failure",
                "has to be a DNS name that ends in .static.k8s.io",
            ),
            (
                "policyName: production.",
                "policyName: staging.",
                "names the policy staging.gapless.static.k8s.io, which is in no file here",
            ),
            ("[Deny]", "[Deny, Warn]", "may not hold both Deny and Warn"),
            ("[Deny]", "[]", "spec.validationActions is empty"),
            ("name: honoursWaivers", "name: denies", "the variable denies is there twice"),
            ("---\n", "--- x\n", "nothing may follow ---"),
            ("---\n", "---\n# nothing\n---\n", "a document holds only comments"),
            (
                "---\n",
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n",
                "a ConfigMap of v1: only",
            ),
            ("spec:", "spec: [", "line"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            let messages = messages(&[&wrong], &[]);
            assert!(messages.iter().any(|it| it.contains(expected)), "{expected:?} {messages:?}");
        }
        let twice = messages(&[&text, &text], &[]);
        assert!(twice[0].contains("is there already, in 0.yaml"), "{twice:?}");
    }
}
