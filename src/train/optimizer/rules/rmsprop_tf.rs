//! RMSprop as TensorFlow computes it: the mean of squares starts at 1, `eps` is added before the
//! root, and the running sum of updates includes the learning rate.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// timm's `RMSpropTF`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsPropTf {
    /// The decay rate of the running mean of the squared gradient.
    pub alpha: f64,
    /// The decay rate of the running sum of updates; 0 for no momentum.
    pub momentum: f64,
    /// Added to the mean of squares.
    pub eps: f64,
}

impl ElementRule for RmsPropTf {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        let mut buffers = vec![Buffer {
            name: "square_avg",
            initial: 1.0,
        }];
        if self.momentum != 0.0 {
            buffers.push(Buffer::zeros("momentum_buffer"));
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
    rule: RmsPropTf,
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let RmsPropTf {
            alpha,
            momentum,
            eps,
        } = self.rule;
        let [square, others @ ..] = buffers else {
            return w;
        };
        *square = square.clone().lerp(g.clone() * g.clone(), 1.0 - alpha);
        let change = (g / (square.clone() + eps).sqrt()) * self.lr;
        let Some(velocity) = others.first_mut() else {
            return w - change;
        };
        *velocity = velocity.clone() * momentum + change;
        w - velocity.clone()
    }
}
