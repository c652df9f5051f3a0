//! Objects of the Kubernetes API, as the API server sends them.

pub mod api_default;
pub mod duration;
pub mod from_json;
pub mod image;
pub mod int_or_string;
pub mod kind;
pub mod label_selector;
pub mod managed_fields;
pub mod object;
pub mod pod_template;
pub mod quantity;
