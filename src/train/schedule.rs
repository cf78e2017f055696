//! Learning-rate schedules. The rate is a function of the step, so a resumed run needs only its
//! number of steps.

use std::f64::consts::PI;

/// A learning rate for every step of a run. Steps count from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// The same rate in every step, after a linear warm-up.
    Constant {
        /// The rate.
        lr: f64,
        /// The rise to `lr`.
        warmup: Warmup,
    },
    /// A linear warm-up, then half a cosine from `lr` to `min_lr` over the remaining steps.
    Cosine {
        /// The rate after the warm-up.
        lr: f64,
        /// The rate at the end.
        min_lr: f64,
        /// The rise to `lr`.
        warmup: Warmup,
        /// Steps of the run, with the warm-up.
        total_steps: u64,
    },
    /// `torch.optim.lr_scheduler.OneCycleLR` with cosine annealing in two phases. The momentum stays
    /// constant.
    OneCycle {
        /// The highest rate.
        max_lr: f64,
        /// The fraction of the steps with a rising rate.
        pct_start: f64,
        /// The first rate is `max_lr / div_factor`.
        div_factor: f64,
        /// The last rate is the first rate divided by this.
        final_div_factor: f64,
        /// Steps of the run.
        total_steps: u64,
    },
    /// PyTorch's `StepLR` after a linear warm-up: `gamma` multiplies the rate at equal intervals.
    Step {
        /// The rate before the first decay.
        lr: f64,
        /// The factor of each decay.
        gamma: f64,
        /// Epochs between two decays, positive.
        epochs: f64,
        /// Steps in an epoch.
        steps_per_epoch: f64,
        /// The number of decays in the run.
        decays: u64,
        /// The rise to `lr`.
        warmup: Warmup,
    },
    /// PyTorch's `MultiStepLR` after a linear warm-up: `gamma` multiplies the rate at each
    /// milestone.
    MultiStep {
        /// The rate before the first milestone.
        lr: f64,
        /// The factor.
        gamma: f64,
        /// The steps at which one more factor applies, ascending.
        milestones: Vec<u64>,
        /// The rise to `lr`.
        warmup: Warmup,
    },
}

/// A linear rise from `lr` to the schedule's rate over `steps` steps.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Warmup {
    /// The rate of step 0.
    pub lr: f64,
    /// Steps of the warm-up; 0 for none.
    pub steps: u64,
}

impl Warmup {
    /// The rate of `step` if it is in the warm-up to `target`.
    fn rate(&self, step: u64, target: f64) -> Option<f64> {
        let share = step as f64 / self.steps as f64;
        (step < self.steps).then_some(self.lr + (target - self.lr) * share)
    }
}

impl Schedule {
    /// Whether the first `steps` steps have the same learning rates, bit for bit, as with `other`.
    pub fn begins_as(&self, other: &Self, steps: u64) -> bool {
        (0..steps).all(|step| self.lr(step).to_bits() == other.lr(step).to_bits())
    }

    /// The learning rate of `step`. Steps after the end keep the last rate.
    pub fn lr(&self, step: u64) -> f64 {
        match self {
            Self::Constant { lr, warmup } => warmup.rate(step, *lr).unwrap_or(*lr),
            Self::Cosine {
                lr,
                min_lr,
                warmup,
                total_steps,
            } => warmup.rate(step, *lr).unwrap_or_else(|| {
                let length = total_steps.saturating_sub(warmup.steps).max(1);
                let share = (step - warmup.steps) as f64 / length as f64;
                anneal(*lr, *min_lr, share)
            }),
            Self::OneCycle {
                max_lr,
                pct_start,
                div_factor,
                final_div_factor,
                total_steps,
            } => {
                let first = max_lr / div_factor;
                let last = first / final_div_factor;
                let end = (*total_steps as f64 - 1.0).max(0.0);
                let peak = pct_start * *total_steps as f64 - 1.0;
                let step = (step as f64).min(end);
                if step <= peak {
                    // A peak at step 0 has no rise before it.
                    anneal(first, *max_lr, if peak > 0.0 { step / peak } else { 1.0 })
                } else {
                    anneal(*max_lr, last, (step - peak) / (end - peak).max(1e-12))
                }
            }
            Self::Step {
                lr,
                gamma,
                epochs,
                steps_per_epoch,
                decays,
                warmup,
            } => warmup.rate(step, *lr).unwrap_or_else(|| {
                let decay = |i: u64| (i as f64 * epochs * steps_per_epoch).round() as u64;
                let passed = last_where(*decays, |i| decay(i) <= step);
                lr * gamma.powf(passed as f64)
            }),
            Self::MultiStep {
                lr,
                gamma,
                milestones,
                warmup,
            } => warmup.rate(step, *lr).unwrap_or_else(|| {
                let passed = milestones.iter().filter(|m| **m <= step).count();
                lr * gamma.powf(passed as f64)
            }),
        }
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

/// Half a cosine from `from` at 0 to `to` at 1, constant after 1.
fn anneal(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share.clamp(0.0, 1.0)).cos())
}
