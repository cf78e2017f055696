//! Sums of correlations of planes with kernels: the forward pass and the input's gradient.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::element::Element;
use super::super::planes::{load, store};
use super::super::workspace::{sized, with_workspace};
use super::copies::{Copies, Places};
use super::{SMALL, by_registers};

/// A sum of correlations of planes with kernels, for every channel of the result.
pub(super) struct Correlation<'a, F> {
    pub(super) from: &'a [F],
    /// Of a plane of `from`.
    pub(super) size: (usize, usize),
    /// Of `from` and of the result.
    pub(super) channels: (usize, usize),
    /// Kernels of a channel of the result, one after the other in `weights`.
    pub(super) terms: usize,
    /// Kernels that read the same channel of `from`.
    pub(super) shared_by: usize,
    pub(super) weights: &'a [F],
    /// Distance of the values of `from` when zeros are put between them.
    pub(super) spread: (usize, usize),
    pub(super) places: Places,
    /// Size of a plane of the result.
    pub(super) to: (usize, usize),
}

/// Computes all of a correlation.
pub(super) struct All<'a, F>(
    pub(super) &'a Correlation<'a, F>,
    pub(super) &'a mut [MaybeUninit<F>],
);

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
