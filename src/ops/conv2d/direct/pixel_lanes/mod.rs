//! Direct convolution with pixels of an output channel in the lanes of a vector.
//!
//! A task copies a band of an image's rows with its padding. Then each tap of the kernel reads the
//! same vector of outputs from a shifted position.
//!
//! ```text
//! for task: (image, group, a band of rows, some blocks of channels)      // threads
//!     pack the source rows of the band with their padding                // BAND: L2
//!     for phase                                   // > 1 in a strided input gradient
//!         for NR = 3 vectors of outputs           // x of all taps: L1
//!             for block of MR output channels     // its weights: L1 or L2
//!                 microkernel: MR channels x NR vectors                  // registers
//!                     for source channel
//!                         for tap
//!                 store the sums to the planes, or scatter them under a stride
//! ```
//!
//! MR is 8 with 32 registers (AVX-512, NEON): 24 sums, 3 vectors of the source and a weight. With
//! 16 registers (AVX2) it is 4: 12 sums, 3 vectors and a weight. A last block of at most MR / 2
//! channels takes a tile of half the height.

mod microkernel;

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::pack::band::{Band, Place};
use super::super::pack::pixel_weights::{Heights, PixelWeights};
use super::super::pack::slots::{Outputs, Slot, Slots};
use super::super::plan::{Phase, Plan};
use super::super::workspace::{Destination, sized, with_workspace};
use super::problem::Problem;
use super::scatter::PhaseOutputs;
use microkernel::TileSource;

/// Values of a band: 256 KiB, half of a small L2 cache.
const BAND: usize = 1 << 16;

/// Tasks per thread, so that a thread that is interrupted does not delay the others much.
const TASKS_PER_THREAD: usize = 2;

/// Computes `problem` with the vectors of `arch`; writes all of `dst`.
pub fn convolve(arch: Arch, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    if dst.is_empty() {
        return;
    }
    let plan = &problem.plan;
    let heights = arch.dispatch(ChooseHeights);
    let weights = problem.form(
        |packed| &packed.pixels,
        heights,
        || PixelWeights::new(plan, heights, problem.weights, problem.strides),
    );
    let shared = Shared {
        problem,
        heights,
        weights: &weights,
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let tasks = tasks(plan, heights);
    let run = |task: &Task| {
        // Borrow the buffers outside of the dispatch: the compiler would build closures inside it
        // without the instruction set.
        with_workspace(|copy| {
            with_workspace(|phases| {
                arch.dispatch(RunTask {
                    shared: &shared,
                    task,
                    copy,
                    phases,
                })
            })
        });
    };
    if plan.multiplications() < ONE_THREAD {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().for_each(run);
    }
}

struct ChooseHeights;

impl WithSimd for ChooseHeights {
    type Output = Heights;

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        heights(S::F32_LANES)
    }
}

/// The tile heights of an instruction set: see the module's documentation.
const fn heights(lanes: usize) -> Heights {
    match lanes {
        8 => Heights { full: 4, half: 2 },
        _ => Heights { full: 8, half: 4 },
    }
}

/// A unit of work for one thread.
#[derive(Debug, Clone)]
struct Task {
    image: usize,
    group: usize,
    /// Rows of the largest phase.
    rows: Range<usize>,
    /// Blocks of output channels.
    blocks: Range<usize>,
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    heights: Heights,
    weights: &'a PixelWeights,
    dst: Destination,
}

/// Splits the work so that a band stays in the cache and every thread has tasks.
fn tasks(plan: &Plan, heights: Heights) -> Vec<Task> {
    let rows = plan.rows();
    let threads = rayon::current_num_threads();
    let share = (threads * TASKS_PER_THREAD).div_ceil((plan.n * plan.groups).max(1));
    let blocks = heights.blocks(plan.dst_c);
    let row = Band::new(plan, 1).len(plan, 0);
    let more = Band::new(plan, 2).len(plan, 0) - row;
    let fit = BAND.saturating_sub(row) / more.max(1) + 1;
    let band = fit.max(2).min(rows.div_ceil(share)).max(1);
    // Equal bands rather than a small last one.
    let bands = rows.div_ceil(band).max(1);
    let parts = share.div_ceil(bands).min(blocks);
    let mut tasks = Vec::new();
    for image in 0..plan.n {
        for group in 0..plan.groups {
            for b in 0..bands {
                for p in 0..parts {
                    tasks.push(Task {
                        image,
                        group,
                        rows: rows * b / bands..rows * (b + 1) / bands,
                        blocks: blocks * p / parts..blocks * (p + 1) / parts,
                    });
                }
            }
        }
    }
    tasks
}

struct RunTask<'a> {
    shared: &'a Shared<'a>,
    task: &'a Task,
    /// Workspace for the copy of the source.
    copy: &'a mut Vec<f32>,
    /// Workspace for the outputs of the phases, before they are scattered.
    phases: &'a mut Vec<f32>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const WIDE: Heights = heights(16);
        const NARROW: Heights = heights(8);
        match S::F32_LANES {
            8 => run::<S, { NARROW.full }, { NARROW.half }>(simd, self),
            _ => run::<S, { WIDE.full }, { WIDE.half }>(simd, self),
        }
    }
}

#[inline(always)]
fn run<S: Simd, const MR: usize, const HALF: usize>(simd: S, on: RunTask) {
    let RunTask {
        shared,
        task,
        copy,
        phases,
    } = on;
    let plan = &shared.problem.plan;
    let lanes = S::F32_LANES;
    let band = Band::new(plan, task.rows.len());
    let copy = sized(copy, band.len(plan, lanes));
    let first = task.blocks.start * MR;
    let channels = (task.blocks.end * MR).min(plan.dst_c) - first;
    let plane = plan.dst.0 * plan.dst.1;
    let (image, group) = (task.image, task.group);
    let place = Place {
        image,
        group,
        first_row: task.rows.start,
    };
    band.pack(simd, plan, shared.problem.src, place, copy);
    let packed = Packed {
        shared,
        task,
        band: &band,
        copy,
    };
    if plan.out_step == (1, 1) {
        let channel = (image * plan.groups + group) * plan.dst_c + first;
        let at = channel * plane + task.rows.start * plan.dst.1;
        let outputs = Outputs {
            rows: task.rows.len(),
            cols: plan.phases[0].cols,
            pitch: plan.dst.1,
        };
        let target = Target {
            // SAFETY: within the destination, as the channel and the row exist.
            to: unsafe { shared.dst.0.add(at) },
            channel: plane,
            slots: &Slots::new(&band, outputs, lanes),
        };
        // SAFETY: only this task writes these rows of these channels.
        unsafe {
            packed.phase_tiles::<S, MR, HALF>(simd, 0, &target);
            let len = task.rows.len() * plan.dst.1;
            shared.problem.finish(shared.dst, at, channels, len);
        }
        return;
    }
    let size = |p: &Phase| {
        let rows = task.rows.end.min(p.rows) - task.rows.start.min(p.rows);
        (rows, p.cols)
    };
    let sizes: Vec<(usize, usize)> = plan.phases.iter().map(size).collect();
    let places: usize = sizes.iter().map(|(rows, cols)| rows * cols).sum();
    let values = sized(phases, places * channels);
    let mut start = 0;
    for (i, &(rows, cols)) in sizes.iter().enumerate() {
        let size = rows * cols;
        let outputs = Outputs {
            rows,
            cols,
            pitch: cols,
        };
        let target = Target {
            to: values[start..].as_mut_ptr(),
            channel: size,
            slots: &Slots::new(&band, outputs, lanes),
        };
        // SAFETY: the workspace has `size` values for each of the channels.
        unsafe { packed.phase_tiles::<S, MR, HALF>(simd, i, &target) };
        start += size * channels;
    }
    let plane_of = |c: usize| {
        let channel = (image * plan.groups + group) * plan.dst_c + first + c;
        shared.dst.0.wrapping_add(channel * plane)
    };
    let outputs = PhaseOutputs {
        values,
        sizes: &sizes,
        channels,
        first_row: task.rows.start,
    };
    // SAFETY: only this task writes these rows of these channels.
    unsafe { outputs.scatter(plan, plane_of) };
}

/// Where the outputs of a phase go.
struct Target<'a> {
    to: *mut f32,
    /// Distance between channels.
    channel: usize,
    slots: &'a Slots,
}

/// A task with its packed band.
struct Packed<'a> {
    shared: &'a Shared<'a>,
    task: &'a Task,
    band: &'a Band,
    copy: &'a [f32],
}

impl Packed<'_> {
    /// Computes one phase for the channels of the task.
    ///
    /// # Safety
    /// All positions in `target` must be writable.
    #[inline(always)]
    unsafe fn phase_tiles<S: Simd, const MR: usize, const HALF: usize>(
        &self,
        simd: S,
        phase: usize,
        target: &Target,
    ) {
        let Self {
            shared,
            task,
            band,
            copy,
        } = *self;
        let plan = &shared.problem.plan;
        let taps: Vec<usize> = plan.phases[phase]
            .taps
            .iter()
            .map(|t| band.tap(plan, t))
            .collect();
        let last = taps.iter().max().copied().unwrap_or(0);
        let mut rest = &target.slots.slots[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(3));
            rest = later;
            for slot in now {
                let reach = slot.src + last + (plan.src_c - 1) * band.channel + S::F32_LANES;
                assert!(reach <= copy.len());
            }
            for block in task.blocks.clone() {
                let weights = shared.weights.block(phase, task.group, block);
                let channels = (plan.dst_c - block * MR).min(MR);
                let bias = shared.problem.bias;
                let block_tiles = BlockTiles {
                    plan,
                    band,
                    taps: &taps,
                    copy,
                    weights,
                    bias: bias.map(|b| &b[task.group * plan.dst_c + block * MR..][..channels]),
                    channels,
                    target,
                    to: target
                        .to
                        .wrapping_add((block - task.blocks.start) * MR * target.channel),
                };
                // SAFETY: the reads were checked above, and the caller guarantees the writes.
                unsafe {
                    match (now.len(), shared.heights.of(block, plan.dst_c) == MR) {
                        (3, true) => block_tiles.tile::<S, MR, 3>(simd, now),
                        (2, true) => block_tiles.tile::<S, MR, 2>(simd, now),
                        (_, true) => block_tiles.tile::<S, MR, 1>(simd, now),
                        (3, false) => block_tiles.tile::<S, HALF, 3>(simd, now),
                        (2, false) => block_tiles.tile::<S, HALF, 2>(simd, now),
                        (_, false) => block_tiles.tile::<S, HALF, 1>(simd, now),
                    }
                }
            }
        }
    }
}

/// The tiles of a block of channels.
struct BlockTiles<'a> {
    plan: &'a Plan,
    band: &'a Band,
    taps: &'a [usize],
    copy: &'a [f32],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    channels: usize,
    target: &'a Target<'a>,
    to: *mut f32,
}

impl BlockTiles<'_> {
    /// # Safety
    /// The copy must reach as far as the slots with the last tap, and all positions of the slots
    /// in the channels of the target must be writable.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NR: usize>(&self, simd: S, slots: &[Slot]) {
        let mut init = [0.0; MR];
        if let Some(bias) = self.bias {
            init[..bias.len()].copy_from_slice(bias);
        }
        let mut src = [self.copy.as_ptr(); NR];
        for (src, slot) in src.iter_mut().zip(slots) {
            *src = src.wrapping_add(slot.src);
        }
        assert!(self.weights.len() >= self.plan.src_c * self.taps.len() * MR);
        let source = TileSource {
            channels: self.plan.src_c,
            channel: self.band.channel,
            taps: self.taps,
            src,
            weights: self.weights.as_ptr(),
        };
        // SAFETY: the weights exist, and the copy reaches far enough.
        let sums = unsafe { microkernel::tile::<S, MR, NR>(simd, source, init) };
        // Use only constant indices from here on. Otherwise the compiler keeps a copy of the sums
        // in memory during the loops above.
        if self.channels == MR && slots.iter().all(|s| s.segments.is_empty()) {
            let mut to = [self.to; NR];
            for (to, slot) in to.iter_mut().zip(slots) {
                *to = to.wrapping_add(slot.dst);
            }
            for (m, sums) in sums.iter().enumerate() {
                for (sum, to) in sums.iter().zip(to) {
                    let to = to.wrapping_add(m * self.target.channel);
                    // SAFETY: the slot's positions are writable.
                    unsafe { to.cast::<S::f32s>().write_unaligned(*sum) };
                }
            }
            return;
        }
        let mut spilled = [[simd.splat_f32s(0.0); NR]; MR];
        for (spilled, sums) in spilled.iter_mut().zip(sums) {
            for (spilled, sum) in spilled.iter_mut().zip(sums) {
                *spilled = sum;
            }
        }
        for (m, sums) in spilled.iter().enumerate().take(self.channels) {
            let to = self.to.wrapping_add(m * self.target.channel);
            for (sum, slot) in sums.iter().zip(slots) {
                if slot.segments.is_empty() {
                    // SAFETY: the slot's positions are writable.
                    unsafe { to.add(slot.dst).cast::<S::f32s>().write_unaligned(*sum) };
                }
                for segment in &self.target.slots.segments[slot.segments.clone()] {
                    let (begin, end) = segment.lanes;
                    let mask = simd.mask_between_m32s(begin, end);
                    let to = to.wrapping_add(segment.dst).wrapping_sub(begin as usize);
                    // SAFETY: the lanes of the segment are writable, and no others are touched.
                    unsafe { simd.mask_store_ptr_f32s(mask, to, *sum) };
                }
            }
        }
    }
}
