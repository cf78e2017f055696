//! Pools in Candle's ops: maxima tap by tap, means as matrix products.

use candle_core::{Result, Tensor, bail};

use super::average::{AveragePool2d, AveragePool2dGrad, Output, Span};
use super::max::{MaxPool2d, MaxPool2dGrad};
use super::window::Axis;
use crate::ops::composed::{Composed1, Composed2, constants, every, place, spread, wide};

/// The windows of a pool along its two axes.
struct Windows {
    /// Rows and columns, each with the size of the input and the number of outputs.
    axes: [(Axis, usize, usize); 2],
    /// The first of the two axes in the input's shape.
    first: usize,
}

impl Windows {
    fn new(pool: &MaxPool2d, x: &Tensor) -> Result<Self> {
        const OP: &str = "max_pool2d";
        let Some(first) = x.rank().checked_sub(2) else {
            bail!("{OP} takes [N, C, H, W] or [C, H, W], not {:?}", x.dims());
        };
        let (rows, columns) = pool.params.axes();
        let (height, width) = (x.dims()[first], x.dims()[first + 1]);
        Ok(Self {
            axes: [
                (rows, height, rows.outputs(OP, height)?),
                (columns, width, columns.outputs(OP, width)?),
            ],
            first,
        })
    }

    /// The number of positions that the windows of an axis cover, with the padding before the
    /// input.
    fn reach((axis, len, outputs): (Axis, usize, usize)) -> usize {
        let last = (outputs - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1;
        last.max(len + axis.padding)
    }

    /// The input padded with minus infinity, as far as windows reach.
    fn padded(&self, x: &Tensor) -> Result<Tensor> {
        let mut padded = x.clone();
        for (i, axis) in self.axes.into_iter().enumerate() {
            let dim = self.first + i;
            let (before, total) = (axis.0.padding, Self::reach(axis));
            let after = total - before - axis.1;
            let infinite = |len: usize| {
                let mut dims = padded.dims().to_vec();
                dims[dim] = len;
                constants(vec![f64::NEG_INFINITY], (), &padded)?.broadcast_as(dims)
            };
            let mut parts = Vec::new();
            if before > 0 {
                parts.push(infinite(before)?);
            }
            parts.push(padded.clone());
            if after > 0 {
                parts.push(infinite(after)?);
            }
            if parts.len() > 1 {
                padded = Tensor::cat(&parts, dim)?;
            }
        }
        Ok(padded)
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [(rows, ..), (columns, ..)] = self.axes;
        (0..rows.kernel).flat_map(move |i| (0..columns.kernel).map(move |j| [i, j]))
    }

    /// The value at position `tap` of each window.
    fn seen(&self, padded: &Tensor, tap: [usize; 2]) -> Result<Tensor> {
        let mut seen = padded.clone();
        for (i, (axis, _, outputs)) in self.axes.into_iter().enumerate() {
            let start = tap[i] * axis.dilation;
            seen = every(&seen, self.first + i, start, axis.stride, outputs)?;
        }
        seen.contiguous()
    }

    /// The transpose of [`Self::seen`]: puts the values at position `tap` back into the padded
    /// input.
    fn back(&self, seen: &Tensor, tap: [usize; 2]) -> Result<Tensor> {
        let mut back = seen.clone();
        for (i, axis) in self.axes.into_iter().enumerate() {
            let dim = self.first + i;
            let start = tap[i] * axis.0.dilation;
            back = place(
                &spread(&back, dim, axis.0.stride)?,
                dim,
                start,
                Self::reach(axis),
            )?;
        }
        Ok(back)
    }

    /// The maximum of each window and the index of its tap: the first of equal values, or the last
    /// NaN.
    fn maxima(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let padded = self.padded(x)?;
        let mut taps = self.taps();
        let first = taps.next().unwrap_or_default();
        let mut best = self.seen(&padded, first)?;
        let mut chosen = best.zeros_like()?;
        for (number, tap) in taps.enumerate() {
            let value = self.seen(&padded, tap)?;
            // The second comparison holds for a NaN only.
            let better = (value.gt(&best)? + value.ne(&value)?)?;
            let here = (chosen.zeros_like()? + (number + 1) as f64)?;
            chosen = better.where_cond(&here, &chosen)?;
            best = better.where_cond(&value, &best)?;
        }
        Ok((best, chosen))
    }
}

impl Composed1 for MaxPool2d {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let windows = Windows::new(self, x)?;
        let (maxima, _) = windows.maxima(&wide("max_pool2d", x)?)?;
        maxima.to_dtype(x.dtype())
    }
}

impl Composed2 for MaxPool2dGrad {
    fn composed(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let pool = MaxPool2d {
            params: self.params,
        };
        let windows = Windows::new(&pool, x)?;
        let (_, chosen) = windows.maxima(&wide("max_pool2d", x)?)?;
        let grad = wide("max_pool2d", grad)?.contiguous()?;
        let zeros = grad.zeros_like()?;
        let mut dx: Option<Tensor> = None;
        for (number, tap) in windows.taps().enumerate() {
            let own = chosen.eq(number as f64)?.where_cond(&grad, &zeros)?;
            let back = windows.back(&own, tap)?;
            dx = Some(match dx {
                None => back,
                Some(sum) => (sum + back)?,
            });
        }
        let Some(mut dx) = dx else {
            bail!("max_pool2d: the kernel is empty");
        };
        for (i, (axis, len, _)) in windows.axes.into_iter().enumerate() {
            dx = dx.narrow(windows.first + i, axis.padding, len)?;
        }
        dx.contiguous()?.to_dtype(x.dtype())
    }
}

/// The matrix `[len, outputs]` whose product takes the means along one axis.
fn means(spans: &[Span], len: usize, like: &Tensor) -> Result<Tensor> {
    let mut values = vec![0.0; len * spans.len()];
    for (output, span) in spans.iter().enumerate() {
        for i in span.start..span.start + span.count {
            values[i * spans.len() + output] = 1.0 / span.divisor as f64;
        }
    }
    constants(values, (len, spans.len()), like)
}

/// `x` `[.., rows, columns]`, multiplied by a matrix along each of both axes.
fn product(x: &Tensor, rows: &Tensor, columns: &Tensor) -> Result<Tensor> {
    let (height, r) = rows.dims2()?;
    let (width, c) = columns.dims2()?;
    let planes = x.elem_count() / (height * width).max(1);
    let y = x.reshape((planes * height, width))?.matmul(columns)?;
    let y = y.reshape((planes, height, c))?.transpose(1, 2)?;
    let y = y
        .contiguous()?
        .reshape((planes * c, height))?
        .matmul(rows)?;
    y.reshape((planes, c, r))?.transpose(1, 2)?.contiguous()
}

impl Composed1 for AveragePool2d {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let (width, height) = (dims.pop().unwrap_or(1), dims.pop().unwrap_or(1));
        if self.output == Output::Planes {
            dims.extend([self.rows.len(), self.columns.len()]);
        }
        let wide = wide("avg_pool2d", x)?.contiguous()?;
        let rows = means(&self.rows, height, &wide)?;
        let columns = means(&self.columns, width, &wide)?;
        let y = product(&wide, &rows, &columns)?;
        y.reshape(dims)?.to_dtype(x.dtype())
    }
}

impl Composed1 for AveragePool2dGrad {
    fn composed(&self, grad: &Tensor) -> Result<Tensor> {
        let dims = self.shape.dims();
        let (height, width) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let wide = wide("avg_pool2d", grad)?.contiguous()?;
        let rows = means(&self.pool.rows, height, &wide)?.t()?.contiguous()?;
        let columns = means(&self.pool.columns, width, &wide)?.t()?.contiguous()?;
        let dx = product(&wide, &rows, &columns)?;
        dx.reshape(&self.shape)?.to_dtype(grad.dtype())
    }
}
