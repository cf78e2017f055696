//! A cosine with restarts, [Loshchilov and Hutter 2016](https://arxiv.org/abs/1608.03983).

use super::anneal::anneal;
use super::cycles::Cycles;

/// timm's `CosineLRScheduler`: half a cosine from `lr` to `min_lr` in each cycle, then `min_lr`. With
/// one cycle, PyTorch's `CosineAnnealingLR`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cosine {
    /// The rate at the start.
    pub lr: f64,
    /// The rate at the end of each cycle.
    pub min_lr: f64,
    /// The cycles.
    pub cycles: Cycles,
    /// Above 1, the rate stays high for longer.
    pub k_decay: f64,
}

impl Cosine {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let Some(position) = self.cycles.at(t) else {
            return self.min_lr;
        };
        let share = position.share(self.k_decay);
        anneal(self.lr * position.scale, self.min_lr, share)
    }
}
