//! Adagrad: divides by the root of the sum of all squared gradients.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.Adagrad`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adagrad {
    /// Added to the denominator.
    pub eps: f64,
}

impl ElementRule for Adagrad {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("sum")]
    }

    fn at(&self, now: Now) -> Step {
        Step {
            eps: self.eps,
            lr: now.lr,
        }
    }
}

pub struct Step {
    eps: f64,
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [sum] = buffers else { return w };
        *sum = sum.clone() + g.clone() * g.clone();
        w - g / (sum.clone().sqrt() + self.eps) * self.lr
    }
}
