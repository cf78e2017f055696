//! Direct convolution in `f32`: no matrix is unrolled.
//!
//! A task copies a band of an image's rows with its padding; then every tap of the kernel is the
//! same vector of outputs read from a shifted place. Tiles of output channels by vectors stay in
//! registers while the loop runs over input channels and taps.

mod kernel;
mod slots;
mod source;
mod weights;

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::Geometry;
use super::plan::{self, Plan};
use super::stage;
use super::workspace::{Destination, sized, with_workspace};
use slots::{Slot, Slots};
use source::{Band, Place};
use weights::{Heights, Weights};

/// Values of a copied band: half of a usual second-level cache.
const BAND: usize = 1 << 16;

/// Work, in multiplications and additions, below which one thread does it.
const ALONE: usize = 1 << 18;

/// The convolution with a given instruction set; `y` is written completely.
pub(super) fn forward_with(
    arch: Arch,
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [MaybeUninit<f32>],
) {
    let (out, c_in, taps) = (g.group_out(), g.group_in(), g.kh * g.kw);
    let at = |group, o, c| ((group * out + o) * c_in + c) * taps;
    convolve(arch, &Plan::forward(g), x, w, at, bias, y);
}

/// The gradient with respect to the input with a given instruction set; `dx` is written
/// completely.
pub(super) fn input_grad_with(
    arch: Arch,
    g: &Geometry,
    dy: &[f32],
    w: &[f32],
    dx: &mut [MaybeUninit<f32>],
) {
    let (out, c_in, taps) = (g.group_out(), g.group_in(), g.kh * g.kw);
    let at = |group, c, o| ((group * out + o) * c_in + c) * taps;
    convolve(arch, &Plan::input_grad(g), dy, w, at, None, dx);
}

/// What an instruction set offers.
struct Registers;

impl WithSimd for Registers {
    type Output = Heights;

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        heights(S::F32_LANES)
    }
}

/// 24 sums of 32 registers, or 12 of 16, beside the values and a weight.
const fn heights(lanes: usize) -> Heights {
    match lanes {
        8 => Heights { full: 4, half: 2 },
        _ => Heights { full: 8, half: 4 },
    }
}

/// What one thread does in one go.
#[derive(Debug, Clone)]
struct Task {
    image: usize,
    group: usize,
    /// Rows of the largest phase.
    rows: Range<usize>,
    /// Blocks of output channels.
    blocks: Range<usize>,
}

/// The whole, as all tasks see it.
struct Whole<'a> {
    plan: &'a Plan,
    heights: Heights,
    weights: &'a Weights,
    src: &'a [f32],
    bias: Option<&'a [f32]>,
    dst: Destination,
}

fn convolve(
    arch: Arch,
    plan: &Plan,
    src: &[f32],
    w: &[f32],
    at: impl Fn(usize, usize, usize) -> usize + Sync,
    bias: Option<&[f32]>,
    dst: &mut [MaybeUninit<f32>],
) {
    let heights = arch.dispatch(Registers);
    let weights = Weights::new(plan, heights, w, at);
    let whole = Whole {
        plan,
        heights,
        weights: &weights,
        src,
        bias,
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let tasks = tasks(plan, heights);
    let run = |task: &Task| {
        // The buffers are fetched out here: closures inside the dispatch would be compiled
        // without its instruction set.
        with_workspace(|copy| {
            with_workspace(|stage| {
                arch.dispatch(OnTask {
                    whole: &whole,
                    task,
                    copy,
                    stage,
                })
            })
        });
    };
    if plan.work() < ALONE {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().for_each(run);
    }
}

/// Divides the work so that a band stays in cache and every thread has a share.
fn tasks(plan: &Plan, heights: Heights) -> Vec<Task> {
    let rows = plan.rows();
    let threads = rayon::current_num_threads();
    let share = (threads * 2).div_ceil((plan.n * plan.groups).max(1));
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

struct OnTask<'a> {
    whole: &'a Whole<'a>,
    task: &'a Task,
    /// Workspaces: of the source's copy and of outputs that wait for their places.
    copy: &'a mut Vec<f32>,
    stage: &'a mut Vec<f32>,
}

impl WithSimd for OnTask<'_> {
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
fn run<S: Simd, const MR: usize, const HALF: usize>(simd: S, on: OnTask) {
    let OnTask {
        whole,
        task,
        copy,
        stage,
    } = on;
    let plan = whole.plan;
    let lanes = S::F32_LANES;
    let band = Band::new(plan, task.rows.len());
    let copy = sized(copy, band.len(plan, lanes));
    let first = task.blocks.start * MR;
    let channels = (task.blocks.end * MR).min(plan.dst_c) - first;
    let plane = plan.dst.0 * plan.dst.1;
    let group = task.group;
    let place = Place {
        image: task.image,
        group,
        first_row: task.rows.start,
    };
    band.copy(simd, plan, whole.src, place, copy);
    let image = task.image;
    if plan.out_step == (1, 1) {
        let phase = &plan.phases[0];
        let channel = (image * plan.groups + group) * plan.dst_c + first;
        let target = Target {
            // SAFETY: within the destination, as the channel and the row exist.
            to: unsafe {
                whole
                    .dst
                    .0
                    .add(channel * plane + task.rows.start * plan.dst.1)
            },
            channel: plane,
            slots: &Slots::new(&band, task.rows.len(), phase.cols, plan.dst.1, lanes),
        };
        // SAFETY: the rows of these channels belong to this task alone.
        unsafe { phase_tiles::<S, MR, HALF>(simd, whole, task, 0, &band, copy, &target) };
        return;
    }
    let size = |p: &plan::Phase| {
        let rows = task.rows.end.min(p.rows) - task.rows.start.min(p.rows);
        (rows, p.cols)
    };
    let sizes: Vec<(usize, usize)> = plan.phases.iter().map(size).collect();
    let places: usize = sizes.iter().map(|(rows, cols)| rows * cols).sum();
    let stage = sized(stage, places * channels);
    let mut start = 0;
    for (i, &(rows, cols)) in sizes.iter().enumerate() {
        let size = rows * cols;
        let target = Target {
            to: stage[start..].as_mut_ptr(),
            channel: size,
            slots: &Slots::new(&band, rows, cols, cols, lanes),
        };
        // SAFETY: the stage has `size` values for each of the channels.
        unsafe { phase_tiles::<S, MR, HALF>(simd, whole, task, i, &band, copy, &target) };
        start += size * channels;
    }
    let plane_of = |c: usize| {
        let channel = (image * plan.groups + group) * plan.dst_c + first + c;
        whole.dst.0.wrapping_add(channel * plane)
    };
    // SAFETY: the task's rows of its channels belong to it alone.
    unsafe { stage::unload(plan, &sizes, channels, task.rows.start, stage, plane_of) };
}

/// Where a phase's outputs go.
struct Target<'a> {
    to: *mut f32,
    /// Distance of channels.
    channel: usize,
    slots: &'a Slots,
}

/// Computes one phase for the channels of a task.
///
/// # Safety
/// All places that `target` names must be writable.
#[inline(always)]
unsafe fn phase_tiles<S: Simd, const MR: usize, const HALF: usize>(
    simd: S,
    whole: &Whole,
    task: &Task,
    phase: usize,
    band: &Band,
    copy: &[f32],
    target: &Target,
) {
    let plan = whole.plan;
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
            let weights = whole.weights.block(phase, task.group, block);
            let channels = (plan.dst_c - block * MR).min(MR);
            let job = Job {
                plan,
                band,
                taps: &taps,
                copy,
                weights,
                bias: whole
                    .bias
                    .map(|b| &b[task.group * plan.dst_c + block * MR..][..channels]),
                channels,
                target,
                to: target
                    .to
                    .wrapping_add((block - task.blocks.start) * MR * target.channel),
            };
            // SAFETY: the reads were checked above, the places are writable as promised.
            unsafe {
                match (now.len(), whole.heights.of(block, plan.dst_c) == MR) {
                    (3, true) => job.tile::<S, MR, 3>(simd, now),
                    (2, true) => job.tile::<S, MR, 2>(simd, now),
                    (_, true) => job.tile::<S, MR, 1>(simd, now),
                    (3, false) => job.tile::<S, HALF, 3>(simd, now),
                    (2, false) => job.tile::<S, HALF, 2>(simd, now),
                    (_, false) => job.tile::<S, HALF, 1>(simd, now),
                }
            }
        }
    }
}

/// A block of channels.
struct Job<'a> {
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

impl Job<'_> {
    /// # Safety
    /// The copy must reach as far as the slots with the last tap, and all places that the slots
    /// name in the target's channels must be writable.
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
        // SAFETY: the weights are there, and the copy reaches far enough.
        let sums = unsafe {
            kernel::tile::<S, MR, NR>(
                simd,
                self.plan.src_c,
                self.band.channel,
                self.taps,
                src,
                self.weights.as_ptr(),
                init,
            )
        };
        // Only constant indices below, or the compiler keeps a copy of the sums in memory
        // through the loops above.
        if self.channels == MR && slots.iter().all(|s| s.segments.is_empty()) {
            let mut to = [self.to; NR];
            for (to, slot) in to.iter_mut().zip(slots) {
                *to = to.wrapping_add(slot.dst);
            }
            for (m, sums) in sums.iter().enumerate() {
                for (sum, to) in sums.iter().zip(to) {
                    let to = to.wrapping_add(m * self.target.channel);
                    // SAFETY: the slot's places are writable.
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
                    // SAFETY: the slot's places are writable.
                    unsafe { to.add(slot.dst).cast::<S::f32s>().write_unaligned(*sum) };
                }
                for segment in &self.target.slots.segments[slot.segments.clone()] {
                    let (begin, end) = segment.lanes;
                    let mask = simd.mask_between_m32s(begin, end);
                    let to = to.wrapping_add(segment.dst).wrapping_sub(begin as usize);
                    // SAFETY: the lanes of the segment are writable, no others are touched.
                    unsafe { simd.mask_store_ptr_f32s(mask, to, *sum) };
                }
            }
        }
    }
}
