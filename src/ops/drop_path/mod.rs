//! Stochastic depth: drops whole samples.

mod composed;

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rand::Rng;

use crate::ops::composed::{apply1, run1};
use crate::ops::storage::{Float, build, with_float};
use crate::rng::Generator;

const OP: &str = "drop_path";

/// How [`drop_path`] scales the samples that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DropPathScale {
    /// Divides them by 1 - p, which keeps the mean: timm's `scale_by_keep=True`.
    #[default]
    KeepMean,
    /// Leaves them as they are.
    Unchanged,
}

/// Sets each sample `x[n]` to zero with probability `p` (Huang et al., "Deep Networks with
/// Stochastic Depth", 2016): `[N, ..]` to the same shape. `scale` applies to the other samples. The
/// same `seed` drops the same samples.
///
/// # Errors
/// If `p` is not in [0, 1], or if `x` has no axis or is not floating-point.
pub fn drop_path(x: &Tensor, p: f64, scale: DropPathScale, seed: u64) -> Result<Tensor> {
    if !(0.0..=1.0).contains(&p) {
        bail!("{OP}: the probability is {p}, must be in [0, 1]");
    }
    let samples = x.dim(0)?;
    let kept = match scale {
        DropPathScale::KeepMean if p < 1.0 => 1.0 / (1.0 - p),
        DropPathScale::KeepMean | DropPathScale::Unchanged => 1.0,
    };
    let generator = Generator::new(seed);
    let mut random = generator.lock();
    let draw = |_| {
        if random.random::<f64>() >= p {
            kept
        } else {
            0.0
        }
    };
    let factors = (0..samples).map(draw).collect();
    apply1(DropPath { factors }, x)
}

/// Multiplies each sample by its factor.
struct DropPath {
    factors: Arc<[f64]>,
}

impl CustomOp1 for DropPath {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, OP, T => {
            let x = T::read(x, layout)?;
            let len = x.len() / self.factors.len().max(1);
            let scale = |index: usize, y: &mut [std::mem::MaybeUninit<T>]| {
                let factor = T::from_f64(self.factors[index]);
                for (y, x) in y.iter_mut().zip(&x[index * len..]) {
                    // No product for a dropped sample: infinity times zero is NaN.
                    y.write(if self.factors[index] == 0.0 { factor } else { *x * factor });
                }
            };
            // SAFETY: `x` is as long as the result, so the zip writes all of a chunk.
            T::into_storage(unsafe { build(x.len(), len.max(1), scale) }, dtype)?
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let factors = self.factors.clone();
        Ok(Some(run1(&DropPath { factors }, grad)?))
    }
}
