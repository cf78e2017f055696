//! The innermost loops: a tile of output channels by vectors of outputs, in registers.
//!
//! ```text
//! sums[MR][NR] = bias                         // MR * NR registers
//! for c in source channels
//!     for tap in the kernel                   // weights of a block: L1 or L2, read in order
//!         x[NR] = source[c][slot + tap]       // NR registers, from the band: L2
//!         for m in MR
//!             sums[m] += weights[c][tap][m] * x   // one broadcast for NR multiply-adds
//! ```

use pulp::Simd;

/// What a tile reads.
#[derive(Clone, Copy)]
pub struct TileSource<'a, const NR: usize> {
    pub channels: usize,
    /// Distance between channels in the band.
    pub channel: usize,
    /// Positions of the taps, relative to the positions of the vectors.
    pub taps: &'a [usize],
    /// Positions of the vectors in the first channel.
    pub src: [*const f32; NR],
    /// `[channel][tap][MR]`
    pub weights: *const f32,
}

/// The sum over channels and taps for `MR` output channels and `NR` vectors, from `init` on.
///
/// # Safety
/// - `weights` must hold `channels * taps.len() * MR` values;
/// - for every channel `c < channels`, tap `t` and vector `v`, a vector must be readable at
///   `src[v] + c * channel + t`.
#[inline(always)]
pub unsafe fn tile<S: Simd, const MR: usize, const NR: usize>(
    simd: S,
    source: TileSource<NR>,
    init: [f32; MR],
) -> [[S::f32s; NR]; MR] {
    let TileSource {
        channels,
        channel,
        taps,
        src,
        mut weights,
    } = source;
    let mut sums = [[simd.splat_f32s(0.0); NR]; MR];
    for (sums, init) in sums.iter_mut().zip(init) {
        *sums = [simd.splat_f32s(init); NR];
    }
    for c in 0..channels {
        for tap in taps {
            let at = c * channel + tap;
            let mut values = [sums[0][0]; NR];
            for (value, src) in values.iter_mut().zip(src) {
                // SAFETY: readable, as the caller guarantees.
                *value = unsafe { src.add(at).cast::<S::f32s>().read_unaligned() };
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                // SAFETY: one of the values that the caller guarantees.
                let weight = simd.splat_f32s(unsafe { *weights.add(m) });
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_f32s(weight, value, *sum);
                }
            }
            // SAFETY: at most one past the last of them.
            weights = unsafe { weights.add(MR) };
        }
    }
    sums
}
