//! Cycles with restarts.

/// Cycles that follow one another, with timm's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cycles {
    /// The number of cycles.
    pub limit: usize,
    /// The length of the first cycle.
    pub length: f64,
    /// The length of a cycle relative to the one before it.
    pub mul: f64,
    /// The highest rate of a cycle relative to the one before it.
    pub decay: f64,
}

/// A time within a cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    /// Time since the start of the cycle.
    time: f64,
    /// The length of the cycle.
    length: f64,
    /// The highest rate of the cycle relative to the first cycle.
    pub scale: f64,
}

impl Cycles {
    /// `limit` cycles that take `total` together.
    pub fn over(total: f64, limit: usize, mul: f64, decay: f64) -> Self {
        let lengths = if mul == 1.0 {
            limit as f64
        } else {
            (mul.powf(limit as f64) - 1.0) / (mul - 1.0)
        };
        Self {
            limit,
            length: total / lengths,
            mul,
            decay,
        }
    }

    /// The position at time `t`, or `None` after the last cycle.
    pub(super) fn at(&self, t: f64) -> Option<Position> {
        let (mut start, mut length, mut scale) = (0.0, self.length, 1.0);
        for _ in 0..self.limit {
            if t < start + length {
                let time = t - start;
                return Some(Position {
                    time,
                    length,
                    scale,
                });
            }
            start += length;
            length *= self.mul;
            scale *= self.decay;
        }
        None
    }
}

impl Position {
    /// The share of the cycle that has passed, bent by `k`: k-decay, [Zhang and Li
    /// 2020](https://arxiv.org/abs/2004.05909).
    pub fn share(&self, k: f64) -> f64 {
        if k == 1.0 {
            self.time / self.length
        } else {
            self.time.powf(k) / self.length.powf(k)
        }
    }
}
