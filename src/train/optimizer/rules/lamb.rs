//! LAMB: Adam with a learning rate for each tensor, in proportion to its norm.

use candle_core::Result;

use super::adam::Adam;
use crate::train::optimizer::norm::norm;
use crate::train::optimizer::number::Whole;
use crate::train::optimizer::traits::{Buffer, ElementRule, Now, TensorRule};

/// timm's `Lamb`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lamb {
    /// Decay rates of the running means of the gradient and its square.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Scales all gradients down to this joint L2 norm, after any other clipping.
    pub max_grad_norm: Option<f64>,
    /// Bounds the trust ratio to 1 (LAMBC).
    pub trust_clip: bool,
}

impl Lamb {
    fn adam(&self) -> Adam {
        Adam {
            betas: self.betas,
            eps: self.eps,
            nesterov: false,
        }
    }

    /// The norm of the weight relative to the norm of its update.
    fn trust_ratio(&self, weight: f64, update: f64) -> f64 {
        if weight == 0.0 || update == 0.0 {
            return 1.0;
        }
        let ratio = weight / update;
        if self.trust_clip {
            ratio.min(1.0)
        } else {
            ratio
        }
    }
}

impl TensorRule for Lamb {
    fn buffers(&self) -> Vec<Buffer> {
        self.adam().buffers()
    }

    /// Weight decay that is not decoupled is added to Adam's direction, not to the gradient.
    /// Parameters without weight decay have a ratio of 1.
    fn update(&self, now: Now, w: Whole, g: Whole, buffers: &mut [Whole]) -> Result<Whole> {
        let adam = self.adam().at(Now { lr: 1.0, ..now });
        let mut direction = adam.direction(g, buffers);
        if now.weight_decay == 0.0 {
            return Ok(w - direction * now.lr);
        }
        if !now.decoupled {
            direction = direction + w.clone() * now.weight_decay;
        }
        let ratio = self.trust_ratio(
            norm(&w.clone().tensor()?)?,
            norm(&direction.clone().tensor()?)?,
        );
        Ok(w - direction * (now.lr * ratio))
    }
}
