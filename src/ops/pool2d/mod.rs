//! Max and average pooling over the last two axes, with PyTorch's shapes and gradients.
//!
//! Candle's pools have neither padding nor `ceil_mode`. Their backward passes are wrong or missing
//! if the stride differs from the kernel or the kernel does not divide the input.

mod average;
mod channels_last;
mod composed;
mod empty;
mod gradient;
mod line;
mod max;
mod params;
mod quads;
mod window;

use candle_core::{Result, Tensor, bail};

use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::apply1;
use crate::ops::storage::elements;
use average::{AveragePool2d, Output};
use empty::of_empty;
use max::MaxPool2d;
use window::Axis;

pub use params::Pool2dParams;

/// The divisor of an average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AvgDivisor {
    /// The number of positions in the window, including padding: PyTorch's
    /// `count_include_pad=True`.
    #[default]
    Window,
    /// The number of input values in the window: PyTorch's `count_include_pad=False`.
    Values,
}

/// The maximum of each window: `[N, C, H, W]` to `[N, C, H', W']`, or without `N`.
///
/// A NaN in a window makes its output NaN. If several values are the maximum, the first in
/// row-major order receives the gradient, as in PyTorch.
///
/// # Errors
/// If `x` has neither three nor four axes, or no channels, rows or columns. If kernel, stride or
/// dilation is 0, the kernel does not fit in the padded input, or the padding is more than half of
/// the kernel.
pub fn max_pool2d(x: &Tensor, params: &Pool2dParams) -> Result<Tensor> {
    const OP: &str = "max_pool2d";
    let size = channels(OP, x)?;
    let y = if is_empty(x) {
        of_empty(OP, x, &outputs(OP, params, size)?)?
    } else {
        match channels_last::max_pool2d(x, params)? {
            Some(y) => y,
            None => apply1(MaxPool2d { params: *params }, x)?,
        }
    };
    let Pool2dParams {
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode,
    } = *params;
    let operation = || Operation::MaxPool2d {
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode,
    };
    noted(y, operation, &[x])
}

/// The mean of each window: `[N, C, H, W]` to `[N, C, H', W']`, or without `N`.
///
/// Each mean is the sum of a window over its `divisor`.
///
/// # Errors
/// As [`max_pool2d`]; also if the dilation is not (1, 1).
pub fn avg_pool2d(x: &Tensor, params: &Pool2dParams, divisor: AvgDivisor) -> Result<Tensor> {
    const OP: &str = "avg_pool2d";
    let (height, width) = channels(OP, x)?;
    if params.dilation != (1, 1) {
        bail!(
            "{OP}: the dilation must be (1, 1), not {:?}",
            params.dilation
        );
    }
    let operation = || Operation::AvgPool2d {
        kernel: params.kernel,
        stride: params.stride,
        padding: params.padding,
        ceil_mode: params.ceil_mode,
        count_include_pad: divisor == AvgDivisor::Window,
    };
    if is_empty(x) {
        let y = of_empty(OP, x, &outputs(OP, params, (height, width))?)?;
        return noted(y, operation, &[x]);
    }
    let (rows, columns) = params.axes();
    let divided = |axis: Axis, len| -> Result<Vec<average::Span>> {
        let windows = axis.windows(OP, len)?.into_iter();
        Ok(windows
            .map(|window| average::Span {
                start: window.start,
                count: window.count,
                divisor: match divisor {
                    AvgDivisor::Window => window.padded,
                    AvgDivisor::Values => window.count,
                },
            })
            .collect())
    };
    let op = AveragePool2d {
        rows: divided(rows, height)?,
        columns: divided(columns, width)?,
        column_axis: Some(columns),
        output: Output::Planes,
    };
    noted(average(op, x)?, operation, &[x])
}

/// The means of `size` (rows, columns) windows that cover the input as evenly as possible:
/// `[N, C, H, W]` to `[N, C, size.0, size.1]`, or without `N`.
///
/// # Errors
/// If `x` has neither three nor four axes, or no rows or columns, or `size` contains 0.
pub fn adaptive_avg_pool2d(x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let (height, width) = plane_size(OP, x)?;
    if height == 0 || width == 0 || size.0 == 0 || size.1 == 0 {
        bail!("{OP}: {height}x{width} values have no windows for {size:?} outputs");
    }
    let planes = &x.dims()[..x.rank() - 2];
    elements(OP, &[planes, &[size.0, size.1]].concat())?;
    let y = if is_empty(x) {
        of_empty(OP, x, &[size.0, size.1])?
    } else {
        let op = AveragePool2d::adaptive(OP, (height, width), size, Output::Planes)?;
        average(op, x)?
    };
    noted(y, || Operation::AdaptiveAvgPool2d { size }, &[x])
}

/// The mean of each plane: `[N, C, H, W]` to `[N, C]`, or without `N`.
///
/// # Errors
/// If `x` has neither three nor four axes, or no rows or columns.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "global_avg_pool2d";
    let (height, width) = plane_size(OP, x)?;
    if height == 0 || width == 0 {
        bail!("{OP}: the input has no rows or no columns");
    }
    let y = if is_empty(x) {
        of_empty(OP, x, &[])?
    } else {
        let op = AveragePool2d::adaptive(OP, (height, width), (1, 1), Output::Flat)?;
        average(op, x)?
    };
    noted(y, || Operation::GlobalAvgPool2d, &[x])
}

/// The means of `pool`, in the order of `x` in memory if that is channels-last.
fn average(pool: AveragePool2d, x: &Tensor) -> Result<Tensor> {
    match channels_last::average_pool2d(x, &pool)? {
        Some(y) => Ok(y),
        None => apply1(pool, x),
    }
}

fn is_empty(x: &Tensor) -> bool {
    x.dims().contains(&0)
}

/// The rows and columns of the result for planes of `size` (rows, columns).
fn outputs(op: &str, params: &Pool2dParams, size: (usize, usize)) -> Result<[usize; 2]> {
    let (rows, columns) = params.axes();
    Ok([rows.outputs(op, size.0)?, columns.outputs(op, size.1)?])
}

/// The last two axes of an `x` of three or four.
fn plane_size(op: &str, x: &Tensor) -> Result<(usize, usize)> {
    match *x.dims() {
        [_, height, width] | [_, _, height, width] => Ok((height, width)),
        _ => bail!("{op} takes [N, C, H, W] or [C, H, W], not {:?}", x.dims()),
    }
}

/// [`plane_size`] of an `x` that has channels: as in PyTorch, only the batch may be empty.
fn channels(op: &str, x: &Tensor) -> Result<(usize, usize)> {
    let size = plane_size(op, x)?;
    if x.dims()[x.rank() - 3] == 0 {
        bail!("{op}: the input {:?} has no channels", x.dims());
    }
    Ok(size)
}
