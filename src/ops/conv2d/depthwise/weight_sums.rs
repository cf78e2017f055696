//! The weight gradient of depthwise convolutions.
//!
//! ```text
//! for CHANNELS = 16 output channels                       // threads
//!     sums[channel][tap] = 0                              // vectors; L1
//!     for image
//!         for batch of channels                           // BATCH_BYTES: L1
//!             copy x with its padding, and dy if its rows do not fill vectors
//!             for channel of the batch
//!                 for N taps of the kernel                // N <= 25 or 9: sums in registers
//!                     for vector of outputs
//!                         for tap in N
//!                             sum[tap] += x[tap + vector] * dy[vector]
//!     dw[channel][tap] = sum of the lanes of sums[channel][tap]
//! ```

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::element::Element;
use super::super::geometry::Geometry;
use super::super::pack::planes::{self, Plane, load, store};
use super::super::workspace::{sized, with_workspace};
use super::padded::{CHANNELS, PaddedCopies, TapPositions};
use super::registers::by_registers;

/// The sums over images and pixels for every tap. There must be images.
pub struct WeightGrad<'a, F> {
    pub g: &'a Geometry,
    pub x: &'a [F],
    pub dy: &'a [F],
    pub dw: &'a mut [F],
}

impl<F: Element> WithSimd for WeightGrad<'_, F> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, x, dy, dw } = self;
        let lanes = F::lanes::<S>();
        let copies = &PaddedCopies::new(&TapPositions::forward(g), lanes);
        let taps = copies.taps.len();
        let some = |(i, dw): (usize, &mut [F])| {
            let channels = i * CHANNELS..i * CHANNELS + dw.len() / taps;
            with_workspace(|buffer| {
                let planes = copies.batch::<F>() * (copies.len + copies.outputs + lanes);
                let len = planes + channels.len() * taps * lanes;
                let buffer = sized(buffer, len);
                simd.vectorize(ChannelSums {
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
        if g.multiplications() < ONE_THREAD {
            dw.chunks_mut(CHANNELS * taps).enumerate().for_each(some);
        } else {
            dw.par_chunks_mut(CHANNELS * taps)
                .enumerate()
                .for_each(some);
        }
    }
}

/// The weight gradient of some output channels.
struct ChannelSums<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    copies: &'a PaddedCopies,
    channels: Range<usize>,
    dw: &'a mut [F],
    buffer: &'a mut [F],
}

impl<F: Element> WithSimd for ChannelSums<'_, F> {
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
                    let plane = Plane {
                        all: x,
                        at: (image * g.c_in + (start + i) / g.group_out()) * g.in_plane(),
                        size: (g.h, g.w),
                    };
                    let to = &mut copy[i * copies.len..][..copies.len];
                    copies.copy(simd, plane, (1, 1), to);
                    if !direct {
                        let dy = &dy[(image * g.c_out + start + i) * g.out_plane()..];
                        let to = &mut dy_copy[i * dy_len..][..dy_len];
                        add_pitch(simd, dy, g, copies.pitch, to);
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
                    // SAFETY: `x` holds a vector at each position and tap, `dy` one for each
                    // position and `sums` one for each tap.
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

/// Copies a plane of dy to rows `pitch` values apart with zeros between them, up to a whole vector.
#[inline(always)]
fn add_pitch<S: Simd, F: Element>(simd: S, dy: &[F], g: &Geometry, pitch: usize, to: &mut [F]) {
    let room = to.len();
    let used = (g.out_h - 1) * pitch + g.out_w;
    for r in 0..g.out_h {
        let from = &dy[r * g.out_w..];
        let start = r * pitch;
        assert!(start + g.out_w.next_multiple_of(F::lanes::<S>()) <= room);
        // SAFETY: the room was just checked. Zeros and the next row overwrite the excess.
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
/// `x` must hold a vector at every position and tap, `dy` one for each position, `sums` one for
/// each tap.
#[inline(always)]
unsafe fn accumulate<S: Simd, F: Element>(
    simd: S,
    copies: &PaddedCopies,
    x: *const F,
    dy: *const F,
    sums: *mut F,
) {
    let lanes = F::lanes::<S>();
    let mut done = 0;
    let mut left = copies.taps.len();
    macro_rules! run {
        ($n:literal) => {{
            // SAFETY: guaranteed by the caller.
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

/// The microkernel: `N` taps at all positions.
///
/// # Safety
/// As for [`accumulate`].
#[inline(always)]
unsafe fn accumulate_taps<S: Simd, F: Element, const N: usize>(
    simd: S,
    positions: &[usize],
    taps: [*const F; N],
    dy: *const F,
    sums: *mut F,
) {
    let lanes = F::lanes::<S>();
    let mut totals = [F::splat(simd, F::ZERO); N];
    for (v, position) in positions.iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let d = load::<S, F>(dy.add(v * lanes));
            for (total, tap) in totals.iter_mut().zip(taps) {
                *total = F::mul_add(simd, load::<S, F>(tap.add(*position)), d, *total);
            }
        }
    }
    for (k, total) in totals.into_iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let sum = sums.add(k * lanes);
            store::<S, F>(
                sum,
                <F as crate::simd::Real>::add(simd, load::<S, F>(sum), total),
            );
        }
    }
}
