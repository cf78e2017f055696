//! Lookahead: slow weights that follow the optimizer's weights.

use candle_core::{Result, Tensor, Var};

use super::traits::Buffer;

/// timm's `Lookahead`. Every `k` steps, slow weights move by `alpha` towards the weights, and the
/// weights continue from there. The slow weights start at the weights after the first `k` steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookahead {
    /// The number of steps between two moves, at least 1.
    pub k: u64,
    /// The fraction of the distance that the slow weights move.
    pub alpha: f64,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { k: 6, alpha: 0.5 }
    }
}

/// The slow weights of a parameter. They are unused in the first `k` steps.
pub(super) const SLOW: Buffer = Buffer::zeros("lookahead_slow_buff");

impl Lookahead {
    /// Moves the slow weights after `step` steps, if it is their turn.
    pub(super) fn follow(&self, step: u64, var: &Var, slow: &mut Tensor) -> Result<()> {
        if !step.is_multiple_of(self.k) {
            return Ok(());
        }
        let fast = var.as_detached_tensor();
        if step == self.k {
            *slow = fast.force_contiguous()?;
            return Ok(());
        }
        *slow = (&*slow + ((&fast - &*slow)? * self.alpha)?)?;
        var.set(slow)
    }
}
