//! Pools of channels-last images, with channels in the lanes, for inference.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::average::{AveragePool2d, Output, Span};
use super::params::Pool2dParams;
use super::window::Window;
use crate::autograd::apply1;
use crate::ops::channels_last::{images, pixels};
use crate::ops::storage::{Float, build, fill};
use crate::simd::{Simd, WithSimd, dispatch};

/// The maximum of each window of channels-last images; `None` for other images.
pub(super) fn max_pool2d(x: &Tensor, params: &Pool2dParams) -> Result<Option<Tensor>> {
    let Some(x) = pixels(x)? else {
        return Ok(None);
    };
    images(&apply1(Max { params: *params }, &x)?).map(Some)
}

/// The means of channels-last images; `None` for other images.
pub(super) fn average_pool2d(x: &Tensor, pool: &AveragePool2d) -> Result<Option<Tensor>> {
    let Some(x) = pixels(x)? else {
        return Ok(None);
    };
    let y = apply1(Average { pool: pool.clone() }, &x)?;
    match pool.output {
        Output::Planes => images(&y).map(Some),
        Output::Flat => y.squeeze(1)?.squeeze(1).map(Some),
    }
}

/// `[N, H, W, C]`, and the rows and columns of the result.
struct Sizes {
    images: usize,
    height: usize,
    width: usize,
    channels: usize,
    rows: usize,
    columns: usize,
}

impl Sizes {
    fn new(x: &Layout, (rows, columns): (usize, usize)) -> Result<Self> {
        let (images, height, width, channels) = x.shape().dims4()?;
        Ok(Self {
            images,
            height,
            width,
            channels,
            rows,
            columns,
        })
    }

    /// The result of `write(image, row, values)` for each row.
    ///
    /// # Safety
    /// `write` must initialise every value of the row.
    unsafe fn result(
        &self,
        x: &[f32],
        write: impl Fn(&[f32], usize, &mut [MaybeUninit<f32>]) + Sync,
    ) -> Result<(CpuStorage, Shape)> {
        let image = self.height * self.width * self.channels;
        let row = self.columns * self.channels;
        let of_row = |index: usize, y: &mut [MaybeUninit<f32>]| {
            let x = &x[index / self.rows * image..][..image];
            write(x, index % self.rows, y);
        };
        // SAFETY: a chunk is a row, which `write` initialises.
        let y = unsafe { build(self.images * self.rows * row, row, of_row) };
        let shape = Shape::from((self.images, self.rows, self.columns, self.channels));
        Ok((f32::into_storage(y, DType::F32)?, shape))
    }
}

struct Max {
    params: Pool2dParams,
}

impl CustomOp1 for Max {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = self.params.axes();
        let (_, height, width, channels) = layout.shape().dims4()?;
        let rows = rows.windows(self.name(), height)?;
        let columns = columns.windows(self.name(), width)?;
        let sizes = Sizes::new(layout, (rows.len(), columns.len()))?;
        let write = |x: &[f32], row: usize, y: &mut [MaybeUninit<f32>]| {
            dispatch(MaxRow {
                x,
                width,
                channels,
                row: rows[row],
                columns: &columns,
                steps: self.params.dilation,
                y,
            });
        };
        // SAFETY: `MaxRow` writes all columns of a row.
        unsafe { sizes.result(&f32::read(x, layout)?, write) }
    }
}

/// The maxima of a row of windows.
struct MaxRow<'a, 'b> {
    x: &'a [f32],
    width: usize,
    channels: usize,
    row: Window,
    columns: &'a [Window],
    /// Distances between the rows and columns of a window.
    steps: (usize, usize),
    y: &'b mut [MaybeUninit<f32>],
}

impl WithSimd for MaxRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.channels;
        for (y, column) in self.y.chunks_exact_mut(channels).zip(self.columns) {
            let y = fill(y, f32::NEG_INFINITY);
            for i in 0..self.row.count {
                let start = (self.row.start + i * self.steps.0) * self.width + column.start;
                for j in 0..column.count {
                    let pixel = start + j * self.steps.1;
                    let x = &self.x[pixel * channels..][..channels];
                    // Without branches, so the compiler vectorises it.
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = if *x > *y || x.is_nan() { *x } else { *y };
                    }
                }
            }
        }
    }
}

struct Average {
    pool: AveragePool2d,
}

impl CustomOp1 for Average {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let AveragePool2d { rows, columns, .. } = &self.pool;
        let (_, _, width, channels) = layout.shape().dims4()?;
        let sizes = Sizes::new(layout, (rows.len(), columns.len()))?;
        let write = |x: &[f32], row: usize, y: &mut [MaybeUninit<f32>]| {
            dispatch(AverageRow {
                x,
                width,
                channels,
                row: rows[row],
                columns,
                y,
            });
        };
        // SAFETY: `AverageRow` writes all columns of a row.
        unsafe { sizes.result(&f32::read(x, layout)?, write) }
    }
}

/// The means of a row of windows.
struct AverageRow<'a, 'b> {
    x: &'a [f32],
    width: usize,
    channels: usize,
    row: Span,
    columns: &'a [Span],
    y: &'b mut [MaybeUninit<f32>],
}

impl WithSimd for AverageRow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.channels;
        let mut line = vec![0.0; channels];
        for (y, column) in self.y.chunks_exact_mut(channels).zip(self.columns) {
            let y = fill(y, 0.0);
            for i in self.row.start..self.row.start + self.row.count {
                // A sum for each row of the window rounds less than one long sum.
                line.fill(0.0);
                let pixels = &self.x[(i * self.width + column.start) * channels..];
                for x in pixels.chunks_exact(channels).take(column.count) {
                    for (sum, x) in line.iter_mut().zip(x) {
                        *sum += *x;
                    }
                }
                for (y, sum) in y.iter_mut().zip(&line) {
                    *y += *sum;
                }
            }
            let divisor = self.row.divisor as f32 * column.divisor as f32;
            for y in y {
                *y /= divisor;
            }
        }
    }
}
