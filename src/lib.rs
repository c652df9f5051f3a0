//! gapless makes zero-downtime the default for Kubernetes workloads.
//!
//! It is an admission webhook: it denies workloads that would drop requests
//! during a rollout, and injects what people forget.
//!
//! # The path of one review
//!
//! bytes → [`admission::envelope`] → gates, which let through what is none of
//! its business → [`workload::Workload`], a typed view on the raw JSON →
//! * mutate: [`injection`] asks [`ownership`] whose each field is, and makes a
//!   [`patch`] of what is missing
//! * validate: [`rules`] judge the result, a verdict weighs the findings; of a Service
//!   they judge a change of its selector, by what is known of the pods behind it
//!
//! → one response. [`admission::review`] reads from top to bottom; it and all
//! below it know no file, clock, network or async.
//!
//! # A rollout foretold
//!
//! [`rollout`] moves pods as the controllers and the kubelet do, and [`preview`] says what
//! came of it.
//!
//! # While it is away
//!
//! The [`rules`] that deny have a second form, in the language in which an API server can
//! evaluate them by itself; [`export`] makes policies of that.
//!
//! # The house
//!
//! Each part knows those to the right of its arrow, all of them further down, and no
//! other. Nothing from [`admission`] down knows axum, tokio, a client or a clock. The
//! test `offline::house` reads the imports and holds them against this table.
//!
//! ```text
//! commands     → fix, cli, export, server, config, cluster, certificates, watched,
//!                observe, client, preview, audit, report, offline, yaml, admission,
//!                injection, policy, rules, defaults, patterns, rollout, surroundings,
//!                ownership, finding, exit, clock, printable, kubernetes, names, nearest,
//!                field
//! fix          → offline, yaml, admission, injection, policy, finding, kubernetes,
//!                field
//! cli          → certificates, observe, audit, report, offline, kubernetes, names
//! export       → policy, rules, defaults, finding, printable, kubernetes, names
//! server       → config, certificates, observe, admission, policy, surroundings,
//!                clock, printable, kubernetes, names
//! config       → watched, yaml, policy, rules, defaults, settings, finding,
//!                printable, kubernetes, names, nearest
//! cluster      → observe, surroundings, ownership, kubernetes
//! certificates → watched, observe, client, names
//! watched      → observe
//! observe      → admission, policy, rules, defaults, printable
//! client       → waiver, ownership, printable, kubernetes
//! audit        → preview, report, admission, injection, policy, surroundings,
//!                ownership, finding, printable, kubernetes, names
//! preview      → report, offline, admission, policy, rollout, workload, surroundings,
//!                ownership, markup, printable, kubernetes, field
//! report       → offline, yaml, admission, injection, waiver, policy, rules, defaults,
//!                ownership, finding, markup, printable, kubernetes
//! offline      → yaml, workload, surroundings, printable, kubernetes
//! yaml         → field
//! admission    → injection, waiver, policy, rules, defaults, workload,
//!                surroundings, ownership, finding, printable, kubernetes, field
//! injection    → waiver, policy, patch, defaults, workload, surroundings,
//!                ownership, finding, kubernetes
//! waiver       → policy, workload, finding
//! policy       → rules, settings, finding, kubernetes
//! rules        → defaults, workload, surroundings, settings, ownership, finding,
//!                printable, kubernetes, field
//! rollout      → workload, kubernetes
//! patch        → field
//! defaults     → workload, settings, ownership, finding, kubernetes, field
//! workload     → surroundings, ownership, kubernetes, names, field
//! surroundings → kubernetes
//! settings     → kubernetes
//! ownership    → kubernetes, field
//! finding      → field
//! markup       → printable
//! ```
//!
//! [`patterns`], [`exit`], [`clock`], [`printable`], [`kubernetes`], [`names`], [`nearest`] and
//! [`field`] know none.

pub mod admission;
pub mod audit;
pub mod certificates;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod defaults;
pub mod exit;
pub mod export;
pub mod field;
pub mod finding;
pub mod fix;
pub mod injection;
pub mod kubernetes;
pub mod markup;
pub mod names;
pub mod nearest;
pub mod observe;
pub mod offline;
pub mod ownership;
pub mod patch;
pub mod patterns;
pub mod policy;
pub mod preview;
pub mod printable;
pub mod report;
pub mod rollout;
pub mod rules;
pub mod server;
pub mod settings;
pub mod surroundings;
pub mod waiver;
pub mod watched;
pub mod workload;
pub mod yaml;
