//! Convolutions whose kernel covers the whole image: fully connected layers, as in VGG.
//!
//! A weight is used once per image, so a packed copy of it would cost more than it saves. The products
//! read it in place:
//!
//! ```text
//! y [n, out]    = x [n, patch] * weight^T
//! dx [n, patch] = dy [n, out] * weight
//! dw [out, patch] = dy^T * x
//! ```

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::element::Element;
use super::geometry::Geometry;
use super::matrix::{Strides, as_uninit, matmul};
use super::workspace::{sized, with_workspace};

/// Rows of a product that a thread computes at once. The rows of other threads do not change their sums.
const ROWS: usize = 64;

/// Whether the kernel covers the image: `[n, c_in, h, w]` to `[n, c_out, 1, 1]` without padding.
pub fn covers(g: &Geometry) -> bool {
    let kernel = (g.kh, g.kw) == (g.h, g.w) && g.dilation == (1, 1);
    kernel && g.groups == 1 && g.padding == (0, 0)
}

/// The convolution without the bias; writes all of `y`.
pub fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
    let patch = g.patch();
    let weight = Strides { row: patch, col: 1 };
    transposed(g.n, y, |first, to| {
        let rows = to.len() / g.n;
        matmul(
            (rows, g.n, patch),
            (to, Strides { row: g.n, col: 1 }),
            (&w[first * patch..], weight),
            (x, Strides { row: 1, col: patch }),
        );
    });
}

/// Gradient with respect to the input; writes all of `dx`.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    let patch = g.patch();
    transposed(g.n, dx, |first, to| {
        let rows = to.len() / g.n;
        matmul(
            (rows, g.n, g.c_out),
            (to, Strides { row: g.n, col: 1 }),
            (&w[first..], Strides { row: 1, col: patch }),
            (
                dy,
                Strides {
                    row: 1,
                    col: g.c_out,
                },
            ),
        );
    });
}

/// Gradient with respect to the weight, summed over the images; writes all of `dw`.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    let patch = g.patch();
    let rows = as_uninit(dw).par_chunks_mut(ROWS * patch).enumerate();
    rows.for_each(|(chunk, dw)| {
        let dy = &dy[chunk * ROWS..];
        matmul(
            (dw.len() / patch, patch, g.n),
            (dw, Strides { row: patch, col: 1 }),
            (
                dy,
                Strides {
                    row: 1,
                    col: g.c_out,
                },
            ),
            (x, Strides { row: patch, col: 1 }),
        );
    });
}

/// Writes the transpose of a product with `columns` columns to `to`. `rows` computes the rows from the
/// given one on; it writes all of its slice.
fn transposed<F: Element>(
    columns: usize,
    to: &mut [MaybeUninit<F>],
    rows: impl Fn(usize, &mut [MaybeUninit<F>]) + Sync,
) {
    let count = to.len() / columns;
    if columns == 1 {
        let chunks = to.par_chunks_mut(ROWS).enumerate();
        chunks.for_each(|(chunk, to)| rows(chunk * ROWS, to));
        return;
    }
    with_workspace(|product: &mut Vec<F>| {
        let product = sized(product, to.len());
        let chunks = product.par_chunks_mut(ROWS * columns).enumerate();
        chunks.for_each(|(chunk, product)| rows(chunk * ROWS, as_uninit(product)));
        let product: &[F] = product;
        let images = to.par_chunks_mut(count).enumerate();
        images.for_each(|(column, to)| {
            for (row, to) in to.iter_mut().enumerate() {
                to.write(product[row * columns + column]);
            }
        });
    });
}
