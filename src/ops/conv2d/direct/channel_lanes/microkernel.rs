//! The innermost loops: a tile of pixels by vectors of output channels, in registers.
//!
//! ```text
//! acc[P][V] = sums                            // P * V registers
//! for tap in taps                             // of a run: at most the kernel's
//!     for c in source channels                // of a pass through the weights: see runs.rs
//!         w[V] = weights[tap][c]              // V registers, from L1
//!         for p in P
//!             acc[p] += w * x[c][p + tap]     // one broadcast for V multiply-adds
//! sums = acc
//! ```
//!
//! Tiles have at most 24 sums with 32 registers (AVX-512, NEON) and 12 with 16 (AVX2). The rest
//! holds the weights and the broadcast value.

use pulp::Simd;

use super::super::super::pair_products::{self, Segment};
use super::super::super::products::{Product, RegisterTile};
use super::super::runs::{RowTap, Run};

/// Source channels in memory.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The first channel.
    pub at: *const f32,
    pub channels: usize,
    /// Distance between channels.
    pub channel: usize,
    /// Distance between neighbouring pixels.
    pub step: usize,
}

/// Source channels of one image, the weights for them, and the sums.
pub struct Accumulation<'a> {
    pub source: Source,
    pub taps: &'a [RowTap],
    pub weights: *const f32,
    pub sums: *mut f32,
}

impl Accumulation<'_> {
    /// Adds the products of a run, in tiles of `vectors` vectors.
    ///
    /// # Safety
    /// The taps of the run must be within the source and the weights, and its pixels within the
    /// sums.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(&self, simd: S, run: &Run, vectors: usize) {
        let mut source = self.source;
        source.at = source.at.wrapping_add(run.column);
        let taps = &self.taps[run.taps.0..run.taps.1];
        let sums = self.sums.wrapping_add(run.at);
        macro_rules! sizes {
            ($(($v:literal: $($p:literal)*))*) => {
                match (vectors, run.pixels) {
                    $($(($v, $p) => {
                        // SAFETY: guaranteed by the caller.
                        unsafe { tile::<S, $p, $v>(simd, taps, source, self.weights, sums) }
                    })*)*
                    (v, p) => unreachable!("no tile of {p} pixels by {v} vectors"),
                }
            };
        }
        sizes! {
            (1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
            (2: 1 2 3 4 5 6 7 8)
            (3: 1 2 3 4 5 6 7 8)
            (4: 1 2 3 4 5 6)
        }
    }

    /// As [`Self::add`], for words of two source channels in the source and in the weights.
    ///
    /// # Safety
    /// As for [`Self::add`].
    #[inline(always)]
    pub unsafe fn add_pairs<S: Simd>(&self, simd: S, run: &Run, vectors: usize) {
        let source = self.source;
        let width = vectors * S::F32_LANES;
        let tile = RegisterTile::of_pairs(vectors, run.pixels);
        let product = Product {
            rows: run.pixels,
            depth: source.channels,
            a: source.at.wrapping_add(run.column),
            a_row: source.step,
            a_step: source.channel,
            b: self.weights,
            b_row: width,
            to: self.sums.wrapping_add(run.at),
            to_row: width,
            accumulate: true,
        };
        let taps = self.taps[run.taps.0..run.taps.1].iter();
        let segments = taps.map(|tap| Segment {
            a: tap.src,
            b: tap.weights as isize,
        });
        // SAFETY: guaranteed by the caller.
        unsafe { pair_products::compute_segments(simd, &product, tile, segments) };
    }
}

/// Adds the products of some taps to `sums`, `[P][V vectors]`.
///
/// # Safety
/// - `sums` must hold `P * V` vectors;
/// - each tap must have `source.channels * V` vectors from its position in `weights` on;
/// - for each tap `t`, channel `c` and pixel `p < P`, the value at
///   `source.at + t.src + c * channel + p * step` must be readable.
#[inline(always)]
unsafe fn tile<S: Simd, const P: usize, const V: usize>(
    simd: S,
    taps: &[RowTap],
    source: Source,
    weights: *const f32,
    sums: *mut f32,
) {
    let lanes = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); V]; P];
    for (p, acc) in acc.iter_mut().enumerate() {
        for (v, acc) in acc.iter_mut().enumerate() {
            // SAFETY: one of the `P * V` vectors.
            *acc = unsafe { load(sums.add((p * V + v) * lanes)) };
        }
    }
    for tap in taps {
        let mut src = source.at.wrapping_offset(tap.src);
        let mut weights = weights.wrapping_add(tap.weights);
        for _ in 0..source.channels {
            let mut w = [acc[0][0]; V];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: one of the tap's vectors.
                *w = unsafe { load(weights.add(v * lanes)) };
            }
            for (p, acc) in acc.iter_mut().enumerate() {
                // SAFETY: readable, as the caller guarantees.
                let x = simd.splat_f32s(unsafe { *src.wrapping_add(p * source.step) });
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = simd.mul_add_f32s(w, x, *acc);
                }
            }
            src = src.wrapping_add(source.channel);
            weights = weights.wrapping_add(V * lanes);
        }
    }
    for (p, acc) in acc.iter().enumerate() {
        for (v, acc) in acc.iter().enumerate() {
            let to = sums.wrapping_add((p * V + v) * lanes);
            // SAFETY: one of the `P * V` vectors.
            unsafe { to.cast::<S::f32s>().write_unaligned(*acc) };
        }
    }
}

/// Loads a vector; it need not be aligned.
///
/// # Safety
/// It must be readable.
#[inline(always)]
unsafe fn load<V: Copy>(from: *const f32) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe { from.cast::<V>().read_unaligned() }
}
