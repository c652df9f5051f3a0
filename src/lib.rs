//! gapless makes zero-downtime the default for Kubernetes Deployments.
//!
//! It is an admission webhook: it denies Deployments that would drop requests
//! during a rollout, and injects what people forget.
//!
//! # The path of one review
//!
//! bytes → [`admission::envelope`] → gates, which let through what is none of
//! its business → [`workload::Workload`], a typed view on the raw JSON →
//! * mutate: [`injection`] asks [`ownership`] whose each field is, and makes a
//!   [`patch`] of what is missing
//! * validate: [`rules`] judge the result, a verdict weighs the findings
//!
//! → one response. [`admission::review`] reads from top to bottom; it and all
//! below it know no file, clock, network or async.
//!
//! Dependencies point one way: commands, server and certificates know config,
//! config knows the [`policy::Policy`], admission knows rules and injection,
//! injection knows defaults, and those know only ownership, workload, patch, field
//! and finding.

pub mod admission;
pub mod audit;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod defaults;
pub mod field;
pub mod finding;
pub mod fix;
pub mod injection;
pub mod kubernetes;
pub mod metrics;
pub mod offline;
pub mod ownership;
pub mod patch;
pub mod policy;
pub mod printable;
pub mod report;
pub mod rules;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod waiver;
pub mod watched;
pub mod workload;
