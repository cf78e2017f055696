//! Pooling layers.

use candle_core::{Module, Result, Tensor};

use crate::ops::{
    AvgDivisor, Pool2dParams, adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d,
};

/// The maximum of each window.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, H_out, W_out], as [`Pool2dParams::output_size`] gives them
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool2d {
    params: Pool2dParams,
}

impl MaxPool2d {
    /// A layer with the windows of `params`.
    pub fn new(params: Pool2dParams) -> Self {
        Self { params }
    }
}

impl Module for MaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        max_pool2d(x, &self.params)
    }
}

/// The mean of each window. Padding counts as zeros unless
/// [`count_include_pad(false)`](Self::count_include_pad) excludes it.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, H_out, W_out], as [`Pool2dParams::output_size`] gives them
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPool2d {
    params: Pool2dParams,
    count_include_pad: bool,
}

impl AvgPool2d {
    /// A layer with the windows of `params`.
    pub fn new(params: Pool2dParams) -> Self {
        Self {
            params,
            count_include_pad: true,
        }
    }

    /// Sets whether a mean includes the padding. On by default, as in PyTorch.
    pub fn count_include_pad(self, count_include_pad: bool) -> Self {
        Self {
            count_include_pad,
            ..self
        }
    }
}

impl Module for AvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let divisor = if self.count_include_pad {
            AvgDivisor::Window
        } else {
            AvgDivisor::Values
        };
        avg_pool2d(x, &self.params, divisor)
    }
}

/// The means of windows that divide an input of any size as evenly as possible.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, rows, columns]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    size: (usize, usize),
}

impl AdaptiveAvgPool2d {
    /// A layer with outputs of `size` (rows, columns).
    pub fn new(size: (usize, usize)) -> Self {
        Self { size }
    }
}

impl Module for AdaptiveAvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        adaptive_avg_pool2d(x, self.size)
    }
}

/// The mean of each plane: the pooling before the classifier of a convolutional network.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Module for GlobalAvgPool {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        global_avg_pool2d(x)
    }
}
