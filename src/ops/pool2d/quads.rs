//! The maxima of 2x2 windows that do not overlap, and their gradients: one pass without scratch memory.

use std::hint::select_unpredictable;
use std::mem::MaybeUninit;

use super::line::{Maximum, Reduction, exceeds};
use crate::ops::storage::Float;
use crate::simd::{Simd, WithSimd};

/// The maximum of each window of a plane. An odd last row or column belongs to no window.
pub(super) struct QuadMaxima<'a, T> {
    pub plane: &'a [T],
    pub width: usize,
    /// The result, completely overwritten.
    pub y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> WithSimd for QuadMaxima<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { plane, width, y } = self;
        let rows = plane.chunks_exact(2 * width);
        for (rows, y) in rows.zip(y.chunks_exact_mut(width / 2)) {
            let (upper, lower) = rows.split_at(width);
            let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
            for ((upper, lower), y) in upper.iter().zip(lower).zip(y) {
                let upper = Maximum.join(upper[0], upper[1]);
                y.write(Maximum.join(upper, Maximum.join(lower[0], lower[1])));
            }
        }
    }
}

/// Adds the gradient of each window to its maximum: the first of equal values in row-major order, or the
/// last NaN.
pub(super) struct QuadMaximaGradient<'a, T> {
    pub plane: &'a [T],
    pub width: usize,
    pub grad: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Float> WithSimd for QuadMaximaGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            plane,
            width,
            grad,
            dx,
        } = self;
        let rows = plane.chunks_exact(2 * width);
        let rows = rows.zip(dx.chunks_exact_mut(2 * width));
        for ((rows, dx), grad) in rows.zip(grad.chunks_exact(width / 2)) {
            for (output, g) in grad.iter().enumerate() {
                let mut at = 2 * output;
                let mut maximum = rows[at];
                for index in [at + 1, at + width, at + width + 1] {
                    let better = exceeds(rows[index], maximum);
                    // A branch would be mispredicted for every other value.
                    maximum = select_unpredictable(better, rows[index], maximum);
                    at = select_unpredictable(better, index, at);
                }
                dx[at] += *g;
            }
        }
    }
}
