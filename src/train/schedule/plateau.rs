//! Decays when the evaluation stops improving.

/// PyTorch's `ReduceLROnPlateau` with its default threshold, as timm's `PlateauLRScheduler` uses it.
///
/// Its rates depend on the evaluations so far: `observe` takes one after each epoch. A
/// resumed run passes the evaluations of its finished epochs again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plateau {
    gamma: f64,
    min_lr: f64,
    patience: usize,
    direction: Direction,
    /// Epochs at the start whose evaluations do not count.
    warmup_epochs: f64,
    /// The length of an epoch.
    epoch: f64,
    /// The rate of each epoch so far, and of the next one.
    rates: Vec<f64>,
    best: Option<f64>,
    /// Epochs without improvement.
    bad: usize,
}

/// Which evaluations are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Higher ones, such as accuracies.
    Max,
    /// Lower ones, such as losses.
    Min,
}

impl Direction {
    /// Whether `value` is better than `best` by more than `delta`.
    pub fn is_better(self, value: f64, best: f64, delta: f64) -> bool {
        match self {
            Self::Max => value > best + delta,
            Self::Min => value < best - delta,
        }
    }
}

impl Plateau {
    /// The least improvement, relative to the best value.
    const THRESHOLD: f64 = 1e-4;
    /// Smaller decays are not applied.
    const EPS: f64 = 1e-8;

    /// A rate of `lr` that `gamma` multiplies after more than `patience` epochs without improvement,
    /// down to `min_lr`. An epoch takes `epoch` units of time. Evaluations of the first
    /// `warmup_epochs` do not count.
    pub fn new(
        lr: f64,
        gamma: f64,
        min_lr: f64,
        patience: usize,
        direction: Direction,
        warmup_epochs: f64,
        epoch: f64,
    ) -> Self {
        Self {
            gamma,
            min_lr,
            patience,
            direction,
            warmup_epochs,
            epoch,
            rates: vec![lr],
            best: None,
            bad: 0,
        }
    }

    pub(super) fn lr(&self, t: f64) -> f64 {
        // As an index, the cast saturates.
        let epoch = ((t / self.epoch) as usize).min(self.rates.len() - 1);
        self.rates[epoch]
    }

    /// The rate at the start.
    pub(super) fn first(&self) -> f64 {
        self.rates[0]
    }

    /// Takes the evaluation of an epoch, which decides the rate of the next one.
    pub(super) fn observe(&mut self, metric: f64) {
        let lr = self.rates[self.rates.len() - 1];
        let next = if self.rates.len() as f64 <= self.warmup_epochs {
            lr
        } else {
            self.decayed(lr, metric)
        };
        self.rates.push(next);
    }

    fn decayed(&mut self, lr: f64, metric: f64) -> f64 {
        if self.best.is_none_or(|best| self.improves(metric, best)) {
            self.best = Some(metric);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.bad <= self.patience {
            return lr;
        }
        self.bad = 0;
        let next = (lr * self.gamma).max(self.min_lr);
        if lr - next > Self::EPS { next } else { lr }
    }

    fn improves(&self, metric: f64, best: f64) -> bool {
        match self.direction {
            Direction::Max => metric > best * (Self::THRESHOLD + 1.0),
            Direction::Min => metric < best * (1.0 - Self::THRESHOLD),
        }
    }
}
