//! Norm, residual and bounds of outputs that are still in registers.

use pulp::Simd;

use super::pack::planes::load;
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
        let norm = Norm::<S, V> {
            center,
            scale,
            shift,
            bounds: (self.low, self.high),
        };
        // The index of each loop is a constant, and the bodies are short: so the loops are unrolled,
        // and the outputs stay in registers.
        match (place.channels >= V * lanes, self.residual) {
            (true, None) => {
                for (p, outputs) in outputs.iter().enumerate() {
                    let to = place.to.wrapping_add(place.at + p * place.pitch);
                    for (v, output) in outputs.iter().enumerate() {
                        let y = norm.within(simd, norm.affine(simd, *output, v));
                        // SAFETY: a vector of the place.
                        unsafe { write::<S>(to.wrapping_add(v * lanes), y) };
                    }
                }
            }
            (true, Some(residual)) => {
                let end = place.at + (P - 1) * place.pitch + V * lanes;
                let residual = residual[place.at..end].as_ptr();
                for (p, outputs) in outputs.iter().enumerate() {
                    let to = place.to.wrapping_add(place.at + p * place.pitch);
                    let residual = residual.wrapping_add(p * place.pitch);
                    for (v, output) in outputs.iter().enumerate() {
                        // SAFETY: a vector of the residual, whose length was checked.
                        let r = unsafe { load::<S, f32>(residual.wrapping_add(v * lanes)) };
                        let z = simd.add_f32s(norm.affine(simd, *output, v), r);
                        // SAFETY: a vector of the place.
                        unsafe { write::<S>(to.wrapping_add(v * lanes), norm.within(simd, z)) };
                    }
                }
            }
            (false, residual) => {
                // Indexed at run time, so they are in memory here, and only here.
                let in_memory = outputs;
                for (p, outputs) in in_memory.iter().enumerate() {
                    let at = place.at + p * place.pitch;
                    // SAFETY: the channels of a pixel of the place, which are this thread's.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(place.to.wrapping_add(at), place.channels)
                    };
                    for (output, (v, to)) in outputs.iter().zip(to.chunks_mut(lanes).enumerate()) {
                        let mut z = norm.affine(simd, *output, v);
                        if let Some(residual) = residual {
                            let residual = &residual[at + v * lanes..][..to.len()];
                            z = simd.add_f32s(z, simd.partial_load_f32s(residual));
                        }
                        let y = norm.within(simd, z);
                        if to.len() == lanes {
                            // SAFETY: a whole vector.
                            unsafe { write::<S>(to.as_mut_ptr(), y) };
                        } else {
                            simd.partial_store_f32s(to, y);
                        }
                    }
                }
            }
        }
    }
}

/// The constants of a register tile.
struct Norm<S: Simd, const V: usize> {
    center: [S::f32s; V],
    scale: [S::f32s; V],
    shift: [S::f32s; V],
    bounds: (f64, f64),
}

impl<S: Simd, const V: usize> Norm<S, V> {
    /// `(x - center) scale + shift` for the channels of vector `v`.
    #[inline(always)]
    fn affine(&self, simd: S, x: S::f32s, v: usize) -> S::f32s {
        let d = simd.sub_f32s(x, self.center[v]);
        simd.mul_add_e_f32s(d, self.scale[v], self.shift[v])
    }

    /// `x` within bounds; NaN for NaN.
    #[inline(always)]
    fn within(&self, simd: S, x: S::f32s) -> S::f32s {
        let (low, high) = self.bounds;
        let x = Lanes::<S, f32>::new(simd, x);
        x.at_least(low).at_most(high).vector()
    }
}

/// Writes a vector; it need not be aligned.
///
/// # Safety
/// It must be writable by this thread alone.
#[inline(always)]
unsafe fn write<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: guaranteed by the caller.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) };
}

/// The first values of a slice that is at least as long as a vector.
#[inline(always)]
pub fn whole_vector<S: Simd>(values: &[f32]) -> S::f32s {
    assert!(values.len() >= S::F32_LANES);
    // SAFETY: the slice is as long as a vector, as asserted.
    unsafe { load::<S, f32>(values.as_ptr()) }
}
