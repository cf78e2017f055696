//! Parsing of values with a fixed list of names.

use std::error::Error;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned};

/// A name that an enum does not have.
#[derive(Debug)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UnknownName {}

impl de::Error for UnknownName {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(match expected {
            [first @ .., last] if !first.is_empty() => {
                format!("expected {} or {last}", first.join(", "))
            }
            names => format!("expected {}", names.concat()),
        })
    }
}

/// Parses one of the names of an enum, as they are in TOML.
///
/// # Errors
/// A list of the names.
pub fn named<T: DeserializeOwned>(text: &str) -> Result<T, UnknownName> {
    T::deserialize(StrDeserializer::new(text))
}

#[cfg(test)]
mod tests {
    use candle_mish::data::EraseMode;

    use super::named;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = named::<EraseMode>("foo").expect_err("no mode");
        assert_eq!(error.to_string(), "expected const, rand or pixel");
        assert!(named::<EraseMode>("rand").is_ok());
    }
}
