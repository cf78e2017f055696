//! The convolution and its input gradient.
//!
//! ```text
//! for chunk of destination channels                  // KERNELS: L3
//!     transform the kernels of the chunk             // or take them from an earlier call
//!     for task: (group, block of tiles)              // threads; TILES: L2
//!         transform the tiles of all source channels // again for each chunk
//!         for place in the tile                      // 36 or 16
//!             products[tile][destination channel] =
//!                 tiles[tile][source channel] * kernels[source channel][destination channel]
//!         transform the products to outputs; transpose them to the planes
//! ```

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::{ONE_THREAD, Outputs};
use super::super::direct::Problem;
use super::super::fp32_precision::Fp32Precision;
use super::super::inference::PixelSums;
use super::super::pack::channel_weights::ChannelWeights;
use super::super::plan::Plan;
use super::super::products::{ChooseTile, Product, RegisterTile};
use super::super::workspace::{Destination, sized, with_workspace};
use super::operands::{Operands, Pairs, Singles, channel_of, words};
use super::tiles::{Block, Grid, Planes, Region, SumOver, TileMatrices, TileReader, load, store};
use super::transform::{F2, F4, Filter, Tile, V, both_axes};
use crate::ops::memory_format::MemoryFormat;
use crate::simd::Lanes;
use crate::simd::transpose::{Matrix, to_channel_major};

/// Words of the transformed tiles and products of a task: 640 KiB, most of a usual L2 cache.
const TILES: usize = 160 << 10;

/// The fewest tiles of a task, even if the cache or the threads would like fewer. Fewer
/// tiles read the kernels too often.
const FEWEST_TILES: usize = 12;

/// Words of the transformed kernels of a chunk: 5 MiB, a part of the L3 cache.
const KERNELS: usize = 5 << 18;

/// Tasks per thread, so that a thread that is interrupted does not delay the others much.
const TASKS_PER_THREAD: usize = 4;

/// Computes `problem`, a convolution with a kernel of 3x3 and stride 1, with the vectors of
/// `arch`; writes all of `dst`.
pub fn convolve(arch: Arch, outputs: Outputs, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    use Fp32Precision::{Bf16, Ieee};
    match (outputs, problem.precision) {
        (Outputs::Two, Ieee) => convolve_by::<F2, Singles, 2, 4>(arch, outputs, problem, dst),
        (Outputs::Two, Bf16) => convolve_by::<F2, Pairs, 2, 4>(arch, outputs, problem, dst),
        (Outputs::Four, Ieee) => convolve_by::<F4, Singles, 4, 6>(arch, outputs, problem, dst),
        (Outputs::Four, Bf16) => convolve_by::<F4, Pairs, 4, 6>(arch, outputs, problem, dst),
    }
}

fn convolve_by<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize>(
    arch: Arch,
    outputs: Outputs,
    problem: &Problem,
    dst: &mut [MaybeUninit<f32>],
) {
    let plan = &problem.plan;
    if dst.is_empty() {
        return;
    }
    let (lanes, tile) = arch.dispatch(ChooseTile(plan.dst_c));
    let width = tile.vectors * lanes;
    let blocks = plan.dst_c.div_ceil(width);
    let depth = words::<Q>(plan.src_c, lanes);
    let block_len = N * N * depth * width;
    let chunk = (KERNELS / block_len).clamp(1, blocks);
    let most = TILES / (N * N * (depth.next_multiple_of(lanes) + chunk * width));
    let threads = rayon::current_num_threads();
    let grid = Grid::new(plan.n, plan.dst, M);
    let even = (grid.tiles() * plan.groups).div_ceil(threads * TASKS_PER_THREAD);
    let tiles = grid.blocks(most.min(even).max(FEWEST_TILES));
    // The kernels of some blocks of each group.
    let transform = |weights: &ChannelWeights, some: Range<usize>, kernels: &mut [f32]| {
        kernels
            .par_chunks_exact_mut(block_len)
            .enumerate()
            .for_each(|(i, to)| {
                let (group, block) = (i / some.len(), some.start + i % some.len());
                arch.dispatch(TransformKernels::<T, Q, M, N> {
                    plan,
                    packed: weights.block(0, group, block),
                    width,
                    to,
                    kinds: PhantomData,
                });
            });
    };
    let weights = || ChannelWeights::new(arch, plan, width, problem.weights, problem.strides);
    let source = match problem.packed {
        Some(packed) => Source::Transformed(packed.winograd.get_or_pack(
            (outputs, problem.precision, width),
            || {
                let mut kernels = vec![0.0; plan.groups * blocks * block_len];
                transform(&weights(), 0..blocks, &mut kernels);
                kernels
            },
        )),
        None => Source::Weights(weights()),
    };
    with_workspace(|workspace| {
        for first in (0..blocks).step_by(chunk) {
            let count = chunk.min(blocks - first);
            let kernels = match &source {
                Source::Transformed(kernels) => Kernels {
                    values: &kernels[first * block_len..],
                    blocks,
                },
                Source::Weights(weights) => {
                    let values = sized(workspace, plan.groups * count * block_len);
                    transform(weights, first..first + count, values);
                    Kernels {
                        values,
                        blocks: count,
                    }
                }
            };
            let shared = Shared {
                problem,
                tile,
                width,
                first,
                kernels,
                block_len,
                dst: Destination(dst.as_mut_ptr().cast()),
            };
            // Few tiles: threads share them, and each transforms them for its own channels.
            let parts = threads.div_ceil(plan.groups * tiles.len()).min(count);
            let run = |i: usize| {
                let (part, group) = (i % parts, i / parts / tiles.len());
                with_workspace(|buffer| {
                    arch.dispatch(RunTask::<T, Q, M, N> {
                        shared: &shared,
                        group,
                        block: &tiles[i / parts % tiles.len()],
                        blocks: count * part / parts..count * (part + 1) / parts,
                        buffer,
                        kinds: PhantomData,
                    });
                });
            };
            let tasks = 0..plan.groups * tiles.len() * parts;
            if plan.multiplications() < ONE_THREAD {
                tasks.for_each(run);
            } else {
                tasks.into_par_iter().with_max_len(1).for_each(run);
            }
        }
    });
}

/// Transforms the kernels of a block of destination channels: from `[tap][source channel][channel
/// of the block]` to words `[place][source channel][channel of the block]`.
struct TransformKernels<'a, T, Q, const M: usize, const N: usize> {
    plan: &'a Plan,
    packed: &'a [f32],
    width: usize,
    to: &'a mut [f32],
    kinds: PhantomData<(T, Q)>,
}

impl<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize> WithSimd
    for TransformKernels<'_, T, Q, M, N>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (plan, lanes) = (self.plan, S::F32_LANES);
        let matrix = plan.src_c * self.width;
        let to_matrix = words::<Q>(plan.src_c, lanes) * self.width;
        assert!(self.packed.len() == 9 * matrix && self.to.len() == N * N * to_matrix);
        // The packed weights of each place in the kernel.
        let mut places = [[0; 3]; 3];
        for (i, tap) in plan.phases[0].taps.iter().enumerate() {
            let (y, x) = (tap.y - plan.reach_y.0, tap.x - plan.reach_x.0);
            places[y as usize][x as usize] = i * matrix;
        }
        for at in (0..to_matrix).step_by(lanes) {
            let (word, offset) = (at / self.width, at % self.width);
            let mut parts = [[[Lanes::splat(simd, 0.0); N]; N]; 2];
            for (part, kernel) in parts.iter_mut().enumerate().take(Q::VALUES) {
                let channel = channel_of::<Q>(word, part, lanes);
                if channel < plan.src_c {
                    let from = channel * self.width + offset;
                    // SAFETY: whole vectors of the weights, whose length was asserted.
                    *kernel = unsafe { self.transformed(simd, places, from) };
                }
            }
            let [first, second] = &parts;
            let pairs = first.as_flattened().iter().zip(second.as_flattened());
            for (place, (first, second)) in pairs.enumerate() {
                let to = self.to.as_mut_ptr().wrapping_add(place * to_matrix + at);
                // SAFETY: a whole vector of the result, whose length was asserted.
                unsafe { Q::put_all([*first, *second], to) };
            }
        }
    }
}

impl<T: Filter<M, N>, Q, const M: usize, const N: usize> TransformKernels<'_, T, Q, M, N> {
    /// The transformed kernel of the weights at `at` from each of `places`.
    ///
    /// # Safety
    /// The weights must have whole vectors there.
    #[inline(always)]
    unsafe fn transformed<S: Simd>(
        &self,
        simd: S,
        places: [[usize; 3]; 3],
        at: usize,
    ) -> Tile<S, N> {
        let mut kernel = [[Lanes::splat(simd, 0.0); 3]; 3];
        for (row, places) in kernel.iter_mut().zip(places) {
            for (weights, place) in row.iter_mut().zip(places) {
                // SAFETY: guaranteed by the caller.
                *weights = unsafe { load(simd, self.packed.as_ptr().add(place + at)) };
            }
        }
        both_axes::<T::Kernel, S, 3, N>(kernel)
    }
}

/// Where the transformed kernels come from.
enum Source {
    /// All kernels, from an earlier call.
    Transformed(Arc<Vec<f32>>),
    /// The weights. Their kernels are transformed chunk by chunk, so that they stay in the cache.
    Weights(ChannelWeights),
}

/// Words of transformed kernels, `[group][block][place][source channel][channel]`.
struct Kernels<'a> {
    /// From the first block of the chunk on.
    values: &'a [f32],
    /// Blocks from one group to the next.
    blocks: usize,
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    tile: RegisterTile,
    /// Channels of a block.
    width: usize,
    /// The chunk's first block of destination channels.
    first: usize,
    kernels: Kernels<'a>,
    /// Words of a block of the kernels.
    block_len: usize,
    dst: Destination,
}

struct RunTask<'a, T, Q, const M: usize, const N: usize> {
    shared: &'a Shared<'a>,
    group: usize,
    block: &'a Block,
    /// Blocks of destination channels in the chunk.
    blocks: Range<usize>,
    /// Workspace.
    buffer: &'a mut Vec<f32>,
    kinds: PhantomData<(T, Q)>,
}

impl<T: Filter<M, N>, Q: Operands, const M: usize, const N: usize> WithSimd
    for RunTask<'_, T, Q, M, N>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            shared,
            block,
            blocks,
            ..
        } = self;
        let Shared { problem, width, .. } = *shared;
        let plan = &problem.plan;
        let lanes = S::F32_LANES;
        let depth = words::<Q>(plan.src_c, lanes);
        let sources = TileMatrices {
            rows: block.tiles(),
            columns: depth.next_multiple_of(lanes),
        };
        let results = TileMatrices {
            rows: block.tiles(),
            columns: blocks.len() * width,
        };
        let region = Region::new(block, N, M, (plan.reach_y.0, plan.reach_x.0));
        let rows = block.rows.start * M..plan.dst.0.min(block.rows.end * M);
        let pixels = rows.len() * plan.dst.1;
        let lens = [
            region.len(lanes),
            sources.len(N * N),
            results.len(N * N),
            pixels * lanes,
        ];
        let buffer = sized(self.buffer, lens.iter().sum());
        let (copy, buffer) = buffer.split_at_mut(lens[0]);
        let (tiles, buffer) = buffer.split_at_mut(lens[1]);
        let (products, outputs) = buffer.split_at_mut(lens[2]);

        let reader = TileReader {
            block,
            region,
            step: M,
            matrices: sources,
            sum_over: SumOver::Channels,
        };
        let (src, dst) = (problem.src_strides(), problem.dst_strides());
        // The zeros around the planes stay from channel to channel.
        copy.fill(0.0);
        for (i, image) in block.images.clone().enumerate() {
            let planes = Planes {
                values: &problem.src[image * src.image + self.group * plan.src_c * src.channel..],
                channels: plan.src_c,
                size: plan.src,
                format: problem.formats.0,
                strides: src,
            };
            for c in (0..plan.src_c).step_by(lanes) {
                let from = (&planes, i, c);
                // SAFETY: `tiles` has the size of the matrices.
                unsafe {
                    reader.read::<Q, T::Source, S, N, N>(simd, from, copy, tiles.as_mut_ptr())
                };
            }
        }

        let kernels = (self.group * shared.kernels.blocks + blocks.start) * shared.block_len;
        let kernels = &shared.kernels.values[kernels..][..blocks.len() * shared.block_len];
        for place in 0..N * N {
            for b in 0..blocks.len() {
                let kernel = b * shared.block_len + place * depth * width;
                let product = Product {
                    rows: block.tiles(),
                    depth,
                    a: tiles[place * sources.place()..].as_ptr(),
                    a_row: sources.columns,
                    a_step: 1,
                    b: kernels[kernel..].as_ptr(),
                    b_row: width,
                    to: products[place * results.place() + b * width..].as_mut_ptr(),
                    to_row: results.columns,
                    accumulate: false,
                };
                // SAFETY: all rows and columns are within the matrices.
                unsafe { Q::multiply(simd, &product, shared.tile) };
            }
        }

        let first = (shared.first + blocks.start) * width;
        let channels = (plan.dst_c - first).min(results.columns);
        let out_plane = plan.dst.0 * plan.dst.1;
        for (i, image) in block.images.clone().enumerate() {
            for c in (0..channels).step_by(lanes) {
                let count = lanes.min(channels - c);
                let channel = self.group * plan.dst_c + first + c;
                let bias = match problem.bias {
                    Some(bias) => Lanes::partial_load(simd, &bias[channel..channel + count]),
                    None => Lanes::splat(simd, 0.0),
                };
                for t in 0..block.tiles_of_image() {
                    let (y, x) = (t / block.cols * M, t % block.cols * M);
                    let at = i * block.tiles_of_image() + t;
                    let tile = results.get::<S, N>(simd, products, at, c);
                    let tile = both_axes::<T::Outputs, S, N, M>(tile);
                    let size = (rows.len() - y, plan.dst.1 - x);
                    write_tile(tile, bias, size, plan.dst.1, y * plan.dst.1 + x, outputs);
                }
                if problem.formats.1 == MemoryFormat::ChannelsLast {
                    let pixel = image * out_plane + rows.start * plan.dst.1;
                    let sums = PixelSums {
                        sums: outputs,
                        width: lanes,
                        first: channel,
                        channels: count,
                        pixels,
                        at: pixel * dst.pixel + channel,
                        pitch: dst.pixel,
                    };
                    // SAFETY: only this task writes these channels of its rows.
                    unsafe { problem.write_pixels(sums, shared.dst) };
                    continue;
                }
                let to = (image * plan.groups * plan.dst_c + channel) * out_plane;
                let matrix = Matrix {
                    channels: count,
                    pixels,
                    plane: out_plane,
                    width: lanes,
                };
                let at = to + rows.start * plan.dst.1;
                // SAFETY: only this task writes its rows of its channels.
                unsafe {
                    to_channel_major(simd, outputs, matrix, shared.dst.0.wrapping_add(at));
                    problem.finish(shared.dst, at, count, pixels);
                }
            }
        }
    }
}

/// Writes the part of a tile of outputs that is within `size` to the pixel `at` of rows of `cols`
/// pixels.
#[inline(always)]
fn write_tile<S: Simd, const M: usize>(
    tile: Tile<S, M>,
    bias: V<S>,
    size: (usize, usize),
    cols: usize,
    at: usize,
    to: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let (rows, width) = (M.min(size.0), M.min(size.1));
    assert!((at + (rows - 1) * cols + width) * lanes <= to.len());
    for (y, row) in tile.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            if y < rows && x < width {
                let to = to.as_mut_ptr().wrapping_add((at + y * cols + x) * lanes);
                // SAFETY: a vector of the pixels, as asserted.
                unsafe { store(to, *value + bias) };
            }
        }
    }
}
