//! Durations as Go and Kubernetes write them: `10s`, `1.5s`, `500ms`, `1m30s`.

use std::time::Duration;

/// The units of Go's `time.ParseDuration`, in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration that is not negative.
///
/// # Errors
/// If it is none; the error says how to write one.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    // The one number that needs no unit.
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let (number, after_number) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, after_unit) = split_where(after_number, |c| c.is_ascii_digit() || c == '.');
        let number: f64 = number.parse().map_err(|_| InvalidDuration)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidDuration)?;
        nanoseconds += number * factor;
        rest = after_unit;
    }
    if text.is_empty() {
        return Err(InvalidDuration);
    }
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| InvalidDuration)
}

fn split_where(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

/// Text that is no duration.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("write a number with a unit, such as 10s, 1.5s, 500ms or 1m30s")]
pub struct InvalidDuration;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1h0m0s", 3_600_000),
            ("0", 0),
            ("0s", 0),
            ("2000us", 2),
            ("2000\u{b5}s", 2),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1 s",
            "1d",
            "1s ",
            "1..5s",
            "s1",
            "1e3s",
            "NaNs",
            "infs",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(text), Err(InvalidDuration), "{text}");
        }
    }
}
