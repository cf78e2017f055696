//! SGD with momentum.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// The decay rate of the running sum of gradients; 0 for no momentum.
    pub momentum: f64,
    /// Uses Nesterov momentum.
    pub nesterov: bool,
}

impl ElementRule for Sgd {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        if self.momentum == 0.0 {
            return Vec::new();
        }
        vec![Buffer::zeros("momentum_buffer")]
    }

    fn at(&self, now: Now) -> Step {
        Step {
            momentum: self.momentum,
            nesterov: self.nesterov,
            lr: now.lr,
        }
    }
}

pub struct Step {
    momentum: f64,
    nesterov: bool,
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let Some(velocity) = buffers.first_mut() else {
            return w - g * self.lr;
        };
        *velocity = velocity.clone() * self.momentum + g.clone();
        let direction = if self.nesterov {
            g + velocity.clone() * self.momentum
        } else {
            velocity.clone()
        };
        w - direction * self.lr
    }
}
