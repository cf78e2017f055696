//! One cycle up and down, [Smith and Topin 2017](https://arxiv.org/abs/1708.07120).

use super::anneal::anneal;

/// PyTorch's `OneCycleLR` with cosine annealing in two phases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    /// The highest rate.
    pub max_lr: f64,
    /// The fraction of the time with a rising rate.
    pub pct_start: f64,
    /// The first rate is `max_lr / div_factor`.
    pub div_factor: f64,
    /// The last rate is the first rate divided by this.
    pub final_div_factor: f64,
    /// The number of rates.
    pub total: f64,
    /// The momentum in the opposite direction; `None` leaves it constant.
    pub momentum: Option<MomentumCycle>,
}

/// A momentum, or first beta, that falls while the rate rises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentumCycle {
    /// The momentum at the highest rate.
    pub base: f64,
    /// The momentum at the start and at the end.
    pub max: f64,
}

impl OneCycle {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let first = self.max_lr / self.div_factor;
        self.at(t, first, self.max_lr, first / self.final_div_factor)
    }

    pub(super) fn momentum(&self, t: f64) -> Option<f64> {
        self.momentum
            .map(|cycle| self.at(t, cycle.max, cycle.base, cycle.max))
    }

    /// A value that goes from `first` through `peak` to `last`, at time `t`.
    fn at(&self, t: f64, first: f64, peak: f64, last: f64) -> f64 {
        let end = (self.total - 1.0).max(0.0);
        let turn = self.pct_start * self.total - 1.0;
        let t = t.min(end);
        if t <= turn {
            // A turn at time 0 has no rise before it.
            anneal(first, peak, if turn > 0.0 { t / turn } else { 1.0 })
        } else {
            anneal(peak, last, (t - turn) / (end - turn).max(1e-12))
        }
    }
}
