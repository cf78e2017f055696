//! Adamax: Adam with the infinity norm.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.Adamax`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adamax {
    /// Decay rates of the running mean of the gradient and of its running maximum.
    pub betas: [f64; 2],
    /// Added to the magnitude of the gradient.
    pub eps: f64,
}

impl ElementRule for Adamax {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("exp_avg"), Buffer::zeros("exp_inf")]
    }

    fn at(&self, now: Now) -> Step {
        Step {
            betas: self.betas,
            eps: self.eps,
            step_size: now.lr / (1.0 - self.betas[0].powf(now.step as f64)),
        }
    }
}

pub struct Step {
    betas: [f64; 2],
    eps: f64,
    step_size: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [mean, largest] = buffers else { return w };
        let [beta1, beta2] = self.betas;
        *mean = mean.clone().lerp(g.clone(), 1.0 - beta1);
        *largest = (largest.clone() * beta2).maximum(g.abs() + self.eps);
        w - (mean.clone() / largest.clone()) * self.step_size
    }
}
