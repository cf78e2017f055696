//! Depthwise convolution of channels-last images, with channels in the lanes.
//!
//! ```text
//! for task: (image, a band of rows, some vectors of channels)       // threads
//!     for row of the result in the band
//!         for tile of P pixels in the row                           // SOURCE: L1
//!             for vector of channels in the task
//!                 acc[P] = bias or 0                                // registers
//!                 for tap
//!                     acc[p] += source[p + tap] * weights[tap]
//!                 norm, residual and bounds in registers; or keep the sums, and finish them
//! ```
//!
//! The source is read in place. Taps outside of it are skipped: each tap adds to the pixels of the
//! tile that it sees.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::bounded::{Bounded, Place, whole_vector};
use super::super::cost_model::{F32Lanes, ONE_THREAD};
use super::super::direct::Problem;
use super::super::geometry::positions_inside;
use super::super::inference::PixelSums;
use super::super::pack::planes::load;
use super::super::plan::Plan;
use super::super::workspace::{Destination, sized, with_workspace};
use super::channel_lanes::PackWeights;
use crate::ops::memory_format::MemoryFormat;

/// Values of the source and the result of a band: 512 KiB, half of a usual L2 cache.
const BAND: usize = 1 << 17;

/// Tasks per thread, so that a thread that is interrupted does not delay the others much.
const TASKS_PER_THREAD: usize = 2;

/// The most pixels of a register tile.
const MOST_PIXELS: usize = 14;

/// Computes `problem`, whose groups have one source channel and one destination channel, with the
/// vectors of `arch`; writes all of `dst`. Source and result are channels-last, with at least as
/// many channels as a vector has lanes.
pub fn convolve(arch: Arch, problem: &Problem, dst: &mut [MaybeUninit<f32>]) {
    let plan = &problem.plan;
    let lanes = arch.dispatch(F32Lanes);
    assert!(plan.src_c == 1 && plan.dst_c == 1 && plan.out_step == (1, 1));
    assert!(plan.groups >= lanes);
    let last = MemoryFormat::ChannelsLast;
    assert_eq!(problem.formats, (last, last));
    if dst.is_empty() {
        return;
    }
    let pack = || {
        arch.dispatch(PackWeights {
            problem,
            last: plan.groups - lanes,
        })
    };
    let weights = problem.form(|packed| &packed.depthwise, lanes, pack);
    let bounded = problem.finish.and_then(|finish| finish.bounded());
    let shared = Shared {
        problem,
        weights: &weights,
        bounded: bounded.as_ref(),
        // Registers also hold the weight, and with 8 lanes there are 16.
        tiles: tiles(plan, if lanes == 8 { 8 } else { MOST_PIXELS }),
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
    let tasks = tasks(plan, lanes);
    if plan.multiplications() < ONE_THREAD {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().with_max_len(1).for_each(run);
    }
}

/// Neighbouring pixels of a row of the result.
struct PixelTile {
    pixels: Range<usize>,
    /// For each tap, the pixels whose source it reads is within a row of the source.
    seen: Vec<Range<usize>>,
}

/// The tiles of a row.
fn tiles(plan: &Plan, most: usize) -> Vec<PixelTile> {
    let cols = plan.dst.1;
    let count = cols.div_ceil(most);
    let tile = |t: usize| {
        let pixels = cols * t / count..cols * (t + 1) / count;
        let seen = plan.phases[0].taps.iter().map(|tap| {
            let inside = positions_inside(tap.x, plan.step.1, cols, plan.src.1);
            inside.start.clamp(pixels.start, pixels.end)..inside.end.clamp(pixels.start, pixels.end)
        });
        PixelTile {
            seen: seen.collect(),
            pixels,
        }
    };
    (0..count).map(tile).collect()
}

/// A unit of work for one thread.
struct Task {
    image: usize,
    rows: Range<usize>,
    /// Vectors of channels.
    blocks: Range<usize>,
}

fn tasks(plan: &Plan, lanes: usize) -> Vec<Task> {
    let rows = plan.dst.0;
    // The last vector overlaps the one before it, so one task has both.
    let (whole, blocks) = (plan.groups / lanes, plan.groups.div_ceil(lanes));
    let row = plan.groups * (plan.step.0 * plan.src.1 + plan.dst.1);
    let bands = rows.div_ceil((BAND / row).max(1));
    let share = rayon::current_num_threads() * TASKS_PER_THREAD;
    let parts = share.div_ceil(plan.n * bands).min(whole);
    let mut tasks = Vec::with_capacity(plan.n * bands * parts);
    for image in 0..plan.n {
        for b in 0..bands {
            for p in 0..parts {
                tasks.push(Task {
                    image,
                    rows: rows * b / bands..rows * (b + 1) / bands,
                    blocks: whole * p / parts..match p + 1 {
                        next if next == parts => blocks,
                        next => whole * next / parts,
                    },
                });
            }
        }
    }
    tasks
}

/// What all tasks share.
struct Shared<'a> {
    problem: &'a Problem<'a>,
    /// `[block][tap][lane]`.
    weights: &'a [f32],
    bounded: Option<&'a Bounded<'a>>,
    tiles: Vec<PixelTile>,
    dst: Destination,
}

struct RunTask<'a> {
    shared: &'a Shared<'a>,
    task: &'a Task,
    /// Workspace for the sums of a tile.
    sums: &'a mut Vec<f32>,
}

/// A tap that sees pixels of a tile.
#[derive(Clone, Copy)]
struct TileTap {
    /// From the source of the tile's first pixel, in values. The first pixels may not be seen.
    src: isize,
    /// Position of the tap's weights in the weights of a block.
    weights: usize,
    /// The first pixel that the tap sees, and the one after the last.
    seen: (usize, usize),
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shared, task, sums } = self;
        let problem = shared.problem;
        let (plan, phase) = (&problem.plan, &problem.plan.phases[0]);
        let lanes = S::F32_LANES;
        let channels = plan.groups;
        let kernel = phase.taps.len() * lanes;
        let block_start = task.blocks.start * lanes;
        let width = (task.blocks.end * lanes).min(channels) - block_start;
        let sums = sized(sums, MOST_PIXELS * width);
        let mut taps = Vec::with_capacity(phase.taps.len());
        for row in task.rows.clone() {
            for tile in &shared.tiles {
                let start = tile.pixels.start;
                taps.clear();
                for (t, (tap, seen)) in phase.taps.iter().zip(&tile.seen).enumerate() {
                    let y = (row * plan.step.0) as isize + tap.y;
                    if (0..plan.src.0 as isize).contains(&y) && !seen.is_empty() {
                        let x = (start * plan.step.1) as isize + tap.x;
                        let source = y * plan.src.1 as isize;
                        let column = |pixel: usize| (pixel * plan.step.1) as isize + tap.x;
                        assert!(column(seen.start) >= 0);
                        assert!(column(seen.end - 1) < plan.src.1 as isize);
                        taps.push(TileTap {
                            src: (source + x) * channels as isize,
                            weights: t * lanes,
                            seen: (seen.start - start, seen.end - start),
                        });
                    }
                }
                let pixel = (task.image * plan.dst.0 + row) * plan.dst.1 + start;
                let source = task.image * plan.src.0 * plan.src.1 * channels;
                for block in task.blocks.clone() {
                    // The last vector overlaps the one before it, so that it is full.
                    let first = (block * lanes).min(channels - lanes);
                    let bias = match problem.bias {
                        Some(bias) => whole_vector::<S>(&bias[first..]),
                        None => simd.splat_f32s(0.0),
                    };
                    let weights = &shared.weights[block * kernel..][..kernel];
                    let kernel = Kernel::<S> {
                        taps: &taps,
                        weights: weights.as_ptr(),
                        source: problem.src[source + first..].as_ptr(),
                        step: plan.step.1 * channels,
                        bias,
                    };
                    let output = match shared.bounded {
                        Some(bounded) => Output::Bounded(
                            bounded,
                            Place {
                                to: shared.dst.0,
                                at: pixel * channels + first,
                                pitch: channels,
                                first,
                                channels: lanes,
                            },
                        ),
                        None => Output::Sums {
                            to: sums[first - block_start..].as_mut_ptr(),
                            pitch: width,
                        },
                    };
                    // SAFETY: each tap sees sources within a row of the image, and from `first` on
                    // each pixel has a vector of channels; only this task writes these channels.
                    unsafe { kernel.tile(simd, tile.pixels.len(), output) };
                }
                if shared.bounded.is_none() {
                    let sums = PixelSums {
                        sums,
                        width,
                        first: block_start,
                        channels: width,
                        pixels: tile.pixels.len(),
                        at: pixel * channels + block_start,
                        pitch: channels,
                    };
                    // SAFETY: only this task writes these channels of its rows.
                    unsafe { problem.write_pixels(sums, shared.dst) };
                }
            }
        }
    }
}

/// Where the sums of a tile go.
#[derive(Clone, Copy)]
enum Output<'a> {
    /// To the result, after norm, residual and bounds.
    Bounded(&'a Bounded<'a>, Place),
    /// To sums that are `pitch` values apart.
    Sums { to: *mut f32, pitch: usize },
}

/// The sums of a tile for one vector of channels.
struct Kernel<'a, S: Simd> {
    taps: &'a [TileTap],
    /// A vector for each tap of the kernel.
    weights: *const f32,
    /// The channels of the image's first pixel.
    source: *const f32,
    /// Distance between the sources of neighbouring pixels.
    step: usize,
    bias: S::f32s,
}

impl<S: Simd> Kernel<'_, S> {
    /// Computes a tile of at most [`MOST_PIXELS`] pixels.
    ///
    /// # Safety
    /// What the taps see must be readable, and the output writable by this thread alone.
    #[inline(always)]
    unsafe fn tile(&self, simd: S, pixels: usize, output: Output) {
        macro_rules! tiles {
            ($($p:literal)*) => {
                match pixels {
                    // SAFETY: guaranteed by the caller.
                    $($p => unsafe { self.pixels::<$p>(simd, output) },)*
                    _ => unreachable!("no tile has {pixels} pixels"),
                }
            };
        }
        tiles!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    /// Adds a tap to the sums of some pixels.
    ///
    /// # Safety
    /// The tap must see the pixels.
    #[inline(always)]
    unsafe fn tap<const P: usize>(
        &self,
        simd: S,
        acc: &mut [[S::f32s; 1]; P],
        pixels: Range<usize>,
        (source, weight): (*const f32, S::f32s),
    ) {
        for (p, acc) in acc.iter_mut().enumerate() {
            if pixels.contains(&p) {
                // SAFETY: guaranteed by the caller.
                let x = unsafe { load::<S, f32>(source.wrapping_add(p * self.step)) };
                acc[0] = simd.mul_add_f32s(x, weight, acc[0]);
            }
        }
    }

    /// Computes `P` pixels.
    ///
    /// # Safety
    /// As for [`Self::tile`].
    #[inline(always)]
    unsafe fn pixels<const P: usize>(&self, simd: S, output: Output) {
        let mut acc = [[self.bias; 1]; P];
        for tap in self.taps {
            // SAFETY: the weights of a tap.
            let weight = unsafe { load::<S, f32>(self.weights.wrapping_add(tap.weights)) };
            let source = self.source.wrapping_offset(tap.src);
            let product = (source, weight);
            // SAFETY: in each case, pixels that the tap sees.
            unsafe {
                match tap.seen {
                    // With constants there is no branch for each pixel. At the ends of a row, the
                    // taps of small kernels miss one or two.
                    (0, end) if end == P => self.tap(simd, &mut acc, 0..P, product),
                    (1, end) if end == P => self.tap(simd, &mut acc, 1..P, product),
                    (2, end) if end == P => self.tap(simd, &mut acc, 2..P, product),
                    (0, end) if end + 1 == P => self.tap(simd, &mut acc, 0..P - 1, product),
                    (0, end) if end + 2 == P => self.tap(simd, &mut acc, 0..P - 2, product),
                    (start, end) => self.tap(simd, &mut acc, start..end, product),
                }
            }
        }
        match output {
            // SAFETY: guaranteed by the caller.
            Output::Bounded(bounded, place) => unsafe { bounded.store(simd, acc, place) },
            Output::Sums { to, pitch } => {
                for (p, acc) in acc.iter().enumerate() {
                    let to = to.wrapping_add(p * pitch);
                    // SAFETY: the sums of a pixel.
                    unsafe { to.cast::<S::f32s>().write_unaligned(acc[0]) };
                }
            }
        }
    }
}
