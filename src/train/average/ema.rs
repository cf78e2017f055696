//! An exponential moving average of the weights.

use candle_core::{Result, Tensor};

use super::shadow::Shadow;
use crate::nn::ParamStore;

/// timm's `ModelEmaV3`: parameters and floating-point buffers move towards the network's after each
/// update; counts are copied. The average starts at the weights after the first update.
pub struct Ema {
    /// Averages and buffers.
    pub(in crate::train) shadow: Shadow,
    decay: f64,
    warmup: bool,
}

/// The constants of timm's warm-up.
const GAMMA: f64 = 1.0;
const POWER: f64 = 2.0 / 3.0;

impl Ema {
    /// An average of the tensors of `store`. With `warmup` the decay of update t is at most
    /// 1 - t^(-2/3).
    ///
    /// # Errors
    /// If memory cannot be allocated.
    pub fn new(store: &ParamStore, decay: f64, warmup: bool) -> Result<Self> {
        Ok(Self {
            shadow: Shadow::of(store)?,
            decay,
            warmup,
        })
    }

    /// The decay of update `step`, counted from 1.
    pub fn decay_at(&self, step: u64) -> f64 {
        let past = step.saturating_sub(1) as f64;
        if past == 0.0 {
            return 0.0;
        }
        if !self.warmup {
            return self.decay;
        }
        let rising = 1.0 - (1.0 + past / GAMMA).powf(-POWER);
        rising.min(self.decay).max(0.0)
    }

    /// Follows the network after update `step`, counted from 1. On the CPU it is one pass over the
    /// tensors, on all threads.
    ///
    /// # Errors
    /// If a tensor is f16 or bf16.
    pub fn update(&self, step: u64) -> Result<()> {
        let weight = 1.0 - self.decay_at(step);
        self.shadow.follow_params(weight)?;
        self.shadow.follow_buffers(weight)
    }

    /// Name and value of each tensor: the content of a checkpoint.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.shadow.tensors()
    }

    /// Exchanges the values of the average and of the network, to evaluate the average. A second call
    /// undoes the first, bit for bit.
    ///
    /// # Errors
    /// If a tensor cannot be written.
    pub fn exchange(&self) -> Result<()> {
        self.shadow.exchange()
    }
}
