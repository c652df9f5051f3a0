//! How YAML, and JSON with it, is read and written: as a tree that knows where each value
//! stands, as the syntax that a document is written in, and as new text in its style.

pub mod node;
pub mod render;
pub mod syntax;
