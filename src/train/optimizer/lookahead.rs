//! Lookahead: slow weights that follow the optimizer's weights.

use candle_core::{Result, Tensor, Var};

use super::traits::Buffer;

/// timm's `Lookahead`. Every `k` steps and at the end of each epoch, slow weights move by `alpha` towards the
/// weights, and the weights continue from there. The slow weights start at the weights of their first
/// move.
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

/// The slow weights of a parameter, NaN before their first move.
pub(super) const SLOW: Buffer = Buffer {
    name: "lookahead_slow_buff",
    initial: f64::NAN,
};

impl Lookahead {
    /// Moves the slow weights. `moved` says whether they have moved before.
    pub(super) fn follow(&self, var: &Var, slow: &mut Tensor, moved: bool) -> Result<()> {
        let fast = var.as_detached_tensor();
        if !moved {
            *slow = fast.force_contiguous()?;
            return Ok(());
        }
        *slow = (&*slow + ((&fast - &*slow)? * self.alpha)?)?;
        var.set(slow)
    }
}
