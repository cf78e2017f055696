//! The loops of normalisation over pixels whose channels are next to each other, on vectors.

use std::ops::Range;

use super::constants::Channels;
use crate::ops::activation::dispatch::KernelVisitor;
use crate::ops::activation::simd::Pointwise;
use crate::simd::{Lanes, Simd, WithSimd, dispatch};

/// Some channels of neighbouring pixels.
pub(crate) struct Pixels {
    /// The first value of the first pixel.
    pub x: *const f32,
    /// The distances between the pixels of `x`, and of `residual` and `y`.
    pub pitch: (usize, usize),
    /// The first residual of the first pixel.
    pub residual: Option<*const f32>,
    /// The first result of the first pixel.
    pub y: *mut f32,
    /// The channels of the norm.
    pub channels: Range<usize>,
    pub pixels: usize,
}

/// Writes act(norm(x) + residual).
pub(super) struct NormPixels<'a> {
    norm: &'a Channels,
    pixels: Pixels,
}

impl<'a> NormPixels<'a> {
    /// # Safety
    /// All values must be readable or writable, and no other thread may access the results.
    pub(super) unsafe fn new(norm: &'a Channels, pixels: Pixels) -> Self {
        assert!(pixels.channels.end <= norm.len());
        Self { norm, pixels }
    }
}

impl KernelVisitor<f32> for NormPixels<'_> {
    type Output = ();

    fn visit<K: Pointwise<f32>>(self, kernel: K) {
        dispatch(WithKernel {
            norm: self.norm,
            pixels: self.pixels,
            kernel,
        });
    }
}

struct WithKernel<'a, K> {
    norm: &'a Channels,
    pixels: Pixels,
    kernel: K,
}

impl<K: Pointwise<f32>> WithSimd for WithKernel<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let Pixels {
            x,
            pitch,
            residual,
            y,
            channels,
            pixels,
        } = self.pixels;
        for first in (channels.start..channels.end).step_by(lanes) {
            let count = lanes.min(channels.end - first);
            let at = first - channels.start;
            let column = Column {
                center: Lanes::partial_load(simd, &self.norm.center[first..first + count]),
                scale: Lanes::partial_load(simd, &self.norm.scale[first..first + count]),
                shift: Lanes::partial_load(simd, &self.norm.shift[first..first + count]),
                kernel: self.kernel,
            };
            for p in 0..pixels {
                let x = x.wrapping_add(p * pitch.0 + at);
                let residual = residual.map(|r| r.wrapping_add(p * pitch.1 + at));
                let y = y.wrapping_add(p * pitch.1 + at);
                // SAFETY: `count` channels of a pixel, which `NormPixels::new` requires to be
                // accessible; the results are this thread's.
                unsafe {
                    if count == lanes {
                        column.whole(simd, x, residual, y);
                    } else {
                        column.part(simd, count, x, residual, y);
                    }
                }
            }
        }
    }
}

/// The norm of one vector of channels, and the activation.
struct Column<S: Simd, K> {
    center: Lanes<S, f32>,
    scale: Lanes<S, f32>,
    shift: Lanes<S, f32>,
    kernel: K,
}

impl<S: Simd, K: Pointwise<f32>> Column<S, K> {
    /// The normalised value.
    #[inline(always)]
    fn norm(&self, x: Lanes<S, f32>) -> Lanes<S, f32> {
        (x - self.center).mul_add(self.scale, self.shift)
    }

    /// Writes all channels of the vector.
    ///
    /// # Safety
    /// They must be readable in `x` and `residual`, and writable in `y`.
    #[inline(always)]
    unsafe fn whole(&self, simd: S, x: *const f32, residual: Option<*const f32>, y: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut z = self.norm(Lanes::new(simd, x.cast::<S::f32s>().read_unaligned()));
            if let Some(r) = residual {
                z = z + Lanes::new(simd, r.cast::<S::f32s>().read_unaligned());
            }
            let value = self.kernel.value(z).vector();
            y.cast::<S::f32s>().write_unaligned(value);
        }
    }

    /// Writes the first `count` channels of the vector.
    ///
    /// # Safety
    /// They must be readable in `x` and `residual`, and writable in `y`.
    #[inline(always)]
    unsafe fn part(
        &self,
        simd: S,
        count: usize,
        x: *const f32,
        residual: Option<*const f32>,
        y: *mut f32,
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let x = Lanes::partial_load(simd, std::slice::from_raw_parts(x, count));
            let mut z = self.norm(x);
            if let Some(r) = residual {
                z = z + Lanes::partial_load(simd, std::slice::from_raw_parts(r, count));
            }
            let y = std::slice::from_raw_parts_mut(y, count);
            self.kernel.value(z).partial_store(y);
        }
    }
}
