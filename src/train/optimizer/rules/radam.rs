//! RAdam: Adam whose first steps do not divide by the variance, because it is not known yet.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.RAdam`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdam {
    /// Decay rates of the running means of the gradient and its square.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
}

impl ElementRule for RAdam {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("exp_avg"), Buffer::zeros("exp_avg_sq")]
    }

    fn at(&self, now: Now) -> Step {
        let [beta1, beta2] = self.betas;
        let steps = now.step as f64;
        let correction = 1.0 - beta2.powf(steps);
        // The length of the running mean of squares, at its end and now.
        let longest = 2.0 / (1.0 - beta2) - 1.0;
        let length = longest - 2.0 * steps * beta2.powf(steps) / correction;
        let rectification = (length > 5.0).then(|| {
            let now = (length - 4.0) * (length - 2.0) * longest;
            let end = (longest - 4.0) * (longest - 2.0) * length;
            (now / end).sqrt() * correction.sqrt()
        });
        Step {
            betas: self.betas,
            eps: self.eps,
            step_size: now.lr / (1.0 - beta1.powf(steps)),
            rectification,
        }
    }
}

pub struct Step {
    betas: [f64; 2],
    eps: f64,
    step_size: f64,
    /// None in the first steps.
    rectification: Option<f64>,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [mean, square] = buffers else { return w };
        let [beta1, beta2] = self.betas;
        *mean = mean.clone().lerp(g.clone(), 1.0 - beta1);
        *square = square.clone() * beta2 + g.weighted_square(1.0 - beta2);
        let direction = mean.clone() * self.step_size;
        match self.rectification {
            None => w - direction,
            Some(factor) => w - direction / (square.clone().sqrt() + self.eps) * factor,
        }
    }
}
