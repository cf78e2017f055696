//! A hyperbolic tangent with restarts, [Hsueh et al. 2018](https://arxiv.org/abs/1806.01593).

use super::cycles::Cycles;

/// timm's `TanhLRScheduler`: a hyperbolic tangent from `lr` to `min_lr` in each cycle, then `min_lr`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tanh {
    /// The rate that the start is near, the nearer the lower `lb` is.
    pub lr: f64,
    /// The rate that the end of each cycle is near.
    pub min_lr: f64,
    /// The cycles.
    pub cycles: Cycles,
    /// The argument of the tangent at the start of a cycle.
    pub lb: f64,
    /// The argument of the tangent at the end of a cycle.
    pub ub: f64,
}

impl Tanh {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let Some(position) = self.cycles.at(t) else {
            return self.min_lr;
        };
        let share = position.share(1.0);
        let argument = self.lb * (1.0 - share) + self.ub * share;
        let lr = self.lr * position.scale;
        self.min_lr + 0.5 * (lr - self.min_lr) * (1.0 - argument.tanh())
    }
}
