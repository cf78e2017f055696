//! Which kernel computes a pass in `f32`, by the sizes of the convolution.

use pulp::{Arch, Simd, WithSimd};

use super::geometry::Geometry;

/// What the lanes of a vector hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// Output channels of a pixel: nothing is copied and no lane is lost on small maps.
    Channels,
    /// Pixels of an output channel: nothing is lost on few channels.
    Pixels,
}

/// For a convolution to `channels` channels in rows of `cols` pixels, which for a strided input
/// gradient are the pixels that share their taps.
///
/// Both kernels come near the peak of the machine where they fill their vectors: with the pixels
/// in the lanes, 64 channels of 56x56 take as long either way. What was measured beyond that:
/// copying rows with their padding costs a sixth of the time, and what a row loses at its end
/// about two pixels, by which maps of 8x8 take 1.8 times as long as with the channels in the
/// lanes. A single vector of channels is fed by as many loads as multiplications, and reaches
/// three quarters of what two do.
pub(super) fn convolution(arch: Arch, channels: usize, cols: usize) -> Lanes {
    let lanes = arch.dispatch(Count);
    let filled = 100 * channels / channels.next_multiple_of(lanes);
    let by_channels = match channels <= lanes {
        true => filled * 78 / 100,
        false => filled,
    };
    match by_channels >= 85 * cols / (cols + 2) {
        true => Lanes::Channels,
        false => Lanes::Pixels,
    }
}

/// For the gradient with respect to the weight.
///
/// With the pixels in the lanes their sums have to be added up for every weight, and maps that
/// are no multiple of a vector lose lanes. With the channels in them, as many output and eight
/// input channels are computed at least, which is only wrong for few of either, as in the first
/// layer or where groups are narrow.
pub(super) fn weight_grad(arch: Arch, g: &Geometry) -> Lanes {
    let lanes = arch.dispatch(Count);
    let filled =
        |channels: usize, step: usize| channels as f64 / channels.next_multiple_of(step) as f64;
    match filled(g.group_out(), lanes) * filled(g.group_in(), lanes.min(8)) > 0.6 {
        true => Lanes::Channels,
        false => Lanes::Pixels,
    }
}

/// The `f32` lanes of an instruction set.
struct Count;

impl WithSimd for Count {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
