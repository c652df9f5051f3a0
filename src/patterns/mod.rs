//! The ways in which people release: what gapless does for each, and what it leaves to
//! others.
//!
//! One page for each; [`PATTERNS`] lists them. Nothing here judges or injects anything.

/// One way to release.
#[derive(Debug)]
pub struct Pattern {
    /// Its name, which is no rule's and no default's.
    pub id: &'static str,
    /// What it is, in one line of at most 80 characters.
    pub summary: &'static str,
    /// Its page, in Markdown. Its manifests and its queries are executed by the tests.
    pub page: &'static str,
}

/// All of them, in the order in which they are documented.
pub static PATTERNS: &[Pattern] = &[
    Pattern {
        id: "rolling",
        summary: "a Deployment replaces its pods one after another",
        page: include_str!("rolling.md"),
    },
    Pattern {
        id: "recreate",
        summary: "all pods stop before new ones start, where nobody minds: in development",
        page: include_str!("recreate.md"),
    },
    Pattern {
        id: "blue-green",
        summary: "two Deployments, and a Service whose selector is switched",
        page: include_str!("blue_green.md"),
    },
    Pattern {
        id: "canary",
        summary: "a few pods of the new version beside the stable ones, behind one Service",
        page: include_str!("canary.md"),
    },
    Pattern {
        id: "argo-rollouts",
        summary: "a Rollout moves by steps, or from one Service to another",
        page: include_str!("argo_rollouts.md"),
    },
    Pattern {
        id: "flagger",
        summary: "Flagger releases a Deployment by analysis, through a primary of its own",
        page: include_str!("flagger.md"),
    },
    Pattern {
        id: "ab-testing",
        summary: "two variants at once, chosen by a header, to learn which is better",
        page: include_str!("ab_testing.md"),
    },
    Pattern {
        id: "shadow",
        summary: "a new version gets copies of requests, and its answers are thrown away",
        page: include_str!("shadow.md"),
    },
    Pattern {
        id: "feature-flags",
        summary: "the image stays, and its behaviour changes by configuration",
        page: include_str!("feature_flags.md"),
    },
];
