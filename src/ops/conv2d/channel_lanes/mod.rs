//! Direct convolution in `f32` with the output channels in the lanes of a vector.
//!
//! The source is read where it lies, value by value, and each is multiplied with vectors of
//! weights: no value is copied, rows and columns outside of the source are left out rather than
//! multiplied by zero, and maps of any size fill the vectors. The sums of a block of output
//! channels stay in a buffer that fits the first- or second-level cache, `[pixel][channel]`, and
//! are turned round as they go to their places.

mod kernel;
mod products;
mod transpose;
pub(super) mod weight_grad;
mod weights;

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::Geometry;
use super::plan::{Phase, Plan};
use super::stage;
use super::workspace::{Destination, sized, with_workspace};
use kernel::{Job, Source};
use products::Products;
use weights::{Order, Weights};

/// Values of sums that a task keeps.
const SUMS: usize = 1 << 14;

/// Values of the source that a task reads again for each block of output channels.
const SOURCE: usize = 1 << 17;

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
    let taps = g.kh * g.kw;
    let order = Order {
        group: g.group_out() * g.patch(),
        dst: g.patch(),
        src: taps,
    };
    convolve(arch, &Plan::forward(g), x, w, order, bias, y);
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
    let order = Order {
        group: g.group_out() * g.patch(),
        dst: g.kh * g.kw,
        src: g.patch(),
    };
    convolve(arch, &Plan::input_grad(g), dy, w, order, None, dx);
}

/// A tile of sums in registers: at most so many pixels by so many vectors of channels.
#[derive(Debug, Clone, Copy)]
struct Shape {
    pixels: usize,
    vectors: usize,
}

/// What an instruction set offers for rows of so many pixels and so many channels.
struct Registers {
    cols: usize,
    channels: usize,
}

impl WithSimd for Registers {
    type Output = (usize, Shape);

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let lanes = S::F32_LANES;
        let shape = |pixels, vectors| Shape { pixels, vectors };
        // Beside the sums there are the weights and one value. Two vectors for each value suffice
        // to keep the units busy; a short row needs more for as many sums to be under way.
        let shapes: &[Shape] = match lanes {
            8 | 1 => &[shape(6, 2), shape(8, 1)],
            _ if self.cols <= 6 => &[shape(6, 4), shape(8, 3), shape(8, 2), shape(16, 1)],
            _ => &[shape(8, 2), shape(8, 3), shape(6, 4), shape(16, 1)],
        };
        let padded = |s: &&Shape| self.channels.next_multiple_of(s.vectors * lanes);
        // The first of those that leave the fewest lanes empty, but one vector only if need be.
        let wide = shapes.iter().filter(|s| s.vectors > 1).min_by_key(padded);
        let one = shape(shapes[shapes.len() - 1].pixels, 1);
        (
            lanes,
            wide.copied()
                .filter(|_| self.channels > lanes)
                .unwrap_or(one),
        )
    }
}

/// What one thread does in one go.
#[derive(Debug, Clone)]
struct Task {
    images: Range<usize>,
    group: usize,
    /// Rows of the largest phase.
    rows: Range<usize>,
    /// Blocks of output channels.
    blocks: Range<usize>,
}

/// The whole, as all tasks see it.
struct Whole<'a> {
    plan: &'a Plan,
    shape: Shape,
    /// Output channels of a block.
    width: usize,
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
    order: Order,
    bias: Option<&[f32]>,
    dst: &mut [MaybeUninit<f32>],
) {
    let (lanes, shape) = arch.dispatch(Registers {
        cols: plan.cols(),
        channels: plan.dst_c,
    });
    let width = shape.vectors * lanes;
    let weights = Weights::new(arch, plan, width, w, order);
    let whole = Whole {
        plan,
        shape,
        width,
        weights: &weights,
        src,
        bias,
        dst: Destination(dst.as_mut_ptr().cast()),
    };
    let tasks = tasks(plan, width);
    let run = |task: &Task| {
        with_workspace(|sums| {
            with_workspace(|turned| {
                arch.dispatch(OnTask {
                    whole: &whole,
                    task,
                    sums,
                    turned,
                })
            })
        });
    };
    if plan.work() < ALONE {
        tasks.iter().for_each(run);
    } else {
        tasks.par_iter().with_max_len(1).for_each(run);
    }
}

/// Divides the work so that sums and source stay in cache and every thread has a share.
fn tasks(plan: &Plan, width: usize) -> Vec<Task> {
    let (rows, cols) = (plan.rows(), plan.cols());
    let places = rows * cols * plan.phases.len();
    let share = rayon::current_num_threads() * 4;
    let source = plan.src_c * plan.src.0 * plan.src.1;
    let images = (SUMS / (places * width).max(1))
        .min(SOURCE / source.max(1))
        .clamp(1, plan.n.max(1));
    let groups = plan.n.div_ceil(images);
    let bands = (places * width)
        .div_ceil(SUMS)
        .max(share.div_ceil(groups * plan.groups).min(4))
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

struct OnTask<'a> {
    whole: &'a Whole<'a>,
    task: &'a Task,
    sums: &'a mut Vec<f32>,
    turned: &'a mut Vec<f32>,
}

impl WithSimd for OnTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            whole,
            task,
            sums,
            turned,
        } = self;
        let plan = whole.plan;
        let width = whole.width;
        let rows = |p: &Phase| task.rows.start.min(p.rows)..task.rows.end.min(p.rows);
        let products: Vec<Products> = plan
            .phases
            .iter()
            .map(|p| Products::new(plan, p, rows(p), width, whole.shape.pixels))
            .collect();
        let sizes: Vec<(usize, usize)> = plan
            .phases
            .iter()
            .map(|p| (rows(p).len(), p.cols))
            .collect();
        let places: usize = sizes.iter().map(|(rows, cols)| rows * cols).sum();
        let sums = sized(sums, task.images.len() * places * width);
        let turned = match plan.out_step {
            (1, 1) => &mut [],
            _ => sized(turned, places * width),
        };
        let plane = plan.src.0 * plan.src.1;
        let out_plane = plan.dst.0 * plan.dst.1;
        for block in task.blocks.clone() {
            let channels = width.min(plan.dst_c - block * width);
            let first = task.group * plan.dst_c + block * width;
            match whole.bias {
                None => sums.fill(0.0),
                Some(bias) => sums.chunks_exact_mut(width).for_each(|sums| {
                    sums[..channels].copy_from_slice(&bias[first..first + channels]);
                    sums[channels..].fill(0.0);
                }),
            }
            let mut start = 0;
            for (phase, (products, size)) in products.iter().zip(&sizes).enumerate() {
                let weights = whole.weights.block(phase, task.group, block);
                let depth = products.depth(width);
                let source = match products.taps.is_empty() {
                    true => 0..0,
                    false => 0..plan.src_c,
                };
                for c in source.step_by(depth) {
                    for runs in &products.sets {
                        for (i, image) in task.images.clone().enumerate() {
                            let channel = (image * plan.groups + task.group) * plan.src_c + c;
                            let job = Job {
                                source: Source {
                                    at: whole.src[channel * plane..].as_ptr(),
                                    channels: depth.min(plan.src_c - c),
                                    plane,
                                    step: plan.step.1,
                                },
                                taps: &products.taps,
                                weights: weights[c * width..].as_ptr(),
                                sums: sums[i * places * width + start..].as_mut_ptr(),
                            };
                            for run in runs {
                                // SAFETY: the taps of a run lie within the planes of the source
                                // and the weights, its pixels within the sums.
                                unsafe { job.run(simd, run, whole.shape.vectors) };
                            }
                        }
                    }
                }
                start += size.0 * size.1 * width;
            }
            for (i, image) in task.images.clone().enumerate() {
                let sums = &sums[i * places * width..][..places * width];
                let to = (image * plan.groups * plan.dst_c + first) * out_plane;
                let to = whole.dst.0.wrapping_add(to);
                if plan.out_step == (1, 1) {
                    let to = to.wrapping_add(task.rows.start * plan.dst.1);
                    // SAFETY: the task's rows of its channels belong to it alone.
                    unsafe { turn(simd, sums, width, channels, places, to, out_plane) };
                    continue;
                }
                let mut start = 0;
                for size in &sizes {
                    let size = size.0 * size.1;
                    let sums = &sums[start * width..];
                    let to = turned[start * channels..].as_mut_ptr();
                    // SAFETY: the buffer has the size of all phases.
                    unsafe { turn(simd, sums, width, channels, size, to, size) };
                    start += size;
                }
                // SAFETY: the task's rows of its channels belong to it alone.
                unsafe {
                    stage::unload(plan, &sizes, channels, task.rows.start, turned, |c| {
                        to.wrapping_add(c * out_plane)
                    });
                }
            }
        }
    }
}

/// Writes `[pixel][channel]` as `[channel][pixel]`, channels `distance` values apart.
///
/// # Safety
/// `pixels` values must be writable in each channel.
#[inline(always)]
unsafe fn turn<S: Simd>(
    simd: S,
    sums: &[f32],
    width: usize,
    channels: usize,
    pixels: usize,
    to: *mut f32,
    distance: usize,
) {
    let lanes = S::F32_LANES;
    assert!(sums.len() >= pixels * width && channels <= width);
    if pixels < lanes || !transpose::by_fours::<S>() {
        for (p, sums) in sums.chunks_exact(width).enumerate().take(pixels) {
            for (c, sum) in sums.iter().enumerate().take(channels) {
                // SAFETY: a value of a channel.
                unsafe { *to.wrapping_add(c * distance + p) = *sum };
            }
        }
        return;
    }
    for p in (0..pixels).step_by(lanes) {
        // The last vector overlaps the one before it.
        let p = p.min(pixels - lanes);
        for c in (0..channels).step_by(4) {
            // SAFETY: a vector's lanes of pixels from here on have sums; the width is a multiple
            // of four.
            let vectors =
                unsafe { transpose::four_columns(simd, sums.as_ptr().add(p * width + c), width) };
            for (i, vector) in vectors.into_iter().enumerate() {
                if c + i < channels {
                    let to = to.wrapping_add((c + i) * distance + p);
                    // SAFETY: as many values of a channel.
                    unsafe { to.cast::<S::f32s>().write_unaligned(vector) };
                }
            }
        }
    }
}
