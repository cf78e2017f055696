//! A schedule: a warm-up, a curve and the unit of time.

use super::curve::Curve;
use super::warmup::Warmup;
use crate::train::optimizer::Rates;

/// A learning rate for every step of a run. Steps count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The rates after the warm-up.
    pub curve: Curve,
    /// The warm-up.
    pub warmup: Warmup,
    /// The unit of time.
    pub clock: Clock,
}

/// The unit of time of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clock {
    /// The rate changes with each update.
    Updates,
    /// The rate changes with each epoch.
    Epochs {
        /// Updates in an epoch.
        updates: f64,
    },
}

impl Clock {
    fn time(self, step: u64) -> f64 {
        match self {
            Self::Updates => step as f64,
            Self::Epochs { updates } => (step as f64 / updates).floor(),
        }
    }
}

impl From<Curve> for Schedule {
    /// The curve without a warm-up, over updates.
    fn from(curve: Curve) -> Self {
        Self {
            curve,
            warmup: Warmup::default(),
            clock: Clock::Updates,
        }
    }
}

impl Schedule {
    /// The learning rate of `step`. Steps after the end keep the last rate.
    pub fn lr(&self, step: u64) -> f64 {
        let t = self.clock.time(step);
        let Warmup { length, prefix, .. } = self.warmup;
        let target = self.curve.target(length, prefix);
        let after = if prefix { t - length } else { t };
        let warmup = self.warmup.rate(t, target);
        warmup.unwrap_or_else(|| self.curve.lr(after))
    }

    /// The learning rate of `step`, and the momentum if the schedule varies it.
    pub fn rates(&self, step: u64) -> Rates {
        Rates {
            lr: self.lr(step),
            momentum: self.curve.momentum(self.clock.time(step)),
        }
    }

    /// Takes the evaluation of the next finished epoch: an accuracy or a loss, as the schedule
    /// expects. Only [`Curve::Plateau`] depends on it.
    pub fn observe(&mut self, metric: f64) {
        if let Curve::Plateau(plateau) = &mut self.curve {
            plateau.observe(metric);
        }
    }

    /// Whether the first `steps` steps have the same rates, bit for bit, as with `other`.
    pub fn begins_as(&self, other: &Self, steps: u64) -> bool {
        (0..steps).all(|step| self.rates(step).has_bits_of(&other.rates(step)))
    }
}
