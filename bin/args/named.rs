//! Parsing of values with a fixed list of names.

use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

/// Parses one of the names of an enum, as they are in TOML.
pub fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Error> = StrDeserializer::new(text);
    T::deserialize(text).map_err(|error| error.to_string())
}
