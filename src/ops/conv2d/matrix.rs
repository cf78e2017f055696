//! Products of matrices in slices.

use std::mem::MaybeUninit;

use gemm::Parallelism;

use super::element::Element;

/// The strides of a matrix in a slice.
#[derive(Clone, Copy)]
pub struct Strides {
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub col: usize,
}

fn check(len: usize, rows: usize, cols: usize, strides: Strides) {
    if rows > 0 && cols > 0 {
        assert!((rows - 1) * strides.row + (cols - 1) * strides.col < len);
    }
}

/// `c = a b` for `c [m, n]` and `a [m, k]`, on one thread.
pub fn matmul<F: Element>(
    (m, n, k): (usize, usize, usize),
    (c, c_strides): (&mut [MaybeUninit<F>], Strides),
    (a, a_strides): (&[F], Strides),
    (b, b_strides): (&[F], Strides),
) {
    check(c.len(), m, n, c_strides);
    check(a.len(), m, k, a_strides);
    check(b.len(), k, n, b_strides);
    // SAFETY: the three matrices are within their slices, as checked above. `c` is borrowed
    // mutably, so it overlaps neither of the others, and it is not read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr().cast::<F>(),
            c_strides.col as isize,
            c_strides.row as isize,
            false,
            a.as_ptr(),
            a_strides.col as isize,
            a_strides.row as isize,
            b.as_ptr(),
            b_strides.col as isize,
            b_strides.row as isize,
            F::ZERO,
            F::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The slice as a destination of [`matmul`], which does not read it.
pub fn as_uninit<F: Element>(values: &mut [F]) -> &mut [MaybeUninit<F>] {
    let len = values.len();
    // SAFETY: same layout. Only `matmul` gets the slice, and it writes floats, never uninitialised
    // values.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}
