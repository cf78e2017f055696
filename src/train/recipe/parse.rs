//! Reading a recipe in TOML.

use std::fmt;

use toml::de::DeTable;

use super::error::{RecipeError, one_line};
use super::fields::Recipe;

/// What is wrong with a recipe in TOML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeTextError {
    /// The line of the mistake, counted from 1, if the text has one.
    pub line: Option<usize>,
    /// What is wrong.
    pub error: RecipeError,
}

impl fmt::Display for RecipeTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for RecipeTextError {}

impl Recipe {
    /// Reads and checks a recipe in TOML. Fields that it leaves out have their defaults.
    ///
    /// # Errors
    /// A syntax error, an unknown field, a value out of range, or fields that contradict each other.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        Self::parse(text).map_err(|error| error.error)
    }

    /// As [`Recipe::from_toml`], with the line of the error.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn parse(text: &str) -> Result<Self, RecipeTextError> {
        let recipe: Self = toml::from_str(text).map_err(|error| RecipeTextError {
            line: error.span().map(|span| line_of(text, span.start)),
            error: RecipeError::Syntax(one_line(&error)),
        })?;
        recipe.validate().map_err(|error| error.located(text))?;
        Ok(recipe)
    }
}

impl RecipeError {
    /// This error with the line of its field in `text`, a recipe in TOML, if the text sets the field.
    pub fn located(self, text: &str) -> RecipeTextError {
        let table = DeTable::parse(text).ok();
        let line = self.field().zip(table).and_then(|(field, table)| {
            let mut keys = table.get_ref().keys();
            let key = keys.find(|key| **key.get_ref() == *field)?;
            Some(line_of(text, key.span().start))
        });
        RecipeTextError { line, error: self }
    }

    /// The field of the recipe that is wrong.
    fn field(&self) -> Option<&'static str> {
        match self {
            // Some add the value, such as `clip_mode agc`.
            Self::OutOfRange { field, .. } | Self::Needs { field, .. } => {
                field.split_whitespace().next()
            }
            Self::Crop(problem) => problem.split_whitespace().next(),
            _ => None,
        }
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    1 + before.filter(|byte| **byte == b'\n').count()
}
