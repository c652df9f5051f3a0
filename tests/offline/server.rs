//! `gapless serve`: what its HTTP answers are, and how the process behaves on
//! real sockets.

mod answers;
mod clients;
mod end;
mod process;
mod renewal;
pub mod reviews;
mod rotation;
