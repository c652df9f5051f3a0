//! `gapless serve`: what its HTTP answers are, and how the process behaves on
//! real sockets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper of tests fails the test by panicking"
)]

#[path = "server/answers.rs"]
mod answers;
#[path = "server/clients.rs"]
mod clients;
#[path = "server/end.rs"]
mod end;
#[path = "server/process.rs"]
mod process;
#[path = "server/program.rs"]
mod program;
#[path = "server/renewal.rs"]
mod renewal;
#[path = "server/reviews.rs"]
mod reviews;
