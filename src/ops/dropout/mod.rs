//! Dropout without a stored mask.

mod composed;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::ops::composed::{apply1, run1};
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, build, with_float};

/// Values that one thread takes at a time.
const CHUNK: usize = PARALLEL_THRESHOLD;

/// Sets each value of `x` (any shape) to zero with probability `p` and divides the others by
/// 1 - p. The mask is a function of `seed` and position, so the backward pass recomputes it.
///
/// # Errors
/// If `p` is not in [0, 1), or if `x` is not floating-point.
pub fn dropout(x: &Tensor, p: f64, seed: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        candle_core::bail!("dropout: the probability is {p}, must be in [0, 1)");
    }
    apply1(Dropout { p, seed }, x)
}

struct Dropout {
    p: f64,
    seed: u64,
}

impl Dropout {
    fn keeps(&self, position: usize) -> bool {
        let bits = splitmix64(self.seed.wrapping_add(position as u64));
        // The upper 53 bits as a number in [0, 1).
        (bits >> 11) as f64 * (-53f64).exp2() >= self.p
    }

    fn apply<F: Float>(&self, x: &[F]) -> Vec<F> {
        let scale = F::from_f64(1.0 / (1.0 - self.p));
        let zero = F::from_f64(0.0);
        // SAFETY: every value of a chunk is written.
        unsafe {
            build(x.len(), CHUNK, |index, chunk| {
                let start = index * CHUNK;
                for (i, y) in chunk.iter_mut().enumerate() {
                    let position = start + i;
                    y.write(if self.keeps(position) {
                        x[position] * scale
                    } else {
                        zero
                    });
                }
            })
        }
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let dtype = storage.dtype();
        let y = with_float!(dtype, self.name(), F => {
            F::into_storage(self.apply(&F::read(storage, layout)?), dtype)?
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let Self { p, seed } = *self;
        Ok(Some(run1(&Dropout { p, seed }, grad)?))
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014) for a state that counts in its golden-ratio steps.
fn splitmix64(counter: u64) -> u64 {
    let z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
