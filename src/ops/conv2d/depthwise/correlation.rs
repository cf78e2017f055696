//! Sums of correlations of planes with kernels: the convolution and its input gradient.
//!
//! ```text
//! for some planes of the result                       // threads
//!     for batch of planes                             // BATCH_BYTES: L1
//!         for term                                    // output channels of a group, for dx
//!             copy the source planes with their padding
//!             for plane of the batch
//!                 for N taps of the kernel            // N <= 25 or 9: weights in registers
//!                     for vector of outputs
//!                         sum = 0, or the sum of the taps before
//!                         for tap in N
//!                             sum += copy[tap + vector] * weight[tap]
//!                         outputs[vector] = sum
//!         copy the outputs to the plane, unless they were written there directly
//! ```

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::element::Element;
use super::super::inference::Finish;
use super::super::pack::planes::{Plane, load, store};
use super::super::workspace::{sized, with_workspace};
use super::padded::{PaddedCopies, TapPositions};
use super::registers::by_registers;

/// A sum of correlations of planes with kernels, for every channel of the result.
pub struct Correlation<'a, F> {
    pub from: &'a [F],
    /// Size of a plane of `from`.
    pub size: (usize, usize),
    /// Channels of `from` and of the result.
    pub channels: (usize, usize),
    /// Kernels of a channel of the result, contiguous in `weights`.
    pub terms: usize,
    /// Kernels that read the same channel of `from`.
    pub shared_by: usize,
    pub weights: &'a [F],
    /// Distance between the values of `from` after zeros are inserted.
    pub spread: (usize, usize),
    pub positions: TapPositions,
    /// Size of a plane of the result.
    pub to: (usize, usize),
    /// Changes the results as soon as they are computed.
    pub finish: Option<&'a dyn Finish>,
}

/// A correlation and its result, which must not be empty.
pub struct All<'a, F>(pub &'a Correlation<'a, F>, pub &'a mut [MaybeUninit<F>]);

impl<F: Element> WithSimd for All<'_, F> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self(correlation, to) = self;
        let plane = correlation.to.0 * correlation.to.1;
        let lanes = F::lanes::<S>();
        let copies = &PaddedCopies::new(&correlation.positions, lanes);
        let all = to.len() / plane;
        let taps = copies.taps.len();
        let tasks = if to.len().saturating_mul(taps) < ONE_THREAD {
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
    copies: &'a PaddedCopies,
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
                    let plane = Plane {
                        all: c.from,
                        at: source * c.size.0 * c.size.1,
                        size: c.size,
                    };
                    copies.copy(simd, plane, c.spread, copy);
                }
                for (i, copy) in copy.chunks_exact(copies.len).enumerate().take(count) {
                    let weights = &c.weights[kernel(i) * taps..][..taps];
                    // SAFETY: the copy holds a vector at each position and tap. There is room for
                    // the outputs: in the buffer or, if they fill whole vectors, in the plane.
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
                        remove_pitch::<S, F>(sums, copies.pitch, c.to, to.add(i * plane));
                    }
                }
            }
            // SAFETY: the results of this batch, all of which are written.
            let outputs = unsafe { std::slice::from_raw_parts_mut(to, count * plane) };
            if let (Some(finish), Some(outputs)) = (c.finish, F::as_f32_mut(outputs)) {
                for (i, outputs) in outputs.chunks_exact_mut(plane).enumerate() {
                    finish.finish((first + i) * plane, outputs);
                }
            }
        }
    }
}

/// Copies rows that are `pitch` values apart to a contiguous plane.
///
/// # Safety
/// `from` must hold the rows and less than a vector more, and `to` be valid for writing a plane.
#[inline(always)]
unsafe fn remove_pitch<S: Simd, F: Element>(
    from: *const F,
    pitch: usize,
    (h, w): (usize, usize),
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    for i in 0..h {
        // SAFETY: whole vectors only if they end within the plane. Rows are written in order, so
        // the next row overwrites the excess.
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

/// Writes the weighted sums of all taps at all positions to `to`, or adds them.
///
/// # Safety
/// `x` must hold a vector at every position and tap, and `to` one for each position.
#[inline(always)]
unsafe fn correlate<S: Simd, F: Element>(
    simd: S,
    copies: &PaddedCopies,
    x: *const F,
    weights: &[F],
    to: *mut F,
    add: bool,
) {
    let mut done = 0;
    let mut left = copies.taps.len();
    macro_rules! run {
        ($n:literal) => {{
            // SAFETY: guaranteed by the caller.
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

/// The microkernel: `N` taps at all positions.
///
/// # Safety
/// As for [`correlate`].
#[inline(always)]
unsafe fn correlate_taps<S: Simd, F: Element, const N: usize, const ADD: bool>(
    simd: S,
    positions: &[usize],
    taps: [*const F; N],
    weights: [F::Vector<S>; N],
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    for (v, position) in positions.iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let to = to.add(v * lanes);
            let mut sum = if ADD {
                load::<S, F>(to)
            } else {
                F::splat(simd, F::ZERO)
            };
            for (tap, weight) in taps.iter().zip(weights) {
                sum = F::mul_add(simd, load::<S, F>(tap.add(*position)), weight, sum);
            }
            store::<S, F>(to, sum);
        }
    }
}
