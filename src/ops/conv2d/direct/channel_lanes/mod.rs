//! Direct convolution with the output channels in the lanes of a vector.
//!
//! The source is read in place, value by value, and each value is multiplied by vectors of
//! weights. Nothing is copied, rows and columns outside of the source are skipped rather than
//! multiplied by zero, and maps of any size fill the vectors.
//!
//! ```text
//! for task: (group, some blocks of channels, some images, a band of rows)      // threads
//!     for block of `width` output channels in the task
//!         sums[image][pixel][channel] = bias or 0                // SUMS: L2, often L1
//!         for phase                                              // > 1 in a strided input gradient
//!             for c in source channels by `depth`                // WEIGHTS: L1
//!                 for set of tap columns                         // WEIGHTS: L1
//!                     for image in the task                      // SOURCE: L2
//!                         for run of pixels with the same taps
//!                             microkernel: P pixels x V vectors  // registers
//!         transpose the sums to the planes, or scatter them under a stride; or write them as they
//!             are to a channels-last result
//! ```
//!
//! With products in bfloat16, a word of two source channels takes the place of a value.
//!
//! `depth` and the sets of tap columns keep the weights of one pass in L1 while all pixels of the
//! task use them. A task has as many images or rows as its sums and its source allow.

mod microkernel;

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::fp32_precision::Fp32Precision;
use super::super::inference::PixelSums;
use super::super::pack::channel_weights::ChannelWeights;
use super::super::pack::pairs::{pair_row, row_pitch};
use super::super::plan::{Phase, Plan};
use super::super::workspace::{Destination, sized, with_workspace};
use super::problem::Problem;
use super::runs::{Runs, Tile};
use super::scatter::PhaseOutputs;
use crate::ops::memory_format::MemoryFormat;
use crate::simd::transpose::{Matrix, to_channel_major};
use microkernel::{Accumulation, Source};

/// Sums of a task: 64 KiB, a small part of the L2 cache. The source and the weights need the rest.
const SUMS: usize = 1 << 14;

/// Values of the source that a task reads again for each block of output channels: 512 KiB, half
/// of a usual L2 cache.
const SOURCE: usize = 1 << 17;

/// Tasks per thread, so that a thread that is interrupted does not delay the others much.
const TASKS_PER_THREAD: usize = 4;

/// The most bands that an image is split into for [`TASKS_PER_THREAD`] alone. A short band spreads
/// the cost of its runs over few pixels.
const BANDS_FOR_THREADS: usize = 4;

/// Computes `problem` with the vectors of `arch`; writes all of `dst`. With products in bfloat16, the
/// source must be contiguous.
pub fn convolve(arch: Arch, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    if dst.is_empty() {
        return;
    }
    let plan = &problem.plan;
    assert!(plan.out_step == (1, 1) || problem.formats.1 == MemoryFormat::Contiguous);
    let tile = arch.dispatch(ChooseTile {
        cols: plan.cols(),
        channels: plan.dst_c,
    });
    let weights = problem.form(
        |packed| &packed.channels,
        (tile.width, problem.precision),
        || {
            let weights =
                ChannelWeights::new(arch, plan, tile.width, problem.weights, problem.strides);
            match problem.precision {
                Fp32Precision::Ieee => weights,
                Fp32Precision::Bf16 => weights.in_pairs(arch, plan, tile.width),
            }
        },
    );
    let shared = Shared {
        problem,
        tile,
        weights: &weights,
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let tasks = tasks(plan, tile.width);
    let run = |task: &Task| {
        with_workspace(|sums| {
            with_workspace(|phases| {
                with_workspace(|words| {
                    arch.dispatch(RunTask {
                        shared: &shared,
                        task,
                        sums,
                        phases,
                        words,
                    })
                })
            })
        });
    };
    if plan.multiplications() < ONE_THREAD {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().with_max_len(1).for_each(run);
    }
}

/// Chooses the register tile for rows of `cols` pixels and `channels` output channels.
struct ChooseTile {
    cols: usize,
    channels: usize,
}

impl WithSimd for ChooseTile {
    type Output = Tile;

    fn with_simd<S: Simd>(self, _: S) -> Tile {
        let lanes = S::F32_LANES;
        let tile = |pixels, vectors| Tile {
            pixels,
            width: vectors * lanes,
        };
        // Registers also hold the weights and one value of the source. Two vectors per value keep
        // the multipliers busy. A short row needs more vectors to have as many sums in flight.
        let tiles: &[Tile] = match lanes {
            8 | 1 => &[tile(6, 2), tile(8, 1)],
            _ if self.cols <= 6 => &[tile(6, 4), tile(8, 3), tile(8, 2), tile(16, 1)],
            _ => &[tile(8, 2), tile(8, 3), tile(6, 4), tile(16, 1)],
        };
        let padded = |t: &&Tile| self.channels.next_multiple_of(t.width);
        // The first tile that leaves the fewest lanes empty. One vector is only for few channels.
        let wide = tiles.iter().filter(|t| t.width > lanes).min_by_key(padded);
        let one = tile(tiles[tiles.len() - 1].pixels, 1);
        wide.copied()
            .filter(|_| self.channels > lanes)
            .unwrap_or(one)
    }
}

/// A unit of work for one thread.
#[derive(Debug, Clone)]
struct Task {
    images: Range<usize>,
    group: usize,
    /// Rows of the largest phase.
    rows: Range<usize>,
    /// Blocks of output channels.
    blocks: Range<usize>,
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    tile: Tile,
    weights: &'a ChannelWeights,
    dst: Destination,
}

/// Splits the work so that sums and source stay in the cache and every thread has tasks.
fn tasks(plan: &Plan, width: usize) -> Vec<Task> {
    let (rows, cols) = (plan.rows(), plan.cols());
    let places = rows * cols * plan.phases.len();
    let share = rayon::current_num_threads() * TASKS_PER_THREAD;
    let source = plan.src_c * plan.src.0 * plan.src.1;
    let images = (SUMS / (places * width).max(1))
        .min(SOURCE / source.max(1))
        .clamp(1, plan.n.max(1));
    let groups = plan.n.div_ceil(images);
    let bands = (places * width)
        .div_ceil(SUMS)
        .max(share.div_ceil(groups * plan.groups).min(BANDS_FOR_THREADS))
        .min(rows.max(1));
    let bands = if images > 1 { 1 } else { bands };
    let blocks = plan.dst_c.div_ceil(width);
    let parts = share.div_ceil(groups * bands * plan.groups).min(blocks);
    let mut tasks = Vec::new();
    for group in 0..plan.groups {
        for p in 0..parts {
            for i in 0..groups {
                for b in 0..bands {
                    tasks.push(Task {
                        images: plan.n * i / groups..plan.n * (i + 1) / groups,
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
    /// Workspace for the sums.
    sums: &'a mut Vec<f32>,
    /// Workspace for the transposed sums of the phases, before they are scattered.
    phases: &'a mut Vec<f32>,
    /// Workspace for the source in pairs of channels.
    words: &'a mut Vec<f32>,
}

/// The source of a task: values, or words of two channels.
struct TaskSource<'a> {
    /// From the task's first image and the first channel of its group on.
    values: &'a [f32],
    channels: usize,
    /// Distance between images.
    image: usize,
    /// Distance between channels.
    channel: usize,
}

impl<'a> TaskSource<'a> {
    #[inline(always)]
    fn new<S: Simd>(simd: S, problem: &'a Problem, task: &Task, words: &'a mut Vec<f32>) -> Self {
        let plan = &problem.plan;
        let strides = problem.src_strides();
        let first = task.group * plan.src_c * strides.channel;
        match problem.precision {
            Fp32Precision::Ieee => Self {
                values: &problem.src[task.images.start * strides.image + first..],
                channels: plan.src_c,
                image: strides.image,
                channel: strides.channel,
            },
            Fp32Precision::Bf16 => {
                let plane = plan.src.0 * plan.src.1;
                let rows = plan.source_rows(&task.rows);
                let seen = rows.start * plan.src.1..rows.end * plan.src.1;
                let (channels, channel) = (plan.src_c.div_ceil(2), row_pitch(plane));
                let image = channels * channel;
                let words = sized(words, task.images.len() * image);
                for (i, of_image) in task.images.clone().enumerate() {
                    let values = &problem.src[of_image * strides.image + first..];
                    let planes = values[..plan.src_c * plane].chunks(2 * plane);
                    let words = words[i * image..].chunks_mut(channel);
                    for (words, planes) in words.zip(planes) {
                        let (first, second) = planes.split_at(plane);
                        let second = second.get(seen.clone());
                        pair_row(simd, &first[seen.clone()], second, &mut words[seen.clone()]);
                    }
                }
                Self {
                    values: words,
                    channels,
                    image,
                    channel,
                }
            }
        }
    }
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            shared,
            task,
            sums,
            phases,
            words,
        } = self;
        let problem = shared.problem;
        let plan = &problem.plan;
        let width = shared.tile.width;
        let vectors = width / S::F32_LANES;
        let (src, dst) = (problem.src_strides(), problem.dst_strides());
        let task_source = TaskSource::new(simd, problem, task, words);
        let rows = |p: &Phase| task.rows.start.min(p.rows)..task.rows.end.min(p.rows);
        let all_runs: Vec<Runs> = plan
            .phases
            .iter()
            .map(|p| {
                Runs::new(
                    plan,
                    p,
                    rows(p),
                    shared.tile,
                    (src.pixel, task_source.channels),
                )
            })
            .collect();
        let sizes: Vec<(usize, usize)> = plan
            .phases
            .iter()
            .map(|p| (rows(p).len(), p.cols))
            .collect();
        let places: usize = sizes.iter().map(|(rows, cols)| rows * cols).sum();
        let sums = sized(sums, task.images.len() * places * width);
        let transposed = match plan.out_step {
            (1, 1) => &mut [],
            _ => sized(phases, places * width),
        };
        let out_plane = plan.dst.0 * plan.dst.1;
        for block in task.blocks.clone() {
            let channels = width.min(plan.dst_c - block * width);
            let first = task.group * plan.dst_c + block * width;
            match problem.bias {
                None => sums.fill(0.0),
                Some(bias) => sums.chunks_exact_mut(width).for_each(|sums| {
                    sums[..channels].copy_from_slice(&bias[first..first + channels]);
                    sums[channels..].fill(0.0);
                }),
            }
            let mut start = 0;
            for (phase, (all_runs, size)) in all_runs.iter().zip(&sizes).enumerate() {
                let weights = shared.weights.block(phase, task.group, block);
                let depth = all_runs.depth(width);
                let source = if all_runs.taps.is_empty() {
                    0..0
                } else {
                    0..task_source.channels
                };
                for c in source.step_by(depth) {
                    for runs in &all_runs.sets {
                        for i in 0..task.images.len() {
                            let at = i * task_source.image + c * task_source.channel;
                            let accumulation = Accumulation {
                                source: Source {
                                    at: task_source.values[at..].as_ptr(),
                                    channels: depth.min(task_source.channels - c),
                                    channel: task_source.channel,
                                    step: plan.step.1 * src.pixel,
                                },
                                taps: &all_runs.taps,
                                weights: weights[c * width..].as_ptr(),
                                sums: sums[i * places * width + start..].as_mut_ptr(),
                            };
                            for run in runs {
                                // SAFETY: the taps of a run are within the planes of the source
                                // and the weights, its pixels within the sums.
                                unsafe {
                                    match problem.precision {
                                        Fp32Precision::Ieee => accumulation.add(simd, run, vectors),
                                        Fp32Precision::Bf16 => {
                                            accumulation.add_pairs(simd, run, vectors);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                start += size.0 * size.1 * width;
            }
            for (i, image) in task.images.clone().enumerate() {
                let sums = &sums[i * places * width..][..places * width];
                let to = (image * plan.groups * plan.dst_c + first) * out_plane;
                let matrix = |pixels, plane| Matrix {
                    channels,
                    pixels,
                    plane,
                    width,
                };
                if problem.formats.1 == MemoryFormat::ChannelsLast {
                    let pixel = image * out_plane + task.rows.start * plan.dst.1;
                    let sums = PixelSums {
                        sums,
                        width,
                        first,
                        channels,
                        pixels: places,
                        at: pixel * dst.pixel + first,
                        pitch: dst.pixel,
                    };
                    // SAFETY: only this task writes these channels of its rows.
                    unsafe { problem.write_pixels(sums, shared.dst) };
                    continue;
                }
                if plan.out_step == (1, 1) {
                    let at = to + task.rows.start * plan.dst.1;
                    let to = shared.dst.0.wrapping_add(at);
                    // SAFETY: only this task writes its rows of its channels.
                    unsafe {
                        to_channel_major(simd, sums, matrix(places, out_plane), to);
                        problem.finish(shared.dst, at, channels, places);
                    }
                    continue;
                }
                let to = shared.dst.0.wrapping_add(to);
                let mut start = 0;
                for size in &sizes {
                    let size = size.0 * size.1;
                    let sums = &sums[start * width..];
                    let to = transposed[start * channels..].as_mut_ptr();
                    // SAFETY: the buffer has the size of all phases.
                    unsafe { to_channel_major(simd, sums, matrix(size, size), to) };
                    start += size;
                }
                let outputs = PhaseOutputs {
                    values: transposed,
                    sizes: &sizes,
                    channels,
                    first_row: task.rows.start,
                };
                // SAFETY: only this task writes its rows of its channels.
                unsafe { outputs.scatter(plan, |c| to.wrapping_add(c * out_plane)) };
            }
        }
    }
}
