//! Words that several defaults use for what they did.

use serde_json::Value;

use crate::ownership::record::InjectedField;

/// A value without quotation marks.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same of a field; where it is absent, the API server's default counts.
pub fn plain_or_default(field: &InjectedField, value: Option<&Value>) -> String {
    value.or(field.api_default().as_ref()).map(plain).unwrap_or_default()
}

/// What became of a probe or hook of `container`; `detail` says what it does.
pub fn part(
    what: &str,
    container: &str,
    from: Option<&Value>,
    to: Option<&Value>,
    detail: fn(&Value) -> String,
) -> String {
    match (from, to) {
        (None, Some(to)) => format!("added {what}{} to container {container}", detail(to)),
        (_, Some(to)) => format!("changed {what}{} of container {container}", detail(to)),
        (_, None) => format!("removed {what} from container {container}"),
    }
}
