//! The mean of each window: fixed, adaptive and global.

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::gradient::MeansGradient;
use super::line::{Lines, Sum};
use super::window::{Axis, Window, adaptive};
use crate::ops::composed::run1;
use crate::ops::storage::{Float, build, fill, initialised, with_float};
use crate::simd::{Simd, WithSimd, dispatch};

/// The positions along one axis that a mean includes, and the divisor of their sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub start: usize,
    pub count: usize,
    pub divisor: usize,
}

/// The shape of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// `[.., rows, columns]`.
    Planes,
    /// `[..]`, for one row and one column.
    Flat,
}

/// Means over all pairs of a span of rows and a span of columns.
#[derive(Debug, Clone)]
pub(super) struct AveragePool2d {
    pub rows: Vec<Span>,
    pub columns: Vec<Span>,
    /// The axis of `columns`, if they have one kernel, stride and padding.
    pub column_axis: Option<Axis>,
    pub output: Output,
}

/// The gradient of [`AveragePool2d`], given the gradient of its result. It does not depend on the
/// input's values.
pub(super) struct AveragePool2dGrad {
    pub pool: AveragePool2d,
    pub shape: Shape,
}

impl AveragePool2d {
    pub(super) fn adaptive(
        op: &str,
        from: (usize, usize),
        to: (usize, usize),
        output: Output,
    ) -> Result<Self> {
        let spans = |len, outputs| -> Result<Vec<Span>> {
            let windows = adaptive(op, len, outputs)?.into_iter();
            Ok(windows
                .map(|window| Span {
                    start: window.start,
                    count: window.count,
                    divisor: window.count,
                })
                .collect())
        };
        let size = from.1 / to.1;
        let even = Axis {
            kernel: size,
            stride: size,
            padding: 0,
            dilation: 1,
            ceil_mode: false,
        };
        Ok(Self {
            rows: spans(from.0, to.0)?,
            columns: spans(from.1, to.1)?,
            column_axis: (size * to.1 == from.1).then_some(even),
            output,
        })
    }

    /// The axis of the columns where vectors over the columns pay: several windows, and padding not
    /// wider than the plane.
    fn vector_axis(&self, width: usize) -> Option<Axis> {
        let whole = self.columns.len() == 1 && self.columns[0].count == width;
        self.column_axis
            .filter(|axis| !whole && axis.padding <= width)
    }

    fn outputs(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    fn forward<T: Float>(&self, x: &[T], height: usize, width: usize) -> Vec<T> {
        let planes = x.len() / (height * width);
        let (rows, divisors) = (windows(&self.rows), divisors(&self.columns));
        let axis = self.vector_axis(width);
        // SAFETY: `Means`, or the zip with all spans, writes each value of the chunk.
        unsafe {
            build(planes * self.outputs(), self.outputs(), |index, chunk| {
                let plane = &x[index * height * width..][..height * width];
                if let Some(axis) = axis {
                    dispatch(Means {
                        plane,
                        width,
                        rows: &rows,
                        divisors: &divisors,
                        axis,
                        y: chunk,
                    });
                    return;
                }
                let lines = chunk.chunks_exact_mut(self.columns.len());
                for (line, row) in lines.zip(&self.rows) {
                    let block = &plane[row.start * width..(row.start + row.count) * width];
                    for (y, column) in line.iter_mut().zip(&self.columns) {
                        let sum = if column.count == width {
                            sum(block)
                        } else {
                            let parts = block.chunks_exact(width);
                            let parts = parts.map(|r| &r[column.start..][..column.count]);
                            parts.flatten().fold(T::zero(), |sum, value| sum + *value)
                        };
                        y.write(sum / T::from_f64(row.divisor as f64 * column.divisor as f64));
                    }
                }
            })
        }
    }

    fn backward<T: Float>(&self, grad: &[T], height: usize, width: usize) -> Vec<T> {
        let planes = grad.len() / self.outputs();
        let (rows, divisors) = (windows(&self.rows), divisors(&self.columns));
        let axis = self.vector_axis(width);
        // SAFETY: each chunk is filled before anything else.
        unsafe {
            build(planes * height * width, height * width, |index, chunk| {
                let grad = &grad[index * self.outputs()..][..self.outputs()];
                let dx = fill(chunk, T::zero());
                if let Some(axis) = axis {
                    dispatch(MeansGradient {
                        grad,
                        rows: &rows,
                        divisors: &divisors,
                        axis,
                        width,
                        dx,
                    });
                    return;
                }
                for (line, row) in grad.chunks_exact(self.columns.len()).zip(&self.rows) {
                    for (g, column) in line.iter().zip(&self.columns) {
                        let share = *g / T::from_f64(row.divisor as f64 * column.divisor as f64);
                        for i in row.start..row.start + row.count {
                            for dx in &mut dx[i * width + column.start..][..column.count] {
                                *dx += share;
                            }
                        }
                    }
                }
            })
        }
    }
}

/// Spans as windows whose padded positions are the divisor.
fn windows(spans: &[Span]) -> Vec<Window> {
    let window = |span: &Span| Window {
        start: span.start,
        count: span.count,
        padded: span.divisor,
    };
    spans.iter().map(window).collect()
}

fn divisors<T: Float>(spans: &[Span]) -> Vec<T> {
    let divisors = spans.iter().map(|span| T::from_f64(span.divisor as f64));
    divisors.collect()
}

/// The means of all windows of a plane. A sum is rounded after each row of a window, for each of its
/// columns, and then after each column.
struct Means<'a, T> {
    plane: &'a [T],
    width: usize,
    rows: &'a [Window],
    /// The divisors of the columns.
    divisors: &'a [T],
    /// The axis of the columns.
    axis: Axis,
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> WithSimd for Means<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            plane,
            width,
            rows,
            divisors,
            axis,
            y,
        } = self;
        let sums = Lines {
            plane,
            width,
            rows,
            row_step: 1,
            columns: axis,
            reduction: Sum,
            y: &mut *y,
        };
        sums.with_simd(simd);
        // SAFETY: `Lines` has written each value.
        let y = unsafe { initialised(y) };
        for (y, row) in y.chunks_exact_mut(divisors.len()).zip(rows) {
            let of_row = T::from_f64(row.padded as f64);
            for (y, of_column) in y.iter_mut().zip(divisors) {
                *y /= of_row * *of_column;
            }
        }
    }
}

/// The sum of `values` in several lanes, which vectorise and round less than one long sum.
fn sum<T: Float>(values: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [T::zero(); LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += *value;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            let other = lanes[i + width];
            lanes[i] += other;
        }
    }
    lanes[0]
}

impl CustomOp1 for AveragePool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let rank = dims.len();
        let (height, width) = (dims[rank - 2], dims[rank - 1]);
        dims.truncate(rank - 2);
        if self.output == Output::Planes {
            dims.extend([self.rows.len(), self.columns.len()]);
        }
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            T::into_storage(self.forward(&T::read(x, layout)?, height, width), dtype)?
        });
        Ok((y, dims.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dims = x.dims();
        let (planes, plane) = dims.split_at(dims.len() - 2);
        if let ([rows], [columns]) = (self.rows.as_slice(), self.columns.as_slice())
            && [rows.count, columns.count] == plane
        {
            // All values of a plane have one gradient: a view of it needs no memory.
            let one = |span: &Span| Span {
                start: 0,
                count: 1,
                ..*span
            };
            let op = AveragePool2dGrad {
                pool: Self {
                    rows: vec![one(rows)],
                    columns: vec![one(columns)],
                    column_axis: None,
                    output: self.output,
                },
                shape: [planes, &[1, 1]].concat().into(),
            };
            return run1(&op, grad)?.broadcast_as(dims).map(Some);
        }
        let op = AveragePool2dGrad {
            pool: self.clone(),
            shape: x.shape().clone(),
        };
        run1(&op, grad).map(Some)
    }
}

impl CustomOp1 for AveragePool2dGrad {
    fn name(&self) -> &'static str {
        "avg_pool2d_grad"
    }

    fn cpu_fwd(&self, grad: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dims = self.shape.dims();
        let (height, width) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let dtype = grad.dtype();
        let dx = with_float!(dtype, self.name(), T => {
            let dx = self.pool.backward(&T::read(grad, layout)?, height, width);
            T::into_storage(dx, dtype)?
        });
        Ok((dx, self.shape.clone()))
    }
}
