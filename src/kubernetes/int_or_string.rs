//! Values that are a number or a string: ports, and counts of pods (apimachinery,
//! pkg/util/intstr).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::Value;

/// A number or a string; for the fields that gapless reads, a count or a
/// percentage, or a port's number or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrString<'a> {
    /// A number.
    Int(i32),
    /// Such as `25%`, or the name of a port.
    String(&'a str),
}

impl<'de: 'a, 'a> Deserialize<'de> for IntOrString<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntOrStringVisitor;
        impl<'de> Visitor<'de> for IntOrStringVisitor {
            type Value = IntOrString<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a string")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                let value = i32::try_from(value).map_err(|_| E::custom("number does not fit in 32 bits"))?;
                Ok(IntOrString::Int(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                let value = i32::try_from(value).map_err(|_| E::custom("number does not fit in 32 bits"))?;
                Ok(IntOrString::Int(value))
            }
            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(IntOrString::String(value))
            }
        }
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

impl fmt::Display for IntOrString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            IntOrString::Int(value) => write!(f, "{value}"),
            IntOrString::String(value) => f.write_str(value),
        }
    }
}

impl From<IntOrString<'_>> for Value {
    fn from(value: IntOrString) -> Value {
        match value {
            IntOrString::Int(number) => Value::from(number),
            IntOrString::String(text) => Value::from(text),
        }
    }
}

/// A count of pods, or a percentage of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many pods.
    Count(i32),
    /// So many percent of the replicas. A larger number means the same as the largest:
    /// no rollout has use for that many pods.
    Percent(i32),
}

impl Amount {
    /// The meaning of a `maxUnavailable` or `maxSurge`; `None` where the API
    /// server rejects the value.
    pub fn parse(value: IntOrString) -> Option<Self> {
        match value {
            IntOrString::Int(count) => (count >= 0).then_some(Amount::Count(count)),
            IntOrString::String(text) => {
                let digits = text.strip_suffix('%')?;
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                // Digits have no other error than too many of them, and the API server
                // takes any number of them (apimachinery, pkg/util/validation,
                // IsValidPercent).
                is_number.then(|| Amount::Percent(digits.parse().unwrap_or(i32::MAX)))
            }
        }
    }

    /// Whether this is `0` or `0%`. The API server rejects a strategy in which
    /// both amounts are.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }

    /// So many of `replicas`, rounded as the kind's controller does.
    pub fn of(self, replicas: i32, round: fn(f64) -> f64) -> i64 {
        match self {
            Amount::Count(count) => i64::from(count),
            // As intstr.GetScaledValueFromIntOrPercent computes it.
            Amount::Percent(percent) => round(f64::from(percent) * f64::from(replicas) / 100.0) as i64,
        }
    }
}

impl From<Amount> for Value {
    fn from(amount: Amount) -> Value {
        match amount {
            Amount::Count(count) => Value::from(count),
            Amount::Percent(percent) => Value::from(format!("{percent}%")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IntOrString::{Int, String as Text};

    #[test]
    fn amounts_are_what_the_api_server_accepts() {
        assert_eq!(Amount::parse(Int(2)), Some(Amount::Count(2)));
        assert_eq!(Amount::parse(Text("25%")), Some(Amount::Percent(25)));
        assert_eq!(Amount::parse(Text("2147483646%")), Some(Amount::Percent(i32::MAX - 1)));
        for huge in ["2147483648%", "4294967296%", "18446744073709551616%", &format!("{}%", "9".repeat(400))]
        {
            assert_eq!(Amount::parse(Text(huge)), Some(Amount::Percent(i32::MAX)), "{huge}");
        }
        for rejected in
            [Int(-1), Text("abc"), Text("25"), Text("%"), Text("-5%"), Text("+5%"), Text("1.5%"), Text("")]
        {
            assert_eq!(Amount::parse(rejected), None, "{rejected:?}");
        }
    }

    #[test]
    fn amounts_are_written_as_the_api_has_them() {
        assert_eq!(Value::from(Amount::Count(1)), Value::from(1));
        assert_eq!(Value::from(Amount::Percent(25)), Value::from("25%"));
    }
}
