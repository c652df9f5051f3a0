//! Objects of the Kubernetes API, as the API server sends them.

pub mod managed_fields;
pub mod object;
