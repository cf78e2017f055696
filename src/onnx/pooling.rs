//! Pools as ONNX operators.

use candle_core::{Result, bail};

use super::builder::{Builder, int, sizes};
use crate::ops::Pool2dParams;

/// The window of an average: first index, end index and divisor.
type Window = (usize, usize, usize);

/// The padding after the input on each axis: at least the padding of the pool, more if the last
/// window extends beyond it.
fn after(params: &Pool2dParams, size: (usize, usize)) -> Result<(usize, usize)> {
    let outputs = params.output_size(size)?;
    let needed = |outputs: usize, stride: usize, kernel: usize, dilation: usize| {
        outputs.saturating_sub(1) * stride + dilation * (kernel - 1) + 1
    };
    let Pool2dParams {
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = *params;
    let rows = needed(outputs.0, stride.0, kernel.0, dilation.0);
    let columns = needed(outputs.1, stride.1, kernel.1, dilation.1);
    Ok((
        rows.saturating_sub(size.0 + padding.0).max(padding.0),
        columns.saturating_sub(size.1 + padding.1).max(padding.1),
    ))
}

/// Explicit padding, because ONNX and PyTorch define `ceil_mode` differently.
fn pads(params: &Pool2dParams, after: (usize, usize)) -> [usize; 4] {
    [params.padding.0, params.padding.1, after.0, after.1]
}

/// The maximum of each window of `x` with images of `size` (rows, columns).
pub(super) fn max_pool(
    b: &mut Builder,
    x: &str,
    size: (usize, usize),
    params: &Pool2dParams,
) -> Result<String> {
    let after = after(params, size)?;
    // Runtimes refuse windows that may be entirely in the padding.
    if after.0 >= params.kernel.0 || after.1 >= params.kernel.1 {
        bail!("ONNX has no operator for {params:?} over {size:?} values: it ends in the padding");
    }
    let attributes = vec![
        sizes("kernel_shape", &[params.kernel.0, params.kernel.1]),
        sizes("strides", &[params.stride.0, params.stride.1]),
        sizes("dilations", &[params.dilation.0, params.dilation.1]),
        sizes("pads", &pads(params, after)),
    ];
    Ok(b.node("MaxPool", &[x], attributes))
}

/// The mean of each window.
pub(super) fn average_pool(
    b: &mut Builder,
    x: &str,
    size: (usize, usize),
    params: &Pool2dParams,
    count_include_pad: bool,
) -> Result<String> {
    let after = after(params, size)?;
    let overhangs = after != params.padding;
    if !(overhangs && count_include_pad) && after.0 < params.kernel.0 && after.1 < params.kernel.1 {
        let attributes = vec![
            sizes("kernel_shape", &[params.kernel.0, params.kernel.1]),
            sizes("strides", &[params.stride.0, params.stride.1]),
            sizes("pads", &pads(params, after)),
            int("count_include_pad", i64::from(count_include_pad)),
        ];
        return Ok(b.node("AveragePool", &[x], attributes));
    }
    // PyTorch's divisor counts the padding, but not the positions after it.
    let windows = |outputs: usize, len: usize, kernel: usize, stride: usize, padding: usize| {
        let window = |i: usize| {
            let (first, end) = (i * stride, (i * stride + kernel).min(len + 2 * padding));
            let start = first.max(padding) - padding;
            let stop = end.saturating_sub(padding).min(len).max(start);
            let divisor = if count_include_pad {
                end - first
            } else {
                stop - start
            };
            (start, stop, divisor)
        };
        (0..outputs).map(window).collect::<Vec<Window>>()
    };
    let outputs = params.output_size(size)?;
    let Pool2dParams {
        kernel,
        stride,
        padding,
        ..
    } = *params;
    let rows = windows(outputs.0, size.0, kernel.0, stride.0, padding.0);
    let columns = windows(outputs.1, size.1, kernel.1, stride.1, padding.1);
    Ok(averages(b, x, size, &rows, &columns))
}

/// The means of `outputs` windows that divide the input as evenly as possible.
pub(super) fn adaptive_average_pool(
    b: &mut Builder,
    x: &str,
    size: (usize, usize),
    outputs: (usize, usize),
) -> String {
    if outputs == (1, 1) {
        return b.unary("GlobalAveragePool", x);
    }
    if outputs == size {
        return b.unary("Identity", x);
    }
    if size.0.is_multiple_of(outputs.0) && size.1.is_multiple_of(outputs.1) {
        let kernel = [size.0 / outputs.0, size.1 / outputs.1];
        let attributes = vec![sizes("kernel_shape", &kernel), sizes("strides", &kernel)];
        return b.node("AveragePool", &[x], attributes);
    }
    let windows = |outputs: usize, len: usize| {
        let window = |i: usize| {
            let (start, end) = (i * len / outputs, ((i + 1) * len).div_ceil(outputs));
            (start, end, end - start)
        };
        (0..outputs).map(window).collect::<Vec<Window>>()
    };
    let (rows, columns) = (windows(outputs.0, size.0), windows(outputs.1, size.1));
    averages(b, x, size, &rows, &columns)
}

/// Averages over arbitrary windows: R x C with a matrix for each axis.
fn averages(
    b: &mut Builder,
    x: &str,
    size: (usize, usize),
    rows: &[Window],
    columns: &[Window],
) -> String {
    let weight = |(start, end, divisor): Window, at: usize| {
        if (start..end).contains(&at) {
            1.0 / divisor as f32
        } else {
            0.0
        }
    };
    let left = rows
        .iter()
        .flat_map(|row| (0..size.0).map(|at| weight(*row, at)));
    let left = b.matrix("rows", size.0, &left.collect::<Vec<_>>());
    let right = (0..size.1).flat_map(|at| columns.iter().map(move |column| weight(*column, at)));
    let right = b.matrix("columns", columns.len(), &right.collect::<Vec<_>>());
    let y = b.binary("MatMul", x, &right);
    b.binary("MatMul", &left, &y)
}
