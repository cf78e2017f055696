//! How to build a network, apart from which one it is.

use candle_mish::activation::Activation;
use candle_mish::nn::Blend;
use candle_mish::pattern::matches;
use candle_mish::rng::Generator;

/// What [`crate::create_with`] needs besides a [`crate::ModelSpec`].
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The random layers (dropout, stochastic depth, RReLU) draw from it in training.
    pub generator: Generator,
    /// Another activation in the whole network or a part of it.
    pub swap: Option<Swap>,
    /// How batch norms update their running statistics.
    pub statistics: Statistics,
}

impl Default for BuildContext {
    fn default() -> Self {
        Self {
            generator: Generator::new(0),
            swap: None,
            statistics: Statistics::default(),
        }
    }
}

/// How batch norms update their running statistics in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// An exponential moving average, as PyTorch's default.
    #[default]
    Exponential,
    /// The mean over all batches, for recalibrating trained weights: PyTorch's `momentum=None`.
    Cumulative,
}

/// An activation that replaces a network's own.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The new activation.
    pub to: Activation,
    /// Patterns of the paths of the activation layers to replace (`layer1.0.act1`, `layer2*`); `*`
    /// matches any characters. Empty: all.
    pub layers: Vec<String>,
    /// A gradual change from the old to the new activation. `None` replaces it at once.
    pub blend: Option<Blend>,
}

impl Swap {
    /// Whether it replaces the activation layer at `path`.
    pub fn reaches(&self, path: &str) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|pattern| matches(pattern, path))
    }
}
