//! Activations by the paths of the layers that have them.

use std::fmt;
use std::str::FromStr;

use super::{Activation, ParseActivationError};
use crate::pattern::matches;
use crate::serde_text::serde_as_text;

/// Activations of the layers whose paths match patterns, where `*` matches any characters. The
/// first pattern that matches decides.
///
/// It prints as `layer3.*=relu;act1=leaky_relu:0.1`, and [`FromStr`] reads this form.
///
/// ```
/// use candle_mish::activation::{Activation, LayerActivations};
///
/// let some: LayerActivations = "layer3.*=relu;act1=silu".parse()?;
/// assert_eq!(some.get("layer3.0.act1"), Some(Activation::Relu));
/// assert_eq!(some.get("layer1.0.act1"), None);
/// # Ok::<(), candle_mish::activation::ParseLayersError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerActivations(Vec<(String, Activation)>);

impl LayerActivations {
    /// Adds a pattern after all others.
    pub fn push(&mut self, pattern: impl Into<String>, activation: Activation) {
        self.0.push((pattern.into(), activation));
    }

    /// The activation of the layer at `path`, if a pattern matches it.
    pub fn get(&self, path: &str) -> Option<Activation> {
        let found = self.0.iter().find(|(pattern, _)| matches(pattern, path));
        found.map(|(_, activation)| *activation)
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns with their activations, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Activation)> {
        self.0
            .iter()
            .map(|(pattern, activation)| (pattern.as_str(), *activation))
    }

    /// These patterns first, then the patterns of `fallback`.
    pub fn or(&self, fallback: &Self) -> Self {
        Self(self.0.iter().chain(&fallback.0).cloned().collect())
    }
}

impl FromIterator<(String, Activation)> for LayerActivations {
    fn from_iter<I: IntoIterator<Item = (String, Activation)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Why a text is not a list of layers with their activations.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseLayersError {
    /// A part has another form.
    #[error("'{0}' must be PATTERN=ACTIVATION")]
    Form(String),
    /// An activation is not valid.
    #[error("layers {pattern}: {error}")]
    Activation {
        /// The pattern of its layers.
        pattern: String,
        /// What is wrong.
        error: ParseActivationError,
    },
}

impl fmt::Display for LayerActivations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pattern, activation)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{pattern}={activation}")?;
        }
        Ok(())
    }
}

impl FromStr for LayerActivations {
    type Err = ParseLayersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(';').filter(|part| !part.trim().is_empty());
        let pair = |part: &str| {
            let form = || ParseLayersError::Form(part.to_string());
            let (pattern, activation) = part.split_once('=').ok_or_else(form)?;
            let pattern = pattern.trim().to_string();
            match activation.parse() {
                Ok(activation) => Ok((pattern, activation)),
                Err(error) => Err(ParseLayersError::Activation { pattern, error }),
            }
        };
        parts.map(pair).collect()
    }
}

serde_as_text!(LayerActivations);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_print_as_they_parse() {
        let text = "layer3.*=relu;act1=leaky_relu:0.1;*=hardtanh:-2,2";
        let layers: LayerActivations = text.parse().expect("layers");
        assert_eq!(layers.to_string(), text);
        assert_eq!(
            layers.get("act1"),
            Some(Activation::LeakyRelu { slope: 0.1 })
        );
        assert_eq!(
            LayerActivations::default().to_string().parse(),
            Ok(LayerActivations::default())
        );
        let error = |text: &str| match text.parse::<LayerActivations>() {
            Err(error) => error.to_string(),
            Ok(layers) => panic!("{layers}"),
        };
        assert_eq!(error("relu"), "'relu' must be PATTERN=ACTIVATION");
        assert!(error("act1=rellu").starts_with("layers act1: unknown activation 'rellu'"));
    }
}
