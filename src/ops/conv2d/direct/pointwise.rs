//! Convolution of channels-last images with a kernel of one tap: a product of matrices.
//!
//! ```text
//! for task: (some lines of pixels, some blocks of channels)        // threads
//!     for block of `width` output channels in the task             // WEIGHTS: L1 or L2
//!         for line in the task                                     // SOURCE: L2
//!             product of the line's pixels and the block's weights // registers
//!             norm, residual and bounds in registers; or write the sums, and finish them
//! ```
//!
//! Nothing is copied: the sums of an output are over neighbouring values of the source.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::bounded::{Bounded, Place};
use super::super::cost_model::ONE_THREAD;
use super::super::fp32_precision::Fp32Precision;
use super::super::inference::PixelSums;
use super::super::pack::channel_weights::ChannelWeights;
use super::super::plan::Plan;
use super::super::products::{ChooseTile, Outputs, Product, RegisterTile};
use super::super::workspace::{Destination, sized, with_workspace};
use super::problem::Problem;
use crate::ops::memory_format::MemoryFormat;

/// Values of the source that a task reads again for each block of output channels: 512 KiB, half
/// of a usual L2 cache.
const SOURCE: usize = 1 << 17;

/// The most pixels of a line, so that its sums stay in the L1 cache.
const MOST_PIXELS: usize = 192;

/// Tasks per thread, so that a thread that is interrupted does not delay the others much.
const TASKS_PER_THREAD: usize = 2;

/// The most vectors of a register tile times the most lanes.
const MOST_WIDTH: usize = 64;

/// Whether [`convolve`] computes `problem`.
pub fn computes(problem: &Problem) -> bool {
    let plan = &problem.plan;
    problem.formats == (MemoryFormat::ChannelsLast, MemoryFormat::ChannelsLast)
        && plan.groups == 1
        && plan.out_step == (1, 1)
        && plan.phases[0].taps.len() == 1
        && (plan.reach_y, plan.reach_x) == ((0, 0), (0, 0))
}

/// Computes `problem` with the vectors of `arch`; writes all of `dst`.
pub fn convolve(arch: Arch, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    let plan = &problem.plan;
    assert!(computes(problem));
    if dst.is_empty() {
        return;
    }
    let (lanes, tile) = arch.dispatch(ChooseTile(plan.dst_c));
    let width = tile.vectors * lanes;
    let weights = problem.form(
        |packed| &packed.channels,
        (width, Fp32Precision::Ieee),
        || ChannelWeights::new(arch, plan, width, problem.weights, problem.strides),
    );
    let bounded = problem.finish.and_then(|finish| finish.bounded());
    let lines = Lines::new(plan, tile.rows);
    let shared = Shared {
        problem,
        tile,
        width,
        weights: &weights,
        bounded: bounded.as_ref(),
        lines,
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let run = |task: &Task| {
        with_workspace(|sums| {
            arch.dispatch(RunTask {
                shared: &shared,
                task,
                sums,
            });
        });
    };
    let tasks = lines.tasks(plan, width);
    if plan.multiplications() < ONE_THREAD {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().with_max_len(1).for_each(run);
    }
}

/// Pixels of the result whose sources are equally far apart: parts of rows, or with stride 1 of all
/// images together.
#[derive(Debug, Clone, Copy)]
struct Lines {
    /// Pixels of a row.
    row: usize,
    /// Rows.
    rows: usize,
    /// The parts of a row.
    parts: usize,
}

impl Lines {
    /// Lines of whole register tiles with `tile` pixels, as far as possible.
    fn new(plan: &Plan, tile: usize) -> Self {
        let (rows, row) = match plan.step {
            (1, 1) => (1, plan.n * plan.dst.0 * plan.dst.1),
            _ => (plan.n * plan.dst.0, plan.dst.1),
        };
        let pixels = (SOURCE / plan.src_c.max(1)).min(MOST_PIXELS);
        let share = (rows * row).div_ceil(rayon::current_num_threads() * TASKS_PER_THREAD);
        let pixels = pixels.min(share).max(1).next_multiple_of(tile);
        Self {
            row,
            rows,
            parts: row.div_ceil(pixels),
        }
    }

    fn count(&self) -> usize {
        self.rows * self.parts
    }

    /// The first pixel of the result and of the source in a line, and the number of pixels.
    fn line(&self, plan: &Plan, index: usize) -> (usize, usize, usize) {
        let (row, part) = (index / self.parts, index % self.parts);
        let start = self.row * part / self.parts;
        let pixels = self.row * (part + 1) / self.parts - start;
        let source = match plan.step {
            (1, 1) => start,
            (y, x) => {
                let (image, row) = (row / plan.dst.0, row % plan.dst.0);
                (image * plan.src.0 + row * y) * plan.src.1 + start * x
            }
        };
        (row * self.row + start, source, pixels)
    }

    /// Splits lines and blocks of channels so that the source of a task stays in the cache and every
    /// thread has tasks.
    fn tasks(&self, plan: &Plan, width: usize) -> Vec<Task> {
        let pixels = self.row.div_ceil(self.parts);
        let lines = (SOURCE / (plan.src_c * pixels).max(1)).clamp(1, self.count());
        let share = rayon::current_num_threads() * TASKS_PER_THREAD;
        let groups = self.count().div_ceil(lines).max(share.min(self.count()));
        let blocks = plan.dst_c.div_ceil(width);
        let parts = share.div_ceil(groups).min(blocks);
        let mut tasks = Vec::with_capacity(groups * parts);
        for p in 0..parts {
            for g in 0..groups {
                tasks.push(Task {
                    lines: self.count() * g / groups..self.count() * (g + 1) / groups,
                    blocks: blocks * p / parts..blocks * (p + 1) / parts,
                });
            }
        }
        tasks
    }
}

/// A unit of work for one thread.
#[derive(Debug, Clone)]
struct Task {
    lines: Range<usize>,
    /// Blocks of output channels.
    blocks: Range<usize>,
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    tile: RegisterTile,
    /// Channels of a block.
    width: usize,
    weights: &'a ChannelWeights,
    bounded: Option<&'a Bounded<'a>>,
    lines: Lines,
    dst: Destination,
}

struct RunTask<'a> {
    shared: &'a Shared<'a>,
    task: &'a Task,
    /// Workspace for the sums of a line.
    sums: &'a mut Vec<f32>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shared, task, sums } = self;
        let Shared {
            problem,
            tile,
            width,
            lines,
            ..
        } = *shared;
        let plan = &problem.plan;
        let (src_c, dst_c) = (plan.src_c, plan.dst_c);
        for block in task.blocks.clone() {
            let first = block * width;
            let channels = width.min(dst_c - first);
            let mut bias = [0.0; MOST_WIDTH];
            if let Some(values) = problem.bias {
                bias[..channels].copy_from_slice(&values[first..first + channels]);
            }
            let weights = shared.weights.block(0, 0, block);
            assert!(weights.len() >= src_c * width);
            for line in task.lines.clone() {
                let (pixel, source, pixels) = lines.line(plan, line);
                let at = pixel * dst_c + first;
                let last = (pixels - 1) * plan.step.1 + source;
                assert!((last + 1) * src_c <= problem.src.len());
                let product = |to: *mut f32| Product {
                    rows: pixels,
                    depth: src_c,
                    a: problem.src[source * src_c..].as_ptr(),
                    a_row: plan.step.1 * src_c,
                    a_step: 1,
                    b: weights.as_ptr(),
                    b_row: width,
                    to,
                    to_row: width,
                    accumulate: problem.bias.is_some(),
                };
                if let Some(bounded) = shared.bounded {
                    let place = Place {
                        to: shared.dst.0,
                        at,
                        pitch: dst_c,
                        first,
                        channels,
                    };
                    let outputs = Outputs {
                        bounded,
                        bias: &bias,
                        place,
                    };
                    let product = product(std::ptr::null_mut());
                    // SAFETY: the pixels are within the source and the weights within the block, as
                    // asserted. Only this task writes these channels of its lines.
                    unsafe { product.compute_outputs(simd, tile, Some(outputs)) };
                    continue;
                }
                let sums = sized(sums, pixels * width);
                if problem.bias.is_some() {
                    for sums in sums.chunks_exact_mut(width) {
                        sums.copy_from_slice(&bias[..width]);
                    }
                }
                // SAFETY: as above, and the sums have the size of the result.
                unsafe { product(sums.as_mut_ptr()).compute(simd, tile) };
                let sums = PixelSums {
                    sums,
                    width,
                    first,
                    channels,
                    pixels,
                    at,
                    pitch: dst_c,
                };
                // SAFETY: only this task writes these channels of its lines.
                unsafe { problem.write_pixels(sums, shared.dst) };
            }
        }
    }
}
