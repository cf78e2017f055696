//! What a convolution has besides its arguments.

use super::bounded::Bounded;
use super::fp32_precision::Fp32Precision;
use super::pack::packed_weight::PackedWeight;
use crate::ops::memory_format::MemoryFormat;

/// What a convolution has besides its arguments, mostly for inference.
#[derive(Clone, Copy, Default)]
pub struct Inference<'a> {
    /// Keeps the packed weight between calls.
    pub packed: Option<&'a PackedWeight>,
    /// Changes the outputs while they are in the cache.
    pub finish: Option<&'a dyn Finish>,
    /// The order of the result.
    pub format: MemoryFormat,
    /// How it multiplies.
    pub precision: Fp32Precision,
}

/// Changes outputs of a convolution as soon as they are computed.
///
/// A separate pass would read and write all outputs again, from memory.
pub trait Finish: Sync {
    /// Changes neighbouring outputs of one plane. The first of them has the index `at` in the
    /// contiguous result. Each output is given once.
    fn finish(&self, at: usize, outputs: &mut [f32]);

    /// The change as an affine function with bounds, if it is one and the result is channels-last.
    fn bounded(&self) -> Option<Bounded<'_>>;

    /// Writes the changed outputs to a channels-last result, `to`.
    ///
    /// # Safety
    /// The places of the outputs must be within the result, and no other thread may access them.
    unsafe fn write_pixels(&self, sums: PixelSums, to: *mut f32);
}

/// Outputs of neighbouring pixels, and their places in a channels-last result.
#[derive(Clone, Copy)]
pub struct PixelSums<'a> {
    /// The outputs: `channels` of every `width` values.
    pub sums: &'a [f32],
    /// Distance between the pixels of `sums`.
    pub width: usize,
    /// The first channel of all channels of the result.
    pub first: usize,
    pub channels: usize,
    pub pixels: usize,
    /// The place of the first output.
    pub at: usize,
    /// Distance between pixels of the result.
    pub pitch: usize,
}

impl PixelSums<'_> {
    /// Panics if the outputs are not within `sums`.
    #[inline(always)]
    pub fn check(&self) {
        assert!(
            self.pixels == 0 || (self.pixels - 1) * self.width + self.channels <= self.sums.len()
        );
    }

    /// Writes the outputs as they are.
    ///
    /// # Safety
    /// As for [`Finish::write_pixels`].
    #[inline(always)]
    pub unsafe fn copy_to(&self, to: *mut f32) {
        self.check();
        for p in 0..self.pixels {
            let from = &self.sums[p * self.width..][..self.channels];
            let to = to.wrapping_add(self.at + p * self.pitch);
            // SAFETY: the places of a pixel's outputs, which are this thread's.
            unsafe { to.copy_from_nonoverlapping(from.as_ptr(), self.channels) };
        }
    }
}
