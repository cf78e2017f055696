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

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::geometry::Geometry;
use super::super::workspace::{sized, with_workspace};
use super::transpose;

/// Pixels of `dy` that are turned round together: with as many of a panel of `x` they stay near
/// the first-level cache.
const PIXELS: usize = 192;

/// Values of all threads' sums up to which each of them sums the whole weight.
const SUMS: usize = 1 << 19;

/// Multiplications below which one thread does it all.
const SMALL: usize = 1 << 17;

/// Gradient with respect to the weight, summed over the images: `dw` in the weight's layout,
/// written completely. `x` and `dy` are contiguous, in `g`'s shapes; there must be outputs.
pub(in super::super) fn weight_grad_with(
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

/// A tap of the kernel and the outputs at which it lies within the image.
#[derive(Debug)]
struct Tap {
    /// Of the first output's row and column.
    y: isize,
    x: isize,
    rows: Range<usize>,
    cols: Range<usize>,
}

impl Tap {
    fn new(g: &Geometry, t: usize) -> Self {
        let (ky, kx) = (t / g.kw, t % g.kw);
        let (stride, padding, dilation) = (g.stride, g.padding, g.dilation);
        Self {
            y: (ky * dilation.0) as isize - padding.0 as isize,
            x: (kx * dilation.1) as isize - padding.1 as isize,
            rows: Geometry::valid(ky, g.h, g.out_h, stride.0, padding.0, dilation.0),
            cols: Geometry::valid(kx, g.w, g.out_w, stride.1, padding.1, dilation.1),
        }
    }
}

/// Rows of outputs of some images, and the rows of inputs that they see.
struct Band {
    images: Range<usize>,
    rows: Range<usize>,
    seen: Range<usize>,
}

impl Band {
    fn new(g: &Geometry, images: Range<usize>, rows: Range<usize>) -> Self {
        let top = (rows.start * g.stride.0).saturating_sub(g.padding.0);
        let last = (rows.end - 1) * g.stride.0 + (g.kh - 1) * g.dilation.0;
        let bottom = (last + 1).saturating_sub(g.padding.0).min(g.h);
        Self {
            images,
            rows,
            seen: top.min(bottom)..bottom,
        }
    }
}

/// How the band of images lies in the buffers: `[image][pixel][output channel of a block]`, and
/// `[panel][image][pixel][lane]` where a panel has a vector's lanes of input channels.
struct Turned {
    width: usize,
    dy_image: usize,
    x_image: usize,
    panel: usize,
}

impl Turned {
    #[inline(always)]
    fn turn_x<S: Simd>(
        &self,
        simd: S,
        g: &Geometry,
        band: &Band,
        group: usize,
        x: &[f32],
        to: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        for (p, c) in (0..g.group_in()).step_by(lanes).enumerate() {
            for (i, image) in band.images.clone().enumerate() {
                let channel = image * g.c_in + group * g.group_in() + c;
                let at = channel * g.in_plane() + band.seen.start * g.w;
                turn(
                    simd,
                    x.get(at..).unwrap_or_default(),
                    g.in_plane(),
                    lanes.min(g.group_in() - c),
                    band.seen.len() * g.w,
                    &mut to[p * self.panel + i * self.x_image..],
                    lanes,
                );
            }
        }
    }

    #[inline(always)]
    fn turn_dy<S: Simd>(
        &self,
        simd: S,
        g: &Geometry,
        band: &Band,
        (group, first): (usize, usize),
        dy: &[f32],
        to: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        for (i, image) in band.images.clone().enumerate() {
            for v in (0..self.width).step_by(lanes) {
                let channel = image * g.c_out + group * g.group_out() + first + v;
                let at = channel * g.out_plane() + band.rows.start * g.out_w;
                turn(
                    simd,
                    dy.get(at..).unwrap_or_default(),
                    g.out_plane(),
                    lanes.min(g.group_out().saturating_sub(first + v)),
                    band.rows.len() * g.out_w,
                    &mut to[i * self.dy_image + v..],
                    self.width,
                );
            }
        }
    }
}

/// Writes `pixels` columns of `channels` planes to `to`, `pitch` values apart, filled up with
/// zeros to a vector's lanes of channels.
#[inline(always)]
fn turn<S: Simd>(
    simd: S,
    from: &[f32],
    plane: usize,
    channels: usize,
    pixels: usize,
    to: &mut [f32],
    pitch: usize,
) {
    let lanes = S::F32_LANES;
    if pixels == 0 {
        return;
    }
    assert!(channels <= lanes);
    assert!(channels == 0 || (channels - 1) * plane + pixels <= from.len());
    assert!((pixels - 1) * pitch + lanes <= to.len());
    let mut p = 0;
    while p < pixels {
        let from = from.as_ptr().wrapping_add(p);
        let to = to.as_mut_ptr().wrapping_add(p * pitch);
        // SAFETY: the pixels from `p` on are readable in all channels and writable in `to`, as
        // was asserted.
        unsafe {
            if transpose::by_fours::<S>() && channels == lanes && p + 4 <= pixels {
                let vectors = transpose::four_columns(simd, from, plane);
                for (i, vector) in vectors.into_iter().enumerate() {
                    to.add(i * pitch).cast::<S::f32s>().write_unaligned(vector);
                }
                p += 4;
            } else {
                let vector = transpose::column(simd, from, plane, channels);
                to.cast::<S::f32s>().write_unaligned(vector);
                p += 1;
            }
        }
    }
}

/// A band of images and a block of output channels.
struct Job<'a> {
    g: &'a Geometry,
    taps: &'a [Tap],
    turned: &'a Turned,
    band: &'a Band,
    xs: &'a [f32],
    dys: &'a [f32],
}

impl Job<'_> {
    /// Adds the products of all input channels and taps, `C` channels at a time.
    #[inline(always)]
    fn run<S: Simd, const C: usize, const V: usize>(&self, simd: S, sums: &mut [f32]) {
        let Self {
            g,
            taps,
            turned,
            band,
            xs,
            dys,
        } = self;
        let lanes = S::F32_LANES;
        let (width, images) = (V * lanes, band.images.len());
        assert!(turned.width == width && lanes.is_multiple_of(C));
        let walk = Walk {
            images,
            dy_image: turned.dy_image,
            x_image: turned.x_image,
            dy_row: g.out_w * width,
            x_row: g.stride.0 * g.w * lanes,
            x_step: g.stride.1 * lanes,
            sum: taps.len() * width,
        };
        for c in (0..g.group_in()).step_by(C) {
            let xs = &xs[c / lanes * turned.panel + c % lanes..];
            for (t, tap) in taps.iter().enumerate() {
                let rows = tap.rows.start.max(band.rows.start)..tap.rows.end.min(band.rows.end);
                if rows.is_empty() || tap.cols.is_empty() {
                    continue;
                }
                let (last_row, last_col) = (rows.len() - 1, tap.cols.len() - 1);
                let dy = ((rows.start - band.rows.start) * g.out_w + tap.cols.start) * width;
                let y = (rows.start * g.stride.0).wrapping_add_signed(tap.y) - band.seen.start;
                let x = (tap.cols.start * g.stride.1).wrapping_add_signed(tap.x);
                let x = (y * g.w + x) * lanes;
                let dys = &dys[dy..];
                let from = &xs[x..];
                let to = &mut sums[(c * taps.len() + t) * width..];
                let image = images - 1;
                let dy_end =
                    image * walk.dy_image + last_row * walk.dy_row + (last_col + 1) * width;
                let x_end = image * walk.x_image + last_row * walk.x_row + last_col * walk.x_step;
                assert!(dy_end <= dys.len() && x_end + C <= from.len());
                assert!((C - 1) * walk.sum + width <= to.len());
                let size = (rows.len(), tap.cols.len());
                // SAFETY: the last places that it reads and writes exist, as was just asserted.
                unsafe {
                    walk.add::<S, C, V>(simd, size, from.as_ptr(), dys.as_ptr(), to.as_mut_ptr());
                }
            }
        }
    }
}

/// Distances in the turned images and in the sums.
struct Walk {
    images: usize,
    dy_image: usize,
    x_image: usize,
    dy_row: usize,
    /// Between what neighbouring rows and columns of outputs see.
    x_row: usize,
    x_step: usize,
    /// Of neighbouring input channels.
    sum: usize,
}

impl Walk {
    /// Adds the products of `C` input channels with `V` vectors of output channels over some rows
    /// and columns of all images.
    ///
    /// # Safety
    /// `x` must be readable for `C` values and `dy` for `V` vectors at each pixel, and `sums` be
    /// readable and writable for `V` vectors at each of `C` distances.
    #[inline(always)]
    unsafe fn add<S: Simd, const C: usize, const V: usize>(
        &self,
        simd: S,
        (rows, cols): (usize, usize),
        x: *const f32,
        dy: *const f32,
        sums: *mut f32,
    ) {
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); V]; C];
        for (c, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                let from = sums.wrapping_add(c * self.sum + v * lanes);
                // SAFETY: one of the sums.
                *acc = unsafe { from.cast::<S::f32s>().read_unaligned() };
            }
        }
        for i in 0..self.images {
            for r in 0..rows {
                let mut dy = dy.wrapping_add(i * self.dy_image + r * self.dy_row);
                let mut x = x.wrapping_add(i * self.x_image + r * self.x_row);
                for _ in 0..cols {
                    let mut d = [acc[0][0]; V];
                    for (v, d) in d.iter_mut().enumerate() {
                        let from = dy.wrapping_add(v * lanes);
                        // SAFETY: one of the pixel's vectors.
                        *d = unsafe { from.cast::<S::f32s>().read_unaligned() };
                    }
                    for (c, acc) in acc.iter_mut().enumerate() {
                        // SAFETY: one of the pixel's values.
                        let x = simd.splat_f32s(unsafe { *x.wrapping_add(c) });
                        for (acc, d) in acc.iter_mut().zip(d) {
                            *acc = simd.mul_add_f32s(d, x, *acc);
                        }
                    }
                    dy = dy.wrapping_add(V * lanes);
                    x = x.wrapping_add(self.x_step);
                }
            }
        }
        for (c, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                let to = sums.wrapping_add(c * self.sum + v * lanes);
                // SAFETY: one of the sums.
                unsafe { to.cast::<S::f32s>().write_unaligned(*acc) };
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
