//! Whose field it is.
//!
//! [`record`] is what gapless injected, [`intent`] what somebody provably wrote.
//! [`owners`] gathers what is known of each field of a request, and [`owner`] weighs
//! it: one table, asked by everything that injects, restores, refreshes, removes or
//! announces. [`applied`] is what a client sends that applies a manifest.

pub mod applied;
pub mod containers;
pub mod intent;
pub mod owner;
pub mod owners;
pub mod parts;
pub mod record;
pub mod revision;
pub mod stuck;
mod template;
