//! Channel attention.

use candle_core::{Module, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};

use super::{Act, Conv2d, Conv2dConfig};
use crate::activation::Activation;
use crate::ops::{adaptive_avg_pool2d, scale_channels};
use crate::rng::Generator;

/// The options of a [`SqueezeExcite`], with timm's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SqueezeExciteConfig {
    /// The hidden channels as a part of those of the input.
    pub rd_ratio: f64,
    /// The hidden channels are rounded to a multiple of this.
    pub rd_divisor: usize,
    /// The hidden channels, in place of ratio and divisor.
    pub rd_channels: Option<usize>,
    /// The activation of the hidden channels.
    pub activation: Activation,
    /// What makes the factors of the result.
    pub gate: Activation,
    /// The paths of the first convolution, the activation and the second convolution, which
    /// differ from one family of networks to the next.
    pub keys: [&'static str; 3],
}

impl Default for SqueezeExciteConfig {
    /// A sixteenth of the channels in steps of eight, ReLU, a sigmoid as the gate, and the keys
    /// `fc1`, `act` and `fc2`.
    fn default() -> Self {
        Self {
            rd_ratio: 1.0 / 16.0,
            rd_divisor: 8,
            rd_channels: None,
            activation: Activation::Relu,
            gate: Activation::Sigmoid,
            keys: ["fc1", "act", "fc2"],
        }
    }
}

impl SqueezeExciteConfig {
    /// The hidden channels for an input of `channels`: at least one divisor.
    pub fn hidden_channels(&self, channels: usize) -> usize {
        if let Some(channels) = self.rd_channels {
            return channels;
        }
        let divisor = self.rd_divisor.max(1);
        let wanted = channels as f64 * self.rd_ratio + divisor as f64 / 2.0;
        (wanted as usize / divisor * divisor).max(divisor)
    }
}

/// x times gate(fc2(act(fc1(mean of each plane)))): a factor for each channel of each image
/// (Hu et al., "Squeeze-and-Excitation Networks", 2018). `fc1` and `fc2` are 1x1 convolutions
/// with a bias; what the activations learn is at `act` and `gate`. [`SqueezeExciteConfig::keys`]
/// gives other paths.
///
/// # Shapes
/// - input and output: [N, C, H, W]
#[derive(Debug, Clone)]
pub struct SqueezeExcite {
    fc1: Conv2d,
    act: Act,
    fc2: Conv2d,
    gate: Act,
}

impl SqueezeExcite {
    /// The layer for `channels` channels.
    ///
    /// # Errors
    /// As [`Conv2d::new`] and [`Act::new`].
    pub fn new(
        channels: usize,
        config: &SqueezeExciteConfig,
        vb: VarBuilder,
        generator: &Generator,
    ) -> Result<Self> {
        let hidden = config.hidden_channels(channels);
        let conv = Conv2dConfig::same(1).bias(true);
        let [fc1, act, fc2] = config.keys;
        Ok(Self {
            fc1: Conv2d::new(channels, hidden, conv, vb.pp(fc1))?,
            act: Act::new(&config.activation, hidden, vb.pp(act), generator)?,
            fc2: Conv2d::new(hidden, channels, conv, vb.pp(fc2))?,
            gate: Act::new(&config.gate, channels, vb.pp("gate"), generator)?,
        })
    }

    /// With another layer for the activation of the hidden channels.
    pub fn with_act(self, act: Act) -> Self {
        Self { act, ..self }
    }
}

impl ModuleT for SqueezeExcite {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let s = adaptive_avg_pool2d(x, (1, 1))?;
        let s = self.act.forward_t(&self.fc1.forward(&s)?, train)?;
        let s = self.gate.forward_t(&self.fc2.forward(&s)?, train)?;
        scale_channels(x, &s)
    }
}
