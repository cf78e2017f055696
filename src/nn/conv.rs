//! Two-dimensional convolution.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::WeightInit;
use super::summary::record;
use crate::ops::{Conv2dParams, conv2d};

/// The options of a [`Conv2d`], with PyTorch's names and defaults. Pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2dConfig {
    /// The kernel's size.
    pub kernel_size: (usize, usize),
    /// The step between two windows.
    pub stride: (usize, usize),
    /// Zeros on each side of the input.
    pub padding: (usize, usize),
    /// The distance between two taps of the kernel.
    pub dilation: (usize, usize),
    /// Input and output channels are cut into this many independent groups.
    pub groups: usize,
    /// Whether a value per output channel is added.
    pub bias: bool,
    /// The distribution of the initial weights.
    pub init: WeightInit,
}

impl Conv2dConfig {
    /// A square kernel that keeps the size at stride 1 if it is odd.
    pub fn same(kernel_size: usize) -> Self {
        Self {
            kernel_size: (kernel_size, kernel_size),
            stride: (1, 1),
            padding: (kernel_size / 2, kernel_size / 2),
            dilation: (1, 1),
            groups: 1,
            bias: false,
            init: WeightInit::Default,
        }
    }

    /// The same stride on both axes.
    pub fn stride(self, stride: usize) -> Self {
        let stride = (stride, stride);
        Self { stride, ..self }
    }

    /// The same padding on both axes.
    pub fn padding(self, padding: usize) -> Self {
        let padding = (padding, padding);
        Self { padding, ..self }
    }

    /// Independent groups of channels.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With or without a bias.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Another distribution of the initial weights.
    pub fn init(self, init: WeightInit) -> Self {
        Self { init, ..self }
    }
}

/// A convolution with its `weight` and perhaps its `bias`.
///
/// # Shapes
/// - input: [N, C_in, H, W]
/// - output: [N, C_out, H_out, W_out], H_out = (H + 2 padding - dilation (kernel - 1) - 1) /
///   stride + 1
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    params: Conv2dParams,
    path: String,
}

impl Conv2d {
    /// Takes `weight` [C_out, C_in / groups, kernel] and `bias` `[C_out]` from `vb`.
    ///
    /// # Errors
    /// If the groups do not divide the channels, if a size that must be positive is zero, or if
    /// `vb` has tensors of other shapes.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        config: Conv2dConfig,
        vb: VarBuilder,
    ) -> Result<Self> {
        let Conv2dConfig {
            kernel_size: (kh, kw),
            groups,
            ..
        } = config;
        if groups == 0
            || !in_channels.is_multiple_of(groups)
            || !out_channels.is_multiple_of(groups)
        {
            candle_core::bail!(
                "conv2d {}: {groups} groups do not divide {in_channels} input and {out_channels} \
                 output channels",
                vb.prefix()
            );
        }
        if in_channels == 0 || out_channels == 0 || kh == 0 || kw == 0 {
            candle_core::bail!(
                "conv2d {}: channels and kernel must not be empty",
                vb.prefix()
            );
        }
        let taps = kh * kw;
        let fans = (in_channels / groups * taps, out_channels / groups * taps);
        let (init, bias_init) = config.init.distributions(fans.0, fans.1);
        let shape = (out_channels, in_channels / groups, kh, kw);
        let weight = vb.get_with_hints(shape, "weight", init)?;
        let bias = if config.bias {
            Some(vb.get_with_hints(out_channels, "bias", bias_init)?)
        } else {
            None
        };
        let params = Conv2dParams {
            stride: config.stride,
            padding: config.padding,
            dilation: config.dilation,
            groups,
        };
        Ok(Self {
            weight,
            bias,
            params,
            path: vb.prefix(),
        })
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, self.bias.as_ref(), &self.params)?;
        let params: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let taps: usize = self.weight.dims().iter().skip(1).product();
        record(&self.path, "Conv2d", &y, &params, y.elem_count() * taps);
        Ok(y)
    }
}
