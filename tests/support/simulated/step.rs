//! The steps of a walk.

use std::fmt;

use gapless::kubernetes::kind::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::manifests::{Change, change, change_of};
use super::path;

/// The profiles: those that are built in, and those of `tests/offline/walk/profiles.yaml`.
pub const PROFILES: [&str; 10] = [
    "production",
    "development",
    "advisory",
    "old-first",
    "longer-sleep",
    "no-surge",
    KEEPS_API_DEFAULTS,
    "keeps-grace-period",
    "payments",
    STRICT,
];

/// The API server's defaults count as written.
pub const KEEPS_API_DEFAULTS: &str = "keeps-api-defaults";
/// Nothing can be waived.
pub const STRICT: &str = "strict";
/// Where gapless is not installed yet.
pub const OFF: &str = "off";
/// Injects nothing.
pub const ADVISORY: &str = "advisory";

/// By what a manifest is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    /// `kubectl apply`
    Apply,
    /// `kubectl apply --server-side`
    ApplyServerSide,
    /// The server-side apply of another manager.
    Flux,
    /// `kubectl replace`; `kubectl create` where nothing is stored.
    Replace,
}

/// What happens.
#[derive(Clone)]
pub enum Step {
    /// The user changes the manifest at some points, perhaps at none, and sends it.
    Send(Tool, Vec<Change>),
    /// `kubectl edit`
    Edit(Vec<Change>),
    /// `kubectl patch` by a strategic merge patch.
    Patch(Change),
    /// `kubectl annotate`
    Annotate(Change),
    /// `kubectl label`
    Label(usize),
    /// `kubectl scale`
    Scale(i64),
    /// `spec.replicas` in `kubectl edit`.
    ScaleByEdit(i64),
    /// `kubectl rollout pause` and `resume`
    Pause(bool),
    /// `kubectl rollout restart`
    Restart,
    /// `kubectl edit` removes a field that gapless injected.
    TakeAway(usize),
    /// `kubectl annotate` removes an entry of the record, or all of it.
    Forget(Option<usize>),
    /// `kubectl rollout undo` to one of the older revisions.
    Undo(usize),
    /// The namespace gets another profile.
    Profile(&'static str),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Send(tool, changes) => write!(f, "send by {tool:?} with {changes:?}"),
            Step::Edit(changes) => write!(f, "kubectl edit: {changes:?}"),
            Step::Patch(change) => write!(f, "kubectl patch: {change:?}"),
            Step::Annotate(change) => write!(f, "kubectl annotate: {change:?}"),
            Step::Label(team) => write!(f, "kubectl label team={team}"),
            Step::Scale(replicas) => write!(f, "kubectl scale --replicas={replicas}"),
            Step::ScaleByEdit(replicas) => write!(f, "kubectl edit: replicas {replicas}"),
            Step::Pause(true) => f.write_str("kubectl rollout pause"),
            Step::Pause(false) => f.write_str("kubectl rollout resume"),
            Step::Restart => f.write_str("kubectl rollout restart"),
            Step::TakeAway(index) => write!(f, "kubectl edit: remove injected field {index}"),
            Step::Forget(None) => f.write_str("kubectl annotate: remove the record"),
            Step::Forget(Some(index)) => write!(f, "kubectl annotate: remove entry {index} of the record"),
            Step::Undo(index) => write!(f, "kubectl rollout undo to older revision {index}"),
            Step::Profile(profile) => write!(f, "profile {profile}"),
        }
    }
}

/// How a walk begins, and its steps.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Of this kind is the workload.
    pub kind: Kind,
    /// `None` while gapless is not installed, until the first change of profile.
    pub profile: Option<&'static str>,
    pub steps: Vec<Step>,
}

fn tool() -> impl Strategy<Value = Tool> {
    select(vec![Tool::Apply, Tool::ApplyServerSide, Tool::Replace, Tool::Flux])
}

fn profile() -> impl Strategy<Value = &'static str> {
    select(PROFILES.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..8usize;
    prop_oneof![
        10 => (tool(), vec(change(), 0..3)).prop_map(|(tool, changes)| Step::Send(tool, changes)),
        2 => vec(change(), 1..3).prop_map(Step::Edit),
        1 => change().prop_map(Step::Patch),
        2 => change_of(|path| path.contains("annotations")).prop_map(Step::Annotate),
        1 => (0..3usize).prop_map(Step::Label),
        1 => select(vec![1, 2, 4]).prop_map(Step::Scale),
        1 => select(vec![1, 2, 4]).prop_map(Step::ScaleByEdit),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Restart),
        1 => index.clone().prop_map(Step::TakeAway),
        1 => prop::option::of(index.clone()).prop_map(Step::Forget),
        2 => index.prop_map(Step::Undo),
        1 => profile().prop_map(Step::Profile),
    ]
}

/// Any walk with a workload of one of these kinds: a manifest, then steps.
pub fn walk(kinds: &[Kind]) -> impl Strategy<Value = Walk> + use<> {
    let first = (tool(), vec(change(), 0..8)).prop_map(|(tool, changes)| Step::Send(tool, changes));
    let profile = prop_oneof![8 => profile().prop_map(Some), 1 => Just(None)];
    (select(kinds.to_vec()), profile, first, vec(step(), 1..30)).prop_map(
        |(kind, profile, first, mut steps)| {
            steps.insert(0, first);
            Walk { kind, profile, steps }
        },
    )
}

/// The strategic merge patch that writes one value.
pub fn merge_patch_of(change: &Change) -> Option<Value> {
    let value = change.value()?;
    let container = change.path().split_once("containers[").and_then(|(_, rest)| rest.split_once(']'));
    let mut patch = json!({});
    if let Some((container, _)) = container {
        patch["spec"]["template"]["spec"]["containers"] = json!([{"name": container}]);
    }
    path::put(&mut patch, change.path(), Some(value));
    Some(patch)
}
