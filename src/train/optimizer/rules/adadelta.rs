//! Adadelta: scales each update by the size of the updates before it.

use crate::train::optimizer::number::Number;
use crate::train::optimizer::traits::{Buffer, ElementRule, ElementStep, Now};

/// `torch.optim.Adadelta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adadelta {
    /// The decay rate of the running means of squares.
    pub rho: f64,
    /// Added to both means of squares.
    pub eps: f64,
}

impl ElementRule for Adadelta {
    type Step = Step;

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("square_avg"), Buffer::zeros("acc_delta")]
    }

    fn at(&self, now: Now) -> Step {
        Step {
            rho: self.rho,
            eps: self.eps,
            lr: now.lr,
        }
    }
}

pub struct Step {
    rho: f64,
    eps: f64,
    lr: f64,
}

impl ElementStep for Step {
    #[inline(always)]
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N {
        let [square, deltas] = buffers else { return w };
        *square = square.clone() * self.rho + g.clone().weighted_square(1.0 - self.rho);
        let deviation = (square.clone() + self.eps).sqrt();
        let delta = (deltas.clone() + self.eps).sqrt() / deviation * g;
        *deltas = deltas.clone() * self.rho + delta.clone().weighted_square(1.0 - self.rho);
        w - delta * self.lr
    }
}
