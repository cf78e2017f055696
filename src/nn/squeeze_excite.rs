//! Channel attention.

use candle_core::{Module, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};

use super::layer_input::observes_activations;
use super::{Act, Conv2d, Conv2dConfig, act, conv2d};
use crate::activation::Activation;
use crate::ops::{adaptive_avg_pool2d, add, scale_channels, scale_channels_add_act};
use crate::rng::Generator;

/// The options of a [`SqueezeExcite`] layer, with timm's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SqueezeExciteConfig {
    /// The ratio of hidden channels to input channels.
    pub rd_ratio: f64,
    /// The number of hidden channels is rounded to a multiple of this.
    pub rd_divisor: usize,
    /// The number of hidden channels; overrides ratio and divisor.
    pub rd_channels: Option<usize>,
    /// The activation of the hidden channels.
    pub activation: Activation,
    /// The activation that turns the result into factors.
    pub gate: Activation,
    /// The paths of the first convolution, the activation and the second convolution, which differ
    /// between families of networks.
    pub keys: [&'static str; 3],
}

impl Default for SqueezeExciteConfig {
    /// A sixteenth of the channels in steps of eight, ReLU, a sigmoid gate, and the keys `fc1`,
    /// `act` and `fc2`.
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
    /// The number of hidden channels for `channels` input channels: at least one divisor.
    pub fn hidden_channels(&self, channels: usize) -> usize {
        if let Some(channels) = self.rd_channels {
            return channels;
        }
        let divisor = self.rd_divisor.max(1);
        let wanted = channels as f64 * self.rd_ratio + divisor as f64 / 2.0;
        (wanted as usize / divisor * divisor).max(divisor)
    }
}

/// x times gate(fc2(act(fc1(mean of each plane)))): one factor for each channel of each image
/// (Hu et al., "Squeeze-and-Excitation Networks", 2018). `fc1` and `fc2` are 1x1 convolutions.
/// [`squeeze_excite`] builds it from a [`VarBuilder`].
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
    /// A layer from its four parts: `fc1` from C to the hidden channels, `fc2` back to C.
    pub fn new(fc1: Conv2d, act: Act, fc2: Conv2d, gate: Act) -> Self {
        Self {
            fc1,
            act,
            fc2,
            gate,
        }
    }

    /// Replaces the activation of the hidden channels.
    pub fn with_act(self, act: Act) -> Self {
        Self { act, ..self }
    }

    /// Promises that the weights do not change from the first call on:
    /// [`Conv2d::with_constant_weight`].
    pub fn with_constant_weights(self) -> Self {
        Self {
            fc1: self.fc1.with_constant_weight(),
            fc2: self.fc2.with_constant_weight(),
            ..self
        }
    }

    /// The convolution to the hidden channels.
    pub fn fc1(&self) -> &Conv2d {
        &self.fc1
    }

    /// The convolution back to the input's channels.
    pub fn fc2(&self) -> &Conv2d {
        &self.fc2
    }

    /// act(self(x) + residual), the end of a residual block: one op for scale, sum and activation
    /// where the activation has a fused kernel.
    ///
    /// # Shapes
    /// - x and residual: [N, C, H, W]
    ///
    /// # Errors
    /// If the shapes differ, or do not fit the layer.
    pub fn forward_add_act(
        &self,
        x: &Tensor,
        residual: &Tensor,
        act: &Act,
        train: bool,
    ) -> Result<Tensor> {
        let s = self.factors(x, train)?;
        match act.stateless() {
            Some(activation) if !observes_activations() => {
                let y = scale_channels_add_act(x, &s, residual, activation)?;
                act.note(&y);
                Ok(y)
            }
            _ => act.forward_t(&add(&scale_channels(x, &s)?, residual)?, train),
        }
    }

    /// One factor for each channel of each image, [N, C, 1, 1].
    fn factors(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let s = adaptive_avg_pool2d(x, (1, 1))?;
        let s = self.act.forward_t(&self.fc1.forward(&s)?, train)?;
        self.gate.forward_t(&self.fc2.forward(&s)?, train)
    }
}

/// A [`SqueezeExcite`] layer for `channels` channels: takes `weight` and `bias` of two convolutions
/// at `fc1` and `fc2`, and the learned parameters of the activations at `act` and `gate`, from
/// `vb`. [`SqueezeExciteConfig::keys`] sets other paths.
///
/// # Errors
/// As [`conv2d`] and [`act()`].
pub fn squeeze_excite(
    channels: usize,
    config: &SqueezeExciteConfig,
    vb: VarBuilder,
    generator: &Generator,
) -> Result<SqueezeExcite> {
    let hidden = config.hidden_channels(channels);
    let conv = Conv2dConfig::same(1).bias(true);
    let [fc1, activation, fc2] = config.keys;
    Ok(SqueezeExcite {
        fc1: conv2d(channels, hidden, conv, vb.pp(fc1))?,
        act: act(&config.activation, hidden, vb.pp(activation), generator)?,
        fc2: conv2d(hidden, channels, conv, vb.pp(fc2))?,
        gate: act(&config.gate, channels, vb.pp("gate"), generator)?,
    })
}

impl ModuleT for SqueezeExcite {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        scale_channels(x, &self.factors(x, train)?)
    }
}
