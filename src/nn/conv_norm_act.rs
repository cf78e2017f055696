//! A convolution with its batch norm and its activation.

use candle_core::{Module, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};

use super::{Act, BatchNorm2d, Conv2d, Conv2dConfig};
use crate::activation::Activation;
use crate::rng::Generator;

/// act(bn(conv(x))), with timm's keys: `conv.weight`, `bn.weight`, …, and `bn.act` for what the
/// activation learns.
///
/// # Shapes
/// - as [`Conv2d`]
#[derive(Debug, Clone)]
pub struct ConvNormAct {
    conv: Conv2d,
    norm: BatchNorm2d,
    act: Act,
}

impl ConvNormAct {
    /// A convolution of `config` with its norm and `activation`, which is
    /// [`Activation::Identity`] where none follows.
    ///
    /// # Errors
    /// As [`Conv2d::new`], [`BatchNorm2d::new`] and [`Act::new`].
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        config: Conv2dConfig,
        activation: &Activation,
        vb: VarBuilder,
        generator: &Generator,
    ) -> Result<Self> {
        let norm = vb.pp("bn");
        Ok(Self {
            conv: Conv2d::new(in_channels, out_channels, config, vb.pp("conv"))?,
            act: Act::new(activation, out_channels, norm.pp("act"), generator)?,
            norm: BatchNorm2d::new(out_channels, norm)?,
        })
    }

    /// The three layers of any paths, for networks whose keys are others.
    pub fn from_layers(conv: Conv2d, norm: BatchNorm2d, act: Act) -> Self {
        Self { conv, norm, act }
    }

    /// act(bn(conv(x)) + residual): the end of a residual block.
    ///
    /// # Errors
    /// As the layers' own, and if the shape of `residual` is not that of the output.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        self.norm.forward_act(&y, Some(residual), &self.act, train)
    }
}

impl ModuleT for ConvNormAct {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        self.norm.forward_act(&y, None, &self.act, train)
    }
}
