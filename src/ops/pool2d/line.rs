//! The maxima or sums of all windows of a plane, row by row.

use std::mem::MaybeUninit;

use super::window::{Axis, Window};
use crate::ops::storage::{Float, fill};
use crate::simd::{Simd, WithSimd};

/// What a pool makes of the values of a window.
pub(super) trait Reduction<T>: Copy {
    /// The value of padding and of an empty window.
    fn neutral(self) -> T;

    /// The result of two parts of a window.
    fn join(self, a: T, b: T) -> T;
}

/// The largest value, or NaN if one is NaN.
#[derive(Clone, Copy)]
pub(super) struct Maximum;

impl<T: Float> Reduction<T> for Maximum {
    #[inline(always)]
    fn neutral(self) -> T {
        T::from_f64(f64::NEG_INFINITY)
    }

    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        match exceeds(b, a) {
            true => b,
            false => a,
        }
    }
}

/// Whether `value` takes the place of the maximum of the values before it: larger ones do, and NaN.
#[inline(always)]
pub(super) fn exceeds<T: Float>(value: T, maximum: T) -> bool {
    // The second comparison holds for a NaN only.
    #[allow(clippy::eq_op)]
    let is_nan = value != value;
    (value > maximum) | is_nan
}

/// The sum.
#[derive(Clone, Copy)]
pub(super) struct Sum;

impl<T: Float> Reduction<T> for Sum {
    #[inline(always)]
    fn neutral(self) -> T {
        T::from_f64(0.0)
    }

    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        a + b
    }
}

/// The results of all windows of a plane: first over the rows of a window, then over its columns.
/// Neither loop has branches, so the compiler vectorises both.
pub(super) struct Lines<'a, T, R> {
    pub plane: &'a [T],
    pub width: usize,
    pub rows: &'a [Window],
    /// Distance between the rows of a window.
    pub row_step: usize,
    pub columns: Axis,
    pub reduction: R,
    /// The result, completely overwritten: one line for each of `rows`, all of one length.
    pub y: &'a mut [MaybeUninit<T>],
}

impl<T: Float, R: Reduction<T>> WithSimd for Lines<'_, T, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            plane,
            width,
            rows,
            row_step,
            columns,
            reduction,
            y,
        } = self;
        let Axis {
            stride,
            padding,
            dilation,
            ..
        } = columns;
        let outputs = y.len() / rows.len();
        let neutral = reduction.neutral();
        let mut line = columns.padded_line(width, outputs, neutral);
        for (row, y) in rows.iter().zip(y.chunks_exact_mut(outputs)) {
            if row.count == 0 {
                fill(y, neutral);
                continue;
            }
            let inside = &mut line[padding..padding + width];
            inside.copy_from_slice(&plane[row.start * width..][..width]);
            for i in 1..row.count {
                let other = &plane[(row.start + i * row_step) * width..][..width];
                for (value, other) in inside.iter_mut().zip(other) {
                    *value = reduction.join(*value, *other);
                }
            }
            let y = fill(y, neutral);
            for k in 0..columns.taps(width) {
                let from = &line[k * dilation..];
                match stride {
                    1 => accumulate(reduction, y, from.iter()),
                    2 => {
                        let pairs = from.as_chunks::<2>().0.iter();
                        accumulate(reduction, y, pairs.map(|pair| &pair[0]));
                    }
                    _ => accumulate(reduction, y, from.iter().step_by(stride)),
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate<'a, T: Float, R: Reduction<T>>(
    reduction: R,
    y: &mut [T],
    values: impl Iterator<Item = &'a T>,
) {
    for (y, value) in y.iter_mut().zip(values) {
        *y = reduction.join(*y, *value);
    }
}
