//! Adam, and its form with Nesterov momentum in NAdamW.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.Adam`; with decoupled weight decay, `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay rates of the running means of the gradient and its square.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Looks one step ahead of the running mean of the gradient, as timm's `NAdamW` does.
    pub nesterov: bool,
}

impl ElementRule for Adam {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("exp_avg"), Buffer::zeros("exp_avg_sq")]
    }

    fn at(&self, now: Now) -> Step {
        let [beta1, beta2] = self.betas;
        let steps = now.step as f64;
        Step {
            betas: self.betas,
            eps: self.eps,
            nesterov: self.nesterov,
            step_size: now.lr / (1.0 - beta1.powf(steps)),
            sqrt_correction: (1.0 - beta2.powf(steps)).sqrt(),
        }
    }
}

pub struct Step {
    betas: [f64; 2],
    eps: f64,
    nesterov: bool,
    step_size: f64,
    sqrt_correction: f64,
}

impl Step {
    /// Updates the running means and returns the amount to subtract from the weight.
    #[inline(always)]
    pub fn direction<N: Number>(&self, g: N, buffers: &mut [N]) -> N {
        let [mean, square] = buffers else { return g };
        let [beta1, beta2] = self.betas;
        *mean = mean.clone().lerp(g.clone(), 1.0 - beta1);
        *square = square.clone() * beta2 + g.clone().weighted_square(1.0 - beta2);
        let ahead = if self.nesterov {
            mean.clone().lerp(g, 1.0 - beta1)
        } else {
            mean.clone()
        };
        let denominator = square.clone().sqrt() / self.sqrt_correction + self.eps;
        (ahead / denominator) * self.step_size
    }
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        w - self.direction(g, buffers)
    }
}
