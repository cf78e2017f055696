//! The weight gradient in `f32` with output channels in the lanes of a vector.
//!
//! A band of some images, or of some rows of one, is packed as `[pixel][channel]`. Then a vector
//! of output channels of dy is multiplied by single values of x. A tap skips the rows and columns
//! at which it is outside of the image, so an infinite or NaN value affects only the weights whose
//! gradient depends on it.
//!
//! With products in bfloat16, a word of two images takes the place of a value.
//!
//! ```text
//! for task: (some images, some blocks of output channels)      // threads
//!     for band of images or rows                                 // PIXELS: L1 to L2
//!         for block of `width` output channels
//!             pack x of the block's group once, and dy of the block
//!             for C input channels                               // a panel of x: near L1
//!                 for tap
//!                     microkernel: C channels x V vectors        // registers
//!                         for pixel of the band
//! add the sums of all tasks in order; transpose them to the weight
//! ```

mod microkernel;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::Geometry;
use super::super::pack::panels::{ImageBand, Panels, Source};
use super::super::workspace::{sized, with_workspace};
use crate::simd::transpose::{Matrix, to_channel_major};
use microkernel::{PackedBand, TapOutputs};

/// Pixels of dy that are packed together. With 16 output channels they take 12 KiB, as much as
/// the same pixels of a panel of x, so both stay near the L1 cache.
const PIXELS: usize = 192;

/// The most sums, over all threads, for which each thread sums the whole weight: 2 MiB. Beyond
/// that, threads take different blocks of channels, and no sums are added up afterwards.
const SUMS: usize = 1 << 19;

/// The fewest values that a thread transposes to the weight.
const VALUES_PER_THREAD: usize = 1 << 14;

/// The images of a batch, or the pairs of images whose values share words.
fn units(g: &Geometry, precision: Fp32Precision) -> usize {
    match precision {
        Fp32Precision::Ieee => g.n,
        Fp32Precision::Bf16 => g.n.div_ceil(2),
    }
}

/// Gradient with respect to the weight, summed over the images, with the vectors of `arch`.
/// Writes all of `dw`, in the layout of the weight. `x` and `dy` are contiguous, in the shapes of
/// `g`.
pub fn weight_grad(
    arch: Arch,
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
    let units = units(g, precision);
    let threads = if g.multiplications() < ONE_THREAD {
        1
    } else {
        rayon::current_num_threads()
    };
    let tile = arch.dispatch(ChooseTile {
        inputs: g.group_in(),
        outputs: g.group_out(),
    });
    let blocks = g.group_out().div_ceil(tile.width);
    let block_len = g.group_in().next_multiple_of(tile.inputs) * g.taps() * tile.width;
    let all = g.groups * blocks;
    let (image_parts, block_parts) = if threads * all * block_len <= SUMS || all < threads {
        (threads.min(units), 1)
    } else {
        (1, all)
    };
    let shared = Shared {
        g,
        precision,
        x,
        dy,
        tile,
        blocks,
        block_len,
        rows: (PIXELS / g.out_w).clamp(1, g.out_h),
    };
    with_workspace(|sums| {
        let sums: &mut [f32] = sized(sums, image_parts * all * block_len);
        sums.par_chunks_mut(all / block_parts * block_len)
            .with_max_len(1)
            .enumerate()
            .for_each(|(t, sums)| {
                let (i, b) = (t / block_parts, t % block_parts);
                let task = Task {
                    images: units * i / image_parts..units * (i + 1) / image_parts,
                    blocks: all * b / block_parts..all * (b + 1) / block_parts,
                };
                sums.fill(0.0);
                with_workspace(|buffer| {
                    arch.dispatch(RunTask {
                        shared: &shared,
                        task,
                        sums,
                        buffer,
                    });
                });
            });
        let (sums, others) = sums.split_at_mut(all * block_len);
        for other in others.chunks_exact(all * block_len) {
            for (sum, other) in sums.iter_mut().zip(other) {
                *sum += *other;
            }
        }
        let mut rest = dw;
        let mut parts = Vec::with_capacity(all);
        for (b, sums) in sums.chunks_exact(block_len).enumerate() {
            let channels = tile.width.min(g.group_out() - b % blocks * tile.width);
            let (dw, later) = rest.split_at_mut(channels * g.patch());
            rest = later;
            parts.push((sums, dw, channels));
        }
        parts
            .into_par_iter()
            .with_min_len(VALUES_PER_THREAD / block_len + 1)
            .for_each(|(sums, dw, channels)| {
                arch.dispatch(ToWeight {
                    sums,
                    dw,
                    channels,
                    width: tile.width,
                });
            });
    });
}

/// A register tile: input channels by vectors of output channels.
#[derive(Debug, Clone, Copy)]
struct Tile {
    inputs: usize,
    vectors: usize,
    /// Output channels of the vectors.
    width: usize,
}

/// Chooses the tile for the channels of a group.
struct ChooseTile {
    inputs: usize,
    outputs: usize,
}

impl WithSimd for ChooseTile {
    type Output = Tile;

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let lanes = S::F32_LANES;
        // Registers also hold the vectors of dy and one value of x. There are at most 24 sums with
        // AVX-512 and 8 with other instruction sets.
        let vectors = match self.outputs.div_ceil(lanes) {
            1 => 1,
            3 if lanes == 16 => 3,
            _ => 2,
        };
        let inputs = match (lanes, vectors) {
            (16, 1) if self.inputs > 8 => 16,
            (16, _) => 8,
            _ => lanes.min(4),
        };
        Tile {
            inputs,
            vectors,
            width: vectors * lanes,
        }
    }
}

/// What all tasks share.
struct Shared<'a> {
    g: &'a Geometry,
    precision: Fp32Precision,
    x: &'a [f32],
    dy: &'a [f32],
    tile: Tile,
    /// Blocks of output channels of a group.
    blocks: usize,
    /// Sums of a block.
    block_len: usize,
    /// Output rows that are packed together.
    rows: usize,
}

/// A unit of work for one thread.
struct Task {
    /// Images or pairs of images.
    images: Range<usize>,
    /// Blocks of output channels, over all groups.
    blocks: Range<usize>,
}

struct RunTask<'a> {
    shared: &'a Shared<'a>,
    task: Task,
    /// `[block][input channel][tap][output channel of the block]`; the task adds to them.
    sums: &'a mut [f32],
    buffer: &'a mut Vec<f32>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            shared,
            task,
            sums,
            buffer,
        } = self;
        let g = shared.g;
        let lanes = S::F32_LANES;
        let width = shared.tile.width;
        let bands = g.out_h.div_ceil(shared.rows);
        let together = match bands {
            1 => (PIXELS / g.out_plane()).max(1),
            _ => 1,
        };
        // Rows of x that a band sees.
        let seen = (shared.rows - 1) * g.stride.0 + (g.kh - 1) * g.dilation.0 + 1;
        let panels = Panels {
            width,
            dy_image: shared.rows * g.out_w * width,
            x_image: seen.min(g.h) * g.w * lanes,
            panel: together * seen.min(g.h) * g.w * lanes,
        };
        let dy_len = together * panels.dy_image;
        let x_len = g.group_in().div_ceil(lanes) * panels.panel;
        let words_len = match shared.precision {
            Fp32Precision::Ieee => 0,
            Fp32Precision::Bf16 => {
                Source::words::<S>((seen.min(g.h) * g.w).max(shared.rows * g.out_w))
            }
        };
        let (dys, rest) = sized(buffer, dy_len + x_len + words_len).split_at_mut(dy_len);
        let (xs, words) = rest.split_at_mut(x_len);
        let taps: Vec<TapOutputs> = (0..g.taps()).map(|t| TapOutputs::new(g, t)).collect();
        let mut images = task.images;
        while !images.is_empty() {
            let now = images.start..images.start + together.min(images.len());
            images.start = now.end;
            for b in 0..bands {
                let rows = g.out_h * b / bands..g.out_h * (b + 1) / bands;
                let band = ImageBand::new(g, now.clone(), rows);
                let mut packed_group = usize::MAX;
                for (block, sums) in task
                    .blocks
                    .clone()
                    .zip(sums.chunks_exact_mut(shared.block_len))
                {
                    let first = block % shared.blocks * width;
                    let mut source = Source {
                        g,
                        band: &band,
                        group: block / shared.blocks,
                        words: (shared.precision == Fp32Precision::Bf16).then_some(&mut *words),
                    };
                    if packed_group != source.group {
                        packed_group = source.group;
                        panels.pack_x(simd, &mut source, shared.x, xs);
                    }
                    panels.pack_dy(simd, &mut source, first, shared.dy, dys);
                    let packed = PackedBand {
                        g,
                        precision: shared.precision,
                        taps: &taps,
                        panels: &panels,
                        band: &band,
                        xs,
                        dys,
                    };
                    match (lanes, shared.tile.vectors, shared.tile.inputs) {
                        (16, 1, 16) => packed.add::<S, 16, 1>(simd, sums),
                        (16, 1, _) => packed.add::<S, 8, 1>(simd, sums),
                        (16, 2, _) => packed.add::<S, 8, 2>(simd, sums),
                        (16, ..) => packed.add::<S, 8, 3>(simd, sums),
                        (1, 1, _) => packed.add::<S, 1, 1>(simd, sums),
                        (1, ..) => packed.add::<S, 1, 2>(simd, sums),
                        (_, 1, _) => packed.add::<S, 4, 1>(simd, sums),
                        _ => packed.add::<S, 4, 2>(simd, sums),
                    }
                }
            }
        }
    }
}

/// Transposes the sums of a block to the layout of the weight.
struct ToWeight<'a> {
    sums: &'a [f32],
    dw: &'a mut [f32],
    channels: usize,
    width: usize,
}

impl WithSimd for ToWeight<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            sums,
            dw,
            channels,
            width,
        } = self;
        let patch = dw.len() / channels;
        let sizes = Matrix {
            channels,
            pixels: patch,
            plane: patch,
            width,
        };
        // SAFETY: the slice has a patch for each of the channels.
        unsafe { to_channel_major(simd, sums, sizes, dw.as_mut_ptr()) };
    }
}
