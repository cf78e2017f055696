//! Convolutions whose groups have one input channel each (`groups == c_in`), without a matrix.
//!
//! Each plane is copied with its padding, and the kernel runs over the copy by whole vectors of
//! pixels: see [`planes`]. The gradient with respect to the input is the same computation with the
//! kernel turned round, on `dy` with zeros between its values where there is a stride.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::element::Element;
use super::geometry::Geometry;
use super::planes::{self, Window, load, store};
use super::workspace::{sized, with_workspace};

/// Multiplications below which one thread does it all.
const SMALL: usize = 1 << 17;

/// Bytes of the planes copied before the first is read.
const BATCH_BYTES: usize = 16 << 10;

/// Channels of which the weight gradient is summed together: their sums stay in the first-level
/// cache.
const CHANNELS: usize = 16;

/// The convolution without the bias; `y` is written completely.
pub fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
    forward_with(Arch::new(), g, x, w, y);
}

/// [`forward`] with a given instruction set.
pub fn forward_with<F: Element>(
    arch: Arch,
    g: &Geometry,
    x: &[F],
    w: &[F],
    y: &mut [MaybeUninit<F>],
) {
    let to = (g.out_h, g.out_w);
    let correlation = Correlation {
        from: x,
        size: (g.h, g.w),
        channels: (g.c_in, g.c_out),
        terms: 1,
        shared_by: g.group_out(),
        weights: w,
        spread: (1, 1),
        places: Places::forward(g),
        to,
    };
    arch.dispatch(All(&correlation, y));
}

/// Gradient with respect to the input; `dx` is written completely.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    input_grad_with(Arch::new(), g, dy, w, dx);
}

/// [`input_grad`] with a given instruction set.
pub fn input_grad_with<F: Element>(
    arch: Arch,
    g: &Geometry,
    dy: &[F],
    w: &[F],
    dx: &mut [MaybeUninit<F>],
) {
    let turned = w
        .chunks_exact(g.kh * g.kw)
        .flat_map(|kernel| kernel.iter().rev().copied())
        .collect::<Vec<_>>();
    let before = |k: usize, dilation: usize, padding: usize| {
        padding as isize - (dilation * (k - 1)) as isize
    };
    let spread = |out: usize, stride: usize| (out - 1) * stride + 1;
    let correlation = Correlation {
        from: dy,
        size: (g.out_h, g.out_w),
        channels: (g.c_out, g.c_in),
        terms: g.group_out(),
        shared_by: 1,
        weights: &turned,
        spread: g.stride,
        places: Places {
            kernel: (g.kh, g.kw),
            stride: (1, 1),
            dilation: g.dilation,
            first: (
                before(g.kh, g.dilation.0, g.padding.0),
                before(g.kw, g.dilation.1, g.padding.1),
            ),
            width: spread(g.out_w, g.stride.1),
            out: (g.h, g.w),
        },
        to: (g.h, g.w),
    };
    arch.dispatch(All(&correlation, dx));
}

/// Gradient with respect to the weight, summed over the images; `dw` is written completely.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    weight_grad_with(Arch::new(), g, x, dy, dw);
}

/// [`weight_grad`] with a given instruction set.
pub fn weight_grad_with<F: Element>(arch: Arch, g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    arch.dispatch(WeightGrad { g, x, dy, dw });
}

/// What decides where the taps of a kernel meet the pixels.
#[derive(Debug, Clone, Copy)]
struct Places {
    kernel: (usize, usize),
    stride: (usize, usize),
    dilation: (usize, usize),
    /// The first tap of the first output, in the source; negative in the padding.
    first: (isize, isize),
    /// Columns of the source.
    width: usize,
    out: (usize, usize),
}

impl Places {
    fn forward(g: &Geometry) -> Self {
        Self {
            kernel: (g.kh, g.kw),
            stride: g.stride,
            dilation: g.dilation,
            first: (-(g.padding.0 as isize), -(g.padding.1 as isize)),
            width: g.w,
            out: (g.out_h, g.out_w),
        }
    }
}

/// A source plane copied for vectors: one copy for each row and column that a stride visits.
struct Copies {
    windows: Vec<Window>,
    /// Distance of the copies.
    plane: usize,
    /// Where the taps lie.
    taps: Vec<usize>,
    /// Where, relative to the taps, the vectors lie; those of the outputs follow each other.
    vectors: Vec<usize>,
    /// Distance of the rows of the outputs; more than their width where vectors span rows.
    pitch: usize,
    /// Values of all copies, with what the last vectors read beyond them.
    len: usize,
    /// Values of the outputs, rounded up to vectors.
    outputs: usize,
}

impl Copies {
    fn new(p: &Places, lanes: usize) -> Self {
        let (row_firsts, row_places) = planes::axis(p.kernel.0, p.stride.0, p.dilation.0, false);
        let (column_firsts, column_places) =
            planes::axis(p.kernel.1, p.stride.1, p.dilation.1, false);
        let rows = p.out.0 + planes::reach(&row_places);
        let needed = p.out.1 + planes::reach(&column_places);
        let by_row = p.out.1.is_multiple_of(lanes);
        let pitch = if p.stride.1 == 1 && !by_row {
            // The zeros right of a row are those left of the next.
            let zeros = (-p.first.1).max(0) as usize;
            needed.min(
                p.out
                    .1
                    .max(p.width + zeros)
                    .max(needed.saturating_sub(zeros)),
            )
        } else {
            needed
        };
        let mut windows = Vec::new();
        for r in &row_firsts {
            for c in &column_firsts {
                windows.push(Window {
                    top: p.first.0 + *r as isize,
                    left: p.first.1 + *c as isize,
                    step: p.stride,
                    rows,
                    pitch,
                });
            }
        }
        let plane = rows * pitch;
        let mut taps = Vec::new();
        for (r, i) in &row_places {
            for (c, j) in &column_places {
                taps.push((r * column_firsts.len() + c) * plane + i * pitch + j);
            }
        }
        let out_pitch = if by_row { p.out.1 } else { pitch };
        let outputs = ((p.out.0 - 1) * out_pitch + p.out.1).next_multiple_of(lanes);
        let vectors: Vec<usize> = (0..outputs)
            .step_by(lanes)
            .map(|at| at / out_pitch * pitch + at % out_pitch)
            .collect();
        // How far the last vector of the last row may reach behind the planes.
        let len = windows.len() * plane + needed - pitch + 2 * lanes;
        Self {
            windows,
            plane,
            taps,
            vectors,
            pitch: out_pitch,
            len,
            outputs,
        }
    }

    /// Planes to copy before the first of them is read: a vector that several stores have written
    /// can be loaded only when they have reached the cache.
    #[inline(always)]
    fn batch<F>(&self) -> usize {
        (BATCH_BYTES / (self.len * size_of::<F>())).clamp(1, CHANNELS)
    }

    /// Copies the plane that lies `at` values behind the begin of `all`.
    #[inline(always)]
    fn copy<S: Simd, F: Element>(
        &self,
        simd: S,
        all: &[F],
        at: usize,
        size: (usize, usize),
        spread: (usize, usize),
        to: &mut [F],
    ) {
        assert!(to.len() >= self.len && 2 * F::lanes::<S>() <= self.len);
        for (i, window) in self.windows.iter().enumerate() {
            // SAFETY: the copies lie in `to`, with more than a vector behind the last.
            unsafe {
                let to = to.as_mut_ptr().add(i * self.plane);
                if spread == (1, 1) {
                    planes::copy(simd, all, at, size, *window, to);
                } else {
                    planes::spread(simd, all, at, size, *window, spread, to);
                }
            }
        }
        // Times zero it must not be NaN.
        let end = self.windows.len() * self.plane;
        let whole = (self.len - end) / F::lanes::<S>() * F::lanes::<S>();
        // SAFETY: whole vectors up to the end, the last of which may overlap the one before.
        unsafe {
            let end = to.as_mut_ptr().add(end);
            planes::zero(simd, end, whole);
            let last = to.as_mut_ptr().add(self.len - F::lanes::<S>());
            planes::zero(simd, last, 1);
        }
    }
}

/// A sum of correlations of planes with kernels, for every channel of the result.
struct Correlation<'a, F> {
    from: &'a [F],
    /// Of a plane of `from`.
    size: (usize, usize),
    /// Of `from` and of the result.
    channels: (usize, usize),
    /// Kernels of a channel of the result, one after the other in `weights`.
    terms: usize,
    /// Kernels that read the same channel of `from`.
    shared_by: usize,
    weights: &'a [F],
    /// Distance of the values of `from` when zeros are put between them.
    spread: (usize, usize),
    places: Places,
    /// Size of a plane of the result.
    to: (usize, usize),
}

/// Computes all of a correlation.
struct All<'a, F>(&'a Correlation<'a, F>, &'a mut [MaybeUninit<F>]);

impl<F: Element> WithSimd for All<'_, F> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self(correlation, to) = self;
        let plane = correlation.to.0 * correlation.to.1;
        if plane == 0 {
            return;
        }
        let lanes = F::lanes::<S>();
        let copies = &Copies::new(&correlation.places, lanes);
        let all = to.len() / plane;
        let taps = copies.taps.len();
        let tasks = if to.len() * taps < SMALL {
            1
        } else {
            4 * rayon::current_num_threads()
        };
        let share = all.div_ceil(tasks).max(1);
        let some = |(i, to): (usize, &mut [MaybeUninit<F>])| {
            with_workspace(|buffer| {
                let buffer = sized(buffer, copies.batch::<F>() * (copies.len + copies.outputs));
                simd.vectorize(Part {
                    correlation,
                    copies,
                    first: i * share,
                    to,
                    buffer,
                });
            });
        };
        if tasks == 1 {
            some((0, to));
        } else {
            to.par_chunks_mut(share * plane).enumerate().for_each(some);
        }
    }
}

/// Computes some planes of a correlation.
struct Part<'a, F> {
    correlation: &'a Correlation<'a, F>,
    copies: &'a Copies,
    first: usize,
    to: &'a mut [MaybeUninit<F>],
    buffer: &'a mut [F],
}

impl<F: Element> WithSimd for Part<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            correlation: c,
            copies,
            first,
            to,
            buffer,
        } = self;
        let plane = c.to.0 * c.to.1;
        let (copy, sums) = buffer.split_at_mut(copies.batch::<F>() * copies.len);
        let direct = copies.outputs == plane && copies.pitch == c.to.1;
        let taps = copies.taps.len();
        for (i, to) in to.chunks_mut(copies.batch::<F>() * plane).enumerate() {
            let first = first + i * copies.batch::<F>();
            let count = to.len() / plane;
            let to = to.as_mut_ptr().cast::<F>();
            let (out, distance) = if direct {
                (to, plane)
            } else {
                (sums.as_mut_ptr(), copies.outputs)
            };
            for term in 0..c.terms {
                let kernel = |i: usize| (first + i) % c.channels.1 * c.terms + term;
                for (i, copy) in copy.chunks_exact_mut(copies.len).enumerate().take(count) {
                    let image = (first + i) / c.channels.1;
                    let source = image * c.channels.0 + kernel(i) / c.shared_by;
                    let at = source * c.size.0 * c.size.1;
                    copies.copy(simd, c.from, at, c.size, c.spread, copy);
                }
                for (i, copy) in copy.chunks_exact(copies.len).enumerate().take(count) {
                    let weights = &c.weights[kernel(i) * taps..][..taps];
                    // SAFETY: the copy holds a vector at each place and tap, and there is room
                    // for the outputs, either in the buffer or, if they fill whole vectors, in
                    // the plane.
                    unsafe {
                        let out = out.add(i * distance);
                        correlate(simd, copies, copy.as_ptr(), weights, out, term > 0);
                    }
                }
            }
            if !direct {
                for i in 0..count {
                    // SAFETY: `plane` values, row by row.
                    unsafe {
                        let sums = sums.as_ptr().add(i * copies.outputs);
                        unpitch::<S, F>(sums, copies.pitch, c.to, to.add(i * plane));
                    }
                }
            }
        }
    }
}

/// Copies rows of distance `pitch` to a plane without gaps.
///
/// # Safety
/// `from` must hold the rows and less than a vector more, and `to` be valid for writing a plane.
#[inline(always)]
unsafe fn unpitch<S: Simd, F: Element>(
    from: *const F,
    pitch: usize,
    (h, w): (usize, usize),
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    for i in 0..h {
        // SAFETY: whole vectors only where they end within the plane; rows are written in order,
        // so that the next one overwrites what is too much.
        unsafe {
            let (from, to) = (from.add(i * pitch), to.add(i * w));
            if i * w + w.next_multiple_of(lanes) <= h * w {
                for j in (0..w).step_by(lanes) {
                    store::<S, F>(to.add(j), load::<S, F>(from.add(j)));
                }
            } else {
                to.copy_from_nonoverlapping(from, w);
            }
        }
    }
}

/// Runs `$run!(n)` for the next `n` of `$left` taps until none are left: as many as registers
/// hold, in few different numbers, each of which is compiled.
macro_rules! by_registers {
    ($vector:ty, $left:expr, $run:ident) => {
        while $left > 0 {
            if $left >= 25 && size_of::<$vector>() == 64 {
                $run!(25);
            } else if $left >= 9 {
                $run!(9);
            } else if $left >= 5 {
                $run!(5);
            } else if $left >= 3 {
                $run!(3);
            } else {
                $run!(1);
            }
        }
    };
}

/// The sums of all taps, weighted, at all places; added to `to` or put there.
///
/// # Safety
/// `x` must hold a vector at every place and tap, and `to` one for each place.
#[inline(always)]
unsafe fn correlate<S: Simd, F: Element>(
    simd: S,
    copies: &Copies,
    x: *const F,
    weights: &[F],
    to: *mut F,
    add: bool,
) {
    let mut done = 0;
    let mut left = copies.taps.len();
    macro_rules! run {
        ($n:literal) => {{
            // SAFETY: the caller's promise.
            unsafe {
                let mut taps = [x; $n];
                let mut splats = [F::splat(simd, F::ZERO); $n];
                for k in 0..$n {
                    taps[k] = x.add(copies.taps[done + k]);
                    splats[k] = F::splat(simd, weights[done + k]);
                }
                if add || done > 0 {
                    correlate_taps::<S, F, $n, true>(simd, &copies.vectors, taps, splats, to);
                } else {
                    correlate_taps::<S, F, $n, false>(simd, &copies.vectors, taps, splats, to);
                }
            }
            done += $n;
            left -= $n;
        }};
    }
    by_registers!(F::Vector<S>, left, run);
}

/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn correlate_taps<S: Simd, F: Element, const N: usize, const ADD: bool>(
    simd: S,
    places: &[usize],
    taps: [*const F; N],
    weights: [F::Vector<S>; N],
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    for (v, place) in places.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let to = to.add(v * lanes);
            let mut sum = if ADD {
                load::<S, F>(to)
            } else {
                F::splat(simd, F::ZERO)
            };
            for (tap, weight) in taps.iter().zip(weights) {
                sum = F::mul_add(simd, load::<S, F>(tap.add(*place)), weight, sum);
            }
            store::<S, F>(to, sum);
        }
    }
}

struct WeightGrad<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    dw: &'a mut [F],
}

impl<F: Element> WithSimd for WeightGrad<'_, F> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, x, dy, dw } = self;
        if dy.is_empty() {
            dw.fill(F::ZERO);
            return;
        }
        let lanes = F::lanes::<S>();
        let copies = &Copies::new(&Places::forward(g), lanes);
        let taps = copies.taps.len();
        let some = |(i, dw): (usize, &mut [F])| {
            let channels = i * CHANNELS..i * CHANNELS + dw.len() / taps;
            with_workspace(|buffer| {
                let planes = copies.batch::<F>() * (copies.len + copies.outputs + lanes);
                let len = planes + channels.len() * taps * lanes;
                let buffer = sized(buffer, len);
                simd.vectorize(WeightSums {
                    g,
                    x,
                    dy,
                    copies,
                    channels,
                    dw,
                    buffer,
                });
            });
        };
        if g.n * g.out_plane() * dw.len() < SMALL {
            dw.chunks_mut(CHANNELS * taps).enumerate().for_each(some);
        } else {
            dw.par_chunks_mut(CHANNELS * taps)
                .enumerate()
                .for_each(some);
        }
    }
}

/// The weight gradient of some output channels.
struct WeightSums<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    copies: &'a Copies,
    channels: Range<usize>,
    dw: &'a mut [F],
    buffer: &'a mut [F],
}

impl<F: Element> WithSimd for WeightSums<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            g,
            x,
            dy,
            copies,
            channels,
            dw,
            buffer,
        } = self;
        let lanes = F::lanes::<S>();
        let taps = copies.taps.len();
        let batch = copies.batch::<F>();
        let dy_len = copies.outputs + lanes;
        let (copy, buffer) = buffer.split_at_mut(batch * copies.len);
        let (dy_copy, sums) = buffer.split_at_mut(batch * dy_len);
        sums.fill(F::ZERO);
        let direct = copies.outputs == g.out_plane() && copies.pitch == g.out_w;
        for image in 0..g.n {
            for start in channels.clone().step_by(batch) {
                let batch = batch.min(channels.end - start);
                for i in 0..batch {
                    let at = (image * g.c_in + (start + i) / g.group_out()) * g.in_plane();
                    let to = &mut copy[i * copies.len..][..copies.len];
                    copies.copy(simd, x, at, (g.h, g.w), (1, 1), to);
                    if !direct {
                        let dy = &dy[(image * g.c_out + start + i) * g.out_plane()..];
                        pitched(
                            simd,
                            dy,
                            g,
                            copies.pitch,
                            &mut dy_copy[i * dy_len..][..dy_len],
                        );
                    }
                }
                for i in 0..batch {
                    let dy = if direct {
                        &dy[(image * g.c_out + start + i) * g.out_plane()..][..g.out_plane()]
                    } else {
                        &dy_copy[i * dy_len..][..dy_len]
                    };
                    let x = &copy[i * copies.len..][..copies.len];
                    let channel = start - channels.start + i;
                    let sums = &mut sums[channel * taps * lanes..][..taps * lanes];
                    // SAFETY: `x` holds a vector at each place and tap, `dy` one for each place
                    // and `sums` one for each tap.
                    unsafe {
                        accumulate(simd, copies, x.as_ptr(), dy.as_ptr(), sums.as_mut_ptr());
                    }
                }
            }
        }
        for (dw, sum) in dw.iter_mut().zip(sums.chunks_exact(lanes)) {
            // SAFETY: the chunk is a vector.
            *dw = F::reduce_sum(simd, unsafe { load::<S, F>(sum.as_ptr()) });
        }
    }
}

/// Copies a plane of `dy` to rows with zeros between them, up to a whole vector.
#[inline(always)]
fn pitched<S: Simd, F: Element>(simd: S, dy: &[F], g: &Geometry, pitch: usize, to: &mut [F]) {
    let room = to.len();
    let used = (g.out_h - 1) * pitch + g.out_w;
    for r in 0..g.out_h {
        let from = &dy[r * g.out_w..];
        let start = r * pitch;
        assert!(start + g.out_w.next_multiple_of(F::lanes::<S>()) <= room);
        // SAFETY: the room was just checked; what overshoots is overwritten by zeros and by the
        // next row.
        unsafe {
            let to = to.as_mut_ptr().add(start);
            planes::gather(simd, from, 1, g.out_w, to);
            if r + 1 < g.out_h {
                assert!(start + pitch + F::lanes::<S>() <= room);
                planes::zero(simd, to.add(g.out_w), pitch - g.out_w);
            }
        }
    }
    to[used..].fill(F::ZERO);
}

/// Adds the products of `dy` with each tap of `x` to the tap's vector of sums.
///
/// # Safety
/// `x` must hold a vector at every place and tap, `dy` one for each place, `sums` for each tap.
#[inline(always)]
unsafe fn accumulate<S: Simd, F: Element>(
    simd: S,
    copies: &Copies,
    x: *const F,
    dy: *const F,
    sums: *mut F,
) {
    let lanes = F::lanes::<S>();
    let mut done = 0;
    let mut left = copies.taps.len();
    macro_rules! run {
        ($n:literal) => {{
            // SAFETY: the caller's promise.
            unsafe {
                let mut taps = [x; $n];
                for k in 0..$n {
                    taps[k] = x.add(copies.taps[done + k]);
                }
                let sums = sums.add(done * lanes);
                accumulate_taps::<S, F, $n>(simd, &copies.vectors, taps, dy, sums);
            }
            done += $n;
            left -= $n;
        }};
    }
    by_registers!(F::Vector<S>, left, run);
}

/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn accumulate_taps<S: Simd, F: Element, const N: usize>(
    simd: S,
    places: &[usize],
    taps: [*const F; N],
    dy: *const F,
    sums: *mut F,
) {
    let lanes = F::lanes::<S>();
    let mut totals = [F::splat(simd, F::ZERO); N];
    for (v, place) in places.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let d = load::<S, F>(dy.add(v * lanes));
            for (total, tap) in totals.iter_mut().zip(taps) {
                *total = F::mul_add(simd, load::<S, F>(tap.add(*place)), d, *total);
            }
        }
    }
    for (k, total) in totals.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = sums.add(k * lanes);
            store::<S, F>(
                sum,
                <F as crate::simd::Real>::add(simd, load::<S, F>(sum), total),
            );
        }
    }
}
