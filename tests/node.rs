//! gapless on a whole Kubernetes node, in pods, and the node itself (`tests/lab`). One
//! test after another has a node: the kernel gives the number of a namespace that is gone
//! to the next one, and then a node that is running would look like what another one has
//! left behind.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod support;

mod node {
    mod in_cluster;
    mod leftovers;
}
