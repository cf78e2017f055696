//! A convolution with its batch norm and its activation.

use candle_core::{Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};

use super::{Act, BatchNorm2d, Conv2d, Conv2dConfig, act, batch_norm2d, conv2d};
use crate::activation::Activation;
use crate::rng::Generator;

/// act(bn(conv(x))). [`conv_norm_act`] builds it from a [`VarBuilder`].
///
/// # Shapes
/// - input: [N, C_in, H, W]
/// - output: [N, C_out, H_out, W_out], as [`Conv2d`] gives it
#[derive(Debug, Clone)]
pub struct ConvNormAct {
    conv: Conv2d,
    norm: BatchNorm2d,
    act: Act,
}

impl ConvNormAct {
    /// A block from its three layers.
    pub fn new(conv: Conv2d, norm: BatchNorm2d, act: Act) -> Self {
        Self { conv, norm, act }
    }

    /// The convolution.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// The batch norm.
    pub fn norm(&self) -> &BatchNorm2d {
        &self.norm
    }

    /// The activation.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// act(bn(conv(x)) + residual): the end of a residual block.
    ///
    /// # Shapes
    /// - residual: the shape of the output
    ///
    /// # Errors
    /// If `x` or `residual` has another shape.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor, train: bool) -> Result<Tensor> {
        let Self { conv, norm, act } = self;
        norm.forward_conv(conv, x, Some(residual), act, train)
    }
}

/// A [`ConvNormAct`] block with timm's keys: takes `conv.weight`, the batch norm's tensors at `bn`,
/// and the activation's learned parameters at `bn.act` from `vb`. Pass [`Activation::Identity`] for
/// a block without an activation.
///
/// # Errors
/// As [`conv2d`], [`batch_norm2d`] and [`act()`].
pub fn conv_norm_act(
    in_channels: usize,
    out_channels: usize,
    config: Conv2dConfig,
    activation: &Activation,
    vb: VarBuilder,
    generator: &Generator,
) -> Result<ConvNormAct> {
    let norm = vb.pp("bn");
    Ok(ConvNormAct {
        conv: conv2d(in_channels, out_channels, config, vb.pp("conv"))?,
        act: act(activation, out_channels, norm.pp("act"), generator)?,
        norm: batch_norm2d(out_channels, norm)?,
    })
}

impl ModuleT for ConvNormAct {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Self { conv, norm, act } = self;
        norm.forward_conv(conv, x, None, act, train)
    }
}
