//! Lion: the sign of a running mean of gradients.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// timm's `Lion`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    /// Decay rates: of the mean whose sign gives the update, and of the mean that is kept for the next
    /// step.
    pub betas: [f64; 2],
}

impl ElementRule for Lion {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("exp_avg")]
    }

    fn at(&self, now: Now) -> Step {
        Step {
            betas: self.betas,
            lr: now.lr,
        }
    }
}

pub struct Step {
    betas: [f64; 2],
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [mean] = buffers else { return w };
        let [beta1, beta2] = self.betas;
        let direction = mean.clone().lerp(g.clone(), 1.0 - beta1).sign();
        *mean = mean.clone().lerp(g, 1.0 - beta2);
        w - direction * self.lr
    }
}
