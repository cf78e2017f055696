//! The general convolution: tiles of output rows, unrolled to a matrix, times the weight.
//!
//! It covers every geometry, and computes the convolution and its input gradient in f64. The
//! unrolled image never exists as a whole, only a tile of it in a workspace of each thread.
//!
//! ```text
//! for (image, group)                                  // threads
//!     for tile of output rows                         // TILE: L2
//!         col[patch][pixel] = x, unrolled             // zeros in the padding
//!         y[channel][pixel] = weight[channel][patch] * col    // gemm, on this thread
//! ```
//!
//! The input gradient runs the same loops the other way: `col = weight^T * dy`, added to dx.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::element::Element;
use super::geometry::Geometry;
use super::matrix::{Strides, as_uninit, matmul};
use super::workspace::{sized, with_workspace};
use crate::ops::storage::fill;

/// Values of an unrolled tile: 512 KiB in f64, half of a usual L2 cache.
const TILE: usize = 1 << 16;

/// Output rows per tile.
fn tile_rows(g: &Geometry) -> usize {
    (TILE / (g.patch() * g.out_w).max(1)).clamp(1, g.out_h)
}

/// Neighbouring outputs of one row for which a tap is inside the image.
struct Line {
    /// Input channel of the group.
    channel: usize,
    /// Position of the first input in the plane of the channel.
    input: usize,
    /// Positions in the unrolled tile.
    tile: Range<usize>,
    /// Distance between the inputs.
    step: usize,
}

/// Calls `visit` for each line of each tap.
fn for_lines(g: &Geometry, rows: &Range<usize>, mut visit: impl FnMut(Line)) {
    let tile = rows.len() * g.out_w;
    for channel in 0..g.group_in() {
        for ky in 0..g.kh {
            let valid_y = g.vertical().valid_outputs(ky);
            for kx in 0..g.kw {
                let valid_x = g.horizontal().valid_outputs(kx);
                if valid_x.is_empty() {
                    continue;
                }
                let row = ((channel * g.kh + ky) * g.kw + kx) * tile;
                let x0 = valid_x.start * g.stride.1 + kx * g.dilation.1 - g.padding.1;
                for y in rows.start.max(valid_y.start)..rows.end.min(valid_y.end) {
                    let input_y = y * g.stride.0 + ky * g.dilation.0 - g.padding.0;
                    let start = row + (y - rows.start) * g.out_w;
                    visit(Line {
                        channel,
                        input: input_y * g.w + x0,
                        tile: start + valid_x.start..start + valid_x.end,
                        step: g.stride.1,
                    });
                }
            }
        }
    }
}

/// Unrolls output rows `rows` of one group of one image to `[patch, rows * out_w]`.
fn unroll<F: Element>(g: &Geometry, rows: &Range<usize>, x: &[F], col: &mut [F]) {
    col.fill(F::ZERO);
    for_lines(g, rows, |line| {
        let x = &x[line.channel * g.in_plane() + line.input..];
        let col = &mut col[line.tile];
        if line.step == 1 {
            col.copy_from_slice(&x[..col.len()]);
        } else {
            for (c, x) in col.iter_mut().zip(x.iter().step_by(line.step)) {
                *c = *x;
            }
        }
    });
}

/// Adds an unrolled tile to the positions that its values came from: the transpose of [`unroll`].
fn roll_add<F: Element>(g: &Geometry, rows: &Range<usize>, col: &[F], dx: &mut [F]) {
    for_lines(g, rows, |line| {
        let dx = &mut dx[line.channel * g.in_plane() + line.input..];
        for (d, c) in dx.iter_mut().step_by(line.step).zip(&col[line.tile]) {
            *d += *c;
        }
    });
}

/// The convolution without the bias; writes all of `y`.
pub fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
    if y.is_empty() {
        return;
    }
    let (out, plane) = (g.group_out(), g.out_plane());
    let step = tile_rows(g);
    let patch = g.patch();
    y.par_chunks_mut(out * plane)
        .enumerate()
        .for_each(|(i, y)| {
            let group = i % g.groups;
            let x = &x[i * g.group_in() * g.in_plane()..][..g.group_in() * g.in_plane()];
            let w = &w[group * out * patch..][..out * patch];
            with_workspace(|col: &mut Vec<F>| {
                for start in (0..g.out_h).step_by(step) {
                    let rows = start..(start + step).min(g.out_h);
                    let tile = rows.len() * g.out_w;
                    let col = sized(col, patch * tile);
                    unroll(g, &rows, x, col);
                    matmul(
                        (out, tile, patch),
                        (&mut y[start * g.out_w..], Strides { row: plane, col: 1 }),
                        (w, Strides { row: patch, col: 1 }),
                        (col, Strides { row: tile, col: 1 }),
                    );
                }
            });
        });
}

/// Gradient with respect to the input; writes all of `dx`.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    if dx.is_empty() {
        return;
    }
    let (out, plane) = (g.group_out(), g.out_plane());
    let step = tile_rows(g);
    let patch = g.patch();
    dx.par_chunks_mut(g.group_in() * g.in_plane())
        .enumerate()
        .for_each(|(i, dx)| {
            let group = i % g.groups;
            let dx = fill(dx, F::ZERO);
            let dy = &dy[i * out * plane..][..out * plane];
            let w = &w[group * out * patch..][..out * patch];
            with_workspace(|col: &mut Vec<F>| {
                for start in (0..g.out_h).step_by(step) {
                    let rows = start..(start + step).min(g.out_h);
                    let tile = rows.len() * g.out_w;
                    let col = sized(col, patch * tile);
                    matmul(
                        (patch, tile, out),
                        (as_uninit(col), Strides { row: tile, col: 1 }),
                        (w, Strides { row: 1, col: patch }),
                        (&dy[start * g.out_w..], Strides { row: plane, col: 1 }),
                    );
                    roll_add(g, &rows, col, dx);
                }
            });
        });
}
