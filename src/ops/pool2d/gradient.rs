//! The gradients of all windows of a plane, row by row.

use super::line::exceeds;
use super::window::{Axis, Window};
use crate::ops::storage::Float;
use crate::simd::{Simd, WithSimd};

/// The largest plane in which [`MaximaGradient`] numbers the positions of maxima.
pub(super) const LARGEST_PLANE: usize = u32::MAX as usize / 4;

/// The position of a maximum in a window that has only padding.
const NONE: u32 = u32::MAX;

/// Adds the gradient of each window to its maximum: the first of equal values in row-major order, or
/// the last NaN.
///
/// ```text
/// for line of outputs
///     for row, column of the window        in row-major order
///         for output of the line           best value and its offset in the window: vectorised
///     for output of the line               adds its gradient, in the order of the outputs
/// ```
pub(super) struct MaximaGradient<'a, T> {
    pub plane: &'a [T],
    pub width: usize,
    pub rows: &'a [Window],
    /// Distance between the rows of a window.
    pub row_step: usize,
    pub columns: &'a [Window],
    /// The axis of `columns`.
    pub axis: Axis,
    pub grad: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Float> WithSimd for MaximaGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            plane,
            width,
            rows,
            row_step,
            columns,
            axis,
            grad,
            dx,
        } = self;
        let Axis {
            stride,
            padding,
            dilation,
            ..
        } = axis;
        let nothing = T::from_f64(f64::NEG_INFINITY);
        let outputs = columns.len();
        let mut line = axis.padded_line(width, outputs, nothing);
        // The values that a tap sees, without the gaps of the stride.
        let mut values = vec![nothing; outputs];
        let mut best = vec![nothing; outputs];
        let mut offsets = vec![NONE; outputs];
        for (row, grad) in rows.iter().zip(grad.chunks_exact(outputs)) {
            if row.count == 0 {
                continue;
            }
            let first = row.start * width;
            // Starts with the first value of each window, because padding never takes the gradient.
            for (output, column) in columns.iter().enumerate() {
                (best[output], offsets[output]) = match column.count {
                    0 => (nothing, NONE),
                    _ => {
                        let offset = column.start + padding - output * stride;
                        (plane[first + column.start], offset as u32)
                    }
                };
            }
            for i in 0..row.count {
                let below = i * row_step * width;
                line[padding..padding + width].copy_from_slice(&plane[first + below..][..width]);
                for k in 0..axis.taps(width) {
                    let from = &line[k * dilation..];
                    let offset = (below + k * dilation) as u32;
                    let seen = match stride {
                        1 => &from[..outputs],
                        2 => {
                            let pairs = from.as_chunks::<2>().0;
                            for (value, pair) in values.iter_mut().zip(pairs) {
                                *value = pair[0];
                            }
                            &values
                        }
                        _ => {
                            let from = from.iter().step_by(stride);
                            for (value, from) in values.iter_mut().zip(from) {
                                *value = *from;
                            }
                            &values
                        }
                    };
                    raise(&mut best, &mut offsets, seen, offset);
                }
            }
            for (output, (g, offset)) in grad.iter().zip(&offsets).enumerate() {
                if *offset != NONE {
                    dx[first + output * stride + *offset as usize - padding] += *g;
                }
            }
        }
    }
}

/// Replaces each best value by a larger one, or by NaN, and its offset by `offset`.
#[inline(always)]
fn raise<T: Float>(best: &mut [T], offsets: &mut [u32], values: &[T], offset: u32) {
    for ((best, old), value) in best.iter_mut().zip(offsets).zip(values) {
        let better = exceeds(*value, *best);
        *best = if better { *value } else { *best };
        *old = if better { offset } else { *old };
    }
}

/// Adds the gradient of each mean, divided, to the values of its window: first over the columns of
/// a window, then over its rows.
pub(super) struct MeansGradient<'a, T> {
    pub grad: &'a [T],
    /// The windows of rows; the divisor of a mean is their number of padded positions.
    pub rows: &'a [Window],
    /// The divisors of the columns.
    pub divisors: &'a [T],
    /// The axis of the columns.
    pub axis: Axis,
    pub width: usize,
    pub dx: &'a mut [T],
}

impl<T: Float> WithSimd for MeansGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            grad,
            rows,
            divisors,
            axis,
            width,
            dx,
        } = self;
        let Axis {
            stride, padding, ..
        } = axis;
        let zero = T::from_f64(0.0);
        let outputs = divisors.len();
        let mut line = axis.padded_line(width, outputs, zero);
        let mut shares = vec![zero; outputs];
        for (row, grad) in rows.iter().zip(grad.chunks_exact(outputs)) {
            if row.count == 0 {
                continue;
            }
            let of_row = T::from_f64(row.padded as f64);
            for ((share, g), of_column) in shares.iter_mut().zip(grad).zip(divisors) {
                *share = *g / (of_row * *of_column);
            }
            line.fill(zero);
            for k in 0..axis.taps(width) {
                let from = &mut line[k..];
                match stride {
                    1 => {
                        for (value, share) in from.iter_mut().zip(&shares) {
                            *value += *share;
                        }
                    }
                    2 => {
                        // Writing both values of a pair allows whole vectors.
                        for (pair, share) in from.as_chunks_mut::<2>().0.iter_mut().zip(&shares) {
                            *pair = [pair[0] + *share, pair[1]];
                        }
                    }
                    _ => {
                        for (value, share) in from.iter_mut().step_by(stride).zip(&shares) {
                            *value += *share;
                        }
                    }
                }
            }
            let lines = dx[row.start * width..].chunks_exact_mut(width);
            for dx in lines.take(row.count) {
                for (dx, value) in dx.iter_mut().zip(&line[padding..]) {
                    *dx += *value;
                }
            }
        }
    }
}
