//! Depthwise convolution with channels in the lanes of a vector.
//!
//! ```text
//! for task: (image, a vector of channels, a band of rows)      // threads
//!     transpose the source rows to [pixel][channel], with their padding    // BAND: L1 or L2
//!     for phase                                                // > 1 in a strided input gradient
//!         for row
//!             for P pixels                                     // registers
//!                 sums[P] = bias or 0
//!                 for tap
//!                     sums[P] += weights[tap] * source[tap + P]
//!     transpose the sums to the planes
//! ```
//!
//! Unlike in [`super::correlation`], a stride costs nothing, and small maps fill the vectors.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::{F32Lanes, ONE_THREAD};
use super::super::direct::Problem;
use super::super::plan::{Phase, Plan};
use super::super::workspace::{Destination, sized, with_workspace};
use crate::simd::transpose::{Matrix, to_channel_major, to_pixel_major};

/// Values of the source and the sums of a task: 128 KiB, a part of the L2 cache.
const BAND: usize = 32 << 10;

/// Computes `problem`, whose groups have one source channel and one destination channel, with the
/// vectors of `arch`; writes all of `dst`.
pub fn convolve(arch: Arch, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    let plan = &problem.plan;
    assert!(plan.src_c == 1 && plan.dst_c == 1);
    if dst.is_empty() {
        return;
    }
    let lanes = arch.dispatch(F32Lanes);
    let window = Window::new(plan);
    let shared = Shared {
        problem,
        window,
        weights: &arch.dispatch(PackWeights {
            problem,
            last: plan.groups,
        }),
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let blocks = plan.groups.div_ceil(lanes);
    let rows = plan.rows();
    let bands = window.bands(plan, lanes);
    let run = |i: usize| {
        let band = i % bands;
        with_workspace(|buffer| {
            arch.dispatch(RunTask {
                shared: &shared,
                image: i / bands / blocks,
                block: i / bands % blocks,
                rows: rows * band / bands..rows * (band + 1) / bands,
                buffer,
            });
        });
    };
    let tasks = 0..plan.n * blocks * bands;
    if plan.multiplications() < ONE_THREAD {
        tasks.for_each(run);
    } else {
        tasks.into_par_iter().for_each(run);
    }
}

/// The part of a source plane that the taps of some rows see.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Rows that one row of each phase sees.
    reach: usize,
    /// Rows from one row of a phase to the next.
    step: usize,
    /// Columns.
    pitch: usize,
}

impl Window {
    fn new(plan: &Plan) -> Self {
        let reach = |(first, last): (isize, isize)| (last - first) as usize + 1;
        Self {
            reach: reach(plan.reach_y),
            step: plan.step.0,
            pitch: (plan.cols() - 1) * plan.step.1 + reach(plan.reach_x),
        }
    }

    /// Source rows that `rows` rows of each phase see.
    fn rows(&self, rows: usize) -> usize {
        (rows - 1) * self.step + self.reach
    }

    /// The number of bands whose source and sums stay in the cache.
    fn bands(&self, plan: &Plan, lanes: usize) -> usize {
        let values = |rows: usize| {
            let sums = rows * plan.out_step.0 * plan.dst.1;
            (self.rows(rows) * self.pitch + sums) * lanes
        };
        let (first, more) = (values(1), values(2) - values(1));
        let most = BAND.saturating_sub(first) / more.max(1) + 1;
        plan.rows().div_ceil(most)
    }
}

/// Packs the weights as `[block][phase][tap][channel of the block]`.
pub(super) struct PackWeights<'a> {
    pub problem: &'a Problem<'a>,
    /// The last channel that a block may begin with. A block that would begin later overlaps the
    /// one before it.
    pub last: usize,
}

impl WithSimd for PackWeights<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Problem {
            plan,
            weights,
            strides,
            ..
        } = self.problem;
        let lanes = S::F32_LANES;
        let taps: usize = plan.phases.iter().map(|p| p.taps.len()).sum();
        let mut kernel = vec![0.0; strides.group * lanes];
        let mut packed = vec![0.0; plan.groups.div_ceil(lanes) * taps * lanes];
        if taps == 0 {
            return packed;
        }
        for (block, packed) in packed.chunks_exact_mut(taps * lanes).enumerate() {
            let first = (block * lanes).min(self.last);
            let sizes = Matrix {
                channels: lanes.min(plan.groups - first),
                pixels: strides.group,
                plane: strides.group,
                width: lanes,
            };
            to_pixel_major(simd, &weights[first * strides.group..], sizes, &mut kernel);
            let taps = plan.phases.iter().flat_map(|p| &p.taps);
            for (tap, packed) in taps.zip(packed.chunks_exact_mut(lanes)) {
                packed.copy_from_slice(&kernel[tap.weight * lanes..][..lanes]);
            }
        }
        packed
    }
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    window: Window,
    weights: &'a [f32],
    dst: Destination,
}

struct RunTask<'a> {
    shared: &'a Shared<'a>,
    image: usize,
    /// The vector of channels.
    block: usize,
    /// Rows of the largest phase.
    rows: Range<usize>,
    /// Workspace.
    buffer: &'a mut Vec<f32>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            shared,
            image,
            block,
            rows,
            buffer,
        } = self;
        let Shared {
            problem, window, ..
        } = *shared;
        let plan = &problem.plan;
        let lanes = S::F32_LANES;
        let first = block * lanes;
        let channels = lanes.min(plan.groups - first);
        let top = rows.start * plan.out_step.0;
        let bottom = (rows.end * plan.out_step.0).min(plan.dst.0);
        let pixels = (bottom - top) * plan.dst.1;
        let seen = window.rows(rows.len()) * window.pitch;
        let buffer = sized(buffer, (seen + pixels) * lanes);
        let (source, sums) = buffer.split_at_mut(seen * lanes);

        let channel = image * plan.groups + first;
        let planes = &problem.src[channel * plan.src.0 * plan.src.1..];
        let first_row = (rows.start * plan.step.0) as isize + plan.reach_y.0;
        for (i, row) in source.chunks_exact_mut(window.pitch * lanes).enumerate() {
            let y = first_row + i as isize;
            pack_row(simd, plan, (planes, channels), y, row);
        }

        let mut bias = simd.splat_f32s(0.0);
        if let Some(values) = problem.bias {
            bias = simd.partial_load_f32s(&values[first..first + channels]);
        }
        let taps: usize = plan.phases.iter().map(|p| p.taps.len()).sum();
        let mut weights = &shared.weights[block * taps * lanes..][..taps * lanes];
        for phase in &plan.phases {
            let (of_phase, others) = weights.split_at(phase.taps.len() * lanes);
            weights = others;
            let taps = phase.taps.iter().map(|tap| {
                let y = (tap.y - plan.reach_y.0) as usize;
                let x = (tap.x - plan.reach_x.0) as usize;
                (y * window.pitch + x) * lanes
            });
            let taps: Vec<usize> = taps.collect();
            for row in rows.start.min(phase.rows)..rows.end.min(phase.rows) {
                let y = phase.origin.0 + row * plan.out_step.0 - top;
                let from = (row - rows.start) * plan.step.0 * window.pitch * lanes;
                let kernel = Kernel::<S> {
                    taps: &taps,
                    weights: of_phase,
                    bias,
                    source: &source[from..],
                    to: &mut sums[(y * plan.dst.1 + phase.origin.1) * lanes..],
                    out_step: plan.out_step.1 * lanes,
                };
                kernel.row(simd, phase, plan.step.1);
            }
        }

        let out_plane = plan.dst.0 * plan.dst.1;
        let at = channel * out_plane + top * plan.dst.1;
        let sizes = Matrix {
            channels,
            pixels,
            plane: out_plane,
            width: lanes,
        };
        // SAFETY: only this task writes these rows of these channels.
        unsafe {
            to_channel_major(simd, sums, sizes, shared.dst.0.wrapping_add(at));
            problem.finish(shared.dst, at, channels, pixels);
        }
    }
}

/// Transposes the columns that the taps see in row `y` of `channels` planes. The row and columns
/// may be outside of the planes.
#[inline(always)]
fn pack_row<S: Simd>(
    simd: S,
    plan: &Plan,
    (planes, channels): (&[f32], usize),
    y: isize,
    to: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let width = plan.src.1 as isize;
    let pitch = (to.len() / lanes) as isize;
    // The columns of the window that are inside of the planes.
    let start = (-plan.reach_x.0).clamp(0, pitch);
    let end = (width - plan.reach_x.0).clamp(start, pitch);
    let inside = (0..plan.src.0 as isize).contains(&y) && start < end;
    if !inside {
        to.fill(0.0);
        return;
    }
    let (to, right) = to.split_at_mut(end as usize * lanes);
    let (left, to) = to.split_at_mut(start as usize * lanes);
    left.fill(0.0);
    right.fill(0.0);
    let from = y * width + start + plan.reach_x.0;
    let sizes = Matrix {
        channels,
        pixels: (end - start) as usize,
        plane: plan.src.0 * plan.src.1,
        width: lanes,
    };
    to_pixel_major(simd, &planes[from as usize..], sizes, to);
}

/// One row of a phase.
struct Kernel<'a, S: Simd> {
    /// Positions of the taps from the first of all taps on, in values.
    taps: &'a [usize],
    /// A vector for each tap.
    weights: &'a [f32],
    bias: S::f32s,
    /// From the first tap of the first pixel on.
    source: &'a [f32],
    /// From the first pixel on.
    to: &'a mut [f32],
    /// Values between neighbouring pixels of the result.
    out_step: usize,
}

impl<S: Simd> Kernel<'_, S> {
    /// Computes the pixels of a row. Sources of neighbouring pixels are `step` pixels apart.
    #[inline(always)]
    fn row(mut self, simd: S, phase: &Phase, step: usize) {
        let lanes = S::F32_LANES;
        let cols = phase.cols;
        let last = self.taps.iter().max().copied().unwrap_or(0);
        assert!((cols - 1) * step * lanes + last + lanes <= self.source.len());
        assert!((cols - 1) * self.out_step + lanes <= self.to.len());
        assert!(self.weights.len() == self.taps.len() * lanes);
        // With constant steps the positions of the pixels are constants too.
        macro_rules! tiles {
            ($pixels:literal, $step:expr, $at:ident) => {
                while cols - $at >= $pixels {
                    // SAFETY: the pixels are within the row, as just checked.
                    unsafe { self.tile::<$pixels>(simd, $at, $step) };
                    $at += $pixels;
                }
            };
        }
        macro_rules! row {
            ($step:expr) => {{
                let mut at = 0;
                if lanes != 8 {
                    tiles!(14, $step, at);
                }
                tiles!(8, $step, at);
                tiles!(7, $step, at);
                tiles!(4, $step, at);
                tiles!(2, $step, at);
                tiles!(1, $step, at);
            }};
        }
        match step {
            1 => row!(1),
            2 => row!(2),
            _ => row!(step),
        }
    }

    /// Computes `P` pixels from `at` on.
    ///
    /// # Safety
    /// They must be within the row.
    #[inline(always)]
    unsafe fn tile<const P: usize>(&mut self, simd: S, at: usize, step: usize) {
        let lanes = S::F32_LANES;
        let source = self.source.as_ptr().wrapping_add(at * step * lanes);
        let mut weights = self.weights.as_ptr();
        let mut sums = [self.bias; P];
        for tap in self.taps {
            let source = source.wrapping_add(*tap);
            // SAFETY: each tap has a vector of weights.
            let weight = unsafe { weights.cast::<S::f32s>().read_unaligned() };
            weights = weights.wrapping_add(lanes);
            for (p, sum) in sums.iter_mut().enumerate() {
                let source = source.wrapping_add(p * step * lanes);
                // SAFETY: the tap of a pixel of the row.
                let x = unsafe { source.cast::<S::f32s>().read_unaligned() };
                *sum = simd.mul_add_f32s(x, weight, *sum);
            }
        }
        let to = self.to.as_mut_ptr().wrapping_add(at * self.out_step);
        for (p, sum) in sums.iter().enumerate() {
            let to = to.wrapping_add(p * self.out_step);
            // SAFETY: a pixel of the row.
            unsafe { to.cast::<S::f32s>().write_unaligned(*sum) };
        }
    }
}
