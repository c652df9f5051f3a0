//! What needs nothing but the crate and the program: files, command lines, HTTP and
//! TLS, reviews by the thousand.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod support;

mod offline {
    mod advice;
    mod audit;
    mod certs;
    mod chart_values;
    mod check;
    mod completions;
    mod export;
    mod fix;
    mod help;
    mod hooks;
    mod house;
    mod html;
    mod injection;
    mod load;
    mod measured;
    mod neighbours;
    mod pages;
    mod patterns;
    mod preview;
    mod properties;
    mod readme;
    mod recorded;
    mod release;
    mod reload;
    mod rules;
    mod schema;
    mod server;
    mod walk;
}
