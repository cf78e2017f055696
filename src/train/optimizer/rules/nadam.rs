//! NAdam: Adam with Nesterov momentum of a rising rate.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// PyTorch's `momentum_decay`.
const MOMENTUM_DECAY: f64 = 4e-3;

/// `torch.optim.NAdam`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdam {
    /// Decay rates of the running means of the gradient and its square.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
}

impl NAdam {
    /// The momentum of a step.
    fn momentum(&self, step: u64) -> f64 {
        self.betas[0] * (1.0 - 0.5 * 0.96_f64.powf(step as f64 * MOMENTUM_DECAY))
    }

    /// The product of the momenta of all steps up to `step`.
    fn product(&self, step: u64) -> f64 {
        let mut product = 1.0;
        for step in 1..=step {
            product *= self.momentum(step);
            // From here on, 1 - product is 1.
            if product < 1e-17 {
                break;
            }
        }
        product
    }
}

impl ElementRule for NAdam {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("exp_avg"), Buffer::zeros("exp_avg_sq")]
    }

    fn at(&self, now: Now) -> Step {
        let (momentum, next) = (self.momentum(now.step), self.momentum(now.step + 1));
        let product = self.product(now.step);
        Step {
            betas: self.betas,
            eps: self.eps,
            correction: 1.0 - self.betas[1].powf(now.step as f64),
            gradient_rate: now.lr * (1.0 - momentum) / (1.0 - product),
            mean_rate: now.lr * next / (1.0 - product * next),
        }
    }
}

pub struct Step {
    betas: [f64; 2],
    eps: f64,
    correction: f64,
    gradient_rate: f64,
    mean_rate: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [mean, square] = buffers else { return w };
        let [beta1, beta2] = self.betas;
        *mean = mean.clone().lerp(g.clone(), 1.0 - beta1);
        *square = square.clone() * beta2 + g.clone().weighted_square(1.0 - beta2);
        let denominator = (square.clone() / self.correction).sqrt() + self.eps;
        w - (g / denominator.clone()) * self.gradient_rate
            - (mean.clone() / denominator) * self.mean_rate
    }
}
