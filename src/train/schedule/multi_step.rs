//! Decays at given times.

/// PyTorch's `MultiStepLR`: `gamma` multiplies the rate at each milestone. timm's
/// `MultiStepLRScheduler` decays one unit of time earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiStep {
    /// The rate before the first milestone.
    pub lr: f64,
    /// The factor of each decay.
    pub gamma: f64,
    /// The times at which one more factor applies, ascending.
    pub milestones: Vec<f64>,
}

impl MultiStep {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let passed = self.milestones.iter().filter(|m| **m <= t).count();
        self.lr * self.gamma.powf(passed as f64)
    }
}
