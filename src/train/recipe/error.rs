//! What can be wrong with a recipe.

use crate::suggest::suggest;

/// A recipe that cannot be read or has an invalid value. The message names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Not TOML, an unknown field, or a value of another type.
    #[error("{0}")]
    Syntax(String),
    /// A value out of its range.
    #[error("{field} is {value}, must be {expected}")]
    OutOfRange {
        /// The field of the recipe.
        field: &'static str,
        /// Its value.
        value: String,
        /// The range.
        expected: String,
    },
    /// A pair of values for random crops that do not fit together.
    #[error("{0}")]
    Crop(&'static str),
    /// A field that needs another value of another field.
    #[error("{field} needs {needs}")]
    Needs {
        /// The field of the recipe.
        field: &'static str,
        /// What it needs, with a suggestion.
        needs: &'static str,
    },
    /// An unknown name, for example of an optimizer.
    #[error("unknown {what} '{name}'; {}", advice(.suggestion, .known))]
    UnknownName {
        /// The kind of name, such as `optimizer`.
        what: &'static str,
        /// The name given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
        /// All known names.
        known: &'static [&'static str],
    },
}

impl RecipeError {
    pub(super) fn unknown(what: &'static str, name: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownName {
            what,
            name: name.to_owned(),
            suggestion: suggest(name, known.iter().copied()).map(str::to_owned),
            known,
        }
    }

    /// The same error about names that start with `prefix`.
    pub(super) fn prefixed(mut self, prefix: &str) -> Self {
        if let Self::UnknownName {
            name, suggestion, ..
        } = &mut self
        {
            name.insert_str(0, prefix);
            if let Some(suggestion) = suggestion {
                suggestion.insert_str(0, prefix);
            }
        }
        self
    }
}

fn advice(suggestion: &Option<String>, known: &[&str]) -> String {
    match suggestion {
        Some(name) => format!("did you mean '{name}'?"),
        None => format!("one of {}", known.join(", ")),
    }
}

/// The message of a TOML error in one line, without the excerpt of the text.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
