//! RMSprop as PyTorch computes it.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.RMSprop`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// The decay rate of the running mean of the squared gradient.
    pub alpha: f64,
    /// The decay rate of the running sum of updates; 0 for no momentum.
    pub momentum: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Divides by the standard deviation of the gradient, not by its root mean square.
    pub centered: bool,
}

impl ElementRule for RmsProp {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        let mut buffers = vec![Buffer::zeros("square_avg")];
        if self.momentum != 0.0 {
            buffers.push(Buffer::zeros("momentum_buffer"));
        }
        if self.centered {
            buffers.push(Buffer::zeros("grad_avg"));
        }
        buffers
    }

    fn at(&self, now: Now) -> Step {
        Step {
            rule: *self,
            lr: now.lr,
        }
    }
}

pub struct Step {
    rule: RmsProp,
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let RmsProp {
            alpha,
            momentum,
            eps,
            centered,
        } = self.rule;
        let [square, others @ ..] = buffers else {
            return w;
        };
        *square = square.clone() * alpha + g.clone().weighted_square(1.0 - alpha);
        let mut variance = square.clone();
        if centered && let Some(mean) = others.last_mut() {
            *mean = mean.clone().lerp(g.clone(), 1.0 - alpha);
            variance = variance - mean.clone() * mean.clone();
        }
        let mut direction = g / (variance.sqrt() + eps);
        if momentum != 0.0
            && let Some(velocity) = others.first_mut()
        {
            *velocity = velocity.clone() * momentum + direction;
            direction = velocity.clone();
        }
        w - direction * self.lr
    }
}
