//! The maximum of each window, and its gradient.

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::gradient::{LARGEST_PLANE, MaximaGradient};
use super::line::{Lines, Maximum, exceeds};
use super::params::Pool2dParams;
use super::quads::{QuadMaxima, QuadMaximaGradient};
use super::window::{Axis, Window};
use crate::ops::composed::run2;
use crate::ops::storage::{Float, build, fill, same_dtype, with_float};
use crate::simd;

const OP: &str = "max_pool2d";

pub(super) struct MaxPool2d {
    pub params: Pool2dParams,
}

/// The gradient of [`MaxPool2d`] with respect to the first argument, given the gradient of its
/// result. It searches the maxima a second time. That reads the input once more, but needs no
/// memory for their positions.
pub(super) struct MaxPool2dGrad {
    pub params: Pool2dParams,
}

/// The windows over planes of `height` x `width` values.
struct Geometry {
    height: usize,
    width: usize,
    rows: Vec<Window>,
    columns: Vec<Window>,
    column_axis: Axis,
    dilation: (usize, usize),
    /// Whether the windows are 2x2 values that do not overlap.
    quads: bool,
}

impl Geometry {
    fn new(params: &Pool2dParams, shape: &Shape) -> Result<Self> {
        let dims = shape.dims();
        let (height, width) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let (rows, columns) = params.axes();
        let (row_windows, column_windows) =
            (rows.windows(OP, height)?, columns.windows(OP, width)?);
        let halves = |axis: Axis, windows: &[Window]| {
            (axis.kernel, axis.stride, axis.padding, axis.dilation) == (2, 2, 0, 1)
                && windows.iter().all(|window| window.count == 2)
        };
        Ok(Self {
            height,
            width,
            quads: halves(rows, &row_windows) && halves(columns, &column_windows),
            rows: row_windows,
            columns: column_windows,
            column_axis: columns,
            dilation: params.dilation,
        })
    }

    fn outputs(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The first maximum of a window, or its last NaN, with the position in `plane`; `None` for a
    /// window of padding only.
    #[inline(always)]
    fn maximum<T: Float>(&self, plane: &[T], row: Window, column: Window) -> Option<(T, usize)> {
        if row.count == 0 || column.count == 0 {
            return None;
        }
        let mut at = row.start * self.width + column.start;
        let mut best = plane[at];
        for i in 0..row.count {
            let start = (row.start + i * self.dilation.0) * self.width + column.start;
            for j in 0..column.count {
                let index = start + j * self.dilation.1;
                let value = plane[index];
                if exceeds(value, best) {
                    (best, at) = (value, index);
                }
            }
        }
        Some((best, at))
    }

    fn forward<T: Float>(&self, x: &[T]) -> Vec<T> {
        let plane_len = self.height * self.width;
        let planes = x.len() / plane_len;
        // SAFETY: the quads, the scan and the lines write each value of the chunk.
        unsafe {
            build(planes * self.outputs(), self.outputs(), |index, chunk| {
                let plane = &x[index * plane_len..][..plane_len];
                if self.quads {
                    simd::dispatch(QuadMaxima {
                        plane,
                        width: self.width,
                        y: chunk,
                    });
                    return;
                }
                if self.column_axis.padding > self.width {
                    self.scan(plane, chunk);
                    return;
                }
                simd::dispatch(Lines {
                    plane,
                    width: self.width,
                    rows: &self.rows,
                    row_step: self.dilation.0,
                    columns: self.column_axis,
                    reduction: Maximum,
                    y: chunk,
                });
            })
        }
    }

    /// Writes the maximum of each window, one window after the other. This is for padding that is
    /// wider than the plane: the lines of [`Lines`] would be mostly padding.
    fn scan<T: Float>(&self, plane: &[T], y: &mut [MaybeUninit<T>]) {
        let nothing = T::from_f64(f64::NEG_INFINITY);
        for (line, row) in y.chunks_exact_mut(self.columns.len()).zip(&self.rows) {
            for (y, column) in line.iter_mut().zip(&self.columns) {
                let maximum = self.maximum(plane, *row, *column);
                y.write(maximum.map_or(nothing, |(value, _)| value));
            }
        }
    }

    fn backward<T: Float>(&self, x: &[T], grad: &[T]) -> Vec<T> {
        let plane_len = self.height * self.width;
        // SAFETY: each chunk is filled with zeros before anything else.
        unsafe {
            build(x.len(), plane_len, |index, chunk| {
                let dx = fill(chunk, T::zero());
                let plane = &x[index * plane_len..][..plane_len];
                let grad = &grad[index * self.outputs()..][..self.outputs()];
                if self.quads {
                    simd::dispatch(QuadMaximaGradient {
                        plane,
                        width: self.width,
                        grad,
                        dx,
                    });
                    return;
                }
                if self.column_axis.padding > self.width || plane_len > LARGEST_PLANE {
                    self.scan_back(plane, grad, dx);
                    return;
                }
                simd::dispatch(MaximaGradient {
                    plane,
                    width: self.width,
                    rows: &self.rows,
                    row_step: self.dilation.0,
                    columns: &self.columns,
                    axis: self.column_axis,
                    grad,
                    dx,
                });
            })
        }
    }

    /// Adds the gradient of each window to its maximum, one window after the other, as
    /// [`Self::scan`] finds it.
    fn scan_back<T: Float>(&self, plane: &[T], grad: &[T], dx: &mut [T]) {
        for (line, row) in grad.chunks_exact(self.columns.len()).zip(&self.rows) {
            for (g, column) in line.iter().zip(&self.columns) {
                if let Some((_, at)) = self.maximum(plane, *row, *column) {
                    dx[at] += *g;
                }
            }
        }
    }
}

impl CustomOp1 for MaxPool2d {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let geometry = Geometry::new(&self.params, layout.shape())?;
        let mut dims = layout.dims().to_vec();
        let rank = dims.len();
        dims[rank - 2] = geometry.rows.len();
        dims[rank - 1] = geometry.columns.len();
        let dtype = x.dtype();
        let y = with_float!(dtype, OP, T => {
            T::into_storage(geometry.forward(&T::read(x, layout)?), dtype)?
        });
        Ok((y, dims.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let op = MaxPool2dGrad {
            params: self.params,
        };
        run2(&op, x, grad).map(Some)
    }
}

impl CustomOp2 for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = Geometry::new(&self.params, x_layout.shape())?;
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let dx = with_float!(dtype, OP, T => {
            let (x, grad) = (T::read(x, x_layout)?, T::read(grad, grad_layout)?);
            T::into_storage(geometry.backward(&x, &grad), dtype)?
        });
        Ok((dx, x_layout.shape().clone()))
    }
}
