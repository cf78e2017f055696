//! What can be chosen for every network.

use candle_mish::activation::Activation;
use candle_mish::rng::Generator;

/// The options of [`crate::create`], with timm's names.
#[derive(Debug, Clone)]
pub struct Options {
    /// The activation wherever the network has one. Mish by default.
    pub activation: Activation,
    /// The width of the logits. 100 by default.
    pub num_classes: usize,
    /// The channels of the images. 3 by default.
    pub in_channels: usize,
    /// The probability of dropping a feature in front of the classifier. 0 by default.
    pub drop_rate: f64,
    /// Where the random layers (dropout, RReLU) draw from while training.
    pub generator: Generator,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            activation: Activation::Mish,
            num_classes: 100,
            in_channels: 3,
            drop_rate: 0.0,
            generator: Generator::new(0),
        }
    }
}
