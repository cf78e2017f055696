//! The general convolution: tiles of output rows, unrolled to a matrix, times the weight.
//!
//! It covers every geometry in `f32` and `f64`. No whole unrolled image exists, only a tile of
//! at most [`TILE`] values in a workspace that each thread keeps.

use std::mem::MaybeUninit;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::element::Element;
use super::geometry::Geometry;
use super::workspace::{sized, with_workspace};

/// Values of an unrolled tile: half of a usual second-level cache.
const TILE: usize = 1 << 16;

/// Output rows per tile.
fn tile_rows(g: &Geometry) -> usize {
    (TILE / (g.patch() * g.out_w).max(1)).clamp(1, g.out_h)
}

/// Calls `copy(column row, its part of the tile, input offset)` for each run of outputs that
/// one tap sees inside the image; what is outside is reported by `outside`.
fn for_taps(
    g: &Geometry,
    rows: &Range<usize>,
    mut visit: impl FnMut(usize, usize, Range<usize>, usize),
) {
    let tile = rows.len() * g.out_w;
    for c in 0..g.group_in() {
        for ky in 0..g.kh {
            let valid_y = Geometry::valid(ky, g.h, g.out_h, g.stride.0, g.padding.0, g.dilation.0);
            for kx in 0..g.kw {
                let valid_x =
                    Geometry::valid(kx, g.w, g.out_w, g.stride.1, g.padding.1, g.dilation.1);
                if valid_x.is_empty() {
                    continue;
                }
                let row = ((c * g.kh + ky) * g.kw + kx) * tile;
                let x0 = valid_x.start * g.stride.1 + kx * g.dilation.1 - g.padding.1;
                for y in rows.start.max(valid_y.start)..rows.end.min(valid_y.end) {
                    let input_y = y * g.stride.0 + ky * g.dilation.0 - g.padding.0;
                    let start = row + (y - rows.start) * g.out_w;
                    visit(
                        c,
                        input_y * g.w + x0,
                        start + valid_x.start..start + valid_x.end,
                        g.stride.1,
                    );
                }
            }
        }
    }
}

/// Unrolls output rows `rows` of one group of one image to `[patch, rows * out_w]`.
pub(super) fn unroll<F: Element>(g: &Geometry, rows: &Range<usize>, x: &[F], col: &mut [F]) {
    col.fill(F::ZERO);
    for_taps(g, rows, |c, offset, part, step| {
        let x = &x[c * g.in_plane() + offset..];
        let part = &mut col[part];
        if step == 1 {
            part.copy_from_slice(&x[..part.len()]);
        } else {
            for (p, x) in part.iter_mut().zip(x.iter().step_by(step)) {
                *p = *x;
            }
        }
    });
}

/// Adds an unrolled tile to where its values came from: the transpose of [`unroll`].
fn roll_add<F: Element>(g: &Geometry, rows: &Range<usize>, col: &[F], dx: &mut [F]) {
    for_taps(g, rows, |c, offset, part, step| {
        let dx = &mut dx[c * g.in_plane() + offset..];
        for (d, p) in dx.iter_mut().step_by(step).zip(&col[part]) {
            *d += *p;
        }
    });
}

/// A matrix inside a slice: rows, columns and their steps are checked against its length.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub col: usize,
}

fn check(len: usize, rows: usize, cols: usize, steps: Steps) {
    if rows > 0 && cols > 0 {
        assert!((rows - 1) * steps.row + (cols - 1) * steps.col < len);
    }
}

/// `c = alpha c + a b`, on one thread; `alpha` is 0 (then `c` is not read) or 1. The sizes are
/// those of `c [m, n]` and the inner one, `k`.
pub(super) fn matmul<F: Element>(
    (m, n, k): (usize, usize, usize),
    (c, c_steps): (&mut [MaybeUninit<F>], Steps),
    accumulate: bool,
    (a, a_steps): (&[F], Steps),
    (b, b_steps): (&[F], Steps),
) {
    check(c.len(), m, n, c_steps);
    check(a.len(), m, k, a_steps);
    check(b.len(), k, n, b_steps);
    let alpha = if accumulate { F::ONE } else { F::ZERO };
    // SAFETY: the three matrices lie within their slices, as checked above, `c` is borrowed
    // mutably and so overlaps neither, and it is read only where `accumulate` says that the
    // caller has initialised it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr().cast::<F>(),
            c_steps.col as isize,
            c_steps.row as isize,
            accumulate,
            a.as_ptr(),
            a_steps.col as isize,
            a_steps.row as isize,
            b.as_ptr(),
            b_steps.col as isize,
            b_steps.row as isize,
            alpha,
            F::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Initialised values seen as values that need not be.
fn as_uninit<F: Element>(values: &mut [F]) -> &mut [MaybeUninit<F>] {
    let len = values.len();
    // SAFETY: same layout; only `matmul` gets the slice, and it writes floats, never
    // uninitialised values.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// The convolution; `y` is written completely, `bias` is added by the caller.
pub(super) fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
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
                        (&mut y[start * g.out_w..], Steps { row: plane, col: 1 }),
                        false,
                        (w, Steps { row: patch, col: 1 }),
                        (col, Steps { row: tile, col: 1 }),
                    );
                }
            });
        });
}

/// The gradient with respect to the input; `dx` is written completely.
pub(super) fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    let (out, plane) = (g.group_out(), g.out_plane());
    let step = tile_rows(g);
    let patch = g.patch();
    dx.par_chunks_mut(g.group_in() * g.in_plane())
        .enumerate()
        .for_each(|(i, dx)| {
            let group = i % g.groups;
            let dx = super::workspace::fill(dx, F::ZERO);
            let dy = &dy[i * out * plane..][..out * plane];
            let w = &w[group * out * patch..][..out * patch];
            with_workspace(|col: &mut Vec<F>| {
                for start in (0..g.out_h).step_by(step) {
                    let rows = start..(start + step).min(g.out_h);
                    let tile = rows.len() * g.out_w;
                    let col = sized(col, patch * tile);
                    matmul(
                        (patch, tile, out),
                        (as_uninit(col), Steps { row: tile, col: 1 }),
                        false,
                        (w, Steps { row: 1, col: patch }),
                        (&dy[start * g.out_w..], Steps { row: plane, col: 1 }),
                    );
                    roll_add(g, &rows, col, dx);
                }
            });
        });
}
