//! A polynomial with restarts.

use super::cycles::Cycles;

/// timm's `PolyLRScheduler`: `(1 - share)^power` from `lr` to `min_lr` in each cycle, then `min_lr`.
/// With one cycle and a `min_lr` of 0, PyTorch's `PolynomialLR`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Poly {
    /// The rate at the start.
    pub lr: f64,
    /// The rate at the end of each cycle.
    pub min_lr: f64,
    /// The power: 1 for a line; below 1, the rate stays high for longer.
    pub power: f64,
    /// The cycles.
    pub cycles: Cycles,
    /// Above 1, the rate stays high for longer.
    pub k_decay: f64,
}

impl Poly {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let Some(position) = self.cycles.at(t) else {
            return self.min_lr;
        };
        let left = (1.0 - position.share(self.k_decay)).max(0.0);
        let lr = self.lr * position.scale;
        self.min_lr + (lr - self.min_lr) * left.powf(self.power)
    }
}
