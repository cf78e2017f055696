//! Dropout.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use rand::Rng;

use crate::ops::dropout;
use crate::rng::Generator;

/// In training, sets each value to zero with probability `p` and divides the others by 1 - `p`;
/// the identity in evaluation (Srivastava et al., "Dropout", 2014).
///
/// # Shapes
/// - input and output: any shape
#[derive(Debug, Clone)]
pub struct Dropout {
    p: f64,
    generator: Generator,
}

impl Dropout {
    /// A layer that draws from `generator`.
    ///
    /// # Errors
    /// If `p` is not in [0, 1).
    pub fn new(p: f64, generator: &Generator) -> Result<Self> {
        if !(0.0..1.0).contains(&p) {
            candle_core::bail!("dropout: p is {p}, must be in [0, 1)");
        }
        Ok(Self {
            p,
            generator: generator.clone(),
        })
    }
}

impl ModuleT for Dropout {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if !train || self.p == 0.0 {
            return Ok(x.clone());
        }
        dropout(x, self.p, self.generator.lock().random())
    }
}
