//! The form of a check that an API server can evaluate by itself, in the Common Expression
//! Language, for when gapless does not answer.
//!
//! It knows nothing of what stands around the object, and it is never harsher than the
//! check: where CEL cannot tell, it is silent, and the rule's page says so. Only what the
//! API servers of Kubernetes 1.30 know is used: they take the language as 1.29 had it.
//!
//! # Names
//!
//! An expression is written once and used for both objects of an update. A name in braces
//! stands for a part of the object in question, and is a variable of the policy but for the
//! first one (`export::variables` has them all):
//!
//! ```text
//! {object}          the object itself
//! {spec}            spec
//! {template}        spec.template
//! {pod}             spec.template.spec
//! {containers}      the regular containers
//! {initContainers}  the init containers
//! {longRunning}     the regular containers and the native sidecars
//! {annotations}     the annotations of the object
//! {serves}          whether a regular container serves requests
//! ```
//!
//! Names behind `variables.` without braces are about the new object or the request.

/// The form of one check in CEL.
#[derive(Clone, Copy, Debug)]
pub struct Cel {
    /// The fields of the findings that deny, as an expression of type `list(string)`: the
    /// same paths that the check names.
    pub finds: fn() -> String,
    /// The same of the object as it was. A finding that was there before does not deny, and
    /// one that would only warn is there as well, so that this finds all that the check
    /// does, or more. `None` if `finds` does.
    pub found_before: Option<fn() -> String>,
    /// What is wrong, and what comes of it.
    pub message: &'static str,
    /// What to write instead.
    pub fix: &'static str,
}

impl Cel {
    /// The expression that tells what the old object had.
    pub fn before(&self) -> String {
        self.found_before.unwrap_or(self.finds)()
    }
}

/// A field of the object itself, if the condition holds.
pub fn field_if(field: &str, condition: &str) -> String {
    format!("({condition}) ? ['{field}'] : []")
}

/// A field of each regular container `c` for which the condition holds.
pub fn of_containers(field: &str, condition: &str) -> String {
    in_list("containers", field, condition)
}

/// The same of regular and init containers.
pub fn of_all_containers(field: &str, condition: &str) -> String {
    format!("{}\n+ {}", of_containers(field, condition), in_list("initContainers", field, condition))
}

fn in_list(list: &str, field: &str, condition: &str) -> String {
    format!("{{{list}}}.map(c, {condition},\n  'spec.template.spec.{list}[' + c.name + '].{field}')")
}

/// Whether a text is a reference of an image, by the grammar of `kubernetes::image`. How
/// long a repository may be is left out.
pub fn is_image_reference(text: &str) -> String {
    const COMPONENT: &str = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*";
    const DOMAIN: &str = "(([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[a-fA-F0-9:]+\\])(:[0-9]+)?";
    const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    const DIGEST: &str = "[a-z][a-z0-9]*([+._-][a-z][a-z0-9]*)*:[0-9a-fA-F]{32,}";
    const KNOWN_DIGEST: &str = "sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}";
    format!(
        "({text}.matches(r'^({DOMAIN}/)?{COMPONENT}(/{COMPONENT})*(:{TAG})?(@{DIGEST})?$')\n  \
         && !{text}.matches(r'^[a-f0-9]{{64}}$')\n  \
         && (!{text}.matches(r'@sha(256|384|512):') || {text}.matches(r'@({KNOWN_DIGEST})$')))"
    )
}
