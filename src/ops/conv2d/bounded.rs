//! Norm, residual and bounds of outputs that are still in registers.

use pulp::Simd;

use crate::simd::Lanes;

/// `min(max((x - center) scale + shift + residual, low), high)`, with constants for each channel:
/// batch norm with running statistics, a residual sum, and ReLU or another bounded identity. What
/// takes more operations than that is not worth keeping outputs in registers for.
#[derive(Clone, Copy)]
pub struct Bounded<'a> {
    /// One value per channel, and [`PADDING`] more.
    pub center: &'a [f32],
    /// As `center`.
    pub scale: &'a [f32],
    /// As `center`.
    pub shift: &'a [f32],
    /// In the order of the result.
    pub residual: Option<&'a [f32]>,
    pub low: f64,
    pub high: f64,
}

/// The values after the last channel that a whole register tile may read.
pub const PADDING: usize = 64;

/// The place of a register tile in a channels-last result.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The result.
    pub to: *mut f32,
    /// The first output of the tile.
    pub at: usize,
    /// Distance between pixels.
    pub pitch: usize,
    /// The first channel.
    pub first: usize,
    /// Channels from there on that belong to the tile.
    pub channels: usize,
}

impl Bounded<'_> {
    /// Writes the outputs of `P` pixels with `V` vectors of channels.
    ///
    /// # Safety
    /// The place must be within the result, and no other thread may access it.
    #[inline(always)]
    pub unsafe fn store<S: Simd, const P: usize, const V: usize>(
        &self,
        simd: S,
        outputs: [[S::f32s; V]; P],
        place: Place,
    ) {
        let lanes = S::F32_LANES;
        let zero = simd.splat_f32s(0.0);
        let [mut center, mut scale, mut shift] = [[zero; V]; 3];
        for v in 0..V {
            let from = place.first + v * lanes;
            center[v] = whole_vector::<S>(&self.center[from..]);
            scale[v] = whole_vector::<S>(&self.scale[from..]);
            shift[v] = whole_vector::<S>(&self.shift[from..]);
        }
        let whole = place.channels >= V * lanes;
        let bounds = (self.low, self.high);
        // The indices of these loops are constants, so that the outputs stay in registers.
        for (p, outputs) in outputs.iter().enumerate() {
            let at = place.at + p * place.pitch;
            let to = place.to.wrapping_add(at);
            let mut z = [zero; V];
            for (v, output) in outputs.iter().enumerate() {
                let d = simd.sub_f32s(*output, center[v]);
                z[v] = simd.mul_add_e_f32s(d, scale[v], shift[v]);
            }
            if whole {
                if let Some(residual) = self.residual {
                    let residual = &residual[at..][..V * lanes];
                    for (v, z) in z.iter_mut().enumerate() {
                        let r = whole_vector::<S>(&residual[v * lanes..]);
                        *z = simd.add_f32s(*z, r);
                    }
                }
                for (v, z) in z.iter().enumerate() {
                    let y = within(simd, *z, bounds);
                    // SAFETY: a vector of the place.
                    unsafe {
                        let to = to.wrapping_add(v * lanes);
                        to.cast::<S::f32s>().write_unaligned(y);
                    }
                }
            } else {
                // SAFETY: the channels of a pixel of the place, which are this thread's.
                let to = unsafe { std::slice::from_raw_parts_mut(to, place.channels) };
                for (z, (v, to)) in z.iter().zip(to.chunks_mut(lanes).enumerate()) {
                    let mut z = *z;
                    if let Some(residual) = self.residual {
                        let residual = &residual[at + v * lanes..][..to.len()];
                        z = simd.add_f32s(z, simd.partial_load_f32s(residual));
                    }
                    simd.partial_store_f32s(to, within(simd, z, bounds));
                }
            }
        }
    }
}

/// The first values of a slice that is at least as long as a vector.
#[inline(always)]
pub fn whole_vector<S: Simd>(values: &[f32]) -> S::f32s {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: the slice is as long as a vector, as asserted.
    unsafe { values.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// `x` within bounds; NaN for NaN.
#[inline(always)]
fn within<S: Simd>(simd: S, x: S::f32s, (low, high): (f64, f64)) -> S::f32s {
    let x = Lanes::<S, f32>::new(simd, x);
    x.at_least(low).at_most(high).vector()
}
