//! The configuration as its author writes it.

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A file of kind `GaplessConfiguration`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GaplessConfiguration {
    /// Always [`ApiVersion::V1Alpha1`].
    pub api_version: ApiVersion,
    /// Always [`Kind::GaplessConfiguration`].
    pub kind: Kind,
    /// The profile of namespaces without a (valid) label; `None` is
    /// `production`.
    #[serde(default)]
    pub default_profile: Option<Spanned<String>>,
}

/// The version of the file's format.
#[derive(Debug, Deserialize)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "gapless.dev/v1alpha1")]
    V1Alpha1,
}

/// The kind of the file.
#[derive(Debug, Deserialize)]
pub enum Kind {
    /// The only one.
    GaplessConfiguration,
}
