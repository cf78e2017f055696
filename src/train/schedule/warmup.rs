//! A linear warm-up.

/// A linear rise from `lr` to the rate of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Warmup {
    /// The rate at time 0.
    pub lr: f64,
    /// The length; 0 for none.
    pub length: f64,
    /// Whether the schedule starts after the warm-up. If not, the warm-up replaces its first part.
    pub prefix: bool,
}

impl Warmup {
    /// The rate at time `t` if it is in the warm-up to `target`.
    pub(super) fn rate(&self, t: f64, target: f64) -> Option<f64> {
        let share = t / self.length;
        (t < self.length).then_some(self.lr + (target - self.lr) * share)
    }
}
