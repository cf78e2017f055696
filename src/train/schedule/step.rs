//! Decays at equal intervals.

/// PyTorch's `StepLR` and timm's `StepLRScheduler`: `gamma` multiplies the rate at equal intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The rate before the first decay.
    pub lr: f64,
    /// The factor of each decay.
    pub gamma: f64,
    /// Epochs between two decays, positive.
    pub epochs: f64,
    /// Updates in an epoch if time counts updates: a decay then falls on the nearest update.
    /// `None` if time counts epochs.
    pub updates_per_epoch: Option<f64>,
    /// The number of decays in the run.
    pub decays: u64,
}

impl Step {
    pub(super) fn lr(&self, t: f64) -> f64 {
        let decay = |i: u64| match self.updates_per_epoch {
            Some(updates) => (i as f64 * self.epochs * updates).round(),
            None => i as f64 * self.epochs,
        };
        let passed = last_where(self.decays, |i| decay(i) <= t);
        self.lr * self.gamma.powf(passed as f64)
    }
}

/// The largest number in `1..=most` for which `holds` is true, or 0. `holds` is true up to a
/// number and false above it.
fn last_where(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
