//! An exponential decay.

/// `lr * gamma^(t / interval)`. With an interval of one epoch and time in epochs, PyTorch's
/// `ExponentialLR`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    /// The rate at the start.
    pub lr: f64,
    /// The factor per interval.
    pub gamma: f64,
    /// The interval.
    pub interval: f64,
}

impl Exponential {
    pub(super) fn lr(&self, t: f64) -> f64 {
        self.lr * self.gamma.powf(t / self.interval)
    }
}
