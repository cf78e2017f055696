//! An exponential moving average of the weights.

use candle_core::Result;

use super::shadow::Shadow;
use crate::nn::ParamStore;

/// timm's `ModelEmaV3`: parameters and floating-point buffers move towards the network's after each
/// update; counts are copied. The average starts at the weights after the first update.
pub(in crate::train) struct Ema {
    /// Averages and buffers.
    pub shadow: Shadow,
    decay: f64,
    warmup: bool,
}

/// The constants of timm's warm-up.
const GAMMA: f64 = 1.0;
const POWER: f64 = 2.0 / 3.0;

impl Ema {
    pub fn new(store: &ParamStore, decay: f64, warmup: bool) -> Result<Self> {
        Ok(Self {
            shadow: Shadow::of(store)?,
            decay,
            warmup,
        })
    }

    /// The decay of update `step`, counted from 1.
    fn decay_at(&self, step: u64) -> f64 {
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

    /// Follows the network after update `step`, counted from 1.
    pub fn update(&self, step: u64) -> Result<()> {
        let weight = 1.0 - self.decay_at(step);
        self.shadow.follow_params(weight)?;
        self.shadow.follow_buffers(weight)
    }
}
