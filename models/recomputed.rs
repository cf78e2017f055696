//! Gradient checkpointing of a network's blocks.

use std::rc::Rc;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_mish::autograd::recompute;
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

/// A block of a network. With gradient checkpointing, training does not keep its activations: the
/// backward pass computes them again.
pub(crate) struct Recomputed<B> {
    block: Arc<B>,
    /// The source of the block's random numbers. `None` without gradient checkpointing.
    generator: Option<Generator>,
}

impl<B> Recomputed<B> {
    /// With gradient checkpointing if there is a generator, the source of the block's random numbers.
    pub fn new(block: B, generator: Option<Generator>) -> Self {
        Self {
            block: Arc::new(block),
            generator,
        }
    }

    /// The block alone.
    pub fn block(&self) -> &B {
        &self.block
    }
}

impl<B: ModuleT + 'static> ModuleT for Recomputed<B> {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match &self.generator {
            Some(generator) if train => {
                let block = Arc::clone(&self.block);
                let forward = move |x: &Tensor| block.forward_t(x, true);
                recompute(generator, Rc::new(forward), x)
            }
            _ => self.block.forward_t(x, train),
        }
    }
}
