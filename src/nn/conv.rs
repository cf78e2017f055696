//! Two-dimensional convolution.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::init::Fans;
use super::summary::record;
use super::{WeightInit, named};
use crate::ops::{self, Conv2dParams, ConvKernel, Fp32Precision, MemoryFormat, PackedWeight};

/// The options of a [`Conv2d`] layer, with PyTorch's names. Pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2dConfig {
    /// The size of the kernel.
    pub kernel_size: (usize, usize),
    /// The distance between two windows.
    pub stride: (usize, usize),
    /// The number of zeros on each side of the input.
    pub padding: (usize, usize),
    /// The distance between two taps of the kernel.
    pub dilation: (usize, usize),
    /// The number of independent groups of channels.
    pub groups: usize,
    /// Whether the layer adds a bias.
    pub bias: bool,
    /// The distribution of the initial weight.
    pub init: WeightInit,
}

impl Conv2dConfig {
    /// A square kernel with stride 1 and padding `kernel_size / 2`, which keeps the image size if
    /// `kernel_size` is odd. One group, no bias.
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

    /// Sets the stride on both axes.
    pub fn stride(self, stride: usize) -> Self {
        let stride = (stride, stride);
        Self { stride, ..self }
    }

    /// Sets the padding on both axes.
    pub fn padding(self, padding: usize) -> Self {
        let padding = (padding, padding);
        Self { padding, ..self }
    }

    /// Sets the number of groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Sets whether the layer adds a bias.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Sets the distribution of the initial weight.
    pub fn init(self, init: WeightInit) -> Self {
        Self { init, ..self }
    }
}

/// A convolution layer. [`conv2d`] builds it from a [`VarBuilder`].
///
/// # Shapes
/// - weight: [C_out, C_in / groups, kernel height, kernel width]; bias: `[C_out]`
/// - input: [N, C_in, H, W]
/// - output: [N, C_out, H_out, W_out], H_out = (H + 2 padding - dilation (kernel - 1) - 1) /
///   stride + 1
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    params: Conv2dParams,
    precision: Fp32Precision,
    packed: Option<PackedWeight>,
    memory_format: MemoryFormat,
    path: String,
}

impl Conv2d {
    /// A layer with the given parameters.
    pub fn new(weight: Tensor, bias: Option<Tensor>, params: Conv2dParams) -> Self {
        Self {
            weight,
            bias,
            params,
            precision: Fp32Precision::Ieee,
            packed: None,
            memory_format: MemoryFormat::Contiguous,
            path: String::new(),
        }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// Leaves the weight out of training: it gets no gradient. The bias still does.
    pub fn with_fixed_weight(self) -> Self {
        Self {
            weight: self.weight.detach(),
            ..self
        }
    }

    /// Sets how the layer multiplies f32, forward and backward.
    pub fn with_fp32_precision(self, precision: Fp32Precision) -> Self {
        Self { precision, ..self }
    }

    /// Promises that the weight does not change from the first call on. The layer then arranges it
    /// once for its algorithm, and not in each call: see [`PackedWeight`].
    pub fn with_constant_weight(self) -> Self {
        Self {
            packed: Some(PackedWeight::default()),
            ..self
        }
    }

    /// Sets the order in which the layer prefers to write its output in inference. A channels-last
    /// output has other strides, and saves the next layers on the CPU two transposes each: see
    /// [`ConvKernel::memory_format`].
    pub fn with_memory_format(self, memory_format: MemoryFormat) -> Self {
        Self {
            memory_format,
            ..self
        }
    }

    /// The weight, [C_out, C_in / groups, kernel height, kernel width].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[C_out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Stride, padding, dilation and groups.
    pub fn params(&self) -> &Conv2dParams {
        &self.params
    }

    /// What the ops take.
    pub(super) fn kernel(&self) -> ConvKernel<'_> {
        ConvKernel {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            params: &self.params,
            precision: self.precision,
            packed: self.packed.as_ref(),
            memory_format: self.memory_format,
        }
    }
}

/// A [`Conv2d`] layer: takes `weight` and, if `config` has one, `bias` from `vb`.
///
/// # Errors
/// If `config.groups` does not divide the channels, if a channel or kernel size is zero, or if a
/// tensor in `vb` has another shape.
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    config: Conv2dConfig,
    vb: VarBuilder,
) -> Result<Conv2d> {
    let Conv2dConfig {
        kernel_size: (kh, kw),
        groups,
        ..
    } = config;
    let name = || named("conv2d", &vb.prefix());
    if groups == 0 || !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
        candle_core::bail!(
            "{}: groups = {groups} does not divide {in_channels} input and {out_channels} output \
             channels",
            name()
        );
    }
    if in_channels == 0 || out_channels == 0 || kh == 0 || kw == 0 {
        candle_core::bail!("{}: channels and kernel_size must not be 0", name());
    }
    let fans = (kh.checked_mul(kw)).and_then(|taps| {
        Some(Fans {
            fan_in: (in_channels / groups).checked_mul(taps)?,
            fan_out: out_channels.checked_mul(taps)?,
            fan_out_of_group: (out_channels / groups).checked_mul(taps)?,
        })
    });
    let Some(fans) = fans else {
        candle_core::bail!("{}: the kernel is too large", name());
    };
    let (init, bias_init) = config.init.distributions(fans);
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
    Ok(Conv2d::new(weight, bias, params).with_path(vb.prefix()))
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = ops::conv2d_with(x, self.kernel())?;
        let params: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let taps: usize = self.weight.dims().iter().skip(1).product();
        record(&self.path, "Conv2d", &y, &params, y.elem_count() * taps);
        Ok(y)
    }
}
