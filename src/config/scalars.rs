//! Numbers and texts that are checked when they are read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::kubernetes::int_or_string::{self, IntOrString};
use crate::names::{is_dns_label, is_label_key, is_port_name};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: i32, const MAX: i32>(i32);

impl<const MIN: i32, const MAX: i32> Whole<MIN, MAX> {
    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl<'de, const MIN: i32, const MAX: i32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor<const MIN: i32, const MAX: i32>;
        impl<const MIN: i32, const MAX: i32> Visitor<'_> for WholeVisitor<MIN, MAX> {
            type Value = Whole<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                let number_in_range = i32::try_from(number).ok().filter(|it| (MIN..=MAX).contains(it));
                number_in_range.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                match i64::try_from(number) {
                    Ok(number) => self.visit_i64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

impl<const MIN: i32, const MAX: i32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("WholeFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// A number of pods, or a percentage of the replicas of at most `MAX_PERCENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount<const MAX_PERCENT: i32>(int_or_string::Amount);

impl<const MAX_PERCENT: i32> Amount<MAX_PERCENT> {
    /// The amount.
    pub fn get(self) -> int_or_string::Amount {
        self.0
    }
}

impl<'de, const MAX_PERCENT: i32> Deserialize<'de> for Amount<MAX_PERCENT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor<const MAX_PERCENT: i32>;
        impl<const MAX_PERCENT: i32> Visitor<'_> for AmountVisitor<MAX_PERCENT> {
            type Value = Amount<MAX_PERCENT>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a number of pods such as 1, or a percentage from 0% to {MAX_PERCENT}%")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                let pods = i32::try_from(number).ok().filter(|pods| *pods >= 0);
                let pods = pods.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))?;
                Ok(Amount(int_or_string::Amount::Count(pods)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                match i64::try_from(number) {
                    Ok(number) => self.visit_i64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match percent(text, MAX_PERCENT) {
                    Some(percent) => Ok(Amount(int_or_string::Amount::Percent(percent))),
                    None => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
}

impl<const MAX_PERCENT: i32> JsonSchema for Amount<MAX_PERCENT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("AmountUpTo{MAX_PERCENT}Percent").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Of the keywords here, each looks at one of the two types only.
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": i32::MAX,
            "pattern": percent_pattern(MAX_PERCENT),
        })
    }
}

/// A percentage from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentage(i32);

impl Percentage {
    /// The number before the sign.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PercentageVisitor;
        impl Visitor<'_> for PercentageVisitor {
            type Value = Percentage;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a percentage from 0% to 100%")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let percent = percent(text, 100);
                percent.map(Percentage).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(PercentageVisitor)
    }
}

impl JsonSchema for Percentage {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": percent_pattern(100)})
    }
}

/// The number in a text such as `25%`, as the API server reads it.
fn percent(text: &str, max: i32) -> Option<i32> {
    match int_or_string::Amount::parse(IntOrString::String(text)) {
        Some(int_or_string::Amount::Percent(percent)) if percent <= max => Some(percent),
        _ => None,
    }
}

/// All percentages up to `max`, which is a power of ten.
fn percent_pattern(max: i32) -> String {
    let digits = max.ilog10();
    format!("^([0-9]{{1,{digits}}}|{max})%$")
}

/// A text of one form.
#[derive(Debug)]
pub struct Text<F> {
    text: String,
    form: PhantomData<F>,
}

/// The form of a text.
pub trait Form {
    /// What the text is, and how it is written.
    const EXPECTED: &str;
    /// The same as a regular expression, as far as one can tell.
    const PATTERN: &str;

    /// Whether the text has this form.
    fn accepts(text: &str) -> bool;
}

impl<F> Text<F> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<'de, F: Form> Deserialize<'de> for Text<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<F>(PhantomData<F>);
        impl<F: Form> Visitor<'_> for TextVisitor<F> {
            type Value = Text<F>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(F::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if F::accepts(text) {
                    Ok(Text { text: text.to_owned(), form: PhantomData })
                } else {
                    Err(E::invalid_value(Unexpected::Str(text), &self))
                }
            }
        }
        // Not `deserialize_str`, for which 1.0 and no would be texts here, while
        // other programs that handle the file make numbers and booleans of them.
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl<F: Form> JsonSchema for Text<F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        F::EXPECTED.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": F::PATTERN})
    }
}

/// Any text that is not empty.
#[derive(Debug)]
pub struct NonEmpty;

impl Form for NonEmpty {
    const EXPECTED: &str = "a text that is not empty";
    const PATTERN: &str = "^.+$";

    fn accepts(text: &str) -> bool {
        !text.is_empty()
    }
}

/// The name of a namespace: a DNS label (apimachinery, `IsDNS1123Label`).
#[derive(Debug)]
pub struct NamespaceName;

impl Form for NamespaceName {
    const EXPECTED: &str = "a name of at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends";
    const PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

    fn accepts(text: &str) -> bool {
        is_dns_label(text)
    }
}

/// The name of a port (apimachinery, `IsValidPortName`).
#[derive(Debug)]
pub struct PortName;

impl Form for PortName {
    const EXPECTED: &str = "a port name: at most 15 of a-z, 0-9 and '-', at least one letter among them, \
                            no '-' at either end and no two in a row";
    const PATTERN: &str = "^[-a-z0-9]{1,15}$";

    fn accepts(text: &str) -> bool {
        is_port_name(text)
    }
}

/// The last part of an image's name (distribution, reference grammar).
#[derive(Debug)]
pub struct ImageName;

impl Form for ImageName {
    const EXPECTED: &str = "the last part of an image's name, such as pgbouncer: at most 255 of a-z, 0-9, '_', \
                            '.' and '-', with a letter or digit at both ends";
    const PATTERN: &str = "^[a-z0-9]([a-z0-9_.-]{0,253}[a-z0-9])?$";

    fn accepts(text: &str) -> bool {
        let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let edges = [text.bytes().next(), text.bytes().last()];
        text.len() <= 255
            && edges.iter().all(|edge| edge.is_some_and(is_edge))
            && text.bytes().all(|byte| is_edge(byte) || b"_.-".contains(&byte))
    }
}

/// The tag of an image (distribution, reference grammar).
#[derive(Debug)]
pub struct ImageTag;

impl Form for ImageTag {
    const EXPECTED: &str =
        "an image tag: at most 128 letters, digits, '_', '.' and '-', with no '.' or '-' in front";
    const PATTERN: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$";

    fn accepts(text: &str) -> bool {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        (1..=128).contains(&text.len()) && text.bytes().all(is_inner) && !text.starts_with(['.', '-'])
    }
}

/// The key of a label (apimachinery, `IsQualifiedName`).
#[derive(Debug)]
pub struct LabelKey;

impl Form for LabelKey {
    const EXPECTED: &str = "a label key such as version or example.com/version: at most 63 letters, digits, \
                            '-', '_' and '.', with a letter or digit at both ends, after a DNS name and '/' if \
                            there is one";
    const PATTERN: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                           [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

    fn accepts(text: &str) -> bool {
        is_label_key(text)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    use super::*;

    fn accepts<F: Form>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(F::accepts(text), "{text}");
        }
        for text in bad {
            assert!(!F::accepts(text), "{text}");
        }
    }

    #[test]
    fn texts_are_what_the_api_server_accepts() {
        let long_tag = "x".repeat(128);
        accepts::<NamespaceName>(&["team-a"], &["", "Team", "a.b"]);
        accepts::<PortName>(&["http-metrics"], &["", "80", "a.b"]);
        accepts::<ImageName>(
            &["pgbouncer", "cloud_sql_proxy", "a", "0.9-x"],
            &["", "a/b", "a:1", "-a", "a_", "A", "a b", &"x".repeat(256)],
        );
        accepts::<ImageTag>(
            &["latest", "1.0", "_x", "v1.0-rc.1", "A", &long_tag],
            &["", ".1", "-1", "a:b", "a/b", "a b", "\u{e4}", &"x".repeat(129)],
        );
        accepts::<LabelKey>(&["version", "app.kubernetes.io/version"], &["", "a/b/c"]);
        accepts::<NonEmpty>(&["a", " ", "system:serviceaccount:a:b"], &[""]);
    }

    #[test]
    fn numbers_keep_within_their_limits() {
        let read = |number: i64| Whole::<1, 3_600>::deserialize(number.into_deserializer());
        for (number, is_good) in
            [(0, false), (1, true), (3_600, true), (3_601, false), (-1, false), (i64::MAX, false)]
        {
            let result: Result<_, ValueError> = read(number);
            assert_eq!(result.is_ok(), is_good, "{number}");
        }
        let huge: Result<Whole<1, 3_600>, ValueError> = Whole::deserialize(u64::MAX.into_deserializer());
        assert!(huge.is_err());
    }

    #[test]
    fn amounts_are_pods_or_percentages() {
        let pods = |number: i64| -> Result<Amount<100>, ValueError> {
            Amount::deserialize(number.into_deserializer())
        };
        assert_eq!(pods(0).map(Amount::get), Ok(int_or_string::Amount::Count(0)));
        assert_eq!(pods(3).map(Amount::get), Ok(int_or_string::Amount::Count(3)));
        assert!(pods(-1).is_err() && pods(i64::from(i32::MAX) + 1).is_err());
        let share = |text: &'static str| -> Result<Amount<100>, ValueError> {
            Amount::deserialize(text.into_deserializer())
        };
        for (text, percent) in [("0%", 0), ("25%", 25), ("100%", 100)] {
            assert_eq!(share(text).map(Amount::get), Ok(int_or_string::Amount::Percent(percent)));
        }
        for text in ["101%", "25", "%", "-1%", "1.5%", "25 %", "99999999999%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
