//! How parts of objects of the API are read from their JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Null means absent, as in the Kubernetes API.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of texts, in which null is the empty text: so it is for Go's reader of JSON.
///
/// # Errors
/// If it is no list of texts.
pub fn list_of_texts<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'a str>, D::Error> {
    let texts: Option<Vec<Option<&str>>> = Option::deserialize(deserializer)?;
    Ok(texts.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

/// A struct from the entries of a JSON object.
pub trait FromEntries<'de>: Sized {
    /// The struct, or what is wrong with an entry.
    fn from_entries<A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error>;
}

/// Takes an object, and nothing else.
pub struct ObjectVisitor<T>(pub PhantomData<T>);

impl<'de, T: FromEntries<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::from_entries(entries)
    }
}

/// Structs that are read from JSON objects and from nothing else. What serde derives
/// would also take a list, of the fields' values, which the API server refuses. With
/// `remote = "Self"` it derives that as a function of the struct, which is called here.
macro_rules! objects {
    ($($name:ident $(<$a:lifetime>)?),+ $(,)?) => {$(
        impl<'de $(: $a, $a)?> $crate::kubernetes::from_json::FromEntries<'de> for $name $(<$a>)? {
            fn from_entries<A: serde::de::MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
                $name::deserialize(serde::de::value::MapAccessDeserializer::new(entries))
            }
        }

        impl<'de $(: $a, $a)?> serde::Deserialize<'de> for $name $(<$a>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map($crate::kubernetes::from_json::ObjectVisitor(std::marker::PhantomData))
            }
        }
    )+};
}

pub(crate) use objects;
