//! Why a network cannot be created.

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
    /// A choice that the network does not offer.
    #[error("{0}")]
    Option(String),
    /// A layer cannot be built, for example because the weights have another shape.
    #[error(transparent)]
    Build(#[from] candle_core::Error),
}

fn hint(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean '{name}'?"),
        None => "; `mish models` lists all".to_string(),
    }
}
