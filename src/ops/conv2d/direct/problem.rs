//! The input of both direct algorithms.

use std::sync::Arc;

use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::Geometry;
use super::super::inference::{Finish, PixelSums};
use super::super::pack::packed_weight::{Form, Forms};
use super::super::pack::weights::WeightStrides;
use super::super::plan::Plan;
use super::super::workspace::Destination;
use crate::ops::memory_format::{ImageStrides, MemoryFormat};

/// A direct convolution and its arguments.
pub struct Problem<'a> {
    pub plan: Plan,
    /// The source.
    pub src: &'a [f32],
    /// The order of the source, and of the result.
    pub formats: (MemoryFormat, MemoryFormat),
    /// The weight in the op's layout.
    pub weights: &'a [f32],
    /// How Winograd's algorithm multiplies.
    pub precision: Fp32Precision,
    /// Keeps the packed weight between calls.
    pub packed: Option<&'a Forms>,
    /// The positions of the plan's channels in the weight.
    pub strides: WeightStrides,
    /// One value per destination channel.
    pub bias: Option<&'a [f32]>,
    /// Changes the results as soon as they are computed.
    pub finish: Option<&'a dyn Finish>,
}

impl<'a> Problem<'a> {
    /// y from x.
    pub fn forward(
        g: &Geometry,
        x: &'a [f32],
        weights: &'a [f32],
        bias: Option<&'a [f32]>,
        finish: Option<&'a dyn Finish>,
    ) -> Self {
        Self {
            plan: Plan::forward(g),
            src: x,
            formats: Default::default(),
            weights,
            precision: Fp32Precision::Ieee,
            packed: None,
            strides: WeightStrides::forward(g),
            bias,
            finish,
        }
    }

    /// dx from dy.
    pub fn input_grad(g: &Geometry, dy: &'a [f32], weights: &'a [f32]) -> Self {
        Self {
            plan: Plan::input_grad(g),
            src: dy,
            formats: Default::default(),
            weights,
            precision: Fp32Precision::Ieee,
            packed: None,
            strides: WeightStrides::input_grad(g),
            bias: None,
            finish: None,
        }
    }

    /// The strides of the source.
    pub fn src_strides(&self) -> ImageStrides {
        let plan = &self.plan;
        let channels = plan.groups * plan.src_c;
        self.formats.0.strides(channels, plan.src.0 * plan.src.1)
    }

    /// The strides of the result.
    pub fn dst_strides(&self) -> ImageStrides {
        let plan = &self.plan;
        let channels = plan.groups * plan.dst_c;
        self.formats.1.strides(channels, plan.dst.0 * plan.dst.1)
    }

    /// The weights in one form: from `packed`, or else from `pack`.
    pub fn form<K: Copy + PartialEq, T>(
        &self,
        form: impl FnOnce(&Forms) -> &Form<K, T>,
        key: K,
        pack: impl FnOnce() -> T,
    ) -> Arc<T> {
        match self.packed {
            Some(packed) => form(packed).get_or_pack(key, pack),
            None => Arc::new(pack()),
        }
    }

    /// Writes sums to a channels-last result, and finishes them.
    ///
    /// # Safety
    /// They must be within the result, and no other thread may access their places.
    pub unsafe fn write_pixels(&self, sums: PixelSums, dst: Destination) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self.finish {
                Some(finish) => finish.write_pixels(sums, dst.0),
                None => sums.copy_to(dst.0),
            }
        }
    }

    /// Finishes `len` results from `at` on, and those in the same place of the `channels - 1` planes
    /// that follow.
    ///
    /// # Safety
    /// They must be computed, and no other thread may access them.
    #[inline]
    pub unsafe fn finish(&self, dst: Destination, at: usize, channels: usize, len: usize) {
        if let Some(finish) = self.finish {
            let plane = self.plan.dst.0 * self.plan.dst.1;
            for at in (0..channels).map(|c| at + c * plane) {
                // SAFETY: guaranteed by the caller.
                let outputs =
                    unsafe { std::slice::from_raw_parts_mut(dst.0.wrapping_add(at), len) };
                finish.finish(at, outputs);
            }
        }
    }
}
