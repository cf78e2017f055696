//! The maxima of all windows of a plane, row by row.

use std::mem::MaybeUninit;

use super::window::{Axis, Window};
use crate::ops::storage::{Float, fill};
use crate::simd::{Simd, WithSimd};

/// The maxima of all windows of a plane: first over the rows of a window, then over its columns.
/// Neither loop has branches, so the compiler vectorises both.
pub(super) struct Lines<'a, T> {
    pub plane: &'a [T],
    pub width: usize,
    pub rows: &'a [Window],
    /// Distance between the rows of a window.
    pub row_step: usize,
    pub columns: Axis,
    /// The result, completely overwritten: one line for each of `rows`, all of one length.
    pub y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> WithSimd for Lines<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            plane,
            width,
            rows,
            row_step,
            columns,
            y,
        } = self;
        let Axis {
            kernel,
            stride,
            padding,
            dilation,
            ..
        } = columns;
        let outputs = y.len() / rows.len();
        // Taps beyond the values read only padding.
        let taps = kernel.min((padding + width).div_ceil(dilation));
        // Padding is minus infinity. A stride of 2 reads pairs, and the last pair may extend beyond
        // the last window.
        let reach = (outputs - 1) * stride + dilation * (taps - 1) + stride.min(2);
        let nothing = T::from_f64(f64::NEG_INFINITY);
        let mut line = vec![nothing; reach.max(padding + width)];
        for (row, y) in rows.iter().zip(y.chunks_exact_mut(outputs)) {
            if row.count == 0 {
                fill(y, nothing);
                continue;
            }
            let inside = &mut line[padding..padding + width];
            inside.copy_from_slice(&plane[row.start * width..][..width]);
            for i in 1..row.count {
                let other = &plane[(row.start + i * row_step) * width..][..width];
                for (value, other) in inside.iter_mut().zip(other) {
                    *value = larger(*value, *other);
                }
            }
            let y = fill(y, nothing);
            for k in 0..taps {
                let from = &line[k * dilation..];
                match stride {
                    1 => accumulate(y, from.iter()),
                    2 => accumulate(y, from.as_chunks::<2>().0.iter().map(|pair| &pair[0])),
                    _ => accumulate(y, from.iter().step_by(stride)),
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate<'a, T: Float>(y: &mut [T], values: impl Iterator<Item = &'a T>) {
    for (y, value) in y.iter_mut().zip(values) {
        *y = larger(*y, *value);
    }
}

/// The larger value, or NaN if one is NaN.
#[inline(always)]
fn larger<T: Float>(a: T, b: T) -> T {
    // The second comparison holds for a NaN only.
    #[allow(clippy::eq_op)]
    match b > a || b != b {
        true => b,
        false => a,
    }
}
