//! Stochastic depth.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use rand::Rng;

use crate::ops::{DropPathScale, drop_path};
use crate::rng::Generator;

/// Stochastic depth: in training, sets a whole sample to zero with probability `p`, so that only
/// the shortcut of the residual block remains; the identity in evaluation (Huang et al., "Deep
/// Networks with Stochastic Depth", 2016). Equal to timm's `DropPath`.
///
/// # Shapes
/// - input and output: [N, …]
#[derive(Debug, Clone)]
pub struct DropPath {
    p: f64,
    scale_by_keep: bool,
    generator: Generator,
}

impl DropPath {
    /// A layer that draws from `generator` and divides the samples that it keeps by 1 - `p`.
    ///
    /// # Errors
    /// If `p` is not in [0, 1].
    pub fn new(p: f64, generator: &Generator) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            candle_core::bail!("drop_path: p is {p}, must be in [0, 1]");
        }
        Ok(Self {
            p,
            scale_by_keep: true,
            generator: generator.clone(),
        })
    }

    /// Whether the layer changes its input: in training, with a positive probability.
    pub fn is_active(&self, train: bool) -> bool {
        train && self.p > 0.0
    }

    /// Sets whether the layer divides the samples that it keeps by 1 - `p`, which preserves the
    /// mean. On by default.
    pub fn scale_by_keep(self, scale_by_keep: bool) -> Self {
        Self {
            scale_by_keep,
            ..self
        }
    }
}

impl ModuleT for DropPath {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if !self.is_active(train) {
            return Ok(x.clone());
        }
        let seed = self.generator.lock().random();
        let scale = if self.scale_by_keep {
            DropPathScale::KeepMean
        } else {
            DropPathScale::Unchanged
        };
        drop_path(x, self.p, scale, seed)
    }
}
