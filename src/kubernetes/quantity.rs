//! Quantities of the API, such as `500m`, `1.5Gi` or `2` (apimachinery, pkg/api/resource).

use serde_json::Value;

/// The suffixes, and how many billionths each stands for. Of two that end alike the longer
/// one stands first.
const SUFFIXES: [(&str, i128); 16] = [
    ("Ki", 1_000_000_000 << 10),
    ("Mi", 1_000_000_000 << 20),
    ("Gi", 1_000_000_000 << 30),
    ("Ti", 1_000_000_000 << 40),
    ("Pi", 1_000_000_000 << 50),
    ("Ei", 1_000_000_000 << 60),
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("k", 1_000_000_000_000),
    ("M", 1_000_000_000_000_000),
    ("G", 1_000_000_000_000_000_000),
    ("T", 1_000_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000_000_000),
    ("", 1_000_000_000),
];

/// A quantity in billionths, which is as exact as the API is; `None` if it is none, or
/// negative.
pub fn billionths(value: &Value) -> Option<i128> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let read = |(suffix, unit): &(&str, i128)| {
        let number = text.strip_suffix(suffix)?;
        if let Ok(whole) = number.parse::<i128>() {
            return whole.checked_mul(*unit);
        }
        let number: f64 = number.parse().ok()?;
        number.is_finite().then(|| (number * *unit as f64).round() as i128)
    };
    SUFFIXES.iter().find_map(read).filter(|billionths| *billionths >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn however_it_is_written() {
        #[rustfmt::skip]
        let table = [
            (json!("500m"), Some(500_000_000)),
            (json!(0.5), Some(500_000_000)),
            (json!("0.7"), Some(700_000_000)),
            (json!("700m"), Some(700_000_000)),
            (json!(2), Some(2_000_000_000)),
            (json!("1u"), Some(1_000)),
            (json!("1e3"), Some(1_000_000_000_000)),
            (json!("1.5Gi"), Some(1_610_612_736_000_000_000)),
            (json!("1024Mi"), Some(1_000_000_000 << 30)),
            (json!("1E"), Some(1_000_000_000_000_000_000_000_000_000)),
            (json!("much"), None),
            (json!("-1"), None),
            (json!("inf"), None),
            (json!(null), None),
        ];
        for (value, expected) in table {
            assert_eq!(billionths(&value), expected, "{value}");
        }
    }
}
