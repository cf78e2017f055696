//! The gradient with respect to the weight, with the output channels in the lanes of a vector.
//!
//! Some images, or some rows of one, are turned round to `[pixel][channel]`: a vector of output
//! channels of `dy` is multiplied with single values of `x`. The sums of a few input channels by
//! a block of output channels stay in registers while the pixels pass. A tap leaves out the rows
//! and columns that it sees outside of the image, so that what is not finite reaches exactly
//! those weights that it belongs to.
//!
//! Threads take fixed shares of the images, or where the weight is large of the output channels,
//! and the sums of shares are added in order: results depend on the number of threads, but not on
//! which of them was faster.

mod products;
mod turned;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::geometry::Geometry;
use super::super::workspace::{sized, with_workspace};
use products::{Job, Tap};
use turned::{Band, Turned};

/// Pixels of `dy` that are turned round together: with as many of a panel of `x` they stay near
/// the first-level cache.
const PIXELS: usize = 192;

/// Values of all threads' sums up to which each of them sums the whole weight.
const SUMS: usize = 1 << 19;

/// Multiplications below which one thread does it all.
const SMALL: usize = 1 << 17;

/// Gradient with respect to the weight, summed over the images: `dw` in the weight's layout,
/// written completely. `x` and `dy` are contiguous, in `g`'s shapes; there must be outputs.
pub(in crate::ops::conv2d) fn weight_grad_with(
    arch: Arch,
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_eq!((x.len(), dy.len()), (g.in_len(), g.out_len()));
    assert_eq!(dw.len(), g.weight_len());
    let small = g.n * g.out_plane() * dw.len() < SMALL;
    let threads = if small {
        1
    } else {
        rayon::current_num_threads()
    };
    let shape = arch.dispatch(Registers {
        inputs: g.group_in(),
        outputs: g.group_out(),
    });
    let blocks = g.group_out().div_ceil(shape.width);
    let block_len = g.group_in().next_multiple_of(shape.inputs) * g.kh * g.kw * shape.width;
    let all = g.groups * blocks;
    let (image_parts, block_parts) = if threads * all * block_len <= SUMS || all < threads {
        (threads.min(g.n), 1)
    } else {
        (1, all)
    };
    let whole = Whole {
        g,
        x,
        dy,
        shape,
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
                    images: g.n * i / image_parts..g.n * (i + 1) / image_parts,
                    blocks: all * b / block_parts..all * (b + 1) / block_parts,
                };
                sums.fill(0.0);
                with_workspace(|buffer| {
                    arch.dispatch(OnTask {
                        whole: &whole,
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
            let channels = shape.width.min(g.group_out() - b % blocks * shape.width);
            let (dw, later) = rest.split_at_mut(channels * g.patch());
            rest = later;
            parts.push((sums, dw, channels));
        }
        parts
            .into_par_iter()
            .with_min_len((1 << 14) / block_len + 1)
            .for_each(|(sums, dw, channels)| {
                arch.dispatch(ToWeight {
                    sums,
                    dw,
                    channels,
                    width: shape.width,
                });
            });
    });
}

/// A tile of sums: so many input channels by so many vectors of output channels.
#[derive(Debug, Clone, Copy)]
struct Shape {
    inputs: usize,
    vectors: usize,
    /// Output channels of as many vectors.
    width: usize,
}

/// What an instruction set offers for so many channels of a group.
struct Registers {
    inputs: usize,
    outputs: usize,
}

impl WithSimd for Registers {
    type Output = Shape;

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let lanes = S::F32_LANES;
        // Beside the sums there are the vectors of dy and one value of x.
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
        Shape {
            inputs,
            vectors,
            width: vectors * lanes,
        }
    }
}

/// The whole, as all tasks see it.
struct Whole<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    dy: &'a [f32],
    shape: Shape,
    /// Blocks of output channels of a group.
    blocks: usize,
    /// Values of the sums of a block.
    block_len: usize,
    /// Output rows that are turned round together.
    rows: usize,
}

/// What one thread does in one go.
struct Task {
    images: Range<usize>,
    /// Blocks of output channels, over all groups.
    blocks: Range<usize>,
}

struct OnTask<'a> {
    whole: &'a Whole<'a>,
    task: Task,
    /// `[block][input channel][tap][output channel of the block]`, added to.
    sums: &'a mut [f32],
    buffer: &'a mut Vec<f32>,
}

impl WithSimd for OnTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            whole,
            task,
            sums,
            buffer,
        } = self;
        let g = whole.g;
        let lanes = S::F32_LANES;
        let width = whole.shape.width;
        let bands = g.out_h.div_ceil(whole.rows);
        let together = match bands {
            1 => (PIXELS / g.out_plane()).max(1),
            _ => 1,
        };
        // Rows of x that a band sees.
        let seen = (whole.rows - 1) * g.stride.0 + (g.kh - 1) * g.dilation.0 + 1;
        let turned = Turned {
            width,
            dy_image: whole.rows * g.out_w * width,
            x_image: seen.min(g.h) * g.w * lanes,
            panel: together * seen.min(g.h) * g.w * lanes,
        };
        let panels = g.group_in().div_ceil(lanes);
        let dy_len = together * turned.dy_image;
        let (dys, xs) = sized(buffer, dy_len + panels * turned.panel).split_at_mut(dy_len);
        let taps: Vec<Tap> = (0..g.kh * g.kw).map(|t| Tap::new(g, t)).collect();
        let mut images = task.images;
        while !images.is_empty() {
            let now = images.start..images.start + together.min(images.len());
            images.start = now.end;
            for b in 0..bands {
                let rows = g.out_h * b / bands..g.out_h * (b + 1) / bands;
                let band = Band::new(g, now.clone(), rows);
                let mut group = usize::MAX;
                for (block, sums) in task
                    .blocks
                    .clone()
                    .zip(sums.chunks_exact_mut(whole.block_len))
                {
                    let first = block % whole.blocks * width;
                    if group != block / whole.blocks {
                        group = block / whole.blocks;
                        turned.turn_x(simd, g, &band, group, whole.x, xs);
                    }
                    turned.turn_dy(simd, g, &band, (group, first), whole.dy, dys);
                    let job = Job {
                        g,
                        taps: &taps,
                        turned: &turned,
                        band: &band,
                        xs,
                        dys,
                    };
                    match (lanes, whole.shape.vectors, whole.shape.inputs) {
                        (16, 1, 16) => job.run::<S, 16, 1>(simd, sums),
                        (16, 1, _) => job.run::<S, 8, 1>(simd, sums),
                        (16, 2, _) => job.run::<S, 8, 2>(simd, sums),
                        (16, ..) => job.run::<S, 8, 3>(simd, sums),
                        (1, 1, _) => job.run::<S, 1, 1>(simd, sums),
                        (1, ..) => job.run::<S, 1, 2>(simd, sums),
                        (_, 1, _) => job.run::<S, 4, 1>(simd, sums),
                        _ => job.run::<S, 4, 2>(simd, sums),
                    }
                }
            }
        }
    }
}

/// Turns a block's sums to the weight's layout.
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
        // SAFETY: the slice has a patch for each of the channels.
        unsafe { super::turn(simd, sums, width, channels, patch, dw.as_mut_ptr(), patch) };
    }
}
