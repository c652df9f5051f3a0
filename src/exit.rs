//! The exit codes of all commands. A signal has those of its own, see
//! [`crate::server::shutdown`].

/// There is something to do: a finding that denies, a file that is left as it is, a
/// webhook that does not answer.
pub const FOUND: u8 = 1;

/// Bad usage, or input that cannot be read. clap uses it too.
pub const UNUSABLE: u8 = 2;
