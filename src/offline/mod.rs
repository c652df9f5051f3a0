//! Kubernetes objects from files, and the place of each of their fields.
//!
//! [`inputs`] finds the files, [`source`] reads one, [`documents`] splits it and
//! parses each document into a tree of [`crate::yaml::node`]s, [`objects`] opens Lists,
//! [`whole`] tells parts and mistakes from whole objects, and [`surroundings`] says what
//! of the other objects concerns a workload.
//! All of it takes time in proportion to the size of the files.

pub mod documents;
pub mod inputs;
pub mod objects;
pub mod placeholder;
pub mod source;
pub mod surroundings;
pub mod whole;
