//! The weight gradient.
//!
//! ```text
//! for part of the tiles                              // PANELS: L3
//!     transform the tiles of x and dy                // threads
//!     for rows of input channels                     // threads
//!         for place in the tile                      // 36 or 16
//!             sums[input channel][output channel] +=
//!                 x[tile][input channel] * dy[tile][output channel]
//!         after the last part, transform the sums to the weight
//! ```
//!
//! If all tiles are one part, the sums never leave the workspace of a thread.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::{ONE_THREAD, Outputs};
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::Geometry;
use super::super::products::{ChooseTile, Product, RegisterTile};
use super::super::workspace::{Destination, sized, with_workspace};
use super::operands::{Operands, Pairs, Singles};
use super::tiles::{Block, Grid, Planes, Region, SumOver, TileMatrices, TileReader, load, store};
use super::transform::{F2, F4, Filter, both_axes};
use crate::ops::memory_format::MemoryFormat;
use crate::simd::Lanes;
use crate::simd::transpose::{Matrix, to_channel_major};

/// Words of the transformed tiles of a part: 5 MiB, a part of the L3 cache.
const PANELS: usize = 5 << 18;

/// The fewest tiles of a part. Fewer tiles read and write the sums too often.
const FEWEST_TILES: usize = 64;

/// The most input channels whose sums a thread computes together.
const INPUTS: usize = 24;

/// Gradient with respect to the weight of a convolution with a kernel of 3x3 and stride 1, summed
/// over the images, with the vectors of `arch`. Writes all of `dw`, in the layout of the weight.
/// `x` and `dy` are contiguous, in the shapes of `g`.
pub fn weight_grad(
    arch: Arch,
    outputs: Outputs,
    precision: Fp32Precision,
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_eq!((x.len(), dy.len()), (g.in_len(), g.out_len()));
    assert_eq!(dw.len(), g.weight_len());
    if g.is_empty() {
        dw.fill(0.0);
        return;
    }
    for group in 0..g.groups {
        let dw = &mut dw[group * g.group_out() * g.patch()..][..g.group_out() * g.patch()];
        let group = Group { arch, g, group };
        use Fp32Precision::{Bf16, Ieee};
        match (outputs, precision) {
            (Outputs::Two, Ieee) => group.weight_grad::<F2, Singles, 2, 4>(x, dy, dw),
            (Outputs::Two, Bf16) => group.weight_grad::<F2, Pairs, 2, 4>(x, dy, dw),
            (Outputs::Four, Ieee) => group.weight_grad::<F4, Singles, 4, 6>(x, dy, dw),
            (Outputs::Four, Bf16) => group.weight_grad::<F4, Pairs, 4, 6>(x, dy, dw),
        }
    }
}

/// A group of channels.
#[derive(Clone, Copy)]
struct Group<'a> {
    arch: Arch,
    g: &'a Geometry,
    group: usize,
}

impl Group<'_> {
    fn weight_grad<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize>(
        self,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
    ) {
        let Self { arch, g, group } = self;
        let (lanes, tile) = arch.dispatch(ChooseTile(g.group_out()));
        let inputs = g.group_in().next_multiple_of(lanes);
        let outputs = g.group_out().next_multiple_of(tile.vectors * lanes);
        let grid = Grid::new(g.n, (g.out_h, g.out_w), M);
        let most = Q::VALUES * PANELS / (N * N * (inputs + outputs));
        let parts = grid.blocks(most.max(FEWEST_TILES));
        let tasks = g.group_in().div_ceil(INPUTS);
        let sums_len = N * N * INPUTS.min(g.group_in()) * outputs;
        let kept = if parts.len() > 1 { tasks } else { 0 };
        with_workspace(|buffer| {
            let kept = sized(buffer, kept * sums_len);
            let sums = (parts.len() > 1).then_some(Destination(kept.as_mut_ptr()));
            let dw = Destination(dw.as_mut_ptr());
            for (p, block) in parts.iter().enumerate() {
                let sizes = |columns| TileMatrices {
                    rows: block.tiles().div_ceil(Q::VALUES),
                    columns,
                };
                let (x_sizes, dy_sizes) = (sizes(inputs), sizes(outputs));
                with_workspace(|panels| {
                    let panels = sized(panels, x_sizes.len(N * N) + dy_sizes.len(N * N));
                    let (x_tiles, dy_tiles) = panels.split_at_mut(x_sizes.len(N * N));
                    let to_x = Destination(x_tiles.as_mut_ptr());
                    let to_dy = Destination(dy_tiles.as_mut_ptr());
                    // Images whose tiles share words are one task.
                    let shared = match block.tiles_of_image() % Q::VALUES {
                        0 => 1,
                        _ => Q::VALUES,
                    };
                    let images = block.images.len();
                    let tasks_of_vector = images.div_ceil(shared);
                    let x_vectors = g.group_in().div_ceil(lanes);
                    let vectors = x_vectors + g.group_out().div_ceil(lanes);
                    self.for_each(tasks_of_vector * vectors, &|i| {
                        let (task, v) = (i % tasks_of_vector, i / tasks_of_vector);
                        let first = task * shared;
                        let (side, v, values) = match v.checked_sub(x_vectors) {
                            None => (Side::Input, v, x),
                            Some(v) => (Side::Output, v, dy),
                        };
                        let (matrices, to) = match side {
                            Side::Input => (x_sizes, to_x),
                            Side::Output => (dy_sizes, to_dy),
                        };
                        with_workspace(|copy| {
                            arch.dispatch(TransformTiles::<T, Q, M, N> {
                                g,
                                group,
                                side,
                                values,
                                block,
                                images: first..images.min(first + shared),
                                first: v * lanes,
                                matrices,
                                to,
                                copy,
                                kinds: PhantomData,
                            });
                        });
                    });
                    let (x_tiles, dy_tiles) = (&*x_tiles, &*dy_tiles);
                    self.for_each(tasks, &|t| {
                        with_workspace(|buffer| {
                            arch.dispatch(SumProducts::<T, Q, M, N> {
                                g,
                                tile,
                                x: (x_tiles, x_sizes),
                                dy: (dy_tiles, dy_sizes),
                                rows: g.group_in() * t / tasks..g.group_in() * (t + 1) / tasks,
                                sums: sums
                                    .map(|sums| Destination(sums.0.wrapping_add(t * sums_len))),
                                first: p == 0,
                                last: p + 1 == parts.len(),
                                buffer,
                                dw,
                                kinds: PhantomData,
                            });
                        });
                    });
                });
            }
        });
    }

    /// Calls `run` for all numbers below `count`, on several threads if the work is worth it.
    fn for_each(self, count: usize, run: &(dyn Fn(usize) + Sync)) {
        if self.g.multiplications() < ONE_THREAD {
            (0..count).for_each(run);
        } else {
            (0..count).into_par_iter().with_max_len(1).for_each(run);
        }
    }
}

/// The tensor that tiles come from.
#[derive(Debug, Clone, Copy)]
enum Side {
    /// x: tiles of N x N values.
    Input,
    /// dy: tiles of M x M values.
    Output,
}

/// Transforms the tiles of one vector of channels of some images.
struct TransformTiles<'a, T, Q, const M: usize, const N: usize> {
    g: &'a Geometry,
    group: usize,
    side: Side,
    values: &'a [f32],
    block: &'a Block,
    /// Indices of the images in the block.
    images: Range<usize>,
    /// The first channel of the vector.
    first: usize,
    matrices: TileMatrices,
    to: Destination,
    /// Workspace.
    copy: &'a mut Vec<f32>,
    kinds: PhantomData<(T, Q)>,
}

impl<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize> WithSimd
    for TransformTiles<'_, T, Q, M, N>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, block, .. } = self;
        let (channels, size, side, origin) = match self.side {
            Side::Input => (
                g.group_in(),
                (g.h, g.w),
                N,
                (-(g.padding.0 as isize), -(g.padding.1 as isize)),
            ),
            Side::Output => (g.group_out(), (g.out_h, g.out_w), M, (0, 0)),
        };
        let reader = TileReader {
            block,
            region: Region::new(block, side, M, origin),
            step: M,
            matrices: self.matrices,
            sum_over: SumOver::Tiles,
        };
        let copy = sized(self.copy, reader.region.len(S::F32_LANES));
        copy.fill(0.0);
        for i in self.images {
            let image = block.images.start + i;
            let first = (image * g.groups + self.group) * channels * size.0 * size.1;
            let planes = Planes {
                values: &self.values[first..],
                channels,
                size,
                format: MemoryFormat::Contiguous,
                strides: MemoryFormat::Contiguous.strides(channels, size.0 * size.1),
            };
            let (from, to) = ((&planes, i, self.first), self.to.0);
            // SAFETY: `to` has the size of the matrices, and only this task writes these channels of
            // the images.
            unsafe {
                match self.side {
                    Side::Input => reader.read::<Q, T::Source, S, N, N>(simd, from, copy, to),
                    Side::Output => reader.read::<Q, T::OutputGrads, S, M, N>(simd, from, copy, to),
                }
            }
        }
    }
}

/// Adds the products of a part to the sums of some input channels.
struct SumProducts<'a, T, Q, const M: usize, const N: usize> {
    g: &'a Geometry,
    tile: RegisterTile,
    x: (&'a [f32], TileMatrices),
    dy: (&'a [f32], TileMatrices),
    /// Input channels.
    rows: Range<usize>,
    /// The sums, if there are several parts.
    sums: Option<Destination>,
    /// Whether this is the first part.
    first: bool,
    /// Whether this is the last part.
    last: bool,
    /// Workspace for the sums of a single part, and for the gradients before they are transposed.
    buffer: &'a mut Vec<f32>,
    /// The weight gradient of the group.
    dw: Destination,
    kinds: PhantomData<(T, Q)>,
}

impl<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize> WithSimd
    for SumProducts<'_, T, Q, M, N>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, tile, rows, .. } = self;
        let lanes = S::F32_LANES;
        let ((x, x_sizes), (dy, dy_sizes)) = (self.x, self.dy);
        assert!(x.len() >= x_sizes.len(N * N) && dy.len() >= dy_sizes.len(N * N));
        let outputs = dy_sizes.columns;
        let matrix = rows.len() * outputs;
        let pixels = rows.len() * 9;
        let buffer = sized(self.buffer, N * N * matrix + pixels * lanes);
        let (own, gradients) = buffer.split_at_mut(N * N * matrix);
        let sums = self.sums.map_or(own.as_mut_ptr(), |sums| sums.0);
        for place in 0..N * N {
            for first in (0..outputs).step_by(tile.vectors * lanes) {
                let product = Product {
                    rows: rows.len(),
                    depth: x_sizes.rows,
                    a: x[place * x_sizes.place() + rows.start..].as_ptr(),
                    a_row: 1,
                    a_step: x_sizes.columns,
                    b: dy[place * dy_sizes.place() + first..].as_ptr(),
                    b_row: outputs,
                    to: sums.wrapping_add(place * matrix + first),
                    to_row: outputs,
                    accumulate: !self.first,
                };
                // SAFETY: all rows and columns are within the matrices. Only this task uses the
                // sums of its input channels.
                unsafe { Q::multiply(simd, &product, tile) };
            }
        }
        if !self.last {
            return;
        }
        for first in (0..g.group_out()).step_by(lanes) {
            for row in 0..rows.len() {
                let mut kernel = [[Lanes::splat(simd, 0.0); N]; N];
                for (place, value) in kernel.as_flattened_mut().iter_mut().enumerate() {
                    let at = place * matrix + row * outputs + first;
                    // SAFETY: a vector of the sums.
                    *value = unsafe { load(simd, sums.wrapping_add(at)) };
                }
                let kernel = both_axes::<T::KernelGrads, S, N, 3>(kernel);
                let to = &mut gradients[row * 9 * lanes..][..9 * lanes];
                for (tap, value) in kernel.as_flattened().iter().enumerate() {
                    // SAFETY: one of the nine vectors.
                    unsafe { store(to.as_mut_ptr().add(tap * lanes), *value) };
                }
            }
            let matrix = Matrix {
                channels: lanes.min(g.group_out() - first),
                pixels,
                plane: g.patch(),
                width: lanes,
            };
            let to = self.dw.0.wrapping_add(first * g.patch() + rows.start * 9);
            // SAFETY: only this task writes the gradients of its input channels.
            unsafe { to_channel_major(simd, gradients, matrix, to) };
        }
    }
}
