//! Why a network cannot be created.

use crate::used::NoEffect;

/// Why a network cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network has this name.
    #[error("unknown model '{name}'{}", hint(suggestion))]
    Unknown {
        /// The name.
        name: String,
        /// The most similar name, if one is similar.
        suggestion: Option<&'static str>,
    },
    /// An option that the network does not support, or weights that do not exist.
    #[error("{0}")]
    Option(String),
    /// An option without effect on the network.
    #[error("{0}")]
    NoEffect(NoEffect),
    /// A layer cannot be built, for example because the weights have another shape.
    #[error(transparent)]
    Build(#[from] candle_core::Error),
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}
