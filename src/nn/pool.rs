//! Pooling layers.

use candle_core::{Module, Result, Tensor};

use crate::ops::{
    AvgDivisor, Pool2dParams, adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d,
};

/// The maximum of each window.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, H_out, W_out], as [`Pool2dParams::output_size`] says
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

/// The mean of each window, in which padding counts unless
/// [`count_include_pad`](Self::count_include_pad) says otherwise.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, H_out, W_out], as [`Pool2dParams::output_size`] says
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

    /// Whether a mean is over the padding too.
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

/// The means of windows that cover the input as evenly as possible, whatever its size.
///
/// # Shapes
/// - input: [N, C, H, W]
/// - output: [N, C, size.0, size.1]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    size: (usize, usize),
}

impl AdaptiveAvgPool2d {
    /// A layer that gives `size` (rows, columns).
    pub fn new(size: (usize, usize)) -> Self {
        Self { size }
    }
}

impl Module for AdaptiveAvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        adaptive_avg_pool2d(x, self.size)
    }
}

/// The mean of each plane: what classifiers of any image size start from.
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
