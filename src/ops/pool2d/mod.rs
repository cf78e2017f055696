//! Max and average pooling over the last two axes, with PyTorch's shapes and gradients.
//!
//! Candle's own pools take no padding and no `ceil_mode`, and their backward passes are wrong or
//! missing where the kernel is not the stride or does not divide the input.

mod average;
mod composed;
mod line;
mod max;
mod window;

use candle_core::{Result, Tensor, bail};

use crate::ops::composed::apply1;
use crate::trace::{Operation, noted};
use average::AveragePool2d;
use max::MaxPool2d;
use window::Axis;

/// Kernel, stride, padding and dilation of a pool as (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dParams {
    /// Size of the window.
    pub kernel: (usize, usize),
    /// Step from one window to the next.
    pub stride: (usize, usize),
    /// Rows and columns put around the input on both sides: minus infinity for the maximum,
    /// zero for the average. At most half of the kernel.
    pub padding: (usize, usize),
    /// Step from one position of a window to the next; averages take (1, 1) only.
    pub dilation: (usize, usize),
    /// Whether a last window that hangs over the end counts.
    pub ceil_mode: bool,
}

impl Pool2dParams {
    /// Windows of `kernel` side by side: the stride is the kernel, no padding.
    pub fn new(kernel: (usize, usize)) -> Self {
        Self {
            kernel,
            stride: kernel,
            padding: (0, 0),
            dilation: (1, 1),
            ceil_mode: false,
        }
    }

    /// With another step from one window to the next.
    pub fn with_stride(self, stride: (usize, usize)) -> Self {
        Self { stride, ..self }
    }

    /// With padding on both sides.
    pub fn with_padding(self, padding: (usize, usize)) -> Self {
        Self { padding, ..self }
    }

    /// With another step from one position of a window to the next.
    pub fn with_dilation(self, dilation: (usize, usize)) -> Self {
        Self { dilation, ..self }
    }

    /// With or without a last window that hangs over the end.
    pub fn with_ceil_mode(self, ceil_mode: bool) -> Self {
        Self { ceil_mode, ..self }
    }

    /// The rows and columns that come of an input of `size` (rows, columns).
    ///
    /// # Errors
    /// As [`max_pool2d`].
    pub fn output_size(&self, size: (usize, usize)) -> Result<(usize, usize)> {
        let (rows, columns) = self.axes();
        Ok((
            rows.outputs("pool2d", size.0)?,
            columns.outputs("pool2d", size.1)?,
        ))
    }

    fn axes(&self) -> (Axis, Axis) {
        let axis = |kernel, stride, padding, dilation| Axis {
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode: self.ceil_mode,
        };
        (
            axis(
                self.kernel.0,
                self.stride.0,
                self.padding.0,
                self.dilation.0,
            ),
            axis(
                self.kernel.1,
                self.stride.1,
                self.padding.1,
                self.dilation.1,
            ),
        )
    }
}

/// The maximum of each window: `[N, C, H, W]` to `[N, C, H', W']`, or without `N`.
///
/// A NaN in a window makes its output NaN. Where several values are the maximum, the first in
/// row-major order receives the gradient, as in PyTorch.
///
/// # Errors
/// Where `x` has neither three nor four axes or no rows or columns, the kernel does not fit in
/// the padded input, kernel, stride or dilation is 0, or the padding is more than half of the
/// kernel.
pub fn max_pool2d(x: &Tensor, params: &Pool2dParams) -> Result<Tensor> {
    plane_size("max_pool2d", x)?;
    let y = apply1(MaxPool2d { params: *params }, x)?;
    noted(y, || Operation::MaxPool2d(*params), &[x])
}

/// The mean of each window: `[N, C, H, W]` to `[N, C, H', W']`, or without `N`.
///
/// With `count_include_pad` the divisor counts the padding that a window sees, without it only
/// the input's own values.
///
/// # Errors
/// As [`max_pool2d`], and where the dilation is not (1, 1).
pub fn avg_pool2d(x: &Tensor, params: &Pool2dParams, count_include_pad: bool) -> Result<Tensor> {
    const OP: &str = "avg_pool2d";
    let (height, width) = plane_size(OP, x)?;
    if params.dilation != (1, 1) {
        bail!(
            "{OP}: the dilation must be (1, 1), not {:?}",
            params.dilation
        );
    }
    let (rows, columns) = params.axes();
    let divided = |axis: Axis, len| -> Result<Vec<average::Span>> {
        let windows = axis.windows(OP, len)?.into_iter();
        Ok(windows
            .map(|window| average::Span {
                start: window.start,
                count: window.count,
                divisor: if count_include_pad {
                    window.padded
                } else {
                    window.count
                },
            })
            .collect())
    };
    let op = AveragePool2d {
        rows: divided(rows, height)?,
        columns: divided(columns, width)?,
        flat: false,
    };
    let operation = || Operation::AvgPool2d {
        params: *params,
        count_include_pad,
    };
    noted(apply1(op, x)?, operation, &[x])
}

/// The means of `size` (rows, columns) windows that cover the input as evenly as possible:
/// `[N, C, H, W]` to `[N, C, size.0, size.1]`, or without `N`.
///
/// # Errors
/// Where `x` has neither three nor four axes or no rows or columns, or `size` has a 0.
pub fn adaptive_avg_pool2d(x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let (height, width) = plane_size(OP, x)?;
    if height == 0 || width == 0 || size.0 == 0 || size.1 == 0 {
        bail!("{OP}: no windows of {height}x{width} values to {size:?} outputs");
    }
    let y = apply1(AveragePool2d::adaptive((height, width), size, false), x)?;
    noted(y, || Operation::AdaptiveAvgPool2d { size }, &[x])
}

/// The mean of each plane: `[N, C, H, W]` to `[N, C]`, or without `N`.
///
/// # Errors
/// Where `x` has neither three nor four axes or no rows or columns.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "global_avg_pool2d";
    let (height, width) = plane_size(OP, x)?;
    if height == 0 || width == 0 {
        bail!("{OP}: the input has no rows or no columns");
    }
    let y = apply1(AveragePool2d::adaptive((height, width), (1, 1), true), x)?;
    noted(y, || Operation::GlobalAvgPool2d, &[x])
}

/// The last two axes of an `x` of three or four.
fn plane_size(op: &str, x: &Tensor) -> Result<(usize, usize)> {
    match *x.dims() {
        [_, height, width] | [_, _, height, width] => Ok((height, width)),
        _ => bail!("{op} takes [N, C, H, W] or [C, H, W], not {:?}", x.dims()),
    }
}
