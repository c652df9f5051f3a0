//! Whose field it is.
//!
//! [`record`] is what gapless injected, [`intent`] what somebody provably
//! wrote. [`owner`] weighs both: one table, asked by everything that injects,
//! restores, refreshes, removes or announces.

pub mod containers;
pub mod intent;
pub mod owner;
pub mod parts;
pub mod record;
