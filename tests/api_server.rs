//! gapless on a real API server, with kubectl and Helm. All tests share one control
//! plane, each in namespaces of its own, and one gapless that is installed in it
//! (`installed`). Where a test has a control plane of its own, it says why.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod support;

mod api_server {
    mod agreement;
    mod audit;
    mod audit_installed;
    mod backstop;
    mod bench;
    mod certificates;
    mod chart;
    mod check_cluster;
    mod client_ca;
    mod context;
    mod controllers;
    mod fix;
    mod gitops;
    mod helm;
    mod installed;
    mod kinds;
    mod lifecycle;
    mod monitoring;
    mod openreports;
    mod ownership;
    mod patterns;
    mod ping;
    mod preview;
    mod profiles;
    mod replicas;
    mod rollouts;
    mod scenarios;
    mod simulation;
    mod switch;
}
